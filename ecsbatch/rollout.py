"""`Rollout`: one pass over a frozen list of servers. Read `Rollout._drive` first.

It feeds the engine a wave at a time and decides go, wait or stop from its state, which is a fold over its events;
whatever it does is an event first. A process may die at any instant: a later one folds the same events and goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from ecsbatch import events as ev
from ecsbatch import policy
from ecsbatch.beginning import begin, left_out
from ecsbatch.between import Between
from ecsbatch.course import Course
from ecsbatch.errors import EcsbatchError, EngineStopped
from ecsbatch.hooks import Given, Hooks
from ecsbatch.hosting import Changes, Host, Result
from ecsbatch.models import Outcome, OutcomeKind, RunStatus, Wave
from ecsbatch.plan import Plan
from ecsbatch.policy import Ending, Step
from ecsbatch.records import Command
from ecsbatch.state import RolloutState


class Rollout:
    """A run, as this process drives it. Made by `Restarter.rollout` and `Restarter.resume`."""

    def __init__(
        self,
        host: Host,
        plan: Plan,
        run_id: str,
        *,
        given: Given | None = None,
        changes: Changes | None = None,
    ) -> None:
        """With ``changes`` the run exists already and is resumed."""
        self._host = host
        self._given = given or Given()
        self._hooks = Hooks()
        self._changes = changes
        self._course = Course(host, run_id, plan)
        self._between = Between(self, None)
        self._request: Ending | None = None
        self._fault: EcsbatchError | None = None
        self._steering = 0

    def __repr__(self) -> str:
        tally = self.state.run
        course = self._course
        return (
            f"<Rollout {self.run_id} {self.state.status if course.stored else 'new'} "
            f"[{tally.waiting} waiting, {course.feeder.offered} queued, {tally.in_flight} in flight, "
            f"{self.state.down} of {course.limits.max_unavailable} down]>"
        )

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self._course.run_id

    @property
    def plan(self) -> Plan:
        """What it was planned as."""
        return self._course.plan

    @property
    def state(self) -> RolloutState:
        """The fold over its events so far."""
        return self._course.state

    @property
    def last_command(self) -> int:
        """The number of the last command from elsewhere that was followed."""
        return self._course.last_command

    @property
    def ending(self) -> Ending | None:
        """Why it ends here, where it was asked to; None while it goes on."""
        return self._request

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
            self._hooks = await begin(self._course, self._changes, self._given)
            self._between = Between(self, self._hooks.gate)
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
        return self._course.held

    def events(self, after: int = 0) -> AsyncIterator[ev.Recorded]:
        """Follow the run's journal from behind an event's number; ends with the run's end in this process."""
        return self._course.cursors.events(after)

    def lines(self, after: int = 0) -> AsyncIterator[bytes]:
        """Follow the same as lines of JSON, without line ends."""
        return self._course.cursors.lines(after)

    def join(self, server: str) -> asyncio.Future[Outcome] | None:
        """Wait for a server's outcome with this run; None where it is not of this run or has ended."""
        return self._course.join(server)

    # -- steering --------------------------------------------------------------------------------------------------

    def stop(self, reason: str = "interrupted", message: str = "") -> None:
        """End here, resumable: nothing new is sent, requests in flight get their answer, jobs are resume's."""
        self._end_by(Ending(RunStatus.INTERRUPTED, reason, message))

    def abort(self, by: str = "") -> None:
        """End for good: nothing new is sent, servers under way get their outcome; nothing un-sends a restart."""
        self._end_by(Ending(RunStatus.ABORTED, "aborted", f"Aborted by {by}." if by else "", drain=True, by=by))

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
            self._course.feeder.recall()
            self._steer([ev.RunPaused(reason=reason, by=by)], status=RunStatus.PAUSED)

    def _steer(self, events: Sequence[ev.Event], status: RunStatus | None = None) -> None:
        """Record what somebody asked for; until it is folded nothing is fed, for it would go by the old word."""
        written = self._course.record(events, status)
        if written is not None:
            self._steering += 1
            written.add_done_callback(self._steered)

    def _steered(self, _: object) -> None:
        self._steering -= 1
        self.notice()

    def resume(
        self, by: str = "", *, forgive: bool = False, retry: Sequence[str] = (), skip_domains: Sequence[str] = ()
    ) -> None:
        """Go on after `pause`, with the same words as `Restarter.resume` has them."""
        if self.state.status is RunStatus.PAUSED:
            resumed = ev.RunResumed(by=by, forgive=forgive, retry=retry, skip_domains=skip_domains)
            skipped = left_out(self._course, skip_domains)
            self._course.record([resumed, *skipped], status=RunStatus.RUNNING)

    def promote(self, by: str = "") -> None:
        """Let the run pass the hold that it stands at."""
        wave = self.state.wave_over + 1
        message = f"promoted by {by}" if by else ""
        self._course.record([ev.GateChecked(gate="hold", verdict="go", wave=wave, message=message)])

    def adjust(self, by: str = "", **limits: int | str) -> None:
        """Change limits from now on, by the names and in the forms that a `Strategy` has them.

        Raises:
            ConfigError: a limit that does not exist or cannot be.
        """
        events = self._course.limit_events(limits, by)
        self._course.feeder.recall()
        self._steer(events)

    def command(self, command: Command) -> None:
        """Follow what was asked of the run's holder from elsewhere.

        Raises:
            ConfigError: it cannot be followed.
        """
        self._course.last_command = command.id
        body = command.body
        match body.get("command"):
            case "pause":
                self.pause(command.who)
            case "resume":
                asked = {name: body[name] for name in ("forgive", "retry", "skip_domains") if name in body}
                self.resume(command.who, **asked)
            case "promote":
                self.promote(command.who)
            case "abort":
                self.abort(command.who)
            case "adjust":
                self.adjust(command.who, **body.get("limits", {}))
            case _:
                return

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
                self._course.feeder.recall()
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
        if self._course.feeder.closed:
            self._course.feeder.recall()
        tally = self.state.waves[wave.number - 1]
        ahead = 2 * self._host.engine.quota.limit
        decision = policy.decide(self.state, self._course.limits, tally, self._course.feeder.offered, ahead)
        match decision.step:
            case Step.FEED if self._course.feeder.feed(wave, decision.room, self._course.limits):
                return
            case Step.WAVE_DONE:
                await self._end_wave(wave)
            case Step.WAIT if self.state.run.in_flight or self._course.feeder.offered:
                await self.change()
            case Step.FEED if self.state.run.in_flight or self._course.feeder.offered:
                await self.change()
            case _:
                # Servers wait and none is under way: what is not back holds all places, whole or in each domain.
                await self._budget_exhausted()

    async def _budget_exhausted(self) -> None:
        """Look once more at the servers that are not back; where none is, the run stops."""
        held = len(self.state.held)
        await self._course.feeder.look_at_held()
        if len(self.state.held) == held:
            servers = "1 server is not back and holds" if held == 1 else f"{held} servers are not back and hold"
            message = f"{servers} all places of max_unavailable."
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
        if (halt := self._course.feeder.halt) is not None:
            return Ending(RunStatus.STOPPED, halt.reason, halt.message)
        if self._request is not None:
            return self._request
        breach = self._breach()
        if breach is None or self.plan.on_failure == "pause":
            return None
        return Ending(RunStatus.STOPPED, breach.limit, f"{breach}.", drain=True)

    def _breach(self) -> policy.Breach | None:
        """Return the failure limit that keeps servers from starting; where none waits, the run may as well end."""
        return policy.breach(self.state, self._course.limits) if self.state.run.waiting else None

    async def _pause_on_breach(self) -> None:
        breach = self._breach()
        if breach is not None and self.plan.on_failure == "pause":
            self._course.feeder.recall()
            await self.note(ev.RunPaused(reason=breach.limit), RunStatus.PAUSED)

    async def _end(self, ending: Ending) -> None:
        """Send nothing new, wait for what the ending waits for, and say so."""
        self._course.feeder.recall()
        while True:
            self._raise_fault()
            ending = policy.overruled(ending, self._course.feeder.halt, self._request)
            if not self._course.feeder.in_air and not (ending.drain and self.state.run.in_flight):
                break
            await self.change()
        if ending.status.over:
            await self.note(self._finished(ending), ending.status)
        else:
            stopped = ev.RunStopped(status=ending.status.value, reason=ending.reason, message=ending.message)
            await self.note(stopped, ending.status)

    async def _finish(self) -> None:
        status = RunStatus.FAILED if self.state.failed else RunStatus.SUCCEEDED
        breach = policy.breach(self.state, self._course.limits)
        ending = Ending(status, breach.limit, f"{breach}.") if breach is not None else Ending(status, "")
        await self.note(self._finished(ending), status)

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
        course = self._course
        if not course.held or course.fault is not None or course.state.status.over:
            return
        course.feeder.recall()
        unanswered = [f.batch for f in self.state.flights.values() if not f.job_id and f.unknown_at is None]
        unknown = [ev.BatchUnknown(batch=batch, message="Stopped before the answer.") for batch in unanswered]
        stopped = ev.RunStopped(status=RunStatus.INTERRUPTED.value, reason=reason)
        await asyncio.shield(course.journal.record([*unknown, stopped], status=RunStatus.INTERRUPTED))

    async def _leave(self) -> None:
        """Let the engine and the store go of this run."""
        self._course.feeder.drop()
        self._host.leave(self)
        try:
            await self._hooks.aclose()
        finally:
            await self._course.release()

    # -- small steps -----------------------------------------------------------------------------------------------

    async def note(self, event: ev.Event, status: RunStatus | None = None) -> None:
        """Record an event and wait until it is folded."""
        await self._course.note(event, status)

    async def change(self, until: float | None = None) -> None:
        """Wait until something has changed, at the longest until a loop time."""
        await self._course.change(until)

    def notice(self) -> None:
        """Say that something has changed."""
        self._course.notice()

    def _raise_fault(self) -> None:
        if fault := self._fault or self._course.fault:
            raise fault
