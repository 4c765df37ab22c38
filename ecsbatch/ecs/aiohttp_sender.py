"""The sender for real networks: aiohttp, set up to send each request once.

What is switched off, and why: redirects (they would repeat a restart elsewhere), cookies, ``trust_env`` (for the
sake of proxies it reads ``~/.netrc`` in a thread for each request, and an entry there clashes with our
``Authorization``), so that proxies are taken from the environment here. aiohttp sends a GET again whose kept
connection turned out dead; a POST it never does.

Answers are asked for without compression: unpacking a job costs more than the bytes save in a data centre. A
server that compresses all the same is understood, up to `MAX_ANSWER_BYTES`.

When the first byte leaves, aiohttp's tracing tells; that is its documented way, and costs a fifth of a request. So it
tells of what must never be sent twice or too late, and a GET is overheard where it is sent, which costs nothing.

A program may lend its own session. What is switched off here may be switched on there, and only a session of ours can
say when the first byte leaves: so its connector is used by a session of our own, which shares the connections, the
cache of names, the settings of TLS and the proxy, and leaves cookies, headers, redirects and traces alone.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from ecsbatch.ecs.endpoint import is_near
from ecsbatch.ecs.sender import MAX_ANSWER_BYTES, Answer, Request
from ecsbatch.errors import ConfigError, Invalid
from ecsbatch.model.text import first_words

_KEEPALIVE_SECONDS: Final = 30.0
"""Idle connections are closed on our side before gateways do (60 s or more): a POST sent into a connection that
closes at that instant would be an unknown answer, and submits come in bursts a quota window, 60 s, apart."""

_UNPACK: Final = zlib.MAX_WBITS | 32  # gzip or zlib, told by their headers
_ENCODED: Final = {"gzip", "x-gzip", "deflate"}
_UNWANTED: Final = ("Accept", "User-Agent", "Content-Type")


class AiohttpSender:
    """Sends requests over HTTP; safe to share between tasks of one event loop.

    Args:
        connect_timeout: seconds for name, connection and TLS.
        ca_file: certificates to trust besides the system's, in PEM.
        max_answer_bytes: an answer longer than this, unpacked, is cut.
        session: whose connections are used; whoever lends it closes it. None: connections of our own.

    Raises:
        ConfigError: the file of certificates cannot be read, or is given beside a session, which has its own; or the
            session is none of aiohttp's.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 10.0,
        ca_file: Path | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        lent: Any = session
        if session is not None and not isinstance(lent, aiohttp.ClientSession):
            expected = "an aiohttp.ClientSession, open in this event loop"
            raise Invalid(f"session = {type(lent).__name__}: give {expected}.", field="session", expected=expected)
        if session is not None and ca_file is not None:
            expected = "the certificates to the session's connector"
            raise Invalid(f"ca_file beside session: give {expected}.", field="ca_file", expected=expected)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout, sock_connect=connect_timeout)
        self._ca_file = ca_file
        self._ssl = _ssl_context(ca_file) if ca_file else None
        self._max_answer_bytes = max_answer_bytes
        self._lent = session
        self._connector: aiohttp.BaseConnector | None = None
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._closed = False
        self._proxies: dict[str, URL | None] = {}

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Send a request once and return the answer.

        Raises:
            ConnectionError: there was no answer; its text says why.
        """
        url = URL(request.url, encoded=True) if "?" in request.url else _asked_again(request.url)
        outer = _ON_SENT.set(on_sent)
        try:
            answer = await self._open(traced=request.method != "GET").request(
                request.method,
                url,
                headers=request.headers,
                data=request.body or None,
                allow_redirects=False,
                proxy=self._proxy(url),
            )
        except (aiohttp.ClientError, OSError, ValueError) as e:
            # Not chained: aiohttp's errors carry the proxy's address with its password.
            raise ConnectionError(_in_words(e, url, self._advice())) from None
        finally:
            _ON_SENT.reset(outer)
        try:
            body, complete = await self._body(answer)
        finally:
            # Closes the connection unless the answer was read to its end.
            answer.close()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return self._unpacked(Answer(answer.status, headers, body, complete))

    async def aclose(self) -> None:
        """Close all connections of our own."""
        self._closed = True
        for session in self._sessions.values():
            await session.close()
        connector, self._connector = self._connector, None
        if connector is not None and self._lent is None:
            await connector.close()

    def _open(self, *, traced: bool) -> aiohttp.ClientSession:
        """Return one of two sessions on the same connections; they are made inside the running loop, when first used.

        Raises:
            ConnectionError: it is closed, or the one that was lent, or that belongs to another event loop.
        """
        if self._closed:
            raise ConnectionError("the client is closed")
        if self._lent is not None and (self._lent.closed or self._lent.connector is None):
            raise ConnectionError("the session that the client was given is closed")
        if traced not in self._sessions:
            if self._connector is None:
                self._connector = self._connections()
            self._sessions[traced] = self._session(self._connector, traced=traced)
        return self._sessions[traced]

    def _session(self, connector: aiohttp.BaseConnector | None, *, traced: bool) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_headers_sent)
        try:
            return aiohttp.ClientSession(
                connector=connector,
                connector_owner=False,
                loop=asyncio.get_running_loop(),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=_UNWANTED,
                headers={"Accept-Encoding": "identity"},
                request_class=aiohttp.ClientRequest if traced else _Overheard,
                trace_configs=[trace] if traced else None,
            )
        except RuntimeError:
            raise ConnectionError("the session that the client was given belongs to another event loop") from None

    def _connections(self) -> aiohttp.BaseConnector | None:
        if self._lent is not None:
            return self._lent.connector
        return aiohttp.TCPConnector(
            limit=0, keepalive_timeout=_KEEPALIVE_SECONDS, ssl=self._ssl if self._ssl is not None else True
        )

    def _proxy(self, url: URL) -> URL | None:
        """Return the proxy for a host, the lent session's or the environment's; never one for this machine."""
        origin = f"{url.scheme}://{url.host}:{url.port}"
        if origin not in self._proxies:
            find = proxy_from_environment if self._lent is None else partial(_proxy_of, self._lent)
            self._proxies[origin] = find(url)
        return self._proxies[origin]

    def _advice(self) -> _Advice:
        if self._lent is not None:
            return _Advice("the session that the client was given is to trust its CA", "check the session's proxy")
        tls = f"check that ca_file {self._ca_file} holds its CA" if self._ca_file else "name its CA by ca_file"
        return _Advice(tls, "check HTTPS_PROXY and NO_PROXY")

    async def _body(self, answer: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        """Return the body as far as it comes and is allowed, and whether that was all of it."""
        chunks: list[bytes] = []
        room = self._max_answer_bytes
        try:
            while chunk := await answer.content.readany():
                if len(chunk) > room:
                    chunks.append(chunk[:room])
                    return b"".join(chunks), False
                chunks.append(chunk)
                room -= len(chunk)
        except (aiohttp.ClientError, OSError):
            return b"".join(chunks), False
        return b"".join(chunks), True

    def _unpacked(self, answer: Answer) -> Answer:
        """Return an answer unpacked where the server compressed it unasked, up to the limit."""
        if answer.headers.get("content-encoding", "").strip().lower() not in _ENCODED:
            return answer
        unpacker = zlib.decompressobj(_UNPACK)
        try:
            body = unpacker.decompress(answer.body, self._max_answer_bytes)
        except zlib.error:
            return Answer(answer.status, answer.headers, b"", complete=False)
        return Answer(answer.status, answer.headers, body, answer.complete and unpacker.eof)


@lru_cache(maxsize=1024)
def _asked_again(url: str) -> URL:
    """Return the URL of a job, which is asked for some twenty times: by then yarl has forgotten what it made of it."""
    return URL(url, encoded=True)


_ON_SENT: Final[ContextVar[Callable[[], None]]] = ContextVar("on_sent")
"""What hears of the request that this task sends."""


async def _headers_sent(*_of_no_use: object) -> None:
    """Call ``on_sent``; aiohttp calls this once it is connected and before it writes the first byte."""
    _ON_SENT.get()()


class _Overheard(aiohttp.ClientRequest):
    """A request that calls ``on_sent`` at the same instant by itself."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        _ON_SENT.get()()
        return await super().send(conn)


def _ssl_context(ca_file: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(str(ca_file))
    except (OSError, ValueError) as e:  # ssl.SSLError is an OSError
        raise ConfigError(f"ca_file {ca_file} cannot be read as PEM certificates: {e}.").about("ca_file") from e
    return context


def proxy_from_environment(url: URL) -> URL | None:
    """Return the proxy for a URL, None for a direct connection.

    Raises:
        ValueError: the environment names a proxy that is not ``http://HOST:PORT``.
    """
    proxies: dict[str, str] = getproxies()
    address = proxies.get(url.scheme) or proxies.get("all")
    host = url.host or ""
    if not address or is_near(host) or proxy_bypass(f"{host}:{url.port}"):
        return None
    with suppress(ValueError):
        proxy = URL(address)
        if proxy.scheme in {"http", "https"} and proxy.host and proxy.port and proxy.path in {"", "/"}:
            return proxy
    # Nothing of it is repeated, nor the error: it may hold a password.
    raise ValueError("the proxy in the environment is not http://HOST:PORT: check HTTPS_PROXY and NO_PROXY")


def _proxy_of(session: aiohttp.ClientSession, url: URL) -> URL | None:
    """Return the proxy that a session has for a URL, None for a direct connection.

    Raises:
        ValueError: the environment, which the session trusts, names a proxy that is not ``http://HOST:PORT``.
    """
    # aiohttp names no other way to a session's own proxy; these two are there from 3.12 on.
    given, auth = getattr(session, "_default_proxy", None), getattr(session, "_default_proxy_auth", None)
    if given is None:
        return proxy_from_environment(url) if session.trust_env else None
    if is_near(url.host or ""):
        return None
    proxy = URL(given)
    return proxy if auth is None else proxy.with_user(auth.login).with_password(auth.password)


class _Advice(NamedTuple):
    """What to do about a failure of TLS, and of a proxy."""

    tls: str
    proxy: str


def _in_words(error: Exception, url: URL, advice: _Advice) -> str:
    """Return in words why there was no answer."""
    host = f"{url.host}:{url.port}"
    why = _why(error)
    refused = isinstance(getattr(error, "os_error", None), ConnectionRefusedError)
    reasons: tuple[tuple[type[Exception], str], ...] = (
        (aiohttp.ClientConnectorCertificateError, f"TLS with {host} failed ({why}): {advice.tls}"),
        (aiohttp.ClientConnectorSSLError, f"TLS with {host} failed ({why}): {advice.tls}"),
        (aiohttp.ClientProxyConnectionError, f"the proxy for {host} failed: {advice.proxy}"),
        (aiohttp.ClientHttpProxyError, f"the proxy for {host} said no: {advice.proxy}"),
        (aiohttp.ClientConnectorDNSError, f"the name {getattr(error, 'host', url.host)} cannot be resolved"),
        (aiohttp.ConnectionTimeoutError, f"no connection to {host} in time"),
        (
            aiohttp.ClientConnectorError,
            f"connection refused by {host}" if refused else f"no connection to {host}: {why}",
        ),
        (aiohttp.ServerDisconnectedError, f"{host} closed the connection without an answer"),
        (ConnectionResetError, f"{host} reset the connection"),
    )
    return next((words for kind, words in reasons if isinstance(error, kind)), f"{why} ({host})")


def _why(error: Exception) -> str:
    """Return the reason inside an error of aiohttp."""
    if isinstance(error, aiohttp.ClientResponseError):
        # Its text has the URL, a proxy's with its password, and quotes the answer, which may echo what was sent.
        words = first_words(error.message)
        return f"the answer is not HTTP{f': {words}' if words else ''}"
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    told = getattr(inner, "verify_message", "") or getattr(inner, "strerror", "") or inner
    return str(told) or type(inner).__name__
