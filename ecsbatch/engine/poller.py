"""`Poller`: looks at every job of a site, and at servers themselves where no job tells. Read `_look_at_job` first.

One delay queue of what is to be looked at, with one timer, and a few look workers. A look at a job shows all its
servers; a look at servers themselves shows up to 100. What a look means is decided in `resolver`, when to look in
`poll_schedule`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from ecsbatch.engine.delay_queue import DelayQueue
from ecsbatch.engine.health import HealthChecker
from ecsbatch.engine.held import HeldServers
from ecsbatch.engine.observer import JobHidden, Observer
from ecsbatch.engine.poll_schedule import PollSchedule
from ecsbatch.engine.resolver import (
    LOOKS_WHEN_OVER,
    JobWatch,
    LookResult,
    OutcomeResolver,
    ServerWatch,
    WatchReason,
    queue_of,
)
from ecsbatch.engine.server_queue import Batch, ServerQueue
from ecsbatch.engine.visibility import LONGEST_PAUSE, QUIET, Visibility
from ecsbatch.engine.watched_jobs import WatchedJobs
from ecsbatch.engine.workers import work_together
from ecsbatch.errors import AuthError, CloudError, JobNotFound, Throttled
from ecsbatch.model import events as ev
from ecsbatch.model.run import Committed, Transaction
from ecsbatch.model.servers import MAX_LOOK, Job, ServerView, SubJob

LOOK_SHARE = 0.7
"""The share of the rate of API requests that looks may plan with; the rest is for submits and prechecks."""

JOB_VISIBLE_WITHIN = 60.0
"""Seconds after its submit in which a job id that the cloud does not know may still turn up."""

KEY_PAUSE = 60.0
"""Seconds between two tries with a key that is not accepted: more than five in five minutes would lock it."""

GRID = 5.0
"""Seconds at the most between the instants at which servers are looked at by themselves, so that they share looks."""

TICK = 1 / 200
"""The grid of the instants of looks at jobs, as a share of a typical restart; finer than their jitter."""

ALIKE = TICK / 8
"""Jobs that were accepted within this share of a typical restart are of the same age to the schedule."""


class Poller:
    """The look workers of one site, and what they look at."""

    def __init__(
        self,
        observer: Observer,
        schedule: PollSchedule,
        visibility: Visibility,
        health: HealthChecker,
        chance: Random,
        *,
        workers: int,
        unknown_grace: float,
        typical_restart: float,
    ) -> None:
        """Look with at most ``workers`` requests at once; ``unknown_grace`` and ``typical_restart`` are seconds."""
        self._observer = observer
        self._schedule = schedule
        self._visibility = visibility
        self._chance = chance
        self._now = asyncio.get_running_loop().time
        self._workers = workers
        self._grace = unknown_grace
        self._unit = typical_restart / 40
        self._tick = typical_restart * TICK
        self._resolver = OutcomeResolver(health, unknown_grace, self._unit)
        self._delayed: DelayQueue[JobWatch | ServerWatch] = DelayQueue()
        self._due: asyncio.Queue[JobWatch | list[ServerWatch]] = asyncio.Queue()
        self._next_look: list[ServerWatch] = []
        self._jobs = WatchedJobs(typical_restart * ALIKE)
        self._held = HeldServers(health, self._unit, self._again_later, self._record)
        self._recorded: asyncio.Queue[tuple[ServerQueue, LookResult, asyncio.Future[Committed]]] = asyncio.Queue()
        self._key_error: AuthError | None = None
        self._next_try = 0.0

    # -- what to watch ---------------------------------------------------------------------------------------------

    def watch_job(self, batch: Batch) -> None:
        """Follow an accepted batch to its servers' outcomes."""
        watch = JobWatch(batch, self._now(), set(batch.open), len(batch.open))
        self._jobs.add(watch)
        self._look_at_age(watch, self._schedule.next_look(0.0, watch.size, watch.size))

    def watch_unknown(self, batch: Batch, in_air: float = 0.0) -> None:
        """Find out by its servers what became of a request without an answer, or of one that was begun all the same.

        Args:
            batch: the request.
            in_air: for how many seconds more it may be on its way to the cloud; the grace counts from then on.
        """
        self._watch_servers(batch, [s for s in batch.views if s in batch.open], WatchReason.NO_ANSWER, in_air=in_air)

    def watch_held(self, queue: ServerQueue, server: str) -> None:
        """Look at a server that may be down although it has its outcome, from now until it is up."""
        self._held.watch(queue, server)

    def hurry_held(self, queues: Iterable[ServerQueue]) -> None:
        """Look now at every server of these queues that keeps its slot in the budget after its outcome."""
        self._held.hurry(queues)

    def held_seen(self, queues: Iterable[ServerQueue], since: float) -> bool:
        """Tell whether each of them was looked at since a loop time, and its check, if there is one, has answered."""
        return self._held.seen(queues, since)

    def _watch_servers(
        self, batch: Batch, servers: Iterable[str], why: WatchReason, job: Job | None = None, *, in_air: float = 0.0
    ) -> None:
        self._observer.meet(list(batch.views)[:MAX_LOOK])
        since = self._visibility.observed_time() + in_air
        code, message = (job.code, job.message) if job is not None and job.status == "FAIL" else ("", "")
        for server in servers:
            watch = ServerWatch(batch.queue, batch, server, why, since, code=code, message=message)
            watch.under_way = server in batch.begun
            self._again_later(watch, self._unit)

    def _again_later(self, watch: ServerWatch, wait: float) -> None:
        """Look again after about so many seconds; instants fall on a grid, so that servers share looks."""
        grid = min(self._unit, GRID)
        self._delayed.put(math.ceil((self._now() + wait) / grid) * grid, watch)

    # -- looking ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled."""
        workers = {f"look-{i}": self._work() for i in range(self._workers)}
        await work_together({"poll": self._hand_out(), "follow-up": self._follow_up(), **workers})

    async def _hand_out(self) -> None:
        """Hand what is due to the look workers, and have the schedule rescaled from time to time."""
        rescaled = self._now()
        while True:
            self._hand_over(await self._delayed.due())
            if self._now() - rescaled >= self._schedule.rescale_every:
                rescaled = self._now()
                self._schedule.budget(self._observer.rate * LOOK_SHARE)
                self._schedule.rescale(self._jobs.by_age(rescaled))

    def _hand_over(self, due: Iterable[JobWatch | ServerWatch]) -> None:
        for watch in due:
            if self._done_with(watch):
                self._forget(watch)
            elif self._waits_for_key(watch):
                continue
            elif isinstance(watch, JobWatch):
                self._due.put_nowait(watch)
            else:
                self._share(watch)

    def _share(self, watch: ServerWatch) -> None:
        """Have a server looked at with all others that wait for a worker."""
        if not self._next_look or len(self._next_look) == MAX_LOOK:
            self._next_look = []
            self._due.put_nowait(self._next_look)
        self._next_look.append(watch)

    def _done_with(self, watch: JobWatch | ServerWatch) -> bool:
        """Tell whether nobody waits any more for what it would show."""
        if queue_of(watch).dropped:
            return True
        return isinstance(watch, ServerWatch) and watch.why is WatchReason.HELD and self._held.over(watch)

    def _forget(self, watch: JobWatch | ServerWatch) -> None:
        if isinstance(watch, JobWatch):
            self._jobs.forget(watch)
        elif watch.why is WatchReason.HELD:
            self._held.forget(watch)

    async def _work(self) -> None:
        while True:
            # In a call: a variable here would keep the run of the last look for as long as nothing else is due.
            await self._look_at(await self._due.get())

    async def _look_at(self, due: JobWatch | list[ServerWatch]) -> None:
        if isinstance(due, JobWatch):
            await self._look_at_job(due)
            return
        if due is self._next_look:
            self._next_look = []
        await self._look_at_servers(due)

    # -- jobs ------------------------------------------------------------------------------------------------------

    async def _look_at_job(self, watch: JobWatch) -> None:
        """Look once at a job; record what it tells, and say when to look again."""
        batch = watch.batch
        asked, late = self._now(), self._visibility.observed_time() > batch.deadline
        try:
            states = await self._states(watch)
            job = await self._observer.show_job(batch.job_id, watch.pending, running=late)
        except JobNotFound as e:
            self._key_accepted(watch)
            if asked - watch.since < JOB_VISIBLE_WITHIN:
                self._delayed.put(self._now() + self._pause(watch), watch)
            else:
                self._end_job(watch, Job(batch.job_id, "GONE", code=e.code, message=e.message), LookResult())
        except JobHidden as e:
            self._key_accepted(watch)
            watch.hidden += 1
            if watch.in_vain(late=late):
                self._end_job(watch, Job(batch.job_id, "UNSEEN", code=e.code, message=e.message), LookResult())
            else:
                self._delayed.put(self._now() + self._pause(watch), watch)
        except CloudError as e:
            self._unseen([watch], e)
        else:
            self._key_accepted(watch)
            watch.failures, watch.hidden = 0, 0
            self._learn(watch, job, states, asked - watch.since, late=late)

    async def _states(self, watch: JobWatch) -> Mapping[str, ServerView]:
        """Look at the servers themselves that their job has shown under way after their deadline."""
        overdue = sorted(watch.overdue & watch.pending)
        states: dict[str, ServerView] = {}
        for start in range(0, len(overdue), MAX_LOOK):
            states.update((await self._observer.look(overdue[start : start + MAX_LOOK])).servers)
        return states

    def _learn(self, watch: JobWatch, job: Job, states: Mapping[str, ServerView], age: float, *, late: bool) -> None:
        """Record what a look at a job tells of its servers, asked ``age`` seconds after its acceptance.

        ``late`` tells whether their deadline had passed by then.
        """
        ended = [sub for sub in job.ended if sub.server_id in watch.pending]
        self._observe(watch, ended, self._now() - watch.since)
        found = self._resolver.job(watch, ended)
        if watch.pending and not job.over and late:
            self._schedule.observe(age, math.inf, len(watch.pending))
            self._resolver.overdue(watch, job, states, found)
            watch.overdue = job.running
        watch.over += job.over or late
        if not watch.pending or watch.over >= LOOKS_WHEN_OVER:
            self._end_job(watch, job, found)
            return
        watch.age = age
        self._jobs.seen(watch)
        if ended:
            left = len(watch.pending)
            progress = ev.JobProgress(batch=watch.batch.number, job_id=job.id, ended=watch.size - left, running=left)
            found.events.append(progress)
        self._record(watch.batch.queue, found)
        if job.over or late:
            self._delayed.put(self._now() + self._pause(watch), watch)
            return
        last = self._jobs.holds_up(watch)
        self._look_at_age(watch, self._schedule.next_look(age, len(watch.pending), watch.size, holds_up=last))

    def _look_at_age(self, watch: JobWatch, age: float) -> None:
        """Look at a job at about this age; looks that fall together cost less than each by itself."""
        self._delayed.put(round((watch.since + age) / self._tick) * self._tick, watch)

    def _observe(self, watch: JobWatch, ended: Iterable[SubJob], age: float) -> None:
        """Teach the schedule how long restarts take: between the look before, as asked, and the answer of this one."""
        for sub in ended:
            if sub.seconds is None:
                self._schedule.observe(watch.age, age)
            else:
                # The cloud's own time knows nothing of how long the job lay before it began.
                at = min(max(sub.seconds, watch.age), age)
                self._schedule.observe(at, at)

    def _end_job(self, watch: JobWatch, job: Job, found: LookResult) -> None:
        """Look at a job no more; servers of which it told nothing are looked at themselves."""
        batch = watch.batch
        self._jobs.forget(watch)
        finished = ev.JobFinished(
            batch=batch.number, job_id=job.id, status=job.status, code=job.code, message=job.message
        )
        found.events.append(finished)
        self._record(batch.queue, found)
        self._watch_servers(batch, sorted(watch.pending), WatchReason.NO_JOB, job)

    # -- servers themselves ----------------------------------------------------------------------------------------

    async def _look_at_servers(self, watches: Sequence[ServerWatch]) -> None:
        """Look once at up to 100 servers; record what that tells, and say when to look again."""
        try:
            look = await self._observer.look(list(dict.fromkeys(watch.server for watch in watches)))
        except CloudError as e:
            self._unseen(watches, e)
            return
        self._key_accepted(*watches)
        results: dict[ServerQueue, LookResult] = {}
        for watch in watches:
            view = watch.read(look.servers.get(watch.server))
            found = results.setdefault(watch.queue, LookResult())
            if watch.why is WatchReason.HELD:
                self._held.judge(watch, view, look.asked_at, found)
            else:
                self._resolver.server(watch, view, look.observed_at, found)
        for queue, found in results.items():
            for watch, wait in found.later:
                self._again_later(watch, self._pause(watch) if watch.left_out else wait)
            self._record(queue, found)

    # -- recording -------------------------------------------------------------------------------------------------

    def _record(self, queue: ServerQueue, found: LookResult) -> None:
        """Have a result recorded, but for a dropped queue, whose servers have been given up or taken over since.

        The store writes together what comes together.
        """
        if not queue.dropped and (events := found.all_events()):
            written = queue.journal.record(Transaction(events))
            written.add_done_callback(lambda _: self._on_written(queue, found, written))

    def _on_written(self, queue: ServerQueue, found: LookResult, written: asyncio.Future[Committed]) -> None:
        """Pass on what is to be acted on; most looks tell only of ends, and nobody need be woken for them."""
        if found.unstarted or found.released or written.cancelled() or written.exception() is not None:
            self._recorded.put_nowait((queue, found, written))

    async def _follow_up(self) -> None:
        """Act on results that were recorded, or could not be."""
        while True:
            await self._follow_up_on(*await self._recorded.get())

    async def _follow_up_on(self, queue: ServerQueue, found: LookResult, written: asyncio.Future[Committed]) -> None:
        if not await queue.written(written):
            return
        for servers in found.unstarted.values():
            queue.requeue(servers)
        for watch in found.released:
            self._held.forget(watch)

    # -- seeing nothing --------------------------------------------------------------------------------------------

    def _unseen(self, watches: Sequence[JobWatch | ServerWatch], error: CloudError) -> None:
        """Look again later after a look that showed nothing."""
        if isinstance(error, Throttled):
            self._schedule.throttled()
        if isinstance(error, AuthError):
            self._key_refused(watches, error)
            return
        for watch in watches:
            if isinstance(watch, JobWatch):
                self._delayed.put(self._now() + self._pause(watch), watch)
            else:
                self._again_later(watch, self._pause(watch))

    def _key_refused(self, watches: Sequence[JobWatch | ServerWatch], error: AuthError) -> None:
        """Stop the queues whose looks the cloud refuses for the key; what they wait for is tried once a minute."""
        self._key_error = error
        self._next_try = self._now() + KEY_PAUSE
        for queue in dict.fromkeys(map(queue_of, watches)):
            queue.stop("auth", str(error))
        for watch in watches:
            self._wait_for_key(watch, error)

    def _waits_for_key(self, watch: JobWatch | ServerWatch) -> bool:
        """Tell whether a look is put off because the key is not accepted; one in a minute tries the key."""
        error = self._key_error
        if error is None:
            return False
        refused_at = self._next_try - KEY_PAUSE
        if self._observer.answered_at > refused_at or self._now() > self._next_try + QUIET:
            self._key_error = None  # the key is good again, or nobody has tried it for long
            return False
        if self._now() >= self._next_try:
            self._next_try = self._now() + KEY_PAUSE
            return False
        self._wait_for_key(watch, error)
        return True

    def _key_accepted(self, *watches: JobWatch | ServerWatch) -> None:
        """Note that these looks were answered, whatever the answer was: the key is good."""
        self._key_error = None
        for watch in watches:
            watch.key_refused_since = None

    def _wait_for_key(self, watch: JobWatch | ServerWatch, error: AuthError) -> None:
        """Look again later; servers whose looks were refused for the key longer than their timeout end as unknown.

        An outage in between says nothing of the key: it does not count.
        """
        queue, batch, now = queue_of(watch), watch.batch, self._visibility.observed_time()
        watch.key_refused_since = now if watch.key_refused_since is None else watch.key_refused_since
        if batch is None or now - watch.key_refused_since < max(queue.options.server_timeout, self._grace):
            self._delayed.put(self._now() + KEY_PAUSE, watch)
            return
        servers = sorted(watch.pending) if isinstance(watch, JobWatch) else [watch.server]
        self._record(queue, self._resolver.given_up(batch, servers, "auth", str(error)))
        self._forget(watch)

    def _pause(self, watch: JobWatch | ServerWatch) -> float:
        watch.failures += 1
        pause = min(LONGEST_PAUSE, self._unit * min(30.0, 2.0 ** min(watch.failures, 8)))
        return pause * (0.5 + self._chance.random() / 2)
