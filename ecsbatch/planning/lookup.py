"""Which server is meant: one of a run, by its id, name or the beginning of its id; many of a list, by exact names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from ecsbatch.errors import SelectionError
from ecsbatch.model.servers import Fleet, Server, ServerView, labelled
from ecsbatch.model.text import printable
from ecsbatch.planning.selection import as_server_id

_NAMED: Final = 5
"""Servers or names that an error tells."""


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
        SelectionError: it means none, or several servers.
    """
    index = find_server(fleet, text)
    if index is None:
        raise SelectionError(
            f"No server of run {run_id} has {printable(text)!r} as its id, as its name or as the begin of its id: "
            f"ecsbatch report {run_id} lists them, ecsbatch runs the runs."
        )
    return index


def _only(found: Sequence[int], fleet: Fleet, what: str, remedy: str) -> int:
    if len(found) == 1:
        return found[0]
    named = _listed([printable(fleet.label(i)) for i in found])
    raise SelectionError(f"{len(found):,} servers of the run {what} ({named}): {remedy}.")


def resolve_names(servers: Sequence[Server], views: Iterable[ServerView]) -> list[Server]:
    """Return the servers of a list with the ids that their names stand for; who has an id stays as it is.

    Args:
        servers: of the list; who is meant by the name alone has the id "".
        views: all servers of the project.

    Raises:
        SelectionError: a name is no server's or several servers', or a server is listed twice.
    """
    by_name = ids_by_name(views)
    refuse_unknown({server.name for server in servers if not server.id}.difference(by_name), "the list")
    resolved: dict[str, Server] = {server.id: server for server in servers if server.id}
    for server in (server for server in servers if not server.id):
        ids = by_name[server.name]
        if len(ids) > 1:
            raise SelectionError(
                f"{len(ids):,} servers are called {printable(server.name)!r} ({_listed(ids)}): give the id of the one "
                "that is meant."
            )
        if ids[0] in resolved:
            raise SelectionError(
                f"{printable(labelled(ids[0], server.name))} is listed twice, by its name and otherwise; remove one of "
                "them, a server is restarted once."
            )
        resolved[ids[0]] = replace(server, id=ids[0])
    given = {server.name: server for server in resolved.values()}
    return [server if server.id else given[server.name] for server in servers]


def ids_by_name(views: Iterable[ServerView]) -> dict[str, list[str]]:
    """Return the ids of the servers that are called so, by name."""
    by_name: dict[str, list[str]] = {}
    for view in views:
        if view.found and view.name:
            by_name.setdefault(view.name, []).append(view.id)
    return by_name


def refuse_unknown(names: Iterable[str], where: str) -> None:
    """Refuse names that no server of the project has; ``where`` they stand, for the message.

    Raises:
        SelectionError: there are some.
    """
    if unknown := sorted(names):
        named = _listed([repr(printable(name)) for name in unknown])
        raise SelectionError(
            f"No server of the project is called {named}, as {where} has it: give a whole id or the exact name."
        )


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _NAMED:,} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more
