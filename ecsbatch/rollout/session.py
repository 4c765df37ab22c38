"""`RunSession`: a run while this process has it: its plan, the fold over its events, its journal.

Whatever happens to a run is written first and folded then; who waits for a change is told after both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from contextvars import Context, copy_context
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final, Self, TypeAlias, cast

from ecsbatch.engine.journal import EventFeed, JournalWriter, seen
from ecsbatch.engine.pending import join
from ecsbatch.engine.runtime import Runtime
from ecsbatch.errors import ConfigError, EngineStopped, RunConflict, StoreError
from ecsbatch.host_loop import TimeSlice, aside
from ecsbatch.model import events as ev
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import Outcome, RunStatus
from ecsbatch.model.plan import Plan
from ecsbatch.model.recorded import UNLIKE, Recorded, unlike_the_run
from ecsbatch.model.restarts import restarts_together, servers_of
from ecsbatch.model.run import Lease, Transaction
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Stage
from ecsbatch.planning.strategy import resolve_limits
from ecsbatch.policy import decide as policy
from ecsbatch.policy.decide import Ending
from ecsbatch.rollout.dispatcher import Dispatcher

OnEvent: TypeAlias = Callable[[Recorded], None]
"""Hears of an event once it is stored. It is called on the event loop, and must only take note."""

WORTH_A_WORD: Final = 3.0
"""Seconds without an answer of the cloud that are more than a moment."""


_READ_AT_ONCE: Final = 250
"""Events of its history that are read and folded in one go."""


class RunSession:
    """One run's plan, state, limits and journal, and who waits for what.

    Attributes:
        runtime: what it runs on.
        run_id, plan: which run.
        state: the fold over its events so far.
        limits: those of the plan, as changed since.
        dispatcher: hands its servers to the engine.
        stored: true once the run is in the store.
        last_command: the number of the last command from elsewhere that was followed.
        feed: follows its journal.
        request: why the run is to end here, where somebody, a gate or the budget asks for that; else None.
        on_event: hears of what this process records.
        context: the context variables of whoever has begun it here; None before.
        released: this process has let the run go.
    """

    def __init__(self, runtime: Runtime, run_id: str, plan: Plan, state: RolloutState | None = None) -> None:
        """Begin before the first event of a plan's run; ``state`` is the one before it, None to make it here."""
        self.runtime = runtime
        self.run_id = run_id
        self.stored = False
        self.last_command = 0
        self._lease: Lease | None = None
        self._journal: JournalWriter | None = None
        self._changed = asyncio.Event()
        self.feed = EventFeed(lambda: runtime.store, run_id, lambda: self.state.seq if self.stored else 0)
        self.request: Ending | None = None
        self.on_event: OnEvent | None = None
        self.context: Context | None = None
        self.released = False
        self._frozen: Freeze | None = None
        self._waiters: dict[str, list[asyncio.Future[Outcome]]] = {}
        self._begin_fold(plan, state or RolloutState(run_id, plan))

    @classmethod
    async def of(cls, runtime: Runtime, run_id: str, plan: Plan) -> Self:
        """Return a new one; the state of a large fleet is made beside the event loop."""
        return cls(runtime, run_id, plan, await _blank_state(run_id, plan))

    async def follow(self, plan: Plan) -> None:
        """Begin the fold anew, with the plan of a run that exists; who waits for a server must ask again."""
        self.stored = True
        self._fail_waiters(RunConflict(f"Run {self.run_id} was just being taken: ask again.", run_id=self.run_id))
        self._begin_fold(plan, await _blank_state(self.run_id, plan))

    def _begin_fold(self, plan: Plan, state: RolloutState) -> None:
        self.plan = plan
        self._folded_at = 0.0
        self.state = state
        self.limits = policy.limits_of(plan, {})
        self.dispatcher = Dispatcher(plan, self.state, self.runtime.pipelines, self.notice)

    def begin(self, context: Context) -> None:
        """Expect to be taken by somebody with these context variables; once more, where a begin has failed."""
        self.context, self.released = context, False
        self.feed.open()

    # -- writing ---------------------------------------------------------------------------------------------------

    def owe(self, lease: Lease) -> None:
        """Remember a lease that has to be released, though nothing is written by it yet."""
        self._lease = lease

    def take(self, lease: Lease) -> None:
        """Write the run from now on, by this lease."""
        self._lease, self.stored = lease, True
        self._journal = JournalWriter(
            self.runtime.store, lease, self.fold_news, last_batch=self.state.last_batch, on_failure=self.notice
        )

    @property
    def held(self) -> bool:
        """True while this process has the run and writes it."""
        return self._journal is not None and not self._journal.closed

    @property
    def begun(self) -> bool:
        """True once this process has had the run, whether or not it still has it."""
        return self._journal is not None

    @property
    def journal(self) -> JournalWriter:
        """Writes the run; raises EngineStopped where this process does not have it yet."""
        if self._journal is None:
            raise EngineStopped(f"Run {self.run_id} is not held by this process yet.")
        return self._journal

    @property
    def fault(self) -> BaseException | None:
        """Why nothing can be written any more; None: it can."""
        return self._journal.failed if self._journal is not None else None

    async def note(self, event: ev.Event, status: RunStatus | None = None) -> None:
        """Write an event, and the run's new status with it, and wait until it is folded; raises as `record`."""
        await self.record([event], status)

    async def record(self, events: Sequence[ev.Event], status: RunStatus | None = None) -> None:
        """Write events and wait until they are folded; without any, until everything written before is.

        Raises:
            StoreError: they cannot be written.
            RunTaken: another process has taken the run.
            EngineStopped: this process does not have the run, or an event could not be folded.
        """
        await self.journal.record(Transaction(events, status=status))

    async def release(self) -> None:
        """Let the run go: nothing more is written, and whoever waits for one of its servers hears how that stands."""
        self.released = True
        if self._journal is not None:
            self._journal.close()
        self.feed.close()
        self.runtime.watchers.left(self.run_id)
        self.notice()
        if isinstance(self.fault, RunConflict):
            self._fail_waiters(self.fault)  # how its servers stand is for the next holder to say
        self._answer(list(self._waiters), ended=False)
        if self._lease is not None:
            # Of a run that was taken there is nothing to let go but what this process remembers.
            with suppress(StoreError) if isinstance(self.fault, RunConflict) else nullcontext():
                await self.runtime.store.release(self._lease)

    # -- folding ---------------------------------------------------------------------------------------------------

    async def read_history(self) -> None:
        """Fold the events in the store that are not folded yet.

        Raises:
            StoreError: they cannot be read.
            RecordEdited: somebody has changed one, and it speaks of what is none of the run's.
        """
        self.stored = True
        work = TimeSlice()
        while recorded := await self.runtime.store.events(self.run_id, self.state.seq, _READ_AT_ONCE):
            try:
                self.fold(recorded)
            except UNLIKE as e:
                raise unlike_the_run(next(each for each in recorded if each.seq >= self.state.seq), e) from e
            await work.give_way()

    def fold_news(self, commit: Sequence[Recorded]) -> None:
        """Fold what this process has just stored, and tell who wants to hear of it."""
        self.fold(commit)
        self.runtime.watchers.heard(commit, self.state, self.context)
        if self.on_event is not None:
            for recorded in commit:
                tell(self.on_event, recorded, self.context)

    def fold(self, commit: Sequence[Recorded]) -> None:
        """Fold a commit's events into the state; where nothing may be sent by it any more, recall what is queued."""
        for group in restarts_together(commit):
            if len(group) > 1:
                self._fold_restarts(group)
            else:
                self._fold_one(group[0])
        self._folded_at = asyncio.get_running_loop().time()
        # Here and not a step later in the loop: an intent may be on its way to the store at this very instant.
        if (
            self.dispatcher.out_of_turn
            or self.dispatcher.over_budget(self.limits)
            or policy.breach(self.state, self.limits) is not None
        ):
            self.dispatcher.recall()
        self.notice()
        self.feed.publish(commit)

    def _fold_restarts(self, restarts: Sequence[Recorded]) -> None:
        """Fold restarts that are alike: by none of them a server waits again, or keeps its slot in the budget."""
        servers = servers_of(restarts)
        self.dispatcher.take_out(servers)
        self.state.apply_restarts(restarts)
        if self._waiters:
            self._answer(servers)

    def _fold_one(self, recorded: Recorded) -> None:
        event = recorded.event
        back = self.dispatcher.on_event(event)
        self.state.apply(recorded)
        self.dispatcher.after(event, back)
        if isinstance(event, ev.ServerEvent):
            if self._waiters:
                self._answer([event.server])
        elif isinstance(event, ev.StoreFailedOver):
            self.dispatcher.recall()  # what was looked at before is looked at again
        elif isinstance(event, ev.LimitChanged):
            self.limits = policy.limits_of(self.plan, self.state.limits)
        elif self._waiters and isinstance(event, ev.RunResumed | ev.BatchRejected | ev.BatchUnstarted):
            self._answer(list(self._waiters))  # servers of left-out domains end without an event of their own

    async def note_sight(self) -> None:
        """Record that nothing can be seen of the cloud, or that it can be again: those who watch see it by that alone.

        Raises:
            StoreError, RunConflict, EngineStopped: as `record`.
        """
        seconds, why = self.runtime.blindness()
        if not self.held or self.state.status not in {RunStatus.RUNNING, RunStatus.PAUSED}:
            return
        if self.state.unseen is not None and not seconds:
            await self.note(ev.CloudSeen())
        elif self.state.unseen is None and seconds >= WORTH_A_WORD:
            timeout = self.runtime.engine.blind_timeout
            await self.note(ev.CloudUnseen(seconds=round(seconds, 3), timeout=timeout, message=why))

    async def look_for_freeze(self) -> None:
        """See whether the store is frozen, before anything is sent: the record may tell of one that is over by now."""
        self._frozen = self.state.frozen
        with suppress(StoreError):  # it grants nothing either
            await self.runtime.freeze.look()
            self.note_freeze()

    def note_freeze(self) -> None:
        """Record that the store is frozen, or that it is not any more, so that the record explains its own gap."""
        if self.held and not self.state.status.over and (event := self.runtime.freeze.news(self._frozen)):
            self._frozen = self.runtime.freeze.freeze
            self.journal.record(Transaction([event])).add_done_callback(seen)

    def limit_events(self, limits: Mapping[str, int | str], by: str) -> list[ev.Event]:
        """Make the events of changed limits, by the names and in the forms that a `Strategy` has them.

        Raises:
            ConfigError: a limit does not exist, or its value is invalid.
        """
        if not limits:
            return []
        changed = policy.limits_of(resolve_limits(self.plan, **limits), {})
        return [
            ev.LimitChanged(limit=name, old=_as_read(self.limits, name), new=_as_read(changed, name), by=by)
            for name in limits
        ]

    @property
    def now(self) -> float:
        """The time now, as the run's events are stamped (seconds since 1970); no change of the wall clock moves it."""
        return self.state.updated_at + asyncio.get_running_loop().time() - self._folded_at

    def end_by(self, ending: Ending) -> None:
        """Ask for the run's end here; an interruption replaces what a gate or the budget has asked for."""
        if self.request is None or ending.status is RunStatus.INTERRUPTED:
            self.request = ending
        self.notice()

    # -- waiting ---------------------------------------------------------------------------------------------------

    def notice(self) -> None:
        """Wake those who wait for a change."""
        self._changed.set()

    async def change(self, until: float | None = None) -> None:
        """Wait until something has changed since the last call, at the longest until the loop time ``until``."""
        if until is None:
            await self._changed.wait()
        else:
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                return
        self._changed.clear()

    def join(self, server: str) -> asyncio.Future[Outcome] | None:
        """Return a future of a server's outcome with this run; None where it is not of this run or has ended.

        None, too, while a run that exists is being taken: its history may yet show that the server has ended.
        """
        index = self.plan.fleet.index_of(server)
        gone = self.released or (self.stored and not self.held)
        if index is None or gone or self.state.stage[index] >= Stage.RESTARTED:
            return None
        return join(self._waiters.setdefault(server, []), asyncio.get_running_loop())

    def _fail_waiters(self, fault: RunConflict) -> None:
        for waiter in (waiter for waiters in self._waiters.values() for waiter in waiters if not waiter.done()):
            waiter.set_exception(fault)
        self._waiters = {}

    def _answer(self, servers: Sequence[str], *, ended: bool = True) -> None:
        """Answer who waits for these servers; with ``ended`` only for those that have their outcome."""
        for server in servers:
            index = self.plan.fleet.find(server)
            if ended and self.state.stage[index] < Stage.RESTARTED:
                continue
            for waiter in self._waiters.pop(server, ()):
                if not waiter.done():
                    waiter.set_result(self.state.outcome(index))


async def _blank_state(run_id: str, plan: Plan) -> RolloutState:
    """Return the state before the first event."""
    return await aside(partial(RolloutState, run_id, plan), len(plan.fleet))


def checked_hearer(hearer: OnEvent | None) -> OnEvent | None:
    """Return a function that is to hear of events.

    Raises:
        ConfigError: it is none, or one that would have to be awaited.
    """
    if hearer is not None and (not callable(hearer) or iscoroutinefunction(hearer)):
        raise ConfigError(
            f"on_event={hearer!r} is no plain function: give one that returns at once, or iterate over the rollout's "
            "events()."
        )
    return hearer


def tell(hearer: OnEvent, recorded: Recorded, context: Context | None) -> None:
    """Tell somebody else's function of an event; what it raises is the event loop's to report, and ends nothing.

    A CancelledError is no cancellation here: it comes of a future that the function has looked at.
    """
    try:
        (context or copy_context()).run(hearer, recorded)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as e:  # noqa: BLE001 - whatever it is, the run goes on
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"on_event has failed on event {recorded.seq} of run {recorded.run_id}", "exception": e}
        )


def _as_read(limits: policy.Limits, name: str) -> Any:
    """Return a limit as it is read back from the record, where tuples are lists."""
    value: Any = getattr(limits, name)
    return list(cast("tuple[int, ...]", value)) if isinstance(value, tuple) else value
