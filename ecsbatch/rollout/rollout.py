"""`Rollout`: one run over a frozen list of servers, for whoever begins it, waits for it, watches and steers it.

What drives it wave by wave is in `ecsbatch.rollout.driver`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Self

from ecsbatch.engine.runtime import Runtime
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped, NotHolder, PlanStale, RunNotFound
from ecsbatch.model.commands import asked_for
from ecsbatch.model.outcome import Outcome, RunStatus
from ecsbatch.model.plan import Plan
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Changes, Command, Result
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.progress import Progress, progress
from ecsbatch.policy.resume_options import validate_resume
from ecsbatch.rollout.draft import Draft
from ecsbatch.rollout.driver import RolloutDriver
from ecsbatch.rollout.hooks import GivenHooks
from ecsbatch.rollout.orphans import CANCELLED
from ecsbatch.rollout.run_end import RunEnd
from ecsbatch.rollout.session import OnEvent, RunSession
from ecsbatch.rollout.start import resumption, start


class Rollout:
    """One run, as this process has it. Made by `Restarter.rollout` and `Restarter.resume`; nothing happens by itself.

    `run` restarts the servers and returns once the run is over or has stopped. Where somebody waits for an answer
    meanwhile, `start` returns once the run is stored and held; it goes on by itself then, and `result` waits for it::

        rollout = await restarter.rollout(ids, Strategy(waves=["1", "10%"])).start()
        ...
        result = await rollout
    """

    def __init__(
        self,
        runtime: Runtime,
        run_id: str,
        wanted: Draft | RunSession,
        *,
        given: GivenHooks | None = None,
        changes: Changes | None = None,
        running: list[Rollout] | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            runtime: the engine that it runs on.
            run_id: names the run.
            wanted: what is asked for, or a run that exists already.
            given: the check and the gate that the program brings to a run that exists already.
            changes: the run exists already and is resumed with these; None: a new one.
            running: the rollouts that this process has; this one is among them while it runs.
            on_event: called with each event that this process records, once it is stored.
        """
        self._runtime = runtime
        self._run_id = run_id
        self._running = [] if running is None else running
        self._draft = wanted if isinstance(wanted, Draft) else None
        self._given = given or GivenHooks()
        self._changes = changes
        self._on_event = on_event
        self._parts: tuple[RunSession, RolloutDriver] | None = None
        self._early: list[Callable[[RolloutDriver], None]] = []
        self._called = False
        self._end: RunEnd | None = None
        self._task: asyncio.Task[None] | None = None
        if isinstance(wanted, RunSession):
            self._take(wanted)

    def __repr__(self) -> str:
        if self._parts is None:
            return f"<Rollout {self._run_id} not begun>"
        session, tally = self._session, self.state.run
        return (
            f"<Rollout {self.run_id} {self.state.status if session.stored else 'new'} "
            f"[{tally.waiting} waiting, {session.dispatcher.queued} queued, {tally.in_flight} in flight, "
            f"{self.state.down} of {session.limits.max_unavailable} down]>"
        )

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run_id

    @property
    def plan(self) -> Plan:
        """Which servers, in which waves, and how.

        Raises:
            SelectionError: names were given instead of ids, which are looked up when the rollout begins.
        """
        return self._session.plan

    @property
    def state(self) -> RolloutState:
        """The fold over its events so far; it goes on with the run: read it, and change nothing. Raises as `plan`."""
        return self._session.state

    @property
    def progress(self) -> Progress:
        """How the run goes on now, as a value: counts, pace, what it waits for and why. Raises as `plan`.

        It is what the command line's screen draws; `Progress.as_dict` is for a service's answer.
        """
        session, runtime = self._session, self._runtime
        return progress(
            session.state,
            runtime.store.wall(),
            quota=runtime.engine.quota,
            stopping=session.request is not None and self.held,
            held=self.held or not session.begun,
        )

    @property
    def held(self) -> bool:
        """True while this process has the run and writes it."""
        return self._parts is not None and self._session.held

    @property
    def _session(self) -> RunSession:
        return self._ready()[0]

    @property
    def _driver(self) -> RolloutDriver:
        return self._ready()[1]

    def _ready(self) -> tuple[RunSession, RolloutDriver]:
        """Return the run's parts; where somebody asks before its begin they are made at once."""
        if self._parts is None and self._draft is not None:
            plan, self._given = self._draft.settle_unasked()
            self._take(RunSession(self._runtime, self._run_id, plan))
        assert self._parts is not None  # noqa: S101 - a run without a draft has its session from the begin
        return self._parts

    def _take(self, session: RunSession) -> None:
        session.on_event = self._on_event
        self._parts = _, driver = session, RolloutDriver(session)
        while self._early:
            self._early.pop(0)(driver)

    def _tell(self, word: Callable[[RolloutDriver], None]) -> None:
        """Tell the driver something: now, or once it is clear which servers are meant."""
        if self._parts is None:
            self._early.append(word)
        else:
            word(self._driver)

    # -- running ---------------------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Begin the run, and return once it is stored and held by this process; it goes on by itself then.

        From then on it outlives this process: whatever happens, `Restarter.resume` goes on with it. `result` waits for
        its end, and so does awaiting the rollout itself. It runs with the context variables of whoever calls this.

        Returns:
            The rollout itself.

        Raises:
            RunConflict: another run has some of the servers, or another process has the run.
            ServerNotFound: no server has a name that is given.
            SelectionError: it is not clear which servers are meant, or they must not be restarted so.
            PlanStale: the fleet is not what the plan saw.
            CloudError: names were given or the plan is some minutes old, and not everything could be seen.
            StoreError: the store cannot be written; nothing was sent.
            EngineStopped: the engine has ended.
            ConfigError: it was begun before, its id cannot be one, this is another event loop than the engine's, or the
                run belongs to another project or region, or needs a check or a gate that is not given.
            ProgramRefused: the run exists already, and others may have written its check or gate.
        """
        end = await self._begin()
        name = f"ecsbatch-run-{self.run_id}"
        self._task = asyncio.get_running_loop().create_task(self._go_on_alone(end), name=name)
        return self

    async def run(self) -> Result:
        """Restart the servers; return once the run is over, or stopped and resumable: `start` and `result` in one.

        Cancelled, it leaves the run ``interrupted``: requests in flight become unknown, and a resume goes on. A run
        that fails or stops raises nothing: `Result.status` tells it.

        Returns:
            How the run stands then.

        Raises:
            StoreError: the store cannot be written; what it has acknowledged is safe.
            EngineStopped: the engine ended before the run did.
            RunTaken: another process has taken the run, and goes on with it; it says which.
            EcsbatchError: as `start`.
        """
        end = await self._begin()
        try:
            await self._go_on(end)
        finally:
            end.seen()
        return await end

    async def result(self) -> Result:
        """Wait until the run is over, or stopped and resumable, and return how it stands; for any number of callers.

        Cancelling ends the waiting and nothing else.

        Raises:
            StoreError, EngineStopped: as `run`; the latter also where its begin was cancelled.
            RunTaken: another process has taken the run, and goes on with it; it says which.
            ConfigError: the rollout was not begun.
            CancelledError: the task in which `run` was awaited was cancelled.
        """
        if self._end is None:
            raise ConfigError(f"Run {self.run_id} was not begun here: await its `start` first.")
        return await self._end

    def __await__(self) -> Generator[Any, None, Result]:
        """Wait as `result` does."""
        return self.result().__await__()

    async def _begin(self) -> RunEnd:
        """Store and take the run; return its end, which is to come. One that could not begin may be tried again."""
        if self._called:
            raise ConfigError(
                f"Run {self.run_id} was begun by an earlier call of this rollout: await its `result`; once it has "
                "ended, go on with `Restarter.resume`."
            )
        self._runtime.check()
        self._running.append(self)
        self._called = True
        self._end = end = RunEnd()
        try:
            await self._prepare()
            self._runtime.check()
            self._session.begin(copy_context())
            self._driver.hooks = await start(self._session, self._changes, self._given)
            await self._session.look_for_freeze()
        except BaseException as e:
            await self._break_off(e, end)
            end.seen()
            raise
        return end

    async def _prepare(self) -> None:
        """Make the plan and the state of a run, beside the event loop where they are large."""
        if self._draft is None:
            return
        await self._refuse_stale(self._draft)
        if self._parts is not None:
            return
        plan, given = await self._draft.settled(self._runtime.clouds)
        session = await RunSession.of(self._runtime, self.run_id, plan)
        if self._parts is None:  # whoever has asked for the state meanwhile has it already
            self._given = given
            self._take(session)

    async def _refuse_stale(self, draft: Draft) -> None:
        """Refuse a plan whose servers have changed since, unless that is by this very run, which is gone on with."""
        try:
            await draft.refuse_stale(self._runtime.clouds, self._runtime.clock.wall())
        except PlanStale:
            with suppress(RunNotFound):
                if (await self._runtime.store.run(self.run_id)).run_id == self.run_id:
                    return
            raise

    async def _go_on_alone(self, end: RunEnd) -> None:
        """Drive the run in a task of its own; whoever waits for its end is told how that is."""
        with suppress(Exception):
            await self._go_on(end)

    async def _go_on(self, end: RunEnd) -> None:
        """Drive a run that has begun to its end here."""
        try:
            await self._driver.drive()
        except BaseException as e:
            await self._break_off(e, end)
            raise
        try:
            await self._leave()
        except BaseException as e:
            end.tell(self._told(e))
            raise
        end.tell(self._result())

    async def _break_off(self, fault: BaseException, end: RunEnd) -> None:
        """Let the run go for a fault or a cancellation; what is in flight is for a resume to find out."""
        try:
            if isinstance(fault, asyncio.CancelledError) and self._parts is not None:
                # Whoever cancels a task must not hear instead that a last event could not be written.
                with suppress(EcsbatchError):
                    await self._driver.interrupt(CANCELLED)
        finally:
            try:
                await self._leave()
            finally:
                end.tell(self._told(fault))

    def _told(self, fault: BaseException) -> Result | BaseException:
        """Return what those hear who wait for the end, whom nobody has cancelled."""
        if not isinstance(fault, asyncio.CancelledError):
            return fault
        if self._parts is None or not self._session.begun:
            return EngineStopped(f"Run {self.run_id} was not begun: whoever began it was cancelled.")
        if self.state.status in {RunStatus.RUNNING, RunStatus.PAUSED}:
            return EngineStopped(f"Run {self.run_id} was cancelled, and that could not be written: resume it.")
        return self._result()

    async def _leave(self) -> None:
        try:
            if self._parts is not None:
                await self._driver.leave()
        finally:
            self._called = self._parts is not None and self._session.begun
            self._running.remove(self)
            self._runtime.notice()

    def _result(self) -> Result:
        state = self.state
        return Result(
            run_id=self.run_id,
            status=state.status,
            reason=state.reason,
            message=state.message,
            total=state.run.total,
            counts=state.counts,
            elapsed_s=state.elapsed,
            not_found=state.not_found,
            began_at=state.started_at,
        )

    # -- watching --------------------------------------------------------------------------------------------------

    def events(self, after: int = 0) -> AsyncGenerator[Recorded]:
        """Follow the run's journal from behind event number ``after``, until the run ends in this process.

        For any number of watchers; a slow one costs nobody else anything.

            async for recorded in rollout.events():
                if isinstance(recorded.event, ServerFailed):
                    print(recorded.event.server, recorded.event.message)

        Raises:
            Invalid: ``after`` is no number of an event.
            SelectionError: as `plan`.
            StoreError: the store cannot be read; raised by the iteration.
        """
        return self._session.feed.events(after)

    def lines(self, after: int = 0) -> AsyncGenerator[bytes]:
        """Follow the same as lines of JSON, without line ends; `Recorded.as_dict` documents them."""
        return self._session.feed.lines(after)

    def join(self, server: str) -> asyncio.Future[Outcome] | None:
        """Return a future of a server's outcome with this run; None where it is not of this run or has ended."""
        return self._session.join(server) if self._parts is not None else None

    # -- steering --------------------------------------------------------------------------------------------------

    def stop(self, reason: str = "interrupted", message: str = "") -> None:
        """Stop, resumable: nothing new is sent, requests in the air are answered, and jobs are left to a resume.

        Args:
            reason: one word for the result.
            message: one sentence for it, or "".
        """
        self._tell(lambda driver: driver.stop(reason, message))

    def abort(self, by: str = "") -> None:
        """End for good: nothing new is sent, and servers under way get their outcome, for no restart can be taken back.

        It is written before anything else happens, so that whoever has the run next sends nothing either. ``by`` names
        who asks.

        Raises:
            NotHolder: the run has stopped in this process, so that it cannot be written here: resume and abort it.
        """
        if self._parts is not None and self._session.begun and not self.held and not self.state.status.over:
            raise NotHolder(
                f"Run {self.run_id} has stopped here and is not held any more: `Restarter.resume` it and abort that.",
                run_id=self.run_id,
                status=self.state.status.value,
            )
        self._tell(lambda driver: driver.abort(by))

    def engine_stopped(self, fault: BaseException) -> None:
        """Have `run` raise EngineStopped, for the engine has ended by ``fault``; the run can be resumed."""
        stopped = EngineStopped(f"The engine ended before this run did: {fault}. Resume run {self.run_id}.")
        stopped.__cause__ = fault
        self._tell(lambda driver: driver.engine_stopped(stopped))

    def pause(self, by: str = "", reason: str = "paused") -> None:
        """Send nothing new until `resume`; servers under way go on. ``by`` names who asks, ``reason`` is one word.

        This and all below take effect at once in this process, and are on record a moment later; `History.steer` waits
        for that, and steers runs of other processes.
        """
        self._tell(lambda driver: driver.pause(by, reason))

    def resume(
        self, by: str = "", *, forgive: bool = False, retry: Sequence[str] = (), skip_domains: Sequence[str] = ()
    ) -> None:
        """Go on after a pause.

        Args:
            by: who asks.
            forgive: failures so far stop counting, and give their slots back.
            retry: outcomes whose servers are tried again, see `Changes`.
            skip_domains: domains to which nothing is sent any more.

        Raises:
            Invalid: a domain is none of the fleet's, or an outcome cannot be tried again.
        """
        validate_resume(self.plan, retry, skip_domains)
        self._driver.resume(resumption(Changes(retry, forgive, skip_domains, by=by)))

    def promote(self, by: str = "") -> None:
        """Let the run pass the hold that it waits at. ``by`` names who asks."""
        self._tell(lambda driver: driver.promote(by))

    def adjust(self, by: str = "", **limits: int | str) -> None:
        """Change limits from now on, by the names and in the forms that a `Strategy` has them.

            rollout.adjust(max_unavailable="20%", max_failures=50)

        Raises:
            Invalid: a limit does not exist, or its value is invalid.
        """
        self._session.limit_events(limits, by)
        self._driver.adjust(by, limits)

    async def note_sight(self) -> None:
        """Record that nothing can be seen of the cloud, or that it can be again; raises as `run`."""
        if self.held:
            await self._session.note_sight()

    async def hear_of_taking(self) -> None:
        """Where another process has taken the run while this one stood still, hear of it; raises as `run`."""
        if self.held:
            await self._session.journal.hear_of_taking()

    def note_freeze(self) -> None:
        """Record that the store is frozen, or that it is not any more."""
        if self.held:
            self._session.note_freeze()

    async def follow_commands(self) -> None:
        """Follow the commands that the store has for the run's holder, while this process is that.

        Raises:
            StoreError: it cannot be read now.
        """
        if self.held:
            for command in await self._runtime.store.commands(self.run_id, self._session.last_command):
                # Anybody may append a command; one that cannot be followed changes nothing.
                with suppress(Exception):
                    self.command(command)

    def command(self, command: Command) -> None:
        """Follow a command to the run's holder.

        Raises:
            ConfigError: it is invalid, or cannot be followed now.
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
