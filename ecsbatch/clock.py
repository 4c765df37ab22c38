"""`Clock`: the one place that reads the machine's clocks.

Everything else takes a `Clock` as an argument, so that a whole rollout can run in virtual time.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, Protocol

_BOOTTIME: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Four readings, each for one purpose."""

    def wall(self) -> float:
        """Return seconds since 1970 (UTC), for stamps on events and dates in signatures; they may jump."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back and that all processes of this boot share, for the quota ledger."""
        ...

    def boottime(self) -> float:
        """Return seconds that never go back and go on while the machine is suspended, for what other machines wait for.

        A clock of one's own may be without it, see `boottime_of`.
        """
        ...

    def boot_id(self) -> str:
        """Return a name of this boot: `monotonic` readings of one boot can be compared."""
        ...


def boottime_of(clock: Clock) -> float:
    """Return a clock's `Clock.boottime`, or its `Clock.monotonic` where it was made before there was that."""
    return getattr(clock, "boottime", clock.monotonic)()


class SystemClock:
    """The machine's own clocks."""

    def wall(self) -> float:
        """Return the system's wall time."""
        return time.time()

    def monotonic(self) -> float:
        """Return CLOCK_MONOTONIC, the clock that asyncio's loops run on."""
        return time.monotonic()

    def boottime(self) -> float:
        """Return CLOCK_BOOTTIME; CLOCK_MONOTONIC where the system has none, which goes on through a suspend there."""
        return time.clock_gettime(_BOOTTIME)

    def boot_id(self) -> str:
        """Return the kernel's boot id, or one derived from the boot's time where the kernel tells none."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return f"boot-{round((time.time() - time.monotonic()) / 60)}"


class Stamps:
    """Stamps for events by the wall clock: where that is set forward they follow it, where it is set back they do not.

    So two stamps of one process are never nearer to each other than the instants that they stand for.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin with what the wall clock says."""
        self._clock = clock
        self._last = (clock.wall(), clock.monotonic())

    def now(self) -> float:
        """Return the next stamp, seconds since 1970."""
        wall, monotonic = self._last
        now = self._clock.monotonic()
        self._last = max(self._clock.wall(), wall + now - monotonic), now
        return self._last[0]
