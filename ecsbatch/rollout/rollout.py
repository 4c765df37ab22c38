"""`Rollout`: one pass over a frozen list of servers. Read `Rollout._drive` first.

It feeds the engine a wave at a time and decides go, wait or stop from its state, which is a fold over its events;
whatever it does is an event first. A process may die at any instant: a later one folds the same events and goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from ecsbatch.engine.runtime import Runtime
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped
from ecsbatch.model import events as ev
from ecsbatch.model.commands import asked_for
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.run import Changes, Command, Result, Transaction
from ecsbatch.model.state import RolloutState
from ecsbatch.policy import decide as policy
from ecsbatch.policy.decide import Ending, Step
from ecsbatch.rollout.barrier import WaveBarrier
from ecsbatch.rollout.hooks import GivenHooks, Hooks
from ecsbatch.rollout.session import RunSession
from ecsbatch.rollout.start import check_words, start


class Rollout:
    """A run, as this process drives it. Made by `Restarter.rollout` and `Restarter.resume`."""

    def __init__(
        self,
        runtime: Runtime,
        plan: Plan,
        run_id: str,
        *,
        given: GivenHooks | None = None,
        changes: Changes | None = None,
        running: list[Rollout] | None = None,
    ) -> None:
        """Prepare to run a plan.

        Args:
            runtime: what it runs on.
            plan: what to do.
            run_id: names the run.
            given: check and gate that the program brings.
            changes: the run exists already and is resumed with these; None for a new one.
            running: the rollouts that are being run, this one among them from its begin to its end.
        """
        self._runtime = runtime
        self._running = [] if running is None else running
        self._given = given or GivenHooks()
        self._hooks = Hooks()
        self._changes = changes
        self._session = RunSession(runtime, run_id, plan)
        self._barrier = WaveBarrier(self._session, None, self._wanted)
        self._fault: EcsbatchError | None = None
        # What was asked of the run. One word at a time: each is judged by a state in which the one before is folded.
        self._words: deque[Callable[[], Awaitable[None]]] = deque()
        self._abort_by: str | None = None
        self._full_since: float | None = None
        self._called = False

    def __repr__(self) -> str:
        tally = self.state.run
        session = self._session
        return (
            f"<Rollout {self.run_id} {self.state.status if session.stored else 'new'} "
            f"[{tally.waiting} waiting, {session.dispatcher.queued} queued, {tally.in_flight} in flight, "
            f"{self.state.down} of {session.limits.max_unavailable} down]>"
        )

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self._session.run_id

    @property
    def plan(self) -> Plan:
        """What it was planned as."""
        return self._session.plan

    @property
    def state(self) -> RolloutState:
        """The fold over its events so far."""
        return self._session.state

    # -- running and watching --------------------------------------------------------------------------------------

    async def run(self) -> Result:
        """Restart the servers; return when the run is over, or stopped and resumable.

        Cancelling leaves the run ``interrupted``: requests in flight become unknown, and a resume goes on.

        Raises:
            RunConflict: another run has some of the servers, or another process has the run.
            StoreError: the store cannot be written; what it has acknowledged is safe.
            EngineStopped: the engine ended before the run did.
            ConfigError: it was called before, or in another event loop than the engine's.
        """
        if self._called:
            raise ConfigError(
                f"Run {self.run_id} is run by an earlier call of this `Rollout.run`: "
                "await that one; once it has ended, go on with `Restarter.resume`."
            )
        self._runtime.check()
        self._running.append(self)
        self._called = True
        try:
            self._hooks = await start(self._session, self._changes, self._given)
            self._barrier = WaveBarrier(self._session, self._hooks.gate, self._wanted)
            if not self.state.status.over:
                await self._drive()
        except asyncio.CancelledError:
            await self._interrupt("cancelled")
            raise
        finally:
            await self._leave()
            self._called = self._session.begun  # who could not begin, for the servers are another run's, may try again
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
        return self._session.held

    def events(self, after: int = 0) -> AsyncIterator[ev.Recorded]:
        """Follow the run's journal from behind an event's number; ends with the run's end in this process."""
        return self._session.feed.events(after)

    def lines(self, after: int = 0) -> AsyncIterator[bytes]:
        """Follow the same as lines of JSON, without line ends."""
        return self._session.feed.lines(after)

    def join(self, server: str) -> asyncio.Future[Outcome] | None:
        """Wait for a server's outcome with this run; None where it is not of this run or has ended."""
        return self._session.join(server)

    # -- steering --------------------------------------------------------------------------------------------------

    def stop(self, reason: str = "interrupted", message: str = "") -> None:
        """End here, resumable: nothing new is sent, requests in flight get their answer, jobs are resume's."""
        self._session.end_by(Ending(RunStatus.INTERRUPTED, reason, message))

    def abort(self, by: str = "") -> None:
        """End for good: nothing new is sent, servers under way get their outcome; nothing un-sends a restart.

        It is on record before anything else happens, so that whoever holds the run next only looks after those.

        Raises:
            ConfigError: the run has stopped here before, so that nobody here can note it: abort what goes on with it.
        """
        if self._session.begun and not self._session.held and not self.state.status.over:
            raise ConfigError(
                f"Run {self.run_id} has stopped here and is not held any more: `Restarter.resume` it and abort that, "
                f"or type `ecsbatch abort {self.run_id}`."
            )
        self._abort_by = by
        self._ask(partial(self._abort, by), hush=True)

    def engine_stopped(self, fault: BaseException) -> None:
        """The engine ended under this rollout: `run` raises EngineStopped, the run can be resumed."""
        stopped = EngineStopped(f"The engine ended before this run did: {fault}. Resume run {self.run_id}.")
        stopped.__cause__ = fault
        self._fault = stopped
        self._session.notice()

    def pause(self, by: str = "", reason: str = "paused") -> None:
        """Send nothing new until `resume`; servers under way go on."""
        self._ask(partial(self._pause, by, reason), hush=True)

    def resume(
        self, by: str = "", *, forgive: bool = False, retry: Sequence[str] = (), skip_domains: Sequence[str] = ()
    ) -> None:
        """Go on after `pause`, with the same words as `Restarter.resume` has them.

        Raises:
            ConfigError: a domain that is none of the fleet's, or an outcome that cannot be tried again.
        """
        check_words(self.plan, retry, skip_domains)
        resumed = ev.RunResumed(by=by, forgive=forgive, retry=retry, skip_domains=skip_domains)
        self._ask(partial(self._resume, resumed))

    def promote(self, by: str = "") -> None:
        """Let the run pass the hold that it stands at."""
        self._ask(partial(self._promote, by))

    def adjust(self, by: str = "", **limits: int | str) -> None:
        """Change limits from now on, by the names and in the forms that a `Strategy` has them.

        Raises:
            ConfigError: a limit that does not exist or cannot be.
        """
        self._session.limit_events(limits, by)
        self._ask(partial(self._adjust, by, limits), hush=True)

    async def follow_commands(self) -> None:
        """Follow what was asked of the run's holder through the store; while this process is not that, nothing.

        Raises:
            StoreError: it cannot be read now.
        """
        session = self._session
        if session.held:
            for command in await self._runtime.store.commands(self.run_id, session.last_command):
                # Anybody may append a command; one that cannot be followed changes nothing.
                with suppress(Exception):
                    self.command(command)

    def command(self, command: Command) -> None:
        """Follow what was asked of the run's holder from elsewhere.

        Raises:
            ConfigError: it cannot be followed.
        """
        self._session.last_command = command.id
        verb, given = asked_for(command.body)
        match verb:
            case "pause":
                self.pause(command.who)
            case "resume":
                self.resume(command.who, **given)
            case "promote":
                self.promote(command.who)
            case "abort":
                self.abort(command.who)
            case _:
                self.adjust(command.who, **given)

    def _ask(self, word: Callable[[], Awaitable[None]], *, hush: bool = False) -> None:
        """Have the loop follow a word; with ``hush`` nothing is sent by the words before it from this instant on."""
        self._words.append(word)
        if hush:
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
        message = f"promoted by {by}" if by else ""
        wave = self.state.wave_over + 1
        await self._session.note(ev.GateChecked(gate="hold", verdict="go", wave=wave, message=message))

    async def _adjust(self, by: str, limits: dict[str, int | str]) -> None:
        await self._session.record(self._session.limit_events(limits, by))

    # -- driving ---------------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        """Go, wait or stop, until the run ends here."""
        while not await self._step() or await self._aborted_since():
            pass

    async def _aborted_since(self) -> bool:
        """Follow an abort that came while the run's stop was on its way to the disk; True where one did."""
        if not self._unheard_abort:
            return False
        await self._abort(self._abort_by or "")
        return True

    @property
    def _unheard_abort(self) -> bool:
        """True while an abort is not on record and the run is not over."""
        return self._abort_by is not None and not self.state.aborting and not self.state.status.over

    async def _step(self) -> bool:
        """Take one step, or wait for news; True where the run has ended here."""
        self._raise_fault()
        if self._words:
            await self._words.popleft()()
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
        ahead = 2 * self._runtime.engine.quota.limit
        decision = policy.decide(self.state, self._session.limits, tally, dispatcher.queued, ahead)
        under_way = self.state.run.in_flight or dispatcher.queued
        fed = decision.step is Step.FEED and dispatcher.dispatch(wave, decision.room, self._session.limits)
        if fed or under_way or decision.step is Step.WAVE_DONE:
            self._full_since = None
        if decision.step is Step.WAVE_DONE:
            await self._end_wave(wave)
        elif under_way and not fed:
            await self._session.change()
        elif not fed:
            await self._wait_for_places()

    async def _wait_for_places(self) -> None:
        """Servers wait and none is under way: what is not back holds all places, whole or in each domain.

        They are looked at once more; where none of them may yet come back by itself, the run stops.
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

    def _wanted(self) -> bool:
        """Tell whether the run has another thing to do than to wait for a gate: a word, a fault, its end, a pause."""
        fault = self._fault or self._session.fault
        return bool(self._words or fault) or self._ending() is not None or self.state.status is RunStatus.PAUSED

    def _ending(self) -> Ending | None:
        """Return why the run must end here, if it must."""
        exceeded = self._breach() if self.plan.on_failure == "stop" else None
        return policy.ending(self.state, self._session.dispatcher.halt, self._session.request, exceeded)

    def _breach(self) -> policy.Breach | None:
        """Return the failure limit that keeps servers from starting; where none waits, the run may as well end."""
        return policy.breach(self.state, self._session.limits) if self.state.run.waiting else None

    async def _end(self, ending: Ending) -> bool:
        """Send nothing new, and say that the run has ended once nothing is left that the ending waits for."""
        dispatcher = self._session.dispatcher
        dispatcher.recall()
        if dispatcher.in_air or (ending.drain and self.state.run.in_flight):
            if dispatcher.in_air or not await self._lose():
                await self._session.change()
            return False
        if ending.status.over:
            await self._session.note(self._finished(ending), ending.status)
        else:
            await self._session.note(self._stopped(ending), ending.status)
        return True

    async def _lose(self) -> bool:
        """Give up the servers under way at sites that cannot be asked any more; True where there were any."""
        session = self._session
        if not session.dispatcher.unreachable:
            return False
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
        return round(self.state.watch.by_ledger(self._runtime.clock.monotonic()), 3)

    async def _interrupt(self, reason: str) -> None:
        """End at once: what is in flight is resume's to find out."""
        session = self._session
        if not session.held or session.fault is not None or session.state.status.over:
            return
        session.dispatcher.recall()
        # What is on its way to the disk may be granted behind the stop: it must not leave then.
        session.dispatcher.drop()
        stopped = self._stopped(Ending(RunStatus.INTERRUPTED, reason))
        await asyncio.shield(session.journal.record(Transaction([stopped], status=RunStatus.INTERRUPTED)))

    async def _keep_abort(self) -> None:
        """Have an abort on record that nobody has followed: the next holder does."""
        session = self._session
        while self._unheard_abort and session.held and session.fault is None:
            stopped = self._stopped(Ending(RunStatus.INTERRUPTED, "interrupted"))
            aborting = ev.RunAborting(by=self._abort_by or "")
            written = Transaction([aborting, stopped], status=RunStatus.INTERRUPTED)
            await asyncio.shield(session.journal.record(written))

    async def _leave(self) -> None:
        """Let the engine and the store go of this run."""
        self._session.dispatcher.drop()
        self._running.remove(self)
        self._runtime.notice()
        try:
            await self._hooks.aclose()
        finally:
            try:
                await self._keep_abort()
            finally:
                await self._session.release()

    def _raise_fault(self) -> None:
        if fault := self._fault or self._session.fault:
            raise fault
