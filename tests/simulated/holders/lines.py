"""The way from a process to the database: every request takes its time, and some never have an answer.

A process has two: its store's, which does one thing at a time, and the one by which its leases are renewed. What was
sent is carried out although its process stands still or dies meanwhile.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final, TypeVar

from ecsbatch.errors import StoreError
from ecsbatch.store.worker import Worker, Write
from tests.simulated.freezing import PROCESS

from .machines import MachinesLoop
from .scene import CALM, Scene, Trouble

T = TypeVar("T")

PATIENCE: Final = 3.0
"""Seconds after which a renewal without an answer is given up."""

NOWHERE: Final = -1
"""The number of no process: code under it is never frozen."""


LOST: Final = 0.5
"""The share of renewals that are lost on a bad way."""

EARLY: Final = 0.5
"""The share of requests under way that arrive when they can come between two transactions of another process."""


def nowhere() -> contextvars.Context:
    """Return a context of no process: what runs in it goes by the world's time, and is never frozen."""
    context = contextvars.Context()
    context.run(PROCESS.set, NOWHERE)
    return context


@dataclass(frozen=True, slots=True)
class Trip:
    """How one request fares, by the world's time.

    Attributes:
        arrives: when it is carried out.
        answers: when that is heard.
        refused: nothing is carried out.
    """

    arrives: float
    answers: float
    refused: bool = False


class Wire:
    """Reckons how each request of one process fares."""

    def __init__(self, scene: Scene, process: int, chance: Random) -> None:
        self._latency = scene.latency
        self._troubles = [one for one in scene.troubles if one.process in {-1, process}]
        self._process = process
        self._chance = chance

    def renewal(self, now: float) -> Trip | None:
        """Reckon the way of a renewal, which may fare worse."""
        if not any(one.kind == "renewals" and one.covers(self._process, now) for one in self._troubles):
            return self.trip(now)
        there = self._way(now)
        if self._chance.random() < LOST:
            return Trip(now + PATIENCE, now + PATIENCE, refused=True)
        return Trip(now + there, now + self._chance.uniform(there, PATIENCE))

    def trip(self, now: float) -> Trip | None:
        """Reckon the way of a request that leaves now; None: it is there and back at once."""
        if not self._latency and not any(trouble.covers(self._process, now) for trouble in self._troubles):
            return None
        there, back = self._way(now), self._way(now)
        arrives = now + there
        if (met := self._met(arrives)) is not None:
            if met.kind == "refused":
                return Trip(arrives, arrives + back, refused=True)
            if met.kind == "away":
                arrives = met.until + there
        answers = arrives + back
        met = self._met(answers)
        if met is not None and met.kind in {"away", "unanswered"}:
            answers = met.until + back
        return Trip(arrives, answers)

    def _met(self, at: float) -> Trouble | None:
        met = [one for one in self._troubles if one.covers(self._process, at) and one.stops and at < CALM]
        return max(met, key=lambda one: one.until, default=None)

    def _way(self, now: float) -> float:
        slow = max((one.latency for one in self._troubles if one.covers(self._process, now)), default=0.0)
        return self._chance.uniform(0.0, self._latency + slow)


class Flights:
    """All requests that were sent and have not arrived: each may be carried out between any two of what others do."""

    def __init__(self, loop: MachinesLoop, chance: Random) -> None:
        self._loop = loop
        self._chance = chance
        self._under_way: list[_Flight] = []

    def start(self, arrives: float, land: Callable[[], None]) -> None:
        """Have a request arrive at an instant of the world, or before."""
        flight = _Flight(land)
        self._under_way.append(flight)
        flight.context.run(self._loop.call_at, arrives, self._land, flight)

    def land_some(self) -> None:
        """Let some of them arrive now."""
        for flight in list(self._under_way):
            if self._chance.random() < EARLY:
                flight.context.copy().run(self._land, flight)

    def _land(self, flight: _Flight) -> None:
        if flight in self._under_way:
            self._under_way.remove(flight)
            flight.land()


@dataclass(eq=False, slots=True)
class _Flight:
    land: Callable[[], None]
    context: contextvars.Context = field(default_factory=nowhere)


class Remote:
    """A `Worker` that does everything on the other end of a line, one after another.

    Args:
        inner: does it at once.
        line: how each request fares.
        begin: called before something is done, with whether the database refuses it.
        flights: takes note of what is under way.
    """

    def __init__(self, inner: Worker, line: Wire, begin: Callable[[bool], None], flights: Flights) -> None:
        self._inner = inner
        self._line = line
        self._begin = begin
        self._flights = flights
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[tuple[Callable[[], asyncio.Future[Any]], asyncio.Future[Any]]] = deque()
        self._busy = False
        self._severed = False

    def call(self, do: Callable[[], T]) -> asyncio.Future[T]:
        """Call it there."""
        return self._give(lambda: self._inner.call(do))

    def write(self, write: Write) -> asyncio.Future[Any]:
        """Write it there."""
        return self._give(lambda: self._inner.write(write))

    def shutdown(self, do: Callable[[], None]) -> asyncio.Future[None]:
        """Do a last thing there."""
        return self._give(lambda: self._inner.shutdown(do))

    def sever(self) -> None:
        """Die: what was sent is carried out, and nothing else."""
        self._severed = True
        for _, future in self._jobs:
            future.cancel()
        self._jobs.clear()
        if not self._busy:
            self._inner.sever()

    def _give(self, job: Callable[[], asyncio.Future[Any]]) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._severed:
            future.set_exception(StoreError("The store memory: is closed."))
            return future
        if not self._busy and self._line.trip(true_time(self._loop)) is None:
            return self._do(job)
        self._jobs.append((job, future))
        self._next()
        return future

    def _next(self) -> None:
        while self._jobs and not self._busy:
            job, future = self._jobs.popleft()
            trip = self._line.trip(true_time(self._loop))
            if trip is None:
                _tell(self._do(job), future)
                continue
            self._busy = True
            context = contextvars.copy_context()
            self._flights.start(trip.arrives, partial(self._arrived, job, future, trip, context))

    def _arrived(
        self,
        job: Callable[[], asyncio.Future[Any]],
        future: asyncio.Future[Any],
        trip: Trip,
        context: contextvars.Context,
    ) -> None:
        done = self._do(job, refused=trip.refused)
        if self._severed:
            self._inner.sever()
            done.exception()
        else:
            self._loop.call_at(trip.answers, self._answered, done, future, context=context)

    def _do(self, job: Callable[[], asyncio.Future[Any]], *, refused: bool = False) -> asyncio.Future[Any]:
        self._begin(refused)
        return job()

    def _answered(self, done: asyncio.Future[Any], future: asyncio.Future[Any]) -> None:
        self._busy = False
        _tell(done, future)
        self._next()


def _tell(done: asyncio.Future[Any], future: asyncio.Future[Any]) -> None:
    error = done.exception()
    if future.done():
        return
    if error is None:
        future.set_result(done.result())
    else:
        future.set_exception(error)


def true_time(loop: asyncio.AbstractEventLoop) -> float:
    """Return the world's time."""
    assert isinstance(loop, MachinesLoop)
    return loop.true_time()
