"""The cloud over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from yarl import URL

from ecsbatch.simulator.cloud import CloudConfig, Exchange, Faults
from ecsbatch.simulator.server import Running, serve

OPEN = CloudConfig(servers=30, check_auth=False, latency=0.0)


def _open(**knobs: Any) -> CloudConfig:
    return CloudConfig(**{"servers": 30, "check_auth": False, "latency": 0.0, **knobs})


def _detail(running: Running) -> str:
    return f"{running.url}/v1/{running.cloud.config.project_id}/cloudservers/detail"


async def _reboot(session: aiohttp.ClientSession, running: Running, ids: list[str]) -> Any:
    url = f"{running.url}/v1/{running.cloud.config.project_id}/cloudservers/action"
    body = {"reboot": {"type": "SOFT", "servers": [{"id": one} for one in ids]}}
    async with session.post(url, json=body) as answer:
        return await answer.json()


async def test_a_fleet_is_listed_and_rebooted_over_http_in_fast_time() -> None:
    async with serve(_open(restart_median=20.0), speed=1000.0) as running, aiohttp.ClientSession() as session:
        async with session.get(_detail(running), params={"limit": "7"}) as answer:
            page = await answer.json()
        job_id = (await _reboot(session, running, running.cloud.ids()))["job_id"]
        job: dict[str, Any] = {"status": "INIT"}
        while job["status"] in {"INIT", "RUNNING"}:
            async with session.get(f"{running.url}/v1/{running.cloud.config.project_id}/jobs/{job_id}") as answer:
                job = await answer.json()
            await asyncio.sleep(0.005)
        audit = running.audit()

    assert [row["id"] for row in page["servers"]] == running.cloud.ids()[:7]
    assert (job["status"], job["entities"]["sub_jobs_total"]) == ("SUCCESS", 30)
    assert (audit["most_down"], audit["quota_window_real"]) == (30, 0.06)


async def test_the_operators_pages() -> None:
    async with serve(OPEN) as running, aiohttp.ClientSession() as session:
        operator = f"{running.url}/_simulator"
        ids = running.cloud.ids()
        changes = {"lock": [ids[0]], "delete": [ids[1]], "hurt": [ids[3]], "zone_fail": "az3", "fail_rate": 0.5}
        async with session.post(f"{operator}/set", json=changes) as answer:
            changed = answer.status
        async with session.post(f"{operator}/set", json={"speed_of_light": 1}) as answer:
            unknown = answer.status
        health: list[int] = []
        for server_id in (ids[0], ids[3], ids[2], "nobody"):
            async with session.get(f"{operator}/health/{server_id}") as answer:
                health.append(answer.status)
        async with session.get(f"{operator}/ids", params={"az": "az1", "format": "csv"}) as answer:
            table = (await answer.text()).splitlines()
        async with session.get(f"{operator}/ids", params={"status": "ACTIVE"}) as answer:
            plain = (await answer.text()).split()
        async with session.get(f"{operator}/audit") as answer:
            audit = await answer.json()

    assert (changed, unknown) == (200, 400)
    assert health == [200, 503, 503, 404]
    assert table[:2] == ["id,az,name", f"{ids[0]},az1,server-000000"]
    assert len(table) == 11
    assert plain == [ids[0], *ids[2:]]
    assert audit["restarts"] == 0


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
async def test_a_reset_reaches_the_client_as_a_broken_connection(kind: str) -> None:
    faults: dict[str, Any] = {kind: 1.0}
    config = _open(submit_faults=Faults(**faults))
    async with serve(config) as running, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await _reboot(session, running, running.cloud.ids())

        assert running.audit()["restarts"] == {"reset_before": 0, "reset_after": 30}[kind]


async def test_a_truncated_body_reaches_the_client_as_one() -> None:
    async with serve(_open(look_faults=Faults(truncated=1.0))) as running, aiohttp.ClientSession() as session:
        answer = await session.get(_detail(running))
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_client_that_hangs_up_starts_the_clock_of_a_late_execution() -> None:
    config = _open(submit_faults=Faults(late_execution=1.0, late_max=40.0), client_patience=1e6, seed=3)
    async with serve(config, speed=1000.0) as running:
        while not running.audit()["restarts"]:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.05)) as session:
                with pytest.raises((TimeoutError, aiohttp.ClientConnectionError)):
                    await _reboot(session, running, running.cloud.ids()[:1])
            await asyncio.sleep(0.05)

        assert running.audit()["restarts"] == 1


async def test_a_client_that_waits_for_a_lost_reply_does_not_hold_up_the_servers_end() -> None:
    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(10):
            async with serve(_open(submit_faults=Faults(lost_reply=1.0))) as running:
                waiting = asyncio.ensure_future(_reboot(session, running, running.cloud.ids()))
                while not running.audit()["restarts"]:  # noqa: ASYNC110  # the cloud knows no events
                    await asyncio.sleep(0.005)
            with pytest.raises(aiohttp.ClientConnectionError):
                await waiting


async def test_an_outage_closes_connections() -> None:
    async with serve(OPEN) as running, aiohttp.ClientSession() as session:
        running.cloud.begin_outage(3600)
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(_detail(running))


async def test_the_target_arrives_as_it_was_on_the_wire() -> None:
    """Decoding and encoding it again would forgive clients that sign one thing and send another."""
    seen: list[str] = []
    async with serve(OPEN) as running, aiohttp.ClientSession() as session:
        receive = running.cloud.receive

        def note(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Exchange:
            seen.append(target)
            return receive(method, target, headers, body)

        running.cloud.receive = note  # type: ignore[method-assign]  # an ear at the door, nothing else changes
        url = URL(f"{_detail(running)}?name=web%20a%2Fb~1&b=x+y", encoded=True)
        async with session.get(url):
            pass

    assert [target.partition("?")[2] for target in seen] == ["name=web%20a%2Fb~1&b=x+y"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:80"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/_simulator/audit", "/v1/p/cloudservers/detail"])
async def test_a_page_in_a_browser_gets_nothing(headers: Mapping[str, str], status: int, path: str) -> None:
    """A page may lead a name of its own to 127.0.0.1 (DNS rebinding); it cannot leave out its Host or Origin."""
    config = _open(project_id="p")
    async with (
        serve(config) as running,
        aiohttp.ClientSession() as session,
        session.get(f"{running.url}{path}", headers=headers) as answer,
    ):
        assert answer.status == status


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"null", b'{"lock": 7}', b'{"outage": "x"}', b"[" * 100_000])
async def test_a_bad_body_is_told_of(body: bytes) -> None:
    async with (
        serve(OPEN) as running,
        aiohttp.ClientSession() as session,
        session.post(f"{running.url}/_simulator/set", data=body) as answer,
    ):
        assert answer.status == 400
