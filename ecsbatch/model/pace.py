"""How fast a run's servers end while it can send, counted from its events: whoever reads them says the same."""

from __future__ import annotations

from collections import deque
from typing import Final

_LONGEST: Final = 3_600
"""Seconds that are remembered."""


class EndCounter:
    """Counts the servers that end, second by second, since the run could last begin to send.

    It begins anew behind a barrier, a pause, a blindness and with each process. Servers that were sent before may end
    all at once then; that is no pace.

    Attributes:
        since: when the run could last begin to send, seconds since 1970; None while it cannot.
    """

    def __init__(self) -> None:
        """Begin while nothing can be sent."""
        self.since: float | None = None
        self._before = 0
        self._ends: deque[tuple[int, int]] = deque(maxlen=_LONGEST)

    def begin(self, ts: float, last_batch: int) -> None:
        """Count from now on what is sent from now on: in batches behind ``last_batch``."""
        self.since, self._before = ts, last_batch
        self._ends.clear()

    def stop(self) -> None:
        """Count nothing: the run cannot send."""
        self.since = None

    def ended(self, batch: int, ts: float, count: int = 1) -> None:
        """Count servers of a batch that have ended."""
        if self.since is None or batch <= self._before:
            return
        second = int(ts)
        if self._ends and self._ends[-1][0] == second:
            count += self._ends.pop()[1]
        self._ends.append((second, count))

    def within(self, since: float) -> int:
        """Return how many ended after a time."""
        total = 0
        for second, count in reversed(self._ends):
            if second <= since:
                break
            total += count
        return total
