"""Where the stores of a test lie: what a store promises is tested on each kind of database, by the same tests.

A test opens as many stores on a backend as it wishes, each a process of its own, and looks into the database by SQL.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from store_world import HandClock

from ecsbatch.store import DatabaseStore, MemoryDatabase, open_store
from ecsbatch.store.sql import Dialect, Statement


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
    def _open(self, **options: Any) -> DatabaseStore: ...

    @abstractmethod
    def _execute(self, text: str, values: dict[str, Any]) -> tuple[list[Sequence[Any]], int]: ...

    def close(self) -> None:  # noqa: B027 - some have nothing to close
        """End what the test has not."""


class InMemory(Backend):
    """A database in memory; its stores are those of one process."""

    def __init__(self) -> None:
        super().__init__()
        self.database = MemoryDatabase()

    def forget_holders(self) -> None:
        """Drop the locks."""
        self.database._holders.clear()

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

    def _open(self, **options: Any) -> DatabaseStore:
        return open_store(f"sqlite:///{self.path}", **options)

    def _execute(self, text: str, values: dict[str, Any]) -> tuple[list[Sequence[Any]], int]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return _executed(connection, text, values)


def _executed(connection: sqlite3.Connection, text: str, values: dict[str, Any]) -> tuple[list[Sequence[Any]], int]:
    cursor = connection.execute(text, values)
    return cursor.fetchall(), cursor.rowcount
