"""A run as the store tells it: its record, its state, and who has steered it when."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ecsbatch.errors import ConfigError
from ecsbatch.model import events as ev
from ecsbatch.model.commands import is_abort
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Plan
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.state import RolloutState

if TYPE_CHECKING:
    from ecsbatch.model.run import Command, RunRecord
    from ecsbatch.store.store import DatabaseStore

_REMEMBERED: Final = 50

_STEERING: Final = (
    *(ev.RunPaused, ev.RunResumed, ev.RunAborting, ev.RunStopped, ev.RunFinished),
    *(ev.LimitChanged, ev.GateChecked),
)

_GLANCE: Final = 0.5
"""Seconds between two looks at the store."""

_GOING_ON: Final = frozenset({RunStatus.RUNNING, RunStatus.PAUSED})


@dataclass(slots=True)
class RunHistory:
    """What is known of a run.

    Attributes:
        record, state: as the store has it, and its events folded.
        steering: the last events by which somebody or something steered it, oldest first.
        holders: the last event of a process that took it, None before the first.
        asked_to_abort: the last command to end it for good that was asked since a process took it; whoever has it or
            goes on with it follows. None where there is none.
    """

    record: RunRecord
    state: RolloutState
    steering: deque[ev.Recorded] = field(default_factory=lambda: deque[ev.Recorded](maxlen=_REMEMBERED))
    holders: ev.HolderChanged | None = None
    asked_to_abort: Command | None = None

    def apply(self, recorded: ev.Recorded) -> None:
        """Fold the next event in."""
        self.state.apply(recorded)
        event = recorded.event
        if isinstance(event, ev.HolderChanged):
            self.holders = event
            if event.fence > 1:
                self.steering.append(recorded)
        elif isinstance(event, _STEERING):
            self.steering.append(recorded)

    @property
    def aborting(self) -> bool:
        """True where somebody has ended it for good and it is not over yet, or has asked its process to."""
        return not self.state.status.over and (self.state.aborting or self.asked_to_abort is not None)

    @property
    def aborted_by(self) -> str:
        """Who has, "" where that is not known."""
        asked = self.asked_to_abort
        return self.state.aborted_by or (asked.who if asked is not None else "")

    def settle(self) -> None:
        """Say what no event can: that the process is gone, and what was asked of whoever goes on with the run."""
        if self.record.status is RunStatus.ORPHANED:
            self.state.status, self.state.reason = RunStatus.ORPHANED, "its process is gone"
        if self.asked_to_abort is not None and not self.record.held and not self.state.aborting:
            self.state.aborting, self.state.aborted_by = True, self.asked_to_abort.who


async def load_history(store: DatabaseStore, record: RunRecord) -> RunHistory:
    """Read a run's whole history.

    Raises:
        ConfigError: it is a run of single restarts.
    """
    story = await new_history(store, record)
    while events := await store.events(record.run_id, story.state.seq):
        for event in events:
            story.apply(event)
    if not record.status.over:
        story.asked_to_abort = await _asked_to_abort(store, record, story.state.last_command)
    story.settle()
    return story


async def new_history(store: DatabaseStore, record: RunRecord) -> RunHistory:
    """Begin before a run's first event.

    Raises:
        ConfigError: it is a run of single restarts.
    """
    if record.kind == "direct":
        raise ConfigError(f"Run {record.run_id} holds single restarts of a program: only rollouts have a report.")
    plan = Plan.from_json(record.plan, await store.targets(record.run_id))
    return RunHistory(record, RolloutState(record.run_id, plan))


async def _asked_to_abort(store: DatabaseStore, record: RunRecord, known: int) -> Command | None:
    """Return the last abort behind the last command that was there when the run was taken; older ones are over."""
    aborts = await aborts_of(store, record.run_id)
    asked = [each for each in aborts if (each.id > known if known else each.ts >= record.holder.since)]
    return asked[-1] if asked else None


async def aborts_of(store: DatabaseStore, run_id: str) -> list[Command]:
    """Return what was ever asked to end a run for good."""
    return [each for each in await store.commands(run_id) if is_abort(each.body)]


def pages(store: DatabaseStore, run_id: str, loop: asyncio.AbstractEventLoop) -> Iterator[bytes]:
    """Yield a run's raw lines, a page in memory at a time; for a thread beside the store's loop."""
    after = 0
    while lines := asyncio.run_coroutine_threadsafe(store.lines(run_id, after), loop).result():
        yield from lines
        after += len(lines)


class RunFollower:
    """A run of another process, read from the store again and again.

    Attributes:
        story: what is known of it.
        over: it has ended there, or nobody holds it any more.
    """

    def __init__(self, store: DatabaseStore, history: RunHistory) -> None:
        """Begin before its first event."""
        self.story = history
        self.over = False
        self._store = store
        self._news = asyncio.Event()

    @property
    def state(self) -> RolloutState:
        """Where it stands."""
        return self.story.state

    @property
    def quota(self) -> Quota:
        """Servers per window, as the run's process has it."""
        told = self.story.holders
        return Quota(told.limit, told.window) if told is not None and told.limit else Quota()

    async def usage(self) -> Usage | None:
        """Ask the ledger about the first site's quota."""
        groups = list(self.story.record.plan.get("sites", {}).values())
        return await self._store.usage(groups[0], self.quota.limit) if groups else None

    async def refresh(self) -> None:
        """Fold what is new."""
        story = self.story
        # The record first: what is stored after it shows with the next look, and a run that is over stores nothing.
        story.record = record = await self._store.run(story.record.run_id)
        before = story.state.seq
        while events := await self._store.events(record.run_id, story.state.seq):
            for event in events:
                story.apply(event)
        story.settle()
        self.over = story.state.status not in _GOING_ON
        if self.over or story.state.seq > before:
            self._news.set()
            self._news = asyncio.Event()

    async def to_its_end(self, leave: asyncio.Event) -> None:
        """Look twice a second until the run has ended, or somebody leaves."""
        while not self.over and not leave.is_set():
            try:
                async with asyncio.timeout(_GLANCE):
                    await leave.wait()
            except TimeoutError:
                await self.refresh()

    async def lines(self, after: int = 0) -> AsyncIterator[bytes]:
        """Follow its journal from behind an event's number; ends with the run's end."""
        while True:
            news, over = self._news, self.over
            found = await self._store.lines(self.story.record.run_id, after)
            for line in found:
                yield line
            after += len(found)
            if not found:
                if over:
                    return
                await news.wait()
