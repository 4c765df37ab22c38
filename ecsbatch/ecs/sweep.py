"""Looks at servers by their ids; and what it means that a look leaves one out.

A look that leaves a server out does not say that there is none: a listing may have holes. So those are asked for again,
alone, and then by their own address. Of very many only a few are asked for like this, and the others by a hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from ecsbatch.errors import CloudError, NotAccepted, SelectionRefused, UnknownAnswer
from ecsbatch.model.servers import MAX_LOOK, Look, ServerView
from ecsbatch.model.text import counted

T = TypeVar("T")

A_FEW: Final = 50
"""Servers that are asked for alone, or by their own address, in one go."""

_WAITS: Final = (1.0, 2.0, 4.0)
_LONGEST_WAIT: Final = 60.0
_LOOKS_AT_ONCE: Final = 8
_IN_VAIN: Final = 3
"""Servers that could not be asked for by their own address, before no other is."""

_NAMED: Final = 3
_PAYS: Final = 10
"""Looking once more at all pays where the last time has shown a tenth of them."""

Views = dict[str, ServerView]


class Looker(Protocol):
    """What is needed of a client."""

    async def look(self, ids: Sequence[str]) -> Look:
        """Look at up to 100 servers."""
        ...

    async def show_server(self, server_id: str) -> ServerView:
        """Look at one server by its own address."""
        ...


async def look_at(ecs: Looker, ids: Sequence[str]) -> Views:
    """Look at servers; ``found`` is False only where the cloud has said that there is none, or says nothing of it.

    Raises:
        CloudError: not everything could be seen, the filter by id is not heeded, or the listing hides servers.
    """
    views: Views = {}
    left: list[str] = list(ids)
    for size in (MAX_LOOK, MAX_LOOK, 1):
        while left and (size == 1 or len(left) > A_FEW or not views):
            asked = left if size > 1 else spread(left, A_FEW)
            shown = await _in_groups(ecs, asked, size)
            views |= shown
            left = [server for server in left if server not in views]
            if len(shown) * _PAYS < len(asked):
                break
    if left:
        await _refuse_hidden(ecs, spread(left, A_FEW))
    return views | {server: ServerView(server, found=False) for server in left}


def spread(items: Sequence[str], most: int) -> list[str]:
    """Take so many of a list, from all over it."""
    return list(items) if len(items) <= most else [items[place * len(items) // most] for place in range(most)]


async def _in_groups(ecs: Looker, ids: Sequence[str], size: int) -> Views:
    """Look at so many at a time, several at once; the first alone, so that a wrong key costs one request."""
    parts = [ids[start : start + size] for start in range(0, len(ids), size)]
    views: Views = {}
    turns = asyncio.Semaphore(_LOOKS_AT_ONCE)

    async def one(part: Sequence[str]) -> None:
        async with turns:
            views.update(await _look(ecs, part))

    await one(parts[0])
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts[1:]:
                group.create_task(one(part), name="look")
    except* Exception as failed:  # noqa: BLE001 - whatever failed first is the reason to tell
        raise _first(failed.exceptions) from None
    return views


def _first(errors: Iterable[Exception]) -> Exception:
    return next(iter(errors))


async def _look(ecs: Looker, ids: Sequence[str]) -> Views:
    look = await _patiently(partial(ecs.look, ids))
    if look.unasked:
        raise UnknownAnswer(
            f"The cloud does not heed the filter by id (server_id): asked for {counted(len(ids), 'server')}, it showed "
            f"{look.unasked:,} that nobody had asked for, and what it leaves out may exist. Nothing is planned: check "
            "--endpoint and whatever stands before it.",
            answered=True,
        )
    return dict(look.servers)


async def _refuse_hidden(ecs: Looker, ids: Sequence[str]) -> None:
    """Ask for servers by their own address: what nothing tells of is not called missing.

    Raises:
        UnknownAnswer: some of them exist.
        SelectionRefused: of some nothing tells whether they do.
    """
    hidden: list[str] = []
    untold: list[str] = []
    why = ""
    for server in ids:
        if len(untold) >= _IN_VAIN:
            untold.append(server)
            continue
        try:
            view = await _patiently(partial(ecs.show_server, server))
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


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask once, again after a pause where the cloud fails to answer: reading may be repeated."""
    for wait in (*_WAITS, None):
        try:
            return await ask()
        except (UnknownAnswer, NotAccepted) as e:
            if wait is None:
                raise
            asked = (e.retry_after or 0.0) if isinstance(e, NotAccepted) else 0.0
            await asyncio.sleep(min(max(wait, asked), _LONGEST_WAIT))
    raise AssertionError  # pragma: no cover - the last attempt returns or raises
