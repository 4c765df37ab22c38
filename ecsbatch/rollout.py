"""`Rollout`: one pass over a frozen list of servers. Read `Rollout._drive` first.

It feeds the engine a wave at a time and decides go, wait or stop from its state, which is a fold over its events;
whatever it does is an event first. A process may die at any instant: a later one folds the same events and goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from ecsbatch import events as ev
from ecsbatch import policy
from ecsbatch.between import Between
from ecsbatch.conflicts import RunExists
from ecsbatch.direct import held_by, outcome_of
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped
from ecsbatch.feeder import Feeder
from ecsbatch.gates import Gate
from ecsbatch.hosting import Changes, Host, Result
from ecsbatch.journal import Journal
from ecsbatch.line import Check
from ecsbatch.models import Holder, Outcome, OutcomeKind, RunStatus, Wave
from ecsbatch.plan import Plan
from ecsbatch.policy import Ending, Step
from ecsbatch.records import Command, Hold, NewRun
from ecsbatch.state import RolloutState, Stage
from ecsbatch.strategy import resolve_limits

_SKIPS_AT_ONCE: Final = 1000
_READ_AT_ONCE: Final = 1000


class Rollout:
    """A run, as this process drives it. Made by `Restarter.rollout` and `Restarter.resume`.

    Attributes:
        run_id, plan: which run.
        state: the fold over its events so far.
        last_command: the number of the last command from elsewhere that was followed.
    """

    def __init__(
        self,
        host: Host,
        plan: Plan,
        run_id: str,
        *,
        check: Check | None = None,
        gate: Gate | None = None,
        changes: Changes | None = None,
    ) -> None:
        """With ``changes`` the run exists already and is resumed."""
        self.run_id = run_id
        self.last_command = 0
        self._host = host
        self._check = check
        self._changes = changes
        self._hold: Hold | None = None
        self._journal: Journal | None = None
        self._between = Between(self, gate)
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._request: Ending | None = None
        self._joined: dict[str, list[asyncio.Future[Outcome]]] = {}
        self._fault: EcsbatchError | None = None
        self._begun = False
        self._steering = 0
        self._live = True
        self._follow(plan)

    def _follow(self, plan: Plan) -> None:
        """Begin the fold of a plan's run."""
        self.plan = plan
        self.state = RolloutState(self.run_id, plan)
        self._limits = policy.limits_of(plan, {})
        self._feeder = Feeder(plan, self.state, self._host.pipelines, self.notice)

    def __repr__(self) -> str:
        tally = self.state.run
        status = self.state.status if self._begun else "new"
        return (
            f"<Rollout {self.run_id} {status} [{tally.waiting} waiting, {self._feeder.offered} queued, "
            f"{tally.in_flight} in flight, {self.state.down} of {self._limits.max_unavailable} down]>"
        )

    # -- running and watching --------------------------------------------------------------------------------------

    async def run(self) -> Result:
        """Restart the servers; return when the run is over, or stopped and resumable.

        Cancelling leaves the run ``interrupted``: requests in flight become unknown, and a resume goes on.

        Raises:
            RunConflict: another run has some of the servers, or another process has the run.
            StoreError: the store cannot be written; what it has acknowledged is safe.
            EngineStopped: the engine ended before the run did.
        """
        self._host.enter(self)
        try:
            await self._begin()
            if not self.state.status.over:
                await self._drive()
        except asyncio.CancelledError:
            await self._break_off("cancelled")
            raise
        finally:
            await self._leave()
        return self.result

    @property
    def result(self) -> Result:
        """How the run stands now."""
        state = self.state
        return Result(
            self.run_id, state.status, state.reason, state.message, state.run.total, state.counts, state.elapsed
        )

    @property
    def held(self) -> bool:
        """True while this process holds the run."""
        return self._journal is not None and not self._journal.closed

    async def events(self, after: int = 0) -> AsyncIterator[ev.Recorded]:
        """Follow the run's journal from behind an event's number; ends with the run's end in this process."""
        while True:
            news, live = self._news, self._live
            recorded = await self._host.store.events(self.run_id, after, self._untold(after)) if self._begun else []
            for each in recorded:
                yield each
                after = each.seq
            if not recorded:
                if not live:
                    return
                await news.wait()

    async def lines(self, after: int = 0) -> AsyncIterator[bytes]:
        """Follow the same as lines of JSON, without line ends."""
        while True:
            news, live = self._news, self._live
            found = await self._host.store.lines(self.run_id, after, self._untold(after)) if self._begun else []
            for line in found:
                yield line
            after += len(found)
            if not found:
                if not live:
                    return
                await news.wait()

    def _untold(self, after: int) -> int:
        """How many events behind a number may be told now: no reader is ahead of the state."""
        return max(0, min(_READ_AT_ONCE, self.state.seq - after))

    def join(self, server: str) -> asyncio.Future[Outcome] | None:
        """Wait for a server's outcome with this run; None where it is not of this run or has ended."""
        place = self.plan.fleet.place(server)
        if place is None or self.state.stage[place] >= Stage.RESTARTED:
            return None
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._joined.setdefault(server, []).append(waiter)
        return waiter

    # -- steering --------------------------------------------------------------------------------------------------

    def stop(self, reason: str = "interrupted", message: str = "") -> None:
        """End here, resumable: nothing new is sent, requests in flight get their answer, jobs are resume's."""
        self._end_by(Ending(RunStatus.INTERRUPTED, reason, message))

    def abort(self, by: str = "") -> None:
        """End for good: nothing new is sent, servers under way get their outcome; nothing un-sends a restart."""
        self._end_by(Ending(RunStatus.ABORTED, "aborted", f"Aborted by {by}." if by else "", drain=True))

    def gate_stops(self, reason: str, message: str) -> None:
        """End here, resumable: a gate said no."""
        self._end_by(Ending(RunStatus.STOPPED, reason, message))

    def engine_stopped(self, fault: BaseException) -> None:
        """The engine ended under this rollout: `run` raises EngineStopped, the run can be resumed."""
        stopped = EngineStopped(f"The engine ended before this run did: {fault}. Resume run {self.run_id}.")
        stopped.__cause__ = fault
        self._fault = stopped
        self.notice()

    def _end_by(self, ending: Ending) -> None:
        """Ask the loop to end the run; a wish to stop at once beats one that waits, an abort beats a stop."""
        if self._request is None or ending.status in {RunStatus.ABORTED, RunStatus.INTERRUPTED}:
            self._request = ending
        self.notice()

    def pause(self, by: str = "", reason: str = "paused") -> None:
        """Send nothing new until `resume`; servers under way go on."""
        if self.state.status is RunStatus.RUNNING:
            # First stop, then say so: no intent may follow the pause in the record.
            self._feeder.recall()
            self._steer([ev.RunPaused(reason=reason, by=by)], status=RunStatus.PAUSED)

    def _steer(self, events: Sequence[ev.Event], status: RunStatus | None = None) -> None:
        """Record what somebody asked for; until it is folded nothing is fed, for it would go by the old word."""
        if self._journal is None or not events:
            return
        self._steering += 1
        self._journal.record(events, status=status).add_done_callback(self._steered)

    def _steered(self, _: object) -> None:
        self._steering -= 1
        self.notice()

    def resume(self, by: str = "", *, forgive: bool = False, retry: Sequence[str] = ()) -> None:
        """Go on after `pause`."""
        if self.state.status is RunStatus.PAUSED:
            self._record([ev.RunResumed(by=by, forgive=forgive, retry=retry)], status=RunStatus.RUNNING)

    def promote(self, by: str = "") -> None:
        """Let the run pass the hold that it stands at."""
        wave = self.state.wave_over + 1
        self._record([ev.GateChecked(gate="hold", verdict="go", wave=wave, message=f"promoted by {by}" if by else "")])

    def adjust(self, by: str = "", **limits: int | str) -> None:
        """Change limits from now on, by the names and in the forms that a `Strategy` has them.

        Raises:
            ConfigError: a limit that does not exist or cannot be.
        """
        events = self._limit_events(limits, by)
        self._feeder.recall()
        self._steer(events)

    def command(self, command: Command) -> None:
        """Follow what was asked of the run's holder from elsewhere.

        Raises:
            ConfigError: it cannot be followed.
        """
        self.last_command = command.id
        body = command.body
        match body.get("command"):
            case "pause":
                self.pause(command.who)
            case "resume":
                self.resume(command.who, forgive=bool(body.get("forgive")), retry=body.get("retry", ()))
            case "promote":
                self.promote(command.who)
            case "abort":
                self.abort(command.who)
            case "adjust":
                self.adjust(command.who, **body.get("limits", {}))
            case _:
                return

    # -- beginning -------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Create the run, or take it and fold its history; then hand the engine what is under way."""
        if self._changes is None:
            try:
                await self._create()
            except RunExists as e:
                if e.targets_hash != self.plan.targets:
                    raise
                self._changes = Changes(by=self._host.holder.name)
                self._follow(Plan.from_json(e.record.plan, await self._host.store.targets(self.run_id)))
        if self._changes is not None:
            await self._take(self._changes)
        if not self.state.status.over:
            self._feeder.open(self._written, self._check, self._host.engine.linger)
            await self._written.record(self._feeder.take_up())
            await self._skip_planned()

    async def _create(self) -> None:
        plan = self.plan.to_json() | {"sites": self._sites()}
        events = [ev.RunStarted(total=len(self.plan.fleet), plan=plan), self._holder_changed(1)]
        new = NewRun(self.run_id, plan=plan, fleet=self.plan.fleet, events=events)
        self._hold = await self._host.store.create_run(new, self._host.holder)
        self._begun = True
        self._journal = Journal(self._host.store, self._hold, self._fold)
        self._fold(self._hold.recorded)

    def _sites(self) -> dict[str, str]:
        """Name the project and region behind each site of the engine."""
        return {site: pipeline.cloud.site.quota_group for site, pipeline in self._host.pipelines.items()}

    async def _same_sites(self) -> None:
        """Refuse to go on with a run in another project or region than it was begun in."""
        record = await self._host.store.run(self.run_id)
        for site, place in record.plan.get("sites", {}).items():
            now = self._sites().get(site, "nowhere")
            if now != place:
                raise ConfigError(f"Run {self.run_id} belongs to {place}, not to {now}: use its endpoint and project.")

    async def _take(self, changes: Changes) -> None:
        """Take over an existing run; one that is over and not to be retried is left as it is."""
        await self._same_sites()
        await self._read_history()
        if self.state.status.over and not changes.retry:
            return
        store = self._host.store
        self._hold = await store.hold(self.run_id, self._host.holder)
        await self._read_history()
        # What was asked of earlier holders is theirs.
        self.last_command = max((command.id for command in await store.commands(self.run_id)), default=0)
        self._journal = Journal(store, self._hold, self._fold, last_batch=self.state.last_batch)
        resumed = ev.RunResumed(
            by=changes.by, retry=changes.retry, forgive=changes.forgive, skip_domains=changes.skip_domains
        )
        limits = self._limit_events(changes.limits, changes.by)
        changed = self._holder_changed(self._hold.fence, self._hold.previous)
        await self._journal.record([changed, resumed, *limits], status=RunStatus.RUNNING)
        await self._leave_out(changes.skip_domains)

    def _holder_changed(self, fence: int, previous: Holder | None = None) -> ev.HolderChanged:
        host = self._host
        return held_by(host.holder, host.engine, fence, previous.name if previous else "", host.clock.monotonic())

    async def _read_history(self) -> None:
        self._begun = True
        while recorded := await self._host.store.events(self.run_id, self.state.seq):
            self._fold(recorded)

    async def _skip_planned(self) -> None:
        """End the servers that the plan knows are to be left alone."""
        for skip in self.plan.skips:
            waiting = (i for i in range(skip.start, skip.end) if self.state.stage[i] == Stage.WAITING)
            while chunk := list(islice(waiting, _SKIPS_AT_ONCE)):
                await self._written.record([self._skipped(i, skip.reason, holds=skip.holds) for i in chunk])
                for i in chunk if skip.holds else ():
                    self._feeder.watch_held(i)

    async def _leave_out(self, domains: Sequence[str]) -> None:
        """Skip the waiting servers of domains that are not to be restarted any more."""
        fleet, stage = self.plan.fleet, self.state.stage
        left = [i for i in range(len(fleet)) if stage[i] == Stage.WAITING and fleet.domain(i) in domains]
        if left:
            await self._written.record([self._skipped(i, "excluded") for i in left])

    def _skipped(self, place: int, reason: str, *, holds: bool = False) -> ev.ServerSkipped:
        server = self.plan.fleet.ids[place]
        wave, domain = self._feeder.locate(server)
        return ev.ServerSkipped(server=server, wave=wave, domain=domain, reason=reason, holds=holds)

    # -- driving ---------------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        """Go, wait or stop, until the run ends here."""
        while True:
            self._raise_fault()
            if (ending := self._ending()) is not None:
                await self._end(ending)
                return
            if self.state.status is RunStatus.RUNNING:
                await self._pause_on_breach()
            if self.state.status is RunStatus.PAUSED:
                self._feeder.recall()
                await self.change()
                continue
            over = self.state.wave_over
            if over == len(self.plan.waves):
                await self._finish()
                return
            wave = self.plan.waves[over]
            if self.state.wave >= wave.number:
                await self._go_on(wave)
            elif await self._between.cleared(wave):
                await self.note(ev.WaveStarted(wave=wave.number, servers=len(wave), label=wave.label))

    async def _go_on(self, wave: Wave) -> None:
        """Take one step inside a wave."""
        if self._steering:
            await self.change()
            return
        if self._feeder.closed:
            self._feeder.recall()
        tally = self.state.waves[wave.number - 1]
        ahead = 2 * self._host.engine.quota.limit
        decision = policy.decide(self.state, self._limits, tally, self._feeder.offered, ahead)
        match decision.step:
            case Step.FEED if self._feeder.feed(wave, decision.room, self._limits):
                return
            case Step.WAVE_DONE:
                await self._end_wave(wave)
            case Step.WAIT if self.state.run.in_flight or self._feeder.offered:
                await self.change()
            case Step.FEED if self.state.run.in_flight or self._feeder.offered:
                await self.change()
            case _:
                # Servers wait and none is under way: what is not back holds all places, whole or in each domain.
                await self._budget_exhausted()

    async def _budget_exhausted(self) -> None:
        """Look once more at the servers that are not back; where none is, the run stops."""
        held = len(self.state.held)
        await self._feeder.look_at_held()
        if len(self.state.held) == held:
            message = f"{held} servers are not back and hold all places of max_unavailable."
            self._end_by(Ending(RunStatus.STOPPED, "budget_exhausted", message))

    async def _end_wave(self, wave: Wave) -> None:
        tally = self.state.waves[wave.number - 1]
        done = ev.WaveFinished(
            wave=wave.number,
            restarted=tally.ended[OutcomeKind.RESTARTED],
            failed=tally.failures,
            skipped=tally.ended[OutcomeKind.SKIPPED],
        )
        await self.note(done)
        self._between.begin()

    # -- ending ----------------------------------------------------------------------------------------------------

    def wanted(self) -> bool:
        """Tell whether the run ends, or is paused."""
        return self._ending() is not None or self.state.status is RunStatus.PAUSED

    def _ending(self) -> Ending | None:
        """Return why the run must end here, if it must."""
        if (halt := self._feeder.halt) is not None:
            return Ending(RunStatus.STOPPED, halt.reason, halt.message)
        if self._request is not None:
            return self._request
        breach = policy.breach(self.state, self._limits)
        if breach is None or self.plan.on_failure == "pause":
            return None
        return Ending(RunStatus.STOPPED, breach.limit, f"{breach}.", drain=True)

    async def _pause_on_breach(self) -> None:
        breach = policy.breach(self.state, self._limits)
        if breach is not None and self.plan.on_failure == "pause":
            self._feeder.recall()
            await self.note(ev.RunPaused(reason=breach.limit), RunStatus.PAUSED)

    async def _end(self, ending: Ending) -> None:
        """Send nothing new, wait for what the ending waits for, and say so."""
        self._feeder.recall()
        while True:
            self._raise_fault()
            ending = policy.overruled(ending, self._feeder.halt, self._request)
            if not self._feeder.in_air and not (ending.drain and self.state.run.in_flight):
                break
            await self.change()
        if ending.status.over:
            await self.note(self._finished(ending), ending.status)
        else:
            stopped = ev.RunStopped(status=ending.status.value, reason=ending.reason, message=ending.message)
            await self.note(stopped, ending.status)

    async def _finish(self) -> None:
        status = RunStatus.FAILED if self.state.failed else RunStatus.SUCCEEDED
        await self.note(self._finished(Ending(status, "")), status)

    def _finished(self, ending: Ending) -> ev.RunFinished:
        elapsed = max(0.0, self._host.clock.wall() - (self.state.started_at or 0.0))
        return ev.RunFinished(
            status=ending.status.value,
            reason=ending.reason,
            counts={kind.value: n for kind, n in self.state.counts.items()},
            elapsed_s=round(elapsed, 3),
            message=ending.message,
        )

    async def _break_off(self, reason: str) -> None:
        """End at once: what is in flight is resume's to find out."""
        if self._journal is None or self._journal.failed is not None or self.state.status.over:
            return
        self._feeder.recall()
        unanswered = [f.batch for f in self.state.flights.values() if not f.job_id and f.unknown_at is None]
        unknown = [ev.BatchUnknown(batch=batch, message="Stopped before the answer.") for batch in unanswered]
        stopped = ev.RunStopped(status=RunStatus.INTERRUPTED.value, reason=reason)
        await asyncio.shield(self._journal.record([*unknown, stopped], status=RunStatus.INTERRUPTED))

    async def _leave(self) -> None:
        """Let the engine and the store go of this run."""
        self._feeder.drop()
        if self._journal is not None:
            self._journal.close()
        self._live = False
        self._host.leave(self)
        self.notice()
        for server in list(self._joined):
            self._tell_joined(server, self.state.outcome(self.plan.fleet.find(server)))
        if self._hold is not None:
            await self._host.store.release(self._hold)

    # -- small steps -----------------------------------------------------------------------------------------------

    @property
    def _written(self) -> Journal:
        if self._journal is None:
            raise EngineStopped(f"Run {self.run_id} is not held by this process yet.")
        return self._journal

    async def note(self, event: ev.Event, status: RunStatus | None = None) -> None:
        """Record an event and wait until it is folded."""
        await self._written.record([event], status=status)

    def _record(self, events: Sequence[ev.Event], **what: Any) -> None:
        """Record without waiting; a failure shows as the journal's fault."""
        if self._journal is not None and events:
            self._journal.record(events, **what)

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault
        if self._journal is not None and self._journal.failed is not None:
            raise self._journal.failed

    def _limit_events(self, limits: Mapping[str, int | str], by: str) -> list[ev.Event]:
        if not limits:
            return []
        changed = policy.limits_of(resolve_limits(self.plan, **limits), {})
        return [
            ev.LimitChanged(limit=name, old=getattr(self._limits, name), new=getattr(changed, name), by=by)
            for name in limits
        ]

    def _fold(self, commit: Sequence[ev.Recorded]) -> None:
        """Fold a commit's events into the state, and what the engine has at hand with them."""
        for recorded in commit:
            self._fold_one(recorded)
        # Here and not a step later in the loop: an intent may be on its way to the store at this very instant.
        if self._feeder.over(self._limits) or policy.breach(self.state, self._limits) is not None:
            self._feeder.recall()
        self.notice()

    def _fold_one(self, recorded: ev.Recorded) -> None:
        event = recorded.event
        self._feeder.before(event)
        self.state.apply(recorded)
        if isinstance(event, ev.LimitChanged):
            self._limits = policy.limits_of(self.plan, self.state.limits)
        elif self._joined and isinstance(event, ev.ServerEvent) and event.server in self._joined:
            known = self.state.outcome(self.plan.fleet.find(event.server))
            self._tell_joined(event.server, outcome_of(event, recorded.ts, known.attempts, known.submitted_at))

    def _tell_joined(self, server: str, outcome: Outcome) -> None:
        for waiter in self._joined.pop(server):
            if not waiter.done():
                waiter.set_result(outcome)

    def notice(self) -> None:
        """Say that something has changed."""
        self._changed.set()
        self._news.set()
        self._news = asyncio.Event()

    async def change(self, until: float | None = None) -> None:
        """Wait until something has changed since the last call, at the longest until a loop time."""
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()
