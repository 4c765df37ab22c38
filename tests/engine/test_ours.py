"""A restart that an earlier request of this run began after all is ours: it is followed, and nothing is sent again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from world import World, Wrapper

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.ecs.error_codes import error_of
from ecsbatch.errors import CloudError, Throttled, UnknownAnswer
from ecsbatch.model import events as ev
from ecsbatch.model.run import Changes, Committed, Lease, Transaction
from ecsbatch.model.servers import Look, Server
from ecsbatch.rollout.rollout import Rollout

ALL = Strategy(waves="100%", max_unavailable="100%", max_failures="100%", max_failures_per_wave="100%")
QUICK = Engine(unknown_grace=6.0, typical_restart=10.0)
GIVEN_UP_AFTER = 3.0


class Late(Wrapper):
    """The first request is given up, and reaches the cloud later; looks take their time to answer.

    Attributes:
        begins_after: seconds after it was given up; None: when `begin` is called.
        answers_after: seconds that the answer of a look takes from the cloud to us, ``from_then`` on.
    """

    begins_after: float | None = None
    answers_after = 0.0
    from_then = 0.0

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._first: tuple[Any, ...] | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    async def submit(self, type_: Any, ids: Sequence[str], on_sent: Any = None) -> str:
        """Give the first up."""
        if self._first is not None:
            return str(await self.inner.submit(type_, ids, on_sent))
        self._first = (type_, list(ids))
        on_sent()
        await asyncio.sleep(GIVEN_UP_AFTER)
        if self.begins_after is not None:
            asyncio.get_running_loop().call_later(self.begins_after, self.begin)
        raise UnknownAnswer("no answer within 3 s")

    def begin(self) -> None:
        """Let the first request reach the cloud now."""
        assert self._first is not None
        self._tasks.append(asyncio.create_task(self.inner.submit(*self._first)))

    async def look(self, ids: Sequence[str]) -> Look:
        """Look, and wait for the answer."""
        slow = asyncio.get_running_loop().time() >= self.from_then
        look: Look = await self.inner.look(ids)
        await asyncio.sleep(self.answers_after if slow else 0.0)
        return look


class Telling(Wrapper):
    """A store that calls back once a request is taken for not begun.

    Attributes:
        unstarted: what is called.
    """

    unstarted: Any = None

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Write, and tell."""
        written: asyncio.Future[Committed] = self.inner.commit(lease, transaction, folded=folded)
        if any(isinstance(event, ev.BatchUnstarted) for event in transaction.events):
            self.unstarted()
        return written


def outcomes(rollout: Rollout) -> Counter[tuple[str, str]]:
    return Counter((o.kind.value, o.reason) for o in rollout.state.outcomes())


def test_a_look_that_was_asked_within_the_grace_and_answered_after_it_is_no_proof() -> None:
    """The request begins 5.9 s after it was given up, the grace is 6: a look asked at 4 s is heard of at 7."""
    world = World(servers=20, zones=("az1",), restart_median=2.0, init_time=0.0)

    async def main() -> tuple[Rollout, list[ev.Event]]:
        async with world.client() as client, world.store() as store:
            late = Late(client)
            late.begins_after, late.answers_after, late.from_then = 5.9, 2.8, GIVEN_UP_AFTER + 4.0
            async with world.engine(late, store, QUICK) as restarter:
                rollout = restarter.rollout(world.ids, ALL, run_id="r")
                await rollout.run()
                return rollout, [recorded.event async for recorded in rollout.events()]

    rollout, journal = world.live(main)

    assert outcomes(rollout) == {("restarted", ""): 20}
    assert [event for event in journal if isinstance(event, ev.BatchUnstarted)] == []
    assert Counter(world.cloud.restarts(id_) for id_ in world.ids) == {1: 20}


@pytest.mark.parametrize("healthy", [True, False])
def test_who_is_seen_rebooting_by_a_request_taken_for_not_begun_is_followed_with_its_check(*, healthy: bool) -> None:
    """The canary of 10 is not called somebody else's: a kernel that does not boot ends with it."""
    world = World(servers=40, zones=("az1",), restart_median=12.0, init_time=0.0)

    async def check(_server: Server) -> bool:
        return healthy

    async def main() -> tuple[Rollout, list[ev.Event]]:
        async with world.client() as client, world.store() as store:
            late, telling = Late(client), Telling(store)
            telling.unstarted = late.begin
            async with world.engine(late, telling, QUICK) as restarter:
                strategy = replace(
                    ALL, waves="10,100%", max_failures=5, max_failures_per_wave=None, server_timeout=60.0, min_ready=0.0
                )
                rollout = restarter.rollout(world.ids, strategy, check=check, run_id="r")
                await rollout.run()
                return rollout, [recorded.event async for recorded in rollout.events()]

    rollout, journal = world.live(main)
    started = [event for event in journal if isinstance(event, ev.BatchStarted)]
    counted = outcomes(rollout)

    assert [(event.batch, len(event.servers)) for event in started] == [(1, 10)]
    assert counted == ({("restarted", ""): 40} if healthy else {("failed", "unhealthy"): 10, ("not_started", ""): 30})
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_a_batch_that_failed_after_half_of_it_was_begun_is_settled_server_by_server() -> None:
    """Ecs.0611: the reference does not say that nothing was carried out."""
    world = World(servers=20, zones=("az1",), init_time=0.0)
    body = b'{"error":{"code":"Ecs.0611","message":"The batch operation failed."}}'

    class Partial(Wrapper):
        first = True

        async def submit(self, type_: Any, ids: Sequence[str], on_sent: Any = None) -> str:
            if self.first:
                self.first = False
                await self.inner.submit(type_, ids[:10], on_sent)
                raise error_of(400, {}, body, what="submit")
            return str(await self.inner.submit(type_, ids, on_sent))

    async def main() -> Rollout:
        async with world.client() as client, world.store() as store, world.engine(Partial(client), store) as restarter:
            rollout = restarter.rollout(world.ids, ALL, run_id="r")
            await rollout.run()
            return rollout

    rollout = world.live(main)

    assert outcomes(rollout) == {("restarted", ""): 20}
    assert Counter(world.cloud.restarts(id_) for id_ in world.ids) == {1: 20}


def test_what_a_process_found_begun_is_followed_by_the_next() -> None:
    """It dies while they reboot: no state of theirs is needed to know that they were restarted."""
    world = World(servers=10, zones=("az1",), restart_median=12.0, restart_sigma=0.0, init_time=0.0)

    async def first() -> None:
        async with world.client() as client, world.store() as store:
            late, telling = Late(client), Telling(store)
            telling.unstarted = late.begin
            async with world.engine(late, telling, QUICK) as restarter:
                rollout = restarter.rollout(world.ids, ALL, run_id="r")
                running = asyncio.create_task(rollout.run())
                async for recorded in rollout.events():
                    if isinstance(recorded.event, ev.BatchStarted):
                        running.cancel()
                await asyncio.wait([running])

    async def second() -> Rollout:
        await asyncio.sleep(60)
        async with world.restarter() as restarter:
            rollout = await restarter.resume("r")
            await rollout.run()
            return rollout

    world.live(first)
    rollout = world.live(second)

    assert outcomes(rollout) == {("restarted", ""): 10}
    assert Counter(world.cloud.restarts(id_) for id_ in world.ids) == {1: 10}


SLOW = replace(ALL, server_timeout=30.0)


SLOW_TO_FAIL = 2
"""A seed of a cloud whose first restart takes long enough where it fails."""

TIMED_OUT = Changes(retry=("timed_out",), forgive=True)


def timed_out(world: World) -> None:
    """Play a run whose server's restart takes longer than it waits for it."""

    async def life() -> None:
        async with world.restarter(QUICK) as restarter:
            rollout = restarter.rollout(world.ids, SLOW, run_id="r")
            await rollout.run()
            assert outcomes(rollout) == {("timed_out", ""): 1}

    world.live(life)


@pytest.mark.parametrize("ending", ["ok", "fail"])
@pytest.mark.parametrize("dies", [False, True], ids=["one process", "the next process"])
def test_who_timed_out_and_is_found_under_way_still_ends_as_its_job_says(ending: Any, *, dies: bool) -> None:
    """A restart that fails may leave a server ACTIVE: only its job tells."""
    world = World(servers=1, zones=("az1",), restart_median=50.0, restart_sigma=0.0, init_time=0.0, seed=SLOW_TO_FAIL)
    world.cloud.doom(world.ids[0], ending)
    timed_out(world)

    async def found() -> None:
        async with world.restarter(QUICK) as restarter:
            rollout = await restarter.resume("r", changes=TIMED_OUT)
            running = asyncio.create_task(rollout.run())
            async for recorded in rollout.events():
                if isinstance(recorded.event, ev.BatchStarted):
                    running.cancel()
            await asyncio.wait([running])

    async def last() -> Rollout:
        async with world.restarter(QUICK) as restarter:
            changes = Changes() if dies else TIMED_OUT
            rollout = await restarter.resume("r", changes=changes)
            await rollout.run()
            return rollout

    if dies:
        world.live(found)
    rollout = world.live(last)
    ended = Counter((o.kind.value, o.evidence and o.evidence.value) for o in rollout.state.outcomes())

    assert ended == {("restarted" if ending == "ok" else "failed", "job"): 1}
    assert world.cloud.restarts(world.ids[0]) == 1


def test_a_job_that_has_told_a_servers_end_is_not_asked_of_its_next_restart() -> None:
    """It failed by its job; whoever restarts it now, the job speaks of before."""
    world = World(servers=1, zones=("az1",), restart_median=5.0, restart_sigma=0.0, init_time=0.0)
    world.cloud.doom(world.ids[0], "fail")

    async def life(*, again: bool) -> Rollout:
        async with world.restarter(QUICK) as restarter:
            if not again:
                rollout = restarter.rollout(world.ids, SLOW, run_id="r")
            else:
                async with world.client() as somebody:
                    await somebody.submit("HARD", world.ids)
                await asyncio.sleep(0.5)
                rollout = await restarter.resume("r", changes=Changes(retry=("failed",), forgive=True))
            await rollout.run()
            return rollout

    before = outcomes(world.live(lambda: life(again=False)))
    rollout = world.live(lambda: life(again=True))

    assert before == {("failed", ""): 1}
    assert outcomes(rollout) == {("restarted", ""): 1}


class Lost(Wrapper):
    """A client that does not hear why a request was refused.

    Attributes:
        looks: how often it was asked to look.
        lost: answers behind the first that are lost.
        error: what is heard instead.
    """

    looks = 0
    lost = 0
    error: CloudError

    async def look(self, ids: Sequence[str]) -> Look:
        """Look, and hear nothing of it."""
        self.looks += 1
        if 1 < self.looks <= 1 + self.lost:
            raise self.error
        look: Look = await self.inner.look(ids)
        return look


@pytest.mark.parametrize("error", [UnknownAnswer("no answer within 3 s"), Throttled("Too many.", status=429)])
@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_what_was_under_way_before_a_refusal_is_not_ours_where_looks_behind_it_are_lost(
    lost: int, error: CloudError
) -> None:
    world = World(servers=1, bad_ids="request")
    world.cloud.fleet.begin(0, "SOFT", "ok", 0.0, 60.0)

    async def main() -> tuple[int, list[ev.Event]]:
        async with world.client() as client, world.store() as store:
            deaf = Lost(client)
            deaf.lost, deaf.error = lost, error
            async with world.engine(deaf, store, QUICK) as restarter:
                rollout = restarter.rollout(world.ids, replace(ALL, precheck=False), run_id="r")
                await rollout.run()
                return deaf.looks, [recorded.event async for recorded in rollout.events()]

    looks, journal = world.live(main)

    assert looks > min(lost, 4)
    assert {event.kind for event in journal if isinstance(event, ev.BatchRejected)} == {"refused"}
    skipped = [event.reason for event in journal if isinstance(event, ev.ServerSkipped)]
    assert skipped in (["already_restarting"], ["not_active"])
    assert not [event for event in journal if isinstance(event, ev.BatchStarted | ev.ServerRestarted)]


def test_what_was_under_way_before_a_refusal_is_not_ours_for_the_next_process_either() -> None:
    world = World(servers=1, bad_ids="request")
    world.cloud.fleet.begin(0, "SOFT", "ok", 0.0, 600.0)

    async def refused() -> None:
        async with world.client() as client, world.store() as store:
            deaf = Lost(client)
            deaf.lost, deaf.error = 100, UnknownAnswer("no answer within 3 s")
            async with world.engine(deaf, store, QUICK) as restarter:
                rollout = restarter.rollout(world.ids, replace(ALL, precheck=False), run_id="r")
                running = asyncio.create_task(rollout.run())
                async for recorded in rollout.events():
                    if isinstance(recorded.event, ev.BatchRejected):
                        running.cancel()
                await asyncio.wait([running])

    async def resumed() -> list[ev.Event]:
        async with world.restarter(QUICK) as restarter:
            rollout = await restarter.resume("r")
            await rollout.run()
            return [recorded.event async for recorded in rollout.events()]

    world.live(refused)
    journal = world.live(resumed)

    assert [event.reason for event in journal if isinstance(event, ev.ServerSkipped)] == ["already_restarting"]
    assert not [event for event in journal if isinstance(event, ev.BatchStarted | ev.ServerRestarted)]
