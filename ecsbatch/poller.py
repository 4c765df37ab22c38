"""`Poller`: watches every job of a site at once, and bare servers where no job tells. Read `_look_at_job` first.

One heap of what is to be looked at when, one timer, a few look workers. A job's look reveals all its servers;
bare servers share looks, up to 100 each. What a look means is said in `verdicts`, when to look in `poll_schedule`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Container, Iterable, Sequence
from random import Random
from typing import Protocol

from ecsbatch import events as ev
from ecsbatch.agenda import Agenda
from ecsbatch.errors import AuthError, CloudError, JobNotFound, Throttled
from ecsbatch.health import Health
from ecsbatch.line import Batch, Line
from ecsbatch.models import MAX_LOOK, Job, Look, SubJob
from ecsbatch.poll_schedule import PollSchedule, Watched
from ecsbatch.records import Commit
from ecsbatch.sight import Sight
from ecsbatch.verdicts import Findings, Verdicts
from ecsbatch.watches import JobWatch, ServerWatch, Why, line_of
from ecsbatch.workers import work_together

JOB_VISIBLE_WITHIN = 60.0
"""Seconds after its submit in which a job id that the cloud does not know may still turn up."""

LOOKS_WHEN_OVER = 3
"""Looks at an ended job that leaves servers untold, before their own state has to tell: one look may be garbled."""

TICK = 1 / 200
"""Of a typical restart: the grid of the instants of looks at jobs, finer than their jitter."""


class Looks(Protocol):
    """Shows jobs and servers."""

    async def show_job(self, job_id: str, pending: Container[str], *, running: bool = False) -> Job:
        """Show a job's ended sub-jobs among ``pending``; raises JobNotFound and other CloudErrors."""
        ...

    async def look(self, ids: Sequence[str]) -> Look:
        """Show up to `MAX_LOOK` servers; raises CloudError."""
        ...


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
        self._chance = chance
        self._now = asyncio.get_running_loop().time
        self._workers = workers
        self._unit = typical_restart / 40
        self._tick = typical_restart * TICK
        self._verdicts = Verdicts(sight, health, unknown_grace, self._unit)
        self._agenda: Agenda[JobWatch | ServerWatch] = Agenda()
        self._due: asyncio.Queue[JobWatch | list[ServerWatch]] = asyncio.Queue()
        # Dicts, for they keep the order: the same seed gives the same looks.
        self._jobs: dict[JobWatch, None] = {}
        self._held: dict[ServerWatch, None] = {}
        self._found: dict[Line, list[Findings]] = {}
        self._written: list[tuple[Line, list[Findings], asyncio.Future[Commit]]] = []
        self._news = asyncio.Event()

    # -- what to watch ---------------------------------------------------------------------------------------------

    def watch_job(self, batch: Batch) -> None:
        """Follow an accepted batch to its servers' outcomes."""
        watch = JobWatch(batch, self._now(), set(batch.open), len(batch.open))
        self._jobs[watch] = None
        self._look_at_age(watch, self._schedule.next_look(0.0, watch.size, watch.size))

    def watch_unknown(self, batch: Batch) -> None:
        """Find out what became of a request without an answer."""
        self._watch_servers(batch, [s for s in batch.views if s in batch.open], Why.NO_ANSWER)

    def watch_held(self, line: Line, server: str) -> None:
        """Look until a server is up that may be down although it has its outcome."""
        watch = ServerWatch(line, None, server, Why.HELD, self._sight.clock())
        self._held[watch] = None
        self._agenda.put(self._now(), watch)

    async def look_at_held(self, lines: Iterable[Line]) -> None:
        """Look now at every server of these lines that keeps its place after its outcome."""
        wanted = list(lines)
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
        workers = {f"look-{i}": self._work() for i in range(self._workers)}
        await work_together({"poll": self._hand_out(), "tell": self._tell_all(), **workers})

    async def _hand_out(self) -> None:
        """Hand what is due to the look workers; servers that are due together share looks."""
        rescaled = self._now()
        while True:
            servers: list[ServerWatch] = []
            for watch in await self._agenda.due():
                if line_of(watch).dropped:
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
            self._jobs.pop(watch, None)
        else:
            self._held.pop(watch, None)

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
            late = self._sight.clock() > batch.deadline
            job = await self._cloud.show_job(batch.job_id, watch.pending, running=late)
        except JobNotFound as e:
            self._sight.seen()
            if self._now() - watch.since < JOB_VISIBLE_WITHIN:
                self._agenda.put(self._now() + self._pause(watch), watch)
            else:
                self._end_job(watch, Job(batch.job_id, "GONE", code=e.code, message=e.message), Findings())
            return
        except CloudError as e:
            if self._unseen(batch.line, e):
                self._agenda.put(self._now() + self._pause(watch), watch)
            else:
                self._jobs.pop(watch, None)
            return
        self._sight.seen()
        watch.failures = 0
        self._learn(watch, job, late=late)

    def _learn(self, watch: JobWatch, job: Job, *, late: bool) -> None:
        """Store what a job's look tells of its servers; a ``late`` one was begun after their deadline."""
        age = self._now() - watch.since
        ended = [sub for sub in job.ended if sub.server_id in watch.pending]
        self._observe(watch, ended, age)
        found = self._verdicts.job(watch, ended)
        if watch.pending and not job.over and late:
            self._schedule.observe(age, math.inf, len(watch.pending))
            self._verdicts.overdue(watch, job, found)
        watch.over += job.over or late
        if not watch.pending or watch.over >= LOOKS_WHEN_OVER:
            self._end_job(watch, job, found)
            return
        watch.age = age
        if ended:
            left = len(watch.pending)
            progress = ev.JobProgress(batch=watch.batch.number, job_id=job.id, ended=watch.size - left, running=left)
            found.events.append(progress)
            self._tell(watch.batch.line, found)
        if job.over or late:
            self._agenda.put(self._now() + self._pause(watch), watch)
            return
        self._look_at_age(watch, self._schedule.next_look(age, len(watch.pending), watch.size))

    def _look_at_age(self, watch: JobWatch, age: float) -> None:
        """Look at a job about then; looks that fall together cost less than each by itself."""
        self._agenda.put(round((watch.since + age) / self._tick) * self._tick, watch)

    def _observe(self, watch: JobWatch, ended: Iterable[SubJob], age: float) -> None:
        """Teach the schedule how long restarts take."""
        for sub in ended:
            if sub.seconds is None:
                self._schedule.observe(watch.age, age)
            else:
                # The cloud's own time knows nothing of how long the job lay before it began.
                at = min(max(sub.seconds, watch.age), age)
                self._schedule.observe(at, at)

    def _end_job(self, watch: JobWatch, job: Job, found: Findings) -> None:
        """Close a job; servers that it told nothing of are watched by their own state."""
        batch = watch.batch
        self._jobs.pop(watch, None)
        finished = ev.JobFinished(
            batch=batch.number, job_id=job.id, status=job.status, code=job.code, message=job.message
        )
        found.events.append(finished)
        self._tell(batch.line, found)
        self._watch_servers(batch, sorted(watch.pending), Why.NO_JOB, job)

    async def _look_at_servers(self, watches: Sequence[ServerWatch], *, once: bool = False) -> None:
        """Look once at up to 100 bare servers; ``once`` is an extra look, which plans no other."""
        try:
            look = await self._cloud.look([watch.server for watch in watches])
        except CloudError as e:
            seen_again = {line: self._unseen(line, e) for line in dict.fromkeys(watch.line for watch in watches)}
            for watch in watches if not once else ():
                if seen_again[watch.line]:
                    self._again_later(watch, self._pause(watch))
            return
        self._sight.seen(look.cloud_time)
        for line, found in (await self._judged(watches, look)).items():
            if once:
                await self._told(line, [found], line.record(found.all_events()))
                continue
            for watch, wait in found.later:
                self._again_later(watch, wait)
            self._tell(line, found)

    async def _judged(self, watches: Iterable[ServerWatch], look: Look) -> dict[Line, Findings]:
        """Say what a look at bare servers means for each of their lines."""
        findings: dict[Line, Findings] = {}
        for watch in watches:
            if watch.why is Why.HELD and watch not in self._held:
                continue
            view = look.servers.get(watch.server)
            if view is not None:
                watch.looks += 1
                watch.failures = 0
            await self._verdicts.server(watch, view, findings.setdefault(watch.line, Findings()))
        for found in findings.values():
            for watch in found.released:
                self._held.pop(watch, None)
        return findings

    # -- telling ---------------------------------------------------------------------------------------------------

    def _tell(self, line: Line, found: Findings) -> None:
        """Have it recorded. What is found while the store writes goes together into the next commit."""
        if found.events or found.unstarted:
            self._found.setdefault(line, []).append(found)
            self._news.set()
        if found.held:
            # A failure does not wait for others: once there are too many, nothing new may start.
            self._hand_over()

    def _hand_over(self) -> None:
        """Give the store all that was found."""
        for line, found in self._found.items():
            events = [event for each in found for event in each.all_events()]
            self._written.append((line, found, line.record(events)))
        self._found.clear()

    async def _tell_all(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            self._hand_over()
            written, self._written = self._written, []
            for line, found, done in written:
                await self._told(line, found, done)

    async def _told(self, line: Line, found: Sequence[Findings], written: asyncio.Future[Commit]) -> None:
        """Act on what was found once it is recorded."""
        if not await line.told(written):
            return
        for each in found:
            for server in each.held:
                self.watch_held(line, server)
            for servers in each.unstarted.values():
                line.again(servers)

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
