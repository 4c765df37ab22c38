"""What a report counts of a run's outcomes, in one pass over them: how long restarts took, what failed and where."""

from __future__ import annotations

import heapq
import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import Outcome, OutcomeKind
from ecsbatch.model.state import RolloutState
from ecsbatch.views.page.times import Times

SLOWEST: Final = 10
"""Servers that took longest, which are named."""

FAILED: Final = 200
"""Failures that are written out; where there are more, the first ones of the fleet."""

_P95: Final = 0.95


@dataclass(frozen=True, slots=True)
class Took:
    """How long restarts took, from the request's intent until the server's outcome, in seconds.

    Attributes:
        servers: how many were restarted.
        median, p95, longest: of them; p95 is what 95 of 100 did not exceed.
    """

    servers: int
    median: float
    p95: float
    longest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Took | None:
        """Return it of restarts, None where there were none."""
        if not seconds:
            return None
        in_order = sorted(seconds)
        return cls(len(in_order), median(in_order), in_order[max(0, math.ceil(_P95 * len(in_order)) - 1)], in_order[-1])


class Figures:
    """Counts outcomes.

    Attributes:
        slowest: the longest restarts: seconds, and the server's index.
        failed: indexes of the first failures, with their outcomes.
        by_reason, by_host, by_zone: how many failures have each; the reason is the cloud's code, or a word where it
            gave none.
        times: when each server was sent and ended.
    """

    def __init__(self, state: RolloutState) -> None:
        """Count all of a state's."""
        self.slowest: list[tuple[float, int]] = []
        self.failed: list[tuple[int, Outcome]] = []
        self.by_reason, self.by_host, self.by_zone = Counter[str](), Counter[str](), Counter[str]()
        self.times = Times(state.started_at or 0.0)
        self._waves = [array("d") for _ in state.plan.waves]
        self._starts = [wave.start for wave in state.plan.waves]
        self._to_restart = state.plan.to_restart
        for i, outcome in enumerate(state.outcomes()):
            self._add(i, outcome)
        self.slowest = [(seconds, -i) for seconds, i in sorted(self.slowest, reverse=True)]

    def took(self) -> Took | None:
        """Return how long the restarts of all waves took."""
        return Took.of([seconds for wave in self._waves for seconds in wave])

    def took_in(self, wave: int) -> Took | None:
        """Return how long those of one wave took, by its number."""
        return Took.of(self._waves[wave - 1])

    @property
    def failures(self) -> int:
        """How many servers have failed."""
        return self.by_reason.total()

    def _add(self, i: int, outcome: Outcome) -> None:
        self.times.add(outcome)
        if outcome.kind is OutcomeKind.RESTARTED:
            self._time(i, outcome)
        elif outcome.kind.is_failure and outcome.reason != "in_flight":
            self._count(i, outcome)

    def _time(self, i: int, outcome: Outcome) -> None:
        if outcome.submitted_at is None or outcome.ended_at is None or i >= self._to_restart:
            return
        seconds = max(0.0, outcome.ended_at - outcome.submitted_at)
        self._waves[bisect_right(self._starts, i) - 1].append(seconds)
        # Of equal ones the first of the fleet is named.
        keep = heapq.heappush if len(self.slowest) < SLOWEST else heapq.heappushpop
        keep(self.slowest, (seconds, -i))

    def _count(self, i: int, outcome: Outcome) -> None:
        self.by_reason[outcome.code or outcome.reason or outcome.kind.value] += 1
        self.by_zone[outcome.domain] += 1
        if outcome.host:
            self.by_host[outcome.host] += 1
        if len(self.failed) < FAILED:
            self.failed.append((i, outcome))
