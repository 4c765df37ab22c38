"""A web service that restarts servers: what it has answered 202 for happens, whatever becomes of its process.

    POST /restart {"server": "web-17"}        202 and where its outcome will be told; those of a moment go together
    GET  /rollouts                            the last rollouts
    POST /rollouts {"servers": [...], "strategy": {...}, "run_id": "..."}
                                              202 and its address; 400 names the field, 409 the run that is in the way
    GET  /rollouts/ID                         how it goes on; the same words as the command line has
    GET  /rollouts/ID/servers/SERVER          how one server of it has ended
    GET  /rollouts/ID/events                  server-sent events; goes on behind Last-Event-ID
    POST /rollouts/ID/pause|resume|promote|abort
    GET  /health                              200 while the engine runs

It answers who shows the token of SERVICE_TOKEN, and no web page. It takes its keys, region and port from the
environment, keeps its runs in STORE, a file or the URL of a database, and goes on with what an earlier process has left
there. Any number of replicas may share a STORE: whichever is asked can answer, and what one of them leaves when it
ends, or dies with, another one goes on with.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, cast

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from ecsbatch import (
    EcsbatchError,
    EcsClient,
    Engine,
    Invalid,
    Quota,
    Recorded,
    Restarter,
    RunConflict,
    RunNotFound,
    Strategy,
    credentials,
    open_store,
)
from ecsbatch.errors import CloudError, EngineStopped, PlanStale, SelectionError, ServerNotFound, StoreError
from ecsbatch.rollout.standby import StandbyNews

HOSTS: Final = {"127.0.0.1", "localhost"}
MOMENT: Final = 0.2
"""Seconds for which single restarts are gathered."""

AT_ONCE: Final = Strategy(waves="100%", max_unavailable="100%", max_failures="100%", max_failures_per_wave=None)
"""How servers restart that somebody has asked for one by one: nobody else has to agree."""

STATUS: Final[Mapping[type[EcsbatchError], int]] = {
    ServerNotFound: 404,
    RunNotFound: 404,
    RunConflict: 409,
    PlanStale: 409,
    SelectionError: 400,
    EngineStopped: 503,
    StoreError: 503,
    CloudError: 502,
    EcsbatchError: 400,
}
"""What each error means to who has asked; the first that fits."""

log = structlog.get_logger()


class Intake:
    """Takes single restarts: those that are asked for within a moment are one rollout, stored before anybody hears."""

    def __init__(self, restarter: Restarter) -> None:
        self._restarter = restarter
        self._asked: dict[str, asyncio.Future[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, server: str) -> str:
        """Return the id of the rollout that restarts a server, be it a new one or one that has it already."""
        if server not in self._asked:
            self._asked[server] = asyncio.get_running_loop().create_future()
            if len(self._asked) == 1:
                task = asyncio.create_task(self._begin_soon())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(self._asked[server])

    async def _begin_soon(self) -> None:
        await asyncio.sleep(MOMENT)
        asked, self._asked = self._asked, {}
        for server, begun in (await self._begin(list(asked))).items():
            if isinstance(begun, str):
                asked[server].set_result(begun)
            else:
                asked[server].set_exception(begun)

    async def _begin(self, servers: list[str]) -> dict[str, str | Exception]:
        """Begin a rollout; where one of the servers keeps it from beginning, each half of them has its own."""
        try:
            rollout = await self._restarter.rollout(servers, AT_ONCE, on_event=write_down).start()
        except (RunConflict, SelectionError) as e:
            if len(servers) > 1:
                half = len(servers) // 2
                return await self._begin(servers[:half]) | await self._begin(servers[half:])
            return {servers[0]: e.run_id if isinstance(e, RunConflict) and e.run_id else e}
        except Exception as e:  # noqa: BLE001 - whoever waits is told
            return dict.fromkeys(servers, e)
        return dict.fromkeys(servers, rollout.run_id)


RESTARTER = web.AppKey("restarter", Restarter)
INTAKE = web.AppKey("intake", Intake)
STREAMS = web.AppKey("streams", set[asyncio.Task[Any]])


# -- what is asked -----------------------------------------------------------------------------------------------------


async def restart(request: web.Request) -> web.Response:
    """POST /restart."""
    server = (await asked(request, "server", str))["server"]
    run_id = await request.app[INTAKE].take(server)
    return answer({"run_id": run_id, "server": f"/rollouts/{run_id}/servers/{server}"}, 202)


async def begin(request: web.Request) -> web.Response:
    """POST /rollouts."""
    body = await asked(request, "servers", list)
    strategy = Strategy(**text_keys(body.get("strategy") or {}))
    rollout = request.app[RESTARTER].rollout(
        body["servers"], strategy, run_id=str(body.get("run_id", "")), on_event=write_down
    )
    await rollout.start()
    address = f"/rollouts/{rollout.run_id}"
    return answer({"run_id": rollout.run_id, "rollout": address}, 202, Location=address)


async def rollouts(request: web.Request) -> web.Response:
    """GET /rollouts."""
    records = await request.app[RESTARTER].runs()
    return answer({"rollouts": [each.as_dict() for each in records]})


async def progress(request: web.Request) -> web.Response:
    """GET /rollouts/ID."""
    return answer((await request.app[RESTARTER].progress(request.match_info["run"])).as_dict())


async def outcome(request: web.Request) -> web.Response:
    """GET /rollouts/ID/servers/SERVER."""
    told = await request.app[RESTARTER].outcome(request.match_info["run"], request.match_info["server"])
    return answer(told.as_dict())


async def steer(request: web.Request) -> web.Response:
    """POST /rollouts/ID/pause and its like."""
    steering, by = request.app[RESTARTER].steer(request.match_info["run"]), request.headers.get("X-User", "")
    verb = request.match_info["verb"]
    ways = {"pause": steering.pause, "resume": steering.resume, "promote": steering.promote, "abort": steering.abort}
    await ways[verb](by)
    return answer({verb: "done"})


async def events(request: web.Request) -> web.StreamResponse:
    """GET /rollouts/ID/events."""
    restarter, run = request.app[RESTARTER], request.match_info["run"]
    after = request.headers.get("Last-Event-ID", "0")
    followed = restarter.follow(run, after=int(after) if after.isascii() and after.isdigit() else 0)
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    request.app[STREAMS].add(task)  # before it waits: one that begins as the service ends would hold that up
    try:
        await restarter.record(run)  # one that is not there is 404, and no stream
        await stream.prepare(request)
        async with aclosing(followed):  # whoever reads may be gone before the end
            async for each in followed:
                told = orjson.dumps(each.as_dict()).decode()
                await stream.write(f"id: {each.seq}\nevent: {each.event.name}\ndata: {told}\n\n".encode())
    finally:
        request.app[STREAMS].discard(task)
    return stream


async def health(request: web.Request) -> web.Response:
    """GET /health."""
    restarter = request.app[RESTARTER]
    usage = await restarter.usage()
    return answer({"tokens_free": usage.free, "more_in_s": usage.next_free_in, "rollouts": len(restarter.rollouts)})


# -- how it is asked ---------------------------------------------------------------------------------------------------


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn away pages in browsers, which say an Origin or another Host, and whoever does not show the token."""
    if request.host.partition(":")[0] not in HOSTS or "Origin" in request.headers:
        return answer({"error": "Forbidden", "message": "Only programs that ask this host by its own name."}, 403)
    shown, token = request.headers.get("Authorization", ""), f"Bearer {os.environ['SERVICE_TOKEN']}"
    if not hmac.compare_digest(shown.encode(errors="replace"), token.encode()):
        return answer({"error": "Unauthorized", "message": "Show the token: Authorization: Bearer TOKEN."}, 401)
    structlog.contextvars.bind_contextvars(user=request.headers.get("X-User", ""))
    return await handler(request)


@web.middleware
async def told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors as JSON: what is wrong, and the fields that a program wants."""
    try:
        return await handler(request)
    except EcsbatchError as e:
        status = next(status for kind, status in STATUS.items() if isinstance(e, kind))
        return answer(e.as_dict(), status)


async def asked(request: web.Request, field: str, kind: type) -> dict[str, Any]:
    """Return the JSON object that was sent, with a field of its kind.

    Raises:
        Invalid: it is none.
    """
    if request.content_type != "application/json":
        raise Invalid("Send JSON, as application/json.", field="Content-Type", expected="application/json")
    try:
        body = orjson.loads(await request.read())
    except ValueError as e:
        raise Invalid(f"This is no JSON: {e}.", field="body", expected="a JSON object") from None
    if not isinstance(body, dict) or not isinstance(body.get(field), kind):
        raise Invalid(f"{field} is missing, or no {kind.__name__}.", field=field, expected=f"a {kind.__name__}")
    return body


def text_keys(settings: Any) -> dict[str, Any]:
    """Return the settings of a strategy; raises Invalid where they are no object."""
    if not isinstance(settings, dict):
        raise Invalid("strategy is no object.", field="strategy", expected="an object of settings")
    return settings


def answer(body: Mapping[str, Any], status: int = 200, **headers: str) -> web.Response:
    """Return a JSON answer."""
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)


# -- its life ----------------------------------------------------------------------------------------------------------


def write_down(recorded: Recorded) -> None:
    """Log an event, with the context variables of whoever has asked for the rollout."""
    log.info(**recorded.as_dict())


async def take_up(app: web.Application, restarter: Restarter) -> None:
    """Work with an engine, and go on with what an earlier process has left."""
    app[RESTARTER], app[INTAKE], app[STREAMS] = restarter, Intake(restarter), set()
    try:
        left = await restarter.resume_orphans(on_event=write_down)
    except* EcsbatchError as group:
        log.warning("orphans.left", why=[str(e) for e in group.exceptions])
    else:
        log.info("orphans.resumed", runs=[each.run_id for each in left])


def take_note(news: StandbyNews) -> None:
    """Log what this replica does about what others leave."""
    log.info("standby", **news.as_dict())


@asynccontextmanager
async def at_work(app: web.Application, restarter: Restarter) -> AsyncIterator[None]:
    """Go on with what earlier processes and other replicas leave; leave everything to others in the end.

    The end may come while it still takes up what was left.
    """
    looking: asyncio.Task[None] | None = None
    try:
        await take_up(app, restarter)
        looking = asyncio.create_task(restarter.stand_by(max_runs=100, on_event=write_down, on_news=take_note))
        yield
    finally:
        if looking is not None:
            looking.cancel()
            await asyncio.wait([looking])
        await restarter.aclose(timeout=10, hand_over=True)


Life = Callable[[web.Application], AsyncIterator[None]]


async def engine(app: web.Application) -> AsyncIterator[None]:
    """Start the engine before the first request, and end it behind the last."""
    region, endpoint = os.environ.get("REGION", ""), os.environ.get("ENDPOINT", "")
    settings = Engine(typical_restart=os.environ.get("TYPICAL_RESTART", "40s"))
    rate = float(os.environ.get("API_RATE", "20"))
    async with (
        EcsClient(region=region, endpoint=endpoint, auth=credentials(), api_rate=rate) as ecs,
        open_store(store_url()) as store,
        Restarter(ecs, store, quota=Quota(1000, 60.0), engine=settings) as restarter,
    ):
        async with at_work(app, restarter):
            yield
        log.info("service.ended")


def store_url() -> str:
    """Return the URL of the store that STORE names."""
    store = os.environ.get("STORE", "restarts.db")
    return store if "://" in store else f"sqlite:///{store}"


async def end_streams(app: web.Application) -> None:
    """End what would never end by itself; who watched asks again, behind the last event that it has."""
    for task in app[STREAMS]:
        task.cancel()


def application(life: Life | None = None) -> web.Application:
    """Put the service together; ``life`` is another engine than the one that the environment asks for."""
    app = web.Application(middlewares=[guard, told])
    run = "/rollouts/{run}"
    app.add_routes([web.post("/restart", restart), web.post("/rollouts", begin), web.get("/rollouts", rollouts)])
    app.add_routes([web.get(run, progress), web.get(f"{run}/servers/{{server}}", outcome)])
    app.add_routes([web.get(f"{run}/events", events), web.get("/health", health)])
    app.add_routes([web.post(f"{run}/{{verb:pause|resume|promote|abort}}", steer)])
    app.cleanup_ctx.append(life or engine)
    app.on_shutdown.append(end_streams)
    return app


def log_as_json() -> None:
    """Write each event as a line of JSON."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


if __name__ == "__main__":
    log_as_json()
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(application(), host="127.0.0.1", port=port, print=None, access_log=None)
