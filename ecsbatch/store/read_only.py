"""A store's file that this process may read and not write: of another user, or on a disk that is mounted so.

SQLite reads a database with a write-ahead log only through an index beside it (``-shm``), which it makes where it is
missing. Nothing is made here: an index of the reader's own would keep the store's user from writing. Where there is no
log nobody has the file open, and it is read as it lies; whoever writes to it all the same is noticed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from ecsbatch.clock import Clock
from ecsbatch.errors import StoreError
from ecsbatch.store import migrations
from ecsbatch.store.keeper import keeper
from ecsbatch.store.locks import FileLocks, Locks
from ecsbatch.store.patience import Patience
from ecsbatch.store.sqlite_database import SqliteDatabase, complaint

T = TypeVar("T")

_AS_IT_LIES: Final = "&immutable=1"


def may_only_read(path: Path) -> bool:
    """Return True for a file that this process may read, and not write as SQLite does, with a log beside it."""
    real = path.resolve()
    writable = os.access(real, os.W_OK) and os.access(real.parent, os.W_OK)
    return not writable and real.is_file() and os.access(real, os.R_OK)


class ReadOnlyDatabase(SqliteDatabase):
    """An SQLite file that is only read; processes of others may write to it meanwhile."""

    def __init__(self, url: str, path: Path, patience: Patience | None = None) -> None:
        """Open the file, which must be there.

        Raises:
            StoreError: it is no database, or what its log says cannot be seen from here.
        """
        self.path = path
        self._real = path.resolve()
        self._unchanging = not self._has_log(url)
        self._seen = self._stamp()
        uri = f"{self._real.as_uri()}?mode=ro{_AS_IT_LIES if self._unchanging else ''}"
        try:
            super().__init__(url, uri, patience)
        except sqlite3.Error as e:
            raise StoreError(f"The store {url} {complaint(e)}") from e

    def _has_log(self, url: str) -> bool:
        """Return True where some process has the file open to write, or was killed while it had.

        Raises:
            StoreError: the log cannot be read from here.
        """
        log, index = self._beside("-wal"), self._beside("-shm")
        if not log.exists() or not (log.stat().st_size or index.exists()):
            return False
        for each in (log, index):
            if not each.exists():
                why = f"{each.name} is missing: let somebody who may write the store list its runs"
            elif not os.access(each, os.R_OK):
                why = f"{each.name} may not be read here: make it readable as the store itself is"
            else:
                continue
            raise StoreError(f"The store {url} has news in its log ({log.name}), and {why}, then try again.")
        return True

    def _beside(self, suffix: str) -> Path:
        return self._real.with_name(self._real.name + suffix)

    def _stamp(self) -> list[tuple[int, int, int] | None]:
        """Return what changes where somebody writes to the file or its log."""
        seen: list[tuple[int, int, int] | None] = []
        for path in (self._real, self._beside("-wal")):
            try:
                now = path.stat()
            except FileNotFoundError:
                seen.append(None)
            else:
                seen.append((now.st_ino, now.st_size, now.st_mtime_ns))
        return seen

    def read(self, do: Callable[[], T]) -> T:
        """Call a function in a transaction that sees one state of the database throughout.

        Raises:
            StoreError: the database cannot be read, or was written to since it was opened as one that nobody writes to.
        """
        try:
            done = super().read(do)
        except StoreError:
            self._refuse_changed()
            raise
        self._refuse_changed()
        return done

    def _refuse_changed(self) -> None:
        if self._unchanging and self._stamp() != self._seen:
            raise StoreError(f"The store {self.url} was written to while it was read: try again.")

    def write(self, do: Callable[[], T], *, claims: bool = False) -> NoReturn:  # noqa: ARG002 - it is refused
        """Refuse to write.

        Raises:
            StoreError: always.
        """
        raise StoreError(f"The store {self.url} may only be read here: write to it as the user whose it is.")

    def prepare(self) -> bool:
        """See that all tables are there; those of an older version are upgraded in a copy in memory.

        Raises:
            StoreError: this is no store, or a later version's.
        """
        version = self.read(lambda: self._version(self._tables()))
        if version < migrations.VERSION:
            self._copy_into_memory()
            self._upgrade(version)
        return False

    def _copy_into_memory(self) -> None:
        """Go on with a copy; the file is one that must not change from now on."""
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._unchanging, self._seen = True, self._stamp()
        self.read(lambda: self.connection.backup(copy))
        self.connection.close()
        self.connection = copy

    def kept_by(self) -> int | None:
        """Return the id of the process in the middle of a write, None where there is none or it is not known."""
        return self.keeper() or None

    def keeper(self) -> int:
        """Return the id of the process that is in the middle of a write, 0 where not known."""
        return keeper(self._real)

    def locks(self, nonce: str, clock: Clock) -> Locks:  # noqa: ARG002 - the kernel knows whose they are
        """Return locks on files beside the database; here they are only looked at."""
        return FileLocks(self.path)
