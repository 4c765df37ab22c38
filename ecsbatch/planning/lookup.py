"""Which server is meant: one of a run, by its id, name or the beginning of its id; many of a list, by exact names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ecsbatch.errors import SelectionError, SelectionRefused, ServerNotFound
from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import Fleet, Server, ServerView, labelled
from ecsbatch.model.text import counted, printable
from ecsbatch.planning.selection import as_server_id

_NAMED: Final = 5
"""Servers or names that an error tells."""

_TOLD: Final = 100
"""Names that a program is told of."""


def find_server(fleet: Fleet, text: str) -> int | None:
    """Return the index of the server that a text means, None where it means none.

    Raises:
        SelectionError: several servers are called so, or their ids begin so.
    """
    index = fleet.index_of(as_server_id(text))
    if index is not None or not text:
        return index
    if named := [i for i, name in enumerate(fleet.names or ()) if name == text]:
        return _only(named, fleet, f"are called {printable(text)!r}", "give the id of one")
    begin = (text, text.lower())
    begun = [i for i, server_id in enumerate(fleet.ids) if server_id.startswith(begin)]
    return _only(begun, fleet, f"have ids that begin with {printable(text)!r}", "give more of one") if begun else None


def need_server(fleet: Fleet, text: str, run_id: str) -> int:
    """Return the index of the server of a run that a text means.

    Raises:
        ServerNotFound: it means none.
        SelectionError: it means several servers.
    """
    index = find_server(fleet, text)
    if index is None:
        raise ServerNotFound(
            f"No server of run {run_id} has {printable(text)!r} as its id, as its name or as the begin of its id.",
            server=text,
            run_id=run_id,
        )
    return index


def _only(found: Sequence[int], fleet: Fleet, what: str, remedy: str) -> int:
    if len(found) == 1:
        return found[0]
    named = _listed([printable(fleet.label(i)) for i in found])
    raise SelectionError(f"{len(found):,} servers of the run {what} ({named}): {remedy}.")


def resolve_names(servers: Sequence[Server], seen: Mapping[str, Iterable[ServerView]], where: str = "") -> list[Server]:
    """Return servers with the ids that their names stand for, and zone and site; who has an id stays as it is.

    Args:
        servers: those that are meant; who is meant by the name alone has the id "".
        seen: the servers of each site, by its key; a server whose own site is none of these may be at any.
        where: the names stand, for the message.

    Raises:
        ServerNotFound: a name is no server's.
        SelectionError: it is several servers', or a server is listed twice.
    """
    by_name = {site: _by_name(views) for site, views in seen.items()}

    def called(server: Server) -> list[tuple[str, ServerView]]:
        sites = [server.site] if server.site in by_name else by_name
        return [(site, view) for site in sites for view in by_name[site].get(server.name, ())]

    refuse_unknown({server.name for server in servers if not server.id and not called(server)}, where)
    given = {server.id for server in servers if server.id}
    resolved = [server if server.id else _the_one(server, called(server)) for server in servers]
    for each in (each for server, each in zip(servers, resolved, strict=True) if not server.id):
        if each.id in given:
            raise SelectionError(
                f"{printable(labelled(each.id, each.name))} is listed twice, by its name and otherwise; remove one of "
                "them, a server is restarted once."
            )
        given.add(each.id)
    return resolved


def _the_one(server: Server, found: Sequence[tuple[str, ServerView]]) -> Server:
    """Return the only server of a name.

    Raises:
        SelectionError: there are several.
    """
    if len(found) > 1:
        several = len({site for site, _ in found}) > 1
        ids = [f"{view.id} at {site}" if several else view.id for site, view in found]
        raise SelectionError(
            f"{len(ids):,} servers are called {printable(server.name)!r} ({_listed(ids)}): give the id of the one that "
            "is meant."
        )
    site, view = found[0]
    return replace(server, id=view.id, domain=server.domain or view.az, site=server.site or site)


def _by_name(views: Iterable[ServerView]) -> dict[str, list[ServerView]]:
    by_name: dict[str, list[ServerView]] = {}
    for view in views:
        if view.found and view.name:
            by_name.setdefault(view.name, []).append(view)
    return by_name


def ids_by_name(views: Iterable[ServerView]) -> dict[str, list[str]]:
    """Return the ids of the servers that are called so, by name."""
    return {name: [view.id for view in called] for name, called in _by_name(views).items()}


def refuse_unknown(names: Iterable[str], where: str, setting: str = "") -> None:
    """Refuse names that no server of the project has; ``where`` they stand and by which ``setting``, for the message.

    Raises:
        ServerNotFound: there are some.
    """
    if unknown := sorted(names):
        named = _listed([repr(printable(name)) for name in unknown])
        stands = f", as {where} has it" if where else ""
        told = f"No server of the project is called {named}{stands}: give a whole id or the exact name."
        raise ServerNotFound(told, server=unknown[0], names=unknown[:_TOLD]).about(*([setting] if setting else []))


def refuse_not_found(plan: Plan) -> None:
    """Refuse a plan of which more servers do not exist than its ``max_not_found`` allows.

    Raises:
        SelectionRefused: so it is.
    """
    gone = plan.not_found
    if len(gone) > plan.max_not_found:
        do = "does" if len(gone) == 1 else "do"
        raise SelectionRefused(
            f"{len(gone):,} of the {counted(len(plan.fleet), 'server')} given {do} not exist, and max_not_found allows "
            f"{plan.max_not_found:,}: {_listed(gone)}. Nothing was sent: correct the list, or allow them."
        )


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _NAMED:,} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more
