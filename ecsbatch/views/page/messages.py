"""What a page is told of a run, as JSON: its fleet once (`fleet_object`), then a snapshot, then what changes.

A server makes one `RunMessages` for a run that is watched, however many watch it::

    messages = RunMessages(state)
    ...                                        # for each event of the run, from the first one on:
    state.apply(recorded)
    messages.apply(recorded)
    ...                                        # some times a second, for all who watch:
    changes = messages.changes(told)           # None where there is no news
    ...                                        # for who has just come, or was too slow:
    messages.snapshot(told)                    # whose viewer gets the next changes, too

where ``told`` is `Progress.as_dict`. No message has a line's end in it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.state import RolloutState
from ecsbatch.views.page.cells import cell_states, changed
from ecsbatch.views.page.details import Details
from ecsbatch.views.page.feed import Feed
from ecsbatch.views.page.timeline import RunTimeline


class RunMessages:
    """The messages of one run.

    Attributes:
        seq: number of the last event that the last changes had in them.
        cells: of all servers then.
        details, timeline, feed: as they are now.
    """

    def __init__(self, state: RolloutState) -> None:
        """Begin before the first event of a state, which somebody else folds."""
        self.details, self.timeline, self.feed = Details(state), RunTimeline(state), Feed(state.plan)
        self.seq = state.seq
        self.cells = cell_states(state)
        self._state = state
        self._progress: dict[str, Any] = {}
        self._seen_otherwise: set[int] = set()  # servers whose cells a snapshot had otherwise than the last changes

    def apply(self, recorded: Recorded) -> None:
        """Take the next event in, which the state has folded."""
        self.details.apply(recorded)
        self.timeline.apply(recorded)
        self.feed.apply(recorded)

    def snapshot(self, progress: Mapping[str, Any], after: int = 0) -> bytes:
        """Return all that changes as it is now. The next changes follow it, and tell lines of the feed again.

        Args:
            progress: of the run, as JSON values.
            after: the feed begins behind this number.
        """
        more = {
            "details": self.details.table(),
            "progress": progress,
            "timeline": self.timeline.as_dict(),
            "feed": self.feed.latest(after),
        }
        cells = cell_states(self._state)
        # What is by then as it was before is news for whoever has seen it meanwhile.
        self._seen_otherwise.update(changed(self.cells, cells))
        self._progress = {}
        return _with_cells(self._state.seq, cells, more)

    def changes(self, progress: Mapping[str, Any]) -> bytes | None:
        """Return what has changed since the last call, None where nothing has.

        ``at`` are the servers, ``to`` their cells. What is the same as before is left out.
        """
        cells = cell_states(self._state)
        at = sorted({*changed(self.cells, cells), *self._seen_otherwise})
        told = {
            "details": self.details.fresh(),
            "progress": self._changed(progress),
            "timeline": self.timeline.fresh(),
            "feed": self.feed.fresh(),
        }
        self.seq, self.cells = self._state.seq, cells
        self._seen_otherwise.clear()
        more = {name: value for name, value in told.items() if value}
        if not at and not more:
            return None
        return json_bytes({"seq": self.seq, "at": at, "to": [cells[i] for i in at], **more})

    def _changed(self, progress: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return a run's progress where more of it has changed than its time."""
        new = {name: value for name, value in progress.items() if name not in {"at", "elapsed_s"}}
        if new == self._progress:
            return None
        self._progress = new
        return progress


def _with_cells(seq: int, cells: bytes, more: Mapping[str, Any]) -> bytes:
    """Write a snapshot; the cells are not looked through for what JSON would escape."""
    return b'{"seq":%d,"cells":"%b",%b' % (seq, b64encode(cells), json_bytes(more)[1:])
