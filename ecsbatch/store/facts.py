"""What can be seen of a store without opening it as one: nothing is created, upgraded or written.

`look_at_file` looks at an SQLite file, `look_at_server` asks a PostgreSQL server. What is to be thought of it says the
command line.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import field
from pathlib import Path
from typing import Any, Final, TypeAlias

from ecsbatch.clock import Clock
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.ownership import Exposure
from ecsbatch.store import migrations
from ecsbatch.store import statements as sql
from ecsbatch.store.postgres_begin import TELLS_TIMELINE
from ecsbatch.store.sqlite import exposure_at

_WORST: Final = 3
"""Lines of a check of all pages that are kept."""

Ask: TypeAlias = Callable[[str], Sequence[tuple[Any, ...]]]
"""Has a server answer one query."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What the tables of a store say of themselves.

    Attributes:
        version: of the tables; 0: there are none, -1: they are another program's, None: that cannot be read.
        runs: how many there are; None where that cannot be read.
        frozen: the freeze that is in force; None where there is none.
        now: when they were read, seconds since 1970 on the store's clock.
    """

    version: int | None = 0
    runs: int | None = None
    frozen: Freeze | None = None
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class FileFacts:
    """An SQLite file.

    Attributes:
        path: where it is.
        there: whether there is one.
        bytes, log: sizes of the file and of its write-ahead log.
        free: bytes of the file that are used again before it grows.
        faults: what a check of all pages found, the first lines; none where it is whole.
        exposure: why others may write it; None: nobody else may.
        tables: what they say.
    """

    path: Path
    there: bool = True
    bytes: int = 0
    log: int = 0
    free: int = 0
    faults: Sequence[str] = ()
    exposure: Exposure | None = None
    tables: Tables = field(default_factory=Tables)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A database at a PostgreSQL server, as one role sees it.

    Attributes:
        user: the role.
        version: of the server, as it writes it.
        seconds: that it took to answer.
        encrypted: whether the connection that it has is; a pooler's, where there is one.
        ahead: seconds by which its clock is ahead of this machine's.
        standby: it follows another server, and takes no writes.
        read_only: it takes no writes of this role, though it is no standby.
        encoding: of its texts.
        fsync: False where it loses what it has acknowledged when its machine fails.
        standbys: how many servers follow it, as far as the role may see.
        waits_for_standbys: whether a commit waits for one of them.
        tells_timeline: whether our role may ask for what shows a failover.
        bytes: size of the store's tables.
        usable, readable, writable: whether the role may use the schema, read all tables, and write rows of them all.
        owner: whether the tables are the role's to change; where there are none, whether it may make them.
        tables: what they say.
    """

    user: str
    version: str
    seconds: float
    encrypted: bool
    ahead: float
    standby: bool
    read_only: bool
    encoding: str
    fsync: bool
    standbys: int
    waits_for_standbys: bool
    tells_timeline: bool
    bytes: int
    usable: bool
    readable: bool
    writable: bool
    owner: bool
    tables: Tables


def look_at_file(path: Path, now: float, *, thoroughly: bool = True) -> FileFacts:
    """Look at an SQLite file.

    Args:
        path: of the file.
        now: seconds since 1970.
        thoroughly: read each of its pages.

    Raises:
        OSError: it cannot be looked at.
        sqlite3.Error: it cannot be read, or is no database.
    """
    real = path.resolve()
    if not real.exists():
        return FileFacts(path, there=False)
    log = real.with_name(f"{real.name}-wal")
    # Where there is no log nobody has the file open: it is read as it lies, and none is made.
    before = real.stat()
    seen = _seen(path, log, now, thoroughly=thoroughly, as_it_lies=not log.exists())
    if (after := real.stat()).st_mtime_ns != before.st_mtime_ns or after.st_ino != before.st_ino:
        seen = _seen(path, log, now, thoroughly=thoroughly, as_it_lies=False)
    return seen


def _seen(path: Path, log: Path, now: float, *, thoroughly: bool, as_it_lies: bool) -> FileFacts:
    real = path.resolve()
    uri = f"{real.as_uri()}?mode=ro{'&immutable=1' if as_it_lies else ''}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        tables = _tables(lambda text: connection.execute(text).fetchall(), now)
        page, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "freelist_count"))
        faults = _faults(connection) if thoroughly else []
    return FileFacts(
        path,
        bytes=real.stat().st_size,
        log=log.stat().st_size if log.exists() else 0,
        free=page * free,
        faults=faults,
        exposure=exposure_at(path),
        tables=tables,
    )


def _faults(connection: sqlite3.Connection) -> list[str]:
    said = [str(line) for (line,) in connection.execute(f"PRAGMA quick_check({_WORST})")]
    return [] if said == ["ok"] else said


def _tables(ask: Ask, now: float) -> Tables:
    names = {name for (name,) in ask(sql.TABLES.text("sqlite"))}
    if not names:
        return Tables(0)
    return _told(ask, now) if "ecsbatch" in names else Tables(-1)


def _told(ask: Ask, now: float) -> Tables:
    """Ask tables that say of which version they are."""
    rows = ask("SELECT value FROM ecsbatch WHERE name = 'schema'")
    version = int(rows[0][0]) if rows and str(rows[0][0]).isdecimal() else -1
    if version != migrations.VERSION:
        return Tables(version)
    last = [Freeze(*row) for row in ask(sql.LAST_FREEZE.text("sqlite"))]
    frozen = last[0] if last and last[0].holds(now) else None
    return Tables(version, ask("SELECT count(*) FROM runs")[0][0], frozen, now)


_SERVER: Final = f"""
    SELECT current_user, current_setting('server_version'), extract(epoch FROM clock_timestamp())::float8,
        coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
        pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on',
        current_setting('server_encoding'), current_setting('fsync') = 'on', (SELECT count(*) FROM pg_stat_replication),
        current_setting('synchronous_standby_names') <> '', {TELLS_TIMELINE},
        coalesce(has_schema_privilege(n.oid, 'USAGE'), false),
        coalesce(has_schema_privilege(n.oid, 'CREATE'), has_database_privilege(current_database(), 'CREATE'))
    FROM (SELECT to_regnamespace('ecsbatch')::oid) AS n(oid)
"""  # noqa: S608 - our own text

_TABLES: Final = """
    SELECT c.relname::text, pg_total_relation_size(c.oid)::bigint, pg_has_role(c.relowner, 'USAGE'),
        has_table_privilege(c.oid, 'SELECT'),
        has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
        AND has_table_privilege(c.oid, 'DELETE')
    FROM pg_class c WHERE c.relnamespace = to_regnamespace('ecsbatch') AND c.relkind IN ('r', 'p')
"""


def look_at_server(ask: Ask, clock: Clock) -> ServerFacts:
    """Ask a PostgreSQL server for what can be seen of a store there.

    Args:
        ask: has it answer, in one transaction that looks for tables in our schema.
        clock: of this machine.
    """
    wall, before = clock.wall(), clock.monotonic()
    row = ask(_SERVER)[0]
    seconds = clock.monotonic() - before
    user, version, time, encrypted, standby, read_only, encoding, fsync, *rest = row
    standbys, waits, tells_timeline, usable, may_create = rest
    rows = ask(_TABLES)
    names = {name for name, *_ in rows}
    readable = not rows or (usable and all(may_read for *_, may_read, _ in rows))
    tables = Tables(None) if rows else Tables(0)
    if rows and "ecsbatch" not in names:
        tables = Tables(-1)
    elif rows and readable:
        tables = _told(ask, time)
    return ServerFacts(
        user=user,
        version=version,
        seconds=seconds,
        encrypted=encrypted,
        # It read its clock somewhere between our question and its answer.
        ahead=time - (wall + seconds / 2),
        standby=standby,
        read_only=read_only and not standby,
        encoding=encoding,
        fsync=fsync,
        standbys=standbys,
        waits_for_standbys=waits,
        tells_timeline=tells_timeline,
        bytes=sum(size for _, size, *_ in rows),
        usable=usable or not rows,
        readable=readable,
        writable=not rows or (usable and all(may_write for *_, may_write in rows)),
        owner=all(is_owner for _, _, is_owner, *_ in rows) if rows else may_create,
        tables=tables,
    )
