"""A job, or a server, that cannot be shown while all else can: it ends by what can be seen, and holds nobody up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import Any

import pytest
from world import World, Wrapper

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.ecs.error_codes import error_of
from ecsbatch.errors import CloudError, Refused, UnknownAnswer
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Result
from ecsbatch.model.servers import Job, Look
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.simulator.virtual_time import Killed

ALL = Strategy(waves="100%", max_unavailable="100%", max_failures="100%", max_failures_per_wave="100%", order="input")
IN_TENS = replace(ALL, batch_size=10)


def broken() -> UnknownAnswer:
    return UnknownAnswer("The cloud failed to answer.", status=500, answered=True)


class Cloud(Wrapper):
    """A client whose looks and job queries fail where a test says so.

    Attributes:
        look_fails, job_fails: what a look at these servers, or a query of this job, fails with; None: with nothing.
        left_out: servers whose rows looks leave out.
        without: parts of rows that looks leave empty.
        jobs_asked: how often each job was asked for.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.look_fails: Callable[[Sequence[str]], CloudError | None] = lambda _: None
        self.job_fails: Callable[[str], CloudError | None] = lambda _: None
        self.left_out: set[str] = set()
        self.without: tuple[str, ...] = ()
        self.jobs_asked: Counter[str] = Counter()

    async def look(self, ids: Sequence[str]) -> Look:
        """Look, or fail."""
        if (error := self.look_fails(ids)) is not None:
            await asyncio.sleep(0.1)
            raise error
        look = await self.inner.look(ids)
        nothing: Any = dict.fromkeys(self.without, "")
        return replace(
            look,
            servers={id_: view._replace(**nothing) for id_, view in look.servers.items() if id_ not in self.left_out},
        )

    async def show_job(self, job_id: str, pending: Container[str], *, running: bool = False) -> Job:
        """Ask, or fail."""
        self.jobs_asked[job_id] += 1
        if (error := self.job_fails(job_id)) is not None:
            await asyncio.sleep(0.1)
            raise error
        job: Job = await self.inner.show_job(job_id, pending, running=running)
        return job


def poisoned(server: str, error: CloudError) -> Callable[[Sequence[str]], CloudError | None]:
    return lambda ids: error if server in ids else None


def played(
    world: World, strategy: Strategy, prepare: Callable[[Cloud], None], *, engine: Engine | None = None
) -> tuple[Rollout, list[ev.Event]]:
    """Play a rollout of all servers behind a cloud that fails; return it and its journal."""

    async def main() -> tuple[Rollout, list[ev.Event]]:
        async with world.client() as client, world.store() as store:
            cloud = Cloud(client)
            prepare(cloud)
            async with world.engine(cloud, store, engine) as restarter:
                rollout = restarter.rollout(world.ids, strategy, run_id="r")
                await rollout.run()
                return rollout, [recorded.event async for recorded in rollout.events()]

    return world.live(main)


def ends(rollout: Rollout) -> Counter[tuple[str, str, str | None]]:
    return Counter((o.kind.value, o.reason, o.evidence and o.evidence.value) for o in rollout.state.outcomes())


@pytest.mark.parametrize("doomed", [[], [5, 15]], ids=["nothing else to look at", "two servers not back"])
def test_a_job_that_cannot_be_shown_is_given_up_to_its_servers_own_states(doomed: list[int]) -> None:
    world = World(servers=20, zones=("az1",))
    for index in doomed:
        world.cloud.doom(world.ids[index], "error")
    clouds: list[Cloud] = []

    def prepare(cloud: Cloud) -> None:
        clouds.append(cloud)
        cloud.job_fails = lambda job: broken() if job == next(iter(cloud.jobs_asked)) else None

    rollout, journal = played(world, IN_TENS, prepare)
    gone = [event for event in journal if isinstance(event, ev.JobFinished) and event.status == "UNSEEN"]
    outcomes = Counter(o.kind.value for o in rollout.state.outcomes())

    assert len(gone) == 1
    assert clouds[0].jobs_asked[gone[0].job_id] <= 10
    assert outcomes == {"restarted": 20 - len(doomed), "failed": len(doomed)} if doomed else {"restarted": 20}
    assert ends(rollout)["restarted", "", "state"] >= 9
    assert world.now() < 300


def test_looks_at_one_server_that_fail_for_ever_stop_nobody() -> None:
    """It goes without precheck, and its job tells its end."""
    world = World(servers=400, zones=("az1",))

    def prepare(cloud: Cloud) -> None:
        cloud.look_fails = poisoned(world.ids[320], broken())

    rollout, _ = played(world, ALL, prepare)

    assert (rollout.state.status, rollout.state.counts["restarted"]) == (RunStatus.SUCCEEDED, 400)  # type: ignore[index]
    assert world.cloud.audit()["restarted_more_than_once"] == 0
    assert world.now() < 300


def test_a_run_of_one_server_that_looks_can_never_show_comes_to_its_end() -> None:
    """No other server of the run could tell that the site is seen: whichever the site lists first does."""
    world = World(servers=3, zones=("az1",))

    async def main() -> tuple[Rollout, Result]:
        async with world.client() as client, world.store() as store:
            cloud = Cloud(client)
            cloud.look_fails = poisoned(world.ids[1], broken())
            async with world.engine(cloud, store) as restarter:
                rollout = restarter.rollout([world.ids[1]], ALL, run_id="r")
                return rollout, await rollout.run()

    rollout, result = world.live(main)

    assert (result.status, ends(rollout)) == (RunStatus.SUCCEEDED, {("restarted", "", "job"): 1})


def test_a_server_that_looks_are_refused_for_fails_alone() -> None:
    world = World(servers=300, zones=("az1",))
    no = Refused("A parameter is not valid.", status=400, code="Ecs.0005", answered=True)

    def prepare(cloud: Cloud) -> None:
        cloud.look_fails = poisoned(world.ids[0], no)

    rollout, _ = played(world, ALL, prepare)

    assert ends(rollout) == {("restarted", "", "job"): 299, ("failed", "refused", "job"): 1}
    assert world.now() < 200


def test_servers_that_a_policy_forbids_fail_alone_and_say_so() -> None:
    """A request that names one of them is refused as a whole (403 Ecs.0003); the key is good for all others."""
    world = World(servers=300, zones=("az1",))
    forbidden = {world.ids[17], world.ids[230]}
    body = b'{"error":{"code":"Ecs.0003","message":"You have no permission for this."}}'

    class Policy(Cloud):
        async def submit(self, type_: Any, ids: Sequence[str], on_sent: Any = None) -> str:
            if forbidden & set(ids):
                on_sent()
                await asyncio.sleep(0.1)
                raise error_of(403, {}, body, what="submit")
            return str(await self.inner.submit(type_, ids, on_sent))

    async def main() -> Rollout:
        async with world.client() as client, world.store() as store, world.engine(Policy(client), store) as restarter:
            rollout = restarter.rollout(world.ids, ALL, run_id="r")
            await rollout.run()
            return rollout

    rollout = world.live(main)

    assert ends(rollout) == {("restarted", "", "job"): 298, ("failed", "denied", "job"): 2}
    assert {o.server for o in rollout.state.outcomes() if o.reason == "denied"} == forbidden


class Lossy(Cloud):
    """Requests are carried out, or not, and their answers are lost.

    Attributes:
        reach: how many requests reach the cloud.
        asked: how many there were.
    """

    reach = 10**6
    asked = 0

    async def submit(self, *request: Any) -> str:
        """Send, and hear nothing."""
        self.asked += 1
        if self.asked <= self.reach:
            await self.inner.submit(*request)
        else:
            request[2]()
        raise UnknownAnswer("no answer", status=502, answered=True)


class Garbling(Lossy):
    """Looks behind the request show servers up and leave the time of their last change out, so often.

    Attributes:
        garbled: how many looks.
    """

    garbled = 0

    async def look(self, ids: Sequence[str]) -> Look:
        """Look, or show half of it."""
        look = await super().look(ids)
        if not self.asked or not self.garbled:
            return look
        self.garbled -= 1
        return replace(look, servers={id_: view._replace(updated="") for id_, view in look.servers.items()})


def lost(
    world: World, strategy: Strategy, prepare: Callable[[Lossy], None], later: Callable[[Lossy], None] | None = None
) -> Rollout:
    """Play a rollout whose answers are lost; ``later`` changes the cloud after a minute."""

    async def main() -> Rollout:
        async with world.client() as client, world.store() as store:
            cloud = Lossy(client)
            prepare(cloud)
            async with world.engine(cloud, store) as restarter:
                rollout = restarter.rollout(world.ids, strategy, run_id="r")
                if later is not None:
                    asyncio.get_running_loop().call_later(60.0, later, cloud)
                await rollout.run()
                return rollout

    return world.live(main)


def test_a_server_that_can_never_be_seen_ends_unknown_at_its_deadline_though_it_is_the_last() -> None:
    world = World(servers=20, zones=("az1",))
    rollout = lost(
        world,
        replace(ALL, server_timeout=150.0),
        lambda cloud: setattr(cloud, "look_fails", poisoned(world.ids[3], broken())),
    )

    assert ends(rollout) == {("restarted", "", "state"): 19, ("unknown", "no_trace", None): 1}
    assert rollout.state.status is RunStatus.FAILED
    assert world.now() < 500


def test_a_server_that_was_seen_rebooting_and_that_later_looks_leave_out_is_unknown_and_did_not_time_out() -> None:
    world = World(servers=4, zones=("az1",), restart_median=100.0, restart_sigma=0.0)
    rollout = lost(
        world,
        replace(ALL, server_timeout=150.0),
        lambda _: None,
        lambda cloud: cloud.left_out.update(world.ids),
    )

    assert ends(rollout) == {("unknown", "no_trace", None): 4}


@pytest.mark.parametrize("reach", [0, 10**6], ids=["never begun", "carried out"])
def test_without_a_time_of_the_last_change_nothing_is_sent_again(reach: int) -> None:
    """Not even by the next process: nothing tells what became of the first request."""
    world = World(servers=40, zones=("az1",), restart_median=0.2)
    strategy = replace(ALL, batch_size=20)

    async def life(*, kill: bool) -> tuple[Result, Counter[Any]]:
        async with world.client() as client, world.store() as store:
            cloud = Lossy(client) if kill else Cloud(client)
            cloud.without = ("updated",)
            if isinstance(cloud, Lossy):
                cloud.reach = reach
            async with world.engine(cloud, store) as restarter:
                rollout = await _rollout(world, restarter, strategy, new=kill)
                running = asyncio.create_task(rollout.run())
                if kill:
                    await asyncio.sleep(20)
                    asyncio.get_running_loop().kill_after(0)  # type: ignore[attr-defined]  # the virtual loop's
                    await asyncio.sleep(1)
                result = await running
                return result, ends(rollout)

    with pytest.raises(Killed):
        world.live(lambda: life(kill=True))
    result, outcomes = world.live(lambda: life(kill=False))

    assert outcomes == {("unknown", "no_trace", None): 40}
    assert result.status is RunStatus.FAILED
    assert [world.cloud.restarts(id_) for id_ in world.ids] == [1 if reach else 0] * 40


@pytest.mark.parametrize(("garbled", "outcome"), [(5, "restarted"), (100, "unknown")], ids=["a few", "all"])
def test_a_few_garbled_looks_behind_the_deadline_decide_nothing_and_nothing_waits_for_ever(
    garbled: int, outcome: str
) -> None:
    world = World(servers=4, zones=("az1",), restart_median=0.2)

    async def main() -> Rollout:
        async with world.client() as client, world.store() as store:
            cloud = Garbling(client)
            cloud.garbled = garbled
            async with world.engine(cloud, store, Engine(unknown_grace=12.0)) as restarter:
                rollout = restarter.rollout(world.ids, replace(ALL, server_timeout=10.0), run_id="r")
                await rollout.run()
                return rollout

    rollout = world.live(main)

    assert Counter(each.kind.value for each in rollout.state.outcomes()) == {outcome: 4}
    assert world.now() < 200


async def _rollout(world: World, restarter: Restarter, strategy: Strategy, *, new: bool) -> Rollout:
    return restarter.rollout(world.ids, strategy, run_id="r") if new else await restarter.resume("r")


class Stuck(Cloud):
    """Jobs that show one server under way for ever.

    Attributes:
        stuck: which.
    """

    stuck = ""

    async def show_job(self, job_id: str, pending: Container[str], *, running: bool = False) -> Job:
        """Show the job, but not that server's end."""
        job: Job = await self.inner.show_job(job_id, pending, running=running)
        ended = tuple(sub for sub in job.ended if sub.server_id != self.stuck)
        if len(ended) == len(job.ended):
            return job
        return replace(job, status="RUNNING", ended=ended, running=job.running | {self.stuck})


@pytest.mark.parametrize(
    ("ending", "outcome"), [("ok", ("restarted", "", "state")), ("stuck", ("timed_out", "", None))]
)
def test_what_a_job_shows_running_after_the_deadline_is_looked_at_before_it_is_judged(
    ending: Any, outcome: tuple[str, str, str | None]
) -> None:
    world = World(servers=10, zones=("az1",))
    world.cloud.doom(world.ids[4], ending)

    async def main() -> Rollout:
        async with world.client() as client, world.store() as store:
            cloud = Stuck(client)
            cloud.stuck = world.ids[4]
            async with world.engine(cloud, store) as restarter:
                rollout = restarter.rollout(world.ids, replace(ALL, server_timeout=120.0), run_id="r")
                await rollout.run()
                return rollout

    rollout = world.live(main)

    assert ends(rollout) == {("restarted", "", "job"): 9, outcome: 1}
    assert world.now() < 200
