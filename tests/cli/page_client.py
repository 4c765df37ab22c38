"""A page that is really served, on a store whose runs a test writes by hand, and a browser of few words."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from ecsbatch.cli.dashboard.routes import PageRoutes
from ecsbatch.cli.dashboard.serve import serving_dashboard
from ecsbatch.cli.dashboard.token_file import page_token
from ecsbatch.config.settings import Observability
from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.run import Holder, Lease, NewRun
from ecsbatch.model.servers import Fleet
from ecsbatch.rollout.history import History
from ecsbatch.store import DatabaseStore, open_store

HOLDER = Holder("ann@web", "web", 7, 0.0)
RUN = "nightly"
IMAGE = "<img src=x onerror=alert(1)>"


def free_port() -> int:
    """Return one that nobody listens at."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@dataclass
class Told:
    """One message of a stream."""

    event: str
    data: dict[str, Any]
    number: int | None


@dataclass
class Page:
    """A page and one who asks for it.

    Attributes:
        port: that it listens at.
        token: its token.
        routes: what answers.
        store: has the runs.
        client: asks; it has no cookie of its own.
    """

    port: int
    token: str
    routes: PageRoutes
    store: DatabaseStore
    client: aiohttp.ClientSession
    scheme: str = "http"
    seen: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """The page's own."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def cookie(self) -> str:
        """What a browser sends that was let in."""
        access = self.routes._options.access
        return f"{access.cookie_name}={access.cookie}"

    def ask(self, path: str, method: str = "GET", *, known: bool = True, **more: Any) -> Any:
        """Ask for something, with the cookie where ``known``; follows no redirect."""
        headers = {"Cookie": self.cookie} if known else {}
        headers |= more.pop("headers", {})
        return self.client.request(method, f"{self.origin}{path}", headers=headers, allow_redirects=False, **more)

    async def status(self, path: str, method: str = "GET", **more: Any) -> int:
        """Return the status of the answer."""
        async with self.ask(path, method, **more) as answer:
            return int(answer.status)

    async def json(self, path: str, method: str = "GET", **more: Any) -> Any:
        """Return the answer's JSON."""
        async with self.ask(path, method, **more) as answer:
            return json.loads(await answer.read())

    async def steer(self, body: Any, run: str = RUN, **headers: str) -> tuple[int, dict[str, Any]]:
        """Ask something of a run as the page does; return status and JSON."""
        session = await self.json("/api/session")
        own = {"Origin": self.origin, "X-Ecsbatch-Csrf": session["csrf"] or ""}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.ask(f"/api/runs/{run}/steer", "POST", data=data, headers=own | headers) as answer:
            return answer.status, json.loads(await answer.read())

    @asynccontextmanager
    async def stream(self, path: str = f"/api/runs/{RUN}/events", after: int = 0) -> AsyncGenerator[Stream]:
        """Watch something."""
        headers = {"Last-Event-ID": str(after)} if after else {}
        async with self.ask(path, headers=headers) as answer:
            assert answer.status == 200, await answer.read()
            yield Stream(answer)


class Stream:
    """Reads messages one by one."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.raw = b""

    async def next(self) -> Told | None:
        """Return the next message, None at the end."""
        while True:
            block = await self._block()
            if block is None:
                return None
            fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if not line.startswith(":"))
            if "event" in fields and fields["event"] != "beat":
                number = fields.get("id")
                return Told(fields["event"], json.loads(fields["data"]), int(number) if number else None)

    async def until(self, event: str) -> list[Told]:
        """Return all messages up to the first of a kind."""
        found: list[Told] = []
        while told := await self.next():
            found.append(told)
            if told.event == event:
                return found
        raise AssertionError(f"no {event} came, only {[each.event for each in found]}")

    async def _block(self) -> bytes | None:
        while b"\n\n" not in self.raw:
            part = await self._answer.content.readany()
            if not part:
                return None
            self.raw += part
        block, _, self.raw = self.raw.partition(b"\n\n")
        return block


def made_up_files(folder: Path) -> Path:
    """Write files of a page; return their folder."""
    files = folder / "assets"
    files.mkdir(exist_ok=True)
    (files / "page.html").write_text("<!doctype html><title>a page</title>", encoding="utf-8")
    (files / "page.js").write_text("export {};\n", encoding="utf-8")
    return files


@asynccontextmanager
async def served(folder: Path | None, store: DatabaseStore | None = None, **settings: Any) -> AsyncGenerator[Page]:
    """Serve the page of a store, by default of an empty one in memory, for as long as the block lasts.

    What a browser gets is made up in a folder; None serves the files of the package.
    """
    files = folder and made_up_files(folder)
    port = free_port()
    told = Observability(dashboard=f"127.0.0.1:{port}", **settings)
    async with _opened(store) as opened:
        history = History(opened)
        async with (
            serving_dashboard(told, history, folder=files) as routes,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
        ):
            yield Page(port, page_token().text, routes, opened, client)


@asynccontextmanager
async def _opened(store: DatabaseStore | None) -> AsyncGenerator[DatabaseStore]:
    if store is not None:
        yield store
        return
    async with open_store("memory:", inline=True) as opened:
        yield opened


async def begun(store: DatabaseStore, servers: int = 6, names: Sequence[str] = (), run_id: str = RUN) -> Lease:
    """Store a run that nobody drives, so that a test says what happens to it."""
    fleet = Fleet(
        [f"{run_id}-{number}" for number in range(servers)],
        names=names or [f"web-{number}" for number in range(servers)],
        domains=["az1", IMAGE] * (servers // 2),
    )
    plan = Plan(fleet=fleet, waves=(Wave(1, 0, servers, "100%"),), max_unavailable=servers, max_failures=2)
    events = [
        ev.RunStarted(total=servers),
        ev.HolderChanged(holder=HOLDER.name, fence=1, limit=50, window=10.0),
        ev.WaveStarted(wave=1, servers=servers, label="100%"),
    ]
    return await store.create_run(NewRun(run_id, plan=plan.to_json(), fleet=fleet, events=events), HOLDER)
