"""One look at a run that goes on: its state and what surrounds it. Display and log are drawn from it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.standing import Standing, standing

PACE_SPAN: Final = 30.0
"""Seconds that the pace is taken over, at least: a window of the quota that is longer holds one burst of tokens."""

_TOO_SOON: Final = 3.0
"""Seconds of watching that say nothing yet."""


def ended_behind(state: RolloutState, batch: int) -> int:
    """Count what ended, where a difference of two counts leaves out the servers of this batch and earlier ones.

    While such a request is under way its servers count as ended already. What nothing was sent for is no pace either.
    """
    older = sum(len(flight.open) for flight in state.flights.values() if flight.batch <= batch)
    ended = state.run.ended
    return sum(ended.values()) - ended[OutcomeKind.SKIPPED] - ended[OutcomeKind.NOT_STARTED] + older


class Pace:
    """How fast servers end, from samples of a monotonic clock; no faster than the quota lets go on."""

    def __init__(self, quota: Quota) -> None:
        """Begin without a sample."""
        self._span = max(PACE_SPAN, quota.window)
        self._most = quota.limit * 60 / quota.window
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, now: float, ended: int) -> None:
        """Take a sample; fewer than before, since some are tried again, begin anew."""
        if self._samples and ended < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, ended))
        while len(self._samples) > 2 and self._samples[1][0] <= now - self._span:  # noqa: PLR2004 - a span has two ends
            self._samples.popleft()

    @property
    def per_minute(self) -> float | None:
        """Servers per minute lately; None while none has ended."""
        if not self._samples:
            return None
        (then, before), (now, ended) = self._samples[0], self._samples[-1]
        if ended == before or now - then < _TOO_SOON:
            return None
        return min((ended - before) * 60 / (now - then), self._most)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a picture is about.

    Attributes:
        state: of the run.
        quota: servers per window.
        usage: what the ledger said last, None while it has not been asked.
        per_minute: servers that ended lately, None while none did.
        elapsed: seconds since the run's start.
        notice: a sentence from whoever runs it, where it is ending or sees nothing: there is no pace then.
        repeat: flags that commands about this run need too.
        now: seconds since 1970.
        stopping: the run's process was told to stop, where this is that process.
    """

    state: RolloutState
    quota: Quota
    usage: Usage | None = None
    per_minute: float | None = None
    elapsed: float = 0.0
    notice: str = ""
    repeat: str = ""
    now: float = 0.0
    stopping: bool = False

    @property
    def standing(self) -> Standing:
        """How the run stands."""
        return standing(self.state, self.now, stopping=self.stopping)
