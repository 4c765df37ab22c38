"""Which server of a run a person means: by its id, by its name, or by the beginning of its id, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ecsbatch.errors import SelectionError
from ecsbatch.model.servers import Fleet
from ecsbatch.model.text import printable
from ecsbatch.planning.selection import as_server_id

_NAMED: Final = 5
"""Servers that an error names."""


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
    named = ", ".join(printable(fleet.label(i)) for i in found[:_NAMED])
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    raise SelectionError(f"{len(found):,} servers of the run {what} ({named}{more}): {remedy}.")
