"""Turns an answer that is no success into the error that says what may be done next.

`error_of` does it; `CODES` says what each code of the cloud means.

The codes and what they mean are from the ECS API reference ("Error Codes", OTC edition of 2026-07-02) and from
recorded gateway answers. The reference warns that HTTP statuses may not be accurate, so a known code weighs more
than the status, with two exceptions: 429 always throttles, and after any other 5xx nothing is certain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, Literal, NamedTuple, cast

import orjson

from ecsbatch.errors import (
    AuthError,
    CloudError,
    Denied,
    JobNotFound,
    NotAccepted,
    Refused,
    Throttled,
    TokenExpired,
    UnknownAnswer,
)
from ecsbatch.model.text import MAX_TEXT, one_line, truncate, without_code

RequestKind = Literal["submit", "job", "look"]
"""What was asked for: a restart, a job, or servers' states."""

BUSY_CODE: Final = "Ecs.0603"
BUSY_SECONDS: Final = 60.0
"""Seconds. ``Ecs.0603`` says that commands are being executed, and to try again 1 minute later."""

_MAX_RETRY_AFTER: Final = 86_400.0
_MAX_DEPTH: Final = 8
_READ_AT_MOST: Final = 65_536

_UNKNOWN_API: Final = "The endpoint does not know this API: check endpoint, region and project id"
_OTHER_PROJECT: Final = "The project id is not the one of the key or token: check it"
_REDIRECT: Final = "The endpoint answers with a redirect: check it"

_SETTINGS: Final = {
    _UNKNOWN_API: ("endpoint", "region", "project_id"),
    _OTHER_PROJECT: ("project_id",),
    _REDIRECT: ("endpoint",),
}
"""The settings to look at, by the sentence that asks for it."""

CODES: Final[Mapping[str, tuple[type[CloudError], str]]] = {
    # Turned away by a limit: certainly not carried out.
    "APIGW.0308": (Throttled, "The gateway's request limit is reached"),
    "Common.1503": (Throttled, "The flow control of ECS turned the request away"),
    BUSY_CODE: (NotAccepted, "Other commands are being executed"),
    # The key, the permission, the address: stop at once.
    "APIGW.0101": (AuthError, _UNKNOWN_API),
    "APIGW.0301": (AuthError, "The gateway does not accept the key or token"),
    "APIGW.0303": (AuthError, "The gateway does not accept the key or token"),
    "APIGW.0310": (AuthError, "The project is not available"),
    "Common.0013": (AuthError, "The token is not valid"),
    "Common.0018": (AuthError, _OTHER_PROJECT),
    "Ecs.0023": (AuthError, _OTHER_PROJECT),
    "Pdp.0001": (AuthError, "A policy forbids the request"),
    "Ecs.0066": (AuthError, "The account is restricted"),
    "Ecs.0067": (AuthError, "The account is restricted"),
    "Ecs.0068": (AuthError, "The account is restricted"),
    "Ecs.0069": (AuthError, "The account is restricted"),
    "Ecs.0070": (AuthError, "The account is restricted"),
    "Ecs.0071": (AuthError, "The account is restricted"),
    # Policies may allow only some servers: find out which.
    "Ecs.0003": (Denied, "A permission is missing (ecs:cloudServers:reboot) or the account is restricted"),
    "Ecs.0110": (Denied, "A permission is missing (ecs:cloudServers:reboot) or the account is restricted"),
    # This request's content: change it.
    "Common.0002": (Refused, "The request has no body"),
    "Ecs.0005": (Refused, "A parameter is not valid"),
    "Ecs.0100": (Refused, "A server's state does not allow it"),
    "Ecs.0114": (Refused, "A server does not exist"),
    "Ecs.0118": (Refused, "The request names too many servers"),
    "Ecs.0226": (Refused, "A server could not be started"),
    "Ecs.0227": (Refused, "A server could not be restarted"),
    "Ecs.0605": (Refused, "A server is locked"),
    "Ecs.0614": (Refused, "A server does not exist"),
    # "Try again" codes that may follow a partial execution: nothing is certain.
    "Common.0001": (UnknownAnswer, "ECS had a system exception"),
    "Common.0020": (UnknownAnswer, "ECS could not repeat a task"),
    "Common.0021": (UnknownAnswer, "A sub-job failed"),
    "Common.0022": (UnknownAnswer, "ECS failed to submit the job"),
    "Common.0025": (UnknownAnswer, "ECS failed to query the job"),
    "Common.0999": (UnknownAnswer, "ECS broke the task off"),
    "Ecs.0000": (UnknownAnswer, "ECS reports a request error"),
    "Ecs.0002": (UnknownAnswer, "ECS failed to submit the request"),
    "Ecs.0004": (UnknownAnswer, "ECS failed to raise its own rights"),
    "Ecs.0301": (UnknownAnswer, "ECS failed to query a server"),
    "Ecs.0611": (UnknownAnswer, "The batch operation failed"),
    "Ecs.0615": (UnknownAnswer, "ECS had an internal error"),
    "Ecs.1000": (UnknownAnswer, "ECS failed to reach Nova"),
    "Ecs.1001": (UnknownAnswer, "ECS failed to reach OpenStack"),
    "Ecs.1002": (UnknownAnswer, "ECS had a timeout inside"),
    "Ecs.1100": (UnknownAnswer, "ECS failed to reach IAM"),
    "Ecs.1200": (UnknownAnswer, "ECS failed to reach the VPC service"),
    "Ecs.1201": (UnknownAnswer, "ECS failed to reach the VPC service"),
    "Ecs.1300": (UnknownAnswer, "ECS failed to reach the disk service"),
}
"""What a code means for a submit and, save for `JobNotFound`, for a look. ``APIG.`` is read as ``APIGW.``."""

_JOB_UNKNOWN_CODE: Final = "Common.0011"
_EXPIRABLE: Final = {"APIGW.0301", "Common.0013"}
_WRONG_ADDRESS: Final = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
_FORBIDDEN: Final = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_ABOUT_CONTENT: Final = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_ACCEPTABLE,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}

_LIMIT: Final = re.compile(r"limit:\s*(\d{1,9})\s*,\s*time:\s*(\d{1,9})\s*(second|minute|hour|day)", re.ASCII)
_SECONDS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_PAIRS: Final = (("error_code", "error_msg"), ("errorCode", "errorMsg"), ("code", "message"))


def date_of(headers: Mapping[str, str], name: str = "date") -> float | None:
    """Return the HTTP date in a header as seconds since 1970, None where there is none that can be read."""
    try:
        moment = parsedate_to_datetime(headers[name])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None


class _Said(NamedTuple):
    """What the body of an error says; "" for what it does not say."""

    code: str = ""
    message: str = ""
    request_id: str = ""


def _word(value: Any) -> str:
    """Return a text, or a number as text: some bodies give the HTTP status as their code."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _find(node: Any, depth: int = 0) -> _Said:
    """Search a body as the official SDK does: for the known pairs here, then inside every object, depth first."""
    if not isinstance(node, dict) or depth > _MAX_DEPTH:
        return _Said()
    body = cast("dict[str, Any]", node)
    for code, message in _PAIRS:
        said = _Said(_word(body.get(code)), _word(body.get(message)), _word(body.get("request_id")))
        if said.code or said.message:
            return said
    for value in body.values():
        said = _find(value, depth + 1)
        if said.code or said.message:
            return said
    return _Said()


def _read(body: bytes) -> _Said:
    """Read an error body of any shape."""
    if len(body) > _READ_AT_MOST:
        return _Said()
    try:
        return _find(orjson.loads(body))
    except ValueError:
        return _Said()


def _classify(
    status: int, code: str, *, what: RequestKind, said_anything: bool, complete: bool
) -> tuple[type[CloudError], str]:
    """Return the class of error and the start of its sentence. The order of the rules matters: see the module."""
    known = CODES.get(code)
    if known and known[0] in {Throttled, NotAccepted}:
        return known
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled, "The cloud's request limit is reached"
    if not HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnknownAnswer, known[1] if known else "The cloud failed to answer"
    service_code = code.startswith(("Ecs.", "Common."))
    if what == "job" and (code == _JOB_UNKNOWN_CODE or (status == HTTPStatus.NOT_FOUND and service_code)):
        return JobNotFound, "The cloud does not know this job (any more)"
    if known and status >= HTTPStatus.BAD_REQUEST:
        return known
    return _by_status(status, code, service_code=service_code, said_anything=said_anything, complete=complete)


def _by_status(
    status: int, code: str, *, service_code: bool, said_anything: bool, complete: bool
) -> tuple[type[CloudError], str]:
    """Return the same for a 3xx, and for a 4xx whose code is not in `CODES`."""
    if status < HTTPStatus.BAD_REQUEST:
        return AuthError, _REDIRECT
    # ECS itself forbids single servers: policies may allow only some.
    by_server = status == HTTPStatus.FORBIDDEN and code.startswith("Ecs.")
    if status in _FORBIDDEN and not by_server:
        return AuthError, "The cloud does not accept the key or token, or a permission is missing"
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return AuthError, "A proxy wants credentials: check HTTPS_PROXY and NO_PROXY"
    if status in _WRONG_ADDRESS and not service_code and complete:
        return AuthError, _UNKNOWN_API
    if code.startswith("Ecs.") or (status in _ABOUT_CONTENT and said_anything and not service_code):
        return Denied if by_server else Refused, "The cloud refused the request"
    return UnknownAnswer, "The cloud's answer cannot be understood"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After header asks for; a date in it is compared with the answer's own."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), _MAX_RETRY_AFTER)
    until, now = date_of(headers, "retry-after"), date_of(headers)
    return min(max(until - now, 0.0), _MAX_RETRY_AFTER) if until is not None and now is not None else None


def error_of(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    what: RequestKind,
    redact: Callable[[str], str] = str,
    complete: bool = True,
) -> CloudError:
    """Return, not raise, the error that an answer means which is no success.

    Args:
        status: the HTTP status.
        headers: the answer's headers, names in small letters.
        body: whatever came.
        what: what was asked for.
        redact: removes secrets that a hostile or careless server echoes.
        complete: False where the body broke off: then a missing code says nothing.
    """

    def shown(text: str, limit: int) -> str:
        return truncate(redact(one_line(text)), limit)

    said = _read(body)
    family = said.code.replace("APIG.", "APIGW.", 1) if said.code.startswith("APIG.") else said.code
    kind, sentence = _classify(
        status, family, what=what, complete=complete, said_anything=bool(said.code or said.message)
    )
    if status == HTTPStatus.UNAUTHORIZED and family in _EXPIRABLE and "expire" in said.message.lower():
        kind, sentence = TokenExpired, "The token ran out"
    text = without_code(shown(said.message[:_READ_AT_MOST], MAX_TEXT - len(sentence) - 2), said.code)
    error = kind(
        f"{sentence}: {text}" if text else f"{sentence}.",
        status=status,
        code=shown(said.code, 64),
        request_id=shown(headers.get("x-request-id") or said.request_id, 128),
        answered=True,
    ).about(*_SETTINGS.get(sentence, ()))
    if isinstance(error, NotAccepted):
        error.retry_after = _retry_after(headers)
        if family == BUSY_CODE and error.retry_after is None:
            error.retry_after = BUSY_SECONDS
    if isinstance(error, Throttled) and (found := _LIMIT.search(said.message)):
        limit, window = int(found[1]), int(found[2]) * _SECONDS[found[3]]
        error.limit, error.window = (limit, window) if window else (None, None)
    return error
