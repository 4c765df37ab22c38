"""A server of made-up runs: what the page is designed, tested and measured with.

    python -m tests.page.pretend --servers 50000 --rate 1000

serves runs of 3, 3,000 and so many servers, in which so many servers change in a second, on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from aiohttp import web

from ecsbatch.views.page.files import asset, live_page

from .made_up import SCENES, WORDS, PretendedRun, scene

KINDS: Final = {"js": "text/javascript", "css": "text/css", "html": "text/html"}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

BEAT: Final = 5.0
"""Seconds, as the real server's."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pretender:
    """The server of made-up runs.

    Attributes:
        app: the routes.
        steer: the page has controls; what is asked by them nobody answers.
        online: False answers nobody, as a server that is gone.
        farewell: what is said before streams end; "" for nothing.
    """

    def __init__(self, runs: Iterable[PretendedRun], *, rate: int = 0, steer: bool = False) -> None:
        self.runs = {run.run_id: run for run in runs}
        self.rate = rate
        self.steer = steer
        self.online = True
        self.farewell = ""
        self.frozen: dict[str, Any] | None = None
        self._fleets: dict[str, str] = {}
        self._viewers: dict[str, list[asyncio.Queue[dict[str, Any] | None]]] = {}
        for run in self.runs.values():
            self.have(run)
        self._streams: set[web.StreamResponse] = set()
        self.app = web.Application(middlewares=[self._answering])
        self.app.add_routes(self._routes())

    def have(self, run: PretendedRun) -> None:
        """Have a run, instead of the one that had its id."""
        self.runs[run.run_id] = run
        self._fleets[run.run_id] = json.dumps(run.fleet())
        self._viewers.setdefault(run.run_id, [])

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self._asset),
            web.get("/assets/{name}", self._asset),
            web.get("/api/session", self._session),
            web.get("/api/runs", self._list),
            web.get("/api/runs/events", self._list_events),
            web.get("/api/runs/{run}/fleet", self._fleet),
            web.get("/api/runs/{run}/events", self._events),
            web.get("/api/runs/{run}/servers/{index}", self._server),
        ]

    @web.middleware
    async def _answering(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self.online:
            return web.json_response({"error": "StoreError", "message": "Not now."}, status=503)
        return await handler(request)

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "page.html")
        text = asset(name).decode()
        if name == "page.html":
            text = live_page(text)
        return web.Response(
            text=text,
            content_type=KINDS[name.rpartition(".")[2]],
            headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"},
        )

    async def _session(self, _: web.Request) -> web.Response:
        return web.json_response({"v": 1, "steer": self.steer, "csrf": "token" if self.steer else None, "version": "0"})

    def listing(self) -> dict[str, Any]:
        """Return the list of runs."""
        return {"v": 1, "runs": [run.record() for run in self.runs.values()], "frozen": self.frozen}

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(self.listing())

    async def _list_events(self, request: web.Request) -> web.StreamResponse:
        stream = await self._stream(request)
        with contextlib.suppress(ConnectionResetError):
            while True:
                await _send(stream, "runs", self.listing(), 0)
                await asyncio.sleep(0.5)
        return stream

    async def _fleet(self, request: web.Request) -> web.Response:
        told = self._fleets.get(request.match_info["run"])
        if told is None:
            return web.json_response({"error": "RunNotFound", "message": "There is no such run."}, status=404)
        answer = web.json_response(text=told)
        answer.enable_compression()
        return answer

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        await stream.write(b"retry: 500\n\n")
        return stream

    async def _events(self, request: web.Request) -> web.StreamResponse:
        run = self.runs[request.match_info["run"]]
        stream = await self._stream(request)
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._viewers[run.run_id].append(queue)
        try:
            await _send(stream, "snapshot", run.snapshot(), run.seq)
            while (message := await _next(queue)) is not None:
                await _send(stream, "changes" if message else "beat", message, run.seq)
            if self.farewell:
                await _send(stream, "end", {"text": self.farewell}, run.seq)
        except ConnectionResetError:
            pass
        finally:
            self._viewers[run.run_id].remove(queue)
        return stream

    async def _server(self, request: web.Request) -> web.Response:
        run, i = self.runs[request.match_info["run"]], int(request.match_info["index"])
        stage, detail = run.cells[i] & 15, run.details.get(i, {})
        outcome = {"id": "", "name": run.names[i], "outcome": WORDS.get(stage, "not_started"), "attempts": 1}
        outcome |= {"error_code": detail.get("code", ""), "message": detail.get("message", ""), "job_id": "job-4711"}
        story = [
            {"ts": run.began + 60.0 + j * 20, "text": text} for j, text in enumerate(("sent", "accepted", "ended"))
        ]
        explain = {"cause": "queued", "text": f"It is server {i} of run {run.run_id}, and {run.names[i]} by name."}
        explain |= {"until": None, "commands": [f"ecsbatch explain {run.names[i]}"]}
        return web.json_response({"server": "", "outcome": outcome, "story": story, "explain": explain})

    def push(self, run_id: str) -> None:
        """Send what has changed to all who look at a run."""
        message = self.runs[run_id].changes()
        for queue in self._viewers[run_id]:
            queue.put_nowait(message)

    def beat(self) -> None:
        """Say to all who look at a run that somebody is there."""
        for queues in self._viewers.values():
            for queue in queues:
                queue.put_nowait({})

    def hang_up(self) -> None:
        """Break all streams of runs."""
        for queues in self._viewers.values():
            for queue in queues:
                queue.put_nowait(None)

    async def play(self) -> None:
        """Let all runs go on, four messages a second."""
        while self.rate:
            begun = time.perf_counter()
            for run_id, run in self.runs.items():
                if not run.standing:
                    run.step(max(1, min(self.rate, run.n) // 4))
                    self.push(run_id)
            await asyncio.sleep(max(0.0, 0.25 - (time.perf_counter() - begun)))


async def _next(queue: asyncio.Queue[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return the next message, None at the end; a beat is empty."""
    try:
        async with asyncio.timeout(BEAT):
            return await queue.get()
    except TimeoutError:
        return {}


async def _send(stream: web.StreamResponse, event: str, data: dict[str, Any], number: int) -> None:
    await stream.write(f"id: {number}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode())


async def serve(pretender: Pretender, port: int = 0) -> tuple[web.AppRunner, int]:
    """Serve on 127.0.0.1; returns what stops it, and the port."""
    runner = web.AppRunner(pretender.app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    return runner, int(runner.addresses[0][1])


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=50_000)
    parser.add_argument("--rate", type=int, default=1000, help="servers that change in a second")
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--scene", choices=sorted(SCENES), default="middle")
    parser.add_argument("--steer", action="store_true")
    parser.add_argument("--hostile", action="store_true")
    asked = parser.parse_args()
    runs = [scene(asked.scene, n, hostile=asked.hostile) for n in (3, 3000, asked.servers)]
    pretender = Pretender(runs, rate=asked.rate, steer=asked.steer)
    runner, port = await serve(pretender, asked.port)
    print(f"http://127.0.0.1:{port}/", flush=True)  # noqa: T201 - a tool's output
    try:
        await asyncio.gather(pretender.play(), asyncio.Event().wait())
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_main())
