"""A cloud that answers at once, in the process that asks: what it costs is small, known, and the same for each server.

It checks no signature and remembers nothing: each server is up, and each job has ended well when it is first asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Final
from urllib.parse import parse_qs, urlsplit

import orjson

from ecsbatch.ecs.sender import Answer, Request

_ROW: Final = (
    b'{"id":"%b","name":"web","status":"ACTIVE","updated":"2026-01-01T00:00:00Z","hostId":"h%d","locked":false,'
    b'"tags":[],"OS-EXT-AZ:availability_zone":"az%d","OS-EXT-STS:task_state":null}'
)
_SUB_JOB: Final = b'{"status":"SUCCESS","entities":{"server_id":"%b"}}'
_IDS: Final = re.compile(r'"id":"([^"]*)"')


def instant_ids(servers: int) -> list[str]:
    """Return the ids of a cloud's servers, in the order in which it lists them."""
    return [_id(number) for number in range(servers)]


class InstantCloud:
    """A `Sender` that is a cloud of so many servers, with the ids of `instant_ids`."""

    def __init__(self, servers: int) -> None:
        self._servers = servers
        self._jobs: dict[str, str] = {}

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Answer one request."""
        on_sent()
        asked = urlsplit(request.url)
        path = asked.path.rpartition("/")[2]
        if request.method == "POST":
            answer = self._submitted(request.body)
        elif path == "detail":
            answer = self._page(parse_qs(asked.query))
        else:
            answer = self._job(path)
        return Answer(200, {"date": formatdate(usegmt=True)}, answer)

    def _submitted(self, body: bytes) -> bytes:
        job_id = f"job-{len(self._jobs)}"
        self._jobs[job_id] = ",".join(_IDS.findall(body.decode()))
        return orjson.dumps({"job_id": job_id})

    def _page(self, query: dict[str, list[str]]) -> bytes:
        if "server_id" in query:
            return _rows(query["server_id"][0].split(","), 0)
        first = _number(query["marker"][0]) + 1 if "marker" in query else 0
        last = min(self._servers, first + int(query["limit"][0]))
        return _rows([_id(number) for number in range(first, last)], self._servers)

    def _job(self, job_id: str) -> bytes:
        subs = b",".join([_SUB_JOB % server.encode() for server in self._jobs[job_id].split(",")])
        return b'{"job_id":"%b","status":"SUCCESS","entities":{"sub_jobs":[%b]}}' % (job_id.encode(), subs)


def _id(number: int) -> str:
    """Return the id of a server by its number; sorted they stand in no order of their numbers, as real ones do."""
    return f"{number * 2654435761 % 2**32:08x}-0000-4000-8000-{number:012x}"


def _number(server: str) -> int:
    return int(server[-12:], 16)


def _rows(ids: Sequence[str], count: int) -> bytes:
    rows = (_ROW % (server.encode(), _number(server) // 50, _number(server) % 3) for server in ids)
    return b'{"count":%d,"servers":[%b]}' % (count or len(ids), b",".join(rows))
