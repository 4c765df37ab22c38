"""Waits for who keeps a database or for a server that is away: that costs nothing, giving up costs the run."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from itertools import chain, repeat
from typing import Final, TypeVar

T = TypeVar("T")

BUSY_TIMEOUT: Final = 300.0
"""Seconds to wait for a process that is in the middle of a write: it may have been stopped, and not ended."""

_PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Seconds between attempts at a server that is away; from the last one on they grow no more."""

_HANGS: Final = 2.0
"""Seconds without an answer of a server from which on it is waited for; a transaction takes milliseconds."""


class Patience:
    """Tries again for as long as a database cannot be had. All but the attempts is safe from any thread.

    Attributes:
        timeout: seconds after which it gives up.
        waited: seconds for which it had tried when it last failed to get the database.
    """

    def __init__(self, timeout: float = BUSY_TIMEOUT, hangs: float = _HANGS) -> None:
        """Take the seconds after which it gives up, and those without an answer after which it says that it waits."""
        self.timeout = timeout
        self._hangs = hangs
        self.waited = 0.0
        self._what = ""
        self._since: float | None = None
        self._asked: float | None = None
        self._lost = threading.Event()
        self._end = math.inf

    def until_free(self, do: Callable[[], T]) -> T:
        """Call a function again and again while SQLite is busy; each call may last its connection's own timeout.

        Raises:
            sqlite3.Error: another error, or the database was busy for too long.
        """
        return self._until(do, lambda error: "" if is_busy(error) else None, lambda: None)

    def until_done(self, do: Callable[[], T], waits_for: Callable[[Exception], str | None]) -> T:
        """Call a function again and again, with pauses that grow.

        Args:
            do: what is to be done.
            waits_for: returns for an error what is waited for, None where that would be in vain.

        Raises:
            Exception: what it has raised at last.
        """
        pauses = chain(_PAUSES, repeat(_PAUSES[-1]))
        self._asked = time.monotonic()
        try:
            return self._until(do, waits_for, lambda: self._pause(next(pauses)))
        finally:
            self._asked = None

    def waiting(self) -> float:
        """Return the seconds for which it has been waiting, 0 where it does not wait."""
        since = self._since
        return self._hanging() if since is None else time.monotonic() - since

    @property
    def waits_for(self) -> str:
        """What it waits for, in words; "" where it does not wait, or waits for another process."""
        return self._what or ("the database (no answer yet)" if self._hanging() else "")

    def _hanging(self) -> float:
        """Return the seconds for which a server has said nothing, 0 where that is no more than a moment."""
        asked = self._asked
        lasts = 0.0 if asked is None else time.monotonic() - asked
        return lasts if lasts >= self._hangs else 0.0

    def lose(self) -> None:
        """Give up at once, now and later."""
        self._lost.set()

    def end_within(self, seconds: float) -> None:
        """Give up so many seconds from now, however much there is still to be done."""
        self._end = min(self._end, time.monotonic() + seconds)

    def is_lost(self) -> bool:
        """Return whether it was told to give up by now."""
        return self._lost.is_set() or time.monotonic() >= self._end

    def _until(self, do: Callable[[], T], waits_for: Callable[[Exception], str | None], pause: Callable[[], None]) -> T:
        since = time.monotonic()
        try:
            while True:
                try:
                    return do()
                except Exception as e:
                    what = waits_for(e)
                    self.waited = time.monotonic() - since
                    if what is None or self.waited >= self.timeout:
                        raise
                    self._since, self._what = since, what
                    pause()
                    if self.is_lost():
                        raise
        finally:
            self._since, self._what = None, ""

    def _pause(self, seconds: float) -> None:
        # Many may have lost the same server in the same instant.
        left = min(self.timeout - self.waited, self._end - time.monotonic())
        self._lost.wait(min(seconds * random.uniform(0.5, 1), max(0.0, left)))


def is_busy(error: Exception) -> bool:
    """Return True where an error says that another process keeps an SQLite database."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
