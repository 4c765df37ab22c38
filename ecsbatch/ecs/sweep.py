"""Looks at many servers by their ids, and finds out what it means that a look leaves one out.

A look that leaves a server out does not say that it does not exist: a listing may have holes. So those servers are
asked for again, each alone, and then by its own path. Where they are very many, only a few are asked for like this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Final, Protocol

from ecsbatch.ecs.read_retry import read_patiently
from ecsbatch.errors import CloudError, SelectionRefused, UnknownAnswer
from ecsbatch.host_loop import aside
from ecsbatch.model.servers import MAX_LOOK, Look, ServerView
from ecsbatch.model.text import counted
from ecsbatch.model.view_table import PackedViews

A_FEW: Final = 50
"""Servers that are asked for alone, or by their own path, at most."""

_LOOKS_AT_ONCE: Final = 8
_GIVE_UP_AFTER: Final = 3
"""Servers that cannot be asked for by their own path, after which no other is tried."""

_NAMED: Final = 3
"""Servers that a message names."""

_WORTHWHILE: Final = 10
"""All are looked at once more where the last time has shown at least one in so many of them."""


class Looker(Protocol):
    """What is needed of an `EcsClient`."""

    async def look(self, ids: Sequence[str]) -> Look:
        """Look at up to 100 servers."""
        ...

    async def show_server(self, server_id: str) -> ServerView:
        """Look at one server by its own path."""
        ...


Views = MutableMapping[str, ServerView]


async def look_at(
    ecs: Looker, ids: Sequence[str], told: Callable[[int], None] = lambda _: None, into: Views | None = None
) -> Views:
    """Look at servers; ``found`` is False only where the cloud says so, or shows nothing of a server in any way.

    Args:
        ecs: the site's client.
        ids: which servers.
        told: hears how many of them have been seen so far.
        into: the views of others, to which these are added; None: none.

    Returns:
        The views, by id.

    Raises:
        CloudError: not all servers could be seen, the cloud ignores the filter by id, or its listing hides servers.
        SelectionRefused: it cannot be found out whether some of them exist.
    """
    views = PackedViews() if into is None else into
    left, others = ids, len(views)
    for size in (MAX_LOOK, MAX_LOOK, 1):
        while left and (size == 1 or len(left) > A_FEW or len(views) == others):
            asked = left if size > 1 else spread(left, A_FEW)
            before = len(views)
            await _in_groups(ecs, asked, size, views, lambda: told(len(views) - others))
            left = await aside(partial(_unseen, left, views), len(left))
            if (len(views) - before) * _WORTHWHILE < len(asked):
                break
    if left:
        await _refuse_hidden(ecs, spread(left, A_FEW))
    views.update((server, ServerView(server, found=False)) for server in left)
    return views


def _unseen(ids: Sequence[str], views: Container[str]) -> list[str]:
    return [server for server in ids if server not in views]


def spread(items: Sequence[str], most: int) -> list[str]:
    """Return at most ``most`` items, spread evenly over a list."""
    return list(items) if len(items) <= most else [items[number * len(items) // most] for number in range(most)]


async def _in_groups(ecs: Looker, ids: Sequence[str], size: int, views: Views, told: Callable[[], None]) -> None:
    """Look at ``size`` servers per request, several requests at once; the first alone: a wrong key costs only one."""
    parts = (ids[start : start + size] for start in range(0, len(ids), size))

    async def see(part: Sequence[str]) -> None:
        views.update(await _look(ecs, part))
        told()

    async def see_all() -> None:
        for part in parts:
            await see(part)

    await see(next(parts))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_LOOKS_AT_ONCE):
                group.create_task(see_all(), name="look")
    except ExceptionGroup as failed:  # not `except*`: what that raises is a group itself in Python 3.11.2
        raise _first(failed.exceptions) from None


def _first(errors: Iterable[Exception]) -> Exception:
    return next(iter(errors))


async def _look(ecs: Looker, ids: Sequence[str]) -> Mapping[str, ServerView]:
    look = await read_patiently(partial(ecs.look, ids))
    if look.unasked:
        raise UnknownAnswer(
            f"The cloud does not heed the filter by id (server_id): asked for {counted(len(ids), 'server')}, it showed "
            f"{look.unasked:,} that nobody had asked for, and what it leaves out may exist. Nothing is planned: check "
            "the endpoint and whatever stands before it.",
            answered=True,
        ).about("endpoint")
    return look.servers


async def _refuse_hidden(ecs: Looker, ids: Sequence[str]) -> None:
    """Ask for servers by their own path: one counts as missing only where the cloud says so.

    Raises:
        UnknownAnswer: some of them exist.
        SelectionRefused: it cannot be found out whether some of them exist.
    """
    hidden: list[str] = []
    untold: list[str] = []
    why = ""
    for server in ids:
        if len(untold) >= _GIVE_UP_AFTER:
            untold.append(server)
            continue
        try:
            view = await read_patiently(partial(ecs.show_server, server))
        except CloudError as e:
            untold.append(server)
            why = str(e).rstrip(".")
        else:
            hidden += [server] if view.found else []
    if hidden:
        raise UnknownAnswer(
            f"The cloud's listing leaves out servers that exist: {_few(hidden)}. A run could not see their restart: "
            "take them off the list, and tell the cloud's support.",
            answered=True,
        )
    if untold:
        raise SelectionRefused(
            f"The cloud's listing leaves out {counted(len(untold), 'server')} of the list, and nothing tells whether "
            f"they exist ({why}): {_few(untold)}. Take them off the list, or let the key ask for one server "
            "(ecs:cloudServers:get)."
        )


def _few(servers: Sequence[str]) -> str:
    more = f" and {len(servers) - _NAMED:,} more" if len(servers) > _NAMED else ""
    return ", ".join(servers[:_NAMED]) + more
