"""A connection to an SQLite database: transactions, statements and tables, wherever the database lies.

`ecsbatch.store.sqlite` adds where it lies: in a file or in memory. Statements are SQLAlchemy Core, rendered once per
dialect and then run by the driver: a commit costs microseconds, most of which would otherwise be spent on building the
same text again. Transactions are begun and ended explicitly, since what the ledger promises depends on when the write
lock is taken.
"""

from __future__ import annotations

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from ecsbatch.errors import StoreError
from ecsbatch.model.ownership import Exposure
from ecsbatch.store import schema
from ecsbatch.store.locks import Locks
from ecsbatch.store.patience import Patience, is_busy

_TRY: Final = 0.1
"""Seconds of one attempt at a lock, in which SQLite tries some eight times."""

GIVE_WAY: Final = 0.01
"""Seconds between two transactions of long work; SQLite has no queue, and other processes try only now and then."""

_BEGIN_WRITING: Final = ("BEGIN IMMEDIATE",)
_BEGIN_READING: Final = ("BEGIN", "SELECT count(*) FROM sqlite_master")
"""The second statement reads at once: from then on the transaction sees one state, and waits for no other process."""


class PreparedStatement:
    """A Core statement whose SQL is rendered once per dialect; its values are passed by name."""

    def __init__(self, statement: sa.ClauseElement | CreateTable | CreateIndex | DropTable) -> None:
        self._statement = statement
        self._texts: dict[str, str] = {}

    def text(self, dialect: sa.Dialect) -> str:
        """Return the SQL of a dialect."""
        text = self._texts.get(dialect.name)
        if text is None:
            text = self._texts[dialect.name] = str(self._statement.compile(dialect=dialect))
        return text


def as_bytes(column: sa.ColumnElement[bytes]) -> sa.ColumnElement[bytes]:
    """Read a column as bytes, even where somebody has written text into it by hand."""
    return sa.cast(column, sa.LargeBinary)


def as_number(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """Read a column as a whole number, even where somebody has written something else into it by hand."""
    return sa.cast(column, sa.Integer)


_CREATE = {
    table.name: (
        PreparedStatement(CreateTable(table)),
        *(PreparedStatement(CreateIndex(index)) for index in table.indexes),
    )
    for table in schema.metadata.sorted_tables
}
_DROP_GRANTS = PreparedStatement(DropTable(schema.grants, if_exists=True))
_VERSION = PreparedStatement(sa.select(schema.facts.c.value).where(schema.facts.c.name == sa.bindparam("name")))
_STATE = PreparedStatement(sa.insert(schema.facts).values(name=sa.bindparam("name"), value=sa.bindparam("value")))
_WITHDRAW = PreparedStatement(sa.delete(schema.facts).where(schema.facts.c.name == sa.bindparam("name")))


class Database(ABC):
    """An SQLite database, used by one thread at a time.

    Attributes:
        url: as it was given.
        errors: the class of errors that the driver raises.
        connection: the driver's connection.
    """

    def __init__(self, url: str, path: str, patience: Patience | None = None) -> None:
        self.url = url
        self._patience = patience or Patience()
        self._mutex = threading.RLock()
        self._engine = sa.create_engine(
            "sqlite://", creator=lambda: _connect(path), poolclass=StaticPool, paramstyle="named"
        )
        self._dialect = self._engine.dialect
        self.errors: type[Exception] = sqlite3.Error
        self.connection: Any = self._engine.raw_connection().driver_connection

    def execute(self, statement: PreparedStatement, values: Mapping[str, Any] | None = None) -> Any:
        """Run a statement; return the driver's cursor."""
        return self.connection.execute(statement.text(self._dialect), values or {})

    def execute_many(self, statement: PreparedStatement, rows: Iterable[Mapping[str, Any]]) -> int:
        """Run a statement for each row; return how many rows it changed in all."""
        cursor = self.connection.executemany(statement.text(self._dialect), rows)
        return int(cursor.rowcount)

    def exposure(self) -> Exposure | None:
        """Return why others than this process's user may write its rows: a server may be shared, a file says more."""
        return Exposure("a database server may be written by others")

    @contextmanager
    def writing(self) -> Generator[None, None, None]:
        """Run the block in a transaction with the write lock; at its end all is durable, or nothing was written.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._transaction(_BEGIN_WRITING):
            yield

    @contextmanager
    def reading(self) -> Generator[None, None, None]:
        """Run the block in a transaction that sees one state of the database throughout.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._transaction(_BEGIN_READING):
            yield

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

    def give_way(self) -> None:  # noqa: B027 - a database of one process has nobody to give way to
        """Let other processes write between two transactions of long work; only needed where there are others."""

    def shrink(self) -> bool:
        """Give some pages that became free back to the disk; return True where there are more."""
        return False

    def kept_by(self) -> int | None:
        """Return the id of the process in the middle of a write, 0 where it is not known, None where there is none."""
        with self._mutex:
            try:
                self._begin(_BEGIN_WRITING)
            except self.errors as e:
                return self.keeper() if is_busy(e) else None
            self._roll_back()
        return None

    def keeper(self) -> int:
        """Return the id of the process that is in the middle of a write, 0 where not known. Safe from any thread."""
        return 0

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
        with self.reading():
            if self._is_whole():
                return False
        with self.writing():
            names = self._tables()
            if not names:
                self._create(_CREATE)
                self._state_version()
                return False
            self._upgrade(self._version(names))
            if self._ledger_whole():
                return False
            self.execute(_DROP_GRANTS)
            self._create([schema.grants.name])
            return True

    def _is_whole(self) -> bool:
        """Return True where all tables are there, of this version, and can be read."""
        names = self._tables()
        return bool(names) and self._version(names) == schema.VERSION and self._ledger_whole()

    def _tables(self) -> set[str]:
        rows = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {row[0] for row in rows} - {"sqlite_sequence"}

    def _create(self, tables: Iterable[str]) -> None:
        for table in tables:
            for statement in _CREATE[table]:
                self.execute(statement)

    def _version(self, names: set[str]) -> int:
        """Return the version of the tables, which is not above ours.

        Raises:
            StoreError: this is another program's database, or a later version's.
        """
        row = self.execute(_VERSION, {"name": "schema"}).fetchone() if schema.facts.name in names else None
        if row is None or not str(row[0]).isdecimal():
            raise StoreError(f"The store {self.url} is another program's database: choose another file.")
        version = int(row[0])
        if version > schema.VERSION:
            raise StoreError(
                f"The store {self.url} was written by a newer ecsbatch (schema {version}, this one reads up to "
                f"{schema.VERSION}): update ecsbatch, or choose another file."
            )
        return version

    def _upgrade(self, version: int) -> None:
        """Take each step from an older version to ours, in the transaction of the caller; keep a copy first."""
        if version == schema.VERSION:
            return
        self.keep_copy(version)
        for step in range(version + 1, schema.VERSION + 1):
            for statement in schema.STEPS.get(step, ()):
                self.connection.execute(statement)
        self.execute(_WITHDRAW, {"name": "schema"})
        self._state_version()

    def _state_version(self) -> None:
        self.execute(_STATE, {"name": "schema", "value": str(schema.VERSION)})

    def keep_copy(self, version: int) -> None:  # noqa: B027 - nor anything to keep
        """Keep what is to be upgraded from a version; there is nothing to keep of a database that ends with us."""

    def _ledger_whole(self) -> bool:
        columns = ", ".join(column.name for column in schema.grants.c)
        try:
            # Every row is read on purpose: a broken page shows only when it is read.
            for _ in self.connection.execute(f"SELECT {columns} FROM grants"):  # noqa: S608  # our own column names
                pass
        except self.errors:
            return False
        return True

    @abstractmethod
    def locks(self) -> Locks:
        """Return a new set of locks on runs, for one store."""

    def close(self) -> None:
        """Close the connection; a transaction in progress is undone."""
        self.connection.close()
        self._engine.dispose()


def _connect(path: str) -> sqlite3.Connection:
    uri = path.startswith("file:")
    return sqlite3.connect(path, timeout=_TRY, isolation_level=None, check_same_thread=False, uri=uri)


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
