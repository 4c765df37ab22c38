"""A PostgreSQL database that cannot be used is told in one line, at once, and without a password in it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

import psycopg
import pytest

from ecsbatch.errors import StoreError
from ecsbatch.store.postgres import PostgresDatabase

from .bridge import Bridge
from .databases import Databases, at
from .server import Server
from .tls import TlsServer

PASSWORD = "canary-1f9c"


def refusal(conninfo: str) -> str:
    """Open a database; return what is told of it, which must hold for all."""
    database = PostgresDatabase("postgresql://host/fleet", conninfo)
    began = time.monotonic()
    with pytest.raises(StoreError) as told:
        database.prepare()
    database.close()
    sentence = str(told.value)
    assert time.monotonic() - began < 3
    assert "\n" not in sentence
    assert PASSWORD not in sentence + repr(told.value.__cause__)
    return sentence.removeprefix("The store postgresql://host/fleet ")


def test_a_host_that_is_not_known() -> None:
    assert refusal("host=nowhere.invalid dbname=fleet").startswith("has a host whose name is not known (")


def test_a_server_that_is_down(bridge: Bridge, databases: Databases) -> None:
    bridge.cut()
    assert refusal(bridge.url(databases.url)).startswith("cannot be reached (connection refused): start the database")


def test_a_database_that_is_not_there(databases: Databases) -> None:
    assert refusal(at(databases.url, "fleet")) == (
        'does not exist (database "fleet" does not exist): create the database, or name another one.'
    )


def test_a_role_that_is_not_there(databases: Databases) -> None:
    assert refusal(databases.url.replace("postgres@", "nobody@", 1)).startswith("does not let us in (role")


def test_a_server_without_tls(bridge: Bridge, databases: Databases) -> None:
    url = f"{bridge.url(databases.url)}?sslmode=require"
    assert refusal(url).startswith("offers no TLS (server does not support SSL, but SSL was required): turn it on")


@pytest.mark.parametrize(
    ("name", "whose", "told"),
    [
        ("other.test", "authority", "shows a certificate of another name (server certificate for"),
        (None, "stranger", "shows a certificate that is not trusted here (SSL error: certificate verify failed)"),
        (None, "nobody", "shows a certificate that is not trusted here (root certificate file"),
    ],
)
def test_a_server_that_is_not_who_it_should_be(tls_server: TlsServer, name: str | None, whose: str, told: str) -> None:
    known = {"authority": tls_server.authority, "stranger": tls_server.stranger}.get(whose, "/nowhere.pem")
    named: Mapping[str, str] = {} if name is None else {"name": name}
    url = tls_server.url(sslmode="verify-full", sslrootcert=str(known), **named)
    assert refusal(url).startswith(told)


@pytest.mark.parametrize(
    ("password", "told"),
    [
        (PASSWORD, 'does not accept our password (password authentication failed for user "ops")'),
        ("", "wants a password (fe_sendauth: no password supplied)"),
    ],
)
def test_a_password_that_is_wrong_or_missing(password_server: Server, password: str, told: str) -> None:
    url = password_server.url(user="ops") + (f"&{urlencode({'password': password})}" if password else "")
    assert refusal(url).startswith(told)


@pytest.fixture(scope="module")
def password_server() -> Iterator[Server]:
    """Return a server that asks one role for its password."""
    server = Server()
    server.make()
    rules = server.data / "pg_hba.conf"
    rules.write_text(f"local all ops scram-sha-256\n{rules.read_text(encoding='utf-8')}", encoding="utf-8")
    server.start()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE ops LOGIN PASSWORD 'another'")
    yield server
    server.remove()
