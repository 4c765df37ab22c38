"""What a store needs of a database, whichever it is: transactions, statements, tables.

`ecsbatch.store.sqlite` is a database in a file or in memory, `ecsbatch.store.postgres` one that machines share. Work is
given to `Database.write` and `Database.read` as a function, which may be called again: where the database lost the
transaction by no fault of ours, it is done anew.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final, Protocol, TypeVar

from ecsbatch.clock import Clock
from ecsbatch.errors import StoreError
from ecsbatch.model.ownership import Exposure
from ecsbatch.store.ledger_clock import LedgerClock, MachineClock
from ecsbatch.store.locks import Locks
from ecsbatch.store.sql import Dialect, Statement

T = TypeVar("T")

GIVE_WAY: Final = 0.01
"""Seconds between two transactions of long work; SQLite has no queue, and other processes try only now and then."""


class Rows(Protocol):
    """What a statement has returned."""

    @property
    def rowcount(self) -> int:
        """How many rows it has changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, None behind the last."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Go through the rows that are left."""
        ...


class Database(ABC):
    """A database, used by one thread at a time.

    Attributes:
        dialect: whose SQL it takes.
        url: as it was given, without a password.
        errors: the class of errors that the driver raises.
        one_writes: a transaction that writes keeps all others from writing until its end.
    """

    dialect: ClassVar[Dialect]
    one_writes: ClassVar[bool] = False
    url: str
    errors: type[Exception]

    # Transactions

    @abstractmethod
    def write(self, do: Callable[[], T], *, claims: bool = False) -> T:
        """Call a function in a transaction that writes; at its end all is durable, or nothing was written.

        Args:
            do: writes, by `execute` and `execute_many`; it may be called again, and must then do the same anew.
            claims: it takes servers or runs. Of all that do so one goes on at a time.

        Raises:
            StoreError: the database cannot be written.
        """

    @abstractmethod
    def read(self, do: Callable[[], T]) -> T:
        """Call a function in a transaction that sees one state of the database throughout; it may be called again.

        Raises:
            StoreError: the database cannot be read.
        """

    @abstractmethod
    def attempt(self) -> AbstractContextManager[None]:
        """Run the block inside a transaction; where it raises, only what it has written is undone."""

    @abstractmethod
    def execute(self, statement: Statement, values: Mapping[str, Any] | None = None) -> Rows:
        """Run a statement in the transaction."""

    @abstractmethod
    def execute_many(self, statement: Statement, rows: Iterable[Mapping[str, Any]]) -> int:
        """Run a statement for each row; return how many rows it changed in all."""

    # Tables

    @abstractmethod
    def prepare(self) -> bool:
        """Create the tables where they are missing, upgrade older ones where that is ours to do.

        Returns:
            True where the ledger could not be read, and begins anew without the grants in it.

        Raises:
            StoreError: this is another program's database, or a later version's; or it cannot be upgraded.
        """

    # Others

    @abstractmethod
    def locks(self, nonce: str, clock: Clock) -> Locks:
        """Return a new set of locks on runs, for one store, which ``nonce`` names; ``clock`` is this machine's."""

    def beside(self) -> Database:
        """Return another connection to the same database, for work that must not wait for this one's."""
        return self

    def is_full(self, error: StoreError) -> bool:  # noqa: ARG002 - most need no connection
        """Tell whether an error of a connection `beside` says that there is none to spare: this one may still work."""
        return False

    def ledger_clock(self, clock: Clock) -> LedgerClock:
        """Return the clock of the ledger and of all stamps; ``clock`` is this machine's."""
        return MachineClock(clock)

    def hear_timeline(self, hear: Callable[[str], None]) -> None:  # noqa: B027 - most never fail over
        """Have a function called with the timeline of a server that may fail over, and then forget commits.

        It is called in the first transaction that writes, and in each one in which the timeline, or what the store has
        noted of it, is not as it was in the one before: two standbys may have been promoted to timelines of one name.
        Nothing else is done before that. Where a transaction was undone it is called again.
        """

    def back_for(self) -> float:
        """Return the seconds since the database was away for all, as far as is known; infinite where it never was."""
        return math.inf

    def exposure(self) -> Exposure | None:
        """Return why others than this process's user may write its rows: a server may be shared, a file says more."""
        return Exposure("a database server may be written by others")

    def give_way(self) -> None:  # noqa: B027 - a database with a queue, or of one process, has nobody to give way to
        """Let other processes write between two transactions of long work; only needed where they would starve."""

    def shrink(self) -> bool:
        """Give some pages that became free back to the disk; return True where there are more."""
        return False

    def kept_by(self) -> int | None:
        """Return the id of the process in the middle of a write, 0 where it is not known, None where there is none."""
        return None

    def keeper(self) -> int:
        """Return the id of the process that is in the middle of a write, 0 where not known. Safe from any thread."""
        return 0

    @abstractmethod
    def close(self) -> None:
        """Close the connection; a transaction in progress is undone."""


def found(rows: Rows) -> Sequence[Any] | None:
    """Return the only row that was asked for, None where there is none."""
    row: Sequence[Any] | None = rows.fetchone()
    return row
