"""The fleet as the cloud sees it before a plan is made: which servers exist, where, and which must be left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ecsbatch.ecs.client import MAX_PAGE, EcsClient
from ecsbatch.errors import NotAccepted, UnknownAnswer
from ecsbatch.models import MAX_LOOK, Look, Server, ServerView

_WAITS: Final = (1.0, 2.0, 4.0)
_LONGEST_WAIT: Final = 60.0
_LOOKS_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a fleet.

    Attributes:
        views: of every server asked about; ``found`` is False for one that does not exist.
        inventory: servers in the project; None where nothing told.
    """

    views: dict[str, ServerView]
    inventory: int | None = None


class _Looker(Protocol):
    async def look(self, ids: Sequence[str]) -> Look:
        """Look at up to 100 servers."""
        ...


async def see(ecs: EcsClient, servers: Sequence[Server], *, count: bool = False) -> Seen:
    """Look at a fleet in as few requests as it takes: pages of the listing, or looks at 100 servers each.

    The first page tells how many pages there are; so a wrong key costs one request, and a hundred servers one look.

    Args:
        ecs: the site's client.
        servers: the fleet.
        count: the project's number of servers is wanted as well.

    Raises:
        CloudError: not everything could be seen.
    """
    wanted = {server.id for server in servers}
    views: dict[str, ServerView] = {}
    inventory: int | None = None
    if count or len(wanted) > MAX_LOOK:
        pages = ecs.list_servers(limit=MAX_PAGE if len(wanted) > MAX_LOOK else 1)
        async for page in pages:
            inventory = page.count if inventory is None else inventory
            views.update((view.id, view) for view in page.servers if view.id in wanted)
            if not _listing_pays(inventory, len(wanted) - len(views)):
                break
        await pages.aclose()  # type: ignore[attr-defined]  # an async generator, whatever its signature says
    # A listing may miss servers that others create or delete meanwhile: those it did not show are asked for by id.
    await _look_at(ecs, [id_ for id_ in (server.id for server in servers) if id_ not in views], views)
    return Seen(views, inventory)


def _listing_pays(inventory: int | None, missing: int) -> bool:
    """Tell whether the listing's other pages are fewer requests than looks at what has not been seen yet."""
    return inventory is not None and inventory // MAX_PAGE < -(-missing // MAX_LOOK)


async def _look_at(ecs: _Looker, ids: Sequence[str], views: dict[str, ServerView]) -> None:
    parts = [ids[i : i + MAX_LOOK] for i in range(0, len(ids), MAX_LOOK)]
    for part in parts[:1]:
        views.update(await _look(ecs, part))
    turns = asyncio.Semaphore(_LOOKS_AT_ONCE)

    async def one(part: Sequence[str]) -> None:
        async with turns:
            views.update(await _look(ecs, part))

    try:
        async with asyncio.TaskGroup() as group:
            for part in parts[1:]:
                group.create_task(one(part), name="look")
    except* Exception as failed:  # noqa: BLE001 - whatever failed first is the reason to tell
        raise _first(failed.exceptions) from None


def _first(errors: Iterable[Exception]) -> Exception:
    return next(iter(errors))


async def _look(ecs: _Looker, ids: Sequence[str]) -> dict[str, ServerView]:
    """Look once, again after a pause where the cloud fails to answer: reading may be repeated."""
    for wait in (*_WAITS, None):
        try:
            look = await ecs.look(ids)
        except (UnknownAnswer, NotAccepted) as e:
            if wait is None:
                raise
            asked = (e.retry_after or 0.0) if isinstance(e, NotAccepted) else 0.0
            await asyncio.sleep(min(max(wait, asked), _LONGEST_WAIT))
        else:
            return {id_: look.servers.get(id_) or ServerView(id_, found=False) for id_ in ids}
    raise AssertionError  # pragma: no cover - the last attempt returns or raises
