"""`Rollout.events`, `Rollout.lines` and `Restarter.events`: the journal, for any number of readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

import orjson
import pytest
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.model.events import Recorded, encode
from ecsbatch.model.outcome import RunStatus

T = TypeVar("T")

ALL_AT_ONCE = Strategy(max_unavailable="100%", waves="100%")


def test_every_reader_sees_every_event_in_order_and_ends_with_the_run() -> None:
    world = World(servers=120)

    async def main() -> list[list[Recorded]]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable="20%", waves="1,10%,100%"))
            early = [group.create_task(_all(rollout.events())) for _ in range(20)]
            running = group.create_task(rollout.run())
            await asyncio.sleep(60)
            late = group.create_task(_all(rollout.events()))
            await running
            return [await reader for reader in [*early, late, asyncio.ensure_future(_all(rollout.events()))]]

    seen = world.live(main)

    assert all(each == seen[0] for each in seen)
    assert [recorded.seq for recorded in seen[0]] == list(range(1, len(seen[0]) + 1))
    assert seen[0][0].event.name == "run.started"
    assert seen[0][-1].event.name == "run.finished"
    assert sum(recorded.event.name == "server.restarted" for recorded in seen[0]) == 120


def test_a_reader_starts_behind_the_number_it_is_given() -> None:
    world = World(servers=5)

    async def main() -> list[int]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE)
            await rollout.run()
            return [recorded.seq async for recorded in rollout.events(after=4)]

    seen = world.live(main)

    assert seen == list(range(5, 5 + len(seen)))
    assert seen


def test_a_slow_reader_delays_nobody_and_still_sees_everything() -> None:
    """The run takes as long with a reader that needs an hour as with none."""

    def run(*, watched: bool) -> tuple[float, int, int]:
        world = World(servers=60)

        async def main() -> tuple[float, int, int]:
            async with world.restarter() as restarter, asyncio.TaskGroup() as group:
                rollout = restarter.rollout(world.ids, Strategy(max_unavailable="20%", waves="100%"))
                seen = group.create_task(_all(rollout.events(), 60.0)) if watched else None
                await rollout.run()
                ended = world.now()
                return ended, rollout.state.seq, len(await seen) if seen else 0

        return world.live(main)

    alone, watched = run(watched=False), run(watched=True)

    assert watched[:2] == pytest.approx(alone[:2], abs=0.01)
    assert watched[2] == watched[1]


def test_a_reader_that_is_dropped_or_cancelled_half_way_harms_nobody() -> None:
    world = World(servers=60)

    async def main() -> RunStatus:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE)
            running = group.create_task(rollout.run())
            cancelled = group.create_task(_all(rollout.events(), 1.0))
            async for recorded in rollout.events():
                if recorded.seq == 3:
                    break
            cancelled.cancel()
            return (await running).status

    assert world.live(main) is RunStatus.SUCCEEDED


def test_an_event_is_published_only_once_it_is_stored() -> None:
    world = World(servers=60)

    async def main() -> list[bool]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable="20%", waves="100%"))
            group.create_task(rollout.run())
            stored: list[bool] = []
            async for recorded in rollout.events():
                last = await restarter.store.events(rollout.run_id, recorded.seq - 1, 1)
                stored.append(last == [recorded])
            return stored

    stored = world.live(main)

    assert stored
    assert all(stored)


def test_lines_are_the_same_events_as_json() -> None:
    world = World(servers=60)

    async def main() -> tuple[list[bytes], list[Recorded]]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE)
            lines = group.create_task(_all(rollout.lines()))
            await rollout.run()
            return await lines, await _all(rollout.events())

    lines, events = world.live(main)
    parsed = [orjson.loads(line) for line in lines]

    assert [(line["seq"], line["event"]) for line in parsed] == [(each.seq, each.event.name) for each in events]
    assert {line["v"] for line in parsed} == {1}


def test_a_run_that_is_over_can_still_be_read() -> None:
    """The same run id prints the result of a run that is over; its events are part of that."""
    world = World(servers=5)

    async def once() -> list[Recorded]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE, run_id="once")
            await rollout.run()
            return await _all(rollout.events())

    first = world.live(once)
    second = world.live(once)

    assert first == second


def test_what_callers_asked_for_one_by_one_can_be_followed_too() -> None:
    """From before the first server was asked for to the engine's end; as a dictionary it is its line of JSON."""
    world = World(servers=30)

    async def main() -> tuple[list[Recorded], list[Recorded]]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            early = group.create_task(_all(restarter.events()))
            await asyncio.sleep(1)
            await asyncio.gather(*map(restarter.restart, world.ids))
            late = group.create_task(_all(restarter.events(after=2)))
            await asyncio.sleep(0)
            await restarter.aclose()
        return await early, await late

    early, late = world.live(main)
    names = [recorded.event.name for recorded in early]

    assert (names[0], names[-1]) == ("holder.changed", "run.finished")
    assert sorted(recorded.as_dict()["server"] for recorded in early if recorded.event.name == "server.restarted") == (
        sorted(world.ids)
    )
    assert late == early[2:]
    assert [orjson.loads(encode(recorded)) for recorded in early] == [recorded.as_dict() for recorded in early]


def test_who_follows_an_engine_that_nobody_asks_ends_with_it() -> None:
    world = World(servers=1)

    async def main() -> list[Recorded]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            following = group.create_task(_all(restarter.events()))
            await asyncio.sleep(1)
            await restarter.aclose()
        return await following

    assert world.live(main) == []


async def _all(reader: AsyncIterator[T], pause: float | None = None) -> list[T]:
    seen: list[T] = []
    async for each in reader:
        seen.append(each)
        if pause is not None:
            await asyncio.sleep(pause)
    return seen
