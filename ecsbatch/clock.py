"""The one place that reads the machine's clocks.

Everything else takes a `Clock` as an argument, so that a whole rollout can run in virtual time.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Three readings, each for one purpose."""

    def wall(self) -> float:
        """Seconds since 1970 (UTC): stamps on events, dates in signatures. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, shared by all processes since this machine booted: the quota ledger."""
        ...

    def boot_id(self) -> str:
        """Names the boot in which `monotonic` readings can be compared."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall(self) -> float:
        """Return the system's wall time."""
        return time.time()

    def monotonic(self) -> float:
        """Return CLOCK_MONOTONIC, the clock that asyncio's loops run on."""
        return time.monotonic()

    def boot_id(self) -> str:
        """Return the kernel's boot id, or one derived from the boot's time where the kernel tells none."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return f"boot-{round((time.time() - time.monotonic()) / 60)}"
