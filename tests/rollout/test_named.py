"""Servers that are given by their names, for single restarts, rollouts and plans."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped, PlanStale, SelectionError, ServerNotFound
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import Server


def named(world: World, index: int) -> str:
    """Return the name of a server of the world's cloud."""
    return world.cloud.fleet.name(world.cloud.fleet.numbers[world.ids[index]])


def test_a_restart_by_name_restarts_the_server_that_is_called_so() -> None:
    world = World(servers=5)

    async def main() -> list[tuple[str, str, str]]:
        async with world.restarter() as restarter:
            asked = [named(world, 1), Server("", name=named(world, 2)), world.ids[3]]
            outcomes = await asyncio.gather(*map(restarter.restart, asked))
            return [(outcome.server, outcome.name, outcome.domain) for outcome in outcomes]

    zones = [world.cloud.truth(each).zone for each in world.ids]
    called = [(world.ids[i], named(world, i), zones[i]) for i in (1, 2)]
    assert world.live(main) == [*called, (world.ids[3], "", "")]
    assert [world.cloud.restarts(each) for each in world.ids] == [0, 1, 1, 1, 0]


def test_many_names_at_once_cost_few_looks_and_one_wrong_name_is_its_own() -> None:
    world = World(servers=60)

    async def main() -> tuple[list[Any], int]:
        async with world.restarter() as restarter:
            asked = [named(world, index) for index in range(60)]
            told = await asyncio.gather(*map(restarter.restart, ["nobody", *asked]), return_exceptions=True)
            return told, world.cloud.audit()["requests"]

    (wrong, *outcomes), requests = world.live(main)

    assert isinstance(wrong, ServerNotFound)
    assert (wrong.server, wrong.run_id) == ("nobody", "")
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.RESTARTED}
    assert requests < 30


def test_who_cancels_or_closes_before_a_name_is_found_has_nothing_sent() -> None:
    world = World(servers=3)

    async def main() -> list[Any]:
        async with world.restarter() as restarter:
            cancelled = restarter.submit(named(world, 0))
            cancelled.cancel()
            await asyncio.sleep(60)
            late = restarter.submit(named(world, 1))
        return [await asyncio.gather(late, return_exceptions=True)]

    [[late]] = world.live(main)

    assert isinstance(late, EngineStopped)
    assert [world.cloud.restarts(each) for each in world.ids] == [0, 0, 0]


@pytest.mark.parametrize("odd", ["", "a\nb", "x" * 129, "\ud800"])
def test_what_is_no_name_is_refused_at_once(odd: str) -> None:
    world = World(servers=1)

    async def main() -> None:
        async with world.restarter() as restarter:
            with pytest.raises(SelectionError, match="no name"):
                restarter.submit(odd)

    world.live(main)


@pytest.mark.parametrize("ask", ["plan", "state", "progress"])
def test_names_are_not_taken_for_ids_where_somebody_asks_before_they_are_looked_up(ask: str) -> None:
    world = World(servers=2)

    async def main() -> tuple[dict[OutcomeKind, int], list[str]]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout([named(world, 0), named(world, 1)])
            with pytest.raises(SelectionError, match="by their names"):
                getattr(rollout, ask)
            result = await rollout.run()
            return dict(result.counts), result.not_found

    counts, not_found = world.live(main)

    assert (counts.get(OutcomeKind.RESTARTED), list(not_found)) == (2, [])


def test_a_rollout_takes_names_ids_and_servers_and_has_its_plan_once_it_is_begun() -> None:
    world = World(servers=6)

    async def main() -> tuple[list[str], RunStatus]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout([named(world, 0), world.ids[1], Server("", name=named(world, 2))])
            with pytest.raises(SelectionError):
                _ = rollout.plan
            await rollout.start()
            return sorted(rollout.plan.fleet.ids), (await rollout).status

    assert world.live(main) == (sorted(world.ids[:3]), RunStatus.SUCCEEDED)


# -- plans -------------------------------------------------------------------------------------------------------------


def test_a_plan_looks_first_so_that_percentages_are_of_who_exists() -> None:
    world = World(servers=20)
    gone = [f"00000000-0000-4000-8000-{n:012}" for n in range(2)]

    async def main() -> tuple[Plan, RunStatus]:
        async with world.restarter() as restarter:
            strategy = Strategy(max_unavailable="50%", max_not_found=2)
            plan = await restarter.plan([*world.ids, *gone], strategy)
            return plan, (await restarter.rollout(plan).run()).status

    plan, status = world.live(main)

    assert (plan.max_unavailable, sorted(plan.not_found), status) == (10, gone, RunStatus.SUCCEEDED)


@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize(("minutes", "stale"), [(1, False), (30, True)])
def test_a_plan_that_is_begun_later_is_refused_where_the_fleet_has_changed(
    minutes: int, *, stale: bool, looked: bool
) -> None:
    world = World(servers=5)

    async def main() -> EcsbatchError | None:
        async with world.restarter() as restarter:
            plan = await restarter.plan(world.ids)
            await asyncio.sleep(60 * minutes)
            world.cloud.lock(world.ids[3])
            rollout = restarter.rollout(plan, run_id="nightly")
            assert not looked or rollout.plan
            try:
                await rollout.start()
            except PlanStale as e:
                assert [each.run_id for each in await restarter.store.runs()] == []
                return e
            await rollout
            return None

    told = world.live(main)

    assert (told is not None) is stale
    assert not stale or "locked" in str(told)


def test_a_plan_is_not_planned_again() -> None:
    world = World(servers=2)

    async def main() -> None:
        async with world.restarter() as restarter:
            plan = await restarter.plan(world.ids)
            with pytest.raises(ConfigError, match="a plan already"):
                await restarter.plan(plan)  # type: ignore[arg-type]

    world.live(main)


def test_a_kept_plan_goes_on_with_its_own_run_though_that_has_changed_the_fleet() -> None:
    world = World(servers=5)

    async def main() -> list[RunStatus]:
        async with world.restarter() as restarter:
            plan = await restarter.plan(world.ids, Strategy(max_unavailable=2))
            first = await restarter.rollout(plan, run_id="nightly").start()
            await asyncio.sleep(100)
            first.stop()
            told = [(await first).status]
            await asyncio.sleep(1800)
            with pytest.raises(PlanStale):
                await restarter.rollout(plan, run_id="night").start()
            return [*told, (await restarter.rollout(plan, run_id="nightly").run()).status]

    assert world.live(main) == [RunStatus.INTERRUPTED, RunStatus.SUCCEEDED]
    assert [world.cloud.restarts(each) for each in world.ids] == [1] * 5
