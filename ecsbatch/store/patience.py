"""Waits for other processes that write: waiting for one that stands still costs nothing, giving up costs the run."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

BUSY_TIMEOUT: Final = 300.0
"""Seconds to wait for a process that is in the middle of a write: it may have been stopped, and not ended."""


class Patience:
    """Tries again for as long as another process keeps the database. All but `until_free` is safe from any thread.

    Attributes:
        timeout: seconds after which it gives up.
        waited: seconds for which `until_free` had tried when it last failed to get the database.
    """

    def __init__(self, timeout: float = BUSY_TIMEOUT) -> None:
        """Take the seconds after which it gives up."""
        self.timeout = timeout
        self.waited = 0.0
        self._since: float | None = None
        self._lost = threading.Event()

    def until_free(self, do: Callable[[], T]) -> T:
        """Call a function again and again while SQLite is busy; each call may last its connection's own timeout.

        Raises:
            sqlite3.Error: another error, or the database was busy for too long.
        """
        since = time.monotonic()
        try:
            while True:
                try:
                    return do()
                except sqlite3.Error as e:
                    self.waited = time.monotonic() - since
                    if not is_busy(e) or self._lost.is_set() or self.waited >= self.timeout:
                        raise
                    self._since = since
        finally:
            self._since = None

    def waiting(self) -> float:
        """Return the seconds for which it has been waiting for another process, 0 where it does not wait."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def lose(self) -> None:
        """Give up at the next attempt, now and later."""
        self._lost.set()


def is_busy(error: Exception) -> bool:
    """Return True where an error says that another process keeps the database."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
