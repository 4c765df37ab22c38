"""The service in virtual time: what it answers, whom it turns away, and what it goes on with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import app as service
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ecsbatch.testing import World

T = TypeVar("T")
Client = TestClient[web.Request, web.Application]

TOKEN = {"Authorization": "Bearer token"}


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", "token")


def live(world: World, ask: Callable[[Client], Awaitable[T]]) -> T:
    """Run a life of the service, and return what a client of it makes of it."""

    async def life(app: web.Application) -> AsyncIterator[None]:
        async with world.restarter() as restarter:
            await service.take_up(app, restarter)
            yield
            await restarter.aclose(timeout=10)

    async def main() -> T:
        async with TestClient(TestServer(service.application(life)), headers=TOKEN) as client:
            return await ask(client)

    return world.run(main)


async def told(client: Client, verb: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
    """Ask, and return the status and what the answer says."""
    async with client.request(verb, path, json=body, headers=headers) as answer:
        return answer.status, orjson.loads(await answer.read())


async def over(client: Client, run_id: str) -> dict[str, Any]:
    """Wait for a rollout's end."""
    while True:
        _, progress = await told(client, "GET", f"/rollouts/{run_id}")
        if progress["status"] in {"succeeded", "failed", "aborted"}:
            return progress
        await asyncio.sleep(1)


def test_restarts_that_are_asked_for_together_are_one_rollout_and_each_has_its_outcome() -> None:
    world = World(servers=30)

    async def ask(client: Client) -> tuple[set[int], set[str], list[str]]:
        answers = await asyncio.gather(*[told(client, "POST", "/restart", {"server": each}) for each in world.ids])
        runs = {answer["run_id"] for _, answer in answers}
        for run in runs:
            await over(client, run)
        outcomes = [(await told(client, "GET", answer["server"]))[1]["outcome"] for _, answer in answers]
        return {status for status, _ in answers}, runs, outcomes

    statuses, runs, outcomes = live(world, ask)

    assert (statuses, len(runs), set(outcomes)) == ({202}, 1, {"restarted"})
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_a_server_that_a_rollout_has_is_joined_and_one_that_nobody_knows_is_its_own_error() -> None:
    world = World(servers=10)

    async def ask(client: Client) -> list[Any]:
        strategy = {"max_unavailable": 1}
        begun = await told(
            client, "POST", "/rollouts", {"servers": world.ids[:5], "run_id": "big", "strategy": strategy}
        )
        asked = [world.ids[0], "nobody", world.ids[7]]
        answers = await asyncio.gather(*[told(client, "POST", "/restart", {"server": each}) for each in asked])
        for run in {"big", answers[2][1]["run_id"]}:
            await over(client, run)
        return [begun[0], *[(status, each.get("run_id") or each["error"]) for status, each in answers]]

    begun, joined, nobody, alone = live(world, ask)

    assert (begun, joined, nobody) == (202, (202, "big"), (404, "ServerNotFound"))
    assert alone[0] == 202
    assert [world.cloud.restarts(each) for each in world.ids] == [1, 1, 1, 1, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"servers": 7}, 400, "servers"),
        ({}, 400, "servers"),
        ({"servers": ["all"], "strategy": {"max_unavailble": 1}}, 400, "max_unavailble"),
        ({"servers": ["all"], "strategy": {"soak": "soon"}}, 400, "soak"),
        ({"servers": ["all"], "strategy": [1]}, 400, "strategy"),
        ([1], 400, "servers"),
    ],
)
def test_what_is_wrong_with_a_rollout_is_400_and_names_the_field(body: Any, status: int, field: str) -> None:
    world = World(servers=2)

    got, error = live(world, lambda client: told(client, "POST", "/rollouts", body))

    assert (got, error["error"], error["field"]) == (status, "Invalid", field)


def test_a_conflict_is_409_with_the_run_in_the_way_and_a_run_that_is_not_there_404() -> None:
    world = World(servers=6)

    async def ask(client: Client) -> list[Any]:
        slow = {"servers": world.ids, "run_id": "first", "strategy": {"max_unavailable": 1}}
        await told(client, "POST", "/rollouts", slow)
        second = await told(client, "POST", "/rollouts", {"servers": world.ids[3:], "run_id": "second"})
        lost = [await told(client, "GET", f"/rollouts/none{rest}") for rest in ("", "/events", "/servers/x")]
        await over(client, "first")
        late = await told(client, "POST", "/rollouts/first/pause")
        return [(second[0], second[1]["run_id"]), [status for status, _ in lost], (late[0], late[1]["error"])]

    assert live(world, ask) == [(409, "first"), [404, 404, 404], (409, "RunConflict")]


def test_a_rollout_is_paused_by_one_who_is_named_and_goes_on() -> None:
    world = World(servers=10)

    async def ask(client: Client) -> list[Any]:
        slow = {"servers": world.ids, "run_id": "slow", "strategy": {"max_unavailable": 1}}
        await told(client, "POST", "/rollouts", slow)
        await asyncio.sleep(5)
        paused = await told(client, "POST", "/rollouts/slow/pause", **{"X-User": "ada"})
        await asyncio.sleep(300)
        _, stands = await told(client, "GET", "/rollouts/slow")
        resumed = await told(client, "POST", "/rollouts/slow/resume", **{"X-User": "ada"})
        return [
            paused[0],
            stands["standing_text"],
            stands["restarted"] < 10,
            resumed[0],
            (await over(client, "slow"))["status"],
        ]

    assert live(world, ask) == [200, "paused by ada", True, 200, "succeeded"]


def test_events_go_on_behind_the_last_that_was_seen() -> None:
    world = World(servers=4)

    async def read(client: Client, after: str) -> list[str]:
        async with client.get("/rollouts/night/events", headers={"Last-Event-ID": after}) as stream:
            lines = (await stream.read()).decode().splitlines()
        return [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]

    async def ask(client: Client) -> list[list[str]]:
        await told(client, "POST", "/rollouts", {"servers": world.ids, "run_id": "night"})
        return [await read(client, after) for after in ("", "5", "no number")]

    whole, rest, odd = live(world, ask)

    assert whole == [str(number) for number in range(1, len(whole) + 1)]
    assert (rest, odd) == (whole[5:], whole)


def test_what_one_process_has_answered_202_for_goes_on_in_the_next() -> None:
    world = World(servers=40)

    async def first(client: Client) -> list[int]:
        body = {"servers": world.ids[:20], "run_id": "night", "strategy": {"max_unavailable": 1}}
        begun = await told(client, "POST", "/rollouts", body)
        answers = await asyncio.gather(*[told(client, "POST", "/restart", {"server": each}) for each in world.ids[20:]])
        return [begun[0], *[status for status, _ in answers]]

    async def second(client: Client) -> list[str]:
        _, known = await told(client, "GET", "/rollouts")
        return [(await over(client, each["run_id"]))["status"] for each in known["rollouts"]]

    assert set(live(world, first)) == {202}
    before = world.cloud.audit()["restarted_servers"]
    statuses = live(world, second)

    assert (before < 40, statuses) == (True, ["succeeded"] * 2)
    assert (world.cloud.audit()["restarted_servers"], world.cloud.audit()["restarted_more_than_once"]) == (40, 0)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Authorization": "Bearer other"}, 401),
        ({"Authorization": ""}, 401),
    ],
)
def test_who_is_a_web_page_or_shows_no_token_gets_nowhere(headers: dict[str, str], status: int) -> None:
    world = World(servers=1)

    async def ask(client: Client) -> int:
        return (await told(client, "POST", "/restart", {"server": world.ids[0]}, **headers))[0]

    assert live(world, ask) == status
    assert world.cloud.restarts(world.ids[0]) == 0


@pytest.mark.parametrize("body", [b"no json", b"null", b"{}", b"[]", b'{"server": 7}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_none_is_400(body: bytes) -> None:
    world = World(servers=1)

    async def ask(client: Client) -> int:
        async with client.post("/restart", data=body, headers={"Content-Type": "application/json"}) as answer:
            return answer.status

    assert live(world, ask) == 400
