"""A connection to an SQLite database: transactions, statements and tables, wherever the database lies.

`ecsbatch.store.sqlite` adds where it lies: in a file or in memory. Transactions are begun and ended explicitly, since
what the ledger promises depends on when the write lock is taken.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Final, TypeVar

from ecsbatch.errors import StoreError
from ecsbatch.store import migrations
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database
from ecsbatch.store.patience import Patience, is_busy
from ecsbatch.store.sql import Dialect, Statement

T = TypeVar("T")

_TRY: Final = 0.1
"""Seconds of one attempt at a lock, in which SQLite tries some eight times."""

_BEGIN_WRITING: Final = ("BEGIN IMMEDIATE",)
_BEGIN_READING: Final = ("BEGIN", "SELECT count(*) FROM sqlite_master")
"""The second statement reads at once: from then on the transaction sees one state, and waits for no other process."""


class SqliteDatabase(Database):
    """An SQLite database, used by one thread at a time.

    Attributes:
        connection: the driver's connection.
    """

    dialect: ClassVar[Dialect] = "sqlite"
    one_writes: ClassVar[bool] = True

    def __init__(self, url: str, path: str, patience: Patience | None = None) -> None:
        self.url = url
        self.errors = sqlite3.Error
        self._patience = patience or Patience()
        self._mutex = threading.RLock()
        self.connection = sqlite3.connect(
            path, timeout=_TRY, isolation_level=None, check_same_thread=False, uri=path.startswith("file:")
        )

    def execute(self, statement: Statement, values: Mapping[str, Any] | None = None) -> sqlite3.Cursor:
        """Run a statement in the transaction."""
        return self.connection.execute(statement.text("sqlite"), values or {})

    def execute_many(self, statement: Statement, rows: Iterable[Mapping[str, Any]]) -> int:
        """Run a statement for each row; return how many rows it changed in all."""
        return self.connection.executemany(statement.text("sqlite"), rows).rowcount

    # Transactions

    def write(self, do: Callable[[], T], *, claims: bool = False) -> T:  # noqa: ARG002 - one writes at a time anyway
        """Call a function in a transaction with the write lock; at its end all is durable, or nothing was written.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._transaction(_BEGIN_WRITING):
            return do()

    def read(self, do: Callable[[], T]) -> T:
        """Call a function in a transaction that sees one state of the database throughout.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._transaction(_BEGIN_READING):
            return do()

    @contextmanager
    def attempt(self) -> Generator[None, None, None]:
        """Run the block inside a transaction; where it raises, only what it has written is undone."""
        self.connection.execute("SAVEPOINT attempt")
        try:
            yield
        except self.errors:
            raise  # the whole transaction is lost, and may be undone already
        except BaseException:
            self.connection.execute("ROLLBACK TO attempt")
            self.connection.execute("RELEASE attempt")
            raise
        self.connection.execute("RELEASE attempt")

    @contextmanager
    def _transaction(self, begin: Sequence[str]) -> Generator[None, None, None]:
        try:
            with self._mutex:
                self._patience.until_free(lambda: self._begin(begin))
                try:
                    yield
                    self.connection.execute("COMMIT")
                except BaseException:
                    self._roll_back()
                    raise
        except self.errors as e:
            raise StoreError(f"The store {self.url} {self._complaint(e)}") from e

    def _begin(self, statements: Sequence[str]) -> None:
        try:
            for statement in statements:
                self.connection.execute(statement).fetchall()
        except self.errors:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        # There may be no transaction: it could not begin, or a full disk has undone it.
        with suppress(self.errors):
            self.connection.execute("ROLLBACK")

    # Other processes

    def kept_by(self) -> int | None:
        """Return the id of the process in the middle of a write, 0 where it is not known, None where there is none."""
        with self._mutex:
            try:
                self._begin(_BEGIN_WRITING)
            except self.errors as e:
                return self.keeper() if is_busy(e) else None
            self._roll_back()
        return None

    def _complaint(self, error: Exception) -> str:
        if is_busy(error):
            process = self.keeper()
            which = f"process {process}" if process else "another process"
            return (
                f"was kept by {which} for {self._patience.waited:.1f} s: end that one or let it go on, "
                f"then resume ({error})."
            )
        return complaint(error)

    # Tables

    def prepare(self) -> bool:
        """Create the tables where they are missing, upgrade older ones; a database that is up to date is only read.

        Returns:
            True where the ledger could not be read, and begins anew without the grants in it.

        Raises:
            StoreError: this is another program's database, or a later version's; or it cannot be upgraded.
        """
        return False if self.read(self._is_whole) else self.write(self._make_whole)

    def _make_whole(self) -> bool:
        names = self._tables()
        if not names:
            self._run(migrations.steps("sqlite"))
            return False
        self._upgrade(self._version(names))
        if self._ledger_whole():
            return False
        self.execute(sql.FORGET_GRANTS)
        self._run(migrations.remaking("grants", "sqlite"))
        return True

    def _is_whole(self) -> bool:
        """Return True where all tables are there, of this version, and can be read."""
        names = self._tables()
        return bool(names) and self._version(names) == migrations.VERSION and self._ledger_whole()

    def _tables(self) -> set[str]:
        return {name for (name,) in self.execute(sql.TABLES)}

    def _run(self, statements: Iterable[str]) -> None:
        for statement in statements:
            self.connection.execute(statement)

    def _version(self, names: set[str]) -> int:
        """Return the version of the tables, which is not above ours.

        Raises:
            StoreError: this is another program's database, or a later version's.
        """
        row = self.execute(sql.FACT, {"name": "schema"}).fetchone() if "ecsbatch" in names else None
        return migrations.version_of(row[0] if row else None, self.url)

    def _upgrade(self, version: int) -> None:
        """Take each step from an older version to ours, in the transaction of the caller; keep a copy first."""
        if version < migrations.VERSION:
            self.keep_copy(version)
            self._run(migrations.steps("sqlite", version))

    def keep_copy(self, version: int) -> None:
        """Keep what is to be upgraded from a version; there is nothing to keep of a database that ends with us."""

    def _ledger_whole(self) -> bool:
        try:
            # Every row is read on purpose: a broken page shows only when it is read.
            for _ in self.execute(sql.EVERY_GRANT):
                pass
        except self.errors:
            return False
        return True

    def close(self) -> None:
        """Close the connection; a transaction in progress is undone."""
        self.connection.close()


_COMPLAINTS: Final = {
    "SQLITE_FULL": "has no space left on its disk: make room, then resume",
    "SQLITE_NOTADB": "is not a database: choose another file",
    "SQLITE_CORRUPT": "is damaged: restore it, or choose another file",
    "SQLITE_READONLY": "may not be written: mend its permissions, then resume",
    "SQLITE_CANTOPEN": "cannot be opened: mend its permissions, or choose another file",
    "SQLITE_IOERR": "cannot be read or written: mend its disk, then resume",
}


def complaint(error: Exception) -> str:
    """Return what is wrong with a database, as the end of a sentence about it."""
    name = getattr(error, "sqlite_errorname", "")
    for prefix, words in _COMPLAINTS.items():
        if name.startswith(prefix):
            return f"{words} ({error})."
    if str(error).startswith("Could not decode"):
        return "holds what is no text where ecsbatch writes text: restore the store from a copy of before."
    return f"cannot be used: {error}."
