"""A frozen store: within a second nothing new leaves, whoever sends; what is under way ends, and all goes on later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from world import LateStore, World, Wrapper

from ecsbatch import testing
from ecsbatch.audit.replay import audit
from ecsbatch.config.settings import Strategy
from ecsbatch.ecs.client import EcsClient
from ecsbatch.engine.freeze_watch import KNOWN_FOR, LONGEST_LOOK, FreezeWatch
from ecsbatch.engine.limiter import Frozen, TokenBucket
from ecsbatch.errors import NotAccepted, StoreError
from ecsbatch.model import events as ev
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.quota import Quota
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Committed, Lease, Transaction
from ecsbatch.model.servers import RestartType
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.history import History
from ecsbatch.simulator.virtual_time import Killed

SLOW = Strategy(max_unavailable=10, waves="100%", batch_size=10)
WHY = "storage incident 4711"
FREEZE = Freeze("ann", WHY, 5.0)
IN_THE_AIR = 1.0
"""Seconds that a request which has left may take to reach the cloud."""


def told(events: Sequence[Recorded], *kinds: type[ev.Event]) -> list[ev.Event]:
    return [each.event for each in events if isinstance(each.event, kinds)]


def taken(world: World, since: float, until: float) -> int:
    """How many servers the cloud took between two times."""
    return sum(n for at, n in world.cloud.auditor.counted if since < at < until)


async def events_of(restarter: Restarter, run_id: str) -> list[Recorded]:
    return await restarter.store.events(run_id, limit=100_000)


def test_nothing_new_leaves_from_any_process_within_a_second_until_the_store_is_thawed() -> None:
    world = World(servers=200)
    frozen, thawed = 50.0, 4000.0
    seen: dict[str, Any] = {}

    async def process(name: str, servers: Sequence[str]) -> None:
        async with world.restarter(name=name) as restarter:
            result = await restarter.rollout(servers, SLOW, run_id=name).run()
            seen[name] = result, await events_of(restarter, name), await restarter.store.targets(name)

    async def single() -> None:
        async with world.restarter(name="service") as restarter:
            await asyncio.sleep(frozen - world.now() + 10)
            waits = asyncio.ensure_future(restarter.restart(world.ids[-1]))
            await asyncio.sleep(thawed - world.now() - 1)
            seen["single"] = waits.done()
            assert (await waits).kind is OutcomeKind.RESTARTED

    async def person() -> None:
        async with world.store() as store:
            history = History(store, clock=world.clock)
            await asyncio.sleep(frozen)
            await history.freeze(WHY, by="ann")
            await asyncio.sleep(300)
            seen["standing"] = (await history.progress("a")).standing.text
            seen["under_way"] = (await history.progress("a")).servers.in_flight
            await asyncio.sleep(thawed - frozen - 300)
            ended = await history.thaw(by="bob")
            assert ended is not None
            seen["ended"] = ended.by, ended.thawed_by

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for work in (process("a", world.ids[:90]), process("b", world.ids[90:180]), single(), person()):
                group.create_task(work)

    world.live(main)

    assert 20 <= taken(world, 0, frozen) < 180
    assert taken(world, frozen + 1.0 + IN_THE_AIR, thawed) == 0
    assert seen["ended"] == ("ann", "bob")
    assert (seen["standing"], seen["under_way"]) == (f"frozen (by ann: {WHY})", 0)
    assert not seen["single"]
    for name in ("a", "b"):
        result, events, fleet = seen[name]
        freeze, thaw = told(events, ev.RunFrozen, ev.RunThawed)
        assert result.status is RunStatus.SUCCEEDED
        assert isinstance(freeze, ev.RunFrozen)
        assert (freeze.by, freeze.reason, freeze.until, thaw) == ("ann", WHY, None, ev.RunThawed(by="bob"))
        receipt = audit(events, fleet)
        assert (receipt.ok, receipt.notes) == (True, (f"The store was frozen for 3950 s, by ann: {WHY}.",))
    assert all(world.cloud.restarts(server) == 1 for server in world.ids[:180])


def test_a_batch_whose_tokens_were_granted_just_before_does_not_leave() -> None:
    """The store's word of the grant comes late: by then the store is frozen."""
    world = World(servers=10)

    async def main() -> list[Recorded]:
        async with world.client() as client, world.store() as store:
            late = LateStore(store)
            late.late = 0.8
            async with world.engine(client, late) as restarter:
                rollout = await restarter.rollout(world.ids, SLOW, run_id="r").start()
                async for recorded in History(store, clock=world.clock).follow("r"):
                    if isinstance(recorded.event, ev.BatchSubmitting):
                        break
                await store.freeze(WHY, by="ann", lasts=30)
                assert (await rollout).status is RunStatus.SUCCEEDED
                return await events_of(restarter, "r")

    events = world.live(main)
    held, *_ = told(events, ev.BatchRejected)

    assert isinstance(held, ev.BatchRejected)
    assert (held.kind, held.sent) == ("not_sent", 0.0)
    assert f"ann has frozen the store: {WHY}" in held.message
    assert taken(world, 0, 25) == 0
    assert [world.cloud.restarts(server) for server in world.ids] == [1] * 10


def test_a_freeze_with_an_end_ends_by_itself_and_a_second_one_takes_its_place() -> None:
    world = World(servers=40)

    async def main() -> list[Recorded]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, SLOW, run_id="r")
            run = group.create_task(rollout.run())
            await asyncio.sleep(5)
            await restarter.freeze(WHY, by="ann", lasts=3600)
            await asyncio.sleep(5)
            until = world.clock.wall() + 200
            await restarter.freeze("only the network", by="bob", until=until)
            assert await restarter.frozen() == Freeze("bob", "only the network", world.clock.wall(), until)
            await run
            assert await restarter.thaw(by="ann") is None
            return await events_of(restarter, "r")

    events = world.live(main)
    first, second, thaw = told(events, ev.RunFrozen, ev.RunThawed)

    assert isinstance(first, ev.RunFrozen)
    assert isinstance(second, ev.RunFrozen)
    assert (first.by, second.by, second.reason) == ("ann", "bob", "only the network")
    assert thaw == ev.RunThawed(by="")
    assert taken(world, 7, 210) == 0
    assert taken(world, 210, 240) > 0
    assert audit(events, None).breaches == {}


class Turned(EcsClient):
    """A client whose submits are turned away at some times; all else is answered."""

    away: tuple[tuple[float, float], ...] = ()

    async def submit(self, type_: RestartType, ids: Sequence[str], on_sent: Callable[[], None] | None = None) -> str:
        """Submit, or be turned away."""
        if any(since < asyncio.get_running_loop().time() < until for since, until in self.away):
            raise NotAccepted("No room.", status=503)
        return await super().submit(type_, ids, on_sent)


@pytest.mark.parametrize(("frozen_for", "status"), [(0.0, RunStatus.STOPPED), (85.0, RunStatus.SUCCEEDED)])
def test_no_deadline_counts_the_time_of_a_freeze(frozen_for: float, status: RunStatus) -> None:
    """Nothing was accepted before it nor just after it; what lies between says nothing of the cloud."""
    world = World(servers=10)
    strategy = Strategy(max_unavailable=10, waves="100%", server_timeout="60s")

    async def main() -> RunStatus:
        client = testing.World.client(world, kind=Turned)
        assert isinstance(client, Turned)
        client.away = ((0.0, 10.0), (90.0, 110.0)) if frozen_for else ((0.0, 110.0),)
        async with client, world.store() as store, world.engine(client, store) as restarter:
            rollout = await restarter.rollout(world.ids, strategy, run_id="r").start()
            await asyncio.sleep(6)
            if frozen_for:
                await restarter.freeze(WHY, lasts=frozen_for)
            return (await rollout).status

    assert world.live(main) is status


def test_whoever_takes_a_run_over_records_first_that_the_store_was_thawed_meanwhile() -> None:
    world = World(servers=40)
    seen: list[Any] = []

    async def first() -> None:
        async with world.restarter(name="first") as restarter, asyncio.TaskGroup() as group:
            group.create_task(restarter.rollout(world.ids, SLOW, run_id="r").run())
            await asyncio.sleep(5)
            await restarter.freeze(WHY, by="ann")
            await asyncio.sleep(1_000_000)

    async def second() -> None:
        async with world.restarter(name="second") as restarter:
            await restarter.thaw(by="bob")
            (rollout,) = await restarter.resume_orphans()
            assert (await rollout).status is RunStatus.SUCCEEDED
            seen.extend([await events_of(restarter, "r"), await restarter.store.targets("r")])

    with pytest.raises(Killed):
        world.live(first, kill_after=2000)
    world.live(second)
    events, fleet = seen

    kinds = [type(event) for event in told(events, ev.RunFrozen, ev.RunThawed, ev.HolderChanged, ev.BatchSubmitting)]
    behind = kinds[kinds.index(ev.RunFrozen) :]
    assert behind[:4] == [ev.RunFrozen, ev.HolderChanged, ev.RunThawed, ev.BatchSubmitting]
    assert audit(events, fleet).ok


def test_single_restarts_wait_and_their_record_says_why() -> None:
    world = World(servers=3)

    async def main() -> list[Recorded]:
        async with world.restarter() as restarter:
            waits = [asyncio.ensure_future(restarter.restart(server)) for server in world.ids[:1]]
            await asyncio.sleep(5)
            await restarter.freeze(WHY, by="ann")
            waits += [asyncio.ensure_future(restarter.restart(server)) for server in world.ids[1:]]
            await asyncio.sleep(2000)
            assert [each.done() for each in waits] == [True, False, False]
            assert (await restarter.spending())[0].last_hour == 1
            assert ", frozen by ann]" in repr(restarter)
            await restarter.thaw(by="bob")
            assert {(await each).kind for each in waits} == {OutcomeKind.RESTARTED}
            (record,) = await restarter.runs()
            return await events_of(restarter, record.run_id)

    events = world.live(main)

    assert [type(event) for event in told(events, ev.RunFrozen, ev.RunThawed)] == [ev.RunFrozen, ev.RunThawed]
    assert taken(world, 7, 2005) == 0
    assert audit(events).ok


def test_an_engine_with_nothing_to_do_does_not_ask() -> None:
    world = World(servers=2)

    class Counting(Wrapper):
        asked = 0

        async def last_freeze(self) -> Freeze | None:
            """Count, and hand on."""
            self.asked += 1
            found: Freeze | None = await self.inner.last_freeze()
            return found

    async def main() -> tuple[int, int]:
        async with world.client() as client, world.store() as store:
            counting = Counting(store)
            async with world.engine(client, counting) as restarter:
                await restarter.restart(world.ids[0])
                busy = counting.asked
                await asyncio.sleep(10_000)
                return busy, counting.asked

    busy, idle = world.live(main)

    assert busy > 0
    assert idle <= busy + 1


def test_a_freeze_of_an_hour_costs_next_to_nothing() -> None:
    """Who waits neither asks for tokens again and again nor looks at servers that it could not send."""
    world = World(servers=200)

    class Counting(Wrapper):
        refused = 0

        def commit(self, lease: Lease, transaction: Transaction, **more: Any) -> asyncio.Future[Committed]:
            done: asyncio.Future[Committed] = self.inner.commit(lease, transaction, **more)
            shortage = done.result().shortage if done.done() else None
            self.refused += shortage is not None and shortage.frozen is not None
            return done

    async def main() -> tuple[int, int]:
        async with world.client() as client, world.store() as store:
            counting = Counting(store)
            async with world.engine(client, counting) as restarter:
                await restarter.freeze(WHY, lasts=3_600)
                rollout = await restarter.rollout(world.ids, SLOW, run_id="r").start()
                single = asyncio.ensure_future(restarter.restart(world.ids[-1]))
                await asyncio.sleep(3_500)
                looks = world.cloud.auditor.looks.total()
                assert (await rollout).status is RunStatus.SUCCEEDED
                await single
                return counting.refused, looks

    refused, looks = world.live(main)

    assert refused <= 2
    assert looks < 10
    assert taken(world, 0, 3_590) == 0
    assert world.steps < 60_000


def test_a_bucket_asks_for_no_tokens_while_a_freeze_is_known() -> None:
    """The store may have been thawed a moment ago: first it has to be on record, then something may be sent."""
    world = World(servers=1)

    async def main() -> None:
        async with world.store() as store:
            watch = FreezeWatch(store)
            watch.learn(FREEZE)
            bucket = TokenBucket(store, "site", Quota(10, 60.0), freeze=watch)
            with pytest.raises(Frozen):
                await bucket.acquire(1)
            await watch.look()
            assert (await bucket.acquire(1)).tokens == 1

    world.live(main)


class Told(Wrapper):
    """A store that says what a test wants of its freeze, or fails."""

    last: Freeze | None = None
    fails = False

    async def last_freeze(self) -> Freeze | None:
        """Say it, or fail."""
        if self.fails:
            raise StoreError("gone")
        return self.last


@pytest.mark.parametrize(
    ("last", "looked", "granted", "says"),
    [
        (None, None, 0.0, ""),
        (None, None, KNOWN_FOR, ""),
        (None, None, KNOWN_FOR + 0.1, "it is not known"),
        (None, 0.5, 4.0, ""),
        (None, KNOWN_FOR + 0.1, 4.0, "it is not known"),
        (None, 100.0, 0.5, ""),
        (FREEZE, 0.0, 0.0, f"ann has frozen the store: {WHY}"),
        (Freeze("", WHY, 5.0), 0.0, 0.0, f"somebody has frozen the store: {WHY}"),
        (Freeze("ann", WHY, 5.0, None, "bob", 6.0), 0.0, 4.0, ""),
    ],
)
def test_a_request_leaves_where_it_is_known_that_there_was_no_freeze_a_moment_ago(
    last: Freeze | None, looked: float | None, granted: float, says: str
) -> None:
    """``looked`` seconds ago the store was asked; ``granted`` seconds ago its own transaction saw no freeze."""

    async def main() -> str:
        store = Told(None)
        store.last = last
        watch = FreezeWatch(store)
        if looked is not None:
            await watch.look()
            await asyncio.sleep(looked)
        return watch.holds_back(granted)

    world = World(servers=1)
    assert world.live(main).startswith(says)
    assert bool(world.live(main)) == bool(says)


class Late(Told):
    """A store that answers later than it was asked."""

    takes = 1.5

    async def last_freeze(self) -> Freeze | None:
        """Say it once the time is over."""
        last = await super().last_freeze()
        await asyncio.sleep(self.takes)
        return last


def test_an_answer_that_is_older_than_what_was_heard_since_changes_nothing() -> None:
    """Two looks may be under way at once, and a denied grant tells of a freeze before either of them."""

    async def main() -> list[Freeze | None]:
        watch, heard = FreezeWatch(Late(None)), list[Freeze | None]()
        watch.hearers.append(lambda: heard.append(watch.freeze))
        look = asyncio.ensure_future(watch.look())
        await asyncio.sleep(0.1)
        watch.learn(FREEZE)
        await look
        return [watch.freeze, *heard]

    assert World(servers=1).live(main) == [FREEZE, FREEZE]


@pytest.mark.parametrize(("takes", "held"), [(0.0, False), (1.5, False), (LONGEST_LOOK, False), (3.5, True)])
def test_what_a_look_tells_counts_for_a_moment_where_it_did_not_take_long(takes: float, held: bool) -> None:  # noqa: FBT001 - a table
    """A database far away answers late, and would else never be known well enough; a suspend counts, too."""

    async def main() -> list[bool]:
        suspended = 0.0
        store = Late(None)
        store.takes = takes
        watch = FreezeWatch(store, lambda: asyncio.get_running_loop().time() + suspended)
        await watch.look()
        at_once, suspended = bool(watch.holds_back(9.0)), KNOWN_FOR + 0.1
        return [at_once, bool(watch.holds_back(9.0))]

    assert World(servers=1).live(main) == [held, True]


def test_a_store_that_cannot_be_asked_leaves_a_freeze_in_force() -> None:
    async def main() -> list[Freeze | None]:
        store = Told(None)
        store.last = FREEZE
        watch, heard = FreezeWatch(store), list[Freeze | None]()
        watch.hearers.append(lambda: heard.append(watch.freeze))
        await watch.look()
        store.fails = True
        with pytest.raises(StoreError):
            await watch.look()
        assert watch.freeze == FREEZE
        store.fails, store.last = False, None
        await watch.look()
        await watch.look()
        return heard

    assert World(servers=1).live(main) == [FREEZE, None]
