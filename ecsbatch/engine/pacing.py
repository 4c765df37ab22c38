"""`RequestPacer`: how often requests may be made to a site, by what its 429s say. Pure: it is told the times.

The gateway counts the requests of a user, and where there are too many its message names the limit and its period.
From then on, and for some minutes after the last such message, no more than that leave in any period, evenly spread:
a burst would spend a whole period's requests at once, and all that ends in it would be seen late.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ecsbatch.errors import Throttled

HEEDED_FOR: Final = 300.0
"""Seconds for which a limit is kept to after the last 429 that named it."""

_REMEMBERED: Final = 4096
"""Requests whose times are kept; at the default rate those of three minutes."""


class RequestPacer:
    """The pace of requests to one site. All times are loop times, in seconds."""

    def __init__(self, rate: float) -> None:
        """``rate`` is requests a second where no 429 says otherwise."""
        self._rate = rate
        self._sent: deque[float] = deque(maxlen=_REMEMBERED)
        self._named: tuple[int, float] | None = None
        self._until = 0.0

    def throttled(self, error: Throttled, now: float) -> None:
        """Keep to the limit that a 429 names; one that names none, or one above our own rate, changes nothing."""
        if error.limit and error.window and error.limit / error.window < self._rate:
            self._named, self._until = (error.limit, error.window), now + HEEDED_FOR

    def rate(self, now: float) -> float:
        """Return how many requests a second may be planned with."""
        if self._named is None or now >= self._until:
            return self._rate
        limit, window = self._named
        return limit / window

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may leave, 0 where it may now."""
        if self._named is None or now >= self._until or not self._sent:
            return 0.0
        limit, window = self._named
        after = self._sent[-1] + window / limit
        if limit <= len(self._sent):
            after = max(after, self._sent[-limit] + window)
        return max(0.0, min(after, self._until) - now)

    def sent(self, now: float) -> None:
        """Note a request, answered or not: some limits count those that they turn away."""
        self._sent.append(now)
