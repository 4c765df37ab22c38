"""One look at a run that goes on: its state and what surrounds it. Display and log are drawn from it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from ecsbatch.models import Quota, Usage
from ecsbatch.state import RolloutState

PACE_SPAN: Final = 30.0
"""Seconds that the pace is taken over."""


class Pace:
    """How fast servers end, from samples of a monotonic clock."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, now: float, ended: int) -> None:
        """Take a sample."""
        self._samples.append((now, ended))
        while len(self._samples) > 2 and self._samples[1][0] <= now - PACE_SPAN:  # noqa: PLR2004 - a span has two ends
            self._samples.popleft()

    @property
    def per_minute(self) -> float | None:
        """Servers per minute lately; None while none has ended."""
        if not self._samples:
            return None
        (then, before), (now, ended) = self._samples[0], self._samples[-1]
        return (ended - before) * 60 / (now - then) if ended > before and now > then else None


@dataclass(frozen=True, slots=True)
class Moment:
    """What a picture is about.

    Attributes:
        state: of the run.
        quota: servers per window.
        usage: what the ledger said last, None while it has not been asked.
        per_minute: servers that ended lately, None while none did.
        elapsed: seconds since the run's start.
        notice: a sentence from whoever runs it, such as that it is stopping.
        again: flags that commands about this run need too.
    """

    state: RolloutState
    quota: Quota
    usage: Usage | None = None
    per_minute: float | None = None
    elapsed: float = 0.0
    notice: str = ""
    again: str = ""
