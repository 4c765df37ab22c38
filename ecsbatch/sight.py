"""`Sight`: what one site lets us see, by time.

What cannot be seen is not counted as a failure: deadlines run on the *sighted* clock, which stands still from the
first failed look to the next successful one. Blind for too long, the site's runs stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Sight:
    """When the site last answered, and how far its clock is from ours."""

    def __init__(self, blind_timeout: float, blinded: Callable[[str], None]) -> None:
        """Begin sighted; ``blinded`` is told, in a sentence, once nothing was seen for ``blind_timeout`` seconds."""
        self._blind_timeout = blind_timeout
        self._blinded = blinded
        self._blind_since: float | None = None
        self._blind_total = 0.0
        self._why = ""
        # Against the loop's clock, not the wall's: a wall clock may jump between this answer and the next intent.
        self._ahead: float | None = None
        # Found once: until Python 3.12 the kernel is asked for the process's number each time a loop is looked up.
        self._now = asyncio.get_running_loop().time

    def seen(self, cloud_time: float | None = None) -> None:
        """Note an answer; ``cloud_time`` is its ``Date``, seconds since 1970."""
        if self._blind_since is not None:
            self._blind_total += self._now() - self._blind_since
            self._blind_since = None
        if cloud_time is not None:
            self._ahead = cloud_time - self._now()

    def failed(self, why: object = "") -> None:
        """Note a request that gave no answer about what was asked."""
        self._why = str(why)
        if self._blind_since is None:
            self._blind_since = self._now()
        elif self.blind_for() > self._blind_timeout:
            self._blinded(f"Nothing could be seen of the cloud for {self.blind_for():.0f} s; the last try: {why}")

    def blind_for(self) -> float:
        """Seconds since the site was last seen, 0 while it is."""
        return 0.0 if self._blind_since is None else self._now() - self._blind_since

    @property
    def why(self) -> str:
        """What the last request that gave no answer met."""
        return self._why

    def clock(self) -> float:
        """Seconds on the sighted clock."""
        return self._now() - self._blind_total - self.blind_for()

    def cloud_time(self) -> float:
        """The cloud's clock now, seconds since 1970; 0 where no answer has told it yet."""
        return 0.0 if self._ahead is None else self._now() + self._ahead
