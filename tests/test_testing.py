"""`ecsbatch.testing.World`, as the tests of an embedding service use it: its lives, its engines, and its slips."""

from __future__ import annotations

import asyncio

import pytest

from ecsbatch.config.settings import Strategy
from ecsbatch.ecs.sweep import look_at
from ecsbatch.model.run import Result
from ecsbatch.planning.selection import as_fleet
from ecsbatch.planning.strategy import make_plan
from ecsbatch.simulator.config import CloudConfig, Faults
from ecsbatch.testing import Hang, World


def test_each_life_restarts_the_fleet_anew() -> None:
    with World(4) as world:

        async def main() -> Result:
            async with world.restarter() as restarter:
                return await restarter.rollout(world.ids).run()

        first, second = world.run(main), world.run(main)

        assert first.run_id != second.run_id
        assert {world.cloud.restarts(id_) for id_ in world.ids} == {2}


@pytest.mark.parametrize("seed", [None, 3])
def test_two_lives_with_one_seed_draw_different_run_ids(seed: int | None) -> None:
    with World(1) as world:

        async def main() -> str:
            async with world.restarter(seed=seed) as restarter:
                return restarter.rollout(world.ids).run_id

        assert world.run(main) != world.run(main)


def test_two_engines_at_once_have_runs_of_their_own() -> None:
    with World(2) as world:

        async def main() -> list[str]:
            async with world.restarter() as one, world.restarter() as other:
                outcomes = await asyncio.gather(one.restart(world.ids[0]), other.restart(world.ids[1]))
            return [outcome.kind.value for outcome in outcomes]

        assert world.run(main) == ["restarted", "restarted"]


def test_who_looks_first_has_percentages_of_the_servers_that_exist() -> None:
    with World(20) as world:
        gone = [f"{number:08x}-dead-4000-8000-000000000000" for number in range(80)]
        ids = [*world.ids, *gone]

        async def main() -> tuple[int, Result]:
            async with world.client() as ecs, world.restarter() as restarter:
                strategy = Strategy(max_unavailable="10%", waves="100%")
                views = await look_at(ecs, ids)
                rollout = restarter.rollout(make_plan(as_fleet(ids), strategy, views=views))
                return rollout.plan.max_unavailable, await rollout.run()

        allowed, result = world.run(main)

        assert (allowed, result.counts["restarted"], result.not_found) == (2, 20, gone)


def test_the_same_world_repeats_its_run_ids() -> None:
    def drawn() -> str:
        with World(1, seed=9) as world:

            async def main() -> str:
                async with world.restarter() as restarter:
                    return restarter.rollout(world.ids).run_id

            return world.run(main)

    assert drawn() == drawn()


def test_a_world_inside_a_running_loop_is_refused_and_leaves_nothing_behind() -> None:
    async def outer() -> None:
        with World(1) as world, pytest.raises(RuntimeError, match=r"World\.run has an event loop of its own"):
            world.run(lambda: asyncio.sleep(0))

    asyncio.run(outer())


def test_a_whole_configuration_and_parts_of_one_are_refused_together() -> None:
    with pytest.raises(TypeError, match="give look_faults, seed, submit_faults in it"):
        World(config=CloudConfig(servers=3), seed=4, faults=Faults(reject_503=0.1))

    with World(config=CloudConfig(servers=3)) as world:
        assert len(world.ids) == 3


@pytest.mark.parametrize(
    ("seconds", "notes"), [(11, ["A life may take 10 virtual seconds: World(longest=...) allows more."]), (0, [])]
)
def test_a_life_that_takes_too_long_says_what_allows_more_and_one_that_hangs_does_not(
    seconds: float, notes: list[str]
) -> None:
    async def main() -> None:
        await (asyncio.sleep(seconds) if seconds else asyncio.Event().wait())

    with World(1, longest=10) as world, pytest.raises(Hang) as hung:
        world.run(main)

    assert getattr(hung.value, "__notes__", []) == notes


def test_a_server_is_restarted_by_the_name_that_the_cloud_says() -> None:
    with World(3) as world:
        name = world.cloud.truth(world.ids[1]).name

        async def main() -> str:
            async with world.restarter() as restarter:
                return (await restarter.restart(name)).server

        assert world.run(main) == world.ids[1]
