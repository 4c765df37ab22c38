"""A process that stands still in the middle of a write: the others wait, say so, and end only after a long while."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from store_world import ALICE, want

from ecsbatch.errors import StoreError
from ecsbatch.model.events import BatchAccepted
from ecsbatch.model.run import Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import DatabaseStore, Grant, NewRun, open_store

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose lock it is")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'restarts.db'}"


@pytest.fixture
async def frozen(url: str) -> Generator[sqlite3.Connection]:  # type: ignore[misc]
    """A process that was stopped in the middle of a write; closing it lets it go on."""
    async with open_store(url) as store:
        await store.create_run(NewRun("old", fleet=Fleet(["z"])), ALICE)
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


async def waits(store: DatabaseStore) -> None:
    """Return once a store waits for somebody."""
    async with asyncio.timeout(60):
        while not store.waiting:  # noqa: ASYNC110 - a thread waits, which sets no event
            await asyncio.sleep(0.001)


async def test_a_write_waits_for_a_process_that_stands_still_and_says_so(url: str, frozen: sqlite3.Connection) -> None:
    async with open_store(url) as store:
        assert store.waiting == 0
        taking = asyncio.ensure_future(store.take(want(5)))
        await waits(store)
        assert not taking.done()
        frozen.execute("ROLLBACK")

        assert isinstance(await taking, Grant)
        assert store.waiting == 0


@LINUX
async def test_it_is_told_which_process_keeps_the_store(url: str, frozen: sqlite3.Connection) -> None:
    async with open_store(url) as store:
        assert (await store.kept_by(), store.keeper) == (os.getpid(), os.getpid())
        frozen.execute("ROLLBACK")

        assert (await store.kept_by(), store.keeper) == (None, 0)


async def test_who_only_reads_does_not_wait(url: str, frozen: sqlite3.Connection) -> None:
    assert frozen.in_transaction
    async with asyncio.timeout(60), open_store(url) as store:
        assert (await store.run()).run_id == "old"
        assert list((await store.targets("old")).ids) == ["z"]


async def test_the_waiting_ends_with_what_to_do(url: str, frozen: sqlite3.Connection) -> None:
    async with open_store(url, busy_timeout=0.2) as store:
        with pytest.raises(StoreError, match=r"was kept by .*process.* for [\d.]+ s: end that one or let it go on"):
            await store.create_run(NewRun("k"), ALICE)
        frozen.execute("ROLLBACK")

        lease = await store.create_run(NewRun("k"), ALICE)
        assert (await store.commit(lease, Transaction([BatchAccepted()]))).recorded[0].seq == 1


async def test_reading_waits_where_the_whole_file_is_kept(url: str, frozen: sqlite3.Connection) -> None:
    """So does the last process that closes a store, for a moment; it may be stopped there."""
    frozen.execute("ROLLBACK")
    async with open_store(url) as store:
        frozen.execute("PRAGMA locking_mode = EXCLUSIVE")
        async with asyncio.timeout(60):
            await store.runs()
    frozen.execute("BEGIN IMMEDIATE")
    frozen.execute("CREATE TABLE mine (x)")
    frozen.execute("COMMIT")
    opening = asyncio.ensure_future(open_store(url).__aenter__())
    await asyncio.sleep(0.2)
    assert not opening.done()
    frozen.close()

    async with asyncio.timeout(60):
        await (await opening).aclose()


async def test_who_wants_to_end_now_does_not_wait(url: str, frozen: sqlite3.Connection) -> None:
    assert frozen.in_transaction
    async with asyncio.timeout(60), open_store(url) as store:
        taking = store.take(want(5))
        await waits(store)
        store.hurry()
        with pytest.raises(StoreError, match="end that one or let it go on"):
            await taking


async def test_a_store_that_waits_can_be_broken_off(url: str, frozen: sqlite3.Connection) -> None:
    assert frozen.in_transaction
    store = await open_store(url).__aenter__()
    creating = asyncio.ensure_future(store.create_run(NewRun("k"), ALICE))
    await waits(store)
    store.sever()

    with pytest.raises(StoreError):
        await creating


async def test_a_process_that_was_forked_is_told_that_its_store_is_none(tmp_path: Path) -> None:
    """It has the store, and not the store's thread: whoever asked would wait for ever."""
    async with open_store(f"sqlite:///{tmp_path / 'x.db'}") as store:
        told, tells = os.pipe()
        if not (child := os.fork()):
            try:
                asyncio.run(asyncio.wait_for(store.runs(), 5))
            except BaseException as e:  # noqa: BLE001 - whatever it is, it is told
                os.write(tells, f"{type(e).__name__} {e}".encode())
            os._exit(0)
        os.close(tells)
        assert b"is closed: open it again" in os.read(told, 1000)
        os.close(told)
        os.waitpid(child, 0)  # noqa: ASYNC222 - it has ended
        assert await store.runs() == []
