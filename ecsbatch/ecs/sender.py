"""One HTTP request, sent once: the seam between the client and a network, real or simulated.

A `Sender` is called as ``await sender(request, on_sent)``. It calls ``on_sent()`` before the first byte can leave; an
exception before that call proves that nothing was sent, and where ``on_sent`` itself raises, nothing may be sent. It
follows no redirect and retries nothing. A request that takes longer than ``request_timeout`` is cancelled and given up:
from then on ``on_sent`` raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import Any, Protocol

from ecsbatch.foreign import unlike
from ecsbatch.lazy_dataclass import dataclass

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""A longer answer is cut off: a job of 1,000 sub-jobs has about 290 KB, a page of 1,000 servers a few MB."""


@dataclass(frozen=True, slots=True)
class Request:
    """A signed request, byte for byte as it is sent. Its repr does not show headers, which hold secrets.

    Attributes:
        method: ``GET``, ``POST`` or ``PUT``.
        url: the whole URL, percent-encoded; a sender must not encode it again.
        headers: all headers, with names as they are to be sent.
        body: the bytes that were signed, b"" for none.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: the HTTP status.
        headers: the headers, names in small letters.
        body: the bytes that came.
        complete: False where the body broke off or was longer than 32 MiB.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    complete: bool = True


def checked_headers(given: object) -> dict[str, str]:
    """Return headers from somebody else's code, checked to be texts.

    Raises:
        TypeError: they are not.
    """
    mapping: Any = given
    if not isinstance(given, Mapping):
        raise unlike(given, "a mapping of headers")
    headers: dict[Any, Any] = dict(mapping)
    for part in (*headers, *headers.values()):
        if not isinstance(part, str):
            raise TypeError("it gave back headers that are no texts")
    return headers


class Sender(Protocol):
    """Sends a request of an `EcsClient` and returns the answer: ``answer = await sender(request, on_sent)``.

    The client has one on aiohttp. One of your own carries requests in another way, or plays a cloud in a test:

        async def sender(request, on_sent):
            on_sent()  # before the first byte can leave
            return Answer(200, {}, b'{"count": 0, "servers": []}')

        EcsClient(region="eu-west-101", auth=auth, project_id="...", sender=sender)

    It sends once: it retries nothing and follows no redirect, for a restart must not be carried out twice. It calls
    ``on_sent`` before the first byte can leave; an exception before that call proves that nothing was sent, and the
    request may be sent again; one after it leaves open whether the cloud has carried it out. Where ``on_sent`` itself
    raises, nothing may be sent. It raises what it likes, such as `ConnectionError`, with a text for people and no
    secret.
    """

    def __call__(self, request: Request, on_sent: Callable[[], None], /) -> Awaitable[Answer]:
        """Send a request once, and return the answer."""
        ...
