"""A database at a PostgreSQL server, for the tests of what every store promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import psycopg
from backends import Backend, Counting

from ecsbatch.clock import Clock
from ecsbatch.store import DatabaseStore, migrations, open_store
from ecsbatch.store.database import Database, Rows
from ecsbatch.store.ledger_clock import LedgerClock, MachineClock
from ecsbatch.store.postgres import PostgresDatabase
from ecsbatch.store.sql import Statement
from ecsbatch.store.statements import LOCK_GROUP

_LOCK_GROUP_BY_HAND: Final = Statement(
    LOCK_GROUP.sql.replace("extract(epoch FROM clock_timestamp())", "CAST(:now AS float8)")
)


class _ByHand(PostgresDatabase):
    """Its ledger goes by the clock of the test."""

    def ledger_clock(self, clock: Clock) -> LedgerClock:
        """Return the test's clock."""
        return MachineClock(clock)

    def execute(self, statement: Statement, values: Mapping[str, Any] | None = None) -> Rows:
        """Run a statement of the store's; the one that reads the server's clock is given the test's."""
        return super().execute(_LOCK_GROUP_BY_HAND if statement is LOCK_GROUP else statement, values)


class _CountingOnServer(Counting, _ByHand):
    """The same, and counts."""


class OnServer(Backend):
    """A database at a PostgreSQL server; each store has a connection of its own, and runs are held by leases.

    Time for the ledger and for stamps is the test's; leases go by the server's.
    """

    dialect = "postgres"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self._opened: list[Database] = []

    def empty(self) -> None:
        """Delete what a test before has left, and end its connections; make the tables where there are none."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("""
                SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()
            """)
            if connection.execute("SELECT to_regnamespace('ecsbatch')").fetchone() == (None,):
                with closing(PostgresDatabase("postgres", self.url)) as database:
                    database.prepare()
            for table in migrations.TABLES - {"ecsbatch"}:
                connection.execute(f"DELETE FROM ecsbatch.{table}".encode())  # noqa: S608 - our own tables
            connection.execute("DELETE FROM ecsbatch.ecsbatch WHERE name <> 'schema'")

    def forget_holders(self) -> None:
        """Let all leases run out."""
        self.do("UPDATE leases SET lease_until = 0")

    def counting(self) -> Counting:
        """Return a database that counts, on one connection for all who use it."""
        made = _CountingOnServer("postgres", self.url)
        self._opened.append(made)
        return made

    def _open(self, **options: Any) -> DatabaseStore:
        self._opened.append(_ByHand("postgres", self.url))
        return open_store(self._opened[-1], **options)

    def _execute(self, text: str, values: dict[str, Any]) -> tuple[list[Sequence[Any]], int]:
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=ecsbatch") as connection:
            cursor = connection.execute(text.encode(), values or None)
            return (cursor.fetchall() if cursor.description else []), cursor.rowcount

    def close(self) -> None:
        """Close the connections of stores that were left open."""
        while self._opened:
            self._opened.pop().close()
