"""Stores whose database is away as they are closed, that cannot be reached, or that are in a forked process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ecsbatch.errors import StoreError
from ecsbatch.model.run import Holder, NewRun
from ecsbatch.model.servers import Fleet
from ecsbatch.store import open_store
from ecsbatch.store.lease_keeper import TRUST, TTL
from ecsbatch.store.patience import Patience
from ecsbatch.store.postgres import PostgresDatabase

from .bridge import Bridge

ALICE = Holder("alice@desk", "desk", 11, 1_700_000_000.0)


async def test_closing_waits_no_longer_than_the_leases_of_all_its_runs_last(database_url: str, bridge: Bridge) -> None:
    store = open_store(bridge.url(database_url), busy_timeout=60)
    await store.__aenter__()
    for run_id in ("k", "m"):
        await store.create_run(NewRun(run_id, fleet=Fleet([run_id])), ALICE)
    bridge.cut()

    began = time.monotonic()
    await store.aclose()

    assert time.monotonic() - began < TTL + 3


async def test_closing_waits_no_longer_for_much_work_than_for_a_single_write(database_url: str, bridge: Bridge) -> None:
    store = open_store(bridge.url(database_url), busy_timeout=1)
    await store.__aenter__()
    bridge.cut()
    asked = [asyncio.ensure_future(store.runs()) for _ in range(10)]
    await asyncio.sleep(0)

    began = time.monotonic()
    await store.aclose()

    assert time.monotonic() - began < 4
    assert {type(each) for each in await asyncio.gather(*asked, return_exceptions=True)} == {StoreError}


def test_patience_that_is_to_end_ends_whatever_it_waits_for() -> None:
    patience = Patience(60)
    patience.end_within(0.05)
    tries: list[int] = []

    def away() -> None:
        tries.append(1)
        raise ValueError("away")

    for _ in range(3):
        try:
            patience.until_done(away, lambda _: "the database")
        except ValueError:
            continue
    assert len(tries) <= 6
    assert patience.is_lost()


async def test_a_host_that_is_no_name_is_told_as_one_that_is_not_known() -> None:
    with pytest.raises(StoreError, match="host whose name is not known"):
        await open_store("postgresql://u@a..b/db?sslmode=verify-full&sslrootcert=system").__aenter__()


@pytest.fixture
def lonely(database_url: str) -> Iterator[str]:
    """Return the address of a role that may have one connection."""
    owned = PostgresDatabase("postgres", database_url)
    owned.prepare()
    owned.close()
    with psycopg.connect(database_url, autocommit=True) as owner:
        for each in (
            "CREATE ROLE ecsbatch_lonely LOGIN CONNECTION LIMIT 1",
            "GRANT USAGE ON SCHEMA ecsbatch TO ecsbatch_lonely",
            "GRANT ALL ON ALL TABLES IN SCHEMA ecsbatch TO ecsbatch_lonely",
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA ecsbatch TO ecsbatch_lonely",
        ):
            owner.execute(each)
    yield make_conninfo(database_url, user="ecsbatch_lonely")
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("DROP OWNED BY ecsbatch_lonely")
        owner.execute("DROP ROLE ecsbatch_lonely")


async def test_leases_are_renewed_where_there_is_no_second_connection(lonely: str) -> None:
    database = PostgresDatabase("postgres", lonely)
    async with open_store(database) as store:
        lease = await store.create_run(NewRun("k", fleet=Fleet(["k"])), ALICE)
        await asyncio.sleep(TRUST + 0.5)
        assert store.trusted(lease)
    database.close()
