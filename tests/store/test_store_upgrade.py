"""Stores of older versions: upgraded when they are opened, whole or not at all, with a copy beside them."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from ecsbatch.errors import StoreError
from ecsbatch.store import open_store
from ecsbatch.store.migrations import VERSION

BEFORE: Final = Path(__file__).parent / "before" / "store.sqlite"
TABLES: Final = ("claims", "commands", "ecsbatch", "grants", "journal", "runs", "targets")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a store of version 1."""
    return Path(shutil.copy(BEFORE, tmp_path / "restarts.db"))


async def opened(path: Path) -> None:
    async with open_store(f"sqlite:///{path}"):
        pass


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def version(path: Path) -> str:
    return str(rows(path, "SELECT value FROM ecsbatch WHERE name = 'schema'")[0][0])


AFFINITIES: Final = {"FLOAT": "REAL", "DOUBLE PRECISION": "REAL", "BIGINT": "INTEGER"}
"""Types that SQLite takes for the same: the names of the first versions are others than ours."""


def form(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    columns = {table: rows(path, f"PRAGMA table_info({table})") for table in TABLES}
    return {
        table: [(number, name, AFFINITIES.get(kind, kind), *rest) for number, name, kind, *rest in each]
        for table, each in columns.items()
    }


def beside(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir() if each != path)


async def test_an_upgraded_store_has_the_tables_of_a_new_one_and_what_was_in_it(path: Path, tmp_path: Path) -> None:
    kept = rows(path, "SELECT run_id, seq_last, ts, lines FROM journal ORDER BY run_id, seq_last")
    await opened(path)
    (tmp_path / "new").mkdir()
    await opened(tmp_path / "new" / "restarts.db")

    assert form(path) == form(tmp_path / "new" / "restarts.db")
    assert version(path) == str(VERSION)
    assert rows(path, "SELECT run_id, seq_last, ts, lines FROM journal ORDER BY run_id, seq_last") == kept


async def test_the_file_as_it_was_is_kept_beside_it_once_for_its_user_alone(path: Path) -> None:
    before = form(path), rows(path, "SELECT * FROM runs")
    for _ in range(2):
        await opened(path)

    assert beside(path) == ["restarts.db.schema-1"]
    copy = path.with_name("restarts.db.schema-1")
    assert (form(copy), rows(copy, "SELECT * FROM runs")) == before
    assert version(copy) == "1"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


async def test_an_earlier_copy_is_not_written_over(path: Path) -> None:
    path.with_name("restarts.db.schema-1").write_text("an earlier one")
    await opened(path)

    assert beside(path) == ["restarts.db.schema-1", "restarts.db.schema-1.2"]
    assert path.with_name("restarts.db.schema-1").read_text() == "an earlier one"
    assert version(path.with_name("restarts.db.schema-1.2")) == "1"


async def test_without_a_copy_nothing_is_upgraded(path: Path) -> None:
    before = form(path)
    path.with_name("restarts.db.schema-1.part").mkdir()
    with pytest.raises(StoreError, match=r"restarts\.db is of an older version and cannot be copied .*make room"):
        await opened(path)

    assert (version(path), form(path)) == ("1", before)


async def test_a_step_that_fails_leaves_nothing_of_the_others(path: Path) -> None:
    rows(path, "ALTER TABLE runs ADD COLUMN first_hash TEXT")  # the second statement of the step finds it there
    before = form(path)
    with pytest.raises(StoreError, match="duplicate column"):
        await opened(path)

    assert (version(path), form(path)) == ("1", before)


async def test_of_two_that_open_it_at_once_one_upgrades_it(path: Path) -> None:
    await asyncio.gather(opened(path), opened(path))

    assert version(path) == str(VERSION)
    assert beside(path) == ["restarts.db.schema-1"]


async def test_who_has_it_open_since_before_goes_on_writing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as older:
        assert older.execute("SELECT count(*) FROM journal").fetchone()[0]
        await opened(path)
        older.execute("INSERT INTO journal (run_id, seq_last, seq_first, ts, lines) VALUES ('x', 1, 1, 0.0, x'7b7d')")
        older.commit()

    assert rows(path, "SELECT hash FROM journal WHERE run_id = 'x'") == [("",)]


@pytest.mark.parametrize("said", ["", "two", "-1"])
async def test_a_store_that_does_not_say_its_version_is_refused(path: Path, said: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE ecsbatch SET value = ?", (said,))
        connection.commit()
    with pytest.raises(StoreError, match="another program"):
        await opened(path)

    assert beside(path) == []
