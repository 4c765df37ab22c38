"""Hosts that ask at the wrong moment: before the begin, during it, after one that failed, in the middle of the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest
from world import World, Wrapper

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import EngineStopped, RunConflict, StoreError
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.run import Lease, Result, RunRecord
from ecsbatch.model.servers import Fleet, ServerView
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


def test_whoever_lists_rollouts_meets_none_that_has_no_plan_yet() -> None:
    world = World(servers=4)

    async def main() -> list[int]:
        async with world.restarter() as restarter:
            look_slowly(restarter, 5)
            begun = asyncio.ensure_future(restarter.rollout([named(world, 0)]).start())
            await asyncio.sleep(1)
            seen = [len([each.progress for each in restarter.rollouts])]
            rollout = await begun
            seen.append(len([each.progress for each in restarter.rollouts]))
            await rollout
            return [*seen, len(restarter.rollouts)]

    assert world.live(main) == [0, 1, 0]


# -- a begin that has failed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [False, True])
def test_a_rollout_that_is_begun_once_more_is_followed_to_its_end_and_heard_and_joined(*, lines: bool) -> None:
    world = World(servers=10)
    heard: list[int] = []

    async def main() -> tuple[list[int], list[Any], int]:
        async with world.restarter() as restarter:
            first = await restarter.rollout(world.ids, SLOWLY).start()
            again = restarter.rollout(world.ids[5:], SLOWLY, on_event=lambda event: heard.append(event.seq))
            with pytest.raises(RunConflict):
                await again.start()
            await first
            await again.start()
            joined = restarter.submit(world.ids[9])
            seen = [each async for each in (again.lines() if lines else again.events())]
            await again
            return heard, seen, len(seen) if (await joined).kind is OutcomeKind.RESTARTED else 0

    told, seen, count = world.live(main)

    assert count > 20
    assert told == list(range(1, count + 1))
    assert len(seen) == count
    assert world.cloud.restarts(world.ids[9]) == 2


class SlowStore(Wrapper):
    """A store whose reads of a run take a second."""

    async def run(self, name: str = "") -> RunRecord:
        """Read it slowly."""
        await asyncio.sleep(1)
        found: RunRecord = await self.inner.run(name)
        return found

    async def targets(self, run_id: str) -> Fleet:
        """Read them slowly."""
        await asyncio.sleep(1)
        found: Fleet = await self.inner.targets(run_id)
        return found


@pytest.mark.parametrize("by_id", [False, True])
@pytest.mark.parametrize("after", [0.1, 0.6, 1.1, 1.6, 2.1, 2.6, 3.1])
def test_who_asks_for_a_server_while_its_run_is_taken_is_not_told_of_the_restart_before(
    after: float, *, by_id: bool
) -> None:
    world = World(servers=4)

    async def main() -> tuple[Any, int]:
        async with world.client() as client, world.store() as store:
            slow: Any = SlowStore(store)
            async with Restarter(client, slow, clock=world.clock, seed=1) as restarter:
                first = restarter.rollout(world.ids, Strategy(max_unavailable=1), run_id="nightly")
                running = asyncio.ensure_future(first.run())
                await asyncio.sleep(60)
                first.stop()
                await running
                [done] = [each for each in world.ids if world.cloud.restarts(each)][:1]
                again = restarter.rollout(world.ids, run_id="nightly") if by_id else await restarter.resume("nightly")
                begun = asyncio.ensure_future(again.start())
                await asyncio.sleep(after)
                [told] = await asyncio.gather(restarter.restart(done), return_exceptions=True)
                await (await begun)
                return told, world.cloud.restarts(done)

    told, restarts = world.live(main)

    assert isinstance(told, RunConflict) or restarts == 2


# -- the end -----------------------------------------------------------------------------------------------------------


class UnreleasingStore(Wrapper):
    """A store that cannot release a run."""

    async def release(self, _: Lease) -> None:
        """Fail."""
        raise StoreError("the disk is gone")


def test_whoever_waits_for_a_run_that_cannot_be_released_hears_so() -> None:
    world = World(servers=4, longest=3600)

    async def main() -> list[Any]:
        async with world.client() as client, world.store() as store:
            unreleasing: Any = UnreleasingStore(store)
            async with Restarter(client, unreleasing, clock=world.clock, seed=1) as restarter:
                begun = await restarter.rollout(world.ids[:2], SLOWLY).start()
                run = restarter.rollout(world.ids[2:], SLOWLY).run()
                return await asyncio.gather(begun, run, return_exceptions=True)

    told = world.live(main)

    assert [type(each) for each in told] == [StoreError, StoreError]


def test_whoever_waits_hears_that_the_run_is_interrupted_where_another_cancels_its_run() -> None:
    world = World(servers=10)

    async def main() -> tuple[bool, Result]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, SLOWLY)
            running = asyncio.ensure_future(rollout.run())
            await asyncio.sleep(1)
            waiting = asyncio.ensure_future(rollout.result())
            await asyncio.sleep(1)
            running.cancel()
            await asyncio.wait([running, waiting])
            return running.cancelled(), waiting.result()

    cancelled, result = world.live(main)

    assert (cancelled, result.status, result.reason) == (True, RunStatus.INTERRUPTED, "cancelled")


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("way", ["start", "run"])
def test_a_cancellation_at_any_step_leaves_nobody_waiting_and_nothing_held(way: str, *, again: bool) -> None:
    """At each step while it begins, some while it runs, and each while it leaves."""
    _, last = cancelled_at(way, 100_000, again=again)
    for step in {*range(min(25, last)), *range(25, last, last // 7 + 1), *range(max(25, last - 20), last + 1)}:
        assert cancelled_at(way, step, again=again)[0] == [], step


def cancelled_at(way: str, step: int, *, again: bool) -> tuple[list[str], int]:
    """Cancel who begins or runs a rollout after so many steps; return what is amiss, and the steps that there were."""
    world = World(servers=3, longest=3600)
    steps = 0

    async def main() -> list[str]:
        nonlocal steps
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, SLOWLY, run_id="nightly")
            doing = asyncio.ensure_future(getattr(rollout, way)())
            begun = at_step(step, doing.cancel)
            if again:
                at_step(step + 1, doing.cancel)
            await asyncio.wait([doing])
            steps = loop_steps() - begun
            return await amiss(restarter, rollout)

    told = world.live(main)
    return [*told, *(["lost or twice"] if [world.cloud.restarts(each) for each in world.ids] != [1] * 3 else [])], steps


async def amiss(restarter: Restarter, rollout: Rollout) -> list[str]:
    """Say what is wrong with a rollout whose begin or run was cancelled; see it to its end."""
    said: list[str] = []
    if rollout._end is not None:
        async with asyncio.timeout(600):
            [heard] = await asyncio.gather(rollout.result(), return_exceptions=True)
        said += [] if isinstance(heard, Result | EngineStopped) else [repr(heard)]
    runs = {run.run_id: run for run in await restarter.store.runs()}
    if (run := runs.get("nightly")) is None:
        ended = await rollout.run()
    elif run.status.over:
        return said
    else:
        said += ["held"] if run.held else []
        ended = await (await restarter.resume("nightly")).run()
    return said + ([] if ended.status is RunStatus.SUCCEEDED else [repr(ended)])


def loop_steps() -> int:
    """Return how many steps the loop has taken."""
    loop: Any = asyncio.get_running_loop()
    steps: int = loop.steps
    return steps


def at_step(more: int, do: Callable[[], object]) -> int:
    """Do something so many steps of the loop from now on, and return the number of this one."""
    loop: Any = asyncio.get_running_loop()
    once, begun = loop._run_once, loop_steps()

    def step() -> None:
        if loop.steps == begun + more:
            do()
        once()

    loop._run_once = step
    return begun


# -- closing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(1, 20, 3))
def test_an_engine_whose_close_is_cancelled_and_cancelled_again_leaves_nobody_waiting(step: int) -> None:
    world = World(servers=6, restart_median=50.0, longest=3600)

    async def main() -> list[Any]:
        async with world.client() as client, world.store() as store:
            restarter = await Restarter(client, store, clock=world.clock, seed=1).__aenter__()
            rollout = await restarter.rollout(world.ids[:3], SLOWLY, run_id="nightly").start()
            direct = [restarter.submit(each) for each in world.ids[3:]]
            await asyncio.sleep(0.5)
            closing = asyncio.ensure_future(restarter.aclose())
            for more in range(step, step + 6):
                at_step(more, closing.cancel)
            told = await asyncio.gather(rollout, *direct, closing, return_exceptions=True)
            await restarter.aclose()
            held = [run.run_id for run in await store.runs() if run.held]
            return [*told, held]

    rollout, *direct, _, held = world.live(main)

    assert isinstance(rollout, Result | EngineStopped)
    assert {type(each) for each in direct} == {EngineStopped}
    assert held == []


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_an_engine_that_is_closed_at_once_leaves_what_a_resume_goes_on_with(timeout: float) -> None:
    world = World(servers=6, restart_median=50.0, longest=3600)

    async def main() -> list[Any]:
        async with world.client() as client, world.store() as store:
            restarter = await Restarter(client, store, clock=world.clock, seed=1).__aenter__()
            rollout = await restarter.rollout(world.ids[:3], SLOWLY, run_id="nightly").start()
            direct = [restarter.submit(each) for each in world.ids[3:]]
            await asyncio.sleep(0.5)
            await restarter.aclose(timeout)
            told = await asyncio.gather(rollout, *direct, return_exceptions=True)
            async with Restarter(client, store, clock=world.clock, seed=2) as again:
                return [*told, [(await each).status for each in await again.resume_orphans()]]

    *told, resumed = world.live(main)

    assert resumed == [RunStatus.SUCCEEDED]
    assert {type(each) for each in told} <= {EngineStopped, Result}
    assert [world.cloud.restarts(each) for each in world.ids[:3]] == [1, 1, 1]
