"""The host's loop: other programs' work runs in it too, so that nothing of ours may hold it for long.

Long work goes on in slices (`TimeSlice`); a pure function of many servers is called beside the loop (`aside`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

SLICE: Final = 0.004
"""Seconds of work after which others have the loop."""

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


async def aside(do: Callable[[], T], servers: int) -> T:
    """Return what a pure function returns; one of many servers is called in a thread, and the loop goes on.

    Args:
        do: takes nothing and changes nothing; whatever it raises is raised here.
        servers: how many it is about.
    """
    if servers < MANY:
        return do()
    return await asyncio.get_running_loop().run_in_executor(None, do)
