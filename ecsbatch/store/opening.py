"""`database_at` opens the database that a URL names; `look_at` and `upgrade` are for whoever looks after one."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from ecsbatch.clock import Clock, SystemClock
from ecsbatch.errors import StoreError
from ecsbatch.store import migrations
from ecsbatch.store.address import PostgresAddress, known_kind, path_of, postgres_address
from ecsbatch.store.facts import Ask, FileFacts, ServerFacts, look_at_file, look_at_server
from ecsbatch.store.read_only import ReadOnlyDatabase, may_only_read
from ecsbatch.store.sql import Dialect, Statement
from ecsbatch.store.sqlite import FileDatabase, MemoryDatabase
from ecsbatch.store.sqlite_database import complaint

if TYPE_CHECKING:
    from ecsbatch.store.database import Database
    from ecsbatch.store.patience import Patience
    from ecsbatch.store.postgres import PostgresDatabase


class StoreLook(NamedTuple):
    """What is seen of a store: of a file, or of a server with the way there."""

    file: FileFacts | None = None
    server: ServerFacts | None = None
    address: PostgresAddress | None = None

    @property
    def version(self) -> int | None:
        """The version of its tables; 0: there are none, -1: they are another program's, None: it cannot be read."""
        facts = self.file or self.server
        return facts.tables.version if facts is not None else None


def database_at(url: str, patience: Patience | None = None, *, read_only: bool = False) -> Database:
    """Open the database that a URL names; ``read_only``: it need not be writable.

    Raises:
        ConfigError: the URL is of no known kind or cannot be understood, or the file's folder is missing.
        StoreError: the file cannot be opened.
    """
    kind = known_kind(url)
    if kind == "postgres":
        return server_at(postgres_address(url, read_only=read_only), patience, read_only=read_only)
    if kind == "memory":
        return MemoryDatabase()
    path = path_of(url)
    if read_only and may_only_read(path):
        return ReadOnlyDatabase(url, path, patience)
    return FileDatabase(url, path, patience)


def server_at(
    address: PostgresAddress, patience: Patience | None = None, *, read_only: bool = False
) -> PostgresDatabase:
    """Return the database at an address; it connects when it is first used."""
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - an extra, imported for such a store alone

    from ecsbatch.store.postgres import PostgresDatabase  # noqa: PLC0415 - the same

    return PostgresDatabase(address.name, make_conninfo(**address.parameters), patience, read_only=read_only)


def look_at(url: str, clock: Clock | None = None, *, thoroughly: bool = True) -> StoreLook:
    """Look at a store without opening it as one: nothing is created, upgraded or written.

    Args:
        url: of a file or a server.
        clock: of this machine; None for the system's.
        thoroughly: read each page of a file.

    Raises:
        ConfigError: the URL is of no known kind, or cannot be understood.
        StoreError: it cannot be looked at.
    """
    if known_kind(url) == "postgres":
        address = postgres_address(url, read_only=True)
        database = server_at(address, read_only=True)
        try:
            facts = database.read(lambda: look_at_server(_asks(database), clock or SystemClock()))
        finally:
            database.close()
        return StoreLook(server=facts, address=address)
    path = path_of(url)
    try:
        return StoreLook(look_at_file(path, (clock or SystemClock()).wall(), thoroughly=thoroughly))
    except sqlite3.Error as e:
        raise StoreError(f"The store {url} {complaint(e)}") from e
    except OSError as e:
        raise StoreError(f"The store {url} cannot be looked at ({e.strerror}): mend its permissions.") from e


def _asks(database: Database) -> Ask:
    return lambda text: database.execute(Statement(text)).fetchall()


def upgrade(url: str) -> int:
    """Bring a store's tables to our version, or make them; return the version from which that was done.

    Raises:
        ConfigError: the URL is of no known kind, or cannot be understood.
        StoreError: it cannot be upgraded, or is not ours to upgrade.
    """
    if known_kind(url) == "postgres":
        server = server_at(postgres_address(url))
        try:
            return server.upgrade()
        finally:
            server.close()
    before = look_at(url, thoroughly=False).version or 0
    file = database_at(url)
    try:
        file.prepare()
    finally:
        file.close()
    return before


def upgrade_script(dialect: Dialect, before: int) -> str:
    """Return what `upgrade` does as SQL, for an owner who runs it; "" where there is nothing to do.

    Args:
        dialect: of the database.
        before: the version of its tables now, 0 for none.
    """
    if before == migrations.VERSION:
        return ""
    statements = (*_begin(dialect, before), *migrations.steps(dialect, before), "COMMIT")
    return "\n".join(f"{statement};" for statement in statements)


def _begin(dialect: Dialect, before: int) -> list[str]:
    if dialect == "sqlite":
        return ["BEGIN IMMEDIATE"]
    from ecsbatch.store import postgres_begin  # noqa: PLC0415 - its errors are the driver's

    begin = postgres_begin.changing_tables(60.0).split("; ")
    if not before:
        # Where it is there, IF NOT EXISTS wants the right to make one all the same.
        missing = "to_regnamespace('ecsbatch') IS NULL"
        return [begin[0], f"DO $$ BEGIN IF {missing} THEN CREATE SCHEMA ecsbatch; END IF; END $$", *begin[1:]]
    still = f"(SELECT value FROM ecsbatch WHERE name = 'schema') <> '{before}'"  # noqa: S608 - our own number
    return [*begin, f"DO $$ BEGIN IF {still} THEN RAISE 'not at schema {before} any more'; END IF; END $$"]
