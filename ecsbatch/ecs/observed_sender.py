"""`ObservedSender`: a sender whose requests are heard of, for metrics and traces. What hears of them changes nothing.

A request is known by its method and its **route**, the path without ids (``/v1/{project_id}/jobs/{job_id}``): of those
there are ten, however many servers there are, and none of them tells who asked for what. Headers and bodies are not
passed on: they hold secrets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol
from urllib.parse import urlsplit

from ecsbatch.ecs.sender import Answer, Request, Sender
from ecsbatch.model.requests import OutgoingRequest

OTHER: Final = "other"
"""The route of what is none of those that are known."""

_ROUTES: Final = (
    "/v1/{project_id}/cloudservers/action",
    "/v1/{project_id}/cloudservers/detail",
    "/v1/{project_id}/cloudservers/{server_id}",
    "/v1/{project_id}/jobs/{job_id}",
    "/v3/auth/tokens",
    "/v3/projects",
    "/meta-data/latest/api/token",
    "/openstack/latest/securitykey",
)
_PATHS: Final = tuple((re.compile(re.sub(r"\\?\{.*?\}", "[^/]+", re.escape(route))), route) for route in _ROUTES)
_PORTS: Final = {"https": 443, "http": 80}


Ended = Callable[[int, str], None]
"""Hears how a request ended: the status, 0 where there was no answer, and then the name of the error, else ""."""


class RequestWatcher(Protocol):
    """Hears of the requests of an `EcsClient`; it must take note and return at once. What it raises is passed over."""

    def sending(self, request: OutgoingRequest, /) -> Ended:
        """Hear that a request begins, in the context of whoever sends it; return what is to hear of its end."""
        ...

    def saw_ends(self, delays: Sequence[float], /) -> None:
        """Hear of restarts that a look at a job has just shown to be over.

        Args:
            delays: for how many seconds each of them was, when the cloud answered, by the cloud's own clock.
        """
        ...


class ObservedSender:
    """Sends by another sender, and tells of it."""

    def __init__(self, sender: Sender, watchers: Sequence[RequestWatcher]) -> None:
        """Send by ``sender``; ``watchers`` hear of it."""
        self._sender = sender
        self._watchers = watchers

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Send a request once and return the answer; raises what the sender raises."""
        ended = self._begun(request)
        try:
            answer = await self._sender(request, on_sent)
        except BaseException as e:
            _tell(ended, 0, type(e).__name__)
            raise
        _tell(ended, answer.status, "" if answer.complete else "incomplete")
        return answer

    def _begun(self, request: Request) -> list[Ended]:
        told, hearers = outgoing(request), list[Ended]()
        for watcher in self._watchers:
            with suppress(Exception):
                hearers.append(watcher.sending(told))
        return hearers


def _tell(hearers: Sequence[Ended], status: int, error: str) -> None:
    for ended in hearers:
        with suppress(Exception):
            ended(status, error)


def outgoing(request: Request) -> OutgoingRequest:
    """Return what may be told of a request."""
    url = urlsplit(request.url)
    route = next((route for pattern, route in _PATHS if pattern.fullmatch(url.path)), OTHER)
    return OutgoingRequest(request.method, route, url.hostname or "", url.port or _PORTS.get(url.scheme, 0))
