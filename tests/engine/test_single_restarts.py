"""Restarts that callers ask for one by one: who cancels, who is halted, what is claimed, and what a bad disk costs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from strangers import engine_of
from world import LateStore, World, Wrapper

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import AuthError, NotAccepted, Refused, StoreError, Throttled, UnknownAnswer
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.quota import Quota
from ecsbatch.model.servers import Server
from ecsbatch.restarter import Restarter
from ecsbatch.simulator.cloud import CloudConfig, SimulatedCloud
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.store import MemoryDatabase

T = TypeVar("T")


def claims(world: World) -> int:
    [(count,)] = world.database.connection.execute("SELECT count(*) FROM claims").fetchall()
    return int(count)


def restarts(world: World, ids: list[str]) -> int:
    return sum(world.cloud.restarts(id_) for id_ in ids)


def heard(outcomes: list[Outcome | BaseException]) -> Counter[str]:
    return Counter(f"{o.kind} {o.reason}".strip() if isinstance(o, Outcome) else type(o).__name__ for o in outcomes)


@pytest.mark.parametrize("window", [30.0, 60.0, 300.0])
def test_what_nobody_waits_for_any_more_before_it_is_sent_is_left_alone(window: float) -> None:
    """They had been looked at and stood behind others for tokens."""
    world = World(servers=40, zones=("az1",))

    async def main() -> tuple[int, int]:
        async with world.restarter(Engine(quota=Quota(10, window))) as restarter:
            first = [restarter.submit(id_) for id_ in world.ids[:10]]
            await asyncio.sleep(1)
            late = [restarter.submit(id_) for id_ in world.ids[10:20]]
            await asyncio.sleep(3)
            for future in late[:8]:
                future.cancel()
            await asyncio.gather(*first, *late[8:])
            await asyncio.sleep(1000)
            return restarts(world, world.ids[10:18]), claims(world)

    assert world.live(main) == (0, 0)
    assert restarts(world, world.ids[18:20]) == 2


def test_a_server_that_was_given_up_can_be_asked_for_anew() -> None:
    world = World(servers=10, zones=("az1",))

    async def main() -> Outcome:
        async with world.restarter(Engine(quota=Quota(1, 30.0))) as restarter:
            await restarter.restart(world.ids[0])
            late = restarter.submit(world.ids[1], type="HARD")
            late.cancel()
            return await restarter.restart(world.ids[1], type="SOFT")

    assert world.live(main).kind is OutcomeKind.RESTARTED


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("after", [0.0, 0.4, 1.0, 1.6, 2.2, 4.0])
def test_a_server_that_is_given_up_and_asked_for_anew_is_restarted_once(after: float, late: bool) -> None:  # noqa: FBT001
    """It may be queued twice: among those that wait for tokens, and where the second caller has put it."""
    world = World(servers=20, zones=("az1",))

    async def main() -> list[OutcomeKind]:
        async with world.client() as client, world.store() as store:
            kept = LateStore(store) if late else store
            async with world.engine(client, kept, Engine(quota=Quota(4, 30.0))) as restarter:
                first = [restarter.submit(id_) for id_ in world.ids[:4]]
                await asyncio.sleep(1.0)
                given_up = [restarter.submit(id_) for id_ in world.ids[4:8]]
                await asyncio.sleep(after)
                for future in given_up:
                    future.cancel()
                anew = [restarter.submit(id_) for id_ in world.ids[4:8]]
                return [outcome.kind for outcome in await asyncio.gather(*first, *anew)]

    assert world.live(main) == [OutcomeKind.RESTARTED] * 8
    assert [world.cloud.restarts(id_) for id_ in world.ids[:8]] == [1] * 8


def test_a_halt_while_an_intent_is_on_its_way_to_the_disk_says_not_started_of_none_that_is_restarted() -> None:
    world = World(servers=30, zones=("az1",))

    class Moody(Wrapper):
        denied = False

        async def show_job(self, *job: Any, **more: Any) -> Any:
            if self.denied:
                self.denied = False
                raise AuthError("one 403", status=403)
            return await self.inner.show_job(*job, **more)

    async def main() -> Counter[str]:
        async with world.client() as client, world.store() as store:
            moody = Moody(client)
            async with world.engine(moody, LateStore(store)) as restarter:
                first = [restarter.submit(id_) for id_ in world.ids[:10]]
                await asyncio.sleep(30)
                late = [restarter.submit(id_) for id_ in world.ids[10:20]]
                [queue] = restarter.pipelines[""].queues
                while not queue.given:  # noqa: ASYNC110 - what is waited for is no event
                    await asyncio.sleep(0.05)
                moody.denied = True
                while moody.denied:  # noqa: ASYNC110 - what is waited for is no event
                    await asyncio.sleep(0.01)
                told = heard(await asyncio.gather(*late))
                await asyncio.gather(*first, return_exceptions=True)
                await asyncio.sleep(300)
                return told

    told = world.live(main)
    assert told == {"unknown auth": 10} or restarts(world, world.ids[10:20]) == 0


def test_one_sites_halt_ends_nobody_elses_restart() -> None:
    here = World(servers=30, zones=("az1",), check_auth=True)
    there = SimulatedCloud(
        CloudConfig(servers=30, seed=99, zones=("az1",), project_id="0" * 31 + "2", check_auth=False), here.now
    )
    bad, good = KeyAuth(here.config.access_key, "wrong" * 8), KeyAuth("AK", "SK")
    project = here.config.project_id

    async def main() -> tuple[Counter[str], Counter[str]]:
        async with (
            EcsClient(
                auth=bad,
                project_id=project,
                endpoint="https://a.example.com",
                sender=SimulatedSender(here.cloud),
                clock=here.clock,
            ) as a,
            EcsClient(
                auth=good,
                project_id="0" * 31 + "2",
                endpoint="https://b.example.com",
                sender=SimulatedSender(there),
                clock=here.clock,
            ) as b,
            here.store() as store,
            Restarter({"a": a, "b": b}, store, clock=here.clock, seed=1) as restarter,
        ):
            theirs = [restarter.submit(Server(id_, site="b")) for id_ in there.ids()[:10]]
            await asyncio.sleep(5)
            theirs += [restarter.submit(Server(id_, site="b")) for id_ in there.ids()[10:20]]
            ours = [restarter.submit(Server(id_, site="a")) for id_ in here.ids[:3]]
            return heard(await asyncio.gather(*theirs)), heard(await asyncio.gather(*ours))

    assert here.live(main) == ({"restarted": 20}, {"not_started auth": 3})


def test_after_an_outage_no_server_stays_claimed_that_was_never_sent() -> None:
    world = World(servers=40, zones=("az1",), outages=((5.0, 700.0),))

    async def main() -> tuple[int, RunStatus]:
        async with world.restarter(Engine(quota=Quota(10, 60.0))) as restarter:
            await asyncio.gather(*(restarter.submit(id_) for id_ in world.ids[:30]))
            await asyncio.sleep(2000)
            left = claims(world)
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable="100%"))
            return left, (await rollout.run()).status

    assert world.live(main) == (0, RunStatus.SUCCEEDED)


def test_two_processes_and_cancelled_callers_leave_no_claim() -> None:
    world = World(servers=40, zones=("az1",))
    engine = Engine(quota=Quota(10, 60.0))

    async def main() -> tuple[int, RunStatus]:
        async with world.restarter(engine) as one, world.restarter(engine) as other:
            first = [one.submit(id_) for id_ in world.ids[:10]]
            await asyncio.sleep(1)
            late = [other.submit(id_) for id_ in world.ids[10:20]]
            await asyncio.sleep(3)
            for future in late:
                future.cancel()
            await asyncio.gather(*first)
            await asyncio.sleep(1000)
            left = claims(world)
            return left, (await one.rollout(world.ids[10:20], Strategy(max_unavailable="100%")).run()).status

    assert world.live(main) == (0, RunStatus.SUCCEEDED)


class Disk(MemoryDatabase):
    """A database that fails so many writes."""

    fails = 0

    def write(self, do: Callable[[], T], *, claims: bool = False) -> T:
        """Write, or find no room."""
        if self.fails:
            self.fails -= 1
            raise StoreError("There is no space left on the disk.")
        return super().write(do, claims=claims)


def test_one_failed_write_costs_those_who_waited_for_it_and_nobody_else() -> None:
    world = World(servers=40, zones=("az1",))
    world.database = disk = Disk()

    async def main() -> list[str]:
        told: list[str] = []
        async with world.restarter() as restarter:
            await restarter.restart(world.ids[0])
            disk.fails = 1
            for id_ in world.ids[1:5]:
                told += heard(await asyncio.gather(restarter.submit(id_), return_exceptions=True))
                await asyncio.sleep(3600)
        return told

    assert world.live(main) == ["StoreError", "restarted", "restarted", "restarted"]


def test_a_lost_request_an_hour_is_sent_again_every_hour() -> None:
    """How often a server may be sent again counts for one restart, not for the life of the process."""
    world = World(servers=3, zones=("az1",))

    class Lossy(Wrapper):
        lose = False

        async def submit(self, *request: Any) -> str:
            if self.lose:
                self.lose = False
                await asyncio.sleep(30)
                raise UnknownAnswer("no answer within 30 s")
            return str(await self.inner.submit(*request))

    async def main() -> list[tuple[OutcomeKind, int]]:
        told: list[tuple[OutcomeKind, int]] = []
        async with world.client() as client, world.store() as store:
            lossy = Lossy(client)
            async with world.engine(lossy, store) as restarter:
                for _ in range(5):
                    lossy.lose = True
                    outcome = await restarter.restart(world.ids[0])
                    told.append((outcome.kind, outcome.attempts))
                    await asyncio.sleep(3600)
        return told

    assert world.live(main) == [(OutcomeKind.RESTARTED, 2)] * 5


def test_a_server_whose_request_may_still_be_carried_out_is_joined_and_not_sent_a_second_time() -> None:
    """Its first caller was told unknown as the cloud could not be seen; the next asks at once."""
    world = World(servers=3, zones=("az1",), restart_median=30.0, outages=((6.0, 80.0),))

    async def main() -> tuple[Outcome, Outcome]:
        async with world.restarter(Engine(blind_timeout=20.0)) as restarter:
            first = await restarter.restart(world.ids[0])
            return first, await restarter.restart(world.ids[0])

    first, second = world.live(main)
    assert first.kind is OutcomeKind.UNKNOWN
    assert second.kind in {OutcomeKind.RESTARTED, OutcomeKind.UNKNOWN}
    assert restarts(world, world.ids) == 1


class Moody(Wrapper):
    """A cloud that does not accept the key, loses answers, or is busy, as it is told."""

    denied = lost = busy = False

    async def _asked(self, name: str, *given: Any, **more: Any) -> Any:
        if self.denied:
            raise AuthError("The key is not accepted.", status=403)
        return await getattr(self.inner, name)(*given, **more)

    async def look(self, *given: Any, **more: Any) -> Any:
        """Look, with such a key."""
        return await self._asked("look", *given, **more)

    async def show_job(self, *given: Any, **more: Any) -> Any:
        """Show a job, with such a key."""
        return await self._asked("show_job", *given, **more)

    async def submit(self, *given: Any, **more: Any) -> Any:
        """Send; the answer may be lost."""
        if self.busy:
            raise NotAccepted("Busy.", status=503)
        job = await self._asked("submit", *given, **more)
        if self.lost:
            raise UnknownAnswer("The answer was lost.")
        return job


def moody_days(world: World, main: Callable[[Restarter, Moody], Awaitable[None]]) -> None:
    """Live with a moody cloud."""

    async def live() -> None:
        async with world.client() as client, world.store() as store:
            moody = Moody(client)
            async with world.engine(moody, store) as restarter:
                await main(restarter, moody)

    world.live(live)


def test_a_key_that_was_mended_yesterday_costs_nobody_an_outcome_today() -> None:
    world = World(servers=60, zones=("az1",))

    async def main(restarter: Restarter, moody: Moody) -> None:
        early = [restarter.submit(id_) for id_ in world.ids[:10]]
        await asyncio.sleep(5)
        moody.denied = True
        await asyncio.sleep(1800)
        moody.denied = False
        await asyncio.gather(*early, return_exceptions=True)
        await asyncio.sleep(86_400)
        moody.lost = True
        late = [restarter.submit(id_) for id_ in world.ids[10:60]]
        await asyncio.sleep(3)
        moody.lost = False
        assert heard(list(await asyncio.gather(*late))) == {"restarted": 50}

    moody_days(world, main)
    assert restarts(world, world.ids[10:60]) == 50


def test_a_busy_moment_hours_ago_and_one_now_are_no_outage() -> None:
    world = World(servers=2, zones=("az1",))

    async def main(restarter: Restarter, moody: Moody) -> None:
        moody.busy = True
        given_up = restarter.submit(world.ids[0])
        await asyncio.sleep(1.5)
        given_up.cancel()
        moody.busy = False
        await asyncio.sleep(4 * 3600)
        moody.busy = True
        asked = restarter.submit(world.ids[1])
        await asyncio.sleep(1.2)
        moody.busy = False
        assert (await asked).kind is OutcomeKind.RESTARTED

    moody_days(world, main)
    assert restarts(world, world.ids) == 1


class Full(Wrapper):
    """A store that cannot write one event of a kind: the run's lease breaks, as on a full disk."""

    what: type[ev.Event] | None = None

    def commit(self, lease: Any, transaction: Any, **more: Any) -> Any:
        """Write, or break the run's lease."""
        if self.what is not None and any(isinstance(event, self.what) for event in transaction.events):
            self.what = None
            self.inner._handle.parts()[1]._broken[lease.run_id] = "no space left"
        return self.inner.commit(lease, transaction, **more)


@pytest.mark.parametrize("what", [ev.ServerRestarted, ev.BatchAccepted, ev.JobFinished])
def test_who_asks_again_for_a_server_whose_event_could_not_be_written_gets_an_outcome(what: type[ev.Event]) -> None:
    world = World(servers=20, zones=("az1",))

    async def main() -> tuple[OutcomeKind, OutcomeKind, int]:
        async with world.client() as client, world.store() as store:
            full = Full(store)
            async with world.engine(client, full) as restarter:
                full.what = what
                with pytest.raises(StoreError):
                    await restarter.restart(world.ids[0])
                await asyncio.sleep(60)
                other = await restarter.restart(world.ids[1])
                again = await asyncio.wait_for(restarter.submit(world.ids[0]), 86_400)
                return other.kind, again.kind, claims(world)

    assert world.live(main) == (OutcomeKind.RESTARTED, OutcomeKind.RESTARTED, 0)


def test_a_mended_store_leaves_no_claim_although_nobody_asks_again() -> None:
    world = World(servers=20, zones=("az1",))

    async def main() -> int:
        async with world.client() as client, world.store() as store:
            full = Full(store)
            async with world.engine(client, full) as restarter:
                full.what = ev.BatchAccepted
                with pytest.raises(StoreError):
                    await restarter.restart(world.ids[0])
                await asyncio.sleep(600)
                return claims(world)

    assert world.live(main) == 0


class Refusing(Moody):
    """A cloud that refuses requests which name one server, and takes its time for the look behind that."""

    culprit = ""
    refused = False

    async def submit(self, type_: Any, ids: list[str], on_sent: Any = None) -> Any:
        """Refuse, or hand on."""
        if self.culprit in ids:
            on_sent()
            self.refused = True
            raise Refused("One of these cannot be restarted.", status=400, code="Ecs.9999", answered=True)
        return await self.inner.submit(type_, ids, on_sent)

    async def look(self, *given: Any, **more: Any) -> Any:
        """Look, slowly behind a refusal."""
        got = await self.inner.look(*given, **more)
        if self.refused:
            await asyncio.sleep(5)
        return got


def test_nobody_is_told_of_a_refusal_that_was_anothers_who_is_gone_by_now() -> None:
    world = World(servers=4, zones=("az1",), restart_median=5.0)

    async def main() -> Outcome:
        async with world.client() as client, world.store() as store:
            refusing = Refusing(client)
            refusing.culprit = world.ids[1]
            async with world.engine(refusing, store) as restarter:
                innocent, culprit = restarter.submit(world.ids[0]), restarter.submit(world.ids[1])
                while not refusing.refused:  # noqa: ASYNC110 - what is waited for is no event
                    await asyncio.sleep(0.1)
                await asyncio.sleep(1)
                culprit.cancel()
                return await innocent

    assert world.live(main).kind is OutcomeKind.RESTARTED
    assert restarts(world, world.ids) == 1


@pytest.mark.parametrize("named", [60.0, 3600.0])
def test_a_429_that_names_long_times_for_ever_ends_the_run(named: float) -> None:
    world = World(servers=4, zones=("az1",))

    class Throttling(Wrapper):
        """A cloud that lets no request in."""

        async def submit(self, _type: Any, _ids: Any, on_sent: Any) -> Any:
            """Say no, and for how long."""
            on_sent()
            error = Throttled("Too many requests.", status=429, answered=True)
            error.retry_after = named
            raise error

    async def main() -> tuple[RunStatus, str]:
        async with (
            world.client() as client,
            world.store() as store,
            world.engine(Throttling(client), store) as restarter,
        ):
            result = await restarter.rollout(world.ids, Strategy()).run()
            return result.status, result.reason

    assert world.live(main) == (RunStatus.STOPPED, "cloud_unreachable")


@pytest.mark.parametrize("seconds", [1.0, 7.0, 23.0])
def test_a_disk_that_stays_full_while_its_run_is_renewed_locks_nobody_out(seconds: float) -> None:
    world = World(servers=12, zones=("az1",), restart_median=20.0)

    class StaysFull(Wrapper):
        """A store on whose disk there is no room until a time."""

        until = 0.0

        def commit(self, lease: Any, transaction: Any, **more: Any) -> Any:
            """Write, or break the run's lease."""
            if world.now() < self.until:
                self.inner._handle.parts()[1]._broken[lease.run_id] = "no space left"
            return self.inner.commit(lease, transaction, **more)

    async def main() -> Counter[str]:
        async with world.client() as client, world.store() as store:
            full = StaysFull(store)
            async with world.engine(client, full) as restarter:
                early = [restarter.submit(id_) for id_ in world.ids[:4]]
                await asyncio.sleep(3)
                full.until = world.now() + seconds
                early += [restarter.submit(id_) for id_ in world.ids[4:6]]
                await asyncio.sleep(seconds + 30)
                late = [restarter.submit(id_) for id_ in world.ids[6:8]]
                await asyncio.wait([*early, *late], timeout=4000)
                return heard([each.exception() or each.result() for each in [*early, *late]])

    assert world.live(main) == {"StoreError": 6, "restarted": 2}
    assert all(world.cloud.restarts(id_) <= 1 for id_ in world.ids)


def test_a_run_whose_writing_failed_is_renewed_without_being_let_go() -> None:
    """Its servers in flight are nobody else's for an instant."""
    world = World(servers=12, zones=("az1",), restart_median=20.0)

    class Watched(Full):
        """A store that tells when a run is let go of."""

        released = 0

        async def release(self, hold: Any) -> None:
            """Count, and let go."""
            self.released += 1
            await self.inner.release(hold)

    async def main() -> int:
        async with world.client() as client, world.store() as store:
            watched = Watched(store)
            async with world.engine(client, watched) as restarter:
                sent = restarter.submit(world.ids[0])
                await asyncio.sleep(3)
                watched.what = ev.BatchSubmitting
                await asyncio.gather(restarter.submit(world.ids[1]), return_exceptions=True)
                await asyncio.sleep(12)
                await asyncio.gather(sent, return_exceptions=True)
                return watched.released

    assert world.live(main) == 0
    assert world.cloud.restarts(world.ids[0]) == 1


def test_an_outage_behind_a_refused_key_does_not_count_against_the_key() -> None:
    """One look is not let in; then nothing is seen for longer than a restart may take, and all is well again."""
    world = World(servers=5, zones=("az1",), outages=((20.0, 1500.0),))
    refused = Answer(401, {}, b'{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}')

    class Doubting(SimulatedSender):
        async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
            if request.method == "GET" and 5.0 < world.now() < 20.0:
                on_sent()
                return refused
            return await super().__call__(request, on_sent)

    async def main() -> list[str]:
        async with engine_of(world, sender=lambda _: Doubting(world.cloud)) as restarter:
            waiting = [restarter.submit(id_) for id_ in world.ids]
            told: list[str] = []
            async with asyncio.timeout(1800):
                async for recorded in restarter.events():
                    if isinstance(recorded.event, ev.ServerEvent):
                        told.append(recorded.event.name)
                    if len(told) == len(waiting):
                        break
            assert heard(await asyncio.gather(*waiting)) == {"unknown auth": 5}
            return told

    assert world.live(main) == ["server.restarted"] * 5
