"""The fleet as the cloud sees it before a plan is made: which servers exist, where, and which must be left alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ecsbatch.ecs.client import MAX_PAGE, EcsClient, Filters
from ecsbatch.ecs.sweep import look_at
from ecsbatch.errors import SelectionRefused, UnknownAnswer
from ecsbatch.model.servers import MAX_LOOK, Server, ServerView
from ecsbatch.planning.selection import Selection, from_view


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was seen of a fleet.

    Attributes:
        servers: the fleet.
        views: of every server asked about; ``found`` is False for one that does not exist.
        inventory: servers in the project; None where nothing told.
    """

    servers: Sequence[Server]
    views: dict[str, ServerView]
    in_project: int | None = None


async def find(ecs: EcsClient, selection: Selection, *, count: bool = False) -> Inventory:
    """Look at the servers that are meant, by name or by the listing.

    Raises:
        SelectionRefused: the listing has none of them.
        CloudError: not everything could be seen; a part of a listing is not the fleet.
    """
    if selection.servers is not None:
        return await look_at_all(ecs, selection.servers, count=count)
    listed = await _listed(ecs, filters_of(selection))
    views = {view.id: view for view in selection.check(listed.values())}
    if not views:
        raise SelectionRefused("No server matches what was asked for; an empty selection never means all.")
    inventory = await _count_project(ecs) if count else None
    return Inventory([from_view(view) for view in views.values()], views, inventory)


async def _listed(ecs: EcsClient, filters: Filters) -> dict[str, ServerView]:
    """List all pages; a server that appears on two of them is one, as it was seen last."""
    views: dict[str, ServerView] = {}
    fewest: int | None = None
    async for page in ecs.list_servers(limit=MAX_PAGE, **filters):
        views.update((view.id, view) for view in page.servers)
        if page.count is not None:
            fewest = page.count if fewest is None else min(fewest, page.count)
    if fewest is not None and len(views) < fewest:
        raise UnknownAnswer(
            f"The listing ended after {len(views):,} of {fewest:,} servers, which is not the fleet: try again.",
            answered=True,
        )
    return views


async def _count_project(ecs: EcsClient) -> int | None:
    """Count the project's servers."""
    pages = ecs.list_servers(limit=1)
    async for page in pages:
        await pages.aclose()  # type: ignore[attr-defined]  # an async generator, whatever its signature says
        return page.count
    return None


def filters_of(selection: Selection) -> Filters:
    """Let the cloud leave out what it can be trusted with; whatever it answers is checked again.

    Its filter by name is a search in which a dot stands for any character: it gets the longest plain part of the name.
    How it would take several tags is not documented: it gets the first.
    """
    plain = max(re.findall(r"[A-Za-z0-9_-]+", re.sub(r"\[[^\]]*\]?", " ", selection.name)), key=len, default="")
    return Filters(
        name=plain,
        status=selection.status[0].upper() if len(selection.status) == 1 else "",
        tags=selection.tags[0] if selection.tags else "",
        enterprise_project_id=selection.enterprise_project,
    )


async def look_at_all(ecs: EcsClient, servers: Sequence[Server], *, count: bool = False) -> Inventory:
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
    views |= await look_at(ecs, [server.id for server in servers if server.id not in views])
    return Inventory(servers, views, inventory)


def _listing_pays(inventory: int | None, missing: int) -> bool:
    """Tell whether the listing's other pages are fewer requests than looks at what has not been seen yet."""
    return inventory is not None and inventory // MAX_PAGE < -(-missing // MAX_LOOK)
