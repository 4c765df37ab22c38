"""The example service in processes of its own: killed and started anew under load, and ended in peace."""

from __future__ import annotations

import re
import signal
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
