"""The databases on which the tests of the store are run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from backends import Backend, InFile, InMemory
from postgres.databases import Databases

ON_SERVER = pytest.param("postgres", marks=pytest.mark.real)


@pytest.fixture(scope="session")
def stored(databases: Databases) -> Iterator[str]:
    """Return the address of a database that has our tables, one for all tests."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def on_server(stored: str) -> Iterator[Backend]:
    """Return that database, emptied."""
    from on_server import OnServer  # noqa: PLC0415 - most tests need no server

    made = OnServer(stored)
    made.empty()
    yield made
    made.close()


@pytest.fixture
def memory() -> Iterator[InMemory]:
    """Return a new database in memory, for what is of one machine alone."""
    made = InMemory()
    yield made
    made.close()


@pytest.fixture(params=["memory", ON_SERVER])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Return a new database of each kind, in turn."""
    made: Backend = request.getfixturevalue("on_server" if request.param == "postgres" else "memory")
    return made


@pytest.fixture(params=["file", ON_SERVER])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Return a new database of each kind that processes share, in turn."""
    return _shared(request, tmp_path)


@pytest.fixture(params=["file", "file inline", ON_SERVER])
def used(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Return the same, whose stores work as most do, and once more in a file where they work in the caller."""
    made = _shared(request, tmp_path)
    made.inline = request.param == "file inline"
    return made


def _shared(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "postgres":
        made: Backend = request.getfixturevalue("on_server")
        return made
    return InFile(tmp_path / "restarts.db")
