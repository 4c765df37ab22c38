"""The clock of a quota ledger: one that all who share the ledger can compare.

On one machine it is the monotonic clock of its boot; on several it is the database server's.
"""

from __future__ import annotations

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

    def estimate(self) -> float:
        """Return the same without asking the database, rather too many seconds than too few; safe from any thread."""
        ...

    def stamp(self) -> float:
        """Return the seconds since 1970 for what is written; called inside a transaction."""
        ...


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

    def estimate(self) -> float:
        """Return the same."""
        return self._clock.monotonic()

    def stamp(self) -> float:
        """Return the wall clock's time, which never goes back here."""
        return self._stamps.now()
