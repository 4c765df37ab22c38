"""Listeners of a command: what its supervisor, Prometheus or a browser asks. Each has an address of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.config.addresses import parse_listen_address
from ecsbatch.errors import ConfigError

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import web


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
    runner = web.ServerRunner(app, **quiet) if isinstance(app, web.Server) else web.AppRunner(app, **quiet)
    await runner.setup()
    try:
        host, port = listen_address(address, flag)
        try:
            await web.TCPSite(runner, host, port, ssl_context=tls).start()
        except OSError as e:
            why = os.strerror(e.errno) if e.errno else e
            raise ConfigError(f"{flag} {address} cannot be listened at ({why}): give another port.") from e
        yield
    finally:
        await runner.cleanup()
