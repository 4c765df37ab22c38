"""Each part of the stage, shown once: what a test builds on it is only as true as this."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from .bridge import Bridge
from .databases import Databases, at, place
from .pgbouncer import PgBouncer
from .promotion import Pair
from .server import Server
from .tls import TlsServer


def ask(url: str, statement: str = "SELECT 1", **options: Any) -> Any:
    """Ask for one value, on a connection of its own."""
    with psycopg.connect(url, autocommit=True, **options) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return None if row is None else row[0]


def filled(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (number int)")
        connection.execute("INSERT INTO kept VALUES (1)")


def count(url: str) -> Any:
    return ask(url, "SELECT count(*) FROM kept")


# Databases


def test_each_test_has_a_database_of_its_own(database_url: str, databases: Databases) -> None:
    filled(database_url)

    other = databases.create()
    assert ask(other, "SELECT to_regclass('kept')") is None
    databases.drop(other)


def test_a_template_is_filled_once_and_copied_as_often_as_is_wished(databases: Databases) -> None:
    one, two = (databases.create_like(filled) for _ in range(2))
    ask(one, "DELETE FROM kept RETURNING 1")

    assert (count(one), count(two)) == (0, 1)
    for url in (one, two):
        databases.drop(url)


@pytest.mark.parametrize(
    ("url", "there", "where"),
    [
        ("postgresql://u@/postgres?host=%2Fa%2Fb", "postgresql://u@/x?host=%2Fa%2Fb", Path("/a/b/.s.PGSQL.5432")),
        ("postgresql://u:p@h:6000/y?a=b", "postgresql://u:p@h:6000/x?a=b", ("h", 6000)),
        ("postgresql://h", "postgresql://h/x", ("h", 5432)),
    ],
)
def test_the_address_of_another_database_at_the_same_server(
    url: str, there: str, where: Path | tuple[str, int]
) -> None:
    assert (at(url, "x"), place(url)) == (there, where)


# A server


def test_a_server_that_is_stopped_refuses_and_has_all_when_it_is_back(own_server: Server) -> None:
    filled(own_server.url())

    for how in ("fast", "immediate"):
        own_server.stop(how)  # type: ignore[arg-type] # the literals of a tuple
        with pytest.raises(psycopg.OperationalError):
            ask(own_server.url())
        own_server.start()
        assert count(own_server.url()) == 1


def test_a_frozen_server_answers_when_it_goes_on(own_server: Server) -> None:
    with psycopg.connect(own_server.url(), autocommit=True) as connection:
        asking = threading.Thread(target=connection.execute, args=("SELECT 1",))
        with own_server.frozen():
            asking.start()
            asking.join(0.1)
            assert asking.is_alive()
        asking.join(30)
        assert not asking.is_alive()


def test_who_must_prove_who_they_are_is_asked_for_a_password(own_server: Server) -> None:
    with psycopg.connect(own_server.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'right'")
    own_server.let_in("local all postgres trust\nlocal all all scram-sha-256")
    own_server.restart()

    assert ask(own_server.url(user="reader"), password="right") == 1
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        ask(own_server.url(user="reader"), password="wrong")


KILLED = """
import signal, os
from postgres.server import Server, ground
server = Server()
server.start()
print(ground(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_test_run_leaves_no_server_and_no_file_behind() -> None:
    killed = subprocess.run(  # noqa: S603 - our own few lines
        [sys.executable, "-c", KILLED], check=False, capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = Path(killed.stdout.strip())

    for _ in range(1000):
        remains = [line for line in _command_lines() if str(left) in line]
        if not remains and not left.exists():
            return
        time.sleep(0.01)
    pytest.fail(f"{left}: {remains}")


def _command_lines() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append((process / "cmdline").read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue  # it ends in this moment
    return found


# The line to it


def test_a_line_that_is_cut_breaks_connections_and_refuses_new_ones_until_it_is_healed(
    bridge: Bridge, database_url: str
) -> None:
    url = bridge.url(database_url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT 1")
        bridge.cut()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        ask(url)

    bridge.heal()
    assert ask(url) == 1


@pytest.mark.parametrize("lost", [False, True])
def test_nothing_comes_out_of_a_black_hole_until_it_is_healed(bridge: Bridge, database_url: str, *, lost: bool) -> None:
    filled(database_url)
    url = bridge.url(database_url)
    ends: list[object] = []

    def insert() -> None:
        try:
            connection.execute("INSERT INTO kept VALUES (2)")
        except psycopg.OperationalError as e:
            ends.append(e)

    with psycopg.connect(url, autocommit=True) as connection:
        bridge.black_hole()
        inserting = threading.Thread(target=insert)
        inserting.start()
        if not lost:
            with pytest.raises(psycopg.OperationalError, match="timeout"):
                ask(url, connect_timeout=2)
        assert inserting.is_alive()
        assert count(database_url) == 1
        bridge.heal(lost=lost)
        inserting.join(30)

    assert (len(ends), count(database_url)) == ((1, 1) if lost else (0, 2))
    assert ask(url) == 1


@pytest.mark.parametrize("answered", [False, True])
def test_a_commit_is_lost_on_its_way_or_its_answer_is(bridge: Bridge, database_url: str, *, answered: bool) -> None:
    filled(database_url)

    with psycopg.connect(bridge.url(database_url)) as connection:
        connection.execute("INSERT INTO kept VALUES (2)")
        bridge.cut_at(b"COMMIT", answered=answered)
        with pytest.raises(psycopg.OperationalError):
            connection.commit()

    assert count(database_url) == (2 if answered else 1)


def test_a_slow_line_answers_late(bridge: Bridge, database_url: str) -> None:
    with psycopg.connect(bridge.url(database_url), autocommit=True) as connection:
        bridge.delay(0.05)
        begun = time.monotonic()
        connection.execute("SELECT 1")
        assert time.monotonic() - begun >= 0.1


async def test_a_line_is_broken_from_within_an_event_loop(bridge: Bridge, database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(bridge.url(database_url), autocommit=True) as connection:
        sleeping = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0)
        bridge.reset()
        with pytest.raises(psycopg.OperationalError):
            await sleeping


# What stands before it, beside it, and elsewhere


def test_between_two_transactions_a_pooler_hands_the_session_to_others(pgbouncer: PgBouncer, database_url: str) -> None:
    url = pgbouncer.url(database_url)
    with psycopg.connect(url, autocommit=True) as one, psycopg.connect(url, autocommit=True) as two:
        [held] = one.execute("SELECT pg_backend_pid()").fetchone() or (None,)
        with two.transaction():
            [other] = two.execute("SELECT pg_backend_pid()").fetchone() or (None,)

    assert other == held


def test_a_failover_forgets_what_the_standby_had_not_received(pair: Pair) -> None:
    filled(pair.url())
    pair.break_stream()
    with psycopg.connect(pair.url()) as connection:
        connection.execute("INSERT INTO kept VALUES (2)")
    assert count(pair.url()) == 2

    timeline = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
    before = ask(pair.url(), timeline)
    pair.fail_over()

    assert count(pair.url()) == 1
    assert (before, ask(pair.url(), timeline)) == ("00000001", "00000002")


def test_a_standby_may_be_read_only(pair: Pair) -> None:
    filled(pair.url())
    pair.catch_up()

    assert count(pair.standby.url()) == 1
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        filled(pair.standby.url())


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("database.example", lambda server: server.authority, None),
        ("other.example", lambda server: server.authority, "does not match host name"),
        ("database.example", lambda server: server.stranger, "certificate verify failed"),
    ],
    ids=["right", "wrong name", "unknown authority"],
)
def test_a_server_is_known_by_its_certificate(
    tls_server: TlsServer, name: str, known: Callable[[TlsServer], Path], said: str | None
) -> None:
    url = tls_server.url(name=name, sslmode="verify-full", sslrootcert=str(known(tls_server)))

    if said is None:
        assert ask(url, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
    else:
        with pytest.raises(psycopg.OperationalError, match=said):
            ask(url)
