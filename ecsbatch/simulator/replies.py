"""What the cloud answers with, and how its errors look on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; the cloud adds its ``Date``, ``X-Request-Id`` and ``Server`` headers when it leaves."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Rejected(Exception):
    """Ends the handling of a request with an error reply."""

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
