"""`RolloutDriver`: drives a run wave by wave while this process has it. Read `RolloutDriver.drive` and `_step` first.

It hands the engine a wave at a time and decides go, wait or stop from the run's state, which is a fold over its events;
whatever it does is an event first. A process may die at any instant: a later one folds the same events and goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from ecsbatch.errors import EcsbatchError
from ecsbatch.host_loop import TimeSlice
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.run import Transaction
from ecsbatch.model.state import RolloutState
from ecsbatch.policy import decide as policy
from ecsbatch.policy.decide import Ending, Step
from ecsbatch.policy.standing import awaits_promotion
from ecsbatch.rollout.barrier import WaveBarrier
from ecsbatch.rollout.hooks import Hooks
from ecsbatch.rollout.orphans import CLOSED
from ecsbatch.rollout.session import RunSession


class RolloutDriver:
    """Drives one run: its waves, what is asked of it meanwhile, its end.

    Attributes:
        hooks: the run's check and gate, closed by `leave`.
    """

    def __init__(self, session: RunSession) -> None:
        """Drive a session's run, once it is begun."""
        self.hooks = Hooks()
        self._session = session
        self._barrier = WaveBarrier(session, None, self._is_interrupted)
        self._fault: EcsbatchError | None = None
        # What was asked of the run. One at a time: each is judged by a state in which the one before is folded.
        self._commands: deque[Callable[[], Awaitable[None]]] = deque()
        self._abort_by: str | None = None
        self._full_since: float | None = None
        self._work = TimeSlice()

    @property
    def state(self) -> RolloutState:
        """The fold over the run's events so far."""
        return self._session.state

    @property
    def plan(self) -> Plan:
        """The run's plan."""
        return self._session.plan

    # -- what is asked of it ---------------------------------------------------------------------------------------

    def abort(self, by: str) -> None:
        """End the run for good; it is written before anything else happens."""
        self._abort_by = by
        self._follow(partial(self._abort, by), recall=True)

    def pause(self, by: str, reason: str) -> None:
        """Send nothing new until `resume`."""
        self._follow(partial(self._pause, by, reason), recall=True)

    def resume(self, resumed: ev.RunResumed) -> None:
        """Go on after a pause."""
        self._follow(partial(self._resume, resumed))

    def promote(self, by: str) -> None:
        """Let the run pass the hold that it waits at."""
        self._follow(partial(self._promote, by))

    def adjust(self, by: str, limits: dict[str, int | str]) -> None:
        """Change limits that `RunSession.limit_events` has taken."""
        self._follow(partial(self._adjust, by, limits), recall=True)

    def stop(self, reason: str, message: str) -> None:
        """End here, resumable."""
        self._session.end_by(Ending(RunStatus.INTERRUPTED, reason, message))

    def engine_stopped(self, fault: EcsbatchError) -> None:
        """Have `drive` raise that the engine has ended."""
        self._fault = fault
        self._session.notice()

    def _follow(self, command: Callable[[], Awaitable[None]], *, recall: bool = False) -> None:
        """Have the loop follow a command; with ``recall`` nothing that is queued is sent from this instant on."""
        self._commands.append(command)
        if recall:
            self._session.dispatcher.recall()
        self._session.notice()

    async def _abort(self, by: str) -> None:
        if not self.state.aborting:
            await self._session.note(ev.RunAborting(by=by), RunStatus.RUNNING)

    async def _pause(self, by: str, reason: str) -> None:
        if self.state.status is RunStatus.RUNNING and not self.state.aborting:
            await self._session.note(ev.RunPaused(reason=reason, by=by), RunStatus.PAUSED)

    async def _resume(self, resumed: ev.RunResumed) -> None:
        if self.state.status is RunStatus.PAUSED:
            await self._session.note(resumed, RunStatus.RUNNING)

    async def _promote(self, by: str) -> None:
        if not awaits_promotion(self.state):
            return  # asked twice, or too early: it must not open the next hold
        message = f"promoted by {by}" if by else ""
        wave = self.state.wave_over + 1
        await self._session.note(ev.GateChecked(gate="hold", verdict="go", wave=wave, message=message))

    async def _adjust(self, by: str, limits: dict[str, int | str]) -> None:
        await self._session.record(self._session.limit_events(limits, by))

    # -- driving ---------------------------------------------------------------------------------------------------

    async def drive(self) -> None:
        """Go, wait or stop, until the run ends here; one that is over is left as it is."""
        self._barrier = WaveBarrier(self._session, self.hooks.gate, self._is_interrupted)
        if self.state.status.over:
            return
        while not await self._step() or await self._aborted_since():
            pass

    async def _aborted_since(self) -> bool:
        """Write an abort that came while the run's stop was on its way to the disk; True where one did."""
        if not self._unheard_abort:
            return False
        await self._abort(self._abort_by or "")
        return True

    @property
    def _unheard_abort(self) -> bool:
        """True while an abort is not written and the run is not over."""
        return self._abort_by is not None and not self.state.aborting and not self.state.status.over

    async def _step(self) -> bool:
        """Take one step, or wait for a change; True where the run has ended here."""
        self._raise_fault()
        if self._commands:
            await self._commands.popleft()()
        elif (ending := self._ending()) is not None:
            return await self._end(ending)
        elif self.state.status is RunStatus.RUNNING and (breach := self._breach()) is not None:
            self._session.dispatcher.recall()
            await self._session.note(ev.RunPaused(reason=breach.limit), RunStatus.PAUSED)
        elif self.state.status is RunStatus.PAUSED:
            self._session.dispatcher.recall()
            self._barrier.paused()
            await self._session.change()
        elif (over := self.state.wave_over) == len(self.plan.waves):
            await self._finish()
            return True
        elif self.state.wave >= self.plan.waves[over].number:
            await self._go_on(self.plan.waves[over])
        elif await self._barrier.passed(self.plan.waves[over]):
            wave = self.plan.waves[over]
            await self._session.note(ev.WaveStarted(wave=wave.number, servers=len(wave), label=wave.label))
        return False

    async def _go_on(self, wave: Wave) -> None:
        """Take one step inside a wave."""
        dispatcher = self._session.dispatcher
        if dispatcher.closed:
            dispatcher.recall()
        tally = self.state.waves[wave.number - 1]
        ahead = 2 * self._session.runtime.engine.quota.limit
        decision = policy.decide(self.state, self._session.limits, tally, dispatcher.queued, ahead)
        under_way = self.state.run.in_flight or dispatcher.queued
        dispatched = decision.step is Step.FEED and dispatcher.dispatch(wave, decision.room, self._session.limits)
        if dispatched or under_way or decision.step is Step.WAVE_DONE:
            self._full_since = None
        if dispatched:
            await self._work.give_way()
        elif decision.step is Step.WAVE_DONE:
            await self._end_wave(wave)
        elif under_way:
            await self._session.change()
        else:
            await self._wait_for_slots()

    async def _wait_for_slots(self) -> None:
        """Wait while servers wait, none is under way, and those that are down keep all slots they could have.

        These are looked at once more; where none of them may yet come back by itself, the run stops.
        """
        now, dispatcher = asyncio.get_running_loop().time(), self._session.dispatcher
        if self._full_since is None:
            self._full_since = now
            dispatcher.hurry_held()
        if not dispatcher.held_seen(self._full_since):
            await self._session.change()
            return
        until = policy.awaited_until(self.state)
        if until is not None and until > self._session.now:
            await self._session.change(now + until - self._session.now)
            return
        held = len(self.state.held)
        servers = "1 server is not back and holds" if held == 1 else f"{held} servers are not back and hold"
        self._session.end_by(Ending(RunStatus.STOPPED, "budget_exhausted", f"{servers} all places of max_unavailable."))

    async def _end_wave(self, wave: Wave) -> None:
        tally = self.state.waves[wave.number - 1]
        done = ev.WaveFinished(
            wave=wave.number,
            restarted=tally.ended[OutcomeKind.RESTARTED],
            failed=tally.failures,
            skipped=tally.ended[OutcomeKind.SKIPPED],
        )
        await self._session.note(done)
        self._barrier.begin()

    # -- ending ----------------------------------------------------------------------------------------------------

    def _is_interrupted(self) -> bool:
        """Tell whether the run has another thing to do than wait for a gate: a command, a fault, its end, a pause."""
        fault = self._fault or self._session.fault
        return bool(self._commands or fault) or self._ending() is not None or self.state.status is RunStatus.PAUSED

    def _ending(self) -> Ending | None:
        """Return why the run must end here; None: it need not."""
        exceeded = self._breach() if self.plan.on_failure == "stop" else None
        return policy.ending(self.state, self._session.dispatcher.halt, self._session.request, exceeded)

    def _breach(self) -> policy.Breach | None:
        """Return the failure limit that is exceeded; None: none is, or no server waits, so that the run ends anyway."""
        return policy.breach(self.state, self._session.limits) if self.state.run.waiting else None

    async def _end(self, ending: Ending) -> bool:
        """Send nothing new; once nothing is left that the ending waits for, write it and return True."""
        dispatcher = self._session.dispatcher
        dispatcher.recall()
        if dispatcher.in_air or (ending.drain and self.state.run.in_flight):
            if dispatcher.in_air or not await self._give_up():
                await self._session.change()
            return False
        if ending.status.over:
            await self._session.note(self._finished(ending), ending.status)
        else:
            await self._session.note(self._stopped(ending), ending.status)
        return True

    async def _give_up(self) -> bool:
        """End the servers under way at sites where nothing can be found out any more; True where there were any."""
        session = self._session
        if not session.dispatcher.unreachable:
            return False
        session.dispatcher.drop_halted()
        await session.record(())  # what was found before is folded first
        await session.record(session.dispatcher.lost())
        return True

    async def _finish(self) -> None:
        status = RunStatus.FAILED if self.state.failed else RunStatus.SUCCEEDED
        breach = policy.breach(self.state, self._session.limits)
        ending = Ending(status, breach.limit, f"{breach}.") if breach is not None else Ending(status, "")
        await self._session.note(self._finished(ending), status)

    def _finished(self, ending: Ending) -> ev.RunFinished:
        return ev.RunFinished(
            status=ending.status.value,
            reason=ending.reason,
            counts={kind.value: n for kind, n in self.state.counts.items()},
            elapsed_s=self._elapsed(),
            message=ending.message,
        )

    def _stopped(self, ending: Ending) -> ev.RunStopped:
        return ev.RunStopped(
            status=ending.status.value, reason=ending.reason, message=ending.message, elapsed_s=self._elapsed()
        )

    def _elapsed(self) -> float:
        return round(self.state.watch.by_ledger(self._session.runtime.store.ledger_time()), 3)

    async def interrupt(self, reason: str) -> None:
        """Write the end at once: what is in flight is for a resume to find out."""
        session = self._session
        if not session.held or session.fault is not None or session.state.status.over:
            return
        session.dispatcher.recall()
        # An intent on its way to the disk may get its tokens after the stop: it must not leave then.
        session.dispatcher.drop()
        stopped = self._stopped(self._interruption(reason))
        await asyncio.shield(session.journal.record(Transaction([stopped], status=RunStatus.INTERRUPTED)))

    def _interruption(self, reason: str) -> Ending:
        """Return how the run is interrupted: who has stopped it before has said why, and it may be no orphan then."""
        asked = self._session.request
        if asked is not None and asked.status is RunStatus.INTERRUPTED:
            return asked
        return Ending(RunStatus.INTERRUPTED, reason)

    async def leave(self) -> None:
        """Let the run go: the engine drops its queues, its hooks are closed, the store has its lease back."""
        self._session.dispatcher.drop()
        try:
            await self.hooks.aclose()
        finally:
            try:
                await self._keep_abort()
            finally:
                await self._session.release()

    async def _keep_abort(self) -> None:
        """Write an abort that nobody has followed: the next holder does."""
        session = self._session
        while self._unheard_abort and session.held and session.fault is None:
            was = session.state.reason if session.state.status is RunStatus.INTERRUPTED else CLOSED
            stopped = self._stopped(self._interruption(was))
            aborting = ev.RunAborting(by=self._abort_by or "")
            written = Transaction([aborting, stopped], status=RunStatus.INTERRUPTED)
            await asyncio.shield(session.journal.record(written))

    def _raise_fault(self) -> None:
        if fault := self._fault or self._session.fault:
            raise fault
