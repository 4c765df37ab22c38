"""Answers requests of the page. Who is answered is decided in `access.py`, before anything else is looked at."""

from __future__ import annotations

import asyncio
import gzip
import html
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from ecsbatch.cli.catalog import installed_version
from ecsbatch.cli.dashboard.access import HEADERS, UNKNOWN, Access, Asked, NoEntry, bearer_of
from ecsbatch.cli.dashboard.assets import PAGE, Asset
from ecsbatch.cli.dashboard.board import LAST_WORDS
from ecsbatch.cli.dashboard.boards import Boards
from ecsbatch.cli.dashboard.paths import Target, target_of
from ecsbatch.cli.dashboard.runs_list import LISTED, RunsList
from ecsbatch.cli.dashboard.steering import read_request, status_of, steer
from ecsbatch.cli.dashboard.stream import Audience, Seats, Viewer, read_by_all, send_events
from ecsbatch.cli.listen import IDLE
from ecsbatch.cli.output import warn
from ecsbatch.errors import EcsbatchError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.json_text import json_bytes

if TYPE_CHECKING:
    from ecsbatch.rollout.history import History

MOST_BODY: Final = 4096
"""Bytes of a request's body."""

MOST_HEADERS: Final = 64
"""Headers of a request."""

_BODY_WITHIN: Final = 5.0
"""Seconds that a request's body may take."""

_LOG: Final = logging.getLogger("ecsbatch.page")
_LOG.addHandler(logging.NullHandler())

_COUNT: Final = re.compile(r"[0-9]{1,15}")

_SENTENCES: Final[Mapping[int, str]] = {
    400: "The request cannot be understood.",
    404: "There is nothing here.",
    405: "Nothing here is done by this method.",
    413: "The request is too large.",
    500: "The page could not answer: this is a bug in ecsbatch, and the run goes on.",
    503: "Too many watch already: close a page that is not needed.",
}

_MALFORMED: Final = NoEntry(400, _SENTENCES[400])


@dataclass(frozen=True, slots=True)
class PageOptions:
    """What a page is like.

    Attributes:
        access: who is let in.
        assets: the page's files.
        steers: runs can be steered from it.
        by: who is at this process, for the record of what is asked from the page.
    """

    access: Access
    assets: Mapping[str, Asset]
    steers: bool
    by: str


class PageRoutes:
    """Answers the requests of one page."""

    def __init__(self, runs: History, options: PageOptions) -> None:
        """Show the runs of a store."""
        self.boards = Boards(runs)
        self.list = RunsList(runs, self.boards)
        self.seats = Seats()
        self._runs = runs
        self._options = options
        self._answers: Mapping[str, Callable[[web.BaseRequest, Target], Awaitable[web.StreamResponse]]] = {
            "page": self._page,
            "asset": self._asset,
            "session": self._session,
            "runs": self._list,
            "runs_events": self._list_events,
            "fleet": self._fleet,
            "events": self._events,
            "server": self._server,
            "steer": self._steer,
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        access, asked = self._options.access, _asked(request, self._options.access)
        refusal = _MALFORMED if asked is None else access.refusal(asked)
        if asked is None or refusal is not None:
            return _refused(request.path, refusal or _MALFORMED)
        if access.enters(asked):
            return _answer(b"", 303, headers={"Location": "/", "Set-Cookie": access.set_cookie})
        target = target_of(asked.method, asked.path, steers=self._options.steers)
        if isinstance(target, int):
            return _refused(asked.path, NoEntry(target, _SENTENCES[target]))
        return await self._answered(request, target)

    async def _answered(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        try:
            return await self._answers[target.name](request, target)
        except EcsbatchError as e:
            return _json(e.as_dict(), status_of(e))
        except ConnectionError:
            raise
        except Exception as e:  # noqa: BLE001 - it must not end a rollout
            warn(f"The page could not answer ({target.name}, {type(e).__name__}): this is a bug in ecsbatch.")
            return _json({"error": "InternalError", "message": _SENTENCES[500]}, 500)

    # -- the page -------------------------------------------------------------------------------------------------

    async def _page(self, request: web.BaseRequest, _: Target) -> web.StreamResponse:
        return _file(request, self._options.assets[PAGE], cached=False)

    async def _asset(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        asset = self._options.assets.get(target.asset)
        if asset is None:
            return _refused(request.path, NoEntry(404, _SENTENCES[404]))
        return _file(request, asset, cached=True)

    async def _session(self, _: web.BaseRequest, __: Target) -> web.StreamResponse:
        steers = self._options.steers
        csrf = self._options.access.csrf if steers else None
        return _json({"v": 1, "steer": steers, "csrf": csrf, "version": installed_version()})

    # -- runs -----------------------------------------------------------------------------------------------------

    async def _list(self, request: web.BaseRequest, _: Target) -> web.StreamResponse:
        limit = _number(request.query.get("limit", str(LISTED)))
        if limit is None:
            return _refused(request.path, NoEntry(400, "limit is a count."))
        return _json(await self.list.listed(limit, request.query.get("after", "")))

    async def _list_events(self, request: web.BaseRequest, _: Target) -> web.StreamResponse:
        return await self._watch(request, self.list.audience)

    async def _fleet(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        async with self.boards.board(target.run) as board:
            fleet = await board.fleet()
        if fleet.etag in request.headers.get("If-None-Match", ""):
            return _answer(b"", 304, headers={"ETag": fleet.etag})
        return _packed(request, "application/json", fleet.etag, fleet.body, lambda: gzip.decompress(fleet.body))

    async def _server(self, _: web.BaseRequest, target: Target) -> web.StreamResponse:
        async with self.boards.board(target.run) as board:
            return _json(await board.server(target.index))

    async def _events(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        async with self.boards.board(target.run) as board:
            return await self._watch(request, board.audience)

    async def _watch(self, request: web.BaseRequest, audience: Audience) -> web.StreamResponse:
        if not self.seats.take():
            return _json({"error": "TooMany", "message": _SENTENCES[503]}, 503)
        viewer = Viewer(_number(request.headers.get("Last-Event-ID", "")) or 0)
        try:
            response = web.StreamResponse(headers={**HEADERS, "X-Accel-Buffering": "no"})
            response.content_type = "text/event-stream"
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            audience.join(viewer)
            await send_events(request, response, viewer)
            return response
        finally:
            audience.leave(viewer)
            self.seats.free()

    # -- steering -------------------------------------------------------------------------------------------------

    async def _steer(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        body = await _body(request)
        if body is None:
            return _refused(request.path, NoEntry(413, _SENTENCES[413]))
        asked, by = read_request(body), f"{self._options.by} by the page"
        record = await self._runs.record(target.run)
        return _json({"v": 1, "run_id": record.run_id, **await steer(self._runs, record.run_id, asked, by)})

    async def close(self, last: bytes) -> None:
        """Tell all viewers the last that is known, and ``last``; then watch nothing any more."""
        viewers = tuple(self.list.audience)
        self.list.audience.close(last)
        await self.boards.close(last)
        await read_by_all(viewers, LAST_WORDS)
        await self.list.end()


def page_server(routes: PageRoutes) -> web.Server:
    """Return what serves a page: it has no words of its own."""
    return _PageServer(
        routes.answer,
        handler_cancellation=True,
        access_log=None,
        logger=_LOG,
        keepalive_timeout=IDLE,
        lingering_time=1.0,
    )


class _Connection(web.RequestHandler):
    """One connection; what is no HTTP is answered without a word about what answers."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it repeats what was sent
    ) -> web.StreamResponse:
        """Answer what cannot be understood."""
        if request.writer.output_size > 0:
            raise ConnectionError("The answer has begun already.") from exc
        response = _answer(_SENTENCES.get(status, _SENTENCES[400]).encode(), status, "text/plain; charset=utf-8")
        response.force_close()
        return response


class _PageServer(web.Server):
    """Makes such connections."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


def _asked(request: web.BaseRequest, access: Access) -> Asked | None:
    """Return what a request says of itself; None where it says too much, says it twice, or asks a proxy."""
    headers = request.headers
    hosts = headers.getall("Host", [])
    if len(hosts) != 1 or not request.raw_path.startswith("/") or len(headers.getall("Origin", [])) > 1:
        return None
    if len(request.raw_headers) > MOST_HEADERS:
        return None
    return Asked(
        method=request.method,
        path=request.path,
        host=hosts[0],
        origin=headers.get("Origin", ""),
        site=headers.get("Sec-Fetch-Site", ""),
        cookie=request.cookies.get(access.cookie_name, ""),
        bearer=bearer_of(headers.get("Authorization", "")),
        token=request.query.get("token"),
        csrf=headers.get("X-Ecsbatch-Csrf", ""),
    )


async def _body(request: web.BaseRequest) -> bytes | None:
    """Return a request's body, None where it is too long or takes too long."""
    body = b""
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            while part := await request.content.read(MOST_BODY + 1):
                body += part
                if len(body) > MOST_BODY:
                    return None
    except TimeoutError:
        return None
    return body


def _number(text: str) -> int | None:
    return int(text) if _COUNT.fullmatch(text) else None


def _answer(
    body: bytes, status: int = 200, content_type: str = "", headers: Mapping[str, str] | None = None
) -> web.Response:
    more = {"Content-Type": content_type} if content_type else {}
    return web.Response(body=body, status=status, headers={**HEADERS, **more, **(headers or {})})


def _json(value: Any, status: int = 200) -> web.Response:
    return _answer(json_bytes(value), status, "application/json")


def _refused(path: str, why: NoEntry) -> web.Response:
    if path.startswith("/api/"):
        return _json({"error": "Refused", "message": why.sentence}, why.status)
    # A browser that comes from another site shows its cookie only to what is asked for from here.
    again = '<p><a href="/">I have opened it before</a></p>' if why.sentence == UNKNOWN else ""
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>ecsbatch</title>'
        f"<p>{html.escape(why.sentence)}</p>{again}</html>"
    )
    return _answer(page.encode(), why.status, "text/html; charset=utf-8")


def _file(request: web.BaseRequest, asset: Asset, *, cached: bool) -> web.Response:
    caching = {"Cache-Control": "private, no-cache"} if cached else {}
    if cached and asset.etag in request.headers.get("If-None-Match", ""):
        return _answer(b"", 304, headers={"ETag": asset.etag, **caching})
    response = _packed(request, asset.content_type, asset.etag, asset.packed, lambda: asset.body)
    response.headers.update(caching)
    return response


def _packed(
    request: web.BaseRequest, content_type: str, etag: str, packed: bytes, unpacked: Callable[[], bytes]
) -> web.Response:
    """Answer in gzip, or as it is to whoever cannot read that."""
    more = {"ETag": etag, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return _answer(packed, content_type=content_type, headers={**more, "Content-Encoding": "gzip"})
    return _answer(unpacked(), content_type=content_type, headers=more)
