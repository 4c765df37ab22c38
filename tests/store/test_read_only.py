"""A store that may not be written can be read: by a real user without the right to, beside a run that goes on."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from store_world import ALICE, BOB

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import StoreError
from ecsbatch.model.events import RunStarted, WaveStarted
from ecsbatch.model.run import Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.planning.strategy import make_plan
from ecsbatch.store import DatabaseStore, Lease, NewRun, open_store
from ecsbatch.store.read_only import ReadOnlyDatabase

BEFORE = Path(__file__).parent / "before" / "store.sqlite"
IDS = [f"{i:08x}-0000-4000-8000-000000000000" for i in range(3)]

READ = """
import io, json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from ecsbatch.cli.app import main

def told(command, url):
    out, err = io.TextIOWrapper(io.BytesIO(), write_through=True), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*command.split(), "--store", url])
    return code, out.buffer.getvalue().decode(), err.getvalue()

url, known, *commands = sys.argv[1:]
for command in commands:
    told(command, known)  # whatever it imports is read while it may be
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.__stdout__.write(json.dumps([told(command, url) for command in commands]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody may look into, unlike those of the tests."""
    made = Path(tempfile.mkdtemp(dir=None if os.geteuid() == 0 else tmp_path))
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'store.db'}"


async def begun(store: DatabaseStore) -> Lease:
    plan = make_plan(Fleet(IDS), Strategy())
    started = RunStarted(total=len(IDS), plan=plan.to_json())
    return await store.create_run(NewRun("k7f", plan=plan.to_json(), fleet=plan.fleet, events=[started]), ALICE)


def forbid_writing(folder: Path) -> None:
    (folder / "store.db").chmod(0o444)
    folder.chmod(0o555)


def type_as_nobody(folder: Path, tmp_path: Path, commands: Sequence[str]) -> list[Any]:
    """Type commands as a user who may not write the store, and check that nothing is made or left beside it."""
    known = tmp_path / "known.db"
    shutil.copy(BEFORE, known)
    before = sorted(each.name for each in folder.iterdir())
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", READ, url_of(folder), f"sqlite:///{known}", *commands],
        check=True,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("ECSBATCH")},
    )
    assert sorted(each.name for each in folder.iterdir()) == before
    answers: list[Any] = json.loads(done.stdout)
    return answers


@pytest.mark.real
async def test_every_command_that_reads_reads_it(folder: Path, tmp_path: Path) -> None:
    async with open_store(url_of(folder)) as store:
        await store.release(await begun(store))
    forbid_writing(folder)

    reading = ["status -o json", "report -o json", "explain -o json", "audit -o json", "runs -o json", "watch -o json"]
    *answers, refused = await asyncio.to_thread(type_as_nobody, folder, tmp_path, [*reading, "pause"])

    assert [err for _, _, err in answers] == [""] * len(reading)
    status, report, explained, audit, runs, watched = (json.loads(out) for _, out, _ in answers)
    assert (status["run_id"], status["status"], status["held"]) == ("k7f", "orphaned", False)
    assert [server["id"] for server in report["servers"]] == IDS
    assert explained["cause"] == "orphaned"
    assert (audit["ok"], [run["run_id"] for run in runs["runs"]], watched["total"]) == (True, ["k7f"], 3)
    assert refused[0] != 0


@pytest.mark.real
async def test_a_run_that_goes_on_is_read_beside_its_process(folder: Path, tmp_path: Path) -> None:
    async with open_store(url_of(folder)):
        (folder / "store.db").chmod(0o644)  # from the next opening on its log can be read as it can
    async with open_store(url_of(folder)) as store:
        lease = await begun(store)
        forbid_writing(folder)
        await store.commit(lease, Transaction([WaveStarted(wave=1, servers=3)]))
        commands = ["runs -o json", "explain -o json"]
        runs, explained = await asyncio.to_thread(type_as_nobody, folder, tmp_path, commands)

        assert [(run["status"], run["held"]) for run in json.loads(runs[1])["runs"]] == [("running", True)], runs
        assert json.loads(explained[1])["cause"] == "queued", explained
        await store.commit(lease, Transaction([WaveStarted(wave=1, servers=3)]))
        assert len(await store.events("k7f")) == (await store.run("k7f")).seq, "it can still write"


async def test_news_that_cannot_be_seen_are_not_left_out_in_silence(folder: Path) -> None:
    """What a killed process has written last is in the log alone, which is not readable without its index."""
    async with open_store(url_of(folder)) as store:
        await begun(store)
        for suffix in ("", "-wal"):
            shutil.copy(folder / f"store.db{suffix}", folder / f"copy.db{suffix}")

    says = r"has news in its log \(copy.db-wal\), and copy.db-shm is missing: let somebody .* list its runs"
    with pytest.raises(StoreError, match=says):
        ReadOnlyDatabase("sqlite:///x", folder / "copy.db")


async def test_whoever_writes_to_a_store_that_is_read_as_it_lies_is_noticed(folder: Path) -> None:
    async with open_store(url_of(folder)) as store:
        await store.release(await begun(store))
    with closing(ReadOnlyDatabase("sqlite:///x", folder / "store.db")) as database:
        assert not database.prepare()
        async with open_store(url_of(folder)) as store:
            await store.release(await store.take_run("k7f", BOB))
            with pytest.raises(StoreError, match="was written to while it was read: try again"):
                database.read(lambda: None)


def test_an_older_store_is_read_from_a_copy_and_stays_as_it_is(folder: Path) -> None:
    shutil.copy(BEFORE, folder / "store.db")
    before = (folder / "store.db").read_bytes()
    with closing(ReadOnlyDatabase("sqlite:///x", folder / "store.db")) as database:
        assert not database.prepare()
        bare = "SELECT count(*) FROM runs WHERE first_hash = ''"
        assert database.read(lambda: database.connection.execute(bare).fetchone()) == (5,)
        with pytest.raises(StoreError, match="may only be read here"):
            database.write(lambda: None)
    assert (folder / "store.db").read_bytes() == before
    assert [each.name for each in folder.iterdir()] == ["store.db"]


def test_what_is_no_store_is_refused(folder: Path) -> None:
    (folder / "store.db").write_bytes(b"")
    with (
        closing(ReadOnlyDatabase("sqlite:///x", folder / "store.db")) as database,
        pytest.raises(StoreError, match="another program's database"),
    ):
        database.prepare()
