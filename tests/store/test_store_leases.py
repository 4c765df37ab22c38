"""Stores of several machines on one database: a run is held by a lease that runs out on the database's clock."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import pytest
from store_world import ALICE, BOB, HandClock

from ecsbatch.errors import RunConflict, StoreError
from ecsbatch.model.conflicts import RunHeld, RunTaken
from ecsbatch.model.events import RunStarted, WaveStarted
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Claim, Lease, NewRun, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import DatabaseStore, MemoryDatabase, open_store
from ecsbatch.store.database import Rows
from ecsbatch.store.heart import ThreadHeart
from ecsbatch.store.lease_keeper import TRUST, TTL
from ecsbatch.store.leases import LeaseLocks
from ecsbatch.store.sql import Statement

T = TypeVar("T")


@dataclass
class Shared:
    """A database of two machines, whose clocks a test turns.

    Attributes:
        now: the database's clock.
        alice, bob: the stores of two processes.
    """

    now: float = 1_000_000.0
    clocks: tuple[HandClock, HandClock] = field(default_factory=lambda: (HandClock(), HandClock()))

    def __post_init__(self) -> None:
        self.database = MemoryDatabase(leases=True, clock=lambda: self.now)
        self.alice, self.bob = (open_store(self.database, clock=clock, inline=True) for clock in self.clocks)

    def passes(self, seconds: float) -> None:
        """Let time pass for all of them; nobody renews anything."""
        self.now += seconds
        for clock in self.clocks:
            clock.now += seconds


@pytest.fixture
async def shared() -> AsyncIterator[Shared]:
    shared = Shared()
    async with AsyncExitStack() as opened:
        for store in (shared.alice, shared.bob):
            await opened.enter_async_context(store)
        yield shared


def locks_of(store: DatabaseStore) -> LeaseLocks:
    assert store._handle.opened is not None
    locks = store._handle.opened[1].locks
    assert isinstance(locks, LeaseLocks)
    return locks


async def begun(store: DatabaseStore, run_id: str = "k") -> Lease:
    new = NewRun(run_id, fleet=Fleet([f"{run_id}-1", f"{run_id}-2"]), events=[RunStarted(total=2)])
    return await store.create_run(new, ALICE)


NEWS = Transaction([WaveStarted(wave=1, servers=2)])


async def test_nobody_takes_a_run_whose_lease_has_not_run_out(shared: Shared) -> None:
    await begun(shared.alice)
    shared.passes(TTL - 0.1)

    with pytest.raises(RunHeld, match="alice"):
        await shared.bob.take_run("k", BOB)
    record = await shared.bob.run("k")
    assert (record.held, record.lease_left) == (True, pytest.approx(0.1))


async def test_a_run_whose_lease_has_run_out_is_orphaned_and_taken_and_its_holder_writes_nothing_more(
    shared: Shared,
) -> None:
    lease = await begun(shared.alice)
    shared.passes(TTL)
    assert (await shared.bob.run("k")).status is RunStatus.ORPHANED

    taken = await shared.bob.take_run("k", BOB)
    await shared.bob.commit(taken, NEWS)

    assert taken.fence == lease.fence + 1
    with pytest.raises(RunTaken, match="bob"):
        await shared.alice.commit(lease, NEWS)
    assert not shared.alice.trusted(lease)
    assert (await shared.bob.run("k")).seq == 2


async def test_a_run_that_somebody_is_just_taking_is_not_written_by_its_holder_any_more(shared: Shared) -> None:
    """Between the lease and the fence there are seconds: servers are claimed, and the record's head was read before."""
    lease = await begun(shared.alice)
    shared.passes(TTL)
    assert locks_of(shared.bob).acquire("k")

    with pytest.raises(RunTaken) as taken:
        await shared.alice.commit(lease, NEWS)
    with pytest.raises(RunTaken):
        await shared.alice.renew(lease)
    # Its name is stored with the fence; where it runs is known before.
    assert (taken.value.holder, taken.value.pid) == (socket.gethostname(), os.getpid())


async def test_behind_an_outage_no_lease_has_run_out_until_its_holder_could_renew_it(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begun(shared.alice)
    shared.passes(30.0)
    monkeypatch.setattr(shared.database, "back_for", lambda: TTL - 0.1)

    assert (await shared.bob.run("k")).status is RunStatus.RUNNING
    with pytest.raises(RunHeld):
        await shared.bob.take_run("k", BOB)
    assert not (await shared.bob.run(await _bare(shared))).held  # nobody has one without a lease
    monkeypatch.setattr(shared.database, "back_for", lambda: TTL)
    assert (await shared.bob.run("k")).status is RunStatus.ORPHANED
    assert (await shared.bob.take_run("k", BOB)).fence == 2


async def _bare(shared: Shared) -> str:
    """Return a run that was let go."""
    await shared.alice.release(await shared.alice.create_run(NewRun("free", kind="direct"), ALICE))
    return "free"


async def test_a_holder_whose_lease_ran_out_goes_on_where_nobody_took_the_run(shared: Shared) -> None:
    lease = await begun(shared.alice)
    shared.passes(30.0)
    assert not shared.alice.trusted(lease)

    await shared.alice.commit(lease, NEWS)
    await shared.alice._handle.beat()

    assert shared.alice.trusted(lease)
    with pytest.raises(RunHeld):
        await shared.bob.take_run("k", BOB)


async def test_a_holder_whose_lease_ran_out_sees_its_own_run_held_and_others_do_not(shared: Shared) -> None:
    """It is about to renew it: who stands by for others in the same process must not take it for an orphan."""
    await begun(shared.alice)
    shared.passes(TTL + 1.0)

    mine, theirs = await shared.alice.run("k"), await shared.bob.run("k")
    assert (mine.held, mine.status) == (True, RunStatus.RUNNING)
    assert (theirs.held, theirs.status) == (False, RunStatus.ORPHANED)


async def test_a_record_tells_how_long_its_holders_lease_has_left(shared: Shared) -> None:
    await begun(shared.alice)
    shared.passes(1.0)
    assert (await shared.bob.run("k")).lease_left == pytest.approx(TTL - 1.0)

    shared.passes(TTL)
    assert [record.lease_left for record in await shared.bob.runs()] == [pytest.approx(-1.0)]
    assert [record.lease_left for record in await shared.bob.open_rollouts()] == [pytest.approx(-1.0)]


async def test_a_holder_goes_on_where_somebody_took_its_lease_and_let_it_go_unused(shared: Shared) -> None:
    lease = await begun(shared.alice)
    shared.passes(TTL)
    assert locks_of(shared.bob).acquire("k")
    locks_of(shared.bob).release("k")
    await shared.alice._handle.beat()
    assert not shared.alice.trusted(lease)

    await shared.alice.commit(lease, NEWS)
    await shared.alice._handle.beat()

    assert shared.alice.trusted(lease)


async def test_a_renewal_that_finds_another_ends_trust_for_good(shared: Shared) -> None:
    lease = await begun(shared.alice)
    shared.passes(TTL)
    assert locks_of(shared.bob).acquire("k")
    await shared.alice._handle.beat()
    locks_of(shared.bob).release("k")
    await shared.alice._handle.beat()

    assert not shared.alice.trusted(lease)
    with pytest.raises(RunTaken, match="taken over by another process: this process"):
        await shared.alice.commit(lease, NEWS)


async def test_whoever_cannot_renew_its_leases_says_for_how_long_and_why(shared: Shared) -> None:
    """Nothing is sent meanwhile, and all else may go on as if nothing were wrong."""
    lease, keeper = await begun(shared.alice), locks_of(shared.alice).keeper

    def refused(_: object) -> NoReturn:
        raise StoreError("The store denies us a right.")

    for _ in range(2):
        with pytest.raises(StoreError):
            keeper.beat(refused)
        shared.passes(5.0)
    assert shared.alice.waiting == 10.0
    assert shared.alice.waits_for == "a renewal of its leases (The store denies us a right)"

    await shared.alice._handle.beat()
    assert shared.alice.waiting == 0.0
    with pytest.raises(StoreError):
        keeper.beat(refused)
    shared.passes(5.0)
    await shared.alice.release(lease)
    assert shared.alice.waiting == 0.0


async def test_a_run_that_was_let_go_is_anybodys_at_once(shared: Shared) -> None:
    await shared.alice.release(await begun(shared.alice))

    assert (await shared.bob.take_run("k", BOB)).fence == 2


async def test_the_lease_of_a_process_that_was_killed_runs_out_by_itself(shared: Shared) -> None:
    await begun(shared.alice)
    shared.alice.sever()

    with pytest.raises(RunHeld):
        await shared.bob.take_run("k", BOB)
    shared.passes(TTL)
    assert (await shared.bob.take_run("k", BOB)).fence == 2


async def test_a_store_that_is_closed_leaves_no_lease(shared: Shared) -> None:
    await begun(shared.alice)
    await shared.alice.aclose()

    assert shared.database.connection.execute("SELECT count(*) FROM leases").fetchone() == (0,)


async def test_a_suspended_machine_trusts_nothing_although_its_clock_stood_still(shared: Shared) -> None:
    lease = await begun(shared.alice)
    shared.clocks[0].suspended += TRUST

    assert not shared.alice.trusted(lease)


async def test_a_row_that_could_not_be_deleted_is_renewed_by_nobody(shared: Shared) -> None:
    lease = await begun(shared.alice)
    locks_of(shared.alice).keeper.drop("k")
    await shared.alice._handle.beat()

    assert (await shared.bob.take_run("k", BOB)).fence == lease.fence + 1


async def test_a_run_that_is_taken_again_while_its_old_row_is_to_be_deleted_is_kept(shared: Shared) -> None:
    lease, locks = await begun(shared.alice), locks_of(shared.alice)
    locks.keeper.drop("k")
    beside = _Late(shared.database)

    def taken_again() -> None:
        assert locks.acquire("k")

    beside.before_second = taken_again
    locks.beat(beside)

    assert shared.alice.trusted(lease)
    with pytest.raises(RunHeld):
        await shared.bob.take_run("k", BOB)


class _Late(MemoryDatabase):
    """Another connection, on which something happens before the second transaction."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._written = 0
        self.before_second: Callable[[], object] = bool

    def write(self, do: Callable[[], T], *, claims: bool = False) -> T:
        self._written += 1
        if self._written == 2:
            self.before_second()
        return self._database.write(do, claims=claims)

    def execute(self, statement: Statement, values: Mapping[str, Any] | None = None) -> Rows:
        return self._database.execute(statement, values)


async def test_claims_of_a_direct_run_are_void_once_its_lease_has_run_out(shared: Shared) -> None:
    server: Claim = ("", "a")
    direct = await shared.alice.create_run(NewRun("d", "direct"), ALICE)
    await shared.alice.commit(direct, Transaction(claim=[server]))
    assert await shared.bob.claimed([server]) == {server: "d"}

    shared.passes(TTL)

    assert await shared.bob.claimed([server]) == {}


async def test_whoever_stood_still_while_it_created_a_run_leaves_that_of_another_alone(
    shared: Shared,
) -> None:
    assert locks_of(shared.alice).acquire("k")
    shared.passes(TTL)
    lease = await begun(shared.bob)

    taking = shared.alice._handle.parts()[1]._taking
    with pytest.raises(RunConflict, match="stood still"):
        taking._free_all("k")

    assert (await shared.bob.claimed([("", "k-1"), ("", "k-2")])).keys() == {("", "k-1"), ("", "k-2")}
    await shared.bob.commit(lease, NEWS)


async def test_whoever_stood_still_while_it_pruned_a_run_deletes_nothing_of_one_that_was_resumed(
    shared: Shared,
) -> None:
    lease = await begun(shared.alice)
    await shared.alice.commit(lease, Transaction(status=RunStatus.FAILED))
    await shared.alice.release(lease)
    pruning = shared.alice._handle.parts()[1].pruning
    assert pruning._lock("k")
    shared.passes(TTL)
    taken = await shared.bob.take_run("k", BOB)

    assert not pruning.go_on("k")
    assert pruning.free("k", ("", "")) is None
    await shared.bob.commit(taken, NEWS)
    assert (await shared.bob.run("k")).total == 2
    assert (await shared.bob.claimed([("", "k-1")])) == {("", "k-1"): "k"}


# -- the thread --------------------------------------------------------------------------------------------------------


def test_the_thread_begins_with_the_first_lease_goes_on_after_a_failure_and_ends_with_the_store() -> None:
    beats: list[str] = []
    twice, ended = threading.Event(), threading.Event()

    def beat() -> None:
        beats.append(threading.current_thread().name)
        if len(beats) == 1:
            raise StoreError("It is away.")
        twice.set()

    heart = ThreadHeart(beat, lambda: False, ended.set, every=0.001)
    assert beats == []

    heart.begin()
    assert twice.wait(10)
    heart.stop()

    assert ended.wait(10)
    assert set(beats) == {"ecsbatch-leases"}


def test_the_thread_ends_where_it_is_stopped_just_as_it_finds_nothing_to_renew() -> None:
    ended = threading.Event()
    heart = ThreadHeart(bool, lambda: True, ended.set, every=0.001)
    clear = heart._awake.clear

    def stopped_just_before() -> None:
        heart.stop()
        clear()

    heart._awake.clear = stopped_just_before  # type: ignore[method-assign]
    heart.begin()

    assert ended.wait(10)


def test_the_thread_renews_nothing_where_there_is_nothing_and_goes_on_with_the_next_lease() -> None:
    held, asked, beaten, ended = (threading.Event() for _ in range(4))

    def beat() -> None:
        assert held.is_set()
        beaten.set()

    def idle() -> bool:
        asked.set()
        return not held.is_set()

    heart = ThreadHeart(beat, idle, ended.set, every=0.001)
    heart.begin()
    assert asked.wait(10)
    assert not beaten.is_set()

    held.set()
    heart.begin()
    assert beaten.wait(10)
    heart.stop()
    assert ended.wait(10)
