"""What happened to one server, in sentences: the few events of its run that are about it, read when somebody asks.

Of each event only its number is kept, so that a million servers take some megabytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ecsbatch.model import events as ev
from ecsbatch.model.text import MAX_TEXT, counted, printable, with_code
from ecsbatch.views.page.feed import ended_text

if TYPE_CHECKING:
    from ecsbatch.engine.ports import Store
    from ecsbatch.model.recorded import Recorded
    from ecsbatch.model.servers import Fleet

LONGEST: Final = 60
"""Events of one server that are told, the latest ones."""


class NumberLists:
    """A few numbers above 0 for each of many indexes; most have one."""

    def __init__(self, length: int) -> None:
        """Begin with none."""
        self._first = array("q", bytes(8 * length))
        self._more: dict[int, list[int]] = {}

    def add(self, index: int, number: int) -> None:
        """Add a number to an index."""
        if self._first[index]:
            self._more.setdefault(index, []).append(number)
        else:
            self._first[index] = number

    def of(self, index: int) -> Iterator[int]:
        """Yield the numbers of an index in the order in which they were added."""
        if self._first[index]:
            yield self._first[index]
            yield from self._more.get(index, ())


class StoryIndex:
    """Which events of a run are about which server. Call `apply` with each, from the first on."""

    def __init__(self, fleet: Fleet) -> None:
        """Begin before the first event."""
        self._fleet = fleet
        self._own = NumberLists(len(fleet))
        self._batches = NumberLists(len(fleet))
        self._of_batch: dict[int, list[int]] = {}

    def apply(self, recorded: Recorded) -> None:
        """Take the next event in."""
        event = recorded.event
        if isinstance(event, ev.ServerEvent | ev.ServerReleased):
            self._own.add(self._fleet.find(event.server), recorded.seq)
        elif isinstance(event, ev.BatchSubmitting):
            self._of_batch[event.batch] = [recorded.seq]
            for server in event.servers:
                self._batches.add(self._fleet.find(server), event.batch)
        elif isinstance(event, ev.BatchUnstarted | ev.BatchStarted):
            for server in event.servers:
                self._own.add(self._fleet.find(server), recorded.seq)
        elif isinstance(event, ev.BatchAccepted | ev.BatchRejected | ev.BatchUnknown):
            self._of_batch.setdefault(event.batch, []).append(recorded.seq)

    def numbers(self, index: int) -> list[int]:
        """Return the numbers of a server's latest events, in order."""
        found = set(self._own.of(index))
        for batch in self._batches.of(index):
            found.update(self._of_batch.get(batch, ()))
        return sorted(found)[-LONGEST:]


async def read_story(store: Store, run_id: str, numbers: list[int]) -> list[dict[str, Any]]:
    """Return what events say of their server, oldest first: ``seq``, ``ts`` and ``text`` of each.

    Raises:
        StoreError: the store cannot be read.
    """
    events = [each for number in numbers for each in await store.events(run_id, number - 1, 1)]
    return [{"seq": each.seq, "ts": each.ts, "text": story_text(each.event)} for each in events]


def story_text(event: ev.Event) -> str:
    """Return what an event says of its server."""
    write = _WRITERS.get(type(event))
    return printable(write(event) if write else event.name, MAX_TEXT)


def _sent(event: ev.BatchSubmitting) -> str:
    return f"sent in request {event.batch} with {counted(len(event.servers), 'server')}"


def _accepted(event: ev.BatchAccepted) -> str:
    job = f" as job {event.job_id}" if event.job_id else ""
    return f"request {event.batch} was accepted{job}"


def _rejected(event: ev.BatchRejected) -> str:
    return f"request {event.batch} was not carried out ({event.kind.replace('_', ' ')}){_said(event)}: it waits again"


def _unanswered(event: ev.BatchUnknown) -> str:
    return f"request {event.batch} has no answer{_said(event)}: its state has to tell"


def _said(event: ev.BatchRejected | ev.BatchUnknown) -> str:
    said = with_code(event.message, event.code)
    return f", {said}" if said else ""


def _ended(event: ev.ServerEvent) -> str:
    host = f" on host {event.host}" if event.host else ""
    seen = f", as its {event.evidence} shows" if event.evidence and not (event.reason or event.code) else ""
    return ended_text(event, host + seen)


_WRITERS: Final[Mapping[type[ev.Event], Callable[[Any], str]]] = {
    ev.BatchSubmitting: _sent,
    ev.BatchAccepted: _accepted,
    ev.BatchRejected: _rejected,
    ev.BatchUnknown: _unanswered,
    ev.BatchUnstarted: lambda event: f"request {event.batch} was shown not to have begun: it waits again",
    ev.BatchStarted: lambda event: f"request {event.batch} did begin after all: it is followed again",
    ev.ServerRestarted: _ended,
    ev.ServerFailed: _ended,
    ev.ServerTimedOut: _ended,
    ev.ServerUnknown: _ended,
    ev.ServerSkipped: _ended,
    ev.ServerReleased: lambda event: f"counts as up again ({event.why.replace('_', ' ')})",
}
