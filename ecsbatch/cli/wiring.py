"""The parts that commands put together: the client, the store, the engine, the terminal. Imported when used."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from ecsbatch.cli.output import in_json, tell
from ecsbatch.config.sources import Settings
from ecsbatch.views.text import fitted, printable

if TYPE_CHECKING:
    from ecsbatch.ecs.auth.schemes import Auth
    from ecsbatch.ecs.client import EcsClient
    from ecsbatch.ecs.sender import Sender
    from ecsbatch.restarter import Restarter
    from ecsbatch.store import Store

_WIDTH: Final = 80


def make_client(settings: Settings, *, auth: Auth | None = None, sender: Sender | None = None) -> EcsClient:
    """Return the client of the site that the settings name; ``async with`` looks its project up where that is missing.

    Args:
        settings: of the connection.
        auth: the credentials; None for those that the environment has.
        sender: carries the requests; None for aiohttp.

    Raises:
        ConfigError: no credentials, or a part of the connection is missing or malformed.
    """
    from ecsbatch.ecs.client import EcsClient  # noqa: PLC0415 - imported when used

    connection, engine = settings.connection, settings.engine
    return EcsClient(
        auth=auth or _credentials(),
        project_id=connection.project_id,
        region=connection.region,
        endpoint=connection.endpoint,
        sender=sender,
        request_timeout=engine.request_timeout,
        connect_timeout=engine.connect_timeout,
        api_rate=connection.api_rate,
        ca_file=Path(connection.ca_file) if connection.ca_file else None,
    )


def _credentials() -> Auth:
    """Return the first credentials that there are; say what is to be warned of."""
    from ecsbatch.ecs.auth.credentials import find  # noqa: PLC0415 - imported when used

    found = find(os.environ)
    if found.warning:
        _warn(found.warning)
    return found.auth


@cache
def _warn(text: str) -> None:
    """Say a warning once, however often a command makes a client."""
    if in_json():
        tell("warning", "warning", {"message": text})
    else:
        say([f"ecsbatch: warning: {text}"], to_stdout=False)


def make_store(url: str) -> Store:
    """Return the store; ``async with`` opens it.

    Raises:
        ConfigError: the URL is of no kind that is known.
    """
    from ecsbatch.store import open_store  # noqa: PLC0415 - imported when used

    return open_store(url)


@asynccontextmanager
async def engine(settings: Settings, store: Store) -> AsyncGenerator[Restarter]:
    """Run an engine for as long as the block lasts."""
    from ecsbatch.restarter import Restarter  # noqa: PLC0415 - imported when used

    async with make_client(settings) as ecs, Restarter(ecs, store, engine=settings.engine) as restarter:
        yield restarter


def columns(*, to_stdout: bool, most: int = _WIDTH) -> int:
    """Return how wide lines for people are on a stream: as wide as its terminal, 80 where that does not say."""
    return min(_screen(sys.stdout if to_stdout else sys.stderr) or _WIDTH, most)


def _screen(stream: TextIO) -> int:
    """Return how wide the terminal of a stream is, 0 where it has none or does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 0


def say(lines: Sequence[str], *, to_stdout: bool) -> None:
    """Print lines for people; on a terminal that is narrower they are broken between words."""
    if not to_stdout and in_json():
        tell("info", "message", {"message": "\n".join(lines).strip()})
        return
    stream = sys.stdout if to_stdout else sys.stderr
    if width := _screen(stream):
        lines = [part for line in lines for part in fitted(line, width)]
    text = "\n".join(lines) + "\n"
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def who() -> str:
    """Name the person at this terminal, for the record."""
    import getpass  # noqa: PLC0415 - imported when used
    import socket  # noqa: PLC0415 - imported when used

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return printable(f"{user}@{socket.gethostname()}")
