"""The fixtures of the folder's parts, for tests of every folder; nothing starts before a test asks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .bridge import Bridge
from .databases import Databases, place
from .pgbouncer import PgBouncer
from .promotion import Pair
from .server import Server
from .tls import TlsServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Return the wheel's server, one for all tests of this process; who stops it takes `own_server`."""
    server = Server()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Return where databases are made: at `ECSBATCH_TEST_POSTGRES`, or at the wheel's server."""
    given = os.environ.get("ECSBATCH_TEST_POSTGRES")
    made = Databases(given or request.getfixturevalue("postgres_server").url())
    yield made
    made.drop_templates()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """Return the address of a new and empty database."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def own_server() -> Iterator[Server]:
    """Return a server of this test alone, running and empty."""
    server = Server()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def bridge(databases: Databases) -> Iterator[Bridge]:
    """Return a line to the shared server; `bridge.url(database_url)` leads over it."""
    with Bridge(place(databases.url)) as made:
        yield made


@pytest.fixture
def pgbouncer(databases: Databases) -> Iterator[PgBouncer]:
    """Return a pooler in transaction mode before the shared server; `pgbouncer.url(database_url)` leads over it."""
    made = PgBouncer(databases.url)
    yield made
    made.remove()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return a primary and its standby."""
    made = Pair()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def tls_server() -> Iterator[TlsServer]:
    """Return a server that speaks TLS."""
    made = TlsServer()
    yield made
    made.remove()
