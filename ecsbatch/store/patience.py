"""`Patience` with other processes: nothing is lost by waiting for one that stands still, and a run by giving up."""

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
    """Tries again for as long as another process keeps the database. Everything but the trying is for any thread.

    Attributes:
        timeout: seconds after which it has an end.
        waited: seconds that the last attempt took which came to nothing.
    """

    def __init__(self, timeout: float = BUSY_TIMEOUT) -> None:
        """Wait for nobody yet."""
        self.timeout = timeout
        self.waited = 0.0
        self._since: float | None = None
        self._lost = threading.Event()

    def until_free(self, do: Callable[[], T]) -> T:
        """Do something that SQLite refuses while it is busy; an attempt takes its connection's own timeout."""
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
        """Return for how many seconds another process has been waited for, 0 where none is."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def lose(self) -> None:
        """Wait for nobody any more."""
        self._lost.set()


def is_busy(error: Exception) -> bool:
    """Tell whether another process keeps the database."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
