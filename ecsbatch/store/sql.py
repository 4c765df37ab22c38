"""SQL as it is written here, for two databases: what differs between them stands on lines of their own, side by side.

A line that ends with ``-- sqlite`` or ``-- postgres`` is for that database alone; all others are for both. Values are
named ``:like_this``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

Dialect = Literal["sqlite", "postgres"]

_OF_ONE: Final = re.compile(r"^(?P<sql>.*?)\s*--\s*(?P<dialect>sqlite|postgres)$")
_VALUE: Final = re.compile(r"(?<!:):([a-z_]+)")


class Statement:
    """One statement, and its text in each database's SQL."""

    __slots__ = ("_texts", "sql")

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._texts: dict[Dialect, str] = {}

    def text(self, dialect: Dialect) -> str:
        """Return the statement as a database's driver takes it."""
        text = self._texts.get(dialect)
        if text is None:
            text = " ".join(lines_for(self.sql, dialect))
            # psycopg has its own way to name values.
            text = self._texts[dialect] = _VALUE.sub(r"%(\1)s", text) if dialect == "postgres" else text
        return text

    def __repr__(self) -> str:
        return f"<Statement {self.text('sqlite')}>"


def lines_for(sql: str, dialect: Dialect) -> Iterator[str]:
    """Yield the lines of a text that a database is given, without comments and blanks."""
    for line in sql.splitlines():
        of_one = _OF_ONE.match(line)
        if of_one is not None and of_one["dialect"] != dialect:
            continue
        text = (of_one["sql"] if of_one is not None else line).partition("--")[0].strip()
        if text:
            yield text


def script(sql: str, dialect: Dialect) -> list[str]:
    """Return the statements of a text of several, each of which ends with a semicolon."""
    joined = " ".join(lines_for(sql, dialect))
    return [statement.strip() for statement in joined.split(";") if statement.strip()]
