"""Where the stores of a test lie: what a store promises is tested on each kind of database, by the same tests.

A test opens as many stores on a backend as it wishes, each a process of its own, and looks into the database by SQL.
"""

from __future__ import annotations

import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from store_world import HandClock

from ecsbatch.store import DatabaseStore, MemoryDatabase, open_store
from ecsbatch.store.database import Database, Rows
from ecsbatch.store.sql import Dialect, Statement


class Counting(Database, ABC):
    """Mixed into a database: counts the rows that each piece of a long work changes, and does something behind one.

    Attributes:
        pieces: rows changed by each so far.
        at: behind which of them, counted from the next on.
        meanwhile: what is done then.
        changed: rows since the last piece.
    """

    pieces: Sequence[int] = ()
    at: int = 0
    meanwhile: Callable[[], object]
    changed: int = 0

    def execute(self, statement: Statement, values: Mapping[str, Any] | None = None) -> Rows:
        """Run a statement, and count the rows that it changes."""
        rows = super().execute(statement, values)
        if not re.search(r"^SELECT|\bleases\b", statement.text(self.dialect)):
            self.changed += max(0, rows.rowcount)
        return rows

    def execute_many(self, statement: Statement, rows: Iterable[Mapping[str, Any]]) -> int:
        """Run a statement for each row, and count the rows that it changes."""
        changed = super().execute_many(statement, rows)
        self.changed += changed
        return changed

    def give_way(self) -> None:
        """Do what others do meanwhile."""
        self.pieces = [*self.pieces, self.changed]
        self.at -= 1
        if self.at == 0:
            self.meanwhile()
        self.changed = 0

    def forget(self) -> None:
        """Begin to count."""
        self.pieces, self.changed = (), 0

    def behind(self, piece: int, do: Callable[[], object]) -> None:
        """Do something behind a piece."""
        self.at, self.meanwhile = piece, do


class Backend(ABC):
    """A database, and a clock that all stores on it go by.

    Attributes:
        dialect: of its SQL.
        inline: whether its stores work in the caller, unless a test says otherwise.
        clock: stands still until the test moves it.
    """

    dialect: Dialect = "sqlite"
    inline = True

    def __init__(self) -> None:
        self.clock = HandClock()

    def open(self, **options: Any) -> DatabaseStore:
        """Return a store that ``async with`` opens, with options of `open_store`."""
        return self._open(**{"clock": self.clock, "inline": self.inline, **options})

    def ask(self, statement: str, **values: Any) -> list[Sequence[Any]]:
        """Return the rows that a statement finds; it may have lines for one dialect alone."""
        return self._run(statement, values)[0]

    def do(self, statement: str, **values: Any) -> int:
        """Change something behind the stores' back, durably; return how many rows."""
        return self._run(statement, values)[1]

    def _run(self, statement: str, values: dict[str, Any]) -> tuple[list[Sequence[Any]], int]:
        return self._execute(Statement(statement).text(self.dialect), values)

    @abstractmethod
    def forget_holders(self) -> None:
        """Let nobody hold a run any more, without a word to who does: as after a severed store's time has run out."""

    @abstractmethod
    def counting(self) -> Counting:
        """Return a database that counts, in place of what stores are opened on otherwise."""

    @abstractmethod
    def _open(self, **options: Any) -> DatabaseStore: ...

    @abstractmethod
    def _execute(self, text: str, values: dict[str, Any]) -> tuple[list[Sequence[Any]], int]: ...

    def close(self) -> None:  # noqa: B027 - some have nothing to close
        """End what the test has not."""


class CountingInMemory(Counting, MemoryDatabase):
    """The same in memory."""


class InMemory(Backend):
    """A database in memory; its stores are those of one process."""

    def __init__(self) -> None:
        super().__init__()
        self.database = MemoryDatabase()

    def forget_holders(self) -> None:
        """Drop the locks."""
        self.database._holders.clear()

    def counting(self) -> Counting:
        """Return a database in memory that counts."""
        self.database = made = CountingInMemory()
        return made

    def _open(self, **options: Any) -> DatabaseStore:
        return open_store(self.database, **options)

    def _execute(self, text: str, values: dict[str, Any]) -> tuple[list[Sequence[Any]], int]:
        return _executed(self.database.connection, text, values)

    def close(self) -> None:
        """Close the database."""
        self.database.close()


class InFile(Backend):
    """An SQLite file, with locks beside it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def forget_holders(self) -> None:
        """Delete the files that are locked."""
        for path in self.path.parent.glob("*.lock"):
            path.unlink()

    def counting(self) -> Counting:
        """Never asked."""
        raise NotImplementedError

    def _open(self, **options: Any) -> DatabaseStore:
        return open_store(f"sqlite:///{self.path}", **options)

    def _execute(self, text: str, values: dict[str, Any]) -> tuple[list[Sequence[Any]], int]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return _executed(connection, text, values)


def _executed(connection: sqlite3.Connection, text: str, values: dict[str, Any]) -> tuple[list[Sequence[Any]], int]:
    cursor = connection.execute(text, values)
    return cursor.fetchall(), cursor.rowcount
