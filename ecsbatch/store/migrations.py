"""The versions of the tables, each a numbered step in the folder `schema`; a store is brought to ours step by step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from ecsbatch.errors import StoreError
from ecsbatch.store.sql import Dialect, script

VERSION: Final = 4
"""The version of our tables; a store with a higher one is refused.

Columns that a step adds have defaults, since a process of an older version may go on writing beside us.
"""

TABLES: Final = frozenset(
    {
        *("ecsbatch", "runs", "targets", "claims", "journal", "grants", "commands"),
        *("leases", "quota_groups", "turns", "spent", "freezes", "writers"),
    }
)


@cache
def step(version: int, dialect: Dialect) -> tuple[str, ...]:
    """Return the statements that make a version's tables out of those of the version before."""
    from importlib.resources import files  # noqa: PLC0415 - only where tables are made

    text = files("ecsbatch.store").joinpath("schema", f"{version:04}.sql").read_text(encoding="utf-8")
    return tuple(script(text, dialect))


def steps(dialect: Dialect, version: int = 0) -> Iterator[str]:
    """Yield the statements that bring the tables from a version, 0 for no tables, to ours."""
    for number in range(version + 1, VERSION + 1):
        yield from step(number, dialect)
    if version:
        yield f"UPDATE ecsbatch SET value = '{VERSION}' WHERE name = 'schema'"  # noqa: S608 - our own number
    else:
        yield f"INSERT INTO ecsbatch (name, value) VALUES ('schema', '{VERSION}')"  # noqa: S608 - our own number


def remaking(table: str, dialect: Dialect) -> Iterator[str]:
    """Yield the statements that make one table anew, as all versions have left it."""
    of_it = re.compile(rf"(CREATE TABLE|CREATE INDEX \w+ ON|ALTER TABLE) {table}\b")
    for number in range(1, VERSION + 1):
        yield from filter(of_it.match, step(number, dialect))


def version_of(told: object, store: str) -> int:
    """Return the version that a store says it has, which is not above ours; ``told`` is None where it says none.

    Raises:
        StoreError: it is another program's database, or a later version's.
    """
    if not str(told).isdecimal():
        raise StoreError(f"The store {store} is another program's database: choose another one.")
    version = int(str(told))
    if version > VERSION:
        raise StoreError(
            f"The store {store} was written by a newer ecsbatch (schema {version}, this one reads up to {VERSION}): "
            "update ecsbatch, or choose another store."
        )
    return version
