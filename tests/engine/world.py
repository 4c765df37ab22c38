"""The world of `ecsbatch.testing`, with parts that fail as a test wants."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from ecsbatch import testing
from ecsbatch.config.settings import Engine
from ecsbatch.ecs.client import EcsClient
from ecsbatch.model.run import Committed, Lease, Transaction
from ecsbatch.model.servers import Look
from ecsbatch.restarter import Restarter

T = TypeVar("T")


class BrokenClient(EcsClient):
    """A client with a bug: its looks raise what nobody expects once it is `broken`."""

    broken = False

    async def look(self, ids: Sequence[str]) -> Look:
        """Look, or fall over."""
        if self.broken:
            raise RuntimeError("a bug in a look")
        return await super().look(ids)


class Wrapper:
    """Hands everything on that a test leaves alone.

    Attributes:
        inner: what stands behind it.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        """Hand on."""
        return getattr(self.inner, name)


class LateStore(Wrapper):
    """A store whose word comes ``late`` seconds after it is on the disk, in order."""

    late = 1.0

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Write now, tell later."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[Committed] = self.inner.commit(lease, transaction, folded=folded)
        told: asyncio.Future[Committed] = loop.create_future()

        def tell() -> None:
            if told.done():
                return
            if (failure := written.exception()) is not None:
                told.set_exception(failure)
            else:
                told.set_result(written.result())

        loop.call_later(self.late, tell)
        return told


class World(testing.World):
    """A world whose client may have a bug, and whose engines tests put together."""

    def live(self, main: Callable[[], Awaitable[T]], kill_after: int | None = None) -> T:
        """Run a life to its end, or to its kill after so many steps of the loop."""
        return self.run(main, kill_after=kill_after)

    def client(self, **more: Any) -> BrokenClient:
        """Make a client of the cloud."""
        client = super().client(kind=BrokenClient, **more)
        assert isinstance(client, BrokenClient)
        return client

    def engine(self, client: Any, store: Any, engine: Engine | None = None) -> Restarter:
        """Make an engine of a client, or of several by their sites, and a store, each perhaps behind a wrapper."""
        return Restarter(client, store, engine=engine, clock=self.clock, seed=1, name="tester")

    @contextlib.asynccontextmanager
    async def restarter(self, engine: Engine | None = None, **more: Any) -> AsyncGenerator[Restarter]:
        """Start an engine with a client and a store of its own."""
        async with super().restarter(engine, **{"name": "tester", **more}) as restarter:
            yield restarter
