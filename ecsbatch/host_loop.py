"""The host's loop: other programs' work runs in it too, so that nothing of ours may hold it for long.

Long work goes on in slices (`TimeSlice`); a pure function of many servers is called beside the loop (`aside`); callers
who come by the thousand pass some at a time (`Turnstile`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

SLICE: Final = 0.004
"""Seconds of work after which others have the loop."""

AT_ONCE: Final = 100
"""Callers who pass a `Turnstile` in one round of the loop."""

MANY: Final = 2000
"""Servers from which on a function of all of them may take more than a slice."""


class TimeSlice:
    """A stretch of work in the loop that gives way to others once it has lasted some milliseconds.

    In virtual time work takes no time, so that nothing changes its order.
    """

    def __init__(self) -> None:
        """Begin now."""
        self._time = asyncio.get_running_loop().time
        self._begun = self._time()

    async def give_way(self) -> None:
        """Let others run, where this has lasted long enough."""
        if self._time() - self._begun >= SLICE:
            await asyncio.sleep(0)
            self._begun = self._time()


class Turnstile:
    """Lets callers pass, a hundred in each round of the event loop: what each of them does then takes its time."""

    def __init__(self) -> None:
        """Nobody has passed in this round."""
        self._loop = asyncio.get_running_loop()
        self._passed = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Wait for a turn; where few come at once it is there."""
        if self._passed < AT_ONCE and not self._waiting:
            self._pass()
            return
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(turn)
        await turn

    def _pass(self) -> None:
        if not self._passed:
            self._loop.call_soon(self._begin_round)
        self._passed += 1

    def _begin_round(self) -> None:
        self._passed = 0
        while self._waiting and self._passed < AT_ONCE:
            turn = self._waiting.popleft()
            if not turn.done():
                self._pass()
                turn.set_result(None)


async def aside(do: Callable[[], T], servers: int) -> T:
    """Return what a pure function returns; one of many servers is called in a thread, and the loop goes on.

    Args:
        do: takes nothing and changes nothing; whatever it raises is raised here.
        servers: how many it is about.
    """
    if servers < MANY:
        return do()
    return await asyncio.get_running_loop().run_in_executor(None, do)
