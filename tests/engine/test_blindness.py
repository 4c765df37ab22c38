"""A person is told at once that nothing can be seen, long before the run stops for it."""

from __future__ import annotations

import asyncio

from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.standing import standing


def test_an_engine_says_for_how_long_and_why_it_sees_nothing() -> None:
    world = World(servers=200, outages=((20.0, 80.0),))
    told: list[tuple[float, str]] = []

    async def main() -> None:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable=100, waves="100%"))
            group.create_task(rollout.run())
            for wait in (15, 45, 60):
                await asyncio.sleep(wait)
                told.append(restarter.blindness())

    world.live(main)
    before, during, after = told

    assert (before[0], after[0]) == (0.0, 0.0)
    assert 10 < during[0] <= 40
    assert during[1]


def test_who_watches_reads_in_the_record_that_nothing_is_seen() -> None:
    """The holder's memory is seen by nobody else; a moment is not worth a word."""
    world = World(servers=200, outages=((20.0, 80.0), (100.0, 102.0)))

    async def main() -> list[Recorded]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable=20, waves="100%"))
            await rollout.run()
            return [recorded async for recorded in rollout.events()]

    told = [each for each in world.live(main) if isinstance(each.event, ev.CloudUnseen | ev.CloudSeen)]
    unseen, seen = told
    state = RolloutState("r", Plan(Fleet(world.ids), waves=()))
    state.apply(unseen)

    assert isinstance(unseen.event, ev.CloudUnseen)
    assert (unseen.event.seconds >= 3.0, unseen.event.timeout, bool(unseen.event.message)) == (True, 300.0, True)
    assert standing(state, seen.ts).text.startswith("blind (")
    assert 40 < seen.ts - unseen.ts < 80
