"""Hosts that ask at the wrong moment: before the begin, during it, after one that failed, in the middle of the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import EngineStopped
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.servers import ServerView
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.rollout import Rollout

SLOWLY = Strategy(max_unavailable=2, waves="100%")


def named(world: World, index: int) -> str:
    """Return the name of a server of the world's cloud."""
    return world.cloud.fleet.name(world.cloud.fleet.numbers[world.ids[index]])


def look_slowly(restarter: Restarter, seconds: float) -> None:
    """Have names found only after so many seconds."""
    cloud: Any = restarter.pipelines[""].cloud
    at_once = cloud.look_for

    async def look_for(names: Collection[str]) -> Sequence[ServerView]:
        await asyncio.sleep(seconds)
        found: Sequence[ServerView] = await at_once(names)
        return found

    cloud.look_for = look_for


# -- while it is looked up who is meant --------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1, 60])
def test_an_engine_is_closed_while_it_is_looked_up_who_is_meant_and_nothing_is_stored(seconds: int) -> None:
    world = World(servers=4)

    async def main() -> tuple[list[Any], list[str], float]:
        async with world.restarter() as restarter:
            look_slowly(restarter, seconds)
            await restarter.rollout(world.ids[1:], SLOWLY, run_id="other").start()
            begun = asyncio.ensure_future(restarter.rollout([named(world, 0)], run_id="nightly").start())
            await asyncio.sleep(0.5)
            before = world.now()
            await restarter.aclose()
            took = world.now() - before
            told = await asyncio.gather(begun, return_exceptions=True)
            return told, [each.run_id for each in await restarter.store.runs()], took

    [told], runs, took = world.live(main)

    assert isinstance(told, EngineStopped)
    assert runs == ["other"]
    assert took < 12


def test_the_engines_end_is_heard_by_all_though_one_is_still_looking_who_is_meant() -> None:
    world = World(servers=6)

    async def main() -> list[Any]:
        async with world.restarter() as restarter:
            look_slowly(restarter, 100)
            begun = asyncio.ensure_future(restarter.rollout([named(world, 0)]).start())
            await asyncio.sleep(0)
            other = await restarter.rollout(world.ids[1:], SLOWLY).start()
            assert restarter._working is not None
            assert restarter._working.runtime._task is not None
            restarter._working.runtime._task.cancel()
            return await asyncio.gather(other, begun, return_exceptions=True)

    told = world.live(main)

    assert {type(each) for each in told} == {EngineStopped}


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (lambda rollout: rollout.abort("an operator"), RunStatus.ABORTED),
        (lambda rollout: rollout.stop("interrupted", "Not now."), RunStatus.INTERRUPTED),
        (lambda rollout: rollout.pause("an operator"), RunStatus.PAUSED),
    ],
)
@pytest.mark.parametrize("after", [None, 0.5])
def test_what_is_asked_before_it_is_clear_who_is_meant_is_followed_before_anything_is_sent(
    ask: Callable[[Rollout], None], status: RunStatus, after: float | None
) -> None:
    world = World(servers=4)

    async def main() -> RunStatus:
        async with world.restarter() as restarter:
            look_slowly(restarter, 5)
            rollout = restarter.rollout([named(world, index) for index in range(4)])
            if after is None:
                ask(rollout)
            begun = asyncio.ensure_future(rollout.start())
            if after is not None:
                await asyncio.sleep(after)
                ask(rollout)
            await begun
            await asyncio.sleep(100)
            return rollout.state.status

    assert world.live(main) is status
    assert [world.cloud.restarts(each) for each in world.ids] == [0, 0, 0, 0]
