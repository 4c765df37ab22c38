"""Where a database lies: in a file that the processes of a machine share, or in memory.

`ecsbatch.store.opening` opens the one that a URL names.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

from ecsbatch.clock import Clock, boottime_of
from ecsbatch.errors import ConfigError, StoreError
from ecsbatch.model.ownership import Exposure, file_exposure, folders_above
from ecsbatch.store import statements as sql
from ecsbatch.store.database import GIVE_WAY, found
from ecsbatch.store.keeper import keeper
from ecsbatch.store.leases import LeaseLocks
from ecsbatch.store.ledger_clock import DatabaseClock, LedgerClock
from ecsbatch.store.locks import FileLocks, Locks, MemoryLocks
from ecsbatch.store.patience import Patience
from ecsbatch.store.sqlite_database import SqliteDatabase, complaint

T = TypeVar("T")

_WAL_KEPT: Final = 16 * 2**20
"""Bytes of write-ahead log that stay on disk after a large transaction."""

_GIVEN_BACK: Final = 128
"""Pages that are given back to the disk at once: some milliseconds."""


class FileDatabase(SqliteDatabase):
    """An SQLite file, shared by all processes of this machine."""

    def __init__(self, url: str, path: Path, patience: Patience | None = None) -> None:
        """Open or create the file.

        Raises:
            ConfigError: its folder is missing.
            StoreError: the file cannot be opened, or is no database.
        """
        self.path = path
        try:
            _make(path)
            super().__init__(url, str(path), patience)
        except OSError as e:
            raise StoreError(
                f"The store {url} cannot be opened ({e.strerror}): mend its permissions, or choose another file."
            ) from e
        except sqlite3.Error as e:
            raise StoreError(f"The store {url} {complaint(e)}") from e

        try:
            self._write_ahead()
            self.connection.execute("PRAGMA synchronous = FULL")
            self.connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT}")
        except BaseException as e:
            self.close()
            if isinstance(e, sqlite3.Error):
                raise StoreError(f"The store {url} {self._complaint(e)}") from e
            raise

    def _write_ahead(self) -> None:
        """Switch to the write-ahead log; where two processes do so at once, SQLite refuses one instead of waiting."""
        if self._patience.until_free(lambda: self._journal_mode("")) != "wal":
            # Of a new file alone, see `shrink`; another process may be making it at this very moment.
            self._patience.until_free(lambda: self.connection.execute("PRAGMA auto_vacuum = INCREMENTAL"))
            self._patience.until_free(self._switch)

    def _switch(self) -> None:
        try:
            mode = self._journal_mode(" = WAL")
        except sqlite3.OperationalError:
            time.sleep(GIVE_WAY)  # here SQLite itself does not wait
            raise
        self._require_wal(mode)

    def _journal_mode(self, change: str) -> str:
        return str(self.connection.execute(f"PRAGMA journal_mode{change}").fetchone()[0])

    def _require_wal(self, mode: str) -> None:
        if mode != "wal":
            raise StoreError(
                f"The store {self.url} is on a file system without shared memory, which its write-ahead log needs: "
                "choose a local disk."
            )

    def locks(self, nonce: str, clock: Clock) -> Locks:  # noqa: ARG002 - the kernel knows whose they are
        """Return locks on files beside the database."""
        return FileLocks(self.path)

    def give_way(self) -> None:
        """Let other processes write between two transactions of long work."""
        time.sleep(GIVE_WAY)

    def shrink(self) -> bool:
        """Give some free pages back to the disk; a file of an older version keeps them and uses them anew.

        Returns:
            True where there are more.
        """
        free = self._free_pages()
        if not free:
            return False
        try:
            with self._mutex:
                # A script, for `execute` would take the first step alone, which gives back one page.
                script = f"PRAGMA incremental_vacuum({_GIVEN_BACK})"
                self._patience.until_free(lambda: self.connection.executescript(script))
        except self.errors as e:
            raise StoreError(f"The store {self.url} {self._complaint(e)}") from e
        return 0 < self._free_pages() < free

    def _free_pages(self) -> int:
        return self.read(lambda: int(self.connection.execute("PRAGMA freelist_count").fetchone()[0]))

    def keeper(self) -> int:
        """Return the id of the process that is in the middle of a write, 0 where not known."""
        return keeper(self.path)

    def keep_copy(self, version: int) -> None:
        """Copy the file as it is to a name beside it, with the version at its end; the caller has the write lock.

        Raises:
            StoreError: it cannot be copied.
        """
        name = f"{self.path.name}.schema-{version}"
        part = self.path.with_name(f"{name}.part")
        try:
            part.unlink(missing_ok=True)
            _create_private(part)
            # SQLite does not copy out of a connection that is in the middle of a write.
            with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(part)) as copy:
                source.backup(copy)
            names = (self.path.with_name(f"{name}.{n}" if n > 1 else name) for n in count(1))
            part.rename(next(free for free in names if not free.exists()))
        except OSError as e:
            raise StoreError(
                f"The store {self.url} is of an older version and cannot be copied before it is upgraded "
                f"({part.name}: {e.strerror}): make room for the copy beside it, then try again."
            ) from e

    def exposure(self) -> Exposure | None:
        """Return why others may write the file, its log, their folder or one above it; None: only this user may."""
        return exposure_at(self.path)


class MemoryDatabase(SqliteDatabase):
    """A database in memory that outlives the stores opened on it, as a disk outlives a process.

    Args:
        leases: stores are those of several machines, and hold runs by leases, as they do on a database server; else
            they are those of one process, and a store that was severed has let its runs go.
        clock: the database's own, in seconds since 1970, by which leases end.
    """

    def __init__(self, *, leases: bool = False, clock: Callable[[], float] = time.time) -> None:
        super().__init__("memory:", ":memory:")
        self._holders: dict[str, object] = {}
        self._leases = leases
        self._clock = clock
        self._timeline = "1"
        self._hearers: dict[Callable[[str], None], tuple[str, str]] = {}
        weakref.finalize(self, self.connection.close)

    # What a server does that fails over

    def hear_timeline(self, hear: Callable[[str], None]) -> None:
        """Have a function called with each new timeline, in the first transaction of its own store that writes."""
        if self._leases:
            self._hearers[hear] = ("", "")

    def fail_over(self) -> None:
        """Begin a new timeline, as a standby does that is promoted; what it lacks is the caller's to take away."""
        self._timeline = str(int(self._timeline) + 1)

    def write(self, do: Callable[[], T], *, claims: bool = False) -> T:
        """Call a function in a transaction with the write lock; who has not heard of the timeline hears of it first."""
        if not self._hearers:
            return super().write(do, claims=claims)
        timeline, heard = self._timeline, dict[Callable[[str], None], tuple[str, str]]()

        def told() -> T:
            (noted,) = found(self.execute(sql.FACT, {"name": "timeline"})) or ("",)
            heard.update(dict.fromkeys(self._hearers, (timeline, noted)))
            for hear in [hear for hear, before in self._hearers.items() if before != heard[hear]]:
                hear(timeline)
            return do()

        done = super().write(told, claims=claims)
        self._hearers.update(heard)
        return done

    # Locks and clocks

    def locks(self, nonce: str, clock: Clock) -> Locks:
        """Return locks that all stores on this database share."""
        if self._leases:
            return LeaseLocks(self, nonce, partial(boottime_of, clock), now=self._clock)
        return MemoryLocks(self._holders)

    def ledger_clock(self, clock: Clock) -> LedgerClock:
        """Return this machine's clock, or the database's own where stores are those of several machines."""
        if self._leases:
            return DatabaseClock(self.url, self._clock, partial(boottime_of, clock))
        return super().ledger_clock(clock)

    def exposure(self) -> Exposure | None:
        """Return None: it is this process's own."""


def exposure_at(path: Path) -> Exposure | None:
    """Return why others may write a store's file, its log, their folder or one above it; None: only this user may."""
    real = path.resolve()
    logs = (real.with_name(real.name + suffix) for suffix in ("-wal", "-shm"))
    folder = path.absolute().parent
    return file_exposure(real, *logs, real.parent, folder, *folders_above(real.parent), *folders_above(folder))


def _make(path: Path) -> None:
    """Create the file, and its folder where that has a parent, readable for this user alone.

    An existing file is not opened: closing a second descriptor of it would drop the locks that SQLite has on it for
    another store of this process.

    Raises:
        ConfigError: the path is a folder, or its folder cannot be created.
        OSError: the file cannot be created or written.
    """
    if path.is_dir():
        raise ConfigError(f"The store {path} is a folder: name a file in it.")
    if not path.parent.is_dir():
        if not path.parent.parent.is_dir():
            raise ConfigError(f"The store {path} has no folder: create {path.parent} first, or choose another file.")
        path.parent.mkdir(mode=0o700, exist_ok=True)
    with suppress(FileExistsError):
        _create_private(path)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _create_private(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
