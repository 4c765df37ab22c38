"""The clock of a ledger that machines share: the database server's.

All who share the ledger read the same one, however wrong their own clocks are. Between two readings it is estimated by
a clock of this machine that goes on while the machine is suspended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

NAME: Final = "database"
"""The name of the clock in rows of the ledger: it is no boot of any machine."""


def boottime() -> float:
    """Return seconds that go on while the machine is suspended; where no clock does, the monotonic ones."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class ServerTime:
    """The last reading of a server's clock, and since when it is known. Safe from any thread."""

    def __init__(self, here: Callable[[], float] = boottime) -> None:
        """Take the clock of this machine by which time is estimated between readings."""
        self._here = here
        self._mutex = threading.Lock()
        self._last: tuple[float, float] | None = None

    def before(self) -> float:
        """Return what `read` is to be given, before the server is asked."""
        return self._here()

    def read(self, seconds: float, before: float) -> None:
        """Note a reading of the server's clock."""
        with self._mutex:
            self._last = seconds, before

    def estimate(self) -> float | None:
        """Return the server's time, rather too late than too early; None where it was never read."""
        with self._mutex:
            # The server has read its clock after we had asked.
            return None if self._last is None else self._last[0] + max(0.0, self._here() - self._last[1])


class ServerClock:
    """Reads the server's clock for the ledger and for stamps.

    Attributes:
        name: which clock it is: readings of clocks of one name can be compared.
    """

    name = NAME

    def __init__(self, ask: Callable[[], float], known: ServerTime) -> None:
        """Take how to ask for the server's time inside a transaction, and what all who ask have read last."""
        self._ask = ask
        self._known = known
        self._stamp = 0.0

    def now(self) -> float:
        """Return the seconds since 1970 on the server's clock; called inside a transaction."""
        return self._ask()

    def estimate(self) -> float:
        """Return the same without asking, rather too many seconds than too few; safe from any thread."""
        seconds = self._known.estimate()
        # Before the first transaction there is nothing that the time is needed for.
        return time.time() if seconds is None else seconds

    def stamp(self) -> float:
        """Return the seconds since 1970 for what is written; they do not go back here."""
        self._stamp = max(self._stamp, self.estimate())
        return self._stamp
