"""Rollouts whose store forgets its last commits: they end complete, nothing is sent twice, and the quota is held."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from world import World, Wrapper

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.model import events as ev
from ecsbatch.model.conflicts import RunTaken
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.quota import Quota
from ecsbatch.model.run import Changes, Command, Committed, Lease, Result, RunRecord, Transaction
from ecsbatch.restarter import Restarter
from ecsbatch.store import DatabaseStore, MemoryDatabase

SERVERS, LIMIT = 60, 20
ALL = Strategy(waves="100%", max_unavailable="100%", batch_size=5, max_failures="100%", max_failures_per_wave=None)
RESTARTED, SKIPPED, FAILED = OutcomeKind.RESTARTED, OutcomeKind.SKIPPED, OutcomeKind.FAILED


class FailingOver(World):
    """A world whose store is at a server that has a standby."""

    def __init__(self, **cloud: object) -> None:
        super().__init__(servers=SERVERS, quota_limit=LIMIT, **cloud)  # type: ignore[arg-type]  # as a World's
        self.database = MemoryDatabase(leases=True, clock=self.clock.wall)

    @asynccontextmanager
    async def engine_of(self, name: str) -> AsyncGenerator[Restarter]:
        """Start an engine in a process of its own."""
        async with self.restarter(Engine(quota=Quota(LIMIT, 60.0)), name=name) as restarter:
            yield restarter

    @asynccontextmanager
    async def cut_off(self, name: str) -> AsyncGenerator[tuple[Restarter, CutOff]]:
        """Start an engine whose process may be cut off from the store."""
        async with self.client() as client, self.store() as inner:
            store: Any = CutOff(inner)
            engine = Engine(quota=Quota(LIMIT, 60.0))
            async with Restarter(client, store, engine=engine, clock=self.clock, seed=1, name=name) as restarter:
                yield restarter, store

    def standby(self) -> sqlite3.Connection:
        """Return what a standby has received by now, and receives no more."""
        copy = sqlite3.connect(":memory:")
        self.database.connection.backup(copy)
        return copy

    def promote(self, standby: sqlite3.Connection) -> None:
        """Make the standby the primary."""
        standby.backup(self.database.connection)
        standby.close()
        self.database.fail_over()

    def check(self) -> None:
        """Compare what was done with what was promised, by the cloud's own books."""
        audit = self.cloud.audit()
        assert (audit["restarted_more_than_once"], audit["restarted_servers"]) == (0, SERVERS)
        assert (audit["throttled_requests"], audit["fullest_window"] <= LIMIT) == (0, True)


@pytest.mark.parametrize(("at", "lag"), [(0.0, 0.2), (0.0, 30.0), (1.0, 0.5), (5.0, 61.0), (30.0, 100.0), (90.0, 5.0)])
def test_a_holder_that_lives_through_it_forgets_nothing(at: float, lag: float) -> None:
    world = FailingOver()

    async def main() -> tuple[Result, list[ev.Event]]:
        async with world.engine_of("first") as first:
            standby = world.standby()
            rollout = await first.rollout(world.ids, ALL, run_id="k").start()
            if at:
                await asyncio.sleep(at)
                standby = world.standby()
            await asyncio.sleep(lag)
            world.promote(standby)
            result = await rollout
            check = await first.store.check_chain("k")
            assert not check.breach
            return result, [each.event for each in await first.store.events("k", limit=10_000)]

    result, events = world.live(main)

    assert (result.counts[RESTARTED], result.status.value) == (SERVERS, "succeeded")
    assert sum(isinstance(event, ev.StoreFailedOver) for event in events) == 1
    world.check()


@pytest.mark.parametrize(("at", "lag"), [(0.0, 2.0), (1.0, 1.0), (5.0, 61.0), (30.0, 100.0), (90.0, 5.0)])
def test_who_goes_on_for_a_holder_that_died_with_it_sends_nothing_that_was_forgotten(at: float, lag: float) -> None:
    world = FailingOver()

    async def main() -> Result:
        async with world.engine_of("second") as second:
            async with world.engine_of("first") as first:
                lost = await first.rollout(world.ids, ALL, run_id="k").start()
                await asyncio.sleep(at)
                standby = world.standby()
                await asyncio.sleep(lag)
                first.store.sever()  # type: ignore[attr-defined]  # a store in a database
                world.promote(standby)
            await asyncio.gather(lost, return_exceptions=True)
            await asyncio.sleep(5.0)
            return await (await second.resume("k")).run()

    result = world.live(main)

    assert result.counts[RESTARTED] + result.counts[SKIPPED] == SERVERS
    world.check()


class CutOff(Wrapper):
    """A store that its process does not reach for a while: nothing is renewed, and what is asked waits."""

    def __init__(self, inner: DatabaseStore) -> None:
        super().__init__(inner)
        self._reached = asyncio.Event()
        self._reached.set()
        self._waiting: list[Callable[[], None]] = []

    def cut(self) -> None:
        """Reach nothing from now on."""
        self._reached.clear()
        self.inner._handle.heart.stop()

    def heal(self) -> None:
        """Reach the store again; what waited comes first."""
        self._reached.set()
        self.inner._handle.heart.begin()
        for write in self._waiting:
            write()
        self._waiting.clear()

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Write now, or later."""
        told: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()

        def write() -> None:
            self.inner.commit(lease, transaction, folded=folded).add_done_callback(lambda done: _pass_on(done, told))

        if self._reached.is_set():
            written: asyncio.Future[Committed] = self.inner.commit(lease, transaction, folded=folded)
            return written
        self._waiting.append(write)
        return told

    async def run(self, name: str = "") -> RunRecord:
        """Read a run, now or later."""
        await self._reached.wait()
        return await self.inner.run(name)

    async def last_freeze(self) -> Freeze | None:
        """Look for a freeze, now or later."""
        await self._reached.wait()
        found: Freeze | None = await self.inner.last_freeze()
        return found

    async def commands(self, run_id: str, after: int = 0) -> Sequence[Command]:
        """Read commands, now or later."""
        await self._reached.wait()
        return await self.inner.commands(run_id, after)


def _pass_on(done: asyncio.Future[Committed], told: asyncio.Future[Committed]) -> None:
    if (failure := done.exception()) is not None:
        told.set_exception(failure)
    else:
        told.set_result(done.result())


@pytest.mark.parametrize("back", ["the first", "the second", "both"])
def test_of_two_holders_that_live_through_it_one_goes_on_and_one_sends_nothing_more(back: str) -> None:
    """The first was cut off, the second took the run, and the failover forgets that: both believe that it is theirs."""
    world = FailingOver()

    async def main() -> list[Result | BaseException]:
        async with world.cut_off("first") as (first, one), world.cut_off("second") as (second, other):
            running = await first.rollout(world.ids, ALL, run_id="k").start()
            await asyncio.sleep(1.0)
            one.cut()
            await asyncio.sleep(4.5)
            standby = world.standby()
            taken = await (await second.resume("k")).start()
            await asyncio.sleep(70.0)
            other.cut()
            await asyncio.sleep(0.5)
            world.promote(standby)
            for late, store in enumerate(
                {"the first": (one, other), "the second": (other, one)}.get(back, (one, other))
            ):
                await asyncio.sleep(late * (0.0 if back == "both" else 30.0))
                store.heal()
            return await asyncio.gather(running, taken, return_exceptions=True)

    ended = world.live(main)

    [result] = [each for each in ended if isinstance(each, Result)]
    [fault] = [each for each in ended if not isinstance(each, Result)]
    assert isinstance(fault, RunTaken)
    assert isinstance(ended[0], Result) is (back != "the second")
    assert result.counts[RESTARTED] + result.counts[SKIPPED] == SERVERS
    world.check()


def test_what_a_forgotten_retry_has_sent_is_not_sent_once_more() -> None:
    """It was asked before the failover, and is on record; what it sent is not. How they were before it is long ago."""
    world = FailingOver()
    world.cloud.set_rates(fail_rate=1.0, fail_to_error=0.0)

    async def first() -> None:
        async with world.engine_of("first") as first:
            await first.rollout(world.ids, ALL, run_id="k").run()

    async def main() -> Result:
        async with world.engine_of("third") as third:
            await asyncio.sleep(120.0)
            async with world.engine_of("second") as second:
                lost = await (await second.resume("k", changes=Changes(retry=("failed",)))).start()
                await asyncio.sleep(0.1)
                standby = world.standby()
                await asyncio.sleep(115.0)
                second.store.sever()  # type: ignore[attr-defined]  # a store in a database
                world.promote(standby)
            await asyncio.gather(lost, return_exceptions=True)
            await asyncio.sleep(60.0)
            return await (await third.resume("k")).run()

    world.live(first)
    world.cloud.set_rates(fail_rate=0.0)
    before = {server: world.cloud.restarts(server) for server in world.ids}
    result = world.live(main)

    assert {world.cloud.restarts(server) - before[server] for server in world.ids} == {1}
    assert result.counts[RESTARTED] + result.counts[FAILED] == SERVERS


@pytest.mark.parametrize("forgotten", ["its creation", "its lease"])
def test_a_run_that_waits_is_not_stuck_where_it_or_its_lease_was_forgotten(forgotten: str) -> None:
    """It writes nothing by itself, and is not trusted any more."""
    world = FailingOver()

    async def main() -> tuple[str, bool, Result]:
        async with world.engine_of("first") as first:
            standby = world.standby()
            rollout = await first.rollout(world.ids, replace(ALL, hold_after="1", waves="5,100%"), run_id="k").start()
            await asyncio.sleep(60.0)
            if forgotten == "its creation":
                world.promote(standby)
            else:
                world.database.connection.execute("DELETE FROM leases")
            await asyncio.sleep(5.0)
            record = await first.store.run("k")
            rollout.promote()
            return record.status.value, record.held, await rollout

    status, held, result = world.live(main)

    assert (status, held) == ("running", True)
    assert result.counts[RESTARTED] == SERVERS
    world.check()
