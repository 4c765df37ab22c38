"""The clock of a quota ledger: one that all who share the ledger can compare.

On one machine it is the monotonic clock of its boot; on several it is the database server's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ecsbatch.clock import Clock, Stamps


class LedgerClock(Protocol):
    """Reads the time for grants, and for the stamps of events.

    Attributes:
        name: which clock it is: readings of clocks of one name can be compared.
    """

    name: str

    def now(self) -> float:
        """Return the seconds on the ledger's clock; called inside a transaction."""
        ...

    def here(self) -> float | None:
        """Return the same; None where a statement had better read it at the server, once it has its locks."""
        ...

    def estimate(self) -> float:
        """Return the same without asking the database, rather too many seconds than too few; safe from any thread."""
        ...

    def earliest(self) -> float:
        """Return what `estimate` does, rather too few seconds than too many."""
        ...

    def stamp(self) -> float:
        """Return the seconds since 1970 for what is written; called inside a transaction."""
        ...

    def stamp_at(self, now: float) -> float:
        """Return the stamp that belongs to a reading of the ledger's clock of this moment."""
        ...

    def wall(self) -> float:
        """Return the same without asking the database; safe from any thread."""
        ...


class TransactionClock:
    """The times of one transaction, each read once: at a server each reading is a round trip.

    All that is written in it had happened when it began: to read the clock for each write would be no nearer to it.
    """

    def __init__(self, clock: LedgerClock) -> None:
        """Read ``clock``."""
        self._clock = clock
        self._last_stamp = 0.0
        self.forget()

    def forget(self) -> None:
        """A transaction begins."""
        self._now: float | None = None
        self._seen: float | None = None
        self._stamp: float | None = None

    def notice(self, now: float) -> None:
        """Take a reading of the clock that was made for something else for stamps, too."""
        self._seen = now

    def now(self) -> float:
        """Return the seconds on the ledger's clock."""
        if self._now is None:
            self._now = self._seen = self._clock.now()
        return self._now

    def stamp(self) -> float:
        """Return the seconds since 1970 for what is written; they never go back."""
        if self._stamp is None:
            seen = self.now() if self._seen is None else self._seen
            self._stamp = self._last_stamp = max(self._last_stamp, self._clock.stamp_at(seen))
        return self._stamp


class DatabaseClock:
    """A database's own clock, for all machines that share it."""

    def __init__(self, name: str, read: Callable[[], float], boottime: Callable[[], float]) -> None:
        """Read the clock called ``name`` with ``read``, and ``boottime`` for the time since it was read."""
        self.name = name
        self._read = read
        self._boottime = boottime
        # From before it was asked until after it was heard: it showed that at some instant in between.
        self._seen = (boottime(), read(), boottime())

    def now(self) -> float:
        """Return the database's seconds."""
        before = self._boottime()
        seen = self._read()
        self._seen = (before, seen, self._boottime())
        return seen

    def here(self) -> float | None:
        """Return the database's seconds."""
        return self.now()

    def estimate(self) -> float:
        """Return what it says now by this machine's clock."""
        before, seen, _ = self._seen
        return seen + self._boottime() - before

    def earliest(self) -> float:
        """Return the least that it can say now."""
        _, seen, after = self._seen
        return seen + self._boottime() - after

    def stamp(self) -> float:
        """Return the same as `now`."""
        return self.now()

    def stamp_at(self, now: float) -> float:
        """Return the same reading."""
        return now

    def wall(self) -> float:
        """Return the same as `estimate`."""
        return self.estimate()


class ServerClock(DatabaseClock):
    """The clock of a database server, which its own SQL reads as well."""

    def here(self) -> None:
        """Return None: a statement reads it once it is its turn, as late as can be."""


class MachineClock:
    """The clocks of this machine, for a database of its own."""

    def __init__(self, clock: Clock) -> None:
        """Read ``clock``."""
        self.name = clock.boot_id()
        self._clock = clock
        self._stamps = Stamps(clock)

    def now(self) -> float:
        """Return the seconds of this boot."""
        return self._clock.monotonic()

    here = now

    def estimate(self) -> float:
        """Return the same."""
        return self._clock.monotonic()

    earliest = estimate

    def stamp(self) -> float:
        """Return the wall clock's time, which never goes back here."""
        return self._stamps.now()

    def stamp_at(self, now: float) -> float:  # noqa: ARG002 - this one is another clock
        """Return the wall clock's time, which never goes back here."""
        return self._stamps.now()

    def wall(self) -> float:
        """Return the wall clock's time as it is."""
        return self._clock.wall()
