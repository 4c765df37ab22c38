"""Files, processes and faults: real SQLite, real processes, real locks."""

import asyncio
import fcntl
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import pytest
from store_world import ALICE, BOB, HandClock, want

from ecsbatch.errors import ConfigError, StoreError
from ecsbatch.model.events import BatchAccepted
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import DatabaseStore, Grant, Lease, MemoryDatabase, NewRun, RunHeld, ServersClaimed, open_store
from ecsbatch.store.locks import FileLocks

TAKER = """
import asyncio, sys
from ecsbatch.store import Grant, TokenRequest, open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        got = 0
        for _ in range(200):
            grant = await store.take(TokenRequest("site", 7, 1, 1000, 155.05))
            got += grant.tokens if isinstance(grant, Grant) else 0
        print(got, flush=True)

asyncio.run(main())
"""

HOLDER = """
import asyncio, os, sys
from ecsbatch.model.run import Holder, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import NewRun, open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        hold = await store.create_run(NewRun("k", fleet=Fleet(["a"])), Holder("victim", "here", os.getpid(), 0.0))
        direct = await store.create_run(NewRun("d", "direct"), Holder("victim", "here", os.getpid(), 0.0))
        await store.commit(direct, Transaction(claim=[("", "z")]))
        print("ready", flush=True)
        sys.stdin.readline()

asyncio.run(main())
"""


def start(script: str, url: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(  # noqa: S603  # our own script, on a fixture's file
        [sys.executable, "-c", script, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def url_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'restarts.db'}"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_processes_that_take_at_once_never_exceed_the_limit(tmp_path: Path) -> None:
    takers = [start(TAKER, url_in(tmp_path)) for _ in range(3)]
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write("go\n")
        taker.stdin.flush()
    got = [int(taker.communicate()[0]) for taker in takers]

    assert sum(got) == 1000
    assert [taker.returncode for taker in takers] == [0, 0, 0]


async def test_a_killed_holder_is_known_to_be_dead_at_once(tmp_path: Path) -> None:
    holder = start(HOLDER, url_in(tmp_path))
    async with open_store(url_in(tmp_path)) as store:
        with pytest.raises(RunHeld, match="victim"):
            await store.take_run("k", BOB)
        with pytest.raises(ServersClaimed, match="run d"):
            await store.create_run(NewRun("x", fleet=Fleet(["z"])), BOB)
        holder.send_signal(signal.SIGKILL)
        holder.communicate()

        assert (await store.run("k")).status == RunStatus.ORPHANED
        assert (await store.take_run("k", BOB)).fence == 2
        await store.create_run(NewRun("x", fleet=Fleet(["z"])), BOB)


def test_asking_whether_a_run_is_held_disturbs_nobody(tmp_path: Path) -> None:
    """Questions lock for a moment; two at once, or one that never ends, are not taken for a holder's lock by others."""
    one, two = FileLocks(tmp_path / "x.db"), FileLocks(tmp_path / "x.db")
    assert not one.held("k")
    path = tmp_path / "x.db.k.lock"
    path.touch()
    with path.open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not one.held("k")
        assert not one.acquire("k")
    assert one.acquire("k")
    assert two.held("k")
    assert not two.acquire("k")
    one.release("k")
    assert two.acquire("k")
    two.drop()


def test_a_link_in_the_place_of_a_lock_makes_no_file_elsewhere_and_a_pipe_stops_nobody(tmp_path: Path) -> None:
    locks, path, elsewhere = FileLocks(tmp_path / "x.db"), tmp_path / "x.db.k.lock", tmp_path / "elsewhere"
    path.symlink_to(elsewhere)
    for ask in (locks.acquire, locks.held):
        with pytest.raises(StoreError, match="is a link, which we do not make: remove it"):
            ask("k")
    assert not elsewhere.exists()
    path.unlink()

    os.mkfifo(path)
    assert not locks.held("k")


async def test_files_are_for_their_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with open_store(url_in(tmp_path / "state")) as store:
            await store.create_run(NewRun("k"), ALICE)
            modes = {path.name: mode(path) for path in (tmp_path / "state").iterdir()}
            assert mode(tmp_path / "state") == 0o700
    finally:
        os.umask(before)

    names = ["restarts.db", "restarts.db-shm", "restarts.db-wal", "restarts.db.k.lock"]
    assert dict.fromkeys(names, 0o600) == modes
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["restarts.db"]


@pytest.mark.parametrize(
    "url", ["", "x.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://u:secret@h/x", "sqlite:///a.db?x=1"]
)
def test_a_malformed_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:///relative\.db") as refused:
        open_store(url)

    assert "secret" not in str(refused.value)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"create .*/a/b first"):
        await open_store(url_in(tmp_path / "a" / "b")).__aenter__()
    with pytest.raises(ConfigError, match="is a folder"):
        await open_store(f"sqlite:///{tmp_path}").__aenter__()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
async def test_a_file_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    async with open_store(url_in(tmp_path)):
        pass
    (tmp_path / "restarts.db").chmod(0o400)
    with pytest.raises(StoreError, match="permissions"):
        await open_store(url_in(tmp_path)).__aenter__()


async def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "restarts.db"
    path.write_text("These are my notes.\n" * 100)
    with pytest.raises(StoreError, match="not a database"):
        await open_store(url_in(tmp_path)).__aenter__()

    assert path.read_text() == "These are my notes.\n" * 100


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "restarts.db") as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        await open_store(url_in(tmp_path)).__aenter__()


async def test_a_newer_stores_schema_is_refused(tmp_path: Path) -> None:
    async with open_store(url_in(tmp_path)) as store:
        database(store).execute("UPDATE ecsbatch SET value = '99' WHERE name = 'schema'")
    with pytest.raises(StoreError, match=r"schema 99.*update ecsbatch"):
        await open_store(url_in(tmp_path)).__aenter__()


async def test_a_damaged_file_is_an_error_and_not_an_empty_store(tmp_path: Path) -> None:
    async with open_store(url_in(tmp_path)) as store:
        await store.create_run(NewRun("k", fleet=Fleet([f"s{i}" for i in range(5000)])), ALICE)
    path = tmp_path / "restarts.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StoreError):
        await open_store(url_in(tmp_path)).__aenter__()


@pytest.mark.parametrize("inline", [False, True])
async def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path, *, inline: bool) -> None:
    async with open_store(url_in(tmp_path), inline=inline) as store:
        lease = await store.create_run(NewRun("k"), ALICE)
        pages = database(store).execute("PRAGMA page_count").fetchone()[0]
        database(store).execute(f"PRAGMA max_page_count = {pages + 10}")
        done = await fill(store, lease)
        assert 1 < done < 100
        database(store).execute(f"PRAGMA max_page_count = {pages + 1000}")
        with pytest.raises(StoreError, match="no space left"):
            await store.commit(lease, Transaction([BatchAccepted(batch=-1)]))
        assert done == len(await store.events("k"))
        assert done == (await store.usage("site", 1000)).held

        await store.release(lease)
        again = await store.take_run("k", ALICE)
        assert done + 1 == (await store.commit(again, Transaction([BatchAccepted()]))).recorded[0].seq


async def fill(store: DatabaseStore, lease: Lease) -> int:
    """Commit until the disk is full; return how many commits were acknowledged."""
    for done in range(100):
        try:
            await store.commit(lease, Transaction([BatchAccepted(batch=done, job_id=token_hex(1500))], take=want(1)))
        except StoreError:
            return done
    return 100


def database(store: DatabaseStore) -> sqlite3.Connection:
    assert store._handle.opened is not None
    connection: sqlite3.Connection = store._handle.opened[0].connection
    return connection


async def test_one_groups_failure_fails_all_of_it(tmp_path: Path) -> None:
    async with open_store(url_in(tmp_path)) as store:
        lease = await store.create_run(NewRun("k"), ALICE)
        other = await store.create_run(NewRun("other"), ALICE)
        pages = database(store).execute("PRAGMA page_count").fetchone()[0]
        database(store).execute(f"PRAGMA max_page_count = {pages}")
        futures = [
            store.commit(run, Transaction([BatchAccepted(job_id=token_hex(15_000))])) for run in (lease, other, lease)
        ]
        results = await asyncio.gather(*futures, return_exceptions=True)

        assert [StoreError] * 3 == [type(result) for result in results]
        assert await store.events("k") == []


async def test_a_severed_store_is_as_dead_as_its_process() -> None:
    disk = MemoryDatabase()
    store = await open_store(disk, clock=HandClock(), inline=True).__aenter__()
    lease = await store.create_run(NewRun("k"), ALICE)
    await store.commit(lease, Transaction([BatchAccepted(batch=1)], take=want(10)))
    store.sever()
    for refused in (store.commit(lease, Transaction([BatchAccepted(batch=2)])), store.run("k"), store.take(want(1))):
        with pytest.raises(StoreError):
            await refused
    async with open_store(disk, clock=HandClock(), inline=True) as second:
        again = await second.take_run("k", BOB)

        assert (again.fence, len(await second.events("k"))) == (2, 1)
        assert (await second.usage("site", 1000)).held == 10
        assert isinstance(await second.take(want(1)), Grant)
    disk.close()


async def test_a_store_severed_on_its_thread_writes_nothing_more(tmp_path: Path) -> None:
    store = await open_store(url_in(tmp_path)).__aenter__()
    lease = await store.create_run(NewRun("k"), ALICE)
    futures = [store.commit(lease, Transaction([BatchAccepted(batch=i)])) for i in range(2000)]
    store.sever()
    results = await asyncio.gather(*futures, return_exceptions=True)
    done = [result for result in results if not isinstance(result, BaseException)]
    async with open_store(url_in(tmp_path)) as second:
        stored = await second.events("k", limit=5000)
        assert [recorded for commit in done for recorded in commit.recorded] == stored


async def test_two_stores_are_opened_at_once(tmp_path: Path) -> None:
    stores = [open_store(url_in(tmp_path)) for _ in range(8)]
    await asyncio.gather(*(store.__aenter__() for store in stores))
    await asyncio.gather(*(store.aclose() for store in stores))
    assert (tmp_path / "restarts.db").exists()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("mine/r.db", 0o606),
        ("mine/r.db-wal", 0o606),
        ("mine/r.db-shm", 0o606),
        ("mine", 0o777),
        ("links", 0o707),
        ("", 0o777),
    ],
)
async def test_a_store_that_others_may_write_says_so(tmp_path: Path, name: str, mode: int) -> None:
    """Whoever may write its file, its log, its folder, one above or that of a link may write its rows."""
    for folder in ("mine", "links"):
        (tmp_path / folder).mkdir(mode=0o700)
    (tmp_path / "links" / "r.db").symlink_to(tmp_path / "mine" / "r.db")
    (tmp_path / "mine" / "r.db").touch(0o600)
    async with open_store(f"sqlite:///{tmp_path}/links/r.db") as store:
        await store.runs()
        private = store.exposure
        (tmp_path / name).chmod(mode)
        shared = store.exposure

    assert private is None
    assert shared is not None
    assert f"{tmp_path / name} may be written by" in shared.why
    assert shared.mend == f"`chmod go-w {tmp_path / name}`"
