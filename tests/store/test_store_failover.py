"""What a store does about a failover that forgets: the database goes back to an earlier state, on a new timeline."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from store_world import ALICE, BOB, CRASH_HOLD, HandClock, want

from ecsbatch.errors import RecordEdited, RunConflict
from ecsbatch.model.conflicts import RunHeld, RunTaken
from ecsbatch.model.events import Event, RunFinished, RunResumed, RunStarted, StoreFailedOver, WaveStarted
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Lease, NewRun, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.model.tokens import Grant, Settlement, Shortage
from ecsbatch.store import DatabaseStore, MemoryDatabase, open_store
from ecsbatch.store import failover as module
from ecsbatch.store.failover import LOST_LEDGER, REMEMBERED
from ecsbatch.store.lease_keeper import TTL
from ecsbatch.store.worker import Write


@dataclass
class Shared:
    """A database that fails over, the stores of three machines on it, and the clock of all of them.

    Attributes:
        now: the database's clock.
        alice, bob, eve: the stores.
        copies: what a standby has received.
    """

    now: float = 1_000_000.0
    clocks: Sequence[HandClock] = field(default_factory=lambda: [HandClock() for _ in range(3)])

    def __post_init__(self) -> None:
        self.database = MemoryDatabase(leases=True, clock=lambda: self.now)
        self.alice, self.bob, self.eve = (open_store(self.database, clock=clock, inline=True) for clock in self.clocks)

    def passes(self, seconds: float) -> None:
        """Let time pass for all; nobody renews anything."""
        self.now += seconds
        for clock in self.clocks:
            clock.now += seconds

    def standby(self) -> sqlite3.Connection:
        """Return what a standby has received by now, and receives no more."""
        copy = sqlite3.connect(":memory:")
        self.database.connection.backup(copy)
        return copy

    def promote(self, standby: sqlite3.Connection, timeline: str = "") -> None:
        """Go on with what a standby has; two that are promoted apart may give their timelines the same name."""
        standby.backup(self.database.connection)
        standby.close()
        self.database.fail_over()
        if timeline:
            self.database._timeline = timeline

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """Return the rows of a statement."""
        return self.database.connection.execute(statement).fetchall()


@pytest.fixture
async def shared() -> AsyncIterator[Shared]:
    shared = Shared()
    async with AsyncExitStack() as opened:
        for store in (shared.alice, shared.bob, shared.eve):
            await opened.enter_async_context(store)
        yield shared


SERVERS = ["s-1", "s-2", "s-3"]
LOST = StoreFailedOver(timeline="2", wait=LOST_LEDGER)


async def begun(store: DatabaseStore, run_id: str = "k") -> Lease:
    new = NewRun(run_id, fleet=Fleet(SERVERS), plan={"type": "SOFT"}, events=[RunStarted(total=3)])
    return await store.create_run(new, ALICE)


def wave(number: int) -> Transaction:
    return Transaction([WaveStarted(wave=number, servers=1)])


async def waves(store: DatabaseStore, lease: Lease, *numbers: int) -> None:
    for number in numbers:
        await store.commit(lease, wave(number))


async def told(store: DatabaseStore, run_id: str = "k") -> list[Event]:
    """Return a run's events, whose chain is whole."""
    check = await store.check_chain(run_id)
    recorded = await store.events(run_id)
    assert not check.breach
    assert [each.seq for each in recorded] == list(range(1, check.events + 1))
    assert (await store.run(run_id)).seq == check.events
    return [each.event for each in recorded]


def of(*numbers: int) -> list[Event]:
    return [WaveStarted(wave=number, servers=1) for number in numbers]


START = [RunStarted(total=3)]


# -- the record of who goes on -----------------------------------------------------------------------------------------


async def test_a_holder_writes_again_what_was_forgotten_byte_by_byte(shared: Shared) -> None:
    lease = await begun(shared.alice)
    await waves(shared.alice, lease, 1)
    standby = shared.standby()
    await waves(shared.alice, lease, 2, 3)
    before = await shared.alice.lines("k")
    shared.promote(standby)

    await waves(shared.alice, lease, 4)

    assert await told(shared.bob) == [*START, *of(1, 2, 3), LOST, *of(4)]
    assert (await shared.bob.lines("k"))[: len(before)] == before


async def test_a_failover_that_forgets_nothing_is_told_of_once_by_each_run(shared: Shared) -> None:
    lease, other = await begun(shared.alice), await shared.bob.create_run(NewRun("d", kind="direct"), BOB)
    shared.promote(shared.standby())

    await waves(shared.alice, lease, 1, 2)
    await waves(shared.bob, other, 1, 2)

    assert await told(shared.bob) == [*START, LOST, *of(1, 2)]
    assert await told(shared.bob, "d") == [LOST, *of(1, 2)]


async def test_a_run_whose_creation_was_forgotten_is_created_again_with_its_servers(shared: Shared) -> None:
    standby = shared.standby()
    lease = await begun(shared.alice)
    await waves(shared.alice, lease, 1)
    was = await shared.alice.run("k")
    shared.promote(standby)

    await waves(shared.alice, lease, 2)

    assert await told(shared.bob) == [*START, *of(1), LOST, *of(2)]
    now = await shared.bob.run("k")
    assert (now.created_at, now.total, now.targets_hash, now.plan) == (
        was.created_at,
        was.total,
        was.targets_hash,
        was.plan,
    )
    assert (await shared.bob.targets("k")).ids == Fleet(SERVERS).ids
    assert await shared.bob.claimed([("", server) for server in SERVERS]) == {("", s): "k" for s in SERVERS}


async def test_a_run_whose_creation_was_forgotten_gives_way_to_one_that_has_its_servers_by_now(shared: Shared) -> None:
    standby = shared.standby()
    lease = await begun(shared.alice)
    shared.promote(standby)
    await begun(shared.bob, "other")

    with pytest.raises(RunConflict, match="run other has claimed some of them") as refused:
        await waves(shared.alice, lease, 1)

    assert type(refused.value) is RunConflict  # nothing that a single request would get over
    assert [record.run_id for record in await shared.bob.runs()] == ["other"]
    assert await told(shared.bob, "other") == START


async def test_a_run_whose_id_another_one_has_by_now_is_taken(shared: Shared) -> None:
    standby = shared.standby()
    lease = await begun(shared.alice)
    await waves(shared.alice, lease, 1, 2, 3)
    shared.promote(standby)
    other = await shared.bob.create_run(NewRun("k", fleet=Fleet(["x"]), events=[RunStarted(total=1)]), BOB)
    await waves(shared.bob, other, 7)
    await shared.bob.release(other)

    with pytest.raises(RunTaken, match="bob"):
        await waves(shared.alice, lease, 4)

    assert await told(shared.bob) == [RunStarted(total=1), *of(7)]


async def test_a_taking_over_that_was_forgotten_is_made_again(shared: Shared) -> None:
    await begun(shared.alice)
    shared.alice.sever()
    shared.passes(TTL)
    standby = shared.standby()
    lease = await shared.bob.take_run("k", BOB)
    await waves(shared.bob, lease, 1)
    shared.promote(standby)
    # Its thread that renews may be first to find the row of the dead.
    await shared.bob._handle.beat()

    await waves(shared.bob, lease, 2)
    await shared.bob._handle.beat()

    assert await told(shared.eve) == [*START, *of(1), LOST, *of(2)]
    record = await shared.eve.run("k")
    assert (record.fence, record.holder, record.held) == (lease.fence, BOB, True)
    assert shared.bob.trusted(lease)


async def test_a_run_that_was_over_and_tried_again_has_its_servers_again(shared: Shared) -> None:
    first = await begun(shared.alice)
    await shared.alice.commit(first, Transaction([RunFinished(status="failed")], status=RunStatus.FAILED))
    await shared.alice.release(first)
    standby = shared.standby()
    lease = await shared.bob.take_run("k", BOB)
    await shared.bob.commit(lease, Transaction([RunResumed(retry=["failed"])], status=RunStatus.RUNNING))
    shared.promote(standby)

    await waves(shared.bob, lease, 1)

    assert (await shared.eve.run("k")).status is RunStatus.RUNNING
    assert await shared.eve.claimed([("", server) for server in SERVERS]) == {("", s): "k" for s in SERVERS}
    assert (await told(shared.eve))[-2:] == [LOST, *of(1)]


async def test_a_run_that_was_over_and_tried_again_gives_way_to_one_that_has_its_servers_by_now(
    shared: Shared,
) -> None:
    first = await begun(shared.alice)
    await shared.alice.commit(first, Transaction([RunFinished(status="failed")], status=RunStatus.FAILED))
    await shared.alice.release(first)
    standby = shared.standby()
    lease = await shared.bob.take_run("k", BOB)
    await waves(shared.bob, lease, 1)
    shared.promote(standby)
    await begun(shared.eve, "other")

    with pytest.raises(RunConflict, match="run other"):
        await waves(shared.bob, lease, 2)

    assert (await shared.eve.run("k")).status is RunStatus.FAILED


async def test_an_end_that_was_forgotten_is_for_the_next_holder_to_find(shared: Shared) -> None:
    lease = await begun(shared.alice)
    standby = shared.standby()
    await shared.alice.commit(lease, Transaction([RunFinished(status="succeeded")], status=RunStatus.SUCCEEDED))
    await shared.alice.release(lease)
    shared.promote(standby)
    shared.passes(TTL)
    assert (await shared.bob.run("k")).status is RunStatus.ORPHANED

    taken = await shared.bob.take_run("k", BOB)
    await waves(shared.bob, taken, 1)

    assert await told(shared.bob) == [*START, LOST, *of(1)]


# -- who has it where two think that they do -------------------------------------------------------------------------


async def two_holders(shared: Shared) -> tuple[Lease, Lease]:
    """Let Bob take a run of Alice, who stands still, and forget that; both are alive then."""
    first = await begun(shared.alice)
    await waves(shared.alice, first, 1)
    shared.passes(TTL)
    standby = shared.standby()
    second = await shared.bob.take_run("k", BOB)
    await waves(shared.bob, second, 2)
    shared.promote(standby)
    return first, second


async def test_the_holder_before_goes_on_where_it_is_back_first(shared: Shared) -> None:
    first, second = await two_holders(shared)
    await shared.alice._handle.beat()

    await waves(shared.alice, first, 3)
    await shared.bob._handle.beat()
    assert not shared.bob.trusted(second)
    with pytest.raises(RunTaken, match="alice"):
        await waves(shared.bob, second, 4)
    await shared.bob.release(second)
    await waves(shared.alice, first, 5)

    assert await told(shared.eve) == [*START, *of(1), LOST, *of(3, 5)]


async def test_the_holder_after_goes_on_where_it_is_back_first(shared: Shared) -> None:
    first, second = await two_holders(shared)

    await waves(shared.bob, second, 3)
    await shared.bob._handle.beat()
    await shared.alice._handle.beat()
    assert not shared.alice.trusted(first)
    with pytest.raises(RunTaken, match="bob"):
        await waves(shared.alice, first, 4)
    await shared.alice.release(first)
    await waves(shared.bob, second, 5)

    assert await told(shared.eve) == [*START, *of(1, 2), LOST, *of(3, 5)]


@pytest.mark.parametrize("more", [1, 3])
async def test_what_the_holder_before_has_written_first_is_not_the_holder_afters_to_write_on(
    shared: Shared, more: int
) -> None:
    """Alice goes on, and dies: Bob finds her lease run out, and a record that is not the one that he knows."""
    first, second = await two_holders(shared)
    await waves(shared.alice, first, *range(3, 3 + more))
    shared.passes(TTL)

    with pytest.raises(RunTaken, match="alice"):
        await waves(shared.bob, second, 9)

    assert await told(shared.eve) == [*START, *of(1), LOST, *of(*range(3, 3 + more))]


async def test_a_third_has_the_run_where_nobody_is_back_in_time(shared: Shared) -> None:
    first, second = await two_holders(shared)
    third = await shared.eve.take_run("k", BOB)
    assert third.fence == second.fence
    await waves(shared.eve, third, 3)
    await shared.eve.release(third)

    for store, lease in ((shared.alice, first), (shared.bob, second)):
        with pytest.raises(RunTaken):
            await waves(store, lease, 4)
    assert await told(shared.eve) == [*START, *of(1), LOST, *of(3)]


# -- what cannot be written again ------------------------------------------------------------------------------------


async def test_more_than_is_remembered_is_not_made_up(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_LEAST", 2)
    lease = await begun(shared.alice)
    standby = shared.standby()
    for number in range(1, 6):
        shared.passes(REMEMBERED)
        await waves(shared.alice, lease, number)
    shared.promote(standby)

    with pytest.raises(RecordEdited, match="forgotten more of run k than its holder remembers"):
        await waves(shared.alice, lease, 9)
    await shared.alice.release(lease)
    taken = await shared.bob.take_run("k", BOB)
    await waves(shared.bob, taken, 1)

    assert await told(shared.bob) == [*START, LOST, *of(1)]


async def test_of_a_run_that_was_deleted_nothing_is_written(shared: Shared) -> None:
    """It was over and tried again, which was forgotten; then somebody deleted it."""
    first = await begun(shared.alice)
    await shared.alice.commit(first, Transaction([RunFinished(status="failed")], status=RunStatus.FAILED))
    await shared.alice.release(first)
    standby = shared.standby()
    lease = await shared.bob.take_run("k", BOB)
    await waves(shared.bob, lease, 1)
    shared.promote(standby)
    shared.passes(10.0)
    assert await shared.eve.prune(5.0) == ["k"]

    with pytest.raises(RecordEdited):
        await waves(shared.bob, lease, 2)

    tables = ("runs", "journal", "targets", "claims")
    assert [shared.ask(f"SELECT count(*) FROM {table}") for table in tables] == [[(0,)]] * 4  # noqa: S608


# -- writes that failed ----------------------------------------------------------------------------------------------


async def test_a_run_that_is_taken_anew_behind_a_failed_write_is_whole_first(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = await begun(shared.alice)
    standby = shared.standby()
    await waves(shared.alice, lease, 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(shared.database, "execute", _fails)
        with pytest.raises(Exception, match="disk"):
            await waves(shared.alice, lease, 3)
    shared.promote(standby)

    again = await shared.alice.renew(lease)
    await waves(shared.alice, again, 4)

    assert again.fence == 2
    assert await told(shared.bob) == [*START, *of(1, 2), LOST, *of(4)]


def _fails(*_: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")


async def test_a_run_whose_taking_over_was_forgotten_is_taken_anew(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begun(shared.alice)
    shared.alice.sever()
    shared.passes(TTL)
    standby = shared.standby()
    lease = await shared.bob.take_run("k", BOB)
    with monkeypatch.context() as patch:
        patch.setattr(shared.database, "execute", _fails)
        with pytest.raises(Exception, match="disk"):
            await waves(shared.bob, lease, 1)
    shared.promote(standby)

    again = await shared.bob.renew(lease)
    await waves(shared.bob, again, 2)

    assert again.fence == lease.fence + 1
    assert await told(shared.eve) == [*START, LOST, *of(2)]


async def test_a_write_that_is_refused_does_not_take_the_mending_with_it(shared: Shared) -> None:
    """Both are in one transaction: what the first has written again is undone with it, and the second does it anew."""
    lease = await shared.alice.create_run(NewRun("d", kind="direct", events=START), ALICE)
    await shared.bob.create_run(NewRun("k", fleet=Fleet(SERVERS), events=START), BOB)
    standby = shared.standby()
    await waves(shared.alice, lease, 1)
    shared.promote(standby)
    assert shared.alice._handle.opened is not None
    store = shared.alice._handle.opened[1]
    refused, written = Transaction(wave(2).events, claim=[("", "s-1")]), wave(3)

    done = store.commit_group(
        [Write(lambda each=each: store.commit(lease, each, None), "d") for each in (refused, written)]
    )

    assert isinstance(done[0], RunConflict)
    assert await told(shared.bob, "d") == [*START, *of(1), LOST, *of(3)]


# -- the quota -------------------------------------------------------------------------------------------------------


async def test_nobody_gets_tokens_until_what_was_forgotten_cannot_count_any_more(shared: Shared) -> None:
    await shared.bob.take(want(1))  # both know the first timeline
    lease = await begun(shared.alice)
    standby = shared.standby()
    sent = await shared.alice.take(want(900))
    assert isinstance(sent, Grant)
    shared.promote(standby)

    lacks = await shared.bob.take(want(1))
    assert isinstance(lacks, Shortage)
    assert (lacks.free, lacks.next_in) == (0, pytest.approx(LOST_LEDGER))
    said = await shared.bob.usage("site", 1000)
    assert (said.free, said.next_free_in, said.waited_out) == (0, pytest.approx(LOST_LEDGER), True)
    assert [group.waited_out for group in await shared.bob.spending()] == [True]
    shared.passes(100.0)
    await shared.alice.settle(Settlement(sent.id, 60.05))  # of a grant that is nowhere any more
    assert isinstance((await shared.alice.commit(lease, Transaction(take=want(1)))).shortage, Shortage)
    assert isinstance((await shared.alice.commit(lease, Transaction(take=want(1)))).shortage, Shortage)
    shared.passes(LOST_LEDGER - 100.0)
    assert isinstance(await shared.bob.take(want(1)), Grant)
    assert not (await shared.bob.usage("site", 1000)).waited_out
    assert isinstance((await shared.alice.commit(lease, Transaction(take=want(1)))).grant, Grant)


async def test_a_store_that_seems_to_be_new_is_none_for_who_has_used_it(shared: Shared) -> None:
    """Even its first writes are forgotten."""
    standby = shared.standby()
    await shared.alice.take(want(900))
    shared.promote(standby)

    assert isinstance(await shared.alice.take(want(1)), Shortage)
    assert isinstance(await shared.eve.take(want(1)), Shortage)


async def test_nothing_is_granted_to_a_run_before_its_holder_has_heard_of_the_failover(shared: Shared) -> None:
    """However long ago it was: servers that it has looked at before may have been sent since."""
    lease = await begun(shared.alice)
    await shared.bob.take(want(1))
    shared.promote(shared.standby())
    await shared.bob.take(want(1))
    shared.passes(LOST_LEDGER + 1.0)

    first = await shared.alice.commit(lease, Transaction(take=want(1)))
    then = await shared.alice.commit(lease, Transaction(take=want(1)))

    assert [each.event for each in first.recorded] == [StoreFailedOver(timeline="2")]
    assert (first.grant, isinstance(then.grant, Grant)) == (None, True)


async def test_who_notices_second_has_all_wait_for_its_own_grants_too(shared: Shared) -> None:
    """They count for longer than those that the first one, or the table, knows of."""
    await shared.bob.take(want(1))
    standby = shared.standby()
    long = want(5)
    await shared.alice.take(type(long)(long.group, 5, 1, 1000, CRASH_HOLD + 500.0))
    shared.promote(standby)

    assert isinstance(await shared.bob.take(want(1)), Shortage)
    lacks = await shared.alice.take(want(1))
    assert isinstance(lacks, Shortage)
    shared.passes(CRASH_HOLD + 499.0)
    assert isinstance(await shared.bob.take(want(1)), Shortage)
    shared.passes(2.0)
    assert isinstance(await shared.bob.take(want(1)), Grant)


async def test_a_store_that_is_opened_after_the_failover_waits_it_out_as_well(shared: Shared) -> None:
    await shared.alice.take(want(1))
    shared.promote(shared.standby())

    async with open_store(shared.database, clock=shared.clocks[0], inline=True) as fresh:
        lacks = await fresh.take(want(1))
        again = await fresh.take(want(1))
    assert isinstance(lacks, Shortage)
    assert isinstance(again, Shortage)
    rows = shared.ask("SELECT count(*) FROM grants WHERE quota_group = '*'")
    assert rows == [(1,)]


async def test_two_standbys_that_were_promoted_apart_are_told_apart_by_all(shared: Shared) -> None:
    """Neither knows of the other, so that both call their timeline the second one."""
    lease = await begun(shared.alice)
    await shared.bob.take(want(1))
    one, other = shared.standby(), shared.standby()
    await waves(shared.alice, lease, 1)
    shared.promote(one)
    await waves(shared.alice, lease, 2)
    await shared.bob.take(want(1))
    shared.passes(LOST_LEDGER + 1.0)
    assert isinstance(await shared.bob.take(want(1)), Grant)

    shared.promote(other, timeline="2")
    assert isinstance(await shared.bob.take(want(1)), Shortage)
    await waves(shared.alice, lease, 3)

    assert await told(shared.bob) == [*START, *of(1), LOST, *of(2), LOST, *of(3)]
    shared.passes(LOST_LEDGER - 1.0)
    assert isinstance(await shared.bob.take(want(1)), Shortage)


async def test_two_failovers_in_a_row_are_told_of_together(shared: Shared) -> None:
    lease = await begun(shared.alice)
    standby = shared.standby()
    await waves(shared.alice, lease, 1)
    shared.promote(standby)
    shared.promote(shared.standby())

    await waves(shared.alice, lease, 2)

    assert await told(shared.bob) == [*START, *of(1), StoreFailedOver(timeline="3", wait=LOST_LEDGER), *of(2)]


# -- freezes and commands --------------------------------------------------------------------------------------------


async def test_a_freeze_that_was_forgotten_is_in_force_again_once_somebody_writes_who_knows_of_it(
    shared: Shared,
) -> None:
    lease = await begun(shared.alice)
    standby = shared.standby()
    await shared.bob.freeze("storage incident", by="carol", until=None)
    assert await shared.alice.frozen() is not None
    shared.promote(standby)
    assert await shared.eve.frozen() is None

    await waves(shared.alice, lease, 1)

    freeze = await shared.eve.frozen()
    assert freeze is not None
    assert (freeze.by, freeze.reason) == ("carol", "storage incident")
    await shared.bob.commit(await shared.bob.create_run(NewRun("d", kind="direct"), BOB), wave(1))
    assert shared.ask("SELECT count(*) FROM freezes") == [(1,)]


async def test_a_freeze_that_was_ended_is_not_begun_again(shared: Shared) -> None:
    """Alice has not looked since; the database knows better."""
    lease = await begun(shared.alice)
    await shared.bob.freeze("storage incident", by="carol", until=None)
    assert await shared.alice.frozen() is not None
    await shared.bob.thaw(by="carol")
    shared.promote(shared.standby())

    await waves(shared.alice, lease, 1)

    assert await shared.eve.frozen() is None


async def test_a_freeze_that_was_to_end_by_itself_is_not_begun_again_behind_that(shared: Shared) -> None:
    lease = await begun(shared.alice)
    standby = shared.standby()
    await shared.alice.freeze("storage incident", by="carol", until=shared.now + 60.0)
    shared.promote(standby)
    shared.passes(61.0)

    await waves(shared.alice, lease, 1)

    assert shared.ask("SELECT count(*) FROM freezes") == [(0,)]


async def test_a_command_behind_a_failover_has_a_number_that_no_forgotten_one_had(shared: Shared) -> None:
    await begun(shared.alice)
    await shared.bob.command("k", {"command": "pause"}, "bob")
    standby = shared.standby()
    followed = [await shared.bob.command("k", {"command": "resume"}, "bob") for _ in range(3)][-1]
    shared.promote(standby)
    shared.passes(1.0)

    abort = await shared.bob.command("k", {"command": "abort"}, "bob")

    assert [command.id for command in await shared.alice.commands("k", followed)] == [abort]


# -- without a word about it -----------------------------------------------------------------------------------------


async def test_a_holder_whose_lease_was_forgotten_keeps_others_off_until_it_writes(shared: Shared) -> None:
    lease = await begun(shared.alice)
    shared.ask("DELETE FROM leases")
    await shared.alice._handle.beat()
    assert not shared.alice.trusted(lease)

    await shared.alice.commit(lease, Transaction())
    await shared.alice._handle.beat()

    assert shared.alice.trusted(lease)
    with pytest.raises(RunHeld):
        await shared.bob.take_run("k", BOB)


async def test_nothing_is_remembered_where_a_database_never_fails_over() -> None:
    async with open_store("memory:", inline=True) as store:
        lease = await begun(store)
        await waves(store, lease, 1)
        assert store._handle.opened is not None
        assert store._handle.opened[1]._failover.recollection._runs == {}
