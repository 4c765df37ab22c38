"""A run over several lives: cancelled, stopped, killed, asked for again under its own name."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from world import World

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.errors import ConfigError, RunConflict
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.quota import Quota
from ecsbatch.model.run import Result
from ecsbatch.simulator.config import Faults
from ecsbatch.simulator.virtual_time import Killed

ALL_AT_ONCE = Strategy(max_unavailable="100%", waves="100%")
QUOTA_100 = Engine(quota=Quota(100, 60.0))


async def _run(world: World, run_id: str = "nightly", servers: list[str] | None = None) -> Result:
    async with world.restarter() as restarter:
        return await restarter.rollout(servers or world.ids, ALL_AT_ONCE, run_id=run_id).run()


async def _resume(world: World, run_id: str = "") -> Result:
    async with world.restarter() as restarter:
        return await (await restarter.resume(run_id)).run()


# -- the run id is an idempotency key ------------------------------------------------------------------------------


def test_the_same_id_and_targets_give_the_result_of_a_run_that_is_over_and_send_nothing() -> None:
    world = World(servers=20)
    first = world.live(lambda: _run(world))
    requests = world.cloud.audit()["requests"]
    again = world.live(lambda: _run(world, servers=world.ids[::-1]))

    assert again == first
    assert world.cloud.audit()["requests"] == requests


def test_the_same_id_and_targets_continue_a_run_that_was_interrupted() -> None:
    world = World(servers=1200)

    async def interrupted() -> Result:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE, run_id="nightly")
            running = group.create_task(rollout.run())
            await asyncio.sleep(20)
            rollout.stop()
            return await running

    before = world.live(interrupted)
    after = world.live(lambda: _run(world))

    assert before.status is RunStatus.INTERRUPTED
    assert before.counts[OutcomeKind.NOT_STARTED] == 200
    assert (after.status, after.counts[OutcomeKind.RESTARTED]) == (RunStatus.SUCCEEDED, 1200)
    assert world.cloud.audit()["restarts"] == 1200


def test_the_same_id_with_other_targets_is_refused_and_sends_nothing() -> None:
    world = World(servers=20)
    world.live(lambda: _run(world, servers=world.ids[:10]))
    requests = world.cloud.audit()["requests"]

    with pytest.raises(RunConflict, match="nightly"):
        world.live(lambda: _run(world, servers=world.ids[:11]))

    assert world.cloud.audit()["requests"] == requests


def test_a_run_that_another_process_drives_is_not_driven_twice() -> None:
    world = World(servers=20)

    async def main() -> str:
        async with world.restarter() as mine, world.restarter() as yours, asyncio.TaskGroup() as group:
            running = group.create_task(mine.rollout(world.ids, ALL_AT_ONCE, run_id="nightly").run())
            await asyncio.sleep(5)
            with pytest.raises(RunConflict) as refused:
                await yours.rollout(world.ids, ALL_AT_ONCE, run_id="nightly").run()
            await running
            return str(refused.value)

    assert "tester" in world.live(main)
    assert world.cloud.audit()["restarts"] == 20


def test_overlapping_runs_are_refused_with_the_run_that_has_the_servers() -> None:
    world = World(servers=20)

    async def main() -> str:
        async with world.restarter() as mine, asyncio.TaskGroup() as group:
            running = group.create_task(mine.rollout(world.ids[:15], ALL_AT_ONCE, run_id="nightly").run())
            await asyncio.sleep(5)
            with pytest.raises(RunConflict) as refused:
                await mine.rollout(world.ids[10:], ALL_AT_ONCE).run()
            await running
            return str(refused.value)

    assert "nightly" in world.live(main)


def test_there_is_no_resuming_what_was_never_started() -> None:
    world = World(servers=1)

    with pytest.raises(ConfigError):
        world.live(lambda: _resume(world, "nightly"))


def test_a_run_with_nothing_left_to_start_is_over_and_lets_its_servers_go_whatever_has_failed() -> None:
    """Stopping is for what has not begun; that more failed than was allowed is said all the same."""
    world = World(servers=6, fail_rate=1.0)
    strategy = Strategy(max_unavailable="100%", waves="100%", max_failures=0)

    async def main() -> tuple[Result, Result]:
        async with world.restarter() as restarter:
            first = await restarter.rollout(world.ids, strategy).run()
            return first, await restarter.rollout(world.ids, strategy).run()

    first, second = world.live(main)

    assert (first.status, first.reason) == (RunStatus.FAILED, "max_failures")
    assert first.message == "6 failures, 0 are allowed (max_failures)."
    assert second.total == 6


# -- cancelled, closed, killed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6, 0.7, 5.0, 30.0, 60.3])
def test_a_cancelled_run_is_interrupted_and_resumes_without_sending_anything_twice(seconds: float) -> None:
    world = World(servers=1100)

    async def cancelled() -> RunStatus:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE)
            running = asyncio.ensure_future(rollout.run())
            await asyncio.sleep(seconds)
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled()
            return rollout.state.status

    before = world.live(cancelled)
    if before is RunStatus.INTERRUPTED:
        after = world.live(lambda: _resume(world))
        assert after.counts[OutcomeKind.RESTARTED] == 1100

    assert before in ({RunStatus.INTERRUPTED} if seconds else {RunStatus.INTERRUPTED, RunStatus.RUNNING})
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.parametrize("seconds", [0.3, 0.65, 5.0, 60.3])
def test_closing_the_restarter_ends_its_rollouts_resumable(seconds: float) -> None:
    world = World(servers=1100)

    async def closed() -> Result:
        async with world.restarter() as restarter:
            running = asyncio.ensure_future(restarter.rollout(world.ids, ALL_AT_ONCE).run())
            await asyncio.sleep(seconds)
        return await running

    before = world.live(closed)
    after = world.live(lambda: _resume(world))

    assert (before.status, before.reason) == (RunStatus.INTERRUPTED, "closed")
    assert after.counts[OutcomeKind.RESTARTED] == 1100
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.parametrize("faults", [Faults(), Faults(lost_reply=0.3, reset_after=0.2)], ids=["calm", "lossy"])
def test_killed_at_any_instant_a_resume_sends_nothing_twice_and_loses_nothing(faults: Faults) -> None:
    def new_world() -> World:
        return World(servers=250, submit_faults=faults, quota_limit=100)

    async def run(world: World) -> Result:
        async with world.restarter(QUOTA_100) as restarter:
            return await restarter.rollout(world.ids, ALL_AT_ONCE, run_id="nightly").run()

    whole = new_world()
    whole.live(lambda: run(whole))
    for step in range(1, whole.steps, whole.steps // 12):
        world = new_world()
        with pytest.raises(Killed):
            world.live(partial(run, world), kill_after=step)
        result = world.live(partial(run, world))
        audit = world.cloud.audit()

        assert (result.status, result.counts[OutcomeKind.RESTARTED]) == (RunStatus.SUCCEEDED, 250), step
        assert (audit["restarted_more_than_once"], audit["restarts"]) == (0, 250), step
        assert audit["fullest_window"] <= 100, step


def test_its_repr_tells_the_truth_in_one_line() -> None:
    world = World(servers=40)
    said: list[str] = []

    async def main() -> None:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable=10, waves="100%"), run_id="nightly")
            said.append(repr(rollout))
            running = group.create_task(rollout.run())
            await asyncio.sleep(2)
            said.append(repr(rollout))
            await running
            said.append(repr(rollout))

    world.live(main)

    assert said == [
        "<Rollout nightly not begun>",
        "<Rollout nightly running [30 waiting, 0 queued, 10 in flight, 10 of 10 down]>",
        "<Rollout nightly succeeded [0 waiting, 0 queued, 0 in flight, 0 of 10 down]>",
    ]


def test_a_result_names_the_targets_that_do_not_exist() -> None:
    """A service that only looks at the status would take a mistyped id for a server that was restarted."""
    world = World(servers=20)
    gone = [world.ids[3], world.ids[11]]
    for server in gone:
        world.cloud.delete(server)

    async def main() -> Result:
        async with world.restarter() as restarter:
            return await restarter.rollout(world.ids, Strategy(max_unavailable=10, waves="100%")).run()

    result = world.live(main)

    assert (result.status, result.counts[OutcomeKind.SKIPPED]) == (RunStatus.SUCCEEDED, 2)
    assert sorted(result.not_found) == sorted(gone)
