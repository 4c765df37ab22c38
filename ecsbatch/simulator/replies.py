"""The cloud's answers: how they, its errors and its times look on the wire."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; the cloud adds its ``Date``, ``X-Request-Id`` and ``Server`` headers when it leaves."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Rejected(Exception):
    """Raised to end a request with an error reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body.decode())
        self.reply = reply


def json_reply(status: int, value: Any, headers: dict[str, str] | None = None) -> Reply:
    """Return a JSON answer."""
    return Reply(status, orjson.dumps(value), {"Content-Type": "application/json;charset=UTF-8", **(headers or {})})


def ecs_error(status: int, code: str, message: str) -> Reply:
    """Return an error of the ECS service: ``{"error": {"code", "message"}}``."""
    return json_reply(status, {"error": {"message": message, "code": code}})


def gateway_error(status: int, code: str, message: str, request_id: str) -> Reply:
    """Return an error of the gateway in front of it: ``{"error_code", "error_msg", "request_id"}``."""
    return json_reply(status, {"error_code": code, "error_msg": message, "request_id": request_id})


def throttled(limit: int, period: str, policy: str, request_id: str) -> Reply:
    """Return the gateway's 429 with the limit and its period in the message, as recorded from other services."""
    message = f"The throttling threshold has been reached: policy {policy} over ratelimit,limit:{limit},time:{period}"
    return gateway_error(429, "APIGW.0308", message, request_id)


def milliseconds(wall: float) -> str:
    """Return ``2016-04-25T20:04:34.604Z``, the form in jobs."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(wall * 1000) % 1000:03d}Z"


def whole_seconds(wall: float) -> str:
    """Return ``2016-04-25T20:04:34Z``, the form in servers."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))


def microseconds(wall: float) -> str:
    """Return ``2016-04-25T20:04:34.604000Z``, the form in tokens and temporary keys."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def http_date(wall: float) -> str:
    """Return ``Mon, 25 Apr 2016 20:04:34 GMT``, the form of the ``Date`` header."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(wall))
