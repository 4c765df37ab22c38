"""A network that is gone, a cloud that breaks answers: nobody is blamed for what could not be seen."""

from __future__ import annotations

import asyncio
from collections import Counter

from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.run import Result
from ecsbatch.simulator.cloud import Faults


def test_fifteen_minutes_without_a_network_stop_the_run_and_blame_no_server() -> None:
    world = World(servers=2000, outages=((90.0, 990.0),))

    async def first() -> Result:
        async with world.restarter() as restarter:
            return await restarter.rollout(
                world.ids, Strategy(waves="100%", max_unavailable="50%"), run_id="gone"
            ).run()

    async def second() -> Result:
        await asyncio.sleep(900)
        async with world.restarter() as restarter:
            return await (await restarter.resume("gone")).run()

    stopped = world.live(first)
    at_the_stop = world.now()
    done = world.live(second)
    books = world.cloud.audit()

    assert (stopped.status, stopped.reason) == (RunStatus.STOPPED, "cloud_unreachable")
    assert stopped.counts[OutcomeKind.FAILED] == stopped.counts[OutcomeKind.TIMED_OUT] == 0
    assert 90 + 300 < at_the_stop < 90 + 400
    assert (done.status, done.counts[OutcomeKind.RESTARTED]) == (RunStatus.SUCCEEDED, 2000)
    assert (books["restarted_servers"], books["restarted_more_than_once"]) == (2000, 0)
    assert books["fullest_window"] <= 1000


def test_through_every_kind_of_broken_answer_the_outcomes_are_the_clouds_truth() -> None:
    submits = Faults(reject_503=0.10, throttle=0.05, reset_before=0.025, reset_after=0.025, lost_reply=0.08)
    looks = Faults(garbage=0.02, html_502=0.02, truncated=0.02, reject_503=0.02)
    world = World(servers=2000, seed=7, submit_faults=submits, look_faults=looks)

    async def main() -> Counter[tuple[str, int]]:
        async with world.restarter() as restarter:
            strategy = Strategy(waves="100%", max_unavailable="100%", max_failures="100%", max_failures_per_wave="100%")
            rollout = restarter.rollout(world.ids, strategy)
            await rollout.run()
            return Counter((o.kind.value, world.cloud.restarts(o.server)) for o in rollout.state.outcomes())

    outcomes = world.live(main)

    # A request that was shown three times not to have begun is a failed restart, and the cloud's books agree.
    assert set(outcomes) <= {("restarted", 1), ("failed", 0)}
    assert outcomes["restarted", 1] >= 1900


async def _outcomes(world: World, ids: list[str], strategy: Strategy) -> Counter[tuple[str, str]]:
    async with world.restarter() as restarter:
        rollout = restarter.rollout(ids, strategy)
        await rollout.run()
        return Counter((o.kind.value, o.reason) for o in rollout.state.outcomes())


def test_servers_that_the_api_refuses_are_named_and_the_rest_restarts() -> None:
    for precheck in (True, False):
        world = World(servers=597, bad_ids="request")
        ids = [*world.ids[:100], *world.cloud.missing_ids(3), *world.ids[100:]]
        for index in (10, 110, 120, 300, 550):
            world.cloud.lock(world.ids[index])
        strategy = Strategy(waves="100%", max_unavailable="100%", precheck=precheck, order="input")

        async def main(
            strategy: Strategy = strategy, ids: list[str] = ids, world: World = world
        ) -> Counter[tuple[str, str]]:
            async with world.restarter() as restarter:
                rollout = restarter.rollout(ids, strategy)
                await rollout.run()
                return Counter((o.kind.value, o.reason) for o in rollout.state.outcomes())

        outcomes = world.live(main)
        books = world.cloud.audit()
        refused = 0 if precheck else 4

        assert outcomes == {("restarted", ""): 592, ("skipped", "locked"): 5, ("skipped", "not_found"): 3}
        assert (books["restarted_servers"], books["restarted_more_than_once"]) == (592, 0)
        # Six batches to look at and to send; each refused one costs about one look and one more request.
        assert books["looks"]["servers"] <= 6 + 2 * refused
        assert books["statuses"].get("400", 0) + books["statuses"].get("404", 0) <= 2 * refused
