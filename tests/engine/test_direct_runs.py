"""Direct restarts of a service that lives for months: one run after another, and nobody notices."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from test_single_restarts import Disk, claims, heard
from world import World

from ecsbatch.audit.replay import audit
from ecsbatch.config.settings import Engine
from ecsbatch.engine.direct_runs import DirectRuns
from ecsbatch.errors import ConfigError, RunNotFound
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.quota import Quota
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import RunRecord
from ecsbatch.restarter import Restarter

QUOTA = Quota(600, 60.0)


def short_lived(restarter: Restarter, events: int = 1) -> DirectRuns:
    """Have runs of direct restarts end after so many events; whether they have is looked at every five seconds."""
    assert restarter._working is not None
    restarter._working.direct.most_events = events
    return restarter._working.direct


async def all_runs(restarter: Restarter) -> list[RunRecord]:
    """Return the runs of direct restarts, the first one first."""
    return list(reversed(await restarter.store.runs(1000)))


async def ended(restarter: Restarter) -> dict[str, RunStatus]:
    return {run.run_id: run.status for run in await all_runs(restarter)}


def test_restarts_that_never_end_are_in_many_runs_each_of_which_proves_itself() -> None:
    world = World(servers=90, quota_limit=QUOTA.limit, restart_median=20.0)

    async def main() -> tuple[Counter[str], list[RunStatus], list[bool], int]:
        async with world.restarter(Engine(quota=QUOTA)) as restarter:
            short_lived(restarter, 60)
            asked: list[asyncio.Future[Outcome]] = []
            for second in range(90):
                asked += [restarter.submit(world.ids[(3 * second + i) % 90]) for i in range(3)]
                await asyncio.sleep(2)
            told = heard(await asyncio.gather(*asked))
            await asyncio.sleep(10)
            runs = await all_runs(restarter)
            return told, [run.status for run in runs], [await proven(world, run) for run in runs], claims(world)

    told, statuses, proofs, left = world.live(main)
    assert told == {"restarted": 270}
    assert sum(world.cloud.restarts(id_) for id_ in world.ids) == 270
    assert len(statuses) >= 4
    assert statuses[:-1] == [RunStatus.SUCCEEDED] * (len(statuses) - 1)
    assert all(proofs)
    assert left == 0
    assert world.cloud.audit()["fullest_window"] <= QUOTA.limit


async def proven(world: World, run: RunRecord) -> bool:
    """Tell whether a run's record is whole, keeps the promises, and is as it was written."""
    async with world.store() as store:
        events = await store.events(run.run_id, 0, 10_000)
        chain = await store.check_chain(run.run_id)
        return len(events) == run.seq and audit(events, quota=QUOTA).ok and not chain.breach


def test_a_run_ends_once_nothing_of_it_is_in_flight_and_new_requests_are_in_another() -> None:
    world = World(servers=3)

    async def main() -> list[dict[str, RunStatus]]:
        seen: list[dict[str, RunStatus]] = []
        async with world.restarter() as restarter:
            short_lived(restarter)
            first = restarter.submit(world.ids[0])
            await asyncio.sleep(12)
            second = restarter.submit(world.ids[1])
            await asyncio.sleep(3)
            seen.append(await ended(restarter))
            await asyncio.gather(first, second)
            await asyncio.sleep(11)
            seen.append(await ended(restarter))
        return seen

    during, after = world.live(main)
    assert list(during.values()) == [RunStatus.RUNNING, RunStatus.RUNNING]
    assert list(after.values()) == [RunStatus.SUCCEEDED, RunStatus.SUCCEEDED]


def test_a_run_that_is_a_day_old_ends_though_nobody_asks_for_anything() -> None:
    world = World(servers=3)

    async def main() -> dict[str, RunStatus]:
        async with world.restarter() as restarter:
            short_lived(restarter, 1000).oldest = 600.0
            await restarter.restart(world.ids[0])
            await asyncio.sleep(620)
            return await ended(restarter)

    assert list(world.live(main).values()) == [RunStatus.SUCCEEDED]


@pytest.mark.parametrize("limit", [1000, 1])
def test_a_server_that_waits_or_is_in_flight_in_the_run_before_is_joined_there(limit: int) -> None:
    """With a quota of one the second server waits for a token while its run is followed by another."""
    world = World(servers=3, quota_limit=limit, quota_window=60.0)

    async def main() -> tuple[int, list[Outcome], list[RunRecord]]:
        async with world.restarter(Engine(quota=Quota(limit, 60.0))) as restarter:
            runs = short_lived(restarter)
            first = [restarter.submit(id_) for id_ in world.ids[:2]]
            await asyncio.sleep(12)
            again = [restarter.submit(id_) for id_ in world.ids[:2]]
            with pytest.raises(ConfigError, match="is being restarted SOFT already"):
                restarter.submit(world.ids[1], type="HARD")
            waiting = len(runs)
            told = await asyncio.gather(*first, *again)
            return waiting, told, await all_runs(restarter)

    waiting, told, runs = world.live(main)
    assert waiting == 2
    assert told[:2] == told[2:]
    assert [outcome.kind for outcome in told] == [OutcomeKind.RESTARTED] * 4
    assert [world.cloud.restarts(id_) for id_ in world.ids] == [1, 1, 0]
    assert len(runs) == 1


def test_events_go_on_from_run_to_run_and_the_last_of_one_come_among_the_first_of_the_next() -> None:
    world = World(servers=8, restart_median=30.0)

    async def main() -> tuple[list[Recorded], list[str], list[Recorded]]:
        seen: list[Recorded] = []
        late: list[Recorded] = []
        async with world.restarter() as restarter:
            short_lived(restarter)

            async def watch(into: list[Recorded], after: int = 0, run_id: str = "") -> None:
                into.extend([recorded async for recorded in restarter.events(after, run_id)])

            async with asyncio.TaskGroup() as group:
                group.create_task(watch(seen))
                await asyncio.sleep(1)
                for id_ in world.ids:
                    restarter.submit(id_)
                    await asyncio.sleep(11)
                await asyncio.sleep(60)
                runs = [run.run_id for run in await all_runs(restarter)]
                group.create_task(watch(late, 2, runs[2]))
                await asyncio.sleep(1)
                await restarter.aclose()
        return seen, runs, late

    seen, runs, late = world.live(main)
    assert len(runs) == 8
    restarted = [each.event.server for each in seen if isinstance(each.event, ev.ServerRestarted)]
    assert sorted(restarted) == sorted(world.ids)
    for run_id in runs:
        numbers = [each.seq for each in seen if each.run_id == run_id]
        assert numbers == list(range(1, len(numbers) + 1))
    order = [each.run_id for each in seen]
    assert list(dict.fromkeys(order)) == runs
    assert order != sorted(order, key=runs.index)
    wanted = [each for each in seen if each.run_id in runs[3:] or (each.run_id == runs[2] and each.seq > 2)]
    assert sorted(late, key=str) == sorted(wanted, key=str)


def test_a_run_that_is_none_of_ours_cannot_be_followed() -> None:
    world = World(servers=1)

    async def main() -> None:
        async with world.restarter() as restarter:
            with pytest.raises(RunNotFound, match="'other' is none of the last runs"):
                restarter.events(0, "other")

    world.live(main)


def test_a_run_that_could_not_write_is_taken_anew_and_ends_like_any_other() -> None:
    world = World(servers=6)
    world.database = disk = Disk()

    async def main() -> tuple[list[str], dict[str, RunStatus]]:
        async with world.restarter() as restarter:
            short_lived(restarter)
            first = restarter.submit(world.ids[0])
            await asyncio.sleep(9)
            disk.fails = 2
            told = heard([*await asyncio.gather(first, return_exceptions=True)])
            told += heard(await asyncio.gather(*map(restarter.submit, world.ids), return_exceptions=True))
            await asyncio.sleep(300)
            return sorted(told), await ended(restarter)

    told, runs = world.live(main)
    assert told == ["StoreError", "restarted"]
    assert set(runs.values()) == {RunStatus.SUCCEEDED}
    assert claims(world) == 0


def test_an_end_that_cannot_be_written_is_written_later() -> None:
    world = World(servers=1)
    world.database = disk = Disk()

    async def main() -> list[list[RunStatus]]:
        async with world.restarter() as restarter:
            await restarter.restart(world.ids[0])
            short_lived(restarter)
            disk.fails = 1000
            await asyncio.sleep(11)
            refused = [*(await ended(restarter)).values()]
            disk.fails = 0
            await asyncio.sleep(11)
            return [refused, [*(await ended(restarter)).values()]]

    assert world.live(main) == [[RunStatus.RUNNING], [RunStatus.SUCCEEDED]]


def test_a_store_in_memory_forgets_a_run_once_it_is_over_and_nobody_is_reading_it() -> None:
    """Who reads on hears of everything; who stands still keeps the run in which that is, and misses those after it."""
    world = World(servers=6, restart_median=30.0)

    async def main() -> tuple[list[int], list[Recorded], list[Recorded]]:
        prompt: list[Recorded] = []
        slow: list[Recorded] = []
        kept: list[int] = []
        async with world.client() as client, world.engine(client, None) as restarter:
            short_lived(restarter)
            standing_still = restarter.events()
            async with asyncio.TaskGroup() as group:
                group.create_task(read(restarter.events(), prompt))
                group.create_task(anext_of(standing_still, slow))
                for id_ in world.ids:
                    await restarter.restart(id_)
                    await asyncio.sleep(6)
                kept.append(len(await all_runs(restarter)))
                group.create_task(read(standing_still, slow))
                await asyncio.sleep(1)
                kept.append(len(await all_runs(restarter)))
                await restarter.aclose()
        return kept, prompt, slow

    async def anext_of(events: AsyncIterator[Recorded], into: list[Recorded]) -> None:
        into.append(await anext(events))

    async def read(events: AsyncIterator[Recorded], into: list[Recorded]) -> None:
        into.extend([recorded async for recorded in events])

    kept, prompt, slow = world.live(main)
    assert kept == [1, 0]
    assert [each.event.server for each in prompt if isinstance(each.event, ev.ServerRestarted)] == world.ids
    assert slow == prompt[: len(slow)]
    assert len({each.run_id for each in slow}) == 1


@pytest.mark.parametrize("after", range(150, 1150, 200))
def test_a_service_that_is_killed_while_runs_follow_one_another_restarts_what_it_is_asked_for_after_it(
    after: int,
) -> None:
    world = World(servers=40, quota_limit=20, quota_window=60.0)
    engine = Engine(quota=Quota(20, 60.0))

    async def asks() -> None:
        async with world.restarter(engine) as restarter:
            short_lived(restarter, 10)
            for id_ in world.ids:
                restarter.submit(id_)
                await asyncio.sleep(2)
            await asyncio.sleep(600)

    async def asks_again() -> Counter[str]:
        async with world.restarter(engine) as restarter:
            short_lived(restarter, 10)
            await asyncio.sleep(120)
            return heard(await asyncio.gather(*map(restarter.submit, world.ids)))

    with pytest.raises(SystemExit):
        world.live(asks, kill_after=after)
    before = {id_: world.cloud.restarts(id_) for id_ in world.ids}
    assert max(before.values()) <= 1
    assert world.live(asks_again) == {"restarted": 40}
    assert {id_: world.cloud.restarts(id_) for id_ in world.ids} == {id_: n + 1 for id_, n in before.items()}
    assert world.cloud.audit()["fullest_window"] <= 20
    assert claims(world) == 0
