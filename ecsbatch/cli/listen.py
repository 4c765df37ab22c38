"""Listeners of a command: what its supervisor, Prometheus or a browser asks. Each has an address of its own."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.config.addresses import parse_listen_address
from ecsbatch.errors import ConfigError

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import web

MOST_CONNECTIONS: Final = 256
"""Connections of one listener at once."""

IDLE: Final = 75.0
"""Seconds after which a connection without a request is closed."""

_SHARE: Final = 8
"""A listener has one of so many files that this process may open, at most."""

_SHAKEN_WITHIN: Final = 10.0
"""Seconds that a connection has to agree on TLS."""

_LATER: Final = 1.0
"""Seconds until connections are taken again, where the process has no file left for one."""


def listen_address(text: str, flag: str) -> tuple[str, int]:
    """Read the address that was given with a flag.

    Raises:
        UsageError: it is none.
    """
    try:
        return parse_listen_address(text)
    except ValueError as e:
        raise UsageError(f"{flag} {text}: give {e}.") from None


@asynccontextmanager
async def listening_at(
    app: web.Application | web.Server, address: str, flag: str, *, tls: SSLContext | None = None
) -> AsyncGenerator[None]:
    """Serve an application for as long as the block lasts.

    Args:
        app: what answers; a server in a running loop, or an application.
        address: an IP address and a port.
        flag: the one that gave the address, for the error.
        tls: by which it is served over TLS; None for plain HTTP.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    from aiohttp import web  # noqa: PLC0415 - imported when used

    quiet: dict[str, Any] = {"access_log": None, "shutdown_timeout": 0.1}
    runner = (
        web.ServerRunner(app, **quiet)
        if isinstance(app, web.Server)
        else web.AppRunner(app, keepalive_timeout=IDLE, **quiet)
    )
    await runner.setup()
    try:
        with ExitStack() as stack:
            try:
                listening = [stack.enter_context(each) for each in _sockets(*listen_address(address, flag))]
            except OSError as e:
                why = os.strerror(e.errno) if e.errno else e
                raise ConfigError(f"{flag} {address} cannot be listened at ({why}): give another port.") from e
            if runner.server is not None:
                stack.enter_context(_Door(runner.server, tls).open(listening))
            yield
    finally:
        await runner.cleanup()


def _sockets(host: str, port: int) -> Generator[socket.socket]:
    """Yield what listens at a host, which may have several addresses."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, place in dict.fromkeys(found):
        listening = socket.create_server(place, family=family, backlog=128)
        listening.settimeout(0)
        yield listening


class _Door:
    """Takes connections, so many at once: who floods a listener takes no files from what runs beside it.

    Those that have not agreed on TLS yet count, too.
    """

    def __init__(self, server: web.Server, tls: SSLContext | None) -> None:
        self._server = server
        self._tls = tls
        self._beginning = set[asyncio.Task[None]]()
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = MOST_CONNECTIONS if files < 0 else min(MOST_CONNECTIONS, files // _SHARE)

    @contextmanager
    def open(self, listening: list[socket.socket]) -> Generator[None]:
        """Take connections for as long as the block lasts."""
        loop = asyncio.get_running_loop()
        taking = [loop.create_task(self._take(each), name="listen") for each in listening]
        try:
            yield
        finally:
            for task in (*taking, *self._beginning):
                task.cancel()

    async def _take(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:
                await asyncio.sleep(_LATER)
                continue
            if len(self._beginning) + len(self._server.connections) >= self._most:
                connection.close()
            else:
                task = loop.create_task(self._begin(connection))
                self._beginning.add(task)
                task.add_done_callback(self._beginning.discard)
            await asyncio.sleep(0)  # many that wait are taken without it, and nothing else goes on meanwhile

    async def _begin(self, connection: socket.socket) -> None:
        within = _SHAKEN_WITHIN if self._tls else None
        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._server, connection, ssl=self._tls, ssl_handshake_timeout=within
            )
