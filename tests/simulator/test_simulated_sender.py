"""The cloud behind the client's seam, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from ecsbatch.ecs.sender import MAX_ANSWER_BYTES, Answer, Request
from ecsbatch.simulator.cloud import CloudConfig, Faults, SimulatedCloud
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.simulator.virtual_time import Killed, VirtualLoop, abandon, run


class Client:
    """Sends and notes when the bytes left."""

    def __init__(self, **knobs: Any) -> None:
        self.loop = VirtualLoop()
        self.cloud = SimulatedCloud(CloudConfig(**{"check_auth": False, **knobs}), self.loop.time)
        self.sender = SimulatedSender(self.cloud)
        self.sent_at: list[float] = []

    def request(self, *server_ids: str) -> Request:
        """Return a reboot of these servers, or a listing when there are none."""
        root = f"https://ecs.test/v1/{self.cloud.config.project_id}/cloudservers"
        if not server_ids:
            return Request("GET", f"{root}/detail?limit=1", {})
        body = {"reboot": {"type": "SOFT", "servers": [{"id": one} for one in server_ids]}}
        return Request("POST", f"{root}/action", {}, orjson.dumps(body))

    async def send(self, *server_ids: str) -> Answer:
        """Send that request once."""
        return await self.sender(self.request(*server_ids), lambda: self.sent_at.append(self.loop.time()))


def test_an_answer_takes_the_latency_and_has_lower_case_headers() -> None:
    client = Client(latency=2.0, latency_sigma=0.0)
    answer = run(client.send(), loop=client.loop)

    assert (answer.status, answer.complete) == (200, True)
    assert answer.headers["server"] == "api-gateway"
    assert client.sent_at == pytest.approx([0.0], abs=1e-3)
    assert client.loop.time() == pytest.approx(2.0, abs=1e-3)


def test_a_refused_connection_proves_that_nothing_was_sent() -> None:
    client = Client(outages=((0.0, 1.0),))
    with pytest.raises(ConnectionRefusedError):
        run(client.send(*client.cloud.ids()), loop=client.loop)

    assert client.sent_at == []
    assert client.cloud.audit()["restarts"] == 0


def test_a_reset_comes_after_the_bytes_have_left() -> None:
    client = Client(submit_faults=Faults(reset_after=1.0))
    with pytest.raises(ConnectionResetError):
        run(client.send(*client.cloud.ids()), loop=client.loop)

    assert len(client.sent_at) == 1
    assert client.cloud.audit()["restarts"] == 100


def test_a_lost_reply_ends_by_the_clients_own_timeout() -> None:
    client = Client(submit_faults=Faults(lost_reply=1.0))

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.send(*client.cloud.ids()), 30)

    run(main(), loop=client.loop)

    assert client.loop.time() == pytest.approx(30)
    assert client.cloud.audit()["restarts"] == 100


def test_a_late_execution_follows_the_clients_giving_up() -> None:
    gave_up: list[float] = []
    executed: list[float] = []

    for seed in range(20):
        client = Client(submit_faults=Faults(late_execution=1.0, late_max=45.0), seed=seed)

        async def main(client: Client = client) -> None:
            with pytest.raises((TimeoutError, ConnectionResetError)):
                await asyncio.wait_for(client.send(*client.cloud.ids()), 20)
            gave_up.append(client.loop.time())
            await asyncio.sleep(46)
            assert client.cloud.audit()["restarts"] == 100
            executed.extend(client.cloud.auditor.submits)

        run(main(), loop=client.loop)
    lateness = [at - end for at, end in zip(executed, gave_up, strict=True)]

    assert min(lateness) >= 0
    assert max(lateness) <= 45
    assert any(end >= 20 for end in gave_up)


def test_a_truncated_and_a_huge_answer_are_not_complete() -> None:
    sizes: list[tuple[bool, bool]] = []
    for faults in (Faults(truncated=1.0), Faults(huge=1.0, huge_bytes=MAX_ANSWER_BYTES)):
        client = Client(look_faults=faults)
        answer = run(client.send(), loop=client.loop)
        sizes.append((answer.complete, len(answer.body) == MAX_ANSWER_BYTES))

    assert sizes == [(False, False), (False, True)]


def test_a_crash_after_the_send_does_not_call_the_request_back() -> None:
    client = Client(latency=1.0)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(client.send(*client.cloud.ids()))
            await asyncio.sleep(0)
            raise Killed

    with pytest.raises(Killed):
        run(main(), loop=client.loop)
    client.sender.sever()
    abandon(client.loop)
    second = VirtualLoop(start=client.loop.time())
    client.cloud.now = second.time

    async def wait() -> int:
        await asyncio.sleep(5)
        return int(client.cloud.audit()["restarts"])

    assert run(wait(), loop=second) == 100


def test_a_severed_sender_sends_nothing() -> None:
    client = Client()
    client.sender.sever()
    with pytest.raises(ConnectionRefusedError):
        run(client.send(), loop=client.loop)

    assert client.sent_at == []
