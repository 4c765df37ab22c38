"""Counts what really happened: which requests the cloud counted, which servers it restarted, how many were down.

It knows the cloud's own instants, which no client can: when a request was counted and when each restart truly ended.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from ecsbatch.simulator.config import CloudConfig

NO_SPAN: Final = -1
LISTED_IDS: Final = 100
"""Ids that the summary lists of servers that were restarted more than once."""


def fullest_window(counted: Sequence[tuple[float, int]], window: float) -> tuple[int, float]:
    """Return the most servers in any closed window of `window` seconds, and when that window begins.

    Args:
        counted: instants with the number of servers counted then, in the order of time.
        window: seconds.
    """
    fullest, where, inside, left = 0, 0.0, 0, 0
    for at, size in counted:
        inside += size
        while counted[left][0] < at - window:
            inside -= counted[left][1]
            left += 1
        if inside > fullest:
            fullest, where = inside, counted[left][0]
    return fullest, where


def most_at_once(spans: Iterable[tuple[float, float]]) -> tuple[int, float]:
    """Return the most spans [begin, end) that overlap at one instant, and the first such instant."""
    most, where = 0, 0.0
    ends: list[float] = []
    for begin, end in sorted(spans):
        while ends and ends[0] <= begin:
            heapq.heappop(ends)
        heapq.heappush(ends, end)
        if len(ends) > most:
            most, where = len(ends), begin
    return most, where


class Auditor:
    """Collects facts; `summary` sums them up."""

    def __init__(self, config: CloudConfig) -> None:
        self.requests = 0
        self.looks: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.bad_signatures = 0
        self.accepted_servers = 0
        self.accepted_requests = 0
        self.refused_servers = 0
        self.throttled_requests = 0
        self.counted: list[tuple[float, int]] = []
        self.foreign: list[tuple[float, int]] = []
        self.submits: list[float] = []
        self._config = config
        self._numbers = array("L")
        self._begins = array("d")
        self._ends = array("d")
        self._last_span = array("l", [NO_SPAN]) * config.servers

    # -- facts -------------------------------------------------------------------------------------------------

    def restarted(self, number: int, begins: float, ends: float) -> None:
        """Note that a server is down from `begins` to `ends` (infinity: until somebody heals it)."""
        self.recovered(number, begins)
        self._last_span[number] = len(self._numbers)
        self._numbers.append(number)
        self._begins.append(begins)
        self._ends.append(ends)

    def recovered(self, number: int, at: float) -> None:
        """Note that a server is up, or down anew, at `at`: its last span ends then, if it has not ended before."""
        span = self._last_span[number]
        if span != NO_SPAN and self._ends[span] > at:
            self._ends[span] = at

    @property
    def restarts(self) -> int:
        """How many reboots have begun."""
        return len(self._numbers)

    # -- sums --------------------------------------------------------------------------------------------------

    def spans(self, keep: Callable[[int], bool] | None = None) -> list[tuple[float, float]]:
        """Return when servers were down because of a restart: all servers, or those for which `keep` returns True."""
        rows = zip(self._numbers, self._begins, self._ends, strict=True)
        return [(begin, end) for number, begin, end in rows if keep is None or keep(number)]

    def timeline(self) -> list[tuple[float, int]]:
        """Return every instant at which the number of servers down changes, with the number from then on."""
        changes: Counter[float] = Counter()
        for begin, end in self.spans():
            changes[begin] += 1
            changes[end] -= 1
        down, line = 0, list[tuple[float, int]]()
        for at in sorted(changes):
            down += changes[at]
            line.append((at, down))
        return line

    def quota_share(self) -> float | None:
        """Return the share of the quota that was used after the first window; None where all was counted within it.

        It is what was counted after the first window, divided by limit x time from the first count to the last: when
        the first window ends, a perfect client can send the whole limit again.
        """
        limit, window = self._config.quota_limit, self._config.quota_window
        if not limit or not self.counted or self.counted[-1][0] - self.counted[0][0] < window:
            return None
        first, last = self.counted[0][0], self.counted[-1][0]
        later = sum(size for at, size in self.counted if at >= first + window)
        return later / (limit * (last - first) / window)

    def summary(self, ids: Sequence[str], restarts: Sequence[int], zone: Callable[[int], str]) -> dict[str, Any]:
        """Return all facts and sums as JSON values; instants and windows are in seconds of the cloud's time."""
        fullest, where = fullest_window(self.counted, self._config.quota_window)
        with_foreign = fullest_window(sorted(self.counted + self.foreign), self._config.quota_window)[0]
        down, down_at = most_at_once(self.spans())
        repeated = [number for number, count in enumerate(restarts) if count > 1]
        return {
            "quota_limit": self._config.quota_limit,
            "quota_window": self._config.quota_window,
            "fullest_window": fullest,
            "fullest_window_at": where,
            "fullest_window_with_foreign": with_foreign,
            "quota_share": self.quota_share(),
            "counted_servers": sum(size for _, size in self.counted),
            "accepted_servers": self.accepted_servers,
            "accepted_requests": self.accepted_requests,
            "refused_servers": self.refused_servers,
            "throttled_requests": self.throttled_requests,
            "first_submit": self.submits[0] if self.submits else None,
            "last_submit": self.submits[-1] if self.submits else None,
            "restarts": self.restarts,
            "restarted_servers": sum(count > 0 for count in restarts),
            "restarted_more_than_once": len(repeated),
            "restarted_more_than_once_ids": [ids[number] for number in repeated[:LISTED_IDS]],
            "most_down": down,
            "most_down_at": down_at,
            "most_down_by_zone": self._most_down_by_zone(zone),
            "looks": dict(self.looks),
            "requests": self.requests,
            "statuses": dict(self.statuses),
            "faults": dict(self.faults),
            "bad_signatures": self.bad_signatures,
        }

    def _most_down_by_zone(self, zone: Callable[[int], str]) -> dict[str, int]:
        by_zone: dict[str, list[tuple[float, float]]] = {name: [] for name in self._config.zones}
        for number, begin, end in zip(self._numbers, self._begins, self._ends, strict=True):
            by_zone[zone(number)].append((begin, end))
        return {name: most_at_once(spans)[0] for name, spans in by_zone.items()}
