"""How often the cloud is asked where it lets little through, nothing out, or nobody in."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from world import World, Wrapper

from ecsbatch.config.settings import Strategy
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Answer, Request, Sender
from ecsbatch.engine.visibility import LONGEST_PAUSE
from ecsbatch.errors import AuthError, NotAccepted, NotSent, Throttled, UnknownAnswer
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.servers import Job, Look
from ecsbatch.simulator.sender import SimulatedSender

ALL = Strategy(waves="100%", max_unavailable="100%")


class UserLimit:
    """A gateway that lets a user make so many requests in any minute, and says so."""

    def __init__(self, inner: Sender, limit: int) -> None:
        self.counts: Counter[str] = Counter()
        self._inner = inner
        self._limit = limit
        self._at: deque[float] = deque()

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Let it through, or answer 429."""
        now = asyncio.get_running_loop().time()
        while self._at and self._at[0] <= now - 60.0:
            self._at.popleft()
        if len(self._at) < self._limit:
            self._at.append(now)
            self.counts["through"] += 1
            return await self._inner(request, on_sent)
        on_sent()
        await asyncio.sleep(0.05)
        self.counts["429"] += 1
        says = "The throttling threshold has been reached: policy user over ratelimit,limit:%d,time:1 minute"
        body = f'{{"error_code":"APIGW.0308","error_msg":"{says % self._limit}"}}'
        return Answer(429, {}, body.encode())


@pytest.mark.parametrize(("limit", "batch_size"), [(60, 100), (200, 10)])
def test_the_limit_that_a_429_names_is_kept_to(limit: int, batch_size: int) -> None:
    """Before, 501 of 708 looks at jobs were turned away."""
    world = World(servers=1000, zones=("az1",), check_auth=False)
    gateway = UserLimit(SimulatedSender(world.cloud), limit)
    auth = KeyAuth(world.config.access_key, world.config.secret_key)

    async def main() -> RunStatus:
        async with (
            EcsClient(
                auth=auth,
                project_id=world.config.project_id,
                endpoint="https://ecs.example.com",
                sender=gateway,
                clock=world.clock,
            ) as client,
            world.store() as store,
            world.engine(client, store) as restarter,
        ):
            strategy = Strategy(waves="100%", max_unavailable="100%", batch_size=batch_size)
            return (await restarter.rollout(world.ids, strategy).run()).status

    assert world.live(main) is RunStatus.SUCCEEDED
    assert gateway.counts["429"] <= 10
    assert world.now() < 150


class Moody(Wrapper):
    """A client that fails where a test says so.

    Attributes:
        submit_fails, look_fails, shut_out: what submits, looks, and all requests fail with.
        at: when submits were tried; `looked`: when anything was asked that is shut out.
    """

    submit_fails: Exception | None = None
    look_fails: Exception | None = None
    shut_out: Exception | None = None

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.at: list[float] = []
        self.looked: list[float] = []

    async def submit(self, *request: Any) -> str:
        """Send, or fail."""
        self.at.append(asyncio.get_running_loop().time())
        for error in (self.shut_out, self.submit_fails):
            if error is not None:
                raise error
        return str(await self.inner.submit(*request))

    async def look(self, ids: Sequence[str]) -> Look:
        """Look, or fail."""
        await self._let_in()
        if self.look_fails is not None:
            raise self.look_fails
        look: Look = await self.inner.look(ids)
        return look

    async def show_job(self, job_id: str, pending: Container[str], *, running: bool = False) -> Job:
        """Ask, or fail."""
        await self._let_in()
        job: Job = await self.inner.show_job(job_id, pending, running=running)
        return job

    async def _let_in(self) -> None:
        if self.shut_out is not None:
            self.looked.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.1)
            raise self.shut_out


def test_looks_that_succeed_do_not_hurry_requests_that_cannot_leave() -> None:
    """Before, they were tried each 2 s."""
    world = World(servers=300, zones=("az1",))
    clients: list[Moody] = []

    async def main() -> tuple[RunStatus, str]:
        async with world.client() as client, world.store() as store:
            clients.append(Moody(client))
            clients[0].submit_fails = NotSent("The request was not sent: connection refused.")
            async with world.engine(clients[0], store) as restarter:
                result = await restarter.rollout(world.ids, ALL).run()
                return result.status, result.reason

    assert world.live(main) == (RunStatus.STOPPED, "cloud_unreachable")
    gaps = [later - sooner for sooner, later in pairwise(clients[0].at)]
    assert len(gaps) < 40
    assert max(gaps) < LONGEST_PAUSE + 2


def test_a_busy_answer_before_a_long_pause_and_one_after_it_are_no_quarter_of_an_hour() -> None:
    world = World(servers=30, zones=("az1",))
    busy = NotAccepted("Other commands are being executed.", status=501, code="Ecs.0603", answered=True)
    busy.retry_after = 60.0

    async def main() -> RunStatus:
        async with world.client() as client, world.store() as store:
            moody = Moody(client)
            async with world.engine(moody, store) as restarter:
                rollout = restarter.rollout(world.ids, ALL)
                moody.submit_fails = busy
                running = asyncio.create_task(rollout.run())
                await asyncio.sleep(10)
                rollout.pause()
                await asyncio.sleep(900)
                rollout.resume()
                await asyncio.sleep(2)
                assert len(moody.at) == 2
                moody.submit_fails = None
                return (await running).status

    assert world.live(main) is RunStatus.SUCCEEDED


@pytest.mark.parametrize("kind", [NotAccepted, Throttled])
def test_no_header_holds_a_run_for_longer_than_a_server_may_take(kind: type[NotAccepted]) -> None:
    world = World(servers=30, zones=("az1",))
    tomorrow = kind("Try again tomorrow.", status=503, code="Ecs.0603", answered=True)
    tomorrow.retry_after = 86_400.0

    async def main() -> tuple[RunStatus, str, float]:
        async with world.client() as client, world.store() as store:
            moody = Moody(client)
            moody.submit_fails = tomorrow
            async with world.engine(moody, store) as restarter:
                began = asyncio.get_running_loop().time()
                result = await restarter.rollout(world.ids, replace(ALL, server_timeout=120.0)).run()
                return result.status, result.reason, asyncio.get_running_loop().time() - began

    status, reason, took = world.live(main)

    assert (status, reason) == (RunStatus.STOPPED, "cloud_unreachable")
    assert took < 3 * 120.0


def test_one_503_hours_after_another_stops_nobody() -> None:
    world = World(servers=2, zones=("az1",))

    async def main() -> tuple[float, OutcomeKind]:
        async with world.client() as client, world.store() as store:
            moody = Moody(client)
            async with world.engine(moody, store) as restarter:
                moody.look_fails = UnknownAnswer("HTTP 503", status=503, answered=True)
                impatient = restarter.submit(world.ids[0])
                await asyncio.sleep(0.7)
                impatient.cancel()
                await asyncio.sleep(4 * 3600)
                blind = restarter.blindness()[0]
                asyncio.get_running_loop().call_later(3.0, setattr, moody, "look_fails", None)
                return blind, (await restarter.restart(world.ids[1])).kind

    assert world.live(main) == (0.0, OutcomeKind.RESTARTED)


@pytest.mark.parametrize(("hours", "kind"), [(0.05, "server.restarted"), (2.0, "server.unknown")])
def test_what_is_under_way_when_the_key_is_revoked_is_followed_to_an_end(hours: float, kind: str) -> None:
    """Its callers hear it at once; the servers are tried each minute, and their claims end with them."""
    world = World(servers=20, zones=("az1",))

    async def main() -> tuple[list[str], Counter[str], list[float], int]:
        async with world.client() as client, world.store() as store:
            moody = Moody(client)
            async with world.engine(moody, store) as restarter:
                waiting = [restarter.submit(id_) for id_ in world.ids]
                await asyncio.sleep(5)
                moody.shut_out = AuthError("The gateway does not accept the key.", status=401, answered=True)
                heard = [f"{outcome.kind.value} {outcome.reason}" for outcome in await asyncio.gather(*waiting)]
                await asyncio.sleep(hours * 3600)
                moody.shut_out = None
                await asyncio.sleep(200)
                left = await store.claimed([("", id_) for id_ in world.ids])
                seen: Counter[str] = Counter()
                async for recorded in restarter.events():
                    seen[recorded.event.name] += 1
                    if seen[kind] == 20:
                        break
                return heard, seen, moody.looked, len(left)

    heard, seen, looked, claims = world.live(main)

    assert heard == ["unknown auth"] * 20
    assert seen[kind] == 20
    assert claims == 0
    assert len(looked) <= 3 + 12
    assert min(later - sooner for sooner, later in pairwise(looked)) > 50
