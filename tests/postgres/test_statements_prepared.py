"""Both databases understand every statement of the store, and the store makes every one of them."""

from __future__ import annotations

import pkgutil
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path

import psycopg
import pytest

import ecsbatch.store
from ecsbatch.store import migrations
from ecsbatch.store.sql import Dialect, Statement

from .databases import Databases

PACKAGE = Path(ecsbatch.store.__file__).parent


def named() -> Iterator[tuple[str, str, Statement]]:
    """Yield the module, the name and the statement of each constant of the store that is one."""
    for module in pkgutil.iter_modules([str(PACKAGE)]):
        for name, value in vars(import_module(f"ecsbatch.store.{module.name}")).items():
            if isinstance(value, Statement):
                yield module.name, name, value


ALL = {id(statement): (f"{module}.{name}", statement) for module, name, statement in named()}
STATEMENTS = dict(sorted(ALL.values(), key=lambda pair: pair[0]))


def texts(dialect: Dialect) -> dict[str, str]:
    """Return the statements that a database is given; some are one database's alone."""
    others = "sqlite" if dialect == "postgres" else "postgres"
    mine = {name: statement.text(dialect) for name, statement in STATEMENTS.items() if not name.startswith(others)}
    return {name: text for name, text in mine.items() if text}


def with_tables(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA ecsbatch")
        connection.execute("SET search_path = ecsbatch")
        for step in migrations.steps("postgres"):
            connection.execute(step.encode())


@pytest.fixture(scope="module")
def postgres(databases: Databases) -> Iterator[psycopg.Connection]:
    url = databases.create_like(with_tables)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path = ecsbatch")
        yield connection
    databases.drop(url)


@pytest.fixture(scope="module")
def sqlite() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for step in migrations.steps("sqlite"):
            connection.execute(step)
        yield connection


def numbered(text: str) -> str:
    """Return a statement whose values have numbers, as a server is to prepare it; each name has one."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    return re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", text).replace("%%", "%")


@pytest.mark.parametrize("name", texts("postgres"))
def test_postgresql_prepares_it(name: str, postgres: psycopg.Connection) -> None:
    text = numbered(texts("postgres")[name])
    if re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH)\b", text):
        postgres.execute(f"PREPARE one AS {text}".encode())
        postgres.execute("DEALLOCATE one")
    else:
        # What is no query is done, and undone.
        with postgres.transaction(force_rollback=True):
            postgres.execute(text.encode())


@pytest.mark.parametrize("name", texts("sqlite"))
def test_sqlite_prepares_it(name: str, sqlite: sqlite3.Connection) -> None:
    text = texts("sqlite")[name]
    values = dict.fromkeys(re.findall(r":([a-z_]+)", text))
    sqlite.execute(f"EXPLAIN {text}", values)


def test_there_is_no_statement_that_nobody_makes() -> None:
    sources = {path.stem: path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py")}
    unused = []
    for name in STATEMENTS:
        module, _, constant = name.partition(".")
        within = len(re.findall(rf"\b{constant}\b", sources[module])) > 1
        elsewhere = any(
            re.search(rf"\b(sql|statements)\.{constant}\b|import .*\b{constant}\b", source)
            for other, source in sources.items()
            if other != module
        )
        if not (within or elsewhere):
            unused.append(name)

    assert len(STATEMENTS) > 50
    assert unused == []


def test_the_two_databases_have_the_same_tables_and_columns(
    postgres: psycopg.Connection, sqlite: sqlite3.Connection
) -> None:
    theirs: dict[str, set[str]] = {}
    for table, column in postgres.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'ecsbatch'"
    ):
        theirs.setdefault(table, set()).add(column)
    ours = {table: {row[1] for row in sqlite.execute(f"PRAGMA table_info({table})")} for table in migrations.TABLES}

    assert theirs == ours
