"""`ViewTable`: what looks showed of many servers, in rows that the garbage collector does not visit.

A rollout keeps a view of each server from its look to its outcome. As objects, tens of thousands of them would be gone
through by every full collection, during which the host's loop stands still; a tuple of texts is left out by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import fields
from itertools import islice
from operator import attrgetter
from typing import Any, Final

from ecsbatch.model.servers import ServerView

_Row = tuple[Any, ...]

_NAMES: Final = [field.name for field in fields(ServerView)]
_UPDATED: Final = _NAMES.index("updated")
_row_of: Final[Callable[[ServerView], _Row]] = attrgetter(*_NAMES)


class ViewTable(MutableMapping[str, ServerView]):
    """The views of servers by id, in the order in which they were put in; each is made anew when it is asked for."""

    __slots__ = ("_rows",)

    def __init__(self, views: Mapping[str, ServerView] | None = None) -> None:
        """Begin with some."""
        self._rows: dict[str, _Row] = {}
        if views:
            self.update(views)

    def __repr__(self) -> str:
        return f"<ViewTable of {len(self._rows)} servers>"

    def __getitem__(self, server: str) -> ServerView:
        return ServerView(*self._rows[server])

    def __setitem__(self, server: str, view: ServerView) -> None:
        self._rows[server] = _row_of(view)

    def __delitem__(self, server: str) -> None:
        del self._rows[server]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, server: object) -> bool:
        return server in self._rows

    def baselines(self) -> list[str]:
        """Return each server's ``updated``, in their order."""
        return [row[_UPDATED] for row in self._rows.values()]

    def take(self, more: ViewTable) -> None:
        """Put in all that another table has."""
        self._rows |= more._rows

    def part(self, start: int, end: int | None = None) -> ViewTable:
        """Return those from one place in the order up to another."""
        found = ViewTable()
        found._rows = dict(islice(self._rows.items(), start, end))
        return found
