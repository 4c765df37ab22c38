"""Machines in one virtual time: each has clocks of its own, and may be suspended, so that its time stands still."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextvars import Context
from typing import Any

from ecsbatch.simulator.virtual_time import EPOCH
from tests.simulated.freezing import PROCESS, FreezingLoop

from .scene import Machine


class MachinesLoop(FreezingLoop):
    """A loop some of whose processes may be suspended with their machines: their timers run on when they wake.

    To a process `time` is the monotonic clock of its machine, which stands still in a suspend; it is true to all else.

    Attributes:
        slept: seconds for which the machine of each process was suspended.
    """

    def __init__(self, *, start: float = 0.0, max_time: float | None = None) -> None:
        self.slept: defaultdict[int, float] = defaultdict(float)
        super().__init__(start=start, max_time=max_time)

    def time(self) -> float:
        """Return the seconds of the machine whose process asks."""
        return super().time() - (self.slept[PROCESS.get()] if self.slept else 0.0)

    def true_time(self) -> float:
        """Return the seconds of the world."""
        return super().time()

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call something at an instant of the machine whose process asks."""
        true = when + (self.slept[PROCESS.get()] if self.slept else 0.0)
        return super().call_at(true, callback, *args, context=context)

    def suspend(self, process: int, seconds: float, thawed: Callable[[], None]) -> None:
        """Let a process stand still with its machine; to be called between two rounds: see `at_step`."""

        def woken() -> None:
            self.slept[process] += seconds
            thawed()

        self.freeze(process, seconds, woken)
        for handle in self._frozen[process]:
            if isinstance(handle, asyncio.TimerHandle):
                handle._when += seconds  # type: ignore[attr-defined]  # asyncio's own


class MachineClock:
    """The clocks of one machine, as its process reads them."""

    def __init__(self, loop: MachinesLoop, number: int, machine: Machine) -> None:
        self._loop = loop
        self._number = number
        self._machine = machine

    def wall(self) -> float:
        """Return seconds since 1970, as this machine has them."""
        return EPOCH + self._loop.true_time() + self._machine.wall

    def monotonic(self) -> float:
        """Return seconds since the boot, without those in which the machine was suspended."""
        return self.boottime() - self._loop.slept[self._number]

    def boottime(self) -> float:
        """Return seconds since the boot."""
        return self._machine.up + self._loop.true_time()

    def boot_id(self) -> str:
        """Return the boot's name."""
        return f"machine-{self._number}"
