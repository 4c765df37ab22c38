"""No statement for which somebody waits reads all of a table that grows with the history, or with the fleet."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from ecsbatch.store import migrations

from .databases import Databases
from .test_statements_prepared import numbered, texts, with_tables

LARGE = {"journal": "journal", "j": "journal", "claims": "claims", "c": "claims", "runs": "runs", "r": "runs"}
"""Tables that grow, by the names that they have in statements."""

READ_WHOLE = {
    # Of pruning, of the audit, of a store in memory: each asks once, and a row of `runs` is a run.
    *("ENDED_BEFORE", "RUNS_BETWEEN", "RUNS_OVER", "CLAIMING_RUNS"),
    # Who asks has claimed most of what is there: a run of all servers, as it begins; the audit of one.
    *("COUNT_CLAIMS", "CLAIMS_OF_RUN"),
    # They stop after the first rows.
    *("ANY_RUN", "LAST_RUNS", "LATEST_RUN"),
}
OTHERS = [name for name in texts("sqlite") if name.rpartition(".")[2] not in READ_WHOLE]
QUERY = re.compile(r"^(SELECT|INSERT|UPDATE|DELETE|WITH)\b")


@pytest.fixture(scope="module")
def sqlite() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for step in migrations.steps("sqlite"):
            connection.execute(step)
        yield connection


@pytest.fixture(scope="module")
def postgres(databases: Databases) -> Iterator[psycopg.Connection]:
    url = databases.create_like(with_tables)
    with psycopg.connect(url, autocommit=True) as connection:
        # Most tables are empty here: it reads all of one only where there is no other way, whatever the values are.
        for setting in ("search_path = ecsbatch", "enable_seqscan = off", "plan_cache_mode = force_generic_plan"):
            connection.execute(f"SET {setting}".encode())
        connection.execute("INSERT INTO claims SELECT 's', number::text, 'run' FROM generate_series(1, 10000) number")
        connection.execute("ANALYZE claims")
        yield connection
    databases.drop(url)


def read_whole(plan: Any, *, few: bool = False) -> Iterator[str]:
    """Yield the large tables that a node of a plan, or one below it, reads from their first row to their last."""
    scan = plan["Node Type"] in {"Seq Scan", "Index Scan", "Index Only Scan"} and "Index Cond" not in plan
    if scan and not few and plan["Relation Name"] in LARGE:
        yield plan["Relation Name"]
    for below in plan.get("Plans", ()):
        yield from read_whole(below, few=plan["Node Type"] == "Limit")


@pytest.mark.parametrize("name", OTHERS)
def test_sqlite_finds_what_it_wants_by_an_index(name: str, sqlite: sqlite3.Connection) -> None:
    text = texts("sqlite")[name]
    values = dict.fromkeys(re.findall(r":([a-z_]+)", text))
    steps = [str(step) for *_, step in sqlite.execute(f"EXPLAIN QUERY PLAN {text}", values)]

    assert [step for step in steps if (found := re.match(r"SCAN (\w+)", step)) and found[1] in LARGE] == []


@pytest.mark.parametrize("name", [name for name in OTHERS if QUERY.match(texts("postgres").get(name, ""))])
def test_postgresql_can_find_what_it_wants_by_an_index(name: str, postgres: psycopg.Connection) -> None:
    text = numbered(texts("postgres")[name])
    nulls = ", ".join(["NULL"] * len(set(re.findall(r"\$\d+", text))))
    postgres.execute(f"PREPARE one AS {text}".encode())
    try:
        row = postgres.execute(f"EXPLAIN (FORMAT json) EXECUTE one{f'({nulls})' if nulls else ''}".encode()).fetchone()
    finally:
        postgres.execute("DEALLOCATE one")

    assert row is not None
    assert list(read_whole(row[0][0]["Plan"])) == []


def test_the_latest_rollout_is_found_without_a_sort(sqlite: sqlite3.Connection) -> None:
    steps = [step for *_, step in sqlite.execute(f"EXPLAIN QUERY PLAN {texts('sqlite')['statements.LATEST_RUN']}")]

    assert steps == ["SCAN runs USING INDEX runs_by_kind"]
