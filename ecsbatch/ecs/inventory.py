"""Finds the servers that are to be restarted, and how the cloud sees them before a plan is made."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, MutableMapping, Sequence
from copy import copy
from dataclasses import field, replace
from functools import partial
from typing import Final, Protocol, Unpack

from ecsbatch.ecs.listing import MAX_PAGE, Filters
from ecsbatch.ecs.read_retry import Contradiction, read_again
from ecsbatch.ecs.sweep import Looker, look_at
from ecsbatch.ecs.wire import ListingPage
from ecsbatch.errors import CloudError, SelectionRefused
from ecsbatch.host_loop import aside
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.in_parts import parts
from ecsbatch.model.servers import MAX_LOOK, Server, ServerView
from ecsbatch.planning.lookup import ids_by_name, refuse_unknown, resolve_names
from ecsbatch.planning.selection import Selection, from_view

_A_FEW_NAMES: Final = 5
"""Names up to which each is asked for alone; for more the whole project is listed, once."""


class Lister(Looker, Protocol):
    """What is needed of an `EcsClient`."""

    def list_servers(self, *, limit: int = MAX_PAGE, **filters: Unpack[Filters]) -> AsyncGenerator[ListingPage]:
        """List servers page by page."""
        ...


@dataclass(frozen=True, slots=True)
class Inventory:
    """The servers that were found, and what was seen of them.

    Attributes:
        servers: the servers.
        views: a view of each, by id; ``found`` is False for one that does not exist.
        in_project: how many servers the project has, None where that is not known.
        excluded: ids of those that are to be left alone by their names.
    """

    servers: Sequence[Server]
    views: dict[str, ServerView]
    in_project: int | None = None
    excluded: frozenset[str] = frozenset()


Told = Callable[[int, int | None], None]
"""Hears how many servers have been seen so far, and how many there are; None while that is not known."""


def _untold(_seen: int, _of: int | None) -> None:
    """Hear nothing."""


async def find(ecs: Lister, selection: Selection, *, count: bool = False, told: Told = _untold) -> Inventory:
    """Return the servers of a selection: those of its list, else those of the cloud's listing that fit.

    Args:
        ecs: the site's client.
        selection: which servers.
        count: True to count the project's servers as well.
        told: hears how far it has come.

    Raises:
        SelectionRefused: no server fits.
        SelectionError: a name is no server's, or several servers'.
        CloudError: not everything could be seen; a part of a listing is not the fleet.
    """
    project: dict[str, ServerView] | None = None
    if selection.servers is None:
        found = await _fitting(ecs, selection, told, count=count)
    elif all(server.id for server in selection.servers):
        found = await look_at_all(ecs, selection.servers, count=count, told=told)
    else:
        # The cloud's filter takes one name, and a list has many: the whole project is listed once.
        project = await _listed(ecs, Filters(), told)
        servers = resolve_names(selection.servers, {"": project.values()}, "the list")
        views = {server.id: project[server.id] for server in servers if server.id in project}
        views |= await look_at(ecs, [server.id for server in servers if server.id not in views])
        found = Inventory(servers, views, len(project))
    return replace(found, excluded=await _excluded(ecs, selection.excluded_names, found, project))


async def _excluded(
    ecs: Lister, names: frozenset[str], found: Inventory, project: dict[str, ServerView] | None
) -> frozenset[str]:
    """Return the ids of the found servers that are called so; a misspelt name must not let one be restarted.

    Raises:
        SelectionError: a name is no server's of the whole project.
        CloudError: not everything could be seen.
    """
    if not names:
        return frozenset()
    by_name = ids_by_name(found.views.values())
    if unseen := names.difference(by_name):
        project = project or await _listed(ecs, Filters(), _untold)
        refuse_unknown(unseen.difference(ids_by_name(project.values())), "the list of those to leave out", "exclude")
    return frozenset(server_id for name in names for server_id in by_name.get(name, ()))


async def _fitting(ecs: Lister, selection: Selection, told: Told, *, count: bool) -> Inventory:
    """Return the servers of the cloud's listing that fit a selection.

    Raises:
        SelectionRefused: no server fits.
        CloudError: not everything could be seen.
    """
    views = {view.id: view for view in await fitting(ecs, selection, told)}
    if not views:
        raise SelectionRefused("No server matches what was asked for; an empty selection never means all.")
    in_project = await _count_project(ecs) if count else None
    return Inventory([from_view(view) for view in views.values()], views, in_project)


async def fitting(ecs: Lister, selection: Selection, told: Told = _untold) -> list[ServerView]:
    """Return the servers of the cloud's listing that fit a selection, none where none does.

    Raises:
        CloudError: not everything could be seen.
    """
    listed = await _listed(ecs, filters_of(selection), told)
    return selection.check(listed.values())


class NameSearch:
    """Looks for servers by their exact names: names that many callers ask for at once are looked for together."""

    def __init__(self, ecs: Lister) -> None:
        self._ecs = ecs
        self._turn = asyncio.Lock()
        self._next = _NameQuery()

    async def look_for(self, names: Collection[str]) -> list[ServerView]:
        """Return the servers that have one of these names exactly, as a search shows them that begins now or later.

        Raises:
            CloudError: not everything could be seen.
        """
        query = self._next
        query.names.update(names)
        async with self._turn:
            if query is self._next:
                self._next = _NameQuery()
            if query.error is None and query.found is None:
                await query.ask(self._ecs)
        if query.error is not None:
            # Each caller has an error of its own: what is noted of one is not noted of the others.
            raise copy(query.error)
        return [view for view in query.found or () if view.name in names]


@dataclass(slots=True)
class _NameQuery:
    """Names that are looked for in one search, and what it has shown.

    Attributes:
        names: those of all callers.
        found: who has one of them; None while it is not known.
        error: why it cannot be known.
    """

    names: set[str] = field(default_factory=set[str])
    found: list[ServerView] | None = None
    error: CloudError | None = None

    async def ask(self, ecs: Lister) -> None:
        """Search; whoever is cancelled meanwhile leaves it to the next caller."""
        listed: dict[str, ServerView] = {}
        try:
            if len(self.names) > _A_FEW_NAMES:
                listed = await _listed(ecs, Filters(), _untold)
            else:
                for name in tuple(self.names):
                    listed |= await _listed(ecs, Filters(name=_plain_part(name)), _untold)
        except CloudError as e:
            self.error = e
            return
        self.found = [view for view in listed.values() if view.found and view.name in self.names]


async def _listed(ecs: Lister, filters: Filters, told: Told) -> dict[str, ServerView]:
    """Return all servers that a listing shows, by id; one that contradicts itself is read again.

    Raises:
        CloudError: not everything could be seen.
    """
    return await read_again(partial(_listed_once, ecs, filters, told))


async def _listed_once(ecs: Lister, filters: Filters, told: Told) -> dict[str, ServerView]:
    """Return what one reading shows; a server that is on two pages as it was seen last."""
    views: dict[str, ServerView] = {}
    fewest: int | None = None
    async for page in ecs.list_servers(limit=MAX_PAGE, **filters):
        views.update((view.id, view) for view in page.servers)
        told(len(views), page.count)
        if page.count is not None:
            fewest = page.count if fewest is None else min(fewest, page.count)
    if fewest is not None and len(views) < fewest:
        raise Contradiction(
            f"The listing ended after {len(views):,} of {fewest:,} servers, three times, which is not the fleet: try "
            "again later, or name the servers in a file.",
            answered=True,
        )
    return views


async def _count_project(ecs: Lister) -> int | None:
    """Return how many servers the project has, None where the cloud does not say."""
    pages = ecs.list_servers(limit=1)
    async for page in pages:
        await pages.aclose()
        return page.count
    return None


def filters_of(selection: Selection) -> Filters:
    """Return the cloud's filters for a selection: those that are safe to use; what it answers is checked again.

    Its filter by name is a search in which a dot is any character: it gets the longest plain part of the name. How it
    treats several tags is not documented: it gets the first.
    """
    return Filters(
        name=_plain_part(re.sub(r"\[[^\]]*\]?", " ", selection.name)),
        status=selection.status[0].upper() if len(selection.status) == 1 else "",
        tags=selection.tags[0] if selection.tags else "",
        enterprise_project_id=selection.enterprise_project,
    )


def _plain_part(name: str) -> str:
    """Return the longest part of a name that the cloud's search cannot take for a pattern."""
    return max(re.findall(r"[A-Za-z0-9_-]+", name), key=len, default="")


async def look_at_all(
    ecs: Lister, servers: Sequence[Server], *, count: bool = False, told: Told = _untold
) -> Inventory:
    """Look at servers in as few requests as possible: pages of the listing, or looks at 100 servers each.

    The first page shows how many pages there are; so a wrong key costs one request, and a hundred servers one look.

    Args:
        ecs: the site's client.
        servers: the servers.
        count: True to count the project's servers as well.
        told: hears how far it has come.

    Raises:
        CloudError: not everything could be seen.
        SelectionRefused: it cannot be found out whether some of them exist.
    """
    views: dict[str, ServerView] = {}
    in_project = await see_all(ecs, [server.id for server in servers], views, count=count, told=told)
    return Inventory(servers, views, in_project)


async def see_all(
    ecs: Lister,
    ids: Sequence[str],
    views: MutableMapping[str, ServerView],
    *,
    count: bool = False,
    told: Told = _untold,
) -> int | None:
    """Put what is seen of servers into a table, as `look_at_all` does, whose errors it raises.

    Returns:
        How many servers the project has, None where that is not known.
    """
    wanted = await aside(partial(_distinct, ids), len(ids))
    in_project: int | None = None
    if count or len(wanted) > MAX_LOOK:
        in_project = await read_again(partial(_see_pages, ecs, wanted, views, told))
    # A listing may miss servers while others create or delete some: those that it did not show are asked for by id.
    missing = await aside(lambda: [server for server in ids if server not in views], len(ids))
    await look_at(ecs, missing, lambda seen: told(len(wanted) - len(missing) + seen, len(wanted)), into=views)
    return in_project


def _distinct(ids: Sequence[str]) -> Mapping[str, None]:
    """Return ids, each once, to be looked up; a dict of texts is none that the garbage collector goes through."""
    found: dict[str, None] = {}
    for part in parts(ids):
        found.update(dict.fromkeys(part))
    return found


async def _see_pages(
    ecs: Lister, wanted: Collection[str], views: MutableMapping[str, ServerView], told: Told
) -> int | None:
    """Put into a table what the listing shows of servers, as long as its pages pay.

    Returns:
        How many servers the project has.
    """
    views.clear()
    in_project: int | None = None
    pages = ecs.list_servers(limit=MAX_PAGE if len(wanted) > MAX_LOOK else 1)
    async for page in pages:
        in_project = page.count if in_project is None else in_project
        views.update((view.id, view) for view in page.servers if view.id in wanted)
        told(len(views), len(wanted))
        if not _listing_pays(in_project, len(wanted) - len(views)):
            break
    await pages.aclose()
    return in_project


def _listing_pays(in_project: int | None, missing: int) -> bool:
    """Return True where the listing's other pages take fewer requests than looks at what was not seen yet."""
    return in_project is not None and in_project // MAX_PAGE < -(-missing // MAX_LOOK)
