"""`Visibility`: whether one site can be reached. Deadlines stop while it cannot.

What cannot be seen is not counted as a failure: deadlines run by *observed time*, which stands still from the first
failed look to the next successful one. Blind for too long, the site's runs stop. Where nobody asks nobody is blind:
blindness counts between tries less than `QUIET` apart, so that a failure of hours ago says nothing of now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

QUIET = 60.0
"""Seconds without a try after which a site counts as not looked at, rather than as not to be seen."""

LONGEST_PAUSE = 45.0
"""Seconds between two tries to see a site, at the most; less than `QUIET`, so that blindness adds up to its end."""


class Visibility:
    """Whether the site can be reached, and how far its clock is from ours."""

    def __init__(self, blind_timeout: float, blinded: Callable[[str], None]) -> None:
        """Begin as if seen; ``blinded`` hears, in a sentence, that nothing was seen for ``blind_timeout`` seconds."""
        self._blind_timeout = blind_timeout
        self._blinded = blinded
        self._blind_since: float | None = None
        self._blind_total = 0.0
        self._tries = 0
        self._tried_at = 0.0
        self._why = ""
        # Against the loop's clock, not the wall's: a wall clock may jump between this answer and the next intent.
        self._ahead: float | None = None
        # Found once: until Python 3.12 the kernel is asked for the process's number each time a loop is looked up.
        self._now = asyncio.get_running_loop().time
        self._trying = _Trying(self)

    def trying(self) -> _Trying:
        """Note that something is being asked: while a block of it lasts the site does not count as not looked at."""
        return self._trying

    def begin_try(self) -> None:
        """Note that something is about to be asked."""
        self._close_if_quiet()
        self._tries += 1

    def end_try(self) -> None:
        """Note that it was answered, or given up."""
        self._tries -= 1
        self._tried_at = self._now()

    def seen(self, cloud_time: float | None = None) -> None:
        """Note an answer; ``cloud_time`` is its ``Date``, seconds since 1970."""
        if self._blind_since is not None:
            self._blind_total += self._blind_until() - self._blind_since
            self._blind_since = None
        if cloud_time is not None:
            # The stamp is older than this instant by some of the answer's way, so that the cloud's clock is never
            # told too late: a restart of ours is then never taken for one that was there before.
            self._ahead = cloud_time - self._now()

    def failed(self, why: object = "") -> None:
        """Note a request without an answer about what was asked; ``why`` is what it met instead."""
        self._why = str(why)
        self._close_if_quiet()
        self._tried_at = self._now()
        if self._blind_since is None:
            self._blind_since = self._now()
        elif self.blind_for() > self._blind_timeout:
            self._blinded(f"Nothing could be seen of the cloud for {self.blind_for():.0f} s; the last try: {why}")

    def blind_for(self) -> float:
        """Return the seconds since the first failure after the site was last seen, 0 while it is or nobody asks."""
        return 0.0 if self._blind_since is None or self._quiet() else self._now() - self._blind_since

    @property
    def why(self) -> str:
        """What the last request without an answer met."""
        return self._why

    def observed_time(self) -> float:
        """Return loop time without the spans in which the site could not be seen."""
        blind = 0.0 if self._blind_since is None else self._blind_until() - self._blind_since
        return self._now() - self._blind_total - blind

    def cloud_time(self) -> float:
        """Return the cloud's clock now, seconds since 1970; 0 where no answer has told it yet."""
        return 0.0 if self._ahead is None else self._now() + self._ahead

    def _quiet(self) -> bool:
        return not self._tries and self._now() > self._tried_at + QUIET

    def _blind_until(self) -> float:
        return self._tried_at + QUIET if self._quiet() else self._now()

    def _close_if_quiet(self) -> None:
        """End a blindness after which nobody has asked for long: the next one begins anew."""
        if self._blind_since is not None and self._quiet():
            self._blind_total += self._blind_until() - self._blind_since
            self._blind_since = None


class _Trying:
    """What `Visibility.trying` returns: one for all, for each look enters it twice, and a generator costs more."""

    __slots__ = ("_visibility",)

    def __init__(self, visibility: Visibility) -> None:
        self._visibility = visibility

    def __enter__(self) -> None:
        self._visibility.begin_try()

    def __exit__(self, *_: object) -> None:
        self._visibility.end_try()
