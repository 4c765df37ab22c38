"""A run of another process is paused, resumed, promoted, adjusted and aborted through the store alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from elsewhere import RUN, TWO_WAVES, Elsewhere, elsewhere, until_held
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import Invalid, NotHolder, RunConflict, RunNotFound
from ecsbatch.model import events as ev
from ecsbatch.model.conflicts import NotFollowed, RunOver
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.run import Changes
from ecsbatch.model.servers import Server
from ecsbatch.planning.strategy import make_plan
from ecsbatch.policy.resume_options import validate_resume
from ecsbatch.rollout.history import History
from ecsbatch.rollout.steering import Steering


def small() -> World:
    return World(servers=40, zones=("az1", "az2"), restart_median=20.0)


def test_a_run_of_another_process_is_steered_to_its_end() -> None:
    world = small()

    async def main() -> tuple[list[str], RunStatus, list[tuple[str, str]]]:
        async with elsewhere(world) as at:
            steering, stood = at.history.steer(RUN), list[str]()
            await until_held(at.rollout)
            await steering.pause("ann")
            stood.append(at.rollout.state.status.value)
            await steering.adjust("ann", max_unavailable=5, max_failures="10%")
            stood.append(str(at.rollout.state.limits["max_unavailable"]))
            await steering.resume("ann")
            stood.append(at.rollout.state.status.value)
            await steering.promote("bob")
            stood.append(str(at.rollout.state.promoted))
            result = await at.running
            steered = [
                (event.name, getattr(event, "by", getattr(event, "message", "")))
                async for each in at.history.follow(RUN)
                if isinstance(event := each.event, ev.RunPaused | ev.RunResumed | ev.LimitChanged | ev.GateChecked)
            ]
            return stood, result.status, steered

    stood, status, steered = world.live(main)

    assert stood == ["paused", "5", "running", "2"]
    assert status is RunStatus.SUCCEEDED
    assert steered == [
        ("gate.checked", ""),
        ("run.paused", "ann"),
        ("limit.changed", "ann"),
        ("limit.changed", "ann"),
        ("run.resumed", "ann"),
        ("gate.checked", "promoted by bob"),
    ]


def test_what_is_asked_twice_is_done_once_and_answered_at_once() -> None:
    """A service may have to send a request again whose answer it has lost."""
    world = small()

    async def main() -> tuple[list[int], float, int]:
        async with elsewhere(world) as at:
            steering, answers = at.history.steer(RUN), list[int]()
            await until_held(at.rollout)
            for ask in (
                steering.pause,
                lambda by: steering.adjust(by, max_failures=7),
                lambda by: steering.resume(by, forgive=True),
                steering.promote,
            ):
                answers.append(len(await ask("ann")))
                began = world.now()
                answers.append(len(await ask("ann")))
            took = world.now() - began
            asked = len(await at.store.commands(RUN))
            return answers, took, asked

    answers, took, asked = world.live(main)

    assert answers == [1, 0, 1, 0, 1, 0, 1, 0]
    assert took < 0.01
    assert asked == 4


@pytest.mark.parametrize("verb", ["pause", "promote", "resume", "adjust"])
@pytest.mark.parametrize(
    ("end", "error", "says"),
    [
        ("stopped", NotHolder, "No process is at run nightly (interrupted)"),
        ("over", RunConflict, "Run nightly is over (succeeded), so that there is nothing to "),
        ("aborted", RunOver, "Run nightly was aborted, which is final"),
        ("aborting", RunConflict, "Run nightly is being aborted, which is final: "),
    ],
)
def test_what_nobody_can_follow_is_refused_at_once(verb: str, end: str, error: type[RunConflict], says: str) -> None:
    world = small()

    async def main() -> tuple[RunConflict, float, int]:
        async with elsewhere(world, TWO_WAVES if end != "over" else Strategy(max_unavailable="100%")) as at:
            steering = at.history.steer(RUN)
            await (at.running if end == "over" else asyncio.sleep(10.0))
            if end == "stopped":
                at.rollout.stop()
                await at.running
            elif end in {"aborted", "aborting"}:
                at.rollout.abort("bob")
                await (asyncio.sleep(1.0) if end == "aborting" else at.running)
            began = world.now()
            with pytest.raises(error) as refused:
                await asks(steering, verb)()
            return refused.value, world.now() - began, len(await at.store.commands(RUN))

    refused, took, asked = world.live(main)

    assert str(refused).startswith(says)
    assert refused.run_id == RUN
    assert (took < 0.1, asked) == (True, 0)
    if isinstance(refused, NotHolder):
        assert (refused.status, refused.holder) == ("interrupted", "tester")
        assert ("`Restarter.resume` goes on with it" in str(refused)) is (verb == "resume")


def asks(steering: Steering, verb: str) -> Callable[[], Awaitable[Any]]:
    limits = {"max_failures": 1} if verb == "adjust" else {}
    return lambda: getattr(steering, verb)("ann", **limits)


@pytest.mark.parametrize(
    ("limits", "field", "says"),
    [
        ({"max_failures": "many"}, "max_failures", "many"),
        ({"max_failures": -1}, "max_failures", "-1"),
        ({"max_failures": None}, "max_failures", "max_failures = None: give a number of servers or a percentage."),
        ({"max_failures": 2.5}, "max_failures", "max_failures = 2.5: give a number of servers or a percentage."),
        ({"max_failures": True}, "max_failures", "max_failures = True: give a number of servers or a percentage."),
        ({"max_failures": 3, "soak": "5m"}, "soak", "soak is none of the limits max_unavailable, "),
        ({"waves": [1]}, "waves", "waves is none of the limits max_unavailable, "),
        ({}, "limits", "No limit is given."),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused_at_once(limits: dict[str, Any], field: str, says: str) -> None:
    """Its holder would ignore it in silence."""
    world = small()

    async def main() -> tuple[Invalid, int]:
        async with elsewhere(world) as at:
            await asyncio.sleep(5.0)
            with pytest.raises(Invalid) as refused:
                await at.history.steer(RUN).adjust("ann", **limits)
            return refused.value, len(await at.store.commands(RUN))

    refused, asked = world.live(main)

    assert says in str(refused)
    assert (refused.field, asked) == (field, 0)
    assert refused.value in [limits.get(field), None], "it is JSON as it came"


def test_a_resume_with_what_does_not_exist_is_refused_at_once() -> None:
    world = small()

    async def main() -> list[Invalid]:
        async with elsewhere(world) as at:
            await asyncio.sleep(5.0)
            steering, refused = at.history.steer(RUN), list[Invalid]()
            await steering.pause()
            for wrong in ({"retry": ["restarted"]}, {"retry": "failed"}, {"skip_domains": ["az9"]}):
                with pytest.raises(Invalid) as each:
                    await steering.resume("ann", **wrong)  # type: ignore[arg-type]
                refused.append(each.value)
            return refused

    assert [each.field for each in world.live(main)] == ["retry", "retry", "skip_domains"]


def test_who_skips_a_domain_of_a_run_that_knows_none_is_told_so() -> None:
    with pytest.raises(Invalid, match="'az9' is none of the run's, for it knows no domains of its servers"):
        validate_resume(make_plan([Server("a")], Strategy()), (), ["az9"])


def test_a_run_that_runs_cannot_be_resumed_with_changes_and_has_no_hold_to_pass() -> None:
    world = small()

    async def main() -> list[str]:
        async with elsewhere(world) as at:
            await asyncio.sleep(5.0)
            steering = at.history.steer(RUN)
            assert await steering.resume("ann") == ()
            with pytest.raises(RunConflict) as resumed:
                await steering.resume("ann", forgive=True)
            with pytest.raises(RunConflict) as promoted:
                await steering.promote("ann")
            return [str(resumed.value), str(promoted.value)]

    assert world.live(main) == [
        "Run nightly is running: only a paused run can be resumed with changes.",
        "Run nightly stands at no hold: it is running.",
    ]


def test_a_promotion_of_long_ago_is_no_answer_to_a_new_one() -> None:
    """Only what was asked a moment ago is taken for a request that was sent twice."""
    world = small()

    async def main() -> str:
        async with elsewhere(world, Strategy(waves="10,20,100%", max_unavailable=2, hold_after="1")) as at:
            await until_held(at.rollout)
            await at.history.steer(RUN).promote("ann")
            await asyncio.sleep(90.0)
            with pytest.raises(RunConflict) as refused:
                await at.history.steer(RUN).promote("ann")
            return str(refused.value)

    assert world.live(main) == "Run nightly stands at no hold: it is running."


def test_a_holder_that_does_not_follow_in_time_is_said_not_to_have() -> None:
    world = small()

    async def deaf() -> None:
        await asyncio.sleep(0)

    async def main() -> tuple[NotFollowed, float]:
        async with elsewhere(world) as at:
            await asyncio.sleep(5.0)
            at.rollout.follow_commands = deaf  # type: ignore[method-assign]
            began = world.now()
            with pytest.raises(NotFollowed) as refused:
                await at.history.steer(RUN).pause("ann")
            return refused.value, world.now() - began

    refused, took = world.live(main)

    assert 10.0 <= took < 10.5
    assert "has not followed within 10 s: pause is asked of its process (tester, pid" in str(refused)
    assert (refused.run_id, refused.holder, refused.command) == (RUN, "tester", "pause")


def test_what_is_asked_of_a_process_that_is_gone_is_asked_again_of_the_next() -> None:
    world = small()

    async def deaf() -> None:
        await asyncio.sleep(0)

    async def main() -> tuple[list[str], list[RunStatus]]:
        async with elsewhere(world) as at, world.restarter() as another:
            await until_held(at.rollout)
            at.rollout.follow_commands = deaf  # type: ignore[method-assign]
            asked = asyncio.create_task(at.history.steer(RUN).pause("ann"))
            await asyncio.sleep(1.0)
            at.running.cancel()
            await asyncio.wait([at.running])
            next_one = await (await another.resume(RUN)).start()
            told = await asked
            stood = [next_one.state.status]
            next_one.stop()
            return [recorded.as_dict()["by"] for recorded in told], stood

    assert world.live(main) == (["ann"], [RunStatus.PAUSED])


def test_a_run_that_ends_before_it_could_follow_says_how() -> None:
    world = small()

    async def main() -> list[str]:
        async with elsewhere(world) as at:
            await asyncio.sleep(5.1)
            steering = at.history.steer(RUN)
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(told(asks(steering, verb))) for verb in ("pause", "abort")]
                await asyncio.sleep(0.01)
                at.running.cancel()
            return [task.result() for task in asked]

    assert world.live(main) == [
        "No process is at run nightly (interrupted): there is nothing to pause before it is resumed.",
        "False",
    ]


async def told(ask: Callable[[], Awaitable[Any]]) -> str:
    try:
        return str(await ask())
    except RunConflict as e:
        return str(e)


def test_an_abort_is_true_once_it_is_on_record_whoever_has_asked() -> None:
    world = small()

    async def main() -> tuple[list[bool], int, int]:
        async with elsewhere(world) as at:
            await asyncio.sleep(10.0)
            steering = at.history.steer(RUN)
            aborted = [await steering.abort("ann"), await steering.abort("ann")]
            waiting = at.rollout.state.run.waiting
            await at.running
            aborted.append(await steering.abort("ann"))
            return aborted, waiting, len(await at.store.commands(RUN))

    aborted, waiting, asked = world.live(main)

    assert aborted == [True, True, True]
    assert (waiting, asked) == (30, 1)


def test_an_abort_of_a_run_that_nobody_holds_is_asked_once_and_followed_by_whoever_goes_on() -> None:
    world = small()

    async def leave() -> tuple[list[bool], str]:
        async with elsewhere(world) as at:
            await asyncio.sleep(10.0)
            at.rollout.stop()
            await at.running
            steering = at.history.steer(RUN)
            asked = [await steering.abort("ann"), await steering.abort("ann")]
            assert len(await at.store.commands(RUN)) == 1
            return asked, (await at.history.state(RUN)).aborted_by

    async def go_on() -> tuple[RunStatus, int]:
        async with world.restarter() as restarter:
            result = await (await restarter.resume(RUN, changes=Changes(by="bob"))).run()
            return result.status, result.counts[OutcomeKind.NOT_STARTED]

    assert world.live(leave) == ([False, False], "ann")
    assert world.live(go_on) == (RunStatus.ABORTED, 30)


def test_a_run_that_succeeded_cannot_be_aborted() -> None:
    world = small()

    async def main() -> str:
        async with elsewhere(world, Strategy(max_unavailable="100%")) as at:
            await at.running
            with pytest.raises(RunConflict) as refused:
                await at.history.steer().abort("ann")
            return str(refused.value)

    assert world.live(main) == "Run nightly is over already (succeeded)."


def test_which_run_is_meant_is_settled_when_it_is_asked() -> None:
    world = small()

    async def main() -> list[str]:
        async with world.store() as store:
            with pytest.raises(RunNotFound):
                await History(store).steer("nightly").pause()
        async with elsewhere(world, run_id="nightly-1") as at:
            await asyncio.sleep(5.0)
            await at.history.steer("nigh").pause()
            return [record.run_id for record in await at.history.runs("paused")]

    assert world.live(main) == ["nightly-1"]


def test_a_cancelled_request_leaves_what_it_asked_for() -> None:
    world = small()

    async def main() -> RunStatus:
        async with elsewhere(world) as at:
            await asyncio.sleep(5.0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await at.history.steer(RUN).pause("ann")
            await asyncio.sleep(1.0)
            return await status_of(at)

    assert world.live(main) is RunStatus.PAUSED


async def status_of(at: Elsewhere) -> RunStatus:
    return (await at.history.record(RUN)).status
