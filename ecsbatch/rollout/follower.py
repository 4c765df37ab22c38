"""A run as it is read back from the store: its record, its state, and who has steered it when.

`load_history` reads one run once; a `RunFollower` goes on reading the run of another process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from ecsbatch.errors import ConfigError, RecordEdited
from ecsbatch.host_loop import TimeSlice, aside
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model import events as ev
from ecsbatch.model.commands import is_abort
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import HANDED_OVER, RunStatus
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.recorded import UNLIKE, Recorded, unlike_the_run
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.quota_now import quota_now

if TYPE_CHECKING:
    from ecsbatch.engine.ports import Store
    from ecsbatch.model.run import Command, RunRecord

_REMEMBERED: Final = 50
"""Events of steering that are kept, the latest ones."""

_STEERING: Final[tuple[type[ev.Event], ...]] = (
    *(ev.RunPaused, ev.RunResumed, ev.RunAborting, ev.RunStopped, ev.RunFinished, ev.RunFrozen, ev.RunThawed),
    *(ev.LimitChanged, ev.GateChecked),
)

NEXT_HOLDER: Final = 15.0
"""Seconds for which a run without a process is watched on: one that stands by takes it within five, or so."""

_REFRESH_EVERY: Final = 0.5
"""Seconds between two looks at the store."""

_AT_ONCE: Final = 250
"""Events that are read in one go."""

_GOING_ON: Final = frozenset({RunStatus.RUNNING, RunStatus.PAUSED})
"""A run with another status has ended, or nobody holds it."""


@dataclass(slots=True)
class RunHistory:
    """What the store says of a run.

    Attributes:
        record: the run as the store knows it.
        state: its events folded.
        steering: the last events by which somebody or something steered it, oldest first.
        holders: the event of the last process that took it, None before the first.
        asked_to_abort: the last command to abort it that came after a process took it, None where there is none. The
            process that holds it now, or the next one, follows it.
        head: of its record behind the last event that was read, "" where it has no chain.
        frozen: the freeze of the store now, None where there is none.
        read_at: when all this was read, by the clock that stamps events, seconds since 1970.
        watchers: are given each event, once the state has it. They are called from the first event on that is read
            after they were added.
    """

    record: RunRecord
    state: RolloutState
    steering: deque[Recorded] = field(default_factory=lambda: deque[Recorded](maxlen=_REMEMBERED))
    holders: ev.HolderChanged | None = None
    asked_to_abort: Command | None = None
    head: str = ""
    frozen: Freeze | None = None
    read_at: float = 0.0
    watchers: list[Callable[[Recorded], None]] = field(default_factory=list[Callable[[Recorded], None]])
    _folded: tuple[RunStatus, str, bool, str, Freeze | None] | None = None
    """What the events say of the status, its reason, an abort and a freeze, where `settle` has said something else."""

    def apply(self, recorded: Recorded) -> None:
        """Fold the next event in.

        Raises:
            RecordEdited: it speaks of what is none of the run's.
        """
        self._unsettle()
        try:
            self.state.apply(recorded)
        except UNLIKE as e:
            raise unlike_the_run(recorded, e) from e
        event = recorded.event
        if isinstance(event, ev.HolderChanged):
            self.holders = event
            if event.fence > 1:
                self.steering.append(recorded)
        elif isinstance(event, _STEERING):
            self.steering.append(recorded)
        for watch in self.watchers:
            watch(recorded)

    @property
    def aborting(self) -> bool:
        """True where somebody has aborted the run, or has asked its process to, and it is not over yet."""
        return not self.state.status.over and (self.state.aborting or self.asked_to_abort is not None)

    @property
    def aborted_by(self) -> str:
        """Who has aborted the run, or has asked for it; "" where that is not known."""
        asked = self.asked_to_abort
        return self.state.aborted_by or (asked.who if asked is not None else "")

    def settle(self) -> None:
        """Add to the state what no event says: the process is gone or asked to abort, the store is frozen."""
        self._unsettle()
        asked, state = self.asked_to_abort, self.state
        self._folded = state.status, state.reason, state.aborting, state.aborted_by, state.frozen
        state.frozen = self.frozen
        if self.record.status is RunStatus.ORPHANED:
            state.status, state.reason = RunStatus.ORPHANED, "its process is gone"
        unheard = asked is not None and not state.aborting and not state.status.over
        state.abort_asked_by = (asked.who or "somebody") if asked is not None and unheard else ""
        if asked is not None and unheard and not self.record.held:
            state.aborting, state.aborted_by = True, asked.who

    def _unsettle(self) -> None:
        """Take back what `settle` has added: another process may have taken the run since."""
        if self._folded is not None:
            state = self.state
            state.status, state.reason, state.aborting, state.aborted_by, state.frozen = self._folded
            self._folded = None


async def load_history(store: Store, record: RunRecord) -> RunHistory:
    """Return a run's whole history.

    Raises:
        ConfigError: it is a run of single restarts.
        StoreError: the store cannot be read.
        RecordEdited: somebody has changed its events, or taken some away.
    """
    history = await new_history(store, record)
    await _read_on(store, history)
    if history.state.seq < record.seq:
        raise RecordEdited(
            f"The record of run {record.run_id} was edited: it ends with event {history.state.seq} where event "
            f"{record.seq} was the last one: restore the store from a copy of before.",
            run_id=record.run_id,
        )
    history.head = await head_at(store.lines, record.run_id, history.state.seq)
    await settle_now(store, history)
    return history


async def settle_now(store: Store, history: RunHistory) -> None:
    """Ask the store for what no event says of a run, and settle its history by that and by its record.

    Raises:
        StoreError: the store cannot be read.
    """
    record = history.record
    asked = None if record.status.over else await _asked_to_abort(store, record, history.state.last_command)
    frozen = None if record.status.over else await store.frozen()
    history.asked_to_abort, history.frozen = asked, frozen
    history.settle()


async def new_history(store: Store, record: RunRecord) -> RunHistory:
    """Return a run's history before its first event.

    Raises:
        ConfigError: it is a run of single restarts.
        StoreError: the store cannot be read.
    """
    if record.kind == "direct":
        raise ConfigError(f"Run {record.run_id} holds single restarts of a program: only rollouts have a report.")
    plan = record.plan_of(await store.targets(record.run_id))
    return RunHistory(record, await aside(partial(RolloutState, record.run_id, plan), len(plan.fleet)))


async def _read_on(store: Store, history: RunHistory) -> None:
    """Fold the events that are not folded yet, in slices: of a large run they are tens of thousands."""
    work = TimeSlice()
    while events := await store.events(history.record.run_id, history.state.seq, _AT_ONCE):
        for event in events:
            history.apply(event)
            await work.give_way()
    history.read_at = store.wall()


async def _asked_to_abort(store: Store, record: RunRecord, known: int) -> Command | None:
    """Return the last abort that came after the run was taken; ``known`` is the last command before, 0 if unknown."""
    aborts = await aborts_of(store, record.run_id)
    asked = [each for each in aborts if (each.id > known if known else each.ts >= record.holder.since)]
    return asked[-1] if asked else None


async def aborts_of(store: Store, run_id: str) -> list[Command]:
    """Return all commands to abort a run, be they followed or not."""
    return [each for each in await store.commands(run_id) if is_abort(each.body)]


def pages(store: Store, run_id: str, loop: asyncio.AbstractEventLoop) -> Iterator[bytes]:
    """Yield a run's events as lines of JSON, one page in memory at a time. Not for the thread of the store's loop.

    What somebody has edited is read once, too, whatever its rows' numbers say.
    """
    after, before = 0, list[bytes]()
    while lines := asyncio.run_coroutine_threadsafe(store.lines(run_id, after), loop).result():
        if lines == before:
            return
        yield from lines
        after, before = max(after + len(lines), _told(lines[-1]).get("seq", 0)), lines


async def head_at(lines: Callable[[str, int, int], Awaitable[Sequence[bytes]]], run_id: str, seq: int) -> str:
    """Return the head of a run's record behind an event, "" where it has no chain there; ``lines`` is a store's."""
    found = await lines(run_id, seq - 1, 1) if seq else ()
    return str(_told(found[0]).get("head", "")) if found else ""


def _told(line: bytes) -> dict[str, Any]:
    """Return what a line of JSON tells, nothing where somebody has written something else there."""
    try:
        told: Any = orjson.loads(line)
    except ValueError:
        return {}
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}


class RunFollower:
    """A run of another process, read from the store again and again.

    Attributes:
        history: what the store says of it.
        over: True where it has ended, or nobody holds it any more.
    """

    def __init__(
        self, store: Store, history: RunHistory, *, patience: float = 0.0, left_at: float | None = None
    ) -> None:
        """Take a history from `new_history` or `load_history`.

        Args:
            store: has the run.
            history: of the run.
            patience: seconds for which a run that went on, and that its process has left or died with, is not over:
                a process that stands by may take it.
            left_at: from when on these count for a run that nobody holds now, by the loop's clock; None for over.
        """
        self.history = history
        self._patience = patience
        self._left_at = left_at
        self.over = False
        self._store = store
        self._news = asyncio.Event()
        self._turn = asyncio.Lock()
        self._asked = self._answered = 0

    @property
    def state(self) -> RolloutState:
        """How the run stands."""
        return self.history.state

    @property
    def quota(self) -> Quota:
        """The quota that the run's process keeps to."""
        told = self.history.holders
        return Quota(told.limit, told.window) if told is not None and told.limit else Quota()

    async def usage(self) -> Usage | None:
        """Return the usage of the first site's quota, None where the plan names no site."""
        groups = list(self.history.record.plan.get("sites", {}).values())
        kept = quota_now(self.state, self._store.wall()) or self.quota
        return await self._store.usage(groups[0], kept.limit) if groups else None

    async def refresh(self) -> None:
        """Read what is new: who asks while another reads waits for the next reading, and all who wait share that one.

        Raises:
            StoreError: the store cannot be read.
        """
        self._asked += 1
        mine = self._asked
        async with self._turn:
            if self._answered < mine:
                answers = self._asked
                await self._refresh()
                self._answered = answers

    async def _refresh(self) -> None:
        history = self.history
        # The record first: events that are stored after it show the next time, and a run that is over stores none.
        history.record = await self._store.run(history.record.run_id)
        before = history.state.seq
        await _read_on(self._store, history)
        await settle_now(self._store, history)
        self.over = self._is_over(asyncio.get_running_loop().time())
        if self.over or history.state.seq > before:
            self._news.set()
            self._news = asyncio.Event()

    def _is_over(self, now: float) -> bool:
        state = self.history.state
        if state.status in _GOING_ON:
            self._left_at = now
            return False
        left = state.status is RunStatus.ORPHANED or state.reason == HANDED_OVER
        return not left or self._left_at is None or now - self._left_at >= self._patience

    async def to_its_end(self, leave: asyncio.Event, enough: Callable[[], bool] = bool) -> None:
        """Refresh twice a second until the run has ended, ``leave`` is set, or ``enough`` says so of what was read."""
        while not self.over and not leave.is_set() and not enough():
            try:
                async with asyncio.timeout(_REFRESH_EVERY):
                    await leave.wait()
            except TimeoutError:
                await self.refresh()

    async def lines(self, after: int = 0) -> AsyncGenerator[bytes]:
        """Yield its events after number ``after`` as lines of JSON, as they come, until the run ends."""
        while True:
            news, over = self._news, self.over
            found = await self._store.lines(self.history.record.run_id, after)
            for line in found:
                yield line
            after += len(found)
            if not found:
                if over:
                    return
                await news.wait()
