"""Three replicas of the service on one store, in virtual time: asked and answered anywhere, deployed in turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import app as service
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from world import Wrapper

from ecsbatch.model.run import RunRecord
from ecsbatch.restarter import Restarter
from ecsbatch.testing import World

T = TypeVar("T")
Client = TestClient[web.Request, web.Application]

SLOWLY = {"max_unavailable": 1}


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", "token")


class Replica:
    """One replica, which can be replaced by another process of it."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.world = world
        self._ends = AsyncExitStack()
        self.client: Client

    def engine(self) -> AbstractAsyncContextManager[Restarter]:
        """Start its engine."""
        return self.world.restarter(name=self.name)

    async def start(self) -> None:
        """Start a process."""

        async def life(app: web.Application) -> AsyncIterator[None]:
            async with self.engine() as restarter, service.at_work(app, restarter):
                yield

        client = TestClient(TestServer(service.application(life)), headers={"Authorization": "Bearer token"})
        self.client = await self._ends.enter_async_context(client)

    async def end(self) -> None:
        """End it as SIGTERM does."""
        await self._ends.aclose()

    async def ask(self, verb: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Ask, and return the status and what the answer says."""
        async with self.client.request(verb, path, json=body) as answer:
            return answer.status, orjson.loads(await answer.read())


@asynccontextmanager
async def replicas(world: World, number: int = 3) -> AsyncGenerator[list[Replica]]:
    """Run replicas for as long as the block lasts."""
    made = [Replica(world, f"replica-{n}") for n in range(number)]
    for each in made:
        await each.start()
    try:
        yield made
    finally:
        for each in made:
            await each.end()


def live(world: World, play: Callable[[list[Replica]], Awaitable[T]]) -> T:
    """Play with three replicas."""

    async def main() -> T:
        async with replicas(world) as made:
            return await play(made)

    return world.run(main)


async def over(replica: Replica, run_id: str) -> dict[str, Any]:
    """Wait for a rollout's end, and return how it stands."""
    while True:
        _, told = await replica.ask("GET", f"/rollouts/{run_id}")
        if told["status"] in {"succeeded", "failed", "aborted"}:
            return told
        await asyncio.sleep(15)


def test_what_one_is_asked_for_any_other_tells_and_steers() -> None:
    world = World(servers=10)

    async def play(made: list[Replica]) -> list[Any]:
        first, second, third = made
        begun = await first.ask("POST", "/rollouts", {"servers": world.ids, "run_id": "big", "strategy": SLOWLY})
        await asyncio.sleep(5)
        paused = await second.ask("POST", "/rollouts/big/pause")
        _, stands = await third.ask("GET", "/rollouts/big")
        again = await second.ask("POST", "/rollouts", {"servers": world.ids, "run_id": "big", "strategy": SLOWLY})
        joined = await third.ask("POST", "/restart", {"server": world.ids[9]})
        resumed = await third.ask("POST", "/rollouts/big/resume")
        ended = await over(second, "big")
        _, outcome = await third.ask("GET", joined[1]["server"])
        return [
            *(status for status, _ in (begun, paused, again, joined, resumed)),
            *(stands["status"], again[1]["run_id"], joined[1]["run_id"], ended["status"], outcome["outcome"]),
        ]

    told = live(world, play)

    assert told == [202, 200, 409, 202, 200, "paused", "big", "big", "succeeded", "restarted"]
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_a_rolling_deploy_loses_nothing_and_restarts_nobody_twice() -> None:
    """Each is ended and started anew in turn, while all are asked; each answer 202 happens once."""
    world = World(servers=120)

    async def play(made: list[Replica]) -> tuple[list[str], list[str], set[str]]:
        runs = []
        for number, replica in enumerate(made):
            servers, run_id = world.ids[20 * number : 20 * number + 20], f"run-{number}"
            strategy = {"max_unavailable": 2}
            body = {"servers": servers, "run_id": run_id, "strategy": strategy}
            assert (await replica.ask("POST", "/rollouts", body))[0] == 202
            runs.append(run_id)
        asked: list[str] = []
        for number, replica in enumerate(made):
            others = [each for each in made if each is not replica]
            waiting = world.ids[60 + 20 * number : 80 + 20 * number]
            answers = await asyncio.gather(*(replica.ask("POST", "/restart", {"server": one}) for one in waiting[:10]))
            await asyncio.sleep(3)
            await replica.end()
            answers += await asyncio.gather(
                *(others[n % 2].ask("POST", "/restart", {"server": one}) for n, one in enumerate(waiting[10:]))
            )
            await asyncio.sleep(20)
            await replica.start()
            await asyncio.sleep(10)
            assert {status for status, _ in answers} == {202}
            asked += [told["server"] for _, told in answers]
        ended = [(await over(made[0], run_id))["status"] for run_id in runs]
        for run_id in {path.split("/")[2] for path in asked}:
            await over(made[1], run_id)
        outcomes = [(await made[2].ask("GET", path))[1]["outcome"] for path in asked]
        _, known = await made[0].ask("GET", "/rollouts")
        return ended, outcomes, {each["status"] for each in known["rollouts"]}

    ended, outcomes, statuses = live(world, play)

    assert (set(ended), len(outcomes), set(outcomes), statuses) == ({"succeeded"}, 60, {"restarted"}, {"succeeded"})
    books = world.cloud.audit()
    assert (books["restarted_servers"], books["restarted_more_than_once"]) == (120, 0)


def test_what_a_replica_leaves_has_another_process_within_two_seconds() -> None:
    world = World(servers=10)

    async def play(made: list[Replica]) -> tuple[float, str]:
        await made[0].ask("POST", "/rollouts", {"servers": world.ids, "run_id": "big", "strategy": SLOWLY})
        await asyncio.sleep(5)
        await made[0].end()
        ended = world.now()
        async with asyncio.timeout(60):
            while True:
                _, known = await made[1].ask("GET", "/rollouts")
                [record] = known["rollouts"]
                if record["held"]:
                    return world.now() - ended, record["holder"]
                await asyncio.sleep(0.1)

    seconds, holder = live(world, play)

    assert seconds < 2
    assert holder in {"replica-1", "replica-2"}


@pytest.mark.parametrize("step", [2, 6, 10, 14, 18, 22, 26, 30, 40])
def test_what_a_replica_was_taking_up_when_it_was_told_to_end_has_one_that_stands_by(step: int) -> None:
    world = World(servers=10)

    async def another() -> None:
        async with world.restarter(name="another") as restarter, service.at_work(web.Application(), restarter):
            await asyncio.sleep(3600)

    async def play(made: list[Replica]) -> str:
        await made[0].ask("POST", "/rollouts", {"servers": world.ids, "run_id": "big", "strategy": SLOWLY})
        await asyncio.sleep(5)
        await made[0].end()
        starting = asyncio.create_task(another())
        for _ in range(step):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        async with asyncio.timeout(3600):
            return str((await over(made[1], "big"))["status"])

    assert live(world, play) == "succeeded"
    assert world.cloud.audit()["restarted_more_than_once"] == 0


class SlowStore(Wrapper):
    """A store that takes a second to find a run."""

    async def run(self, name: str = "") -> RunRecord:
        """Find it slowly."""
        await asyncio.sleep(1)
        found: RunRecord = await self.inner.run(name)
        return found


class SlowReplica(Replica):
    """A replica with such a store."""

    @asynccontextmanager
    async def engine(self) -> AsyncGenerator[Restarter]:
        """Start its engine."""
        world = self.world
        async with (
            world.client() as ecs,
            world.store() as store,
            Restarter(ecs, SlowStore(store), clock=world.clock, seed=1, name=self.name) as restarter,
        ):
            yield restarter


def test_who_begins_to_watch_as_a_replica_ends_does_not_hold_it_up() -> None:
    world = World(servers=10)
    replica = SlowReplica(world, "slow")

    async def main() -> float:
        await replica.start()
        await replica.ask("POST", "/rollouts", {"servers": world.ids, "run_id": "big", "strategy": SLOWLY})
        watching = asyncio.create_task(replica.client.get("/rollouts/big/events"))
        await asyncio.sleep(0.5)
        told = world.now()
        await replica.client.server.close()
        await asyncio.wait([watching])
        took = world.now() - told
        await replica.end()
        return took

    assert world.run(main) < 10
