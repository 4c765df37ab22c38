"""The parts that commands put together: the client of a site, the store, the engine, and a run as the store has it.

Each part's room is imported when the part is made.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ecsbatch.cli.output import warn
from ecsbatch.model.text import printable
from ecsbatch.rollout.follower import load_history

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.config.sources import Settings
    from ecsbatch.ecs.auth.schemes import Auth
    from ecsbatch.ecs.client import EcsClient
    from ecsbatch.ecs.observed_sender import RequestWatcher
    from ecsbatch.ecs.sender import Sender
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState
    from ecsbatch.restarter import Restarter
    from ecsbatch.rollout.follower import RunHistory
    from ecsbatch.store import DatabaseStore


def make_client(
    settings: Settings,
    *,
    auth: Auth | None = None,
    sender: Sender | None = None,
    watchers: Sequence[RequestWatcher] = (),
) -> EcsClient:
    """Return the client of the site that the settings name; ``async with`` looks its project up where that is missing.

    Args:
        settings: of the connection.
        auth: the credentials; None for those that the environment has.
        sender: carries the requests; None for aiohttp.
        watchers: hear of each request.

    Raises:
        ConfigError: no credentials, or a part of the connection is missing or malformed.
    """
    from ecsbatch.ecs.client import EcsClient  # noqa: PLC0415 - imported when used

    connection = settings.connection
    return EcsClient(
        auth=auth or _credentials(),
        project_id=connection.project_id,
        region=connection.region,
        endpoint=connection.endpoint,
        sender=sender,
        request_timeout=connection.request_timeout,
        connect_timeout=connection.connect_timeout,
        api_rate=connection.api_rate,
        ca_file=Path(connection.ca_file) if connection.ca_file else None,
        watchers=watchers,
    )


def _credentials() -> Auth:
    """Return the first credentials that there are, and print what is to be warned of."""
    from ecsbatch.ecs.auth.credentials import find  # noqa: PLC0415 - imported when used

    found = find(os.environ)
    if found.warning:
        warn(found.warning)
    return found.auth


def make_store(url: str, *, read_only: bool = False) -> DatabaseStore:
    """Return the store; ``async with`` opens it. One that is only read need not be writable.

    Others on the way to a server who could read or change what is said there are warned of.

    Raises:
        ConfigError: the URL is of no kind that is known, or cannot be understood.
    """
    from ecsbatch.store import open_store  # noqa: PLC0415 - imported when used

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        store = open_store(url, read_only=read_only)
    for each in told:
        warn(f"{each.message}.")
    return store


def store_exists(url: str) -> bool:
    """Return False where no run can have been stored yet: there is no file of this name."""
    from ecsbatch.store.address import known_kind, path_of  # noqa: PLC0415 - imported when used

    return known_kind(url) != "sqlite" or path_of(url).exists()


@asynccontextmanager
async def engine(context: CliContext, store: DatabaseStore) -> AsyncGenerator[Restarter]:
    """Run an engine for as long as the block lasts, watched as the settings ask."""
    from ecsbatch.cli.programs import given_programs  # noqa: PLC0415 - imported when used
    from ecsbatch.cli.watching import watching  # noqa: PLC0415 - the same
    from ecsbatch.restarter import Restarter  # noqa: PLC0415 - the same

    settings = context.settings
    async with watching(context, warn) as watched, make_client(settings, watchers=watched.watchers) as ecs:
        programs = given_programs(settings)
        restarter = Restarter(ecs, store, engine=settings.engine, programs=programs, watchers=watched.watchers)
        restarter.holder = replace(restarter.holder, agreed_by=context.agreed_by)
        watched.engines.append(restarter)
        async with restarter:
            yield restarter


def who() -> str:
    """Name the person at this terminal, for the record."""
    import getpass  # noqa: PLC0415 - imported when used
    import socket  # noqa: PLC0415 - imported when used

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return printable(f"{user}@{socket.gethostname()}")


async def read_history(url: str, name: str) -> RunHistory:
    """Open a store and read a run.

    Raises:
        ConfigError: there is no such run, or it is one of single restarts.
        StoreError: the store cannot be read.
    """
    async with make_store(url, read_only=True) as store:
        return await load_history(store, await store.run(name))


async def read_run(url: str, name: str) -> tuple[RunRecord, RolloutState]:
    """Read a run and fold its history.

    Raises:
        ConfigError: there is no such run, or it is one of single restarts.
        StoreError: the store cannot be read.
    """
    history = await read_history(url, name)
    return history.record, history.state
