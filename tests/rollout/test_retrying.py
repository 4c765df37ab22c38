"""Failed servers are tried again where the cloud lets nobody try them: they stay failed, and so does the run."""

from __future__ import annotations

from collections import Counter

import pytest
from world import World

from ecsbatch.audit.replay import audit
from ecsbatch.config.settings import Strategy
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.run import Changes, Result
from ecsbatch.model.servers import Server

ALL_AT_ONCE = Strategy(waves="100%", max_failures="50%", max_unavailable="100%")


@pytest.mark.parametrize("why", ["not_active", "locked", "not_found"])
def test_who_failed_and_cannot_be_tried_again_stays_failed(why: str) -> None:
    """The cloud leaves what fails in ERROR; a server may be locked or deleted until somebody tries it again."""
    world = World(servers=40)
    doomed = world.ids[20:32]
    for server in doomed:
        world.cloud.doom(server, "error" if why == "not_active" else "fail")

    async def first() -> Result:
        async with world.restarter() as restarter:
            return await restarter.rollout(world.ids, ALL_AT_ONCE, run_id="r").run()

    async def again() -> tuple[Result, list[Outcome], bool]:
        async with world.restarter() as restarter:
            rollout = await restarter.resume("r", changes=Changes(retry=["failed"]))
            result = await rollout.run()
            proof = audit([recorded async for recorded in rollout.events()], rollout.plan.fleet)
            return result, list(rollout.state.outcomes()), proof.ok

    before = world.live(first)
    for server in doomed:
        if why == "locked":
            world.cloud.lock(server)
        elif why == "not_found":
            world.cloud.delete(server)
    after, outcomes, proven = world.live(again)

    assert (before.status, after.status) == (RunStatus.FAILED, RunStatus.FAILED)
    assert dict(after.counts) == dict(before.counts)
    assert Counter(outcome.not_retried for outcome in outcomes if outcome.kind.is_failure) == {why: 12}
    assert all(outcome.code or outcome.reason for outcome in outcomes if outcome.kind.is_failure)
    assert proven


def test_a_zone_that_was_left_out_is_taken_up_a_week_later_and_who_was_locked_then_too() -> None:
    world = World(servers=40, zones=("az1", "az2"))
    fleet = [Server(id_, world.cloud.truth(id_).zone) for id_ in world.ids]
    locked = next(id_ for id_ in world.ids if world.cloud.truth(id_).zone == "az1")
    world.cloud.lock(locked)

    async def first() -> Result:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(fleet, Strategy(waves="domain", soak=60.0), run_id="r")
            rollout.pause()
            rollout.resume(skip_domains=["az2"])
            return await rollout.run()

    async def again() -> tuple[Result, bool]:
        async with world.restarter() as restarter:
            changes = Changes(retry=["not_started", "skipped"])
            rollout = await restarter.resume("r", changes=changes)
            result = await rollout.run()
            proof = audit([recorded async for recorded in rollout.events()], rollout.plan.fleet)
            return result, proof.ok

    before = world.live(first)
    world.cloud.lock(locked, locked=False)
    after, proven = world.live(again)

    assert (before.status, before.counts[OutcomeKind.NOT_STARTED], before.counts[OutcomeKind.SKIPPED]) == (
        RunStatus.FAILED,
        20,
        1,
    )
    assert (after.status, after.counts[OutcomeKind.RESTARTED]) == (RunStatus.SUCCEEDED, 40)
    assert [world.cloud.restarts(id_) for id_ in world.ids] == [1] * 40
    assert proven
