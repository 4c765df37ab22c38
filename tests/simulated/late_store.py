"""A store that tells late what it has done, as a slow disk behind a thread does, and once cannot read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Final, Self, TypeVar

from ecsbatch.clock import Clock
from ecsbatch.errors import StoreError
from ecsbatch.model.run import Command
from ecsbatch.store.store import DatabaseStore
from ecsbatch.store.worker import Worker, Write

from .witnesses import WatchedDatabase

T = TypeVar("T")

AT_ONCE: Final = 0.3
"""The share of all that is told without delay."""

APART: Final = 1e-6
"""Seconds between two tellings: they come in the order of the work."""


BEGINNING: Final = 3
"""Readings of a run's commands that may belong to its beginning."""


class LateWorker:
    """Hands work to a worker that does it at once, and tells the result up to ``latest`` seconds later, in order."""

    def __init__(self, inner: Worker, latest: float, chance: Random, told: Callable[[], None]) -> None:
        self._inner = inner
        self._latest = latest
        self._chance = chance
        self._told = told
        self._last = 0.0
        self._severed = False

    def call(self, do: Callable[[], T]) -> asyncio.Future[T]:
        """Do it now, tell later."""
        return self._later(self._inner.call(do))

    def write(self, write: Write) -> asyncio.Future[Any]:
        """Write it now, tell later."""
        return self._later(self._inner.write(write))

    def shutdown(self, do: Callable[[], None]) -> asyncio.Future[None]:
        """Do a last thing now, tell later."""
        return self._later(self._inner.shutdown(do))

    def sever(self) -> None:
        """Take no more work."""
        self._severed = True
        self._inner.sever()

    def _later(self, done: asyncio.Future[T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        delay = 0.0 if self._chance.random() < AT_ONCE else self._chance.uniform(0.0, self._latest)
        if self._severed:
            return done
        at = max(loop.time() + delay, self._last + APART)
        if at <= loop.time() + APART:
            return done
        self._last = at
        self._told()
        done.add_done_callback(lambda done: done.cancelled() or done.exception())  # the life may end before it is told
        future: asyncio.Future[T] = loop.create_future()
        loop.call_at(at, _tell, done, future)
        return future


def _tell(done: asyncio.Future[T], future: asyncio.Future[T]) -> None:
    error = done.exception()
    if future.done():
        return
    if error is None:
        future.set_result(done.result())
    else:
        future.set_exception(error)


class LateStore(DatabaseStore):
    """A store on a `LateWorker`.

    Args:
        database: where everything is.
        clock: the process's.
        latest: seconds from the commit to the word of it, at most.
        unreadable: the number of the one reading of commands that fails; 0 for none. The first readings of a run are
            spared: it could not begin.
        chance: draws the delays.
        note: is called with the name of each thing that went wrong.
    """

    def __init__(
        self,
        database: WatchedDatabase,
        clock: Clock,
        *,
        latest: float,
        unreadable: int,
        chance: Random,
        note: Callable[[str], None],
    ) -> None:
        super().__init__(database, clock, 0.0, inline=True)
        self._latest = latest
        self._unreadable = unreadable
        self._chance = chance
        self._note = note
        self._readings: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        """Open the database."""
        await super().__aenter__()
        if self._latest:
            worker = self._handle.worker_now()
            self._handle.worker = LateWorker(worker, self._latest, self._chance, lambda: self._note("late words"))
        return self

    async def commands(self, run_id: str, after: int = 0) -> list[Command]:
        """Return what was asked of a run's holder; fail once."""
        self._readings[run_id] += 1
        if self._unreadable and self._readings[run_id] > BEGINNING and self._readings.total() >= self._unreadable:
            self._unreadable = 0
            self._note("commands that could not be read")
            raise StoreError("The store memory: cannot be read: disk I/O error.")
        return await super().commands(run_id, after)
