"""A client that asks much of the service, which is ended and started again meanwhile.

``python tests/acceptance/service/load.py [--kill]`` asks as much as a busy service is asked.

It asks for single restarts all along, begins rollouts, has watchers on each, sends SIGTERM in the middle (or kills),
starts the service anew, and goes on. The simulated cloud's own books say what was lost and what was restarted twice; a
ticker beside it says how late the service's loop is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import orjson

from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.server import Running, serve

APP = Path(__file__).parent / "app.py"
TICKING = APP.parent / "ticking.py"
TOKEN = "token-of-the-service"
PATIENCE = 90.0
_GONE = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError)


@dataclass(slots=True)
class Service:
    """The service's process, or the one after it.

    Attributes:
        cloud: where it restarts servers.
        folder: has its store and its log.
        port: where it answers.
        process: the present one.
        program: what it runs.
        store: what it keeps its runs in; "" for a file in its folder.
        errors: what all of them have said on stderr.
    """

    cloud: Running
    folder: Path
    port: int
    program: Path = APP
    store: str = ""
    process: asyncio.subprocess.Process | None = None
    errors: list[bytes] = field(default_factory=list[bytes])

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *options: str) -> None:
        """Start a process, with every warning an error."""
        config = self.cloud.cloud.config
        key = {"AK": config.access_key, "SK": config.secret_key, "PROJECT_ID": config.project_id}
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("HUAWEICLOUD", "ECSBATCH"))
        }
        environment |= {f"HUAWEICLOUD_SDK_{name}": value for name, value in key.items()}
        environment |= {"SERVICE_TOKEN": TOKEN, "ENDPOINT": self.cloud.url, "PORT": str(self.port)}
        environment |= {
            "API_RATE": "400",
            "TYPICAL_RESTART": "2s",
            "STORE": self.store or str(self.folder / "restarts.db"),
        }
        with (self.folder / "service.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-W", "error", *options, str(self.program)],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.PIPE,
            )

    async def end(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end, and return the code."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        _, said = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        self.errors.append(said)
        code = self.process.returncode
        self.process = None
        return code if code is not None else -1

    def logged(self) -> list[dict[str, Any]]:
        """Return what all processes have logged."""
        lines = (self.folder / "service.log").read_bytes().splitlines()
        return [orjson.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]


@asynccontextmanager
async def service(
    cloud: Running, folder: Path, *options: str, program: Path = APP, store: str = ""
) -> AsyncGenerator[Service]:
    """Run the service beside a cloud."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        here = Service(cloud, folder, unused.getsockname()[1], program, store)
    await here.start(*options)
    try:
        yield here
    finally:
        if here.process is not None and here.process.returncode is None:
            here.process.kill()
            await here.process.wait()


def session(url: str) -> aiohttp.ClientSession:
    """Open a session that shows the token."""
    return aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {TOKEN}", "X-User": "load"})


@dataclass(slots=True)
class Client:
    """Asks the service, again and again where it is away.

    Attributes:
        http: its session.
        taken: servers whose restart was answered 202, and where their outcome is.
        begun: rollouts that were answered 202.
        watched: for each watcher the numbers of the events that it has seen.
    """

    http: aiohttp.ClientSession
    taken: dict[str, str] = field(default_factory=dict[str, str])
    begun: list[str] = field(default_factory=list[str])
    watched: list[list[int]] = field(default_factory=list[list[int]])

    async def up(self) -> dict[str, Any]:
        """Wait until the service answers."""
        return await self.ask("GET", "/health")

    async def ask(self, verb: str, path: str, body: Any = None) -> dict[str, Any]:
        """Ask until there is an answer that is no 503."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(*_GONE):
                    async with self.http.request(verb, path, json=body) as reply:
                        told: dict[str, Any] = orjson.loads(await reply.read())
                        if reply.status != 503:
                            return told | {"status_code": reply.status}
                await asyncio.sleep(0.1)

    async def restart(self, server: str) -> None:
        """Ask for a restart."""
        told = await self.ask("POST", "/restart", {"server": server})
        assert told["status_code"] == 202, told
        self.taken[server] = told["server"]

    async def begin(self, run_id: str, servers: Sequence[str]) -> None:
        """Begin a rollout; the same id with the same servers goes on, so that it may be asked twice."""
        body = {
            "run_id": run_id,
            "servers": list(servers),
            "strategy": {"waves": ["1", "50%"], "max_unavailable": "50%"},
        }
        told = await self.ask("POST", "/rollouts", body)
        # 409: it was begun by the request whose answer was lost, or goes on already in the new process.
        assert told["status_code"] in {202, 409}, told
        assert told["run_id"] == run_id, told
        self.begun.append(run_id)

    async def watch(self, run_id: str) -> None:
        """Watch a rollout to its end, behind the last event wherever the stream breaks."""
        seen: list[int] = []
        self.watched.append(seen)
        over = False
        async with asyncio.timeout(2 * PATIENCE):
            while not over:
                with suppress(*_GONE):
                    headers = {"Last-Event-ID": str(seen[-1] if seen else 0)}
                    async with self.http.get(f"/rollouts/{run_id}/events", headers=headers) as stream:
                        async for line in stream.content:
                            if line.startswith(b"id: "):
                                seen.append(int(line[4:]))
                            over = over or line == b"event: run.finished\n"
                if not over:
                    await asyncio.sleep(0.2)

    async def finished(self, run_id: str) -> dict[str, Any]:
        """Wait until a rollout is over, and return how."""
        while True:
            told = await self.ask("GET", f"/rollouts/{run_id}")
            if told["status"] in {"succeeded", "failed", "aborted"}:
                return told
            await asyncio.sleep(0.2)

    async def outcome(self, path: str) -> str:
        """Wait until a server has its outcome, and return it."""
        while True:
            told = await self.ask("GET", path)
            if told["outcome"] not in {"unknown", "not_started"}:
                return str(told["outcome"])
            await asyncio.sleep(0.2)


async def load(
    folder: Path, *, restarts: int, rollouts: int, watchers: int, seconds: float, end: signal.Signals, speed: float
) -> dict[str, Any]:
    """Play it, and return what was seen."""
    each = 40
    config = CloudConfig(servers=restarts + each * rollouts, latency=0.005)
    async with serve(config, speed=speed) as cloud, service(cloud, folder, program=TICKING) as here:
        ids = cloud.cloud.ids()
        async with session(here.url) as http:
            client = Client(http)
            await client.up()
            told: dict[str, Any] = {}

            async def ask_all_along() -> None:
                async with asyncio.TaskGroup() as group:
                    for number, server in enumerate(ids[:restarts]):
                        group.create_task(client.restart(server))
                        if number % 20 == 19:
                            await asyncio.sleep(20 * seconds / restarts)

            async def begin_all_along() -> None:
                for number in range(rollouts):
                    start = restarts + each * number
                    await client.begin(f"rollout-{number}", ids[start : start + each])
                    await asyncio.sleep(seconds / rollouts / 2)

            async def end_in_the_middle() -> None:
                await asyncio.sleep(seconds / 2)
                told["code"] = await here.end(end)
                await here.start()

            async with asyncio.TaskGroup() as group:
                for work in (ask_all_along(), begin_all_along(), end_in_the_middle()):
                    group.create_task(work)
                await client.ask("GET", "/health")
                for number in range(watchers):
                    group.create_task(client.watch(f"rollout-{number % rollouts}"))
            ended = [(await client.finished(run))["status"] for run in sorted(set(client.begun))]
            outcomes = [await client.outcome(path) for path in client.taken.values()]
            told["second code"] = await here.end(signal.SIGTERM)
            books = cloud.audit()
        whole = [seen == list(range(1, len(seen) + 1)) for seen in client.watched]
        return told | {
            "servers": len(ids),
            "asked": len(client.taken),
            "outcomes": {kind: outcomes.count(kind) for kind in sorted(set(outcomes))},
            "rollouts": {status: ended.count(status) for status in sorted(set(ended))},
            "watchers": len(whole),
            "watchers that saw every event once": sum(whole),
            "restarted servers": books["restarted_servers"],
            "restarted more than once": books["restarted_more_than_once"],
            "fullest window": books["fullest_window"],
            "ticks": [line for line in here.logged() if line["event"] == "ticked"],
            "errors": b"".join(here.errors).decode(errors="replace"),
        }


def main() -> int:
    """Play it by the command line's figures, print what was seen, and return 0 where nothing was lost or twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=2000)
    parser.add_argument("--rollouts", type=int, default=10)
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--kill", action="store_true")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        told = asyncio.run(
            load(
                Path(folder),
                restarts=given.restarts,
                rollouts=given.rollouts,
                watchers=given.watchers,
                seconds=given.seconds,
                speed=given.speed,
                end=signal.SIGKILL if given.kill else signal.SIGTERM,
            )
        )
    sys.stdout.buffer.write(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    whole = (
        told["restarted servers"] == told["servers"] and told["watchers"] == told["watchers that saw every event once"]
    )
    return 0 if whole and not told["restarted more than once"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
