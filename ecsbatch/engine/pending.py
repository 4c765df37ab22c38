"""Servers that callers wait for, and how callers by the thousand are answered without holding up their event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import field
from typing import Final

from ecsbatch.engine.server_queue import ServerQueue
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.tally import Attempt

_AT_ONCE: Final = 100
"""Outcomes that are told in one round of the event loop: each wakes a task of the caller's, in the round that follows.
These are some milliseconds, after which the loop has a turn for everybody else."""

_SWEPT_FROM: Final = 8
"""Waiters from which on those that have gone are looked for."""


@dataclass(slots=True)
class PendingRestart:
    """A server that somebody has asked for and that has no outcome yet.

    Attributes:
        queue: which it is in.
        waiters: the futures of all who asked.
        attempts: how many requests have named it.
        unstarted: how many of them were shown not to have begun.
        earlier: the last request that was taken for not carried out, where a look may yet show its restart.
        submitted_at: when the last request's intent was stored, seconds since 1970; None: there was none.
    """

    queue: ServerQueue
    waiters: list[asyncio.Future[Outcome]] = field(default_factory=list[asyncio.Future[Outcome]])
    attempts: int = 0
    unstarted: int = 0
    earlier: Attempt | None = None
    submitted_at: float | None = None

    @property
    def wanted(self) -> bool:
        """True while somebody waits."""
        return any(not waiter.done() for waiter in self.waiters)

    def resolve(self, outcome: Outcome) -> None:
        """Give the outcome to all who still wait."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(outcome)

    def fail(self, fault: BaseException) -> None:
        """Tell all who still wait why there will be no outcome."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(fault)


def join(waiters: list[asyncio.Future[Outcome]], loop: asyncio.AbstractEventLoop) -> asyncio.Future[Outcome]:
    """Add a waiter and return it; those who have gone are forgotten whenever their number has doubled.

    Somebody may ask for one server every second, and give up each time, for as long as that waits.
    """
    count = len(waiters)
    if count >= _SWEPT_FROM and count.bit_count() == 1:
        waiters[:] = [waiter for waiter in waiters if not waiter.done()]
    waiter: asyncio.Future[Outcome] = loop.create_future()
    waiters.append(waiter)
    return waiter


class Answers:
    """Outcomes that are still to be told, in the order in which they were stored; some in each round of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer waiters of this event loop."""
        self._loop = loop
        self._due: deque[tuple[PendingRestart, Outcome]] = deque()

    def give(self, pending: PendingRestart, outcome: Outcome) -> None:
        """Tell all who wait for a server its outcome, in their turn."""
        if not self._due:
            self._loop.call_soon(self._give_some)
        self._due.append((pending, outcome))

    def finish(self) -> None:
        """Tell all that is still to be told, now."""
        while self._due:
            pending, outcome = self._due.popleft()
            pending.resolve(outcome)

    def _give_some(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._due))):
            pending, outcome = self._due.popleft()
            pending.resolve(outcome)
        if self._due:
            self._loop.call_soon(self._give_some)
