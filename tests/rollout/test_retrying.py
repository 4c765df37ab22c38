"""Failed servers are tried again where the cloud lets nobody try them: they stay failed, and so does the run."""

from __future__ import annotations

from collections import Counter

import pytest
from world import World

from ecsbatch.audit.replay import audit
from ecsbatch.config.settings import Strategy
from ecsbatch.model.outcome import Outcome, RunStatus
from ecsbatch.model.run import Changes, Result

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
