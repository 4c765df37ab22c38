"""A database at a PostgreSQL server, shared by processes of many machines.

A transaction that writes leaves its number in our row of ``writers`` with the message that begins it. Where a
connection is lost the next attempt has the same number: at that row it waits until the server has ended the transaction
before, and learns whether it was committed. So what is written is written once, whichever message was lost.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from typing import Any, ClassVar, Generic, TypeVar, cast

import psycopg

from ecsbatch.clock import Clock, boottime_of
from ecsbatch.errors import StoreError, StoreOutdated
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.store_url import shown
from ecsbatch.store import migrations, postgres_begin
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database, Rows
from ecsbatch.store.lease_keeper import BEAT, MARGIN
from ecsbatch.store.leases import LeaseLocks
from ecsbatch.store.ledger_clock import ServerClock
from ecsbatch.store.patience import Patience
from ecsbatch.store.postgres_connection import DEADLINE, Answers, PostgresConnection
from ecsbatch.store.postgres_errors import Retry, Trouble, trouble
from ecsbatch.store.sql import Dialect, Statement

T = TypeVar("T")

_NOW = f"SELECT greatest({postgres_begin.EPOCH}, (SELECT max(seen_at) FROM quota_groups))"  # noqa: S608 - our own text
"""It never goes back behind a time at which somebody took tokens."""

_SCHEMA = "SELECT 1 FROM pg_namespace WHERE nspname = 'ecsbatch'"


@dataclass(slots=True)
class _Writing(Generic[T]):
    """One call of `PostgresDatabase.write`, through all its attempts.

    Attributes:
        do: what is written.
        number: by which the server knows it.
        claims: it takes servers or runs.
        results: what the last attempt has returned whose COMMIT may have been sent; empty before that.
    """

    do: Callable[[], T]
    number: int
    claims: bool
    results: list[T] = field(default_factory=list[T])


class PostgresDatabase(Database):
    """A database at a server; it connects at its first transaction, and again whenever the connection was lost.

    Until a transaction has succeeded nothing is waited for: a server that is away is told at once. Later it is waited
    for as long as ``patience`` lasts.

    Attributes:
        timeline: of the server's write-ahead log, as of the last transaction that wrote; "" where it is not known. A
            new one says that a standby was promoted, and may lack what was committed last.
    """

    dialect: ClassVar[Dialect] = "postgres"

    def __init__(
        self,
        url: str,
        conninfo: str,
        patience: Patience | None = None,
        *,
        read_only: bool = False,
        deadline: float = DEADLINE,
    ) -> None:
        """Take the address; nothing is connected yet.

        Args:
            url: what the store is called in messages.
            conninfo: as libpq takes it, with or without a password.
            patience: how long to wait for the server once it was in use.
            read_only: nothing is to be written; a standby will do, and a role that may only read.
            deadline: seconds to wait for an answer, after which a connection is given up.

        Raises:
            ConfigError: the address cannot be read.
        """
        self.url = shown(url)
        self.errors = psycopg.Error
        self.timeline = ""
        self._heard: tuple[str, str | None] = ("", None)
        self._hear_timeline: Callable[[str], None] = _ignored
        self._conninfo = conninfo
        self._read_only = read_only
        self._patience = patience or Patience()
        self._mutex = threading.RLock()
        self._nonce = secrets.token_hex(12)
        self._number = 0
        self._in_use = False
        self._back_at = -math.inf
        self._tells_timeline = False
        self._in_transaction = False
        self._has_savepoint = False
        self._deadline = deadline
        self._connection = PostgresConnection(conninfo, deadline=deadline, is_cut=self._patience.is_lost)

    # Transactions

    def write(self, do: Callable[[], T], *, claims: bool = False) -> T:
        """Call a function in a transaction that writes; at its end all is durable, or nothing was written.

        It is called again where the transaction was lost, and never once it was committed.

        Raises:
            StoreError: the database cannot be written.
        """
        if self._read_only:
            raise StoreError(f"The store {self.url} was opened to be read: open it to be written.")
        with self._mutex:
            self._number += 1
            writing = _Writing(do, self._number, claims)
            return self._patiently(lambda: self._write(writing), self._waits_for)

    def read(self, do: Callable[[], T]) -> T:
        """Call a function in a transaction that sees one state of the database throughout; it may be called again.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._mutex:
            return self._patiently(lambda: self._read(do), self._waits_for_reading)

    def change_tables(self, do: Callable[[], T]) -> T:
        """Call a function in a transaction that may create and change tables; there is one such at a time.

        Raises:
            StoreError: they cannot be changed.
        """
        with self._mutex:
            return self._patiently(lambda: self._change_tables(do), self._waits_for)

    @contextmanager
    def attempt(self) -> Generator[None, None, None]:
        """Run the block inside a transaction; where it raises, only what it has written is undone."""
        # The one before is released with the same message, and the last one by COMMIT: a round trip less for each.
        released = "RELEASE SAVEPOINT attempt; " if self._has_savepoint else ""
        self._connection.ask(f"{released}SAVEPOINT attempt")
        self._has_savepoint = True
        try:
            yield
        except self.errors:
            raise  # the whole transaction is lost
        except BaseException:
            self._connection.ask("ROLLBACK TO SAVEPOINT attempt")
            raise

    def execute(self, statement: Statement, values: Mapping[str, Any] | None = None) -> Rows:
        """Run a statement in the transaction."""
        return cast("Rows", self._connection.execute(statement.text("postgres"), values))

    def execute_many(self, statement: Statement, rows: Iterable[Mapping[str, Any]]) -> int:
        """Run a statement for each row; return how many rows it changed in all."""
        return self._connection.execute_many(statement.text("postgres"), rows)

    def _write(self, writing: _Writing[T]) -> T:
        with self._undone_if_it_fails():
            self._connect(self._deadline)
            begun = self._begin(
                postgres_begin.writing(
                    self._nonce,
                    writing.number,
                    self._deadline,
                    claims=writing.claims,
                    tells_timeline=self._tells_timeline,
                    forgets=writing.number == 1,
                )
            )
            if not begun[1]:
                return self._written_before(writing)
            timeline, noted = begun[-1][0]
            # A server that does not tell it fails over in silence, like one that never does.
            if timeline and (timeline, noted) != self._heard:
                self._hear_timeline(timeline)
            result = writing.do()
            writing.results = [result]
            self._commit()
        self.timeline, self._heard = timeline, (timeline, noted)
        return result

    def _written_before(self, writing: _Writing[T]) -> T:
        """Return the result of a transaction that was committed, the answer to which was lost."""
        self._roll_back()
        if not writing.results:
            raise StoreError(f"The store {self.url} has another writer of this one's name: open it again, then resume.")
        return writing.results[0]

    def _read(self, do: Callable[[], T]) -> T:
        with self._undone_if_it_fails():
            self._connect(self._deadline * postgres_begin.READING)
            self._begin(postgres_begin.reading(self._deadline))
            result = do()
        self._in_use = True
        # What was read is read: it does not matter whether the connection was lost with it.
        with suppress(self.errors):
            self._connection.ask("COMMIT")
        return result

    def _change_tables(self, do: Callable[[], T]) -> T:
        with self._undone_if_it_fails():
            self._connect(self._deadline)
            self._begin(postgres_begin.changing_tables(self._deadline))
            result = do()
            self._commit()
        return result

    def _begin(self, text: str) -> Answers:
        self._in_transaction, self._has_savepoint = True, False
        return self._connection.ask(text)

    def _commit(self) -> None:
        # Where a statement has failed the connection is closed: this fails, too, whoever has ignored that.
        self._connection.ask("COMMIT")
        self._in_use = True

    @contextmanager
    def _undone_if_it_fails(self) -> Generator[None, None, None]:
        try:
            yield
        except self.errors:
            self._connection.close()  # the server undoes what it has of it
            raise
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._in_transaction = False

    def _roll_back(self) -> None:
        with suppress(self.errors):
            self._connection.ask("ROLLBACK")

    # The server

    def _connect(self, deadline: float) -> None:
        """Connect where there is no connection, and look at who answers.

        Args:
            deadline: seconds to wait for each answer from now on.

        Raises:
            psycopg.Error: it cannot be reached, or is no server to work with.
        """
        self._connection.deadline = deadline
        if not self._connection.open():
            return
        read_only, encoding, runs_for, self._tells_timeline = self._connection.ask(postgres_begin.ABOUT_SERVER)[-1][0]
        # A connection that was lost in use may have been lost by all, as in a failover.
        self._back_at = time.monotonic() - (0.0 if self._in_use else runs_for)
        if encoding != "UTF8":
            raise psycopg.errors.UntranslatableCharacter(f"its encoding is {encoding}")
        if read_only and not self._read_only:
            raise psycopg.errors.ReadOnlySqlTransaction("its transactions are read-only")

    def _patiently(self, do: Callable[[], T], waits_for: Callable[[Exception], str | None]) -> T:
        try:
            return self._patience.until_done(do, waits_for)
        except psycopg.Error as e:
            waited = self._patience.waited if self._in_use else None
            raise StoreError(trouble_of(e).sentence(self.url, waited)) from e

    def _waits_for(self, error: Exception) -> str | None:
        """Return what is waited for after an error, None where that would be in vain."""
        if not isinstance(error, psycopg.Error):
            return None
        found = trouble_of(error)
        worth = found.retry is Retry.ALWAYS or (found.retry is Retry.IN_USE and self._in_use)
        return found.waits_for if worth else None

    def _waits_for_reading(self, error: Exception) -> str | None:
        # What takes too long will do so again, and everything else waits behind it.
        return None if isinstance(error, psycopg.errors.QueryCanceled) else self._waits_for(error)

    def back_for(self) -> float:
        """Return the seconds since the server was started, or since we have it back."""
        return time.monotonic() - self._back_at

    def hear_timeline(self, hear: Callable[[str], None]) -> None:
        """Have a function called with each new timeline, and with one of which the store has a new note."""
        self._hear_timeline = hear

    # Tables

    def prepare(self) -> bool:
        """Create the tables where there are none; a database that is up to date is only read.

        Returns:
            False: a server keeps its tables whole by itself.

        Raises:
            StoreError: another program has tables in our schema; or they are of an older or a newer version.
        """
        if not self.read(self.version):
            if self._read_only:
                raise self._without_tables()
            self.change_tables(self._create)
        return False

    def _without_tables(self) -> StoreOutdated:
        return StoreOutdated(f"The store {self.url} has no tables yet: have the owner make them.")

    def version(self) -> int:
        """Return the version of the tables, 0 where there are none; called inside a transaction.

        Raises:
            StoreError: another program has tables in our schema; or they are of an older or a newer version.
        """
        found = self.any_version()
        if 0 < found < migrations.VERSION:
            raise StoreOutdated(
                f"The store {self.url} is of an older version (schema {found}, this one needs {migrations.VERSION}): "
                "have the owner of its tables upgrade them."
            )
        return found

    def any_version(self) -> int:
        """Return the version of the tables, which may be older than ours; called inside a transaction.

        Raises:
            StoreError: another program has tables in our schema, or they are of a newer version.
        """
        names = {name for (name,) in self.execute(sql.TABLES)}
        if not names:
            return 0
        try:
            row = self.execute(sql.FACT, {"name": "schema"}).fetchone() if "ecsbatch" in names else None
        except psycopg.errors.UndefinedTable:
            # It is there, and a schema that a role may not use is left out of where it looks.
            raise psycopg.errors.InsufficientPrivilege("permission denied for schema ecsbatch") from None
        return migrations.version_of(row[0] if row else None, self.url)

    def upgrade(self) -> int:
        """Bring the tables to our version, as their owner; return the version from which it did.

        Raises:
            StoreError: another program has tables in our schema, they are of a newer version, or not ours to change.
        """
        return self.change_tables(self._upgrade)

    def _create(self) -> None:
        # Another process may have done so since we looked.
        if not self.version():
            try:
                self._run_steps(0)
            except psycopg.errors.InsufficientPrivilege:
                raise self._without_tables() from None

    def _upgrade(self) -> int:
        before = self.any_version()
        if before != migrations.VERSION:
            try:
                self._run_steps(before)
            except psycopg.errors.InsufficientPrivilege as e:
                as_owner = f"this role ({trouble_of(e).why}): do it as the owner of its tables"
                raise StoreError(f"The store {self.url} cannot be upgraded by {as_owner}.") from None
        return before

    def _run_steps(self, version: int) -> None:
        # Where an owner has made the schema for us, we need no right to make any.
        if not self._connection.execute(_SCHEMA, None).fetchone():
            self._connection.ask("CREATE SCHEMA ecsbatch")
        self._connection.ask("; ".join(migrations.steps("postgres", version)))

    # Others

    def locks(self, nonce: str, clock: Clock) -> LeaseLocks:
        """Return leases that end by the server's clock."""
        return LeaseLocks(self, nonce, lambda: boottime_of(clock))

    def beside(self) -> PostgresDatabase:
        """Return another connection, for renewals: one that takes longer than to the next has failed."""
        return PostgresDatabase(self.url, self._conninfo, Patience(BEAT), deadline=BEAT + MARGIN)

    def is_full(self, error: StoreError) -> bool:
        """Tell whether an error says that the server, or a pooler before it, has no connection to spare."""
        return isinstance(error.__cause__, psycopg.Error) and trouble_of(error.__cause__).is_full

    def ledger_clock(self, clock: Clock) -> ServerClock:
        """Return the server's clock."""
        return ServerClock("database", self._seconds, lambda: boottime_of(clock))

    def _seconds(self) -> float:
        if not self._in_transaction:
            return self.read(self._seconds)
        (seconds,) = self._connection.execute(_NOW, None).fetchone() or (0.0,)
        return float(seconds)

    def close(self) -> None:
        """Close the connection; a transaction in progress is undone."""
        self._connection.close()


def trouble_of(error: psycopg.Error) -> Trouble:
    """Return what a driver's error means."""
    return trouble(error.sqlstate, type(error).__name__, str(error))


def _ignored(_timeline: str) -> None:
    """Nobody wants to know."""
