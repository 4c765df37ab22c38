"""An abort outlives whoever was told of it: whatever becomes of its holder, nothing is sent by a later one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest
from world import LateStore, World, Wrapper

from ecsbatch.audit.receipt import Receipt
from ecsbatch.audit.replay import audit
from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import AuthError, EngineStopped, NotHolder
from ecsbatch.model import events as ev
from ecsbatch.model.conflicts import RunOver
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.recorded import decode
from ecsbatch.model.run import Changes, Result
from ecsbatch.model.servers import Job, Server
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.simulator.cloud import CloudConfig, SimulatedCloud
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.simulator.virtual_time import Killed

TWO_AT_A_TIME = Strategy(waves="100%", max_unavailable=20, batch_size=10)
RUN = "r"


def begun(world: World, restarter: Restarter) -> Rollout:
    return restarter.rollout(world.ids, TWO_AT_A_TIME, run_id=RUN)


async def resumed(world: World, restarter: Restarter, way: str) -> Rollout:
    return begun(world, restarter) if way == "same id" else await restarter.resume(RUN)


def finish(world: World, way: str) -> tuple[Result, int]:
    """Go on with the run in another process; return how it ended and how many servers the cloud restarted in all."""

    async def main() -> Result:
        async with world.restarter() as restarter:
            return await (await resumed(world, restarter, way)).run()

    return world.live(main), sum(world.cloud.restarts(id_) for id_ in world.ids)


@pytest.mark.parametrize("way", ["resume", "same id"])
@pytest.mark.parametrize("end", ["killed", "stopped", "cancelled"])
def test_an_acknowledged_abort_outlives_its_holder(end: str, way: str) -> None:
    world = World(servers=60, zones=("az1",), restart_median=40.0)

    async def main() -> None:
        async with world.restarter() as restarter:
            rollout = begun(world, restarter)
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(10)
            await restarter.store.command(RUN, {"command": "abort"}, "bob@desk")  # type: ignore[attr-defined]
            while not rollout.state.aborting:  # noqa: ASYNC110 - what is waited for is no event
                await asyncio.sleep(0.1)
            assert rollout.state.run.in_flight == 20
            if end == "killed":
                asyncio.get_running_loop().kill_after(0)  # type: ignore[attr-defined]  # the virtual loop's
                await asyncio.sleep(1)
            if end == "stopped":
                rollout.stop()
                assert (await running).status is RunStatus.INTERRUPTED
            else:
                running.cancel()
                await asyncio.wait([running])

    if end == "killed":
        with pytest.raises(Killed):
            world.live(main)
    else:
        world.live(main)
    result, restarted = finish(world, way)

    assert result.status is RunStatus.ABORTED
    assert restarted == 20
    assert result.counts[OutcomeKind.RESTARTED] == 20
    assert result.counts[OutcomeKind.NOT_STARTED] == 40


@pytest.mark.parametrize("way", ["resume", "same id"])
def test_an_abort_that_its_holder_died_before_reading_is_followed_by_the_next(way: str) -> None:
    world = World(servers=60, zones=("az1",), restart_median=40.0)

    async def main() -> None:
        async with world.restarter() as restarter:
            rollout = begun(world, restarter)
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(10)
            await restarter.store.command(RUN, {"command": "abort"}, "bob@desk")  # type: ignore[attr-defined]
            running.cancel()
            await asyncio.wait([running])

    world.live(main)
    result, restarted = finish(world, way)

    assert (result.status, restarted) == (RunStatus.ABORTED, 20)
    assert "bob@desk" in result.message


@pytest.mark.parametrize("asked", [[], {"command": ["abort"]}, {"command": "pause"}, "abort", None])
def test_another_command_that_nobody_read_is_not_followed_by_the_next_holder(asked: Any) -> None:
    world = World(servers=20, zones=("az1",))

    async def main() -> None:
        async with world.restarter() as restarter:
            running = asyncio.create_task(begun(world, restarter).run())
            await asyncio.sleep(10)
            await restarter.store.command(RUN, asked, "bob@desk")  # type: ignore[attr-defined]
            running.cancel()
            await asyncio.wait([running])

    world.live(main)
    result, restarted = finish(world, "resume")

    assert (result.status, restarted) == (RunStatus.SUCCEEDED, 20)


def test_an_abort_of_a_run_that_was_over_is_not_followed_when_its_failures_are_retried() -> None:
    world = World(servers=20, zones=("az1",), fail_rate=0.5, fail_to_error=0.0)
    forgiving = Strategy(waves="100%", max_unavailable="100%", max_failures="100%", max_failures_per_wave="100%")

    async def main() -> tuple[Result, Result]:
        async with world.restarter() as restarter:
            first = await restarter.rollout(world.ids, forgiving, run_id=RUN).run()
            await restarter.store.command(RUN, {"command": "abort"}, "bob@desk")  # type: ignore[attr-defined]
            again = await restarter.resume(RUN, changes=Changes(retry=["failed"]))
            return first, await again.run()

    first, again = world.live(main)
    assert first.counts[OutcomeKind.FAILED]
    assert first.status is RunStatus.FAILED
    assert again.status is not RunStatus.ABORTED
    assert sum(world.cloud.restarts(id_) for id_ in world.ids) > 20


def test_an_aborting_run_is_not_resumed_with_anything_more() -> None:
    world = World(servers=40, zones=("az1",), restart_median=100.0)

    async def main() -> None:
        async with world.restarter() as restarter:
            rollout = begun(world, restarter)
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(10)
            rollout.abort("bob")
            rollout.stop()
            await running
            with pytest.raises(RunOver):
                await (await restarter.resume(RUN, changes=Changes(retry=["failed"]))).run()

    world.live(main)


def test_a_run_aborted_while_the_cloud_cannot_be_seen_ends_aborted_and_what_was_under_way_is_unknown() -> None:
    world = World(servers=40, zones=("az1",), restart_median=30.0, outages=((12.0, 5000.0),))

    async def main() -> tuple[Result, list[ev.Event]]:
        async with world.restarter(Engine(blind_timeout=60.0)) as restarter:
            rollout = begun(world, restarter)
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(15)
            rollout.abort("bob")
            result = await running
            return result, [recorded.event for recorded in await restarter.store.events(RUN)]

    result, told = world.live(main)
    ended = [event for event in told if isinstance(event, ev.ServerUnknown)]

    assert result.status is RunStatus.ABORTED
    assert (result.counts[OutcomeKind.UNKNOWN], result.counts[OutcomeKind.NOT_STARTED]) == (20, 20)
    assert {event.reason for event in ended} == {"cloud_unreachable"}
    assert world.now() < 200


def test_what_is_paused_can_be_aborted_and_what_is_aborting_is_neither_paused_nor_resumed() -> None:
    world = World(servers=40, zones=("az1",), restart_median=60.0)

    async def main() -> tuple[Result, list[str]]:
        async with world.restarter() as restarter:
            rollout = begun(world, restarter)
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(10)
            for word in (rollout.pause, rollout.abort, rollout.resume, rollout.pause):
                word()
            result = await running
            names = [recorded.event.name for recorded in await restarter.store.events(RUN)]
            return result, [name for name in names if name.startswith("run.")]

    result, told = world.live(main)
    assert result.status is RunStatus.ABORTED
    assert told == ["run.started", "run.paused", "run.aborting", "run.finished"]


@pytest.mark.parametrize("after", [0.0, 0.9, 1.2, 1.9])
def test_an_abort_that_comes_while_the_runs_stop_is_on_its_way_is_followed(after: float) -> None:
    """A gate has said stop, and the store takes a second for each write."""
    world = World(servers=10, zones=("az1",))

    async def stop(_: object) -> str:
        return "stop"

    async def main() -> tuple[RunStatus, RunStatus]:
        async with (
            world.client() as client,
            world.store() as store,
            world.engine(client, LateStore(store)) as restarter,
        ):
            rollout = restarter.rollout(world.ids, Strategy(waves=["1", "100%"]), run_id=RUN, gate=stop)
            running = asyncio.create_task(rollout.run())
            while rollout.state.wave_over < 1:  # noqa: ASYNC110 - what is waited for is no event
                await asyncio.sleep(0.1)
            await asyncio.sleep(after)
            rollout.abort("bob@desk")
            return (await running).status, (await store.run(RUN)).status

    assert world.live(main) == (RunStatus.ABORTED, RunStatus.ABORTED)


def test_an_abort_is_on_record_although_its_caller_is_cancelled_at_once() -> None:
    world = World(servers=60, zones=("az1",), restart_median=40.0)

    async def main() -> None:
        async with world.restarter() as restarter:
            rollout = begun(world, restarter)
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(10)
            rollout.abort("bob@desk")
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    world.live(main)
    result, restarted = finish(world, "resume")
    assert (result.status, result.message, restarted) == (RunStatus.ABORTED, "Aborted by bob@desk.", 20)


@pytest.mark.parametrize("step", range(1, 5))
def test_a_run_whose_holder_dies_as_it_tries_servers_again_is_over_once_more(step: int) -> None:
    """The store may say that the run was taken, and its journal not."""
    world = World(servers=20, zones=("az1",))

    async def first() -> None:
        async with world.restarter() as restarter:
            await begun(world, restarter).run()

    async def again() -> None:
        async with world.restarter() as restarter:
            await (await restarter.resume(RUN, changes=Changes(by="x", retry=["failed"]))).run()

    async def main() -> tuple[RunStatus, RunStatus, RunStatus]:
        async with world.restarter() as restarter:
            result = await (await restarter.resume(RUN)).run()
            other = await restarter.rollout(world.ids, TWO_AT_A_TIME, run_id="other").run()
            return result.status, (await restarter.store.run(RUN)).status, other.status  # type: ignore[attr-defined]

    world.live(first)
    with pytest.raises(Killed):
        world.live(again, kill_after=step)
    assert world.live(main) == (RunStatus.SUCCEEDED,) * 3


def test_an_abort_that_comes_while_a_cancelled_runs_stop_is_written_is_kept() -> None:
    world = World(servers=60, zones=("az1",), restart_median=40.0)

    async def main() -> None:
        async with (
            world.client() as client,
            world.store() as store,
            world.engine(client, LateStore(store)) as restarter,
        ):
            rollout = begun(world, restarter)
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(10)
            running.cancel()
            await asyncio.sleep(0.3)
            assert rollout.held
            rollout.abort("bob@desk")
            with pytest.raises(asyncio.CancelledError):
                await running

    world.live(main)
    result, restarted = finish(world, "resume")
    assert (result.status, restarted) == (RunStatus.ABORTED, 20)


@pytest.mark.parametrize("end", ["cancelled", "engine ended", "stop on its way"])
def test_who_starts_next_ends_a_run_that_was_aborted_just_as_its_process_ended(end: str) -> None:
    """It is an orphan as it would be without the abort: nobody has said that it should stay as it is."""
    world = World(servers=60, zones=("az1",), restart_median=40.0)

    async def main() -> None:
        async with (
            world.client() as client,
            world.store() as store,
            world.engine(client, LateStore(store)) as restarter,
        ):
            rollout = begun(world, restarter)
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(10)
            if end == "engine ended":
                rollout.engine_stopped(EngineStopped("a bug"))
            else:
                running.cancel()
            if end == "stop on its way":
                await asyncio.sleep(0.3)
            rollout.abort("bob@desk")
            with pytest.raises((asyncio.CancelledError, EngineStopped)):
                await running

    async def following() -> list[tuple[str, RunStatus]]:
        async with world.restarter() as restarter:
            return [(each.run_id, (await each).status) for each in await restarter.resume_orphans()]

    world.live(main)

    assert world.live(following) == [(RUN, RunStatus.ABORTED)]


def test_an_abort_of_a_run_that_was_let_go_of_is_refused_and_not_forgotten() -> None:
    world = World(servers=60, zones=("az1",), restart_median=40.0)

    async def main() -> None:
        async with world.restarter() as restarter:
            rollout = begun(world, restarter)
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(10)
            rollout.stop()
            await running
            with pytest.raises(NotHolder, match=f"Run {RUN} has stopped here") as refused:
                rollout.abort("bob@desk")
            assert (refused.value.run_id, refused.value.status) == (RUN, "interrupted")

    world.live(main)


class Hooked(Wrapper):
    """A store that lets something happen behind its next reading of a run."""

    hook: Any = None

    async def run(self, *given: Any) -> Any:
        """Read, and let it happen."""
        if self.hook is not None:
            hook, self.hook = self.hook, None
            await hook()
        return await self.inner.run(*given)


def test_a_run_that_another_process_has_retried_meanwhile_is_not_written_down_as_over() -> None:
    world = World(servers=6, zones=("az1",), restart_median=5.0)
    tolerant = Strategy(waves="100%", max_unavailable="100%", max_failures="100%", max_failures_per_wave="100%")

    async def first() -> RunStatus:
        async with world.restarter() as restarter:
            world.cloud.doom(world.ids[0], "error")
            return (await restarter.rollout(world.ids, tolerant, run_id=RUN).run()).status

    async def elsewhere() -> None:
        async with world.restarter() as restarter:
            rollout = await restarter.resume(RUN, changes=Changes(retry=["failed"]))
            running = asyncio.create_task(rollout.run())
            while not rollout.state.flights:  # noqa: ASYNC110 - what is waited for is no event
                await asyncio.sleep(0.1)
            rollout.stop()
            await running

    async def main() -> RunStatus:
        async with world.client() as client, world.store() as store:
            hooked = Hooked(store)
            async with world.engine(client, hooked) as restarter:
                rollout = await restarter.resume(RUN)
                hooked.hook = elsewhere
                return (await rollout.run()).status

    assert world.live(first) is RunStatus.FAILED
    world.cloud.heal(world.ids[0])
    world.cloud.set_status(world.ids[0], "ACTIVE")
    assert world.live(main) is RunStatus.SUCCEEDED


def test_an_abort_follows_what_is_under_way_at_the_site_that_can_be_seen() -> None:
    """The other site's key is withdrawn meanwhile: only of the servers there nothing can be said."""
    world = World(servers=4, zones=("az1",), restart_median=60.0)
    other = "0" * 31 + "2"
    there = SimulatedCloud(
        CloudConfig(servers=4, seed=99, zones=("az1",), project_id=other, restart_median=60.0), world.now
    )

    class Withdrawn(SimulatedSender):
        async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
            if world.now() < 20.0:
                return await super().__call__(request, on_sent)
            on_sent()
            return Answer(401, {}, b'{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication"}')

    async def main() -> tuple[Result, Counter[tuple[str, str, str]]]:
        key = KeyAuth(world.config.access_key, world.config.secret_key)
        async with (
            world.client() as here,
            EcsClient(
                auth=key,
                project_id=other,
                endpoint="https://b.example.com",
                sender=Withdrawn(there),
                clock=world.clock,
            ) as elsewhere,
            world.store() as store,
            Restarter({"a": here, "b": elsewhere}, store, clock=world.clock, seed=1) as restarter,
        ):
            fleet = [Server(id_, site="a") for id_ in world.ids] + [Server(id_, site="b") for id_ in there.ids()]
            rollout = restarter.rollout(fleet, Strategy(waves="100%", max_unavailable="100%"))
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(15)
            rollout.abort("someone")
            result = await running
            site = {server.id: server.site for server in fleet}
            return result, Counter((site[o.server], o.kind.value, o.reason) for o in rollout.state.outcomes())

    result, outcomes = world.live(main)

    assert result.status is RunStatus.ABORTED
    assert outcomes == {("a", "restarted", ""): 4, ("b", "unknown", "auth"): 4}


@pytest.mark.parametrize("late", ["a look", "a check"])
def test_a_server_given_up_by_an_abort_has_one_outcome_whatever_is_heard_later(late: str) -> None:
    """Site a's key is refused once while another answer of the same site, that of ``late``, is still awaited."""
    world = World(servers=8, zones=("az1",), restart_median=40.0, restart_sigma=0.5 if late == "a check" else 0.05)
    there = SimulatedCloud(
        CloudConfig(servers=8, seed=9, zones=("az9",), restart_median=90.0, project_id=world.config.project_id),
        world.now,
    )

    class RefusedOnce(Wrapper):
        slow = refused = False

        async def show_job(self, *args: Any, **options: Any) -> Job:
            if world.now() > 35 and late == "a look" and not self.slow:
                self.slow = True
                await asyncio.sleep(25.0)
            elif world.now() > (46 if late == "a check" else 35) and not self.refused:
                self.refused = True
                raise AuthError("refused once", status=401)
            job: Job = await self.inner.show_job(*args, **options)
            return job

    async def slow_at_a(server: Server) -> bool:
        await asyncio.sleep(9.0 if server.site == "a" else 0.1)
        return True

    async def main() -> tuple[Receipt, Counter[str]]:
        async with world.client() as a, world.client(sender=SimulatedSender(there)) as b, world.store() as store:
            sites = {"a": cast("Any", RefusedOnce(a)), "b": b}
            fleet = [Server(i, site="a") for i in world.ids] + [Server(i, site="b") for i in there.ids()]
            async with world.engine(sites, store) as restarter:
                strategy = Strategy(waves="100%", max_unavailable=16, batch_size=4)
                check = slow_at_a if late == "a check" else None
                rollout = restarter.rollout(fleet, strategy, run_id=RUN, check=check)
                running = asyncio.create_task(rollout.run())
                await asyncio.sleep(8)
                rollout.abort("bob")
                await running
            lines = await store.lines(RUN)
            outcomes = Counter(
                recorded.event.server
                for recorded in map(decode, lines)
                if recorded is not None and isinstance(recorded.event, ev.ServerEvent)
            )
            return audit(lines, rollout.plan.fleet), outcomes

    receipt, outcomes = world.live(main)

    assert receipt.breaches == {}
    assert set(outcomes.values()) == {1}
    assert len(outcomes) == 16
