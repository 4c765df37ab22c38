"""All runs of a store, as the page lists them: looked at every two seconds while somebody watches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from ecsbatch.cli.dashboard.board import AWAY, notice_frame, silence
from ecsbatch.cli.dashboard.stream import Audience, event_frame
from ecsbatch.cli.run_rows import run_row, with_counts
from ecsbatch.errors import ConfigError, RecordEdited, StoreError
from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.text import MAX_TEXT, printable
from ecsbatch.rollout.followed_runs import KEPT_SERVERS
from ecsbatch.views.text import visible_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ecsbatch.cli.dashboard.boards import Boards
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState
    from ecsbatch.rollout.history import History

LOOK: Final = 2.0
"""Seconds between two looks."""

LISTED: Final = 50
"""Runs that are listed."""

_MOST: Final = 500
_STATES: Final = 16
"""Runs at most of which all events are read; how the others stand is told by their record."""

_ALL: Final = 1_000_000


class RunsList:
    """The list of runs for all who watch it.

    Attributes:
        audience: who watches it.
    """

    def __init__(self, runs: History, boards: Boards, *, servers: int = KEPT_SERVERS) -> None:
        """Look at the runs of a store; what a board knows of one is not read again.

        Args:
            runs: of the store.
            boards: of its runs.
            servers: that all runs may have together whose events are read; how others stand is told by their record.
        """
        self.audience = Audience()
        self._runs = runs
        self._boards = boards
        self._servers = servers
        self._told: dict[str, Any] = {}
        self._fault = ""
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Look from now on, while somebody watches."""
        self._task = asyncio.get_running_loop().create_task(self._look(), name="ecsbatch-page-runs")

    async def end(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _look(self) -> None:
        while True:
            await self.audience.some()
            try:
                listed = await self._looked()
            except StoreError as e:
                self._note_fault(f"The store cannot be read, so that nothing new is seen: {e}")
            except Exception as e:  # noqa: BLE001 - it must not end a rollout, and viewers are told
                self._note_fault(f"The list cannot be read ({type(e).__name__}): reload the page.")
            else:
                self._note_fault("")
                self._tell(listed)
            await asyncio.sleep(LOOK)

    async def _looked(self) -> dict[str, Any]:
        """Look; where the store does not answer for some time, say so meanwhile."""
        store, asked = self._runs.store, asyncio.create_task(self.listed())
        try:
            while not (await asyncio.wait([asked], timeout=LOOK))[0]:
                if store.waiting >= AWAY:
                    self._note_fault(silence(store.waits_for))
        finally:
            asked.cancel()
        return await asked

    def _note_fault(self, text: str) -> None:
        """Tell what keeps the list from being read, "" once it is read again."""
        if text != self._fault:
            self._fault = text
            self.audience.notice(notice_frame(printable(text, MAX_TEXT)), stays=bool(text))

    def _tell(self, listed: dict[str, Any]) -> None:
        """Tell what has changed; how long a lease goes on changes all the time."""
        bare = {**listed, "runs": [{**row, "lease_left": None} for row in listed["runs"]]}
        frame = event_frame("runs", json_bytes(listed))
        if bare != self._told:
            self._told = bare
            self.audience.put(frame)
        for viewers in self.audience.wanting().values():
            for viewer in viewers:
                viewer.begin(frame)

    async def listed(self, limit: int = LISTED, after: str = "") -> dict[str, Any]:
        """Return the last runs, newest first, as JSON values.

        Args:
            limit: how many at most.
            after: the id of a run: only runs before it.

        Raises:
            StoreError: the store cannot be read.
        """
        records = await self._records(min(max(1, limit), _MOST), after)
        states = await self._states(records)
        store = self._runs.store
        frozen, now = await store.frozen(), store.wall()
        rows = [run_row(with_counts(each, states.get(each.run_id)), states.get(each.run_id), now) for each in records]
        told = {"v": 1, "runs": rows, "frozen": frozen.as_dict() if frozen is not None else None}
        return visible_values(told)

    async def _records(self, limit: int, after: str) -> list[RunRecord]:
        read = limit
        while True:
            records = await self._runs.store.runs(read)
            at = next((i + 1 for i, each in enumerate(records) if each.run_id == after), 0 if not after else None)
            if at is not None and (len(records) >= at + limit or len(records) < read):
                return records[at : at + limit]
            if len(records) < read or read >= _ALL:
                return []
            read *= 4

    async def _states(self, records: list[RunRecord]) -> dict[str, RolloutState]:
        """Return the states of the rollouts that are not over, of which there are seldom many."""
        open_ = [each for each in records if each.kind == "rollout" and not each.status.over][:_STATES]
        found: dict[str, RolloutState] = {}
        for record in self._not_too_large(open_):
            try:
                found[record.run_id] = self._boards.state(record.run_id) or await self._runs.state(record.run_id)
            except (ConfigError, RecordEdited):
                continue  # it has been deleted meanwhile, or its record edited, which hides no other run
        return found

    def _not_too_large(self, records: Iterable[RunRecord]) -> Iterator[RunRecord]:
        """Yield so many runs as are kept until the next look: of more, all would be read from their begin each time."""
        room = self._servers
        for record in records:
            if self._boards.state(record.run_id) is not None:
                yield record
            elif record.total <= room or room == self._servers:
                room -= record.total
                yield record
