import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from backends import Backend
from store_world import ALICE, BOB, want

from ecsbatch.errors import ConfigError, Invalid, RunConflict, RunNotFound, StoreError
from ecsbatch.model.events import (
    BatchAccepted,
    BatchSubmitting,
    Event,
    LimitChanged,
    RunFinished,
    RunResumed,
    RunStarted,
    RunStopped,
    ServerFailed,
    ServerRestarted,
)
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.recorded import decode
from ecsbatch.model.run import Holder, Transaction
from ecsbatch.model.servers import Fleet, Server
from ecsbatch.policy.standing import Phase, Standing
from ecsbatch.store import (
    DatabaseStore,
    Grant,
    NewRun,
    RunExists,
    RunHeld,
    RunOver,
    RunTaken,
    ServersClaimed,
    Settlement,
    open_store,
)
from ecsbatch.views.summary import run_lines


@pytest.fixture
async def store(used: Backend) -> AsyncIterator[DatabaseStore]:
    async with used.open() as opened:
        yield opened


def rollout(run_id: str, *servers: str) -> NewRun:
    return NewRun(run_id, plan={"waves": [1]}, fleet=Fleet(servers), events=[RunStarted(total=len(servers))])


async def test_a_run_is_read_back_as_it_was_created(store: DatabaseStore) -> None:
    fleet = Fleet.of([Server("s2", "az1", "web"), Server("s1", "az2", "db", "north")])
    lease = await store.create_run(NewRun("k7f3", plan={"x": 1}, fleet=fleet, events=[RunStarted(total=2)]), ALICE)
    record = await store.run("k7f3")

    assert (lease.fence, lease.holder, lease.previous) == (1, ALICE, None)
    assert (
        record.run_id,
        record.kind,
        record.status,
        record.held,
        record.total,
        record.seq,
    ) == ("k7f3", "rollout", RunStatus.RUNNING, True, 2, 1)
    assert ({"x": 1}, fleet.targets_hash(), ALICE) == (record.plan, record.targets_hash, record.holder)
    assert list(fleet) == list(await store.targets("k7f3"))
    assert list(lease.recorded) == await store.events("k7f3")


@pytest.mark.real
async def test_targets_of_many_parts_keep_their_order(store: DatabaseStore) -> None:
    fleet = Fleet([f"s{i * 7919 % 50_000:05}" for i in range(50_000)], [f"az{i % 3}" for i in range(50_000)])
    await store.create_run(NewRun("big", fleet=fleet), ALICE)
    found = await store.targets("big")

    assert (fleet.ids, fleet.domains, None) == (found.ids, found.domains, found.names)


def test_the_name_of_a_set_of_targets_knows_no_order() -> None:
    assert Fleet(["a", "b"]).targets_hash() == Fleet(["b", "a"], ["az1", ""]).targets_hash()
    assert Fleet(["a", "b"]).targets_hash() != Fleet(["a", "b"], sites=["n", "n"]).targets_hash()
    assert Fleet(["a"]).targets_hash() != Fleet(["a", "b"]).targets_hash()


async def test_others_can_write_while_the_servers_of_a_new_run_are_hashed(tmp_path: Path) -> None:
    class Hashed(Fleet):
        def targets_hash(self) -> str:
            with closing(sqlite3.connect(tmp_path / "store.db", timeout=0)) as other:
                other.execute("BEGIN IMMEDIATE")
            return super().targets_hash()

    fleet = Hashed(["a"])
    async with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        await store.create_run(NewRun("k7f3", fleet=fleet), ALICE)

        assert (await store.run("k7f3")).targets_hash == Fleet(["a"]).targets_hash()


async def test_a_taken_run_id_is_refused_with_what_is_needed_to_compare(store: DatabaseStore) -> None:
    await store.create_run(rollout("k7f3", "a"), ALICE)
    with pytest.raises(RunExists) as refused:
        await store.create_run(rollout("k7f3", "b"), BOB)

    assert ("k7f3", Fleet(["a"]).targets_hash()) == (refused.value.run_id, refused.value.targets_hash)
    assert await store.claimed([("", "b")]) == {}


@pytest.mark.parametrize("run_id", ["", "../x", "a b", ".hidden", "x" * 65])
async def test_a_run_id_must_be_fit_for_a_file_name(store: DatabaseStore, run_id: str) -> None:
    with pytest.raises(Invalid, match="run_id"):
        await store.create_run(rollout(run_id, "a"), ALICE)


async def test_overlapping_targets_are_refused_with_the_run_its_holder_and_its_progress(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("first", "a", "b", "c"), ALICE)
    await store.commit(lease, Transaction([ServerRestarted(server="a")]))
    with pytest.raises(ServersClaimed) as refused:
        await store.create_run(rollout("second", "b", "c", "d"), BOB)

    assert (refused.value.run_id, refused.value.servers, refused.value.runs) == ("first", 2, {"first": 2})
    for word in ("first", "alice@desk", "pid 11", "1 of 3 done", "leave its servers out"):
        assert word in str(refused.value)
    assert await store.claimed([("", "b"), ("", "d")]) == {("", "b"): "first"}
    with pytest.raises(ConfigError):
        await store.run("second")


async def test_the_same_id_at_another_site_is_another_server(store: DatabaseStore) -> None:
    await store.create_run(NewRun("north", fleet=Fleet(["a"], sites=["n"])), ALICE)
    await store.create_run(NewRun("south", fleet=Fleet(["a"], sites=["s"])), ALICE)

    assert await store.claimed([("n", "a"), ("s", "a")]) == {("n", "a"): "north", ("s", "a"): "south"}


async def test_an_ignored_run_keeps_its_claims_and_is_no_conflict(store: DatabaseStore) -> None:
    await store.create_run(rollout("first", "a"), ALICE)
    await store.create_run(NewRun("second", fleet=Fleet(["a", "b"]), ignore=frozenset({"first"})), ALICE)

    assert await store.claimed([("", "a"), ("", "b")]) == {("", "a"): "first", ("", "b"): "second"}


@pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.ABORTED])
async def test_a_run_that_is_over_frees_its_servers(store: DatabaseStore, status: RunStatus) -> None:
    lease = await store.create_run(rollout("first", "a"), ALICE)
    await store.commit(lease, Transaction(status=status))

    assert await store.claimed([("", "a")]) == {}
    await store.create_run(rollout("second", "a"), BOB)


async def test_a_stopped_or_orphaned_run_keeps_its_servers(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("first", "a"), ALICE)
    await store.commit(lease, Transaction(status=RunStatus.STOPPED))
    await store.release(lease)
    with pytest.raises(ServersClaimed):
        await store.create_run(rollout("second", "a"), BOB)


async def test_a_direct_run_claims_while_in_flight(store: DatabaseStore) -> None:
    direct = await store.create_run(NewRun("direct", "direct"), ALICE)
    await store.create_run(rollout("first", "z"), ALICE)
    await store.commit(direct, Transaction(claim=[("", "b"), ("", "a")]))
    with pytest.raises(ServersClaimed, match="first"):
        await store.commit(direct, Transaction([BatchAccepted()], claim=[("", "c"), ("", "z")]))

    assert {("", "a"), ("", "b")} == set(await store.claimed([("", c) for c in "abcz"])) - {("", "z")}
    assert await store.events("direct") == []
    await store.commit(direct, Transaction(unclaim=[("", "a"), ("", "z")], claim=[("", "b"), ("", "c")]))

    owners = {"b": "direct", "c": "direct", "z": "first"}
    assert {("", server): run for server, run in owners.items()} == await store.claimed([("", c) for c in "abcz"])


async def test_the_claims_of_a_dead_direct_run_are_void(shared: Backend) -> None:
    async with shared.open(inline=False) as dead, shared.open(inline=False) as store:
        direct = await dead.create_run(NewRun("direct", "direct"), ALICE)
        await dead.commit(direct, Transaction(claim=[("", "a"), ("", "b")]))
        with pytest.raises(ServersClaimed):
            await store.create_run(rollout("first", "a"), BOB)
        dead.sever()
        shared.forget_holders()

        assert await store.claimed([("", "a")]) == {}
        await store.create_run(rollout("first", "a"), BOB)
        assert await store.claimed([("", "a"), ("", "b")]) == {("", "a"): "first"}


async def test_a_conflict_with_a_run_that_nobody_holds_names_the_ways_on(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("first", "a", "b"), ALICE)
    with pytest.raises(ServersClaimed, match="wait for it, end it") as living:
        await store.create_run(rollout("second", "b"), BOB)
    await store.commit(lease, Transaction([RunStopped(status="stopped", reason="gate")], status=RunStatus.STOPPED))
    await store.release(lease)
    with pytest.raises(ServersClaimed, match="go on with it") as left:
        await store.create_run(rollout("second", "b"), BOB)

    assert "go on with it" not in str(living.value)
    assert "wait for it" not in str(left.value)
    assert "(stopped, 0 of 2 done, last held by alice@desk" in str(left.value)


async def test_what_an_aborted_run_never_started_is_not_done(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("first", "a", "b", "c"), ALICE)
    await store.commit(lease, Transaction([ServerRestarted(server="a")]))
    await store.commit(lease, Transaction([RunFinished(status="aborted", counts={"restarted": 1, "not_started": 2})]))
    record = await store.run("first")

    assert (record.ended, record.total) == (1, 3)
    assert run_lines([record])[1].split()[2:4] == ["1", "3"]


async def test_the_table_of_runs_says_what_one_waits_for(store: DatabaseStore) -> None:
    await store.create_run(rollout("first", "a"), ALICE)
    record = await store.run("first")
    soaks = Standing(Phase.SOAKING, "soaking", "20s more")
    asked = Standing(Phase.GATE, "gate: waiting", '"errors are at 3%", asked 4 times, 6m left')

    assert run_lines([record], 120, {"first": soaks})[1].startswith("first  soaking (20s more)  ")
    assert run_lines([record], 120, {"first": asked})[1].startswith("first  gate: waiting  ")
    assert run_lines([record])[1].split()[1] == record.status.value


async def test_the_table_of_runs_names_machines_and_leases_where_there_are_several(store: DatabaseStore) -> None:
    await store.create_run(rollout("first", "a"), Holder("worker-1", "lab", 22, 1_700_000_100.0))
    alone = replace(await store.run("first"), lease_left=None)
    both = [replace(alone, lease_left=3.14), replace(alone, lease_left=-0.5)]

    assert run_lines([alone], 160)[0].endswith("  HOLDER")
    assert run_lines([alone], 160)[1].endswith("  worker-1")
    assert run_lines(both, 160)[0].split()[-4:] == ["LEASE", "HOLDER", "SINCE", "(UTC)"]
    assert run_lines(both, 160)[1].endswith("     3.1s  worker-1 on lab  2023-11-14 22:15:00")
    assert "  ran out  worker-1 on lab  " in run_lines(both, 160)[2]
    assert run_lines(both, 80)[1].endswith("     3.1s  worker-1 on lab")


@pytest.mark.real
async def test_a_hundred_thousand_claims_and_a_late_conflict(store: DatabaseStore) -> None:
    fleet = Fleet([f"s{i:06}" for i in range(100_000)])
    await store.create_run(NewRun("first", fleet=Fleet(["s099999"])), ALICE)
    with pytest.raises(ServersClaimed) as refused:
        await store.create_run(NewRun("second", fleet=fleet), ALICE)

    assert refused.value.servers == 1
    assert await store.claimed([("", server) for server in fleet.ids]) == {("", "s099999"): "first"}


async def test_a_prefix_must_be_unique(store: DatabaseStore) -> None:
    for run_id in ("ab1", "ab2", "ab"):
        await store.create_run(NewRun(run_id), ALICE)

    assert (await store.run("ab1")).run_id == "ab1"
    assert (await store.run("ab")).run_id == "ab"
    with pytest.raises(RunNotFound, match=r"'a' \(ab, ab2, ab1\)") as several:
        await store.run("a")
    assert (several.value.run_id, several.value.candidates) == ("a", ["ab", "ab2", "ab1"])
    with pytest.raises(RunNotFound, match="no run 'zz'") as none:
        await store.run("zz")
    assert (none.value.run_id, none.value.candidates) == ("zz", [])
    with pytest.raises(RunNotFound, match="no run 'ab3'"):
        await store.take_run("ab3", BOB)


async def test_a_hold_wants_the_whole_id(store: DatabaseStore) -> None:
    lease = await store.create_run(NewRun("ab12"), ALICE)
    await store.release(lease)
    with pytest.raises(ConfigError):
        await store.take_run("ab", BOB)


async def test_the_latest_run_is_a_rollout_before_a_direct_one(store: DatabaseStore) -> None:
    with pytest.raises(ConfigError, match="no runs yet"):
        await store.run()
    await store.create_run(NewRun("d1", "direct"), ALICE)
    assert (await store.run()).run_id == "d1"
    await store.create_run(NewRun("r1"), ALICE)
    await store.create_run(NewRun("r2"), ALICE)
    await store.create_run(NewRun("d2", "direct"), ALICE)

    assert (await store.run()).run_id == "r2"
    assert [record.run_id for record in await store.runs(2)] == ["d2", "r2"]


async def test_events_are_numbered_and_read_from_anywhere(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("k", "a"), ALICE)
    done = [
        await store.commit(lease, Transaction([BatchAccepted(batch=3 * i + j) for j in range(3)])) for i in range(4)
    ]
    stored = await store.events("k")

    assert list(range(1, 14)) == [recorded.seq for recorded in stored]
    assert [*lease.recorded, *(one for commit in done for one in commit.recorded)] == stored
    for after in range(14):
        lines = await store.lines("k", after, 4)
        assert stored[after : after + 4] == await store.events("k", after, 4)
        assert stored[after : after + 4] == [decode(line) for line in lines]


async def test_commits_given_at_once_keep_their_order(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("k", "a"), ALICE)
    futures = [store.commit(lease, Transaction([BatchAccepted(batch=i)])) for i in range(200)]
    commits = await asyncio.gather(*futures)

    assert list(range(2, 202)) == [commit.recorded[0].seq for commit in commits]
    assert list(range(200)) == [
        one.event.batch for one in await store.events("k", 1) if isinstance(one.event, BatchAccepted)
    ]


async def test_a_cancelled_waiter_does_not_stop_a_commit(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("k", "a"), ALICE)
    store.commit(lease, Transaction([BatchAccepted(batch=1)])).cancel()
    last = await store.commit(lease, Transaction([BatchAccepted(batch=2)]))

    assert last.recorded[0].seq == 3


async def test_a_refused_commit_leaves_nothing_and_spares_those_beside_it(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("k", "a"), ALICE)
    first = await store.commit(lease, Transaction(take=want(600)))
    assert first.grant is not None

    def broken(_: Grant) -> list[Event]:
        raise ZeroDivisionError

    futures = [
        store.commit(lease, Transaction([BatchAccepted(batch=1)])),
        store.commit(lease, Transaction(take=want(100), intent=broken, settle=[Settlement(first.grant.id, None)])),
        store.commit(lease, Transaction([BatchAccepted(batch=2)])),
    ]
    results = await asyncio.gather(*futures, return_exceptions=True)

    assert isinstance(results[1], ZeroDivisionError)
    assert [one.seq for one in await store.events("k", 1)] == [2, 3]
    assert (await store.usage("site", 1000)).held == 600


async def test_what_cannot_become_a_line_spares_those_beside_it(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("k", "a"), ALICE)
    futures = [
        store.commit(lease, Transaction([BatchAccepted(batch=1)])),
        store.commit(lease, Transaction([BatchAccepted(batch=2), LimitChanged(limit="max_failures", new=object())])),
        store.commit(lease, Transaction([BatchAccepted(batch=3)])),
    ]
    results = await asyncio.gather(*futures, return_exceptions=True)

    assert isinstance(results[1], TypeError)
    assert [(2, BatchAccepted(batch=1)), (3, BatchAccepted(batch=3))] == [
        (one.seq, one.event) for one in await store.events("k", 1)
    ]


async def test_commits_that_wait_together_are_one_row_and_one_step_of_the_run(shared: Backend) -> None:
    async with shared.open(inline=False) as store:
        lease = await store.create_run(rollout("k", "a", "b"), ALICE)
        other = await store.create_run(rollout("other", "c"), ALICE)
        futures = [
            store.commit(lease, Transaction([BatchAccepted(batch=1), ServerRestarted(server="a")])),
            store.commit(other, Transaction([ServerFailed(server="c")])),
            store.commit(lease, Transaction([ServerRestarted(server="b")])),
        ]
        await asyncio.gather(*futures)

        rows = shared.ask("SELECT run_id, seq_first, seq_last FROM journal ORDER BY run_id, seq_first")
        assert rows == [("k", 1, 1), ("k", 2, 4), ("other", 1, 1), ("other", 2, 2)]
        assert [one.seq for one in await store.events("k", 1)] == [2, 3, 4]
        assert (await store.run("k")).counts == {"restarted": 2}
        assert (await store.run("other")).counts == {"failed": 1}


async def test_a_grant_and_its_intent_are_one(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("k", "a"), ALICE)

    def intent(grant: Grant) -> list[Event]:
        return [BatchSubmitting(batch=grant.tokens, grant=grant.id)]

    granted = await store.commit(lease, Transaction([BatchAccepted()], take=want(700), intent=intent))
    denied = await store.commit(lease, Transaction([BatchAccepted()], take=want(700, at_least=400), intent=intent))

    assert granted.grant is not None
    assert (granted.recorded[-1].event.name, len(granted.recorded)) == ("batch.submitting", 2)
    assert (denied.grant, len(denied.recorded)) == (None, 1)
    assert denied.shortage is not None
    assert (denied.shortage.free, denied.shortage.in_flight) == (300, 700)


async def test_progress_counts_outcomes_and_forgets_those_that_are_tried_again(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("k", "a", "b", "c"), ALICE)
    await store.commit(
        lease, Transaction([ServerRestarted(server="a"), ServerFailed(server="b"), ServerFailed(server="c")])
    )
    assert (await store.run("k")).counts == {"restarted": 1, "failed": 2}
    await store.commit(lease, Transaction([RunResumed(retry=["failed"]), ServerRestarted(server="b")]))

    assert (await store.run("k")).counts == {"restarted": 2}


async def test_a_living_holder_is_named_to_whoever_wants_its_run(shared: Backend) -> None:
    async with shared.open(inline=False) as one, shared.open(inline=False) as two:
        await one.create_run(rollout("k", "a"), ALICE)
        for store in (one, two):
            with pytest.raises(RunHeld, match="alice@desk, pid 11 since 2023-11-14"):
                await store.take_run("k", BOB)
        assert (await two.run("k")).held


async def test_a_dead_holder_is_replaced_at_once(shared: Backend) -> None:
    async with shared.open(inline=False) as two:
        one = await shared.open(inline=False).__aenter__()
        await one.create_run(rollout("k", "a"), ALICE)
        assert (await two.run("k")).status == RunStatus.RUNNING
        one.sever()
        shared.forget_holders()
        assert (await two.run("k")).status == RunStatus.ORPHANED
        lease = await two.take_run("k", BOB)
        commit = await two.commit(lease, Transaction([BatchAccepted()]))

        assert (lease.fence, lease.previous, commit.recorded[0].seq) == (2, ALICE, 2)
        assert (await two.run("k")).status == RunStatus.RUNNING


async def test_a_holder_of_yesterday_writes_nothing(shared: Backend) -> None:
    """Where the lock is lost without the process knowing, the number in the row still stops it."""
    async with shared.open(inline=False) as one, shared.open(inline=False) as two:
        old = await one.create_run(rollout("k", "a"), ALICE)
        shared.forget_holders()
        await two.take_run("k", BOB)
        with pytest.raises(RunTaken, match="bob@lab"):
            await one.commit(old, Transaction([BatchAccepted()], take=want(10), status=RunStatus.FAILED))

        assert len(await two.events("k")) == 1
        assert (await two.usage("site", 1000)).held == 0


async def test_a_released_run_is_anybodys(store: DatabaseStore) -> None:
    first = await store.create_run(rollout("k", "a"), ALICE)
    await store.release(first)
    with pytest.raises(RunConflict, match="released"):
        await store.commit(first, Transaction([BatchAccepted()]))
    second = await store.take_run("k", BOB)
    await store.release(first)
    await store.commit(second, Transaction([BatchAccepted()]))

    assert (await store.run("k")).held


async def test_an_aborted_run_is_never_held_again(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("k", "a"), ALICE)
    await store.commit(lease, Transaction(status=RunStatus.ABORTED))
    await store.release(lease)
    with pytest.raises(RunOver):
        await store.take_run("k", BOB)

    assert not (await store.run("k")).held


async def test_a_run_that_is_over_takes_its_servers_again_or_is_refused(store: DatabaseStore) -> None:
    lease = await store.create_run(rollout("k", "a"), ALICE)
    await store.commit(lease, Transaction(status=RunStatus.FAILED))
    await store.release(lease)
    again = await store.take_run("k", BOB)
    assert (await store.run("k")).status == RunStatus.INTERRUPTED
    assert await store.claimed([("", "a")]) == {("", "a"): "k"}
    await store.commit(again, Transaction(status=RunStatus.FAILED))
    await store.release(again)
    await store.create_run(rollout("other", "a"), ALICE)
    with pytest.raises(ServersClaimed):
        await store.take_run("k", BOB)

    assert (await store.run("k")).status == RunStatus.FAILED


async def test_a_cancelled_creation_leaves_no_lock_behind(shared: Backend) -> None:
    async with shared.open(inline=False) as store:
        creating = asyncio.ensure_future(store.create_run(rollout("k", "a"), ALICE))
        await asyncio.sleep(0)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        while not await store.runs():
            pass
        while (await store.run("k")).held:
            pass

        assert (await store.take_run("k", BOB)).fence == 2


async def test_a_cancelled_renewal_leaves_no_lock_behind(shared: Backend) -> None:
    async with shared.open(inline=False) as store:
        lease = await store.create_run(rollout("k", "a"), ALICE)
        renewing = asyncio.ensure_future(store.renew(lease))
        await asyncio.sleep(0)
        renewing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await renewing
        async with asyncio.timeout(10):
            while (await store.run("k")).held:
                pass

        assert (await store.take_run("k", BOB)).fence == 3


async def test_anyone_may_leave_a_command(shared: Backend) -> None:
    async with shared.open(inline=False) as one, shared.open(inline=False) as two:
        await one.create_run(rollout("k", "a"), ALICE)
        first = await two.command("k", {"do": "pause"}, "bob")
        second = await two.command("k", {"do": "adjust", "max_failures": 3}, "bob")
        commands = await one.commands("k")

        assert [first, second] == [command.id for command in commands]
        assert (commands[0].body, commands[0].who) == ({"do": "pause"}, "bob")
        assert [second] == [command.id for command in await one.commands("k", first)]
        with pytest.raises(ConfigError):
            await two.command("nothing", {}, "bob")


async def test_a_closed_store_says_so(shared: Backend) -> None:
    store = shared.open(inline=False)
    assert "not open" in repr(store)
    async with store:
        lease = await store.create_run(rollout("k", "a"), ALICE)
        flushed = store.commit(lease, Transaction([BatchAccepted()]))
    assert (await flushed).recorded[0].seq == 2
    assert "closed" in repr(store)
    with pytest.raises(StoreError, match="closed"):
        await store.run("k")
    with pytest.raises(StoreError, match="closed"):
        await store.commit(lease, Transaction([BatchAccepted()]))
    await store.aclose()
