"""`Poller`: watches every job of a site at once, and bare servers where no job tells. Read `_look_at_job` first.

One heap of what is to be looked at when, one timer, a few look workers. A job's look reveals all its servers;
bare servers share looks, up to 100 each. What a look means is decided elsewhere: `reconcile`, `poll_schedule`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Protocol

from ecsbatch import events as ev
from ecsbatch.agenda import Agenda
from ecsbatch.errors import AuthError, CloudError, JobNotFound, Throttled
from ecsbatch.health import Health, is_healthy
from ecsbatch.line import Batch, Line, restarted
from ecsbatch.models import MAX_LOOK, Evidence, Job, Look, ServerView, SkipReason, SubJob
from ecsbatch.poll_schedule import PollSchedule, Watched
from ecsbatch.reconcile import Case, Verdict, is_up, judge
from ecsbatch.retry import skip_of
from ecsbatch.sight import Sight

JOB_VISIBLE_WITHIN = 60.0
"""Seconds after its submit in which a job id that the cloud does not know may still turn up."""


class Looks(Protocol):
    """Shows jobs and servers."""

    async def show_job(self, job_id: str, pending: Container[str]) -> Job:
        """Show a job's ended sub-jobs among ``pending``; raises JobNotFound and other CloudErrors."""
        ...

    async def look(self, ids: Sequence[str]) -> Look:
        """Show up to `MAX_LOOK` servers; raises CloudError."""
        ...


class Why(StrEnum):
    """Why a bare server is watched."""

    NO_ANSWER = "no_answer"
    NO_JOB = "no_job"
    HELD = "held"


@dataclass(eq=False, slots=True)
class JobWatch:
    """An accepted batch whose job still has something to tell.

    Attributes:
        since: loop time of the acceptance.
        pending: servers that it has not told the end of.
        size: how many there were.
        age: seconds after the acceptance, at the last successful look.
    """

    batch: Batch
    since: float
    pending: set[str]
    size: int
    age: float = 0.0
    failures: int = 0


@dataclass(eq=False, slots=True)
class ServerWatch:
    """A server whose own state has to tell: no answer came, the job told nothing, or it may still be down.

    Attributes:
        since: sighted clock from which ``unknown_grace`` counts.
        looks: successful ones.
        under_way: a sign of the restart was seen.
        code, message: the job's own failure, which the server shares unless its state says otherwise.
    """

    line: Line
    batch: Batch | None
    server: str
    why: Why
    since: float
    looks: int = 0
    under_way: bool = False
    failures: int = 0
    code: str = ""
    message: str = ""


@dataclass(slots=True)
class _Findings:
    """What one look at servers means for one line."""

    events: list[ev.Event] = field(default_factory=list[ev.Event])
    unstarted: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    again: list[str] = field(default_factory=list[str])
    failed: list[str] = field(default_factory=list[str])


class Poller:
    """The looks at one site."""

    def __init__(
        self,
        cloud: Looks,
        schedule: PollSchedule,
        sight: Sight,
        health: Health,
        chance: Random,
        *,
        workers: int,
        unknown_grace: float,
        typical_restart: float,
    ) -> None:
        """Look with at most ``workers`` requests at once; times are seconds."""
        self._cloud = cloud
        self._schedule = schedule
        self._sight = sight
        self._health = health
        self._chance = chance
        self._workers = workers
        self._grace = unknown_grace
        self._unit = typical_restart / 40
        self._agenda: Agenda[JobWatch | ServerWatch] = Agenda()
        self._due: asyncio.Queue[JobWatch | list[ServerWatch]] = asyncio.Queue()
        self._jobs: set[JobWatch] = set()
        self._held: set[ServerWatch] = set()

    # -- what to watch ---------------------------------------------------------------------------------------------

    def watch_job(self, batch: Batch) -> None:
        """Follow an accepted batch to its servers' outcomes."""
        watch = JobWatch(batch, self._now(), set(batch.open), len(batch.open))
        self._jobs.add(watch)
        self._agenda.put(self._now() + self._schedule.next_look(0.0, watch.size, watch.size), watch)

    def watch_unknown(self, batch: Batch) -> None:
        """Find out what became of a request without an answer."""
        self._watch_servers(batch, batch.open, Why.NO_ANSWER)

    def watch_held(self, line: Line, server: str) -> None:
        """Look until a server is up that may be down although it has its outcome."""
        watch = ServerWatch(line, None, server, Why.HELD, self._sight.clock())
        self._held.add(watch)
        self._agenda.put(self._now(), watch)

    async def look_at_held(self, lines: Iterable[Line]) -> None:
        """Look now at every server of these lines that keeps its place after its outcome."""
        wanted = set(lines)
        held = [w for w in self._held if w.line in wanted]
        for start in range(0, len(held), MAX_LOOK):
            await self._look_at_servers(held[start : start + MAX_LOOK], once=True)

    def _watch_servers(self, batch: Batch, servers: Iterable[str], why: Why, job: Job | None = None) -> None:
        code, message = (job.code, job.message) if job is not None and job.status == "FAIL" else ("", "")
        for server in servers:
            watch = ServerWatch(batch.line, batch, server, why, self._sight.clock(), code=code, message=message)
            self._again_later(watch, self._unit)

    def _again_later(self, watch: ServerWatch, wait: float) -> None:
        """Look again after about so long; instants fall on a grid, so that servers share looks."""
        self._agenda.put(math.ceil((self._now() + wait) / self._unit) * self._unit, watch)

    # -- looking ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hand_out(), name="poll")
            for i in range(self._workers):
                group.create_task(self._work(), name=f"look-{i}")

    async def _hand_out(self) -> None:
        rescaled = self._now()
        while True:
            servers: list[ServerWatch] = []
            for watch in await self._agenda.due():
                if _line(watch).dropped:
                    self._forget(watch)
                elif isinstance(watch, JobWatch):
                    self._due.put_nowait(watch)
                else:
                    servers.append(watch)
            for start in range(0, len(servers), MAX_LOOK):
                self._due.put_nowait(servers[start : start + MAX_LOOK])
            if self._now() - rescaled >= self._schedule.rescale_every:
                rescaled = self._now()
                self._schedule.rescale([Watched(rescaled - w.since, len(w.pending), w.size) for w in self._jobs])

    def _forget(self, watch: JobWatch | ServerWatch) -> None:
        if isinstance(watch, JobWatch):
            self._jobs.discard(watch)
        else:
            self._held.discard(watch)

    async def _work(self) -> None:
        while True:
            due = await self._due.get()
            if isinstance(due, JobWatch):
                await self._look_at_job(due)
            else:
                await self._look_at_servers(due)

    async def _look_at_job(self, watch: JobWatch) -> None:
        """Look once at a job; store what it tells, and say when to look again."""
        batch = watch.batch
        try:
            job = await self._cloud.show_job(batch.job_id, watch.pending)
        except JobNotFound as e:
            self._sight.seen()
            if self._now() - watch.since < JOB_VISIBLE_WITHIN:
                self._agenda.put(self._now() + self._pause(watch), watch)
            else:
                await self._end_job(watch, Job(batch.job_id, "GONE", code=e.code, message=e.message))
            return
        except CloudError as e:
            if self._unseen(batch.line, e):
                self._agenda.put(self._now() + self._pause(watch), watch)
            else:
                self._jobs.discard(watch)
            return
        self._sight.seen()
        watch.failures = 0
        await self._learn(watch, job)

    async def _learn(self, watch: JobWatch, job: Job) -> None:
        """Store what a job's look tells of its servers."""
        batch, line = watch.batch, watch.batch.line
        age = self._now() - watch.since
        events, failed = self._ended(watch, job.ended, age)
        watch.age = age
        if not watch.pending or job.over:
            await self._end_job(watch, job, events, failed)
            return
        if self._sight.clock() > batch.deadline:
            late = sorted(watch.pending)
            self._schedule.observe(age, math.inf, len(late))
            events += [self._timed_out(batch, server) for server in late]
            failed += late
            watch.pending.clear()
            await self._end_job(watch, job, events, failed)
            return
        if events:
            left = len(watch.pending)
            progress = ev.JobProgress(batch=batch.number, job_id=job.id, ended=watch.size - left, running=left)
            await line.tell([*events, progress])
            self._hold(line, failed)
        self._agenda.put(watch.since + self._schedule.next_look(age, len(watch.pending), watch.size), watch)

    async def _end_job(
        self, watch: JobWatch, job: Job, events: Sequence[ev.Event] = (), failed: Sequence[str] = ()
    ) -> None:
        """Close a job; servers that it told nothing of are watched by their own state."""
        batch = watch.batch
        self._jobs.discard(watch)
        finished = ev.JobFinished(
            batch=batch.number, job_id=job.id, status=job.status, code=job.code, message=job.message
        )
        await batch.line.tell([*events, finished])
        self._hold(batch.line, failed)
        self._watch_servers(batch, sorted(watch.pending), Why.NO_JOB, job)

    def _ended(self, watch: JobWatch, ended: Iterable[SubJob], age: float) -> tuple[list[ev.Event], list[str]]:
        """Turn ended sub-jobs into events; the servers that failed are named a second time."""
        batch = watch.batch
        events: list[ev.Event] = []
        failed: list[str] = []
        for sub in ended:
            if sub.server_id not in watch.pending:
                continue
            watch.pending.discard(sub.server_id)
            if sub.seconds is None:
                self._schedule.observe(watch.age, age)
            else:
                # The cloud's own time knows nothing of how long the job lay before it began.
                at = min(max(sub.seconds, watch.age), age)
                self._schedule.observe(at, at)
            if sub.succeeded:
                events += self._up(batch, sub.server_id, Evidence.JOB)
            elif (skip := skip_of(sub.code)) is not None:
                events.append(self._skipped(batch, sub.server_id, skip, Evidence.JOB, sub.code))
            else:
                events.append(self._failed(batch, sub.server_id, Evidence.JOB, code=sub.code, message=sub.message))
                failed.append(sub.server_id)
        return events, failed

    async def _look_at_servers(self, watches: Sequence[ServerWatch], *, once: bool = False) -> None:
        """Look once at up to 100 bare servers; ``once`` is an extra look, which plans no other."""
        try:
            look = await self._cloud.look([watch.server for watch in watches])
        except CloudError as e:
            seen_again = {line: self._unseen(line, e) for line in {watch.line for watch in watches}}
            for watch in watches if not once else ():
                if seen_again[watch.line]:
                    self._again_later(watch, self._pause(watch))
            return
        self._sight.seen(look.cloud_time)
        findings: dict[Line, _Findings] = {}
        for watch in watches:
            view = look.servers.get(watch.server)
            found = findings.setdefault(watch.line, _Findings())
            if view is not None:
                watch.looks += 1
                watch.failures = 0
                await self._find(watch, view, found, once=once)
            elif not once:
                self._left_out(watch, found)
        for line, found in findings.items():
            await self._tell(line, found)

    def _left_out(self, watch: ServerWatch, found: _Findings) -> None:
        """A look that leaves a server out tells nothing of it; its deadline ends the asking."""
        if watch.batch is None:
            self._again_later(watch, self._pause(watch))
        elif watch.server in watch.batch.open:
            self._follow(watch, watch.batch, found)

    async def _find(self, watch: ServerWatch, view: ServerView, found: _Findings, *, once: bool) -> None:
        """Say what one server's look means."""
        if watch.why is Why.HELD or watch.batch is None:
            if watch in self._held:
                await self._find_held(watch, view, found, once=once)
            return
        batch = watch.batch
        if watch.server not in batch.open:
            return
        verdict = judge(view, self._case(watch, batch))
        match verdict:
            case Verdict.RESTARTED:
                found.events += self._up(batch, watch.server, Evidence.STATE)
            case Verdict.NOT_FOUND:
                found.events.append(self._skipped(batch, watch.server, SkipReason.NOT_FOUND, Evidence.STATE))
            case Verdict.FAILED:
                self._fail(watch, batch, found, reason="error_state")
            case Verdict.NOT_STARTED:
                self._not_started(watch, batch, view, found)
            case _:
                watch.under_way = watch.under_way or verdict is Verdict.UNDER_WAY
                self._follow(watch, batch, found)

    def _follow(self, watch: ServerWatch, batch: Batch, found: _Findings) -> None:
        """Go on watching, up to the deadline; without any sign of a restart ``unknown_grace`` is the later end."""
        late = self._sight.clock() > batch.deadline
        if late and watch.under_way:
            found.events.append(self._timed_out(batch, watch.server))
            found.failed.append(watch.server)
        elif late and self._sight.clock() - watch.since > self._grace:
            batch.open.discard(watch.server)
            found.events.append(watch.line.fact(ev.ServerUnknown, watch.server, batch, reason="no_trace", holds=True))
            found.failed.append(watch.server)
        else:
            self._again_later(watch, self._unit * min(2.0 + watch.looks, 10.0))

    def _not_started(self, watch: ServerWatch, batch: Batch, view: ServerView, found: _Findings) -> None:
        """A request left no trace: send these servers again where that is wanted and certain to be safe."""
        line, server = watch.line, watch.server
        batch.open.discard(server)
        if watch.why is Why.NO_ANSWER and line.resends.get(server, 0) < line.terms.resend:
            line.resends[server] = line.resends.get(server, 0) + 1
            found.unstarted.setdefault(batch.number, []).append(server)
            found.again.append(server)
        elif watch.code:
            self._fail(watch, batch, found)
        else:
            # Sent again as often as allowed and shown each time not to have begun: that is known, and no restart.
            known = watch.why is Why.NO_ANSWER and line.terms.resend > 0
            kind = ev.ServerFailed if known else ev.ServerUnknown
            reason = "not_begun" if known else "no_trace"
            down = not is_up(view)
            found.events.append(
                line.fact(
                    kind, server, batch, reason=reason, evidence=Evidence.STATE.value if known else "", holds=down
                )
            )
            if down:
                found.failed.append(server)

    async def _find_held(self, watch: ServerWatch, view: ServerView, found: _Findings, *, once: bool) -> None:
        """Release a server's place in the budget once it is up, and healthy where a check is set."""
        line = watch.line
        up = is_up(view) and (
            line.terms.check is None or await is_healthy(line.terms.check, line.server(watch.server, view))
        )
        if up or not view.found:
            self._held.discard(watch)
            found.events.append(ev.ServerReleased(server=watch.server, why="up" if up else "not_found"))
        elif not once:
            self._again_later(watch, self._unit * min(5.0 * 2.0 ** min(watch.looks, 6), 60.0))

    async def _tell(self, line: Line, found: _Findings) -> None:
        events = found.events
        events += [ev.BatchUnstarted(batch=batch, servers=servers) for batch, servers in found.unstarted.items()]
        if events and await line.tell(events):
            self._hold(line, found.failed)
            if found.again:
                line.again(found.again)

    # -- what a look means, in events ------------------------------------------------------------------------------

    def _case(self, watch: ServerWatch, batch: Batch) -> Case:
        baseline = batch.views.get(watch.server)
        return Case(
            baseline=baseline.updated if baseline else "",
            cloud_time=batch.cloud_time,
            under_way=watch.under_way,
            given_up_for=self._sight.clock() - watch.since,
            looks=watch.looks,
            grace=self._grace,
        )

    def _up(self, batch: Batch, server: str, evidence: Evidence) -> list[ev.Event]:
        """The cloud says that it is up: its outcome, or first its own word for it."""
        terms = batch.line.terms
        if terms.check is not None or terms.min_ready > 0:
            self._health.watch(batch, server, evidence)
            return []
        batch.open.discard(server)
        return [restarted(batch, server, evidence)]

    @staticmethod
    def _skipped(batch: Batch, server: str, reason: SkipReason, evidence: Evidence, code: str = "") -> ev.ServerSkipped:
        batch.open.discard(server)
        return batch.line.fact(ev.ServerSkipped, server, batch, reason=reason.value, evidence=evidence.value, code=code)

    @staticmethod
    def _failed(batch: Batch, server: str, evidence: Evidence, **facts: Any) -> ev.ServerFailed:
        batch.open.discard(server)
        return batch.line.fact(ev.ServerFailed, server, batch, evidence=evidence.value, holds=True, **facts)

    def _fail(self, watch: ServerWatch, batch: Batch, found: _Findings, reason: str = "") -> None:
        evidence = Evidence.JOB if watch.code and not reason else Evidence.STATE
        found.events.append(
            self._failed(batch, watch.server, evidence, reason=reason, code=watch.code, message=watch.message)
        )
        found.failed.append(watch.server)

    @staticmethod
    def _timed_out(batch: Batch, server: str) -> ev.ServerTimedOut:
        batch.open.discard(server)
        return batch.line.fact(ev.ServerTimedOut, server, batch, holds=True)

    def _hold(self, line: Line, servers: Iterable[str]) -> None:
        for server in servers:
            self.watch_held(line, server)

    def _unseen(self, line: Line, error: CloudError) -> bool:
        """Note a look that showed nothing; False where looking on is pointless."""
        if isinstance(error, AuthError):
            line.stop("auth", str(error))
            return False
        if isinstance(error, Throttled):
            self._schedule.throttled()
        self._sight.failed(error)
        return True

    def _pause(self, watch: JobWatch | ServerWatch) -> float:
        watch.failures += 1
        pause = self._unit * min(30.0, 2.0 ** min(watch.failures, 8))
        return pause * (0.5 + self._chance.random() / 2)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _line(watch: JobWatch | ServerWatch) -> Line:
    return watch.line if isinstance(watch, ServerWatch) else watch.batch.line
