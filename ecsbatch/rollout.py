"""`Rollout`: one pass over a frozen list of servers. Read `Rollout._drive` first.

It feeds the engine a wave at a time and decides go, wait or stop from its state, which is a fold over its events;
whatever it does is an event first. A process may die at any instant: a later one folds the same events and goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Final, Protocol

from ecsbatch import events as ev
from ecsbatch import policy
from ecsbatch.config import Engine
from ecsbatch.conflicts import RunExists
from ecsbatch.direct import outcome_of
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped
from ecsbatch.gates import Gate
from ecsbatch.journal import Journal, JournalStore
from ecsbatch.line import Batch, Check, Line, Terms
from ecsbatch.models import Holder, Outcome, OutcomeKind, RunStatus, ServerView, Wave
from ecsbatch.picker import Picker
from ecsbatch.pipeline import Pipeline
from ecsbatch.plan import Plan
from ecsbatch.policy import Step
from ecsbatch.records import Command, Grant, Hold, NewRun, RunRecord
from ecsbatch.state import RolloutState, Stage
from ecsbatch.strategy import resolve_limits

GATE_PAUSE: Final = 15.0
"""Seconds between two askings of a gate that says ``wait``."""

_SKIPS_AT_ONCE: Final = 1000


class RolloutStore(JournalStore, Protocol):
    """What a rollout needs of a store."""

    async def create_run(self, new: NewRun, holder: Holder) -> Hold:
        """Store a new run; raises RunConflict."""
        ...

    async def hold(self, run_id: str, holder: Holder) -> Hold:
        """Take a run whose holder is gone; raises RunConflict."""
        ...

    async def release(self, hold: Hold) -> None:
        """Let a run go."""
        ...

    async def run(self, name: str = "") -> RunRecord:
        """Return a run by its id."""
        ...

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[ev.Recorded]:
        """Return events behind a number."""
        ...

    async def lines(self, run_id: str, after: int = 0, limit: int = 1000) -> list[bytes]:
        """Return the same as lines of JSON."""
        ...


class Host(Protocol):
    """The engine that a rollout runs on."""

    @property
    def store(self) -> RolloutStore:
        """Where everything is written."""
        ...

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """The parts for each site, by its key."""
        ...

    @property
    def holder(self) -> Holder:
        """This process."""
        ...

    @property
    def engine(self) -> Engine:
        """The settings."""
        ...

    def enter(self, rollout: Rollout) -> None:
        """Take a rollout in; raises EngineStopped."""
        ...

    def leave(self, rollout: Rollout) -> None:
        """Let a rollout go."""
        ...


@dataclass(frozen=True, slots=True)
class Changes:
    """What a resume asks for beyond going on.

    Attributes:
        retry: outcome kinds whose servers wait again: ``failed``, ``timed_out``, ``unknown``.
        forgive: failures so far stop counting and give their places back.
        skip_domains: domains whose waiting servers are left alone.
        limits: settings and their new values, as in a strategy.
        by: who asks.
    """

    retry: Sequence[str] = ()
    forgive: bool = False
    skip_domains: Sequence[str] = ()
    limits: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    by: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run stands when `Rollout.run` returns.

    Attributes:
        counts: servers by outcome; ``unknown`` includes those still under way, ``not_started`` the waiting.
        elapsed_s: seconds since the run's start.
    """

    run_id: str
    status: RunStatus
    reason: str
    message: str
    total: int
    counts: Mapping[OutcomeKind, int]
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class _Ending:
    """Why the run ends here, and what is waited for first: requests' answers, or all servers under way."""

    status: RunStatus
    reason: str
    message: str = ""
    drain: bool = False


class Rollout:
    """A run, as this process drives it. Made by `Restarter.rollout` and `Restarter.resume`.

    Attributes:
        run_id, plan: which run.
        state: the fold over its events so far.
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
        self.plan = plan
        self.state = RolloutState(run_id, plan)
        self._host = host
        self._check = check
        self._gate = gate
        self._changes = changes
        self._hold: Hold | None = None
        self._journal: Journal | None = None
        self._lines: dict[str, Line] = {}
        self._picker: Picker | None = None
        self._offered: set[str] = set()
        self._offered_by_domain: Counter[str] = Counter()
        self._limits = policy.limits_of(plan, {})
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._request: _Ending | None = None
        self._soak_until: float | None = None
        self._gate_until: float | None = None
        self._gate_again = 0.0
        self._told_hold = 0
        self._joined: dict[str, list[asyncio.Future[Outcome]]] = {}
        self._fault: EcsbatchError | None = None
        self._live = True
        self.last_command = 0

    def __repr__(self) -> str:
        tally = self.state.run
        return (
            f"<Rollout {self.run_id} {self.state.status} [{tally.waiting} waiting, {len(self._offered)} queued, "
            f"{tally.in_flight} in flight, {self.state.down} of {self._limits.max_unavailable} down]>"
        )

    # -- what callers do -------------------------------------------------------------------------------------------

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

    async def events(self, after: int = 0) -> AsyncIterator[ev.Recorded]:
        """Follow the run's journal from behind an event's number; ends with the run's end in this process."""
        while True:
            news, live = self._news, self._live
            recorded = await self._host.store.events(self.run_id, after) if self._hold else []
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
            found = await self._host.store.lines(self.run_id, after) if self._hold else []
            for line in found:
                yield line
            after += len(found)
            if not found:
                if not live:
                    return
                await news.wait()

    def stop(self, reason: str = "interrupted", message: str = "") -> None:
        """End here, resumable: nothing new is sent, requests in flight get their answer, jobs are resume's."""
        self._end_by(_Ending(RunStatus.INTERRUPTED, reason, message))

    def abort(self, by: str = "") -> None:
        """End for good: nothing new is sent, servers under way get their outcome; nothing un-sends a restart."""
        self._end_by(_Ending(RunStatus.ABORTED, "aborted", f"Aborted by {by}." if by else "", drain=True))

    def _end_by(self, ending: _Ending) -> None:
        """Ask the loop to end the run; a wish to stop at once beats one that waits, an abort beats a stop."""
        if self._request is None or ending.status in {RunStatus.ABORTED, RunStatus.INTERRUPTED}:
            self._request = ending
        self._notice()

    def pause(self, by: str = "", reason: str = "paused") -> None:
        """Send nothing new until `resume`; servers under way go on."""
        if self.state.status is RunStatus.RUNNING:
            # First stop, then say so: no intent may follow the pause in the record.
            self._recall()
            self._record([ev.RunPaused(reason=reason, by=by)], status=RunStatus.PAUSED)

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
        self._recall()
        self._record(events)

    def command(self, command: Command) -> None:
        """Follow what was asked of the run's holder from elsewhere."""
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

    def engine_stopped(self, fault: BaseException) -> None:
        """The engine ended under this rollout: `run` raises EngineStopped, the run can be resumed."""
        stopped = EngineStopped(f"The engine ended before this run did: {fault}. Resume run {self.run_id}.")
        stopped.__cause__ = fault
        self._fault = stopped
        self._notice()

    @property
    def held(self) -> bool:
        """True while this process holds the run."""
        return self._journal is not None and not self._journal.closed

    def join(self, server: str) -> asyncio.Future[Outcome] | None:
        """Wait for a server's outcome with this run; None where it is not of this run or has ended."""
        place = self.plan.fleet.place(server)
        if place is None or self.state.stage[place] >= Stage.RESTARTED:
            return None
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._joined.setdefault(server, []).append(waiter)
        return waiter

    # -- the run's life --------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Create the run, or take it and fold its history; then hand the engine what is under way."""
        if self._changes is None:
            try:
                await self._create()
            except RunExists as e:
                if e.targets_hash != self.plan.targets:
                    raise
                self._changes = Changes(by=self._host.holder.name)
        if self._changes is not None:
            await self._take(self._changes)
        if not self.state.status.over:
            self._open_lines()
            self._take_up()
            await self._skip_planned()

    async def _create(self) -> None:
        holder = self._host.holder
        new = NewRun(
            self.run_id,
            plan=self.plan.to_json(),
            fleet=self.plan.fleet,
            events=[
                ev.RunStarted(total=len(self.plan.fleet), plan=self.plan.to_json()),
                self._holder_changed(1),
            ],
        )
        self._hold = await self._host.store.create_run(new, holder)
        self._journal = Journal(self._host.store, self._hold, self._fold)
        for recorded in self._hold.recorded:
            self._fold(recorded)

    async def _take(self, changes: Changes) -> None:
        """Take over an existing run; one that is over and not to be retried is left as it is."""
        await self._read_history()
        if self.state.status.over and not changes.retry:
            return
        self._hold = await self._host.store.hold(self.run_id, self._host.holder)
        await self._read_history()
        self._journal = Journal(self._host.store, self._hold, self._fold, last_batch=self.state.last_batch)
        await self._journal.record(
            [
                self._holder_changed(self._hold.fence, self._hold.previous),
                ev.RunResumed(
                    by=changes.by, retry=changes.retry, forgive=changes.forgive, skip_domains=changes.skip_domains
                ),
                *self._limit_events(changes.limits, changes.by),
            ],
            status=RunStatus.RUNNING,
        )
        await self._leave_out(changes.skip_domains)

    def _holder_changed(self, fence: int, previous: Holder | None = None) -> ev.HolderChanged:
        holder, engine = self._host.holder, self._host.engine
        return ev.HolderChanged(
            holder=holder.name,
            host=holder.host,
            pid=holder.pid,
            fence=fence,
            previous=previous.name if previous else "",
            limit=engine.quota.limit,
            window=engine.quota.window,
            unknown_grace=engine.unknown_grace,
            request_timeout=engine.request_timeout,
        )

    async def _read_history(self) -> None:
        while recorded := await self._host.store.events(self.run_id, self.state.seq):
            for each in recorded:
                self._fold(each)

    def _open_lines(self) -> None:
        plan = self.plan
        sites = set(plan.fleet.sites or ("",))
        for site in sites:
            if site not in self._host.pipelines:
                known = ", ".join(sorted(self._host.pipelines)) or "none"
                raise ConfigError(f"The fleet names the site {site!r}, which the Restarter does not have: {known}.")
            line = Line(
                site=site,
                terms=Terms(
                    type=plan.type,
                    batch_size=plan.batch_size,
                    precheck=plan.precheck,
                    server_timeout=plan.server_timeout,
                    resend=2 if plan.on_unknown == "verify" else 0,
                    check=self._check,
                    check_interval=plan.check_interval,
                    min_ready=plan.min_ready,
                    linger=self._host.engine.linger,
                ),
                journal=self._written,
                resends=dict(self.state.unstarted),
                locate=self._locate,
                wake=partial(self._woken, site),
                returned=self._returned,
            )
            self._lines[site] = line
            self._host.pipelines[site].add(line)

    def _take_up(self) -> None:
        """Hand the engine what an earlier holder left under way; an intent without an answer is unknown."""
        for flight in list(self.state.flights.values()):
            line = self._lines[flight.site]
            pipeline = self._host.pipelines[flight.site]
            views = {s: ServerView(s, updated=u) for s, u in zip(flight.servers, flight.updated, strict=True)}
            batch = Batch(
                number=flight.batch,
                line=line,
                views=views,
                grant=Grant(flight.grant, len(flight.servers), 0.0),
                granted_at=0.0,
                cloud_time=flight.cloud_time,
                deadline=pipeline.sight.clock() + self.plan.server_timeout,
                open=set(flight.open),
                job_id=flight.job_id,
            )
            if flight.job_id:
                pipeline.poller.watch_job(batch)
                continue
            if flight.unknown_at is None:
                self._record([ev.BatchUnknown(batch=flight.batch, message="The process ended before the answer.")])
            pipeline.poller.watch_unknown(batch)
        for place in self.state.held:
            self._watch_held(place)

    def _watch_held(self, place: int) -> None:
        fleet = self.plan.fleet
        line = self._lines[fleet.site(place)]
        self._host.pipelines[line.site].poller.watch_held(line, fleet.ids[place])

    async def _skip_planned(self) -> None:
        """End the servers that the plan knows are to be left alone."""
        for skip in self.plan.skips:
            waiting = (i for i in range(skip.start, skip.end) if self.state.stage[i] == Stage.WAITING)
            while chunk := list(islice(waiting, _SKIPS_AT_ONCE)):
                await self._written.record([self._skipped(i, skip.reason, holds=skip.holds) for i in chunk])
                if skip.holds:
                    for i in chunk:
                        self._watch_held(i)

    async def _leave_out(self, domains: Sequence[str]) -> None:
        """Skip the waiting servers of domains that are not to be restarted any more."""
        fleet, stage = self.plan.fleet, self.state.stage
        left = [i for i in range(len(fleet)) if stage[i] == Stage.WAITING and fleet.domain(i) in domains]
        if left:
            await self._written.record([self._skipped(i, "excluded") for i in left])

    def _skipped(self, place: int, reason: str, *, holds: bool = False) -> ev.ServerSkipped:
        wave, domain = self._locate(self.plan.fleet.ids[place])
        return ev.ServerSkipped(server=self.plan.fleet.ids[place], wave=wave, domain=domain, reason=reason, holds=holds)

    # -- driving ---------------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        """Go, wait or stop, until the run ends here."""
        while True:
            self._changed.clear()
            self._raise_fault()
            ending = self._ending()
            if ending is not None:
                await self._end(ending)
                return
            if self.state.status is RunStatus.RUNNING:
                await self._pause_on_breach()
            if self.state.status is RunStatus.PAUSED:
                self._recall()
                await self._changed.wait()
                continue
            wave = self._next_wave()
            if wave is None:
                await self._finish()
                return
            if self.state.wave < wave.number:
                if await self._cleared(wave):
                    await self._written.record([ev.WaveStarted(wave=wave.number, servers=len(wave), label=wave.label)])
                continue
            await self._go_on(wave)

    def _next_wave(self) -> Wave | None:
        over = self.state.wave_over
        return self.plan.waves[over] if over < len(self.plan.waves) else None

    async def _go_on(self, wave: Wave) -> None:
        """Take one step inside a wave."""
        if self._picker is None or self._picker.wave is not wave:
            self._picker = Picker(self.plan.fleet, wave, self._may_go)
        decision = policy.decide(
            self.state,
            self._limits,
            self.state.waves[wave.number - 1],
            len(self._offered),
            2 * self._host.engine.quota.limit,
        )
        match decision.step:
            case Step.FEED if self._feed(self._picker, decision.room):
                return
            case Step.WAVE_DONE:
                await self._end_wave(wave)
                return
            case Step.BUDGET_EXHAUSTED:
                await self._exhausted()
                return
            case _ if not self.state.run.in_flight and not self._offered:
                # Servers wait, none is under way: every waiting one's domain is full.
                await self._exhausted()
            case _:
                await self._changed.wait()

    def _may_go(self, place: int) -> bool:
        return self.state.stage[place] == Stage.WAITING and self.plan.fleet.ids[place] not in self._offered

    def _feed(self, picker: Picker, room: int) -> int:
        """Offer servers to the engine; return how many."""
        per_domain = None if self._limits.max_unavailable_per_domain is None else self._domain_room
        places = picker.pick(room, per_domain)
        fleet = self.plan.fleet
        by_site: dict[str, list[str]] = {}
        for place in places:
            server = fleet.ids[place]
            self._offer(server, fleet.domain(place))
            by_site.setdefault(fleet.site(place), []).append(server)
        for site, line in self._lines.items():
            line.wave = picker.wave.number
            line.open = line.halt is None
            line.more = not picker.exhausted
            if servers := by_site.get(site):
                line.offer(servers)
        return len(places)

    def _domain_room(self, domain: str) -> int:
        return policy.domain_room(self.state, self._limits, domain, self._offered_by_domain[domain])

    async def _exhausted(self) -> None:
        """Every place is held by servers that are not back: look at them once more, then stop."""
        held = len(self.state.held)
        for pipeline in self._host.pipelines.values():
            await pipeline.poller.look_at_held(self._lines.values())
        if len(self.state.held) < held:
            return
        down = self.state.down
        self._request = self._request or _Ending(
            RunStatus.STOPPED,
            "budget_exhausted",
            f"{down} servers are not back and hold all places of max_unavailable ({self._limits.max_unavailable}).",
        )

    async def _end_wave(self, wave: Wave) -> None:
        ended = self.state.waves[wave.number - 1].ended
        await self._written.record(
            [
                ev.WaveFinished(
                    wave=wave.number,
                    restarted=ended[OutcomeKind.RESTARTED],
                    failed=self.state.waves[wave.number - 1].failures,
                    skipped=ended[OutcomeKind.SKIPPED],
                )
            ]
        )
        self._soak_until = self._gate_until = None
        self._gate_again = 0.0

    async def _cleared(self, wave: Wave) -> bool:
        """Stand between two waves: soak, hold, gate; True once the wave may start."""
        if wave.number == 1:
            return True
        return await self._soaked() and await self._promoted(wave) and await self._gate_open(wave)

    async def _soaked(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._soak_until is None:
            self._soak_until = now + self.plan.soak
        if now < self._soak_until:
            await self._wait(self._soak_until)
            return False
        return True

    async def _promoted(self, wave: Wave) -> bool:
        """Wait for somebody's word where the plan wants it."""
        if wave.number - 1 not in self.plan.hold_after or self.state.promoted >= wave.number:
            return True
        if self._told_hold < wave.number:
            self._told_hold = wave.number
            await self._written.record([ev.GateChecked(gate="hold", verdict="wait", wave=wave.number)])
        await self._changed.wait()
        return False

    async def _gate_open(self, wave: Wave) -> bool:
        """Ask the gate; an inconclusive one pauses the run, for no answer is neither yes nor no."""
        if self._gate is None:
            return True
        now = asyncio.get_running_loop().time()
        if self._gate_until is None:
            self._gate_until = now + self.plan.gate_timeout
        if now < self._gate_again:
            await self._wait(self._gate_again)
            return False
        verdict, message = await self._ask_gate(self._gate)
        if verdict == "interrupted":
            return False
        checked = ev.GateChecked(gate=self.plan.gate, verdict=verdict, wave=wave.number, message=message)
        await self._written.record([checked])
        now = asyncio.get_running_loop().time()
        if verdict == "stop" or (verdict == "wait" and now >= self._gate_until):
            reason = "gate" if verdict == "stop" else "gate_timeout"
            self._end_by(_Ending(RunStatus.STOPPED, reason, message))
        elif verdict == "wait":
            self._gate_again = min(now + GATE_PAUSE, self._gate_until)
        elif verdict == "inconclusive":
            self._gate_until = None
            await self._written.record([ev.RunPaused(reason="gate_inconclusive")], status=RunStatus.PAUSED)
        return verdict == "go"

    async def _ask_gate(self, gate: Gate) -> tuple[str, str]:
        """Ask once; the run's own end or a pause interrupts the asking."""

        async def ask() -> tuple[str, str]:
            try:
                async with asyncio.timeout(self.plan.gate_timeout):
                    return await gate(self.state), ""
            except Exception as e:  # noqa: BLE001 - a gate is foreign code, and whatever it raises is no verdict
                return "inconclusive", str(e) or type(e).__name__

        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask(), name="gate")
            asking.add_done_callback(lambda _: self._notice())
            while not asking.done():
                self._changed.clear()
                if self._ending() is not None or self.state.status is RunStatus.PAUSED:
                    asking.cancel()
                    break
                await self._changed.wait()
        return ("interrupted", "") if asking.cancelled() else asking.result()

    def _ending(self) -> _Ending | None:
        """Return why the run must end here, if it must."""
        for line in self._lines.values():
            if line.halt is not None:
                return _Ending(RunStatus.STOPPED, line.halt.reason, line.halt.message)
        if self._request is not None:
            return self._request
        breach = policy.breach(self.state, self._limits)
        if breach is None or self.plan.on_failure == "pause":
            return None
        return _Ending(RunStatus.STOPPED, breach.limit, f"{breach}.", drain=True)

    async def _pause_on_breach(self) -> None:
        breach = policy.breach(self.state, self._limits)
        if breach is not None and self.plan.on_failure == "pause":
            await self._written.record([ev.RunPaused(reason=breach.limit)], status=RunStatus.PAUSED)

    async def _end(self, ending: _Ending) -> None:
        """Send nothing new, wait for what the ending waits for, and say so."""
        self._recall()
        while True:
            self._changed.clear()
            self._raise_fault()
            ending = self._overruled(ending)
            if not self._busy(ending):
                break
            await self._changed.wait()
        event: ev.Event = ev.RunStopped(status=ending.status.value, reason=ending.reason, message=ending.message)
        if ending.status.over:
            event = self._finished(ending.status, ending.reason)
        await self._written.record([event], status=ending.status)

    def _overruled(self, ending: _Ending) -> _Ending:
        """Return what cuts the waiting short: the cloud is gone, or somebody asks to stop at once."""
        if not ending.drain:
            return ending
        halt = next((line.halt for line in self._lines.values() if line.halt is not None), None)
        if halt is not None:
            return _Ending(RunStatus.STOPPED, halt.reason, halt.message)
        return self._request or ending

    def _busy(self, ending: _Ending) -> bool:
        in_air = any(line.in_air for line in self._lines.values())
        return in_air or (ending.drain and self.state.run.in_flight > 0)

    async def _finish(self) -> None:
        failed = any(self.state.run.ended[kind] for kind in _FAILURE_KINDS)
        status = RunStatus.FAILED if failed else RunStatus.SUCCEEDED
        await self._written.record([self._finished(status, "")], status=status)

    def _finished(self, status: RunStatus, reason: str) -> ev.RunFinished:
        counts = {kind.value: n for kind, n in self.state.counts.items()}
        return ev.RunFinished(status=status.value, reason=reason, counts=counts, elapsed_s=round(self.state.elapsed, 3))

    def _recall(self) -> None:
        """Take back what the engine has not submitted."""
        for line in self._lines.values():
            line.open = False
            self._returned(line.recall())

    async def _break_off(self, reason: str) -> None:
        """End at once: what is in flight is resume's to find out."""
        if self._journal is None or self._journal.failed is not None:
            return
        stopped = ev.RunStopped(status=RunStatus.INTERRUPTED.value, reason=reason)
        told = self._journal.record([stopped], status=RunStatus.INTERRUPTED)
        await asyncio.shield(told)

    async def _leave(self) -> None:
        """Let the engine and the store go of this run."""
        for site, line in self._lines.items():
            self._host.pipelines[site].drop(line)
        if self._journal is not None:
            self._journal.close()
        self._live = False
        self._host.leave(self)
        self._notice()
        self._tell_joined()
        if self._hold is not None:
            await self._host.store.release(self._hold)

    # -- small steps -----------------------------------------------------------------------------------------------

    @property
    def _written(self) -> Journal:
        if self._journal is None:
            raise EngineStopped(f"Run {self.run_id} is not held by this process yet.")
        return self._journal

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

    def _locate(self, server: str) -> tuple[int, str]:
        place = self.plan.fleet.find(server)
        wave = self.plan.wave_of(place)
        return wave.number if wave else 0, self.plan.fleet.domain(place)

    def _offer(self, server: str, domain: str) -> None:
        if server not in self._offered:
            self._offered.add(server)
            self._offered_by_domain[domain] += 1

    def _gone(self, server: str) -> None:
        if server in self._offered:
            self._offered.discard(server)
            self._offered_by_domain[self.plan.fleet.domain(self.plan.fleet.find(server))] -= 1

    def _returned(self, servers: Iterable[str]) -> None:
        back = list(servers)
        for server in back:
            self._gone(server)
        if self._picker is not None:
            self._picker.put_back(back)
        self._notice()

    def _fold(self, recorded: ev.Recorded) -> None:
        """Fold an event into the state, and what the engine has at hand with it."""
        event = recorded.event
        match event:
            case ev.BatchSubmitting():
                for server in event.servers:
                    self._gone(server)
            case ev.BatchRejected() if event.batch in self.state.flights:
                self._waiting_again(self.state.flights[event.batch].open)
            case ev.BatchUnstarted():
                self._waiting_again(event.servers)
            case ev.ServerEvent():
                self._gone(event.server)
        self.state.apply(recorded)
        if isinstance(event, ev.LimitChanged):
            self._limits = policy.limits_of(self.plan, self.state.limits)
        elif isinstance(event, ev.ServerEvent) and event.server in self._joined:
            self._tell_one(event, recorded.ts)
        self._notice()

    def _waiting_again(self, servers: Iterable[str]) -> None:
        if not self._lines:
            return
        for server in servers:
            self._offer(server, self.plan.fleet.domain(self.plan.fleet.find(server)))

    def _tell_one(self, event: ev.ServerEvent, ts: float) -> None:
        known = self.state.outcome(self.plan.fleet.find(event.server))
        outcome = outcome_of(event, ts, known.attempts, known.submitted_at)
        for waiter in self._joined.pop(event.server):
            if not waiter.done():
                waiter.set_result(outcome)

    def _tell_joined(self) -> None:
        for server, waiters in self._joined.items():
            outcome = self.state.outcome(self.plan.fleet.find(server))
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(outcome)
        self._joined.clear()

    def _woken(self, site: str) -> None:
        self._host.pipelines[site].wake()
        self._notice()

    def _notice(self) -> None:
        self._changed.set()
        self._news.set()
        self._news = asyncio.Event()

    async def _wait(self, until: float) -> None:
        """Wait for a change, at the longest until a loop time."""
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return


_FAILURE_KINDS: Final = (OutcomeKind.FAILED, OutcomeKind.TIMED_OUT, OutcomeKind.UNKNOWN)
