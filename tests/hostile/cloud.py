"""A hostile cloud: the ECS API as far as restarts need it, written from the reference, and books of all that came.

It is a process of its own that shares no code with what it judges: ``python tests/hostile/cloud.py JSON``. The JSON
names what it does wrong (`Manners`), and ``POST /hostile/set`` changes that while it runs; ``GET /hostile/books`` says
what it has counted, in seconds since it began.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

BEFORE_ALL = "2026-01-01T00:00:00Z"
"""When every server was last changed before the first restart."""

MAX_PAGE = 1000
MAX_LOOK = 100


@dataclass
class Manners:
    """What the cloud does, and does wrong. All times are seconds.

    Attributes:
        servers: how many it has.
        restart: how long a restart takes.
        frozen: restarts that have begun do not end.
        down: everything is answered with 503.
        posts: what is done with the first requests, in their order; the rest are carried out. ``lost``: carried out
            and never answered; ``late``: begun ``late_after`` the request, never answered; ``belated``: begun with
            the second look that shows these servers ``belated_after`` the request, never answered; ``half``: the
            first half is begun and the answer is Ecs.0611.
        late_after, belated_after: see there.
        held_looks: looks that arrive between the first two, counted from the first request, see what is so then and
            are answered at the third.
        blank_looks: looks that arrive between these two, counted from the first request, leave all servers out.
        dead_jobs_of: a job that has one of these servers cannot be shown.
        dead_looks_of: a look that names one of these servers is answered with 500.
        endless_jobs_of: the sub-jobs of these servers stay RUNNING, whatever the server does.
        no_updated: rows do not say when a server was changed.
        holes: servers that a look leaves out; ``holes_alone``: also one that names nobody else.
        no_show: servers cannot be asked for by their own address.
        no_filter: the filter by id is not heeded.
        forbidden: a request that names one of these servers is answered with 403.
    """

    servers: int = 40
    restart: float = 0.5
    frozen: bool = False
    down: bool = False
    posts: Sequence[str] = ()
    late_after: float = 0.0
    belated_after: float = 0.0
    held_looks: Sequence[float] = ()
    blank_looks: Sequence[float] = ()
    dead_jobs_of: Sequence[str] = ()
    dead_looks_of: Sequence[str] = ()
    endless_jobs_of: Sequence[str] = ()
    no_updated: bool = False
    holes: Sequence[str] = ()
    holes_alone: bool = False
    no_show: bool = False
    no_filter: bool = False
    forbidden: Sequence[str] = ()


@dataclass
class Server:
    """One server; ``begun`` are the instants of its restarts."""

    id: str
    az: str
    updated: str = BEFORE_ALL
    begun: list[float] = field(default_factory=list)
    ends_at: float = 0.0
    down: bool = False


@dataclass
class CloudRecord:
    """What has come and what was counted.

    Attributes:
        requests: each with its instant of arrival, its method, its path, the servers that it names.
        counted: what the quota is charged with: the instant and the servers that begin.
        begun: each server's restarts.
        up: the servers that run now.
    """

    requests: list[dict[str, Any]] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)
    begun: dict[str, list[float]] = field(default_factory=dict)
    up: list[str] = field(default_factory=list)


def ids_of(count: int) -> list[str]:
    """Return the ids of a fleet, the same each time."""
    return [str(UUID(int=(0x5E << 120) + number)) for number in range(1, count + 1)]


class Cloud:
    """Servers, jobs and books."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self._since = time.monotonic()
        ids = ids_of(manners.servers)
        self._servers = {id_: Server(id_, f"az{i % 2 + 1}") for i, id_ in enumerate(ids)}
        self._jobs: dict[str, list[tuple[str, float]]] = {}
        self._posts = list(manners.posts)
        self._first_post: float | None = None
        self._belated: list[str] = []
        self._belated_looks = 0
        self._books = CloudRecord()

    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._since

    def routes(self) -> list[web.RouteDef]:
        """Return what it answers to."""
        return [
            web.post("/v1/{project}/cloudservers/action", self.action),
            web.get("/v1/{project}/jobs/{job}", self.job),
            web.get("/v1/{project}/cloudservers/detail", self.detail),
            web.get("/v1/{project}/cloudservers/{server}", self.show),
            web.post("/hostile/set", self.set),
            web.get("/hostile/books", self.books),
        ]

    # -- the person behind it --------------------------------------------------------------------------------------

    async def set(self, request: web.Request) -> web.Response:
        """Change its manners."""
        self._settle()
        for name, value in (await request.json()).items():
            if not hasattr(self.manners, name):
                raise web.HTTPBadRequest(text=f"no manner {name}")
            setattr(self.manners, name, value)
        self._settle()
        return web.json_response({})

    async def books(self, _: web.Request) -> web.Response:
        """Show the books."""
        self._settle()
        self._books.begun = {s.id: s.begun for s in self._servers.values() if s.begun}
        self._books.up = [s.id for s in self._servers.values() if not s.down]
        return web.json_response(asdict(self._books))

    # -- servers ---------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Let those come back whose time is over."""
        now = self.now()
        for server in self._servers.values():
            if server.down and not self.manners.frozen and now >= server.ends_at:
                server.down = False
                server.updated = _stamp()

    def _begin(self, ids: Sequence[str]) -> None:
        now = self.now()
        self._books.counted.append({"at": now, "servers": list(ids)})
        for id_ in ids:
            server = self._servers[id_]
            server.begun.append(now)
            server.ends_at = now + self.manners.restart
            server.down = True
            server.updated = _stamp()

    def _row(self, id_: str) -> dict[str, Any]:
        server = self._servers.get(id_)
        if server is None:
            names = ("name", "status", "created", "hostId", "tenant_id", "flavor", "metadata", "updated")
            message = {"code": 404, "message": f"Instance {id_} could not be found."}
            return {"id": id_, "fault": message, **dict.fromkeys(names)}
        row: dict[str, Any] = {
            "id": id_,
            "name": f"web-{id_[-4:]}",
            "status": "REBOOT" if server.down else "ACTIVE",
            "updated": server.updated,
            "created": BEFORE_ALL,
            "hostId": f"host-{server.az}",
            "tenant_id": "project",
            "OS-EXT-AZ:availability_zone": server.az,
            "OS-EXT-STS:vm_state": "active",
            "OS-EXT-STS:task_state": "reboot_started" if server.down else None,
            "locked": False,
            "flavor": {"id": "s6.large.2"},
            "metadata": {},
            "tags": [],
            "addresses": {"net": [{"addr": "127.0.0.1", "version": "4", "OS-EXT-IPS:type": "fixed"}]},
        }
        if self.manners.no_updated:
            del row["updated"]
        return row

    # -- the API ---------------------------------------------------------------------------------------------------

    def _arrived(self, request: web.Request, servers: Sequence[str]) -> float:
        self._settle()
        now = self.now()
        entry = {"at": now, "method": request.method, "path": request.path, "servers": list(servers)}
        self._books.requests.append(entry)
        if self.manners.down:
            raise _error(503, "Common.0001", "The service is down.")
        return now

    async def action(self, request: web.Request) -> web.Response:
        """BatchRebootServers."""
        ids = [server["id"] for server in (await request.json())["reboot"]["servers"]]
        now = self._arrived(request, ids)
        if self._first_post is None:
            self._first_post = now
        if missing := [id_ for id_ in ids if id_ not in self._servers]:
            raise _error(404, "Ecs.0114", f"The server {missing[0]} does not exist.")
        if set(ids) & set(self.manners.forbidden):
            raise _error(403, "Ecs.0003", "You do not have permission to perform the operation.")
        match self._posts.pop(0) if self._posts else "":
            case "lost":
                self._begin(ids)
                await _silence()
            case "late":
                await asyncio.sleep(self.manners.late_after)
                self._begin(ids)
                await _silence()
            case "belated":
                self._belated = ids
                await _silence()
            case "half":
                self._begin(ids[: len(ids) // 2])
                raise _error(400, "Ecs.0611", "The batch operation failed.")
        self._begin(ids)
        job = uuid4().hex
        self._jobs[job] = [(id_, now) for id_ in ids]
        return web.json_response({"job_id": job})

    async def job(self, request: web.Request) -> web.Response:
        """ShowJob."""
        job = request.match_info["job"]
        members = self._jobs.get(job)
        self._arrived(request, [id_ for id_, _ in members or ()])
        if members is None:
            raise _error(400, "Common.0011", "Failed to query system tasks: invalid job id.")
        if {id_ for id_, _ in members} & set(self.manners.dead_jobs_of):
            raise _error(500, "Common.0001", "System exception.")
        rows = [self._sub_job(id_, begun) for id_, begun in members]
        over = all(row["status"] == "SUCCESS" for row in rows)
        body = {
            "job_id": job,
            "job_type": "serversAction",
            "status": "SUCCESS" if over else "RUNNING",
            "begin_time": _stamp(milliseconds=True),
            "end_time": _stamp(milliseconds=True) if over else "",
            "entities": {"sub_jobs_total": len(rows), "sub_jobs": rows},
        }
        return web.json_response(body)

    def _sub_job(self, id_: str, begun: float) -> dict[str, Any]:
        server = self._servers[id_]
        ends = begun + self.manners.restart
        running = id_ in self.manners.endless_jobs_of or server.down
        offset = time.time() - self.now()
        return {
            "status": "RUNNING" if running else "SUCCESS",
            "job_id": uuid4().hex,
            "job_type": "serverActions",
            "begin_time": _stamp(offset + begun, milliseconds=True),
            "end_time": "" if running else _stamp(offset + ends, milliseconds=True),
            "entities": {"server_id": id_},
        }

    async def detail(self, request: web.Request) -> web.Response:
        """ListServersDetails: by id, or page by page."""
        asked = [id_ for id_ in request.query.get("server_id", "").split(",") if id_]
        now = self._arrived(request, asked)
        limit = int(request.query.get("limit", "25"))
        if not 1 <= limit <= MAX_PAGE or len(asked) > MAX_LOOK:
            raise _error(400, "Ecs.0005", "The parameter is invalid.")
        if set(asked) & set(self.manners.dead_looks_of):
            raise _error(500, "Common.0001", "System exception.")
        if asked and not self.manners.no_filter:
            rows = self._look(asked, now)
            count = len(rows)
        else:
            everyone = list(self._servers)
            marker = request.query.get("marker", "")
            start = everyone.index(marker) + 1 if marker in self._servers else 0
            rows = [self._row(id_) for id_ in everyone[start : start + limit]]
            count = len(everyone)
        await self._hold(now)
        return web.json_response({"count": count, "servers": rows})

    async def show(self, request: web.Request) -> web.Response:
        """ShowServer."""
        id_ = request.match_info["server"]
        self._arrived(request, [id_])
        if self.manners.no_show:
            raise _error(404, "APIGW.0101", "The API does not exist or has not been published.")
        if id_ not in self._servers:
            raise _error(404, "Ecs.0114", f"The server {id_} does not exist.")
        if id_ in self.manners.dead_looks_of:
            raise _error(500, "Common.0001", "System exception.")
        return web.json_response({"server": self._row(id_)})

    def _look(self, asked: Sequence[str], now: float) -> list[dict[str, Any]]:
        since = None if self._first_post is None else now - self._first_post
        if since is not None and self.manners.blank_looks:
            begin, end = self.manners.blank_looks
            if begin <= since < end:
                return []
        if self._belated and since is not None and since >= self.manners.belated_after:
            if set(asked) & set(self._belated):
                self._belated_looks += 1
            if self._belated_looks == 2:
                self._begin(self._belated)
                self._belated = []
        holes = set(self.manners.holes) if len(asked) > 1 or self.manners.holes_alone else set[str]()
        return [self._row(id_) for id_ in asked if id_ not in holes]

    async def _hold(self, now: float) -> None:
        """Answer a look later than it was taken."""
        if self._first_post is None or not self.manners.held_looks:
            return
        begin, end, answered = self.manners.held_looks
        if begin <= now - self._first_post < end:
            await asyncio.sleep(self._first_post + answered - self.now())


async def _silence() -> None:
    """Never answer."""
    await asyncio.Event().wait()


def _stamp(seconds: float | None = None, *, milliseconds: bool = False) -> str:
    when = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="milliseconds" if milliseconds else "seconds").replace("+00:00", "Z")


def _error(status: int, code: str, message: str) -> web.HTTPException:
    """Return an answer to raise."""
    kinds = {400: web.HTTPBadRequest, 403: web.HTTPForbidden, 404: web.HTTPNotFound, 500: web.HTTPInternalServerError}
    kind = kinds.get(status, web.HTTPServiceUnavailable)
    body = json.dumps({"error": {"code": code, "message": message}})
    return kind(text=body, content_type="application/json")


async def serve(manners: Manners) -> AsyncIterator[str]:
    """Serve until closed; yield the URL."""
    app = web.Application()
    app.add_routes(Cloud(manners).routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def main() -> None:
    """Say where it listens, then serve until it is killed."""
    async for url in serve(Manners(**json.loads(sys.argv[1]))):
        print(json.dumps({"url": url}), flush=True)  # noqa: T201 - a program's output
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
