"""The README's web service, as it stands: it takes requests, tells outcomes and its health, logs, and ends in peace."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.server import Running, serve

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SPEED = 40.0
PATIENCE = 60.0
TOKEN = "token-of-the-service"
SLOW = re.compile(r"Executing <.*> took [\d.]+ seconds\n")
"""What asyncio's debug mode says of a callback that a busy machine kept waiting."""


def program(cloud: Running, port: int) -> str:
    """Return the service; only the cloud, its speed and the port are others."""
    [block] = re.findall(r"<!-- service -->\n```python\n(.*?)```", README, re.DOTALL)
    for there, here in {
        'region="eu-west-101"': f"endpoint={cloud.url!r}, api_rate=200",
        "Restarter(ecs, store)": "Restarter(ecs, store, engine=Engine(typical_restart=1.0))",
        "import EcsbatchError,": "import Engine, EcsbatchError,",
        "port=8080": f"port={port}",
    }.items():
        assert block.count(there) == 1, there
        block = block.replace(there, here)
    return str(block)


@asynccontextmanager
async def service(cloud: Running, folder: Path) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str]]:
    """Run it in a process of its own, with every warning an error."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    config = cloud.cloud.config
    key = {"AK": config.access_key, "SK": config.secret_key, "PROJECT_ID": config.project_id}
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HUAWEICLOUD", "ECSBATCH"))
    }
    environment |= {f"HUAWEICLOUD_SDK_{name}": value for name, value in key.items()}
    environment["SERVICE_TOKEN"] = TOKEN
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-W", "error", "-X", "dev", "-c", program(cloud, port)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def up(session: aiohttp.ClientSession) -> dict[str, Any]:
    """Ask for its health until it answers."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with session.get("/health") as answer:
                    health: dict[str, Any] = await answer.json()
                    return health
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)


async def outcome_of(session: aiohttp.ClientSession, server: str) -> dict[str, Any]:
    """Ask for a server's outcome until it has one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with session.get(f"/restart/{server}") as answer:
                told: dict[str, Any] = await answer.json()
            if told["outcome"] != "under way":
                return told
            await asyncio.sleep(0.1)


BAD_BODIES = (b"no json", b"null", b"{}", b"[]", b'{"server": 7}', b'{"server": ["a"]}', b"\xff", b"[" * 100_000)


async def refused(session: aiohttp.ClientSession, **request: Any) -> int:
    """Send what is not to be carried out, and return the status."""
    headers = {"Content-Type": "application/json", **request.pop("headers", {})}
    async with session.post("/restart", headers=headers, **{"data": b"", **request}) as answer:
        return answer.status


async def ask(session: aiohttp.ClientSession, server: str) -> int:
    async with session.post("/restart", json={"server": server}) as answer:
        return answer.status


async def test_the_readmes_service_restarts_tells_and_ends_in_peace(tmp_path: Path) -> None:
    async with (
        serve(CloudConfig(servers=120, latency=0.005), speed=SPEED) as cloud,
        service(cloud, tmp_path) as (process, url),
        aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {TOKEN}"}) as session,
    ):
        ids = cloud.cloud.ids()
        healthy = await up(session)
        asked = [await ask(session, server) for server in ids[:100]]
        told = [await outcome_of(session, server) for server in ids[:100]]
        spent = await up(session)
        bad = {await refused(session, data=body) for body in BAD_BODIES}
        bad |= {await refused(session, data=b"{}", headers={"Content-Type": "application/json; charset=none"})}
        good = orjson.dumps({"server": ids[110]})
        pages = [
            await refused(session, data=good, headers=headers)
            for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"})
        ]
        form = await refused(session, data=good, headers={"Content-Type": "text/plain"})
        tokens = [await refused(session, data=good, headers={"Authorization": shown}) for shown in ("", "Bearer é")]
        async with session.get("/restart/nobody") as unknown:
            nobody = unknown.status
        late = [await ask(session, server) for server in ids[100:]]
        process.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        books = cloud.audit()

    lines = [json.loads(line) for line in out.splitlines()]
    assert (process.returncode, SLOW.sub("", err.decode())) == (0, "")
    assert healthy["tokens_free"] == 1000
    assert spent["tokens_free"] < 1000
    assert (set(asked), set(late), nobody) == ({202}, {202}, 404)
    assert (bad, pages, form, tokens) == ({400}, [403] * 3, 415, [401] * 2)
    assert {each["outcome"] for each in told} == {"restarted"}
    assert books["restarted_more_than_once"] == 0
    logged = [line["server"] for line in lines if line["event"] == "server.restarted"]
    assert set(logged) >= set(ids[:100])
    [ended] = [line for line in lines if line["event"] == "service.ended"]
    assert set(ended["left"]) <= set(ids[100:])
