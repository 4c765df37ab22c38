"""Another machine finishes what a lost one began: what the cloud says has changed since then is left alone."""

from __future__ import annotations

import asyncio

from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.model.outcome import Outcome, OutcomeKind
from ecsbatch.model.servers import Server
from ecsbatch.planning.strategy import make_plan
from ecsbatch.restarter import Restarter
from ecsbatch.simulator.config import Faults
from ecsbatch.store import open_store

CANARY_FIRST = Strategy(waves="1,100%", soak=120.0, max_unavailable="100%")


def test_what_the_lost_machine_still_restarts_while_we_go_on_is_not_restarted_again() -> None:
    """Its last request may be carried out late: behind our plan, and before our own request."""
    world = World(servers=20)
    began = world.config.epoch + 5

    async def main() -> list[Outcome]:
        await asyncio.sleep(10)
        async with world.client() as lost, open_store("memory:", inline=True, clock=world.clock) as its_store:
            plan = make_plan([Server(id_) for id_ in world.ids], CANARY_FIRST, skip_updated_since=began)
            later = plan.fleet.ids[10:13]
            async with (
                world.restarter() as ours,
                Restarter(lost, its_store, clock=world.clock, seed=2) as theirs,
                asyncio.TaskGroup() as group,
            ):
                rollout = ours.rollout(plan)
                group.create_task(rollout.run())
                await asyncio.sleep(30)
                await asyncio.gather(*map(theirs.restart, later))
            return [rollout.state.outcome(plan.fleet.find(id_)) for id_ in later]

    left_alone = world.live(main)
    books = world.cloud.audit()

    assert {(o.kind, o.reason) for o in left_alone} == {(OutcomeKind.SKIPPED, "restarted_recently")}
    assert (books["restarted_servers"], books["restarted_more_than_once"]) == (20, 0)


def test_what_our_own_failed_restart_has_changed_may_be_tried_again() -> None:
    world = World(servers=20, fail_rate=1.0)

    async def main() -> int:
        await asyncio.sleep(10)
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            # One of the two that fail is left in ERROR and stays failed: that one is allowed.
            limits = {"max_unavailable": "100%", "max_failures": 1, "max_failures_per_wave": 1}
            strategy = Strategy(waves="2,100%", soak=10.0, on_failure="pause", **limits)
            plan = make_plan([Server(id_) for id_ in world.ids], strategy, skip_updated_since=world.config.epoch + 5)
            rollout = restarter.rollout(plan)
            running = group.create_task(rollout.run())
            await asyncio.sleep(100)
            rollout.resume(retry=["failed"])
            await asyncio.sleep(100)
            rollout.stop()
            await running
            return rollout.state.outcome(0).attempts

    assert world.live(main) == 2


def test_a_request_in_the_air_when_its_run_is_resumed_in_the_same_process_is_given_its_whole_time() -> None:
    """Nobody cancels it: it may be answered for half a minute yet, and begin a minute after that."""
    world = World(
        servers=1, zones=("az1",), restart_median=20.0, submit_faults=Faults(late_execution=1.0, late_max=59.0), seed=5
    )

    async def main() -> int:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, run_id="r")
            running = asyncio.create_task(rollout.run())
            while not rollout.state.flights:  # noqa: ASYNC110 - what is waited for is no event
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            running.cancel()
            await asyncio.wait([running])
            await (await restarter.resume("r")).run()
            await asyncio.sleep(200)
            return world.cloud.restarts(world.ids[0])

    assert world.live(main) == 1
