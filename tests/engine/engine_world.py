"""A cloud, a store that survives crashes, and engines between them, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from ecsbatch.config.settings import Engine
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.model.run import Committed, Lease, Transaction
from ecsbatch.model.servers import Look
from ecsbatch.restarter import Restarter
from ecsbatch.simulator.cloud import CloudConfig, SimulatedCloud
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.simulator.virtual_time import Killed, VirtualClock, VirtualLoop, abandon, run
from ecsbatch.store import DatabaseStore, MemoryDatabase, open_store

T = TypeVar("T")

MONTH = 30 * 86_400.0


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


class World:
    """One cloud and one database over any number of lives of the machine.

    Attributes:
        steps: rounds of the loop in the last life.
    """

    def __init__(self, **cloud: Any) -> None:
        self.steps = 0
        self._loop: VirtualLoop | None = None
        self._start = 0.0
        self.clock = VirtualClock(self.now)
        self.config = CloudConfig(**{"servers": 100, **cloud})
        self.cloud = SimulatedCloud(self.config, self.now)
        self.database = MemoryDatabase()
        self.ids = self.cloud.ids()
        self._mortal: list[SimulatedSender | DatabaseStore] = []

    def now(self) -> float:
        """Return the seconds of all lives so far."""
        return self._start if self._loop is None else self._loop.time()

    def live(self, main: Callable[[], Awaitable[T]], kill_after: int | None = None) -> T:
        """Run a life to its end, or to its kill after so many steps of the loop.

        Raises:
            Killed: at that step.
        """

        async def life() -> T:
            return await main()

        loop = self._loop = VirtualLoop(start=self._start, max_time=MONTH)
        if kill_after is not None:
            loop.kill_after(kill_after)
        try:
            return run(life(), loop=loop)
        except Killed:
            for part in self._mortal:
                part.sever()
            abandon(loop)
            raise
        finally:
            self._mortal.clear()
            self.steps = loop.steps
            self._start, self._loop = loop.time() + 1, None

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncGenerator[DatabaseStore]:
        """Open the one store."""
        async with open_store(self.database, inline=True, clock=self.clock) as store:
            self._mortal.append(store)
            yield store

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncGenerator[BrokenClient]:
        """Make a client of the cloud."""
        sender = SimulatedSender(self.cloud)
        self._mortal.append(sender)
        auth = KeyAuth(self.config.access_key, self.config.secret_key)
        endpoint = "https://ecs.example.com"
        async with BrokenClient(
            auth=auth, project_id=self.config.project_id, endpoint=endpoint, sender=sender, clock=self.clock
        ) as client:
            yield client

    @contextlib.asynccontextmanager
    async def restarter(self, engine: Engine | None = None) -> AsyncGenerator[Restarter]:
        """Start an engine with a client and a store of its own."""
        async with self.client() as client, self.store() as store, self.engine(client, store, engine) as restarter:
            yield restarter

    def engine(self, client: Any, store: Any, engine: Engine | None = None) -> Restarter:
        """Make an engine of a client, or of several by their sites, and a store, each perhaps behind a wrapper."""
        return Restarter(client, store, engine=engine, clock=self.clock, seed=1, name="tester")
