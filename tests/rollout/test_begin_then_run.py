"""A rollout is begun first, and goes on by itself: for whoever has to answer before it ends."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest
from world import World

from ecsbatch.audit.replay import audit
from ecsbatch.config.settings import Strategy
from ecsbatch.errors import ConfigError, EngineStopped, Invalid, RunConflict, SelectionError
from ecsbatch.model.events import RunPaused, RunResumed
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Changes, Result
from ecsbatch.model.servers import Server
from ecsbatch.rollout.rollout import Rollout

SLOWLY = Strategy(max_unavailable=2, waves="100%")


def test_it_is_stored_and_held_when_start_returns_and_goes_on_by_itself() -> None:
    world = World(servers=10)

    async def main() -> tuple[list[Any], Result]:
        async with world.restarter() as restarter:
            rollout = await restarter.rollout(world.ids, SLOWLY, run_id="nightly").start()
            record = await restarter.store.run("nightly")
            begun = [record.held, rollout.held, rollout.state.status, [each.run_id for each in restarter.rollouts]]
            result = await rollout
            return [*begun, restarter.rollouts, await rollout.result() is result], result

    told, result = world.live(main)

    assert told == [True, True, RunStatus.RUNNING, ["nightly"], (), True]
    assert result.status is RunStatus.SUCCEEDED


def test_a_conflict_is_raised_by_start_before_anything_is_sent() -> None:
    world = World(servers=10)

    async def main() -> list[str]:
        async with world.restarter() as restarter:
            first = await restarter.rollout(world.ids, SLOWLY, run_id="first").start()
            second = restarter.rollout(world.ids[5:], SLOWLY, run_id="second")
            with pytest.raises(RunConflict) as refused:
                await second.start()
            with pytest.raises(RunConflict):
                await second.result()
            await first
            # One that could not begin may be tried again.
            return [str(refused.value), (await second.run()).status.value]

    text, again = world.live(main)

    assert "belong to run first" in text
    assert again == "succeeded"


@pytest.mark.parametrize("servers", ["web-1", [], ["no server \x00"], [Server("\x00")]])
def test_what_is_wrong_with_the_servers_is_raised_by_start(servers: Any) -> None:
    world = World(servers=2)

    async def main() -> None:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(servers)
            with pytest.raises(SelectionError):
                await rollout.start()

    world.live(main)


@pytest.mark.parametrize("servers", [None, 7])
def test_what_is_no_list_of_servers_is_refused_at_once(servers: Any) -> None:
    world = World(servers=2)

    async def main() -> None:
        async with world.restarter() as restarter:
            with pytest.raises(SelectionError, match="is no list of servers: give a list"):
                restarter.rollout(servers)

    world.live(main)


@pytest.mark.parametrize("run_id", ["../x y", "x" * 65, 7])
def test_an_id_that_no_run_can_have_is_invalid_by_its_name(run_id: Any) -> None:
    world = World(servers=2)

    async def main() -> Invalid:
        async with world.restarter() as restarter:
            with pytest.raises(Invalid, match="give up to 64 letters, digits, dots, dashes") as refused:
                await restarter.rollout(world.ids, run_id=run_id).start()
            return refused.value

    refused = world.live(main)
    assert (refused.field, refused.value) == ("run_id", run_id)


def test_who_has_joined_a_server_of_a_rollout_hears_how_it_stands_when_the_engine_is_closed() -> None:
    world = World(servers=2)

    async def main() -> list[Any]:
        async with world.restarter() as restarter:
            await restarter.rollout(world.ids[:1]).start()
            asked = [asyncio.create_task(restarter.restart(each)) for each in world.ids]
            await asyncio.sleep(20)
            await restarter.aclose(timeout=1)
            return await asyncio.gather(*asked, return_exceptions=True)

    joined, alone = world.live(main)

    assert (joined.kind, joined.reason) == ("unknown", "in_flight")
    assert isinstance(alone, EngineStopped)


def test_cancelling_who_waits_ends_the_waiting_alone_and_cancelling_run_interrupts() -> None:
    world = World(servers=10)

    async def main() -> list[Any]:
        async with world.restarter() as restarter:
            rollout = await restarter.rollout(world.ids, SLOWLY).start()
            waiting = asyncio.ensure_future(rollout.result())
            await asyncio.sleep(1)
            waiting.cancel()
            await asyncio.wait([waiting])
            told = [waiting.cancelled(), rollout.held, (await rollout).status]
            other = restarter.rollout(world.ids, SLOWLY)
            running = asyncio.ensure_future(other.run())
            await asyncio.sleep(1)
            running.cancel()
            await asyncio.wait([running])
            return [*told, running.cancelled(), other.held, other.state.status, other.state.reason]

    told = world.live(main)

    assert told == [True, True, RunStatus.SUCCEEDED, True, False, RunStatus.INTERRUPTED, "cancelled"]


def test_it_is_begun_once_and_result_wants_a_begin() -> None:
    world = World(servers=4)

    async def main() -> list[str]:
        said: list[str] = []
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, SLOWLY, run_id="nightly")
            for ask in (rollout.result, rollout.start, rollout.start, rollout.run, rollout.result):
                try:
                    await ask()
                except ConfigError as e:
                    said.append(str(e))
        return said

    unbegun, *twice = world.live(main)

    assert unbegun == "Run nightly was not begun here: await its `start` first."
    assert len(twice) == 2
    assert {text.partition(":")[0] for text in twice} == {"Run nightly was begun by an earlier call of this rollout"}


def test_closing_the_engine_leaves_a_begun_rollout_resumable_and_its_waiters_hear_so() -> None:
    world = World(servers=10)

    async def main() -> Result:
        async with world.restarter() as restarter:
            rollout = await restarter.rollout(world.ids, SLOWLY).start()
            await asyncio.sleep(1)
        return await rollout.result()

    result = world.live(main)

    assert (result.status, result.reason) == (RunStatus.INTERRUPTED, "closed")


ASKER: contextvars.ContextVar[str] = contextvars.ContextVar("ASKER", default="nobody")


def test_checks_gates_and_hearers_see_the_context_variables_of_whoever_asked() -> None:
    world = World(servers=4)
    seen: dict[str, set[str]] = {"check": set(), "gate": set(), "event": set()}

    async def check(_: Server) -> bool:
        seen["check"].add(ASKER.get())
        return True

    async def gate(_: object) -> str:
        seen["gate"].add(ASKER.get())
        return "go"

    async def main() -> None:
        async with world.restarter() as restarter:
            ASKER.set("request 7")
            rollout = restarter.rollout(
                world.ids,
                Strategy(waves=["2", "100%"]),
                check=check,
                gate=gate,  # type: ignore[arg-type]  # a str of the right words
                on_event=lambda _: seen["event"].add(ASKER.get()),
            )
            await rollout.start()
            ASKER.set("somebody else")
            await rollout

    world.live(main)

    assert seen == {"check": {"request 7"}, "gate": {"request 7"}, "event": {"request 7"}}


@pytest.mark.parametrize("fault", [ValueError("a bug of the host"), asyncio.CancelledError(), GeneratorExit()])
def test_on_event_hears_each_event_once_in_order_and_one_that_fails_is_reported_and_ends_nothing(
    fault: BaseException,
) -> None:
    world = World(servers=6)
    heard: list[Recorded] = []
    reported: list[str] = []

    def hear(recorded: Recorded) -> None:
        heard.append(recorded)
        if recorded.seq == 3:
            raise fault

    async def main() -> list[Recorded]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(str(context["message"])))
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, SLOWLY, run_id="nightly", on_event=hear)
            await rollout.run()
            return [recorded async for recorded in rollout.events()]

    stored = world.live(main)

    assert heard == stored
    assert reported == ["on_event has failed on event 3 of run nightly"]


def test_on_event_that_would_have_to_be_awaited_is_refused() -> None:
    world = World(servers=1)

    async def later(_: Recorded) -> None:
        """Take its time."""

    async def main() -> None:
        async with world.restarter() as restarter:
            for wrong in (later, 7):
                with pytest.raises(ConfigError, match="no plain function"):
                    restarter.rollout(world.ids, on_event=wrong)  # type: ignore[arg-type]

    world.live(main)


# -- orphans -----------------------------------------------------------------------------------------------------------


def test_who_starts_anew_goes_on_with_what_its_process_has_left_and_with_nothing_else() -> None:
    world = World(servers=50)
    ids = {f"run-{n}": world.ids[n * 10 : n * 10 + 10] for n in range(5)}

    async def first() -> None:
        async with world.restarter() as restarter:
            rollouts = {name: await restarter.rollout(each, SLOWLY, run_id=name).start() for name, each in ids.items()}
            await asyncio.sleep(2)
            rollouts["run-0"].stop("interrupted", "Somebody wanted that.")
            rollouts["run-1"].pause("an operator")
            rollouts["run-2"].abort("an operator")
            await rollouts["run-0"]
            await rollouts["run-2"]

    async def second() -> dict[str, Any]:
        async with world.restarter() as restarter:
            taken = await restarter.resume_orphans()
            await asyncio.sleep(600)
            told: dict[str, Any] = {each.run_id: each.state.status for each in taken}
            [paused] = [each for each in taken if each.run_id == "run-1"]
            told["paused by"] = paused.state.paused_by
            paused.resume("an operator")
            told["in the end"] = {(await each).status for each in taken}
            return told

    world.live(first)
    told = world.live(second)

    assert told == {
        "run-1": RunStatus.PAUSED,
        "run-3": RunStatus.SUCCEEDED,
        "run-4": RunStatus.SUCCEEDED,
        "paused by": "an operator",
        "in the end": {RunStatus.SUCCEEDED},
    }
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_a_pause_outlives_a_kill_and_a_person_ends_it_by_going_on() -> None:
    world = World(servers=10)

    async def first() -> None:
        async with world.restarter() as restarter:
            rollout = await restarter.rollout(world.ids, SLOWLY, run_id="nightly").start()
            await asyncio.sleep(2)
            rollout.pause("an operator")
            await asyncio.sleep(3600)

    async def orphaned() -> list[Any]:
        async with world.restarter() as restarter:
            [rollout] = await restarter.resume_orphans()
            await asyncio.sleep(100)
            return [rollout.state.status, rollout.state.run.in_flight]

    async def person() -> tuple[Result, list[Recorded], bool]:
        async with world.restarter() as restarter:
            rollout = await restarter.resume("nightly", changes=Changes(by="an operator"))
            result = await rollout.run()
            events = [each async for each in rollout.events()]
            return result, events, audit(events, rollout.plan.fleet).ok

    def killed(main: Any, after: int) -> None:
        with pytest.raises(BaseException, match="killed"):
            world.live(main, kill_after=after)

    killed(first, 400)
    assert world.live(orphaned) == [RunStatus.PAUSED, 0]
    result, events, proven = world.live(person)

    assert (result.status, proven) == (RunStatus.SUCCEEDED, True)
    paused = [each.event for each in events if isinstance(each.event, RunPaused)]
    assert [each.by for each in paused] == ["an operator"] * 2
    assert sum(isinstance(each.event, RunResumed) for each in events) == 1


def test_a_paused_orphan_that_somebody_has_aborted_is_shown_as_one_that_ends() -> None:
    world = World(servers=10)

    async def first() -> None:
        async with world.restarter() as restarter:
            rollout = await restarter.rollout(world.ids, SLOWLY, run_id="nightly").start()
            await asyncio.sleep(2)
            rollout.pause("an operator")
            await asyncio.sleep(3600)

    async def second() -> list[Any]:
        async with world.restarter() as restarter:
            await restarter.store.command("nightly", {"command": "abort"}, "another")
            [rollout] = await restarter.resume_orphans()
            stored = (await restarter.store.run("nightly")).status
            return [stored, rollout.state.status, rollout.state.aborted_by, (await rollout).status]

    with pytest.raises(BaseException, match="killed"):
        world.live(first, kill_after=400)

    stored, shown, *rest = world.live(second)

    assert stored is shown
    assert rest == ["another", RunStatus.ABORTED]


def test_one_orphan_is_taken_by_one_of_two_that_start_at_once() -> None:
    world = World(servers=10)

    async def first() -> None:
        async with world.restarter() as restarter:
            await restarter.rollout(world.ids, SLOWLY, run_id="nightly").start()
            await asyncio.sleep(2)

    async def both() -> list[int]:
        async with world.restarter() as one, world.restarter() as other:
            taken = await asyncio.gather(one.resume_orphans(), other.resume_orphans())
            await asyncio.gather(*(each for rollouts in taken for each in rollouts))
            return sorted(map(len, taken))

    world.live(first)

    assert world.live(both) == [0, 1]
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_an_orphan_that_needs_a_callable_is_named_and_holds_up_no_other() -> None:
    world = World(servers=20)

    async def healthy(_: Server) -> bool:
        return True

    async def first() -> None:
        async with world.restarter() as restarter:
            await restarter.rollout(world.ids[:10], SLOWLY, run_id="checked", check=healthy).start()
            await restarter.rollout(world.ids[10:], SLOWLY, run_id="plain").start()
            await asyncio.sleep(2)

    async def without() -> tuple[ExceptionGroup[Exception], list[Rollout]]:
        async with world.restarter() as restarter:
            with pytest.raises(ExceptionGroup) as failed:
                await restarter.resume_orphans()
            going = list(restarter.rollouts)
            await asyncio.gather(*going)
            return failed.value, going

    async def given() -> list[str]:
        async with world.restarter() as restarter:
            return [(await each).run_id for each in await restarter.resume_orphans(check=healthy)]

    world.live(first)
    group, going = world.live(without)

    assert str(group.exceptions[0]).startswith("Run checked was planned with a check of its own program")
    assert [each.run_id for each in going] == ["plain"]
    assert world.live(given) == ["checked"]


def test_a_run_that_somebody_has_stopped_and_then_broken_off_is_no_orphan() -> None:
    world = World(servers=10)

    async def first() -> tuple[str, str]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, SLOWLY, run_id="nightly")
            running = asyncio.ensure_future(rollout.run())
            await asyncio.sleep(2)
            rollout.stop("interrupted", "Stopped by SIGINT.")
            running.cancel()
            await asyncio.wait([running])
            return rollout.state.reason, rollout.state.message

    async def second() -> list[Rollout]:
        async with world.restarter() as restarter:
            return await restarter.resume_orphans()

    assert world.live(first) == ("interrupted", "Stopped by SIGINT.")
    assert world.live(second) == []


# -- progress ----------------------------------------------------------------------------------------------------------


def test_progress_is_a_value_and_says_how_it_stands_from_before_the_begin_to_behind_the_end() -> None:
    world = World(servers=10)

    async def main() -> list[tuple[str, int]]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, SLOWLY)
            seen = [rollout.progress]
            await rollout.start()
            await asyncio.sleep(20)
            seen.append(rollout.progress)
            rollout.stop("interrupted", "Enough for today.")
            seen.append(rollout.progress)
            await rollout
            seen.append(rollout.progress)
            again = await restarter.resume(rollout.run_id)
            await again.run()
            seen.append(again.progress)
            return [(each.standing.word, each.servers.in_flight) for each in seen]

    told = world.live(main)

    assert [word for word, _ in told] == ["starting", "running", "stopping", "interrupted", "succeeded"]
    assert [flying for _, flying in told] == [0, 2, 2, 2, 0]
