"""A store does not grow for ever: what is over and old is deleted as a whole, and nothing else is touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from backends import Backend
from store_world import ALICE, BOB, HandClock, want

from ecsbatch.errors import Invalid, RunConflict, RunNotFound
from ecsbatch.model.conflicts import RunExists, RunHeld
from ecsbatch.model.events import RunFinished, RunStarted, ServerRestarted
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Lease, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import DatabaseStore, NewRun, open_store, pruning
from ecsbatch.store.store import ROLLOUTS_KEPT

DAY = 86_400.0
TABLES = ("runs", "journal", "targets", "claims", "commands", "ecsbatch")


@pytest.fixture
def clock(shared: Backend) -> HandClock:
    return shared.clock


@pytest.fixture
async def store(shared: Backend) -> AsyncIterator[DatabaseStore]:
    async with shared.open(inline=True) as opened:
        yield opened


async def begun(store: DatabaseStore, run_id: str, *, direct: bool = False, rows: int = 1, size: int = 2) -> Lease:
    """Store a run with so many rows of so many events each, and a command."""
    fleet = None if direct else Fleet([f"{run_id}-{i}" for i in range(3)])
    new = NewRun(run_id, "direct" if direct else "rollout", plan={"waves": [1]}, fleet=fleet, events=[RunStarted()])
    lease = await store.create_run(new, ALICE)
    for batch in range(rows):
        await store.commit(lease, Transaction([ServerRestarted(server=f"{run_id}-0", batch=batch)] * size))
    await store.command(run_id, {"command": "pause"}, "bob")
    return lease


async def over(
    store: DatabaseStore, run_id: str, status: RunStatus = RunStatus.SUCCEEDED, *, direct: bool = False, **more: int
) -> None:
    """Store a run that is over, or stands still."""
    lease = await begun(store, run_id, direct=direct, **more)
    await store.commit(lease, Transaction([RunFinished(status=status.value)], status=status))
    await store.release(lease)


def kept(shared: Backend, run_id: str) -> dict[str, int]:
    """Count what is kept of a run."""
    return {table: count for table in TABLES if (count := _count(shared, table, run_id))}


def _count(shared: Backend, table: str, run_id: str) -> int:
    column = "substr(name, 1 + length(name) - length(:run))" if table == "ecsbatch" else "run_id"
    statement = f"SELECT count(*) FROM {table} WHERE {column} = :run"  # noqa: S608 - our own tables
    [[count]] = shared.ask(statement, run=run_id)
    return int(count)


async def ids(store: DatabaseStore) -> set[str]:
    return {run.run_id for run in await store.runs(1000)}


@pytest.mark.parametrize(
    ("status", "direct", "gone"),
    [
        (RunStatus.SUCCEEDED, False, True),
        (RunStatus.FAILED, False, True),
        (RunStatus.ABORTED, False, True),
        (RunStatus.SUCCEEDED, True, True),
        (RunStatus.INTERRUPTED, False, False),
        (RunStatus.STOPPED, False, False),
        (RunStatus.PAUSED, False, False),
        (RunStatus.RUNNING, False, False),  # its process is dead: it is orphaned
        (RunStatus.RUNNING, True, True),  # the same, and nobody can resume it
    ],
)
async def test_what_can_be_resumed_is_kept_for_ever(
    shared: Backend,
    store: DatabaseStore,
    clock: HandClock,
    status: RunStatus,
    *,
    direct: bool,
    gone: bool,
) -> None:
    await over(store, "old", status, direct=direct)
    clock.walls += 100 * DAY
    await over(store, "young", status, direct=direct)

    assert await store.prune("90d", dry=True) == (["old"] if gone else [])
    assert await ids(store) == {"old", "young"}
    assert await store.prune("90d") == (["old"] if gone else [])
    assert await ids(store) == ({"young"} if gone else {"old", "young"})
    assert bool(kept(shared, "old")) is not gone
    assert (await store.check_chain("young")).events == (await store.run("young")).seq
    assert not (await store.check_chain("young")).breach


@pytest.mark.parametrize("direct", [False, True])
async def test_what_a_living_process_has_is_kept(
    shared: Backend, store: DatabaseStore, clock: HandClock, *, direct: bool
) -> None:
    going = await begun(store, "going", direct=direct)
    ending = await begun(store, "ending", direct=direct)
    await store.commit(ending, Transaction([RunFinished(status="succeeded")], status=RunStatus.SUCCEEDED))
    clock.walls += 100 * DAY

    async with shared.open(inline=True) as other:
        assert await store.prune(0) == await other.prune(0) == []
        assert await store.prune(0, dry=True) == []
        with pytest.raises(RunHeld):
            await other.take_run("ending", BOB)
    await store.commit(going, Transaction([ServerRestarted(server="a")]))
    await store.release(ending)
    assert await store.prune(0) == ["ending"]


async def test_the_age_of_a_run_counts_from_its_last_event(store: DatabaseStore, clock: HandClock) -> None:
    lease = await begun(store, "long")
    clock.walls += 100 * DAY
    await store.commit(lease, Transaction([RunFinished(status="succeeded")], status=RunStatus.SUCCEEDED))
    await store.release(lease)

    assert await store.prune("90d") == []
    clock.walls += 91 * DAY
    assert await store.prune("90d") == ["long"]


@pytest.mark.parametrize("older_than", ["10d", timedelta(days=10), 10 * DAY, "240h"])
async def test_a_duration_is_a_text_seconds_or_a_timedelta(
    store: DatabaseStore, clock: HandClock, older_than: str | float | timedelta
) -> None:
    await over(store, "old")
    clock.walls += 10 * DAY
    assert await store.prune(older_than) == []
    clock.walls += 1
    assert await store.prune(older_than) == ["old"]


@pytest.mark.parametrize("older_than", ["soon", "90", -1, timedelta(days=-1), float("nan"), float("inf"), None])
async def test_what_is_no_duration_deletes_nothing(store: DatabaseStore, clock: HandClock, older_than: object) -> None:
    await over(store, "old")
    clock.walls += 100 * DAY
    with pytest.raises(Invalid) as refused:
        await store.prune(older_than)  # type: ignore[arg-type]
    assert refused.value.field == "older_than"
    assert await ids(store) == {"old"}


async def test_tokens_that_count_are_not_forgotten_with_their_run(store: DatabaseStore, clock: HandClock) -> None:
    lease = await begun(store, "spent", direct=True)
    await store.commit(lease, Transaction(take=want(400)))
    await store.commit(lease, Transaction([RunFinished(status="succeeded")], status=RunStatus.SUCCEEDED))
    await store.release(lease)
    clock.walls += 1
    assert await store.prune(0) == ["spent"]
    assert (await store.usage("site", 1000)).free == 600


async def test_servers_that_a_run_had_left_behind_are_freed(
    shared: Backend, store: DatabaseStore, clock: HandClock
) -> None:
    lease = await begun(store, "killed")
    await store.commit(lease, Transaction(status=RunStatus.SUCCEEDED))
    shared.do("INSERT INTO claims (site, server_id, run_id) VALUES ('', 'left', 'killed')")
    store._handle.parts()[1].drop()
    shared.forget_holders()
    clock.walls += 1
    assert await store.prune(0) == ["killed"]
    assert kept(shared, "killed") == {}


# -- piece by piece ----------------------------------------------------------------------------------------------------

PIECES = 3


async def stopped_half_way(
    shared: Backend, store: DatabaseStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begin to delete a run of several pieces, and stop behind the first."""
    await over(store, "half", direct=True, rows=PIECES)
    clock.walls += 1
    monkeypatch.setattr(pruning, "PIECE", 1)
    deleting = asyncio.create_task(store.prune(0))
    while kept(shared, "half")["journal"] > PIECES:  # noqa: ASYNC110 - what is waited for is no event
        await asyncio.sleep(0)
    deleting.cancel()
    await asyncio.wait([deleting])
    assert set(kept(shared, "half")) > {"journal", "ecsbatch"}


async def test_a_run_that_is_being_deleted_is_gone_for_everybody(
    shared: Backend, store: DatabaseStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await over(store, "going", rows=20)
    clock.walls += 1
    monkeypatch.setattr(pruning, "PIECE", 1)
    async with shared.open(inline=True) as other:
        deleting = asyncio.create_task(store.prune(0))
        while "runs" in kept(shared, "going"):  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0)
        assert "journal" in kept(shared, "going")
        for asking in (other.take_run("going", BOB), other.run("going"), store.take_run("going", BOB)):
            with pytest.raises(RunNotFound):
                await asking
        taking = other._handle.parts()[1]._taking
        with pytest.raises(RunNotFound), taking._locked("going", known=True):  # it was there a moment ago
            pass
        with pytest.raises(RunConflict):
            await begun(other, "going")
        assert await deleting == ["going"]
        assert kept(shared, "going") == {}
        await begun(other, "going")


async def test_others_write_between_two_pieces(
    shared: Backend, store: DatabaseStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await over(store, "old", rows=20)
    clock.walls += 1
    living = await begun(store, "living", direct=True)
    monkeypatch.setattr(pruning, "PIECE", 1)
    deleting = asyncio.create_task(store.prune(0))
    seen: list[int] = []
    while not deleting.done():
        await store.commit(living, Transaction([ServerRestarted(server="a")]))
        seen.append(kept(shared, "old").get("journal", 0))
        await asyncio.sleep(0)
    assert len(set(seen)) > 10
    assert (await store.check_chain("living")).events == (await store.run("living")).seq


@pytest.mark.parametrize("who", ["the same", "another"])
async def test_a_deletion_that_was_stopped_half_way_is_finished_by_the_next(
    shared: Backend, store: DatabaseStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    await stopped_half_way(shared, store, clock, monkeypatch)
    if who == "the same":
        assert await store.prune("1d") == []
        assert kept(shared, "half") == {}
        return
    store.sever()
    async with shared.open(inline=True) as other:
        assert await other.prune("1d", dry=True) == []
        assert await other.prune("1d") == []
        assert kept(shared, "half") == {}


@pytest.mark.real  # it gives way between pieces on the store's thread
async def test_a_new_run_gets_nothing_of_a_deleted_one_of_its_id(
    shared: Backend, store: DatabaseStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stopped_half_way(shared, store, clock, monkeypatch)
    await begun(store, "half", rows=0)
    assert [recorded.event for recorded in await store.events("half")] == [RunStarted()]
    assert not (await store.check_chain("half")).breach
    assert await store.prune(0) == []
    assert set(kept(shared, "half")) == {"runs", "journal", "targets", "claims", "commands"}


async def test_a_run_that_is_taken_in_that_moment_is_kept(
    shared: Backend, store: DatabaseStore, clock: HandClock
) -> None:
    before = clock.walls + 1
    for run_id in ("retried", "let-go", "ended-anew"):
        await over(store, run_id, RunStatus.FAILED)
    async with shared.open(inline=True) as other:
        deletes = store._handle.parts()[1].pruning
        assert deletes.ended_before(before) == ["retried", "let-go", "ended-anew"]
        clock.walls += 2
        await other.take_run("retried", BOB)
        await other.release(await other.take_run("let-go", BOB))
        lease = await other.take_run("ended-anew", BOB)
        await other.commit(lease, Transaction([RunFinished(status="succeeded")], status=RunStatus.SUCCEEDED))
        await other.release(lease)
        for run_id in ("retried", "let-go", "ended-anew"):
            assert not deletes.begin(run_id, before)
            deletes.end(run_id)
        assert {run.run_id: run.status for run in await store.runs()} == {
            "retried": RunStatus.INTERRUPTED,
            "let-go": RunStatus.INTERRUPTED,
            "ended-anew": RunStatus.SUCCEEDED,
        }
        await other.release(await other.take_run("let-go", BOB))


async def test_the_file_gives_its_pages_back(tmp_path: Path) -> None:
    clock, path = HandClock(), tmp_path / "restarts.db"
    url = f"sqlite:///{path}"
    async with open_store(url, clock=clock, inline=True) as store:
        await over(store, "first")
    tables = path.stat().st_size
    async with open_store(url, clock=clock, inline=True) as store:
        for number in range(10):
            await over(store, f"r{number}", size=5000)
    full = path.stat().st_size
    clock.walls += 1
    async with open_store(url, clock=clock, inline=True) as store:
        assert len(await store.prune(0)) == 11
    assert path.stat().st_size - tables < (full - tables) / 4


# -- in memory ---------------------------------------------------------------------------------------------------------


async def test_a_store_in_memory_forgets_what_is_over_but_for_the_last_rollouts() -> None:
    async with open_store("memory:", clock=HandClock(), inline=True) as store:
        await over(store, "interrupted", RunStatus.INTERRUPTED)
        going = await begun(store, "going", direct=True)
        for number in range(ROLLOUTS_KEPT + 5):
            await over(store, f"r{number}", RunStatus.FAILED)
            await over(store, f"d{number}", direct=True)
        assert await ids(store) == {"interrupted", "going", *(f"r{n}" for n in range(5, ROLLOUTS_KEPT + 5))}
        await store.commit(going, Transaction([ServerRestarted(server="a")]))
        with pytest.raises(RunExists):
            await begun(store, "interrupted")
