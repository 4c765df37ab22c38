"""`RunSession`: a run as this process knows and writes it: its plan, the fold over its events, its journal.

Whatever happens to a run is written first and folded then; who waits for news is told after both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ecsbatch.engine.journal import EventFeed, JournalWriter
from ecsbatch.engine.runtime import Runtime
from ecsbatch.errors import EngineStopped
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Outcome, RunStatus
from ecsbatch.model.plan import Plan
from ecsbatch.model.run import Lease, Transaction
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Stage
from ecsbatch.planning.strategy import resolve_limits
from ecsbatch.policy import decide as policy
from ecsbatch.policy.decide import Ending
from ecsbatch.rollout.dispatcher import Dispatcher


class RunSession:
    """One run's plan, state, limits and journal, and who waits for what.

    Attributes:
        run_id, plan: which run.
        state: the fold over its events so far.
        limits: those of the plan, as changed since.
        dispatcher: its servers in the engine's hands.
        stored: true once the run is in the store.
        last_command: the number of the last command from elsewhere that was followed.
        feed: follows its journal.
        request: why the run is to end here, where somebody, a gate or the budget asks for it.
    """

    def __init__(self, runtime: Runtime, run_id: str, plan: Plan) -> None:
        """Begin before the first event."""
        self.runtime = runtime
        self.run_id = run_id
        self.stored = False
        self.last_command = 0
        self._lease: Lease | None = None
        self._journal: JournalWriter | None = None
        self._changed = asyncio.Event()
        self.feed = EventFeed(lambda: runtime.store, run_id, lambda: self.state.seq if self.stored else 0)
        self.request: Ending | None = None
        self._joined: dict[str, list[asyncio.Future[Outcome]]] = {}
        self.follow(plan)

    def follow(self, plan: Plan) -> None:
        """Begin the fold of a plan's run."""
        self.plan = plan
        self._folded_at = 0.0
        self.state = RolloutState(self.run_id, plan)
        self.limits = policy.limits_of(plan, {})
        self.dispatcher = Dispatcher(plan, self.state, self.runtime.pipelines, self.notice)

    # -- writing ---------------------------------------------------------------------------------------------------

    def owe(self, lease: Lease) -> None:
        """Have the run to let go of, though nothing is written yet."""
        self._lease = lease

    def take(self, lease: Lease) -> None:
        """Have this process write the run from now on."""
        self._lease, self.stored = lease, True
        self._journal = JournalWriter(
            self.runtime.store, lease, self.fold, last_batch=self.state.last_batch, on_failure=self.notice
        )

    @property
    def held(self) -> bool:
        """True while this process holds the run."""
        return self._journal is not None and not self._journal.closed

    @property
    def begun(self) -> bool:
        """True once this process has held the run, be it over since."""
        return self._journal is not None

    @property
    def journal(self) -> JournalWriter:
        """Where the run is written; raises EngineStopped where this process does not hold it."""
        if self._journal is None:
            raise EngineStopped(f"Run {self.run_id} is not held by this process yet.")
        return self._journal

    @property
    def fault(self) -> BaseException | None:
        """Why nothing can be written any more."""
        return self._journal.failed if self._journal is not None else None

    async def note(self, event: ev.Event, status: RunStatus | None = None) -> None:
        """Write an event and wait until it is folded."""
        await self.record([event], status)

    async def record(self, events: Sequence[ev.Event], status: RunStatus | None = None) -> None:
        """Write events and wait until they are folded; without any, until everything written before is."""
        await self.journal.record(Transaction(events, status=status))

    async def release(self) -> None:
        """Let the store and whoever waits go."""
        if self._journal is not None:
            self._journal.close()
        self.feed.close()
        self.notice()
        self._tell_joined(list(self._joined), ended=False)
        if self._lease is not None:
            await self.runtime.store.release(self._lease)

    # -- folding ---------------------------------------------------------------------------------------------------

    async def read_history(self) -> None:
        """Fold what the store has and this process has not read."""
        self.stored = True
        while recorded := await self.runtime.store.events(self.run_id, self.state.seq):
            self.fold(recorded)

    def fold(self, commit: Sequence[ev.Recorded]) -> None:
        """Fold a commit's events into the state, and what the engine has at hand with them."""
        for recorded in commit:
            self._fold_one(recorded)
        self._folded_at = asyncio.get_running_loop().time()
        # Here and not a step later in the loop: an intent may be on its way to the store at this very instant.
        if (
            self.dispatcher.out_of_turn
            or self.dispatcher.over_budget(self.limits)
            or policy.breach(self.state, self.limits) is not None
        ):
            self.dispatcher.recall()
        self.notice()

    def _fold_one(self, recorded: ev.Recorded) -> None:
        event = recorded.event
        back = self.dispatcher.on_event(event)
        self.state.apply(recorded)
        self.dispatcher.after(event, back)
        if isinstance(event, ev.LimitChanged):
            self.limits = policy.limits_of(self.plan, self.state.limits)
        elif self._joined and isinstance(event, ev.ServerEvent):
            self._tell_joined([event.server])
        elif self._joined and isinstance(event, ev.RunResumed | ev.BatchRejected | ev.BatchUnstarted):
            self._tell_joined(list(self._joined))  # of left-out domains: they end without an event of their own

    def limit_events(self, limits: Mapping[str, int | str], by: str) -> list[ev.Event]:
        """Say which limits change, by the names and in the forms that a `Strategy` has them.

        Raises:
            ConfigError: a limit that does not exist or cannot be.
        """
        if not limits:
            return []
        changed = policy.limits_of(resolve_limits(self.plan, **limits), {})
        return [
            ev.LimitChanged(limit=name, old=getattr(self.limits, name), new=getattr(changed, name), by=by)
            for name in limits
        ]

    @property
    def now(self) -> float:
        """The time as events are stamped, whatever has become of the wall clock since the last."""
        return self.state.updated_at + asyncio.get_running_loop().time() - self._folded_at

    def end_by(self, ending: Ending) -> None:
        """Ask for the run's end here; somebody's wish beats a gate's or the budget's."""
        if self.request is None or ending.status is RunStatus.INTERRUPTED:
            self.request = ending
        self.notice()

    # -- waiting ---------------------------------------------------------------------------------------------------

    def notice(self) -> None:
        """Say that something has changed."""
        self._changed.set()
        self.feed.notice()

    async def change(self, until: float | None = None) -> None:
        """Wait until something has changed since the last call, at the longest until a loop time."""
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def join(self, server: str) -> asyncio.Future[Outcome] | None:
        """Wait for a server's outcome with this run; None where it is not of this run or has ended."""
        place = self.plan.fleet.place(server)
        if place is None or self.state.stage[place] >= Stage.RESTARTED:
            return None
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._joined.setdefault(server, []).append(waiter)
        return waiter

    def _tell_joined(self, servers: Sequence[str], *, ended: bool = True) -> None:
        """Tell who waits for these servers how they ended; with ``ended`` only of those that have."""
        for server in servers:
            place = self.plan.fleet.find(server)
            if ended and self.state.stage[place] < Stage.RESTARTED:
                continue
            for waiter in self._joined.pop(server, ()):
                if not waiter.done():
                    waiter.set_result(self.state.outcome(place))
