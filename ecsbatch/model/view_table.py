"""What looks showed of many servers, in a form that the garbage collector does not visit.

As objects, tens of thousands of views would be gone through by every full collection, during which the host's loop
stands still. A tuple of texts is left out by it, and so is a dict of nothing but texts.

`ViewTable` is quick, for the views that a rollout keeps from a look to the outcome. `PackedViews` is for a look at a
whole fleet, of which a plan is made. `SeenFleet` keeps of that what tells later whether a server has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from itertools import islice
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from ecsbatch.model.in_parts import Gathered, Sharing, parts
from ecsbatch.model.servers import Fleet, ServerView

R = TypeVar("R")

_Row = tuple[Any, ...]
_State = tuple[bool, str, str, bool, str]

_UPDATED, _AZ = ServerView._fields.index("updated"), ServerView._fields.index("az")

_BETWEEN: Final = "\0"
_texts_of: Final = attrgetter(
    "status", "task_state", "updated", "az", "name", "host_id", "enterprise_project_id", "address"
)


class _ViewsById(MutableMapping[str, ServerView], Generic[R]):
    """Views by id, in the order in which they were put in, each kept as a row and made anew when it is asked for."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        """Begin without any."""
        self._rows: dict[str, R] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._rows)} servers>"

    def __delitem__(self, server: str) -> None:
        del self._rows[server]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, server: object) -> bool:
        return server in self._rows


class ViewTable(_ViewsById[_Row]):
    """The views of servers by id, each kept as a tuple."""

    __slots__ = ()

    def __init__(self, views: Mapping[str, ServerView] | None = None) -> None:
        """Begin with some."""
        super().__init__()
        if views:
            self.update(views)

    def __getitem__(self, server: str) -> ServerView:
        return ServerView(*self._rows[server])

    def __setitem__(self, server: str, view: ServerView) -> None:
        # A plain tuple: the collector goes on visiting one of a class of its own.
        self._rows[server] = tuple(view)

    def az(self, server: str) -> str:
        """Return a server's availability zone, "" where none was seen; no view is made for that."""
        row = self._rows.get(server)
        return row[_AZ] if row is not None else ""

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


class PackedViews(_ViewsById[str]):
    """The views of a whole fleet by id, each as one text; a million take 300 MB, a third of what objects take.

    Texts of the cloud are printable; a NUL that somebody's own `Auth` has put into one is left out.
    """

    __slots__ = ()

    def __getitem__(self, server: str) -> ServerView:
        flags, status, task_state, updated, az, name, host, project, address, *tags = self._rows[server].split(_BETWEEN)
        found, locked = "f" in flags, "l" in flags
        return ServerView(
            server, found, status, task_state, updated, locked, az, name, host, project, tuple(tags), address
        )

    def __setitem__(self, server: str, view: ServerView) -> None:
        flags = ("f" if view.found else "") + ("l" if view.locked else "")
        texts = (flags, *_texts_of(view), *view.tags)
        row = _BETWEEN.join(texts)
        if row.count(_BETWEEN) >= len(texts):
            row = _BETWEEN.join(text.replace(_BETWEEN, "") for text in texts)
        self._rows[server] = row

    def clear(self) -> None:
        """Let all go, one by one: to drop a million at once holds the interpreter for a tenth of a second."""
        while self._rows:
            self._rows.popitem()


class SeenFleet(Mapping[str, ServerView]):
    """State, zone and time of the last change of a fleet's servers, by id, in two columns; the rest of a view is empty.

    A plan of a million servers may be kept for hours, and be dropped in the midst of a host's own work.
    """

    __slots__ = ("_fleet", "_states", "_updated")

    def __init__(self, fleet: Fleet, views: Mapping[str, ServerView]) -> None:
        """Keep that of the views; a server without one has none here either."""
        of_all, times = Gathered[_State | None](Sharing()), Gathered[str](Sharing())
        for part in parts(fleet.ids):
            states: list[_State | None] = []
            updated: list[str] = []
            for server in part:
                view = views.get(server)
                states.append((view.found, view.status, view.task_state, view.locked, view.az) if view else None)
                updated.append(view.updated if view else "")
            of_all.add(states)
            times.add(updated)
        self._fleet, self._states, self._updated = fleet, of_all.kept(), times.kept()

    def __getitem__(self, server: str) -> ServerView:
        place = self._fleet.find(server)
        if (state := self._states[place]) is None:
            raise KeyError(server)
        found, status, task_state, locked, az = state
        return ServerView(server, found, status, task_state, self._updated[place], locked, az)

    def __iter__(self) -> Iterator[str]:
        return (server for server, state in zip(self._fleet.ids, self._states, strict=True) if state is not None)

    def __len__(self) -> int:
        return sum(state is not None for state in self._states)
