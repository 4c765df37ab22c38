"""A loop that can let one of its processes stand still while the others go on, as SIGSTOP or a paused VM does.

Every handle of the loop carries the context of the task that asked for it, and every task of a process inherits the
process's number: so that nothing of a frozen process runs, no callback, no timer and no task, whatever it waits for.
What falls due meanwhile happens in its old order once the process goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final

from ecsbatch.simulator.virtual_time import VirtualLoop

PROCESS: Final[contextvars.ContextVar[int]] = contextvars.ContextVar("process", default=-1)
"""The number of the process whose code runs; -1 outside of all."""


class FreezingLoop(VirtualLoop):
    """A `VirtualLoop` some of whose processes may be frozen."""

    def __init__(self, *, start: float = 0.0, max_time: float | None = None) -> None:
        super().__init__(start=start, max_time=max_time)
        self._planned: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._frozen: dict[int, list[asyncio.Handle]] = {}

    @property
    def frozen(self) -> Iterable[int]:
        """The processes that stand still."""
        return self._frozen.keys()

    def at_step(self, step: int, do: Callable[[], None]) -> None:
        """Call something between two rounds of the loop, before round ``step`` or, where it is over, the next."""
        heapq.heappush(self._planned, (step, next(self._numbers), do))

    def freeze(self, process: int, seconds: float, thawed: Callable[[], None]) -> None:
        """Let a process stand still; tell when it goes on. To be called between two rounds: see `at_step`."""
        self._frozen[process] = []
        self._hold_timers()

        def thaw() -> None:
            if process in self._frozen:
                self.thaw(process)
                thawed()

        self.call_later(seconds, thaw, context=contextvars.Context())

    def thaw(self, process: int) -> None:
        """Let a process go on: first what was ready, then what fell due, in the order of its instants."""
        for handle in self._frozen.pop(process, []):
            if handle.cancelled():
                continue
            if isinstance(handle, asyncio.TimerHandle):
                handle._scheduled = True  # type: ignore[attr-defined]  # asyncio's own mark
                heapq.heappush(self._timers, handle)
            else:
                self._queue.append(handle)

    def _run_once(self) -> None:
        while self._planned and self._planned[0][0] <= self.steps:
            heapq.heappop(self._planned)[2]()
        if self._frozen:
            self._hold_ready()
        super()._run_once()

    def _hold_ready(self) -> None:
        for _ in range(len(self._queue)):
            handle = self._queue.popleft()
            held = self._held_of(handle)
            (self._queue if held is None else held).append(handle)

    def _hold_timers(self) -> None:
        """Take the timers of the frozen out of the loop's own: nobody else will set another for them."""
        going: list[asyncio.TimerHandle] = []
        for timer in self._timers:
            held = self._held_of(timer)
            if held is None or timer.cancelled():
                going.append(timer)
            else:
                timer._scheduled = False
                held.append(timer)
        if len(going) < len(self._timers):
            heapq.heapify(going)
            self._timers[:] = going

    def _held_of(self, handle: asyncio.Handle) -> list[asyncio.Handle] | None:
        context: contextvars.Context = handle._context  # type: ignore[attr-defined]  # absent from the type stubs
        return self._frozen.get(context.get(PROCESS, -1))

    # asyncio's own two queues, absent from the type stubs

    @property
    def _queue(self) -> Any:
        return self._ready  # type: ignore[attr-defined]

    @property
    def _timers(self) -> Any:
        return self._scheduled  # type: ignore[attr-defined]
