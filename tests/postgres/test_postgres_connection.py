"""Transactions at a PostgreSQL server: what is lost is done again, what was committed never, and no wait is endless."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psycopg
import pytest

from ecsbatch.clock import SystemClock
from ecsbatch.errors import ConfigError, StoreError, StoreOutdated
from ecsbatch.store.patience import Patience
from ecsbatch.store.postgres import PostgresDatabase
from ecsbatch.store.sql import Statement

from .bridge import Bridge
from .databases import Databases
from .pgbouncer import PgBouncer
from .promotion import Pair
from .server import Server

INSERT = Statement("INSERT INTO ecsbatch (name, value) VALUES (:name, :value)")
NAMES = Statement("SELECT name FROM ecsbatch WHERE name <> 'schema' ORDER BY name")
UPDATE = Statement("UPDATE ecsbatch SET value = value || :value WHERE name = :name")
END_US = Statement("SELECT pg_terminate_backend(pg_backend_pid())")


def prepared(url: str) -> None:
    with opened(url) as database:
        database.prepare()


@contextmanager
def opened(url: str, patience: float | Patience = 20.0, **options: float) -> Iterator[PostgresDatabase]:
    waits = patience if isinstance(patience, Patience) else Patience(patience)
    database = PostgresDatabase("postgresql://host/test", url, waits, **options)  # type: ignore[arg-type]
    try:
        yield database
    finally:
        database.close()


@pytest.fixture(scope="module")
def one_database(databases: Databases) -> Iterator[str]:
    """Return the address of a database with our tables; to make one takes longer than most of these tests."""
    made = databases.create()
    prepared(made)
    yield made
    databases.drop(made)


@pytest.fixture
def url(one_database: str) -> str:
    """Return the address of a database with our tables, and nothing in them."""
    do_as(one_database, "DELETE FROM ecsbatch.ecsbatch WHERE name <> 'schema'", "DELETE FROM ecsbatch.writers")
    return one_database


def do_as(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture
def database(url: str) -> Iterator[PostgresDatabase]:
    with opened(url) as made:
        made.prepare()
        yield made


def insert(database: PostgresDatabase, name: str) -> Callable[[], int]:
    return lambda: database.execute(INSERT, {"name": name, "value": ""}).rowcount


def names(database: PostgresDatabase) -> list[str]:
    return database.read(lambda: [name for (name,) in database.execute(NAMES)])


# What is done once


@pytest.mark.parametrize(("answered", "calls"), [(False, 2), (True, 1)])
def test_a_lost_commit_is_done_again_where_it_did_not_arrive_and_not_where_its_answer_was_lost(
    url: str, bridge: Bridge, *, answered: bool, calls: int
) -> None:
    with opened(bridge.url(url)) as database:
        database.prepare()
        called: list[int] = []
        bridge.cut_at(b"COMMIT\0", answered=answered)

        def do() -> str:
            called.append(insert(database, "once")())
            return f"result {len(called)}"

        assert database.write(do) == f"result {calls}"
        assert (len(called), names(database)) == (calls, ["once"])


def test_the_next_attempt_waits_until_the_server_has_ended_the_one_before(url: str, bridge: Bridge) -> None:
    """A COMMIT may still be on its way when we have given up: only who waits for it knows how it ends."""
    with opened(bridge.url(url), deadline=0.4) as database, opened(url) as other:
        database.prepare()
        calls: list[int] = []

        def do() -> int:
            calls.append(insert(database, "once")())
            if len(calls) == 1:
                bridge.black_hole()
                # The old connection's COMMIT arrives while the new one asks.
                threading.Timer(0.8, bridge.heal).start()
            return len(calls)

        assert database.write(do) in (1, 2)
        assert names(other) == ["once"]


def test_who_swallows_an_error_of_the_database_is_not_told_that_all_was_written(database: PostgresDatabase) -> None:
    def do() -> None:
        with suppress(database.errors):
            insert(database, "schema")()

    with pytest.raises(StoreError, match="duplicate key"):
        database.write(do)


def test_a_transaction_that_fails_by_itself_is_undone_and_not_done_again(database: PostgresDatabase) -> None:
    calls: list[int] = []

    def do() -> None:
        calls.append(insert(database, "undone")())
        raise KeyError("ours")

    with pytest.raises(KeyError):
        database.write(do)
    assert (len(calls), names(database)) == (1, [])


def test_an_attempt_that_fails_undoes_only_its_own(database: PostgresDatabase) -> None:
    def attempt(name: str) -> None:
        with database.attempt():
            insert(database, name)()
            if name == "b":
                raise KeyError(name)

    def do() -> None:
        attempt("a")
        with pytest.raises(KeyError):
            attempt("b")
        insert(database, "c")()
        attempt("d")

    database.write(do)
    assert names(database) == ["a", "c", "d"]


def test_rows_that_are_written_together_are_counted(database: PostgresDatabase) -> None:
    rows = [{"name": f"n{number}", "value": ""} for number in range(2000)]

    assert database.write(lambda: database.execute_many(INSERT, rows)) == 2000
    assert database.write(lambda: database.execute_many(INSERT, [])) == 0


# What is lost and done again


def test_a_session_that_the_server_ends_is_no_loss(database: PostgresDatabase) -> None:
    calls: list[int] = []

    def do() -> None:
        calls.append(insert(database, f"attempt {len(calls)}")())
        if len(calls) == 1:
            database.execute(END_US)

    database.write(do)
    assert names(database) == ["attempt 1"]
    assert database._patience.waits_for == ""


def test_a_server_that_is_restarted_in_the_middle_is_waited_for(own_server: Server) -> None:
    with opened(own_server.url()) as database:
        database.prepare()
        calls: list[int] = []

        def do() -> None:
            if not calls:
                own_server.stop()
                threading.Timer(0.3, own_server.start).start()
            calls.append(1)
            insert(database, f"attempt {len(calls)}")()

        database.write(do)
        assert names(database) == ["attempt 2"]


def test_what_is_waited_for_is_told_and_the_wait_has_an_end(url: str, bridge: Bridge) -> None:
    with opened(bridge.url(url), patience=0.5) as database:
        database.prepare()
        bridge.cut()
        with ThreadPoolExecutor() as pool:
            written = pool.submit(database.write, insert(database, "never"))
            told: set[str] = set()
            while not written.done():
                told.add(database._patience.waits_for)
                time.sleep(0.01)
        assert "the database (connection refused)" in told
        with pytest.raises(StoreError, match=r"cannot be reached \(connection refused\): .*, then resume\.$"):
            written.result()
        assert database._patience.waiting() == 0

        bridge.heal()
        database.write(insert(database, "later"))
        assert names(database) == ["later"]


def test_transactions_that_are_in_each_others_way_are_done_one_after_the_other(url: str) -> None:
    both = threading.Barrier(2)

    def cross(first: str, second: str) -> int:
        calls: list[int] = []
        with opened(url) as database:
            database.prepare()

            def do() -> None:
                calls.append(1)
                database.execute(UPDATE, {"name": first, "value": "x"})
                if len(calls) == 1:
                    both.wait(10)
                database.execute(UPDATE, {"name": second, "value": "x"})

            database.write(do)
        return len(calls)

    with opened(url) as database, ThreadPoolExecutor() as pool:
        for name in ("a", "b"):
            database.write(insert(database, name))
        one, two = pool.submit(cross, "a", "b"), pool.submit(cross, "b", "a")
        assert one.result() + two.result() == 3
        values = database.read(lambda: database.execute(Statement("SELECT value FROM ecsbatch")).fetchall())
        assert values.count(("xx",)) == 2


def test_what_takes_claims_goes_one_at_a_time(url: str) -> None:
    inside: list[int] = []
    most: list[int] = []

    def take(_: int) -> None:
        with opened(url) as database:
            database.prepare()

            def do() -> None:
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.01)  # so long that another one would be seen inside
                inside.pop()

            database.write(do, claims=True)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(take, range(6)))
    assert max(most) == 1


# What gives no answer


def test_a_line_that_swallows_everything_is_given_up_and_another_one_made(url: str, bridge: Bridge) -> None:
    with opened(bridge.url(url), deadline=0.3) as database:
        database.prepare()
        calls: list[int] = []

        def do() -> None:
            calls.append(1)
            if len(calls) == 1:
                bridge.black_hole()
                threading.Timer(0.6, bridge.heal, kwargs={"lost": True}).start()
            insert(database, "once")()

        began = time.monotonic()
        database.write(do)
        assert (len(calls), names(database)) == (2, ["once"])
        assert time.monotonic() - began < 5


def test_a_wait_is_told_and_ended_from_another_thread(own_server: Server) -> None:
    """That nothing comes is told long before the answer is given up, and not before some time has passed."""
    patience = Patience(20.0, hangs=0.1)
    with opened(own_server.url(), patience) as database:
        database.prepare()
        with own_server.frozen(), ThreadPoolExecutor() as pool:
            written = pool.submit(database.write, insert(database, "never"))
            while not (told := patience.waiting()):
                assert not written.done()
                time.sleep(0.001)
            assert 0.1 <= told < 5
            assert patience.waits_for == "the database (no answer yet)"
            began = time.monotonic()
            patience.lose()
            with pytest.raises(StoreError, match="gives no answer"):
                written.result()
            assert time.monotonic() - began < 1


def test_what_reads_for_too_long_is_not_read_again(url: str) -> None:
    with opened(url, deadline=0.3) as database:
        database.prepare()
        calls: list[int] = []

        def do() -> None:
            calls.append(1)
            database.execute(Statement("SELECT pg_sleep(5)"))

        with pytest.raises(StoreError, match="was too slow"):
            database.read(do)
        assert (len(calls), names(database)) == (1, [])


def test_nothing_is_waited_for_before_the_database_was_in_use(bridge: Bridge, url: str) -> None:
    bridge.cut()
    began = time.monotonic()
    with opened(bridge.url(url)) as database, pytest.raises(StoreError) as told:
        database.prepare()
    assert time.monotonic() - began < 1
    assert str(told.value) == (
        "The store postgresql://host/test cannot be reached (connection refused): "
        "start the database, or correct host and port."
    )


# Tables


def test_an_empty_database_is_opened_by_twenty_at_once(database_url: str) -> None:
    at_once = threading.Barrier(20)

    def prepare(number: int) -> None:
        with opened(database_url) as database:
            at_once.wait(10)
            database.prepare()
            database.write(insert(database, f"{number:02}"))

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(prepare, range(20)))
    with opened(database_url) as database:
        assert names(database) == [f"{number:02}" for number in range(20)]


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (["CREATE SCHEMA ecsbatch", "CREATE TABLE ecsbatch.invoices (n int)"], "another program's database"),
        (
            ["UPDATE ecsbatch.ecsbatch SET value = '1'"],
            "older version .schema 1, .* have the owner of its tables upgrade",
        ),
        (["UPDATE ecsbatch.ecsbatch SET value = '99'"], "newer ecsbatch .schema 99"),
    ],
)
def test_tables_that_are_not_of_our_version_are_refused(database_url: str, statements: list[str], told: str) -> None:
    if statements[0].startswith("UPDATE"):
        prepared(database_url)
    do_as(database_url, *statements)
    with opened(database_url) as database, pytest.raises(StoreError, match=told):
        database.prepare()


def test_an_owner_upgrades_older_tables(database_url: str) -> None:
    from ecsbatch.store import migrations  # noqa: PLC0415 - of this test alone

    first = [*migrations.step(1, "postgres"), "INSERT INTO ecsbatch VALUES ('schema', '1')"]
    do_as(database_url, "CREATE SCHEMA ecsbatch; SET search_path = ecsbatch; " + "; ".join(first))
    with opened(database_url) as database:
        assert database.upgrade() == 1
        database.prepare()
        assert (database.upgrade(), database.write(insert(database, "new"))) == (migrations.VERSION, 1)


@pytest.fixture
def role(databases: Databases) -> None:
    """Let there be a role without any right."""
    do_as(databases.url, "DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN")


def as_guest(url: str) -> str:
    return url.replace("postgres@", "guest@", 1)


@pytest.mark.usefixtures("role")
def test_a_role_may_use_what_its_owner_has_made_for_it(database_url: str) -> None:
    with opened(as_guest(database_url)) as database:
        with pytest.raises(StoreOutdated, match="no tables yet: have the owner make them"):
            database.prepare()
        with pytest.raises(StoreError, match=r"cannot be upgraded by this role \(permission denied .*as the owner"):
            database.upgrade()

    do_as(database_url, "CREATE SCHEMA ecsbatch AUTHORIZATION guest")
    with opened(as_guest(database_url)) as database:
        database.prepare()
        assert database.write(insert(database, "ours")) == 1


@pytest.mark.usefixtures("role")
def test_a_role_that_may_only_read_reads(database_url: str) -> None:
    url = database_url
    prepared(url)
    do_as(url, "GRANT USAGE ON SCHEMA ecsbatch TO guest", "GRANT SELECT ON ALL TABLES IN SCHEMA ecsbatch TO guest")
    with opened(as_guest(url), read_only=True) as database:
        database.prepare()
        assert names(database) == []
        with pytest.raises(StoreError, match="opened to be read"):
            database.write(insert(database, "never"))
    with opened(as_guest(url)) as database:
        database.prepare()
        with pytest.raises(StoreError, match="denies us a right"):
            database.write(insert(database, "never"))


def test_a_database_that_takes_no_writes_is_only_read(database_url: str) -> None:
    url = database_url
    prepared(url)
    name = url.partition("?")[0].rpartition("/")[2]
    do_as(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with opened(url) as database, pytest.raises(StoreError, match="takes no writes"):
        database.prepare()
    with opened(url, read_only=True) as database:
        database.prepare()
        assert names(database) == []


def test_an_encoding_that_cannot_hold_every_text_is_refused(databases: Databases) -> None:
    do_as(databases.url, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    url = databases.url.replace("/postgres?", "/latin?")
    with opened(url) as database, pytest.raises(StoreError, match=r"encoding is LATIN1.*UTF8"):
        database.prepare()
    databases.drop(url)


def test_an_address_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as told:
        PostgresDatabase("postgresql://h/db", "host=h pass word=canary")
    assert "canary" not in str(told.value)
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__


# The server's clock and timeline


def test_the_clock_is_the_servers(database: PostgresDatabase) -> None:
    clock = database.ledger_clock(SystemClock())
    now = database.write(clock.now)
    assert abs(now - time.time()) < 5
    assert now <= clock.estimate() < now + 1
    assert now <= database.write(clock.stamp)


def test_a_failover_is_seen_in_the_first_transaction_behind_it(pair: Pair) -> None:
    with opened(pair.url()) as database, opened(pair.standby.url(), read_only=True) as reader:
        seen: list[str] = []
        database.hear_timeline(seen.append)
        database.prepare()
        database.write(insert(database, "kept"))
        pair.catch_up()
        assert names(reader) == ["kept"]
        with opened(pair.standby.url()) as other, pytest.raises(StoreError, match=r"takes no writes .*primary"):
            other.prepare()

        pair.break_stream()
        database.write(insert(database, "forgotten"))
        pair.fail_over()
        database.write(insert(database, "new"))

        assert names(database) == ["kept", "new"]
        assert seen == ["00000001", "00000002"]
        assert database.timeline == "00000002"


# A pooler


def test_all_of_it_goes_through_a_pooler_that_gives_each_transaction_another_session(
    url: str, pgbouncer: PgBouncer
) -> None:
    def write(number: int) -> None:
        with opened(pgbouncer.url(url)) as database:
            database.prepare()
            rows = [{"name": f"{number}.{n}", "value": ""} for n in range(50)]
            database.write(lambda: database.execute_many(INSERT, rows))
            for n in range(50, 60):
                database.write(insert(database, f"{number}.{n}"), claims=True)
            assert len(names(database)) >= 60

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with opened(url) as database:
        assert len(names(database)) == 480
