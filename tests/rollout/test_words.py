"""What is asked of a run while the command before is on its way to the disk; and nothing leaves after its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from world import LateStore, World

from ecsbatch.config.settings import Strategy
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.run import Command
from ecsbatch.rollout.rollout import Rollout

AT_ONCE = Strategy(waves="100%", max_unavailable="100%", batch_size=10)


async def history(world: World, run_id: str) -> list[ev.Event]:
    async with world.store() as store:
        return [recorded.event for recorded in await store.events(run_id)]


Word = Callable[[Rollout], None]
BY_COMMAND: dict[str, Word] = {
    name: lambda rollout, name=name: rollout.command(Command(1, 0.0, "bob", {"command": name}))  # type: ignore[misc]
    for name in ("pause", "resume", "abort")
}
BY_CALL: dict[str, Word] = {"pause": Rollout.pause, "resume": Rollout.resume, "abort": Rollout.abort}


@pytest.mark.parametrize("how", [BY_CALL, BY_COMMAND], ids=["by a call", "by a command"])
@pytest.mark.parametrize(
    ("said", "stands"),
    [
        (("pause", "resume"), RunStatus.RUNNING),
        (("pause", "resume", "pause"), RunStatus.PAUSED),
        (("pause", "pause", "resume"), RunStatus.RUNNING),
        (("resume", "pause"), RunStatus.PAUSED),
    ],
)
def test_the_last_word_holds_however_quickly_it_follows(
    said: tuple[str, ...], stands: RunStatus, how: dict[str, Word]
) -> None:
    world = World(servers=40, zones=("az1",))

    async def main() -> tuple[RunStatus, int, int]:
        async with (
            world.client() as client,
            world.store() as store,
            world.engine(client, LateStore(store)) as restarter,
        ):
            rollout = restarter.rollout(world.ids, Strategy(waves="100%", max_unavailable=5))
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(30)
            for word in said:
                how[word](rollout)
            await asyncio.sleep(10)
            requests = len(world.cloud.auditor.counted)
            await asyncio.sleep(300)
            status, later = rollout.state.status, len(world.cloud.auditor.counted) - requests
            rollout.stop()
            await running
            return status, requests, later

    status, requests, later = world.live(main)

    assert requests
    if stands is RunStatus.PAUSED:
        assert (status, later) == (RunStatus.PAUSED, 0)
    else:
        assert status in {RunStatus.RUNNING, RunStatus.SUCCEEDED}
        assert later


def test_a_word_said_before_the_run_begins_is_followed() -> None:
    world = World(servers=10, zones=("az1",))

    async def main() -> tuple[RunStatus, int]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, AT_ONCE)
            rollout.pause()
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(100)
            paused = rollout.state.status, len(world.cloud.auditor.counted)
            rollout.stop()
            await running
            return paused

    assert world.live(main) == (RunStatus.PAUSED, 0)


@pytest.mark.parametrize("at", [0.0, 0.2, 0.6, 1.0, 1.5, 1.6, 2.2, 3.1])
@pytest.mark.parametrize("end", ["stop", "abort", "cancel"])
def test_nothing_leaves_behind_a_runs_end_and_what_is_recorded_is_so(end: str, at: float) -> None:
    """Whatever instant of an intent's way to the disk, and of its request's way to the cloud, the end falls on."""
    world = World(servers=40, zones=("az1",), latency=0.6, latency_sigma=0.0)

    async def main() -> tuple[int, int, Rollout]:
        async with (
            world.client() as client,
            world.store() as store,
            world.engine(client, LateStore(store)) as restarter,
        ):
            rollout = restarter.rollout(world.ids, AT_ONCE, run_id="r")
            running = asyncio.create_task(rollout.run())
            while not rollout.held:  # noqa: ASYNC110 - what is waited for is no event
                await asyncio.sleep(0.05)
            await asyncio.sleep(1.2 + at)
            {"stop": rollout.stop, "abort": rollout.abort, "cancel": running.cancel}[end]()
            await asyncio.wait([running])
            sent = len(world.cloud.auditor.counted)
            await asyncio.sleep(30)
            return sent, len(world.cloud.auditor.counted), rollout

    at_return, in_all, rollout = world.live(main)
    told = world.live(lambda: history(world, "r"))
    ends = [n for n, event in enumerate(told) if isinstance(event, ev.RunStopped | ev.RunFinished | ev.RunAborting)]

    if end != "cancel":  # a request that is in the air when its run is cancelled may still arrive
        assert in_all == at_return
    assert not any(isinstance(event, ev.BatchSubmitting) for event in told[ends[0] :])
    if end == "abort":
        assert rollout.state.status is RunStatus.ABORTED
        counts = rollout.state.counts
        assert counts[OutcomeKind.RESTARTED] == sum(world.cloud.restarts(id_) for id_ in world.ids)
        assert counts[OutcomeKind.RESTARTED] + counts[OutcomeKind.NOT_STARTED] == 40


def test_a_promote_that_comes_too_early_opens_no_hold_that_the_run_does_not_stand_at() -> None:
    world = World(servers=6)

    async def main() -> list[int]:
        async with world.restarter() as restarter:
            strategy = Strategy(waves=["2"], hold_after="each", soak=300)
            rollout = await restarter.rollout(world.ids, strategy).start()
            waves: list[int] = []
            for wave in (1, 2):
                while rollout.state.wave_over < wave:  # noqa: ASYNC110 - in virtual time
                    await asyncio.sleep(1)
                rollout.promote("ada, while the wave soaks")
                await asyncio.sleep(3600)
                waves.append(rollout.state.wave_over)
                rollout.promote("ada")
            await rollout
            return [*waves, rollout.state.wave_over]

    assert world.live(main) == [1, 2, 3]
