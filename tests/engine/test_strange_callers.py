"""Strange callers: they cancel, call twice, close, come from elsewhere, and end what is not theirs.

Whatever they do, nobody waits for ever, and everybody who still waits hears the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from strangers import ALL_AT_ONCE, TWO_WAVES, ending, hanging, resumed
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import ConfigError, EngineStopped, RunConflict
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.run import Result
from ecsbatch.restarter import Restarter
from ecsbatch.simulator.config import Faults
from ecsbatch.store import DatabaseStore, open_store

# -- callers -----------------------------------------------------------------------------------------------------


def test_a_caller_may_cancel_or_fill_its_future_and_the_others_hear_their_outcome() -> None:
    world = World(servers=4)

    async def main() -> list[Any]:
        async with world.restarter() as restarter:
            filled, failed, cancelled, good = [restarter.submit(server) for server in world.ids]
            joined = [restarter.submit(server) for server in world.ids]
            await asyncio.sleep(5)
            filled.set_result(None)  # type: ignore[arg-type]
            failed.set_exception(RuntimeError("mine"))
            cancelled.cancel()
            again = restarter.submit(world.ids[0])
            both = await asyncio.gather(ending(good), ending(good), ending(again))
            assert isinstance(failed.exception(), RuntimeError)
            return [*both, *[await ending(each) for each in joined]]

    heard = world.live(main)

    assert {outcome.kind for outcome in heard} == {OutcomeKind.RESTARTED}
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.parametrize("steps", range(0, 60, 3))
@pytest.mark.parametrize("between", [0, 1, 2])
def test_a_run_that_is_cancelled_twice_at_any_instant_can_be_resumed(steps: int, between: int) -> None:
    """The first steps are those of its beginning."""
    world = World(servers=5)

    async def main() -> None:
        async with world.restarter() as restarter:
            running = asyncio.ensure_future(restarter.rollout(world.ids, ALL_AT_ONCE, run_id="nightly").run())
            for _ in range(steps):
                await asyncio.sleep(0)
            running.cancel()
            for _ in range(between):
                await asyncio.sleep(0)
            running.cancel()
            assert isinstance(await ending(running), asyncio.CancelledError)

    async def again() -> Result:
        async with world.restarter() as restarter:
            return await ending(restarter.rollout(world.ids, ALL_AT_ONCE, run_id="nightly").run())

    world.live(main)
    result = world.live(again)

    assert (result.status, result.counts[OutcomeKind.RESTARTED]) == (RunStatus.SUCCEEDED, 5)
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.real
@pytest.mark.parametrize("begun", [False, True], ids=["created", "taken-over"])
def test_a_run_that_is_cancelled_while_the_store_works_is_let_go_of(tmp_path: Path, begun: bool) -> None:  # noqa: FBT001 - the table's
    """With the store's own thread, in real time: a lease is on its way while its taker is cancelled."""

    async def main() -> list[bool]:
        held: list[bool] = []
        world = World(servers=3)
        async with (
            world.client() as client,
            open_store(f"sqlite:///{tmp_path / 'runs.db'}") as store,
            Restarter(client, store) as restarter,
        ):
            for i in range(30):
                rollout = restarter.rollout(
                    ["a"] if begun else [f"s{i}"], ALL_AT_ONCE, run_id="a" if begun else f"r{i}"
                )
                running = asyncio.ensure_future(rollout.run())
                await asyncio.sleep(i / 3000)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                held += [run.held for run in await store.runs() if run.kind == "rollout"]
        return held

    assert not any(asyncio.run(main()))


@pytest.mark.parametrize("later", [0.0, 0.3, 20.0])
def test_a_rollout_that_is_run_twice_refuses_the_second_and_the_first_goes_on(later: float) -> None:
    world = World(servers=5)

    async def main() -> tuple[Any, Any, Any]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE)
            first = asyncio.ensure_future(rollout.run())
            await asyncio.sleep(later)
            second = await ending(rollout.run())
            result = await ending(first)
            return second, result, await ending(rollout.run())

    second, first, third = world.live(main)

    assert {type(second), type(third)} == {ConfigError}
    assert "earlier call" in str(second)
    assert (first.status, first.counts[OutcomeKind.RESTARTED]) == (RunStatus.SUCCEEDED, 5)


def test_a_second_rollout_of_the_same_run_is_refused_and_the_first_goes_on() -> None:
    world = World(servers=5)

    async def main() -> tuple[Any, Any]:
        async with world.restarter() as restarter:
            first = asyncio.ensure_future(restarter.rollout(world.ids, ALL_AT_ONCE, run_id="nightly").run())
            await asyncio.sleep(5)
            second = await ending(restarter.rollout(world.ids, ALL_AT_ONCE, run_id="nightly").run())
            return second, await ending(first)

    second, first = world.live(main)

    assert isinstance(second, RunConflict)
    assert first.status is RunStatus.SUCCEEDED


def test_who_could_not_begin_may_try_again() -> None:
    world = World(servers=5)

    async def main() -> tuple[Any, Any]:
        async with world.restarter() as restarter:
            first = asyncio.ensure_future(restarter.rollout(world.ids, ALL_AT_ONCE).run())
            await asyncio.sleep(5)
            other = restarter.rollout(world.ids, ALL_AT_ONCE)
            refused = await ending(other.run())
            await first
            return refused, await ending(other.run())

    refused, result = world.live(main)

    assert isinstance(refused, RunConflict)
    assert result.counts[OutcomeKind.RESTARTED] == 5


# -- who ends the engine -----------------------------------------------------------------------------------------


def strike_all(_: str) -> None:
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()


def strike_one(name: str) -> None:
    for task in asyncio.all_tasks():
        if task.get_name() == name:
            task.cancel()


WORKERS = [
    "ecsbatch-engine",
    "site-",
    "steer",
    "producer",
    "submitter",
    "poller",
    "health",
    "precheck",
    "pack",
    "submit-0",
    "poll",
    "follow-up",
    "look-0",
    "check",
    "visit",
]


@pytest.mark.parametrize("seconds", [0.1, 5.0])
@pytest.mark.parametrize("name", WORKERS)
def test_whichever_task_of_the_engine_a_stranger_cancels_everybody_hears_it(name: str, seconds: float) -> None:
    world = World(servers=10)

    async def main() -> tuple[Any, Any]:
        async with world.restarter() as restarter:
            asked = restarter.submit(world.ids[0])
            running = asyncio.ensure_future(restarter.rollout(world.ids[1:], ALL_AT_ONCE).run())
            await asyncio.sleep(seconds)
            strike_one(name)
            return await ending(asked), await ending(running)

    asked, ran = world.live(main)

    assert (type(asked), type(ran)) == (EngineStopped, EngineStopped)
    assert "cancelled from outside" in str(ran)
    assert resumed(world).status is RunStatus.SUCCEEDED
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.parametrize("seconds", [0.0, 0.55, 5.0])
def test_a_stranger_who_cancels_all_tasks_leaves_nobody_waiting(seconds: float) -> None:
    world = World(servers=10)

    async def main() -> tuple[Any, Any]:
        async with world.restarter() as restarter:
            asked = restarter.submit(world.ids[0])
            running = asyncio.ensure_future(restarter.rollout(world.ids[1:], ALL_AT_ONCE).run())
            await asyncio.sleep(seconds)
            strike_all("")
            heard = await ending(asked), await ending(running)
            with pytest.raises(EngineStopped):
                restarter.submit(world.ids[0])
            return heard

    asked, ran = world.live(main)

    assert isinstance(asked, EngineStopped)
    assert isinstance(ran, EngineStopped | asyncio.CancelledError)


def test_a_run_that_waits_for_its_gate_hears_that_the_engine_has_ended() -> None:
    world = World(servers=5)

    async def main() -> tuple[Any, float]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, TWO_WAVES, gate=hanging)  # type: ignore[arg-type]
            running = asyncio.ensure_future(rollout.run())
            await asyncio.sleep(200)
            assert rollout.state.wave_over == 1
            strike_one("ecsbatch-engine")
            since = world.now()
            return await ending(running), world.now() - since

    heard, seconds = world.live(main)

    assert isinstance(heard, EngineStopped)
    assert seconds < 5


# -- entering and closing ----------------------------------------------------------------------------------------


def test_an_engine_is_entered_once() -> None:
    world = World(servers=1)

    async def main() -> int:
        async with world.client() as client, world.store() as store:
            engine = Restarter(client, store, clock=world.clock)
            async with engine:
                with pytest.raises(ConfigError, match="started before"):
                    await engine.__aenter__()
                assert (await engine.restart(world.ids[0])).kind is OutcomeKind.RESTARTED
            with pytest.raises(ConfigError, match="started before"):
                await engine.__aenter__()
        await asyncio.sleep(1)
        return len([task for task in asyncio.all_tasks() if task is not asyncio.current_task()])

    assert world.live(main) == 0


def test_an_engine_is_used_in_its_own_loop() -> None:
    world = World(servers=3)

    async def main() -> list[str]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE)

            async def elsewhere(call: Callable[[], Any]) -> None:
                await call()

            def from_a_thread() -> list[str]:
                said: list[str] = []
                calls = [rollout.run, restarter.usage, restarter.resume, restarter.aclose]
                for call in calls:
                    with pytest.raises(ConfigError) as refused:
                        asyncio.run(elsewhere(call))
                    said.append(str(refused.value))
                for plainly in (lambda: restarter.submit(world.ids[0]), lambda: restarter.rollout(world.ids)):
                    with pytest.raises(ConfigError) as refused:
                        plainly()
                    said.append(str(refused.value))
                return said

            with ThreadPoolExecutor(1) as other:
                said = other.submit(from_a_thread).result()
            assert (await rollout.run()).status is RunStatus.SUCCEEDED
            return said

    said = world.live(main)

    assert len(said) == 6
    assert all("another event loop" in each for each in said)


def test_closing_waits_for_a_silent_cloud_no_longer_than_it_is_told_to() -> None:
    world = World(servers=200, submit_faults=Faults(lost_reply=1.0))

    async def main() -> tuple[float, list[Any], Any]:
        async with world.restarter() as restarter:
            asked = [restarter.submit(server) for server in world.ids[:50]]
            patient = Strategy(max_unavailable="100%", waves="100%")
            running = asyncio.ensure_future(restarter.rollout(world.ids[50:], patient, run_id="nightly").run())
            await asyncio.sleep(3)
            since = world.now()
            await restarter.aclose()
            took = world.now() - since
            return took, [await ending(each) for each in asked], await ending(running)

    took, asked, ran = world.live(main)

    assert took < 8
    assert {type(each) for each in asked} == {EngineStopped}
    assert (ran.status, ran.reason) == (RunStatus.INTERRUPTED, "closed")
    assert resumed(world).counts[OutcomeKind.RESTARTED] == 150
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_who_closes_while_it_is_being_closed_waits_for_the_same_end() -> None:
    world = World(servers=50, submit_faults=Faults(lost_reply=1.0))

    async def main() -> list[Any]:
        async with world.restarter() as restarter:
            asked = restarter.submit(world.ids[0])
            await asyncio.sleep(3)
            first = asyncio.ensure_future(restarter.aclose(timeout=2.0))
            second = asyncio.ensure_future(restarter.aclose())
            await second
            closed = [first.done() or second.done(), repr(restarter)]
            await restarter.aclose()
            return [*closed, await ending(asked)]

    done, shown, heard = world.live(main)

    assert done
    assert "<Restarter closed" in shown
    assert isinstance(heard, EngineStopped)


def test_closing_that_is_cancelled_leaves_nobody_waiting() -> None:
    world = World(servers=50, submit_faults=Faults(lost_reply=1.0))

    async def main() -> tuple[Any, list[str]]:
        async with world.restarter() as restarter:
            asked = restarter.submit(world.ids[0])
            await asyncio.sleep(3)
            closing = asyncio.ensure_future(restarter.aclose())
            await asyncio.sleep(1)
            closing.cancel()
            await asyncio.sleep(0)
            closing.cancel()
            await ending(closing)
            heard = await ending(asked)
            await asyncio.sleep(5)
            return heard, [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    heard, left = world.live(main)

    assert isinstance(heard, EngineStopped)
    assert left == []


def test_a_block_that_is_left_by_an_error_raises_that_error() -> None:
    world = World(servers=5)

    async def main() -> tuple[Any, Any]:
        asked: asyncio.Future[Outcome] | None = None
        try:
            async with world.restarter() as restarter:
                asked = restarter.submit(world.ids[0])
                await asyncio.sleep(2)
                raise KeyError("mine")  # noqa: TRY301 - the test's subject
        except KeyError as e:
            assert asked is not None
            return e, await ending(asked)

    error, heard = world.live(main)

    assert error.args == ("mine",)
    assert isinstance(heard, EngineStopped)


# -- commands ----------------------------------------------------------------------------------------------------


GARBAGE: list[Any] = [
    [1, 2],
    "abort",
    None,
    {},
    {"command": ["abort"]},
    {"command": "adjust", "limits": 7},
    {"command": "adjust", "limits": {"max_unavailable": None}},
    {"command": "adjust", "limits": {"by": "me", "self": 1}},
    {"command": "resume", "retry": 7},
    {"command": "resume", "skip_domains": {"a": 1}, "forgive": "no"},
    {"command": "resume", "retry": [["failed"]]},
]


def test_garbage_among_commands_changes_nothing_and_the_next_one_is_followed() -> None:
    world = World(servers=20)

    async def main() -> tuple[Any, str, Any]:
        async with world.restarter() as restarter:
            asked = restarter.submit(world.ids[0])
            strategy = Strategy(max_unavailable=2, waves="100%")
            rollout = restarter.rollout(world.ids[1:], strategy, run_id="nightly")
            running = asyncio.ensure_future(rollout.run())
            await asyncio.sleep(2)
            rollout.pause()
            await asyncio.sleep(1)
            for body in GARBAGE:
                await restarter.store.command("nightly", body, "stranger")  # type: ignore[attr-defined]
            await asyncio.sleep(5)
            status = str(rollout.state.status)
            await restarter.store.command("nightly", {"command": "resume"}, "ann")  # type: ignore[attr-defined]
            return await ending(asked), status, await ending(running)

    asked, status, ran = world.live(main)

    assert (asked.kind, status, ran.status) == (OutcomeKind.RESTARTED, "paused", RunStatus.SUCCEEDED)


def test_a_read_of_commands_that_fails_ends_nothing() -> None:
    world = World(servers=20)

    class Forgetful:
        """A store whose commands cannot be read at times."""

        def __init__(self, store: DatabaseStore) -> None:
            self._store, self._reads = store, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        async def commands(self, run_id: str, after: int = 0) -> Any:
            self._reads += 1
            if 2 < self._reads < 20:
                raise RuntimeError("the disk is busy")
            return await self._store.commands(run_id, after)

    async def main() -> tuple[Any, Any]:
        async with (
            world.client() as client,
            world.store() as store,
            Restarter(client, Forgetful(store), clock=world.clock) as restarter,
        ):  # type: ignore[arg-type]
            asked = restarter.submit(world.ids[0])
            running = asyncio.ensure_future(restarter.rollout(world.ids[1:], ALL_AT_ONCE).run())
            return await ending(asked), await ending(running)

    asked, ran = world.live(main)

    assert (asked.kind, ran.status) == (OutcomeKind.RESTARTED, RunStatus.SUCCEEDED)
