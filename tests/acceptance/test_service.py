"""The example service in processes of its own: killed and started anew under load, and ended in peace."""

from __future__ import annotations

import asyncio
import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from load import Client, load, service, session

from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.server import serve

SLOW = re.compile(r"Executing <.*> took [\d.]+ seconds\n")
"""What asyncio's debug mode says of a callback that a busy machine kept waiting."""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_what_it_has_answered_202_for_happens_once_whatever_becomes_of_its_process(
    tmp_path: Path, end: signal.Signals
) -> None:
    told = await load(tmp_path, restarts=120, rollouts=3, watchers=6, seconds=4.0, end=end, speed=30.0)

    assert told["code"] == (0 if end is signal.SIGTERM else -signal.SIGKILL)
    assert (told["second code"], told["errors"]) == (0, "")
    assert (told["restarted servers"], told["restarted more than once"]) == (told["servers"], 0)
    assert told["outcomes"] == {"restarted": told["asked"]}
    assert told["rollouts"] == {"succeeded": 3}
    assert told["watchers that saw every event once"] == told["watchers"] == 6


async def test_it_ends_in_peace_with_every_warning_an_error_and_logs_who_has_asked(tmp_path: Path) -> None:
    async with (
        serve(CloudConfig(servers=20, latency=0.005), speed=40.0) as cloud,
        service(cloud, tmp_path, "-X", "dev") as here,
        session(here.url) as http,
    ):
        client = Client(http)
        await client.up()
        for server in cloud.cloud.ids():
            await client.restart(server)
        assert {await client.outcome(path) for path in client.taken.values()} == {"restarted"}
        code = await here.end(signal.SIGTERM)

    restarted = [line for line in here.logged() if line["event"] == "server.restarted"]
    assert (code, SLOW.sub("", here.errors[0].decode())) == (0, "")
    assert {line["user"] for line in restarted} == {"load"}
    assert len(restarted) == 20


async def test_three_replicas_on_one_database_lose_nothing_by_a_kill_and_a_rolling_deploy(
    tmp_path: Path, database_url: str
) -> None:
    """Each is asked for restarts and a rollout; one is killed, one deployed anew, and another tells how all ended."""
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    async with AsyncExitStack() as stack:
        cloud = await stack.enter_async_context(serve(CloudConfig(servers=90, latency=0.005), speed=20.0))
        made = [await stack.enter_async_context(service(cloud, each, store=database_url)) for each in folders]
        clients = [Client(await stack.enter_async_context(session(each.url))) for each in made]
        ids = cloud.cloud.ids()
        for client in clients:
            await client.up()
        for number, client in enumerate(clients):
            mine = ids[30 * number : 30 * number + 30]
            await client.begin(f"rollout-{number}", mine[:20])
            async with asyncio.TaskGroup() as group:
                for server in mine[20:]:
                    group.create_task(client.restart(server))
        killed = await made[0].end(signal.SIGKILL)
        deployed = await made[1].end(signal.SIGTERM)
        await made[1].start()
        ended = [(await clients[2].finished(f"rollout-{number}"))["status"] for number in range(3)]
        outcomes = {await clients[1].outcome(path) for client in clients for path in client.taken.values()}
        codes = [await each.end(signal.SIGTERM) for each in made[1:]]
        books = cloud.audit()

    assert (killed, deployed, codes) == (-signal.SIGKILL, 0, [0, 0])
    assert (ended, outcomes) == (["succeeded"] * 3, {"restarted"})
    assert (books["restarted_servers"], books["restarted_more_than_once"]) == (90, 0)
    assert b"".join(error for each in made for error in each.errors) == b""
