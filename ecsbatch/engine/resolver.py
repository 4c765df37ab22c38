"""`OutcomeResolver`: what a look means for servers, as events. Nothing is asked of the cloud here.

Read `OutcomeResolver.job` and `OutcomeResolver.server` first; what a server's state tells is judged in `reconcile`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any

from ecsbatch.engine.health import HealthChecker
from ecsbatch.engine.reconcile import Case, Verdict, is_garbled, is_up, judge, judge_unseen
from ecsbatch.engine.retry import skip_of
from ecsbatch.engine.server_queue import Batch, ServerQueue, restarted
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Evidence, SkipReason
from ecsbatch.model.servers import Job, ServerView, SubJob

LOOKS_WHEN_OVER = 3
"""Looks at an ended job that say nothing of some servers, before these are looked at: one look may be garbled."""

LOOKS_WHEN_HIDDEN = 8
"""Looks in a row at a job that cannot be shown while all else can, before its servers are looked at."""


class WatchReason(StrEnum):
    """Why a server itself is looked at.

    Attributes:
        NO_ANSWER: a request that named it has no answer, or was begun whatever was answered.
        NO_JOB: its job did not tell how it ended.
        HELD: it has its outcome and may still be down.
    """

    NO_ANSWER = "no_answer"
    NO_JOB = "no_job"
    HELD = "held"


@dataclass(eq=False, slots=True)
class JobWatch:
    """An accepted batch whose job has not told how all servers ended.

    Attributes:
        batch: which.
        since: loop time of the acceptance.
        pending: servers whose end it has not told.
        size: how many there were.
        age: seconds from the acceptance to the last successful look, as it was asked.
        over: looks after the job's end, or after the deadline, that said nothing of some servers.
        overdue: servers that it showed under way after their deadline: they are looked at, and then it once more.
        hidden: looks in a row that could not show it although the site could be seen.
        failures: looks in a row without a result; the pause grows with them.
        key_refused_since: observed time since which its looks were refused for the key; None while they are answered.
    """

    batch: Batch
    since: float
    pending: set[str]
    size: int
    age: float = 0.0
    over: int = 0
    overdue: frozenset[str] = frozenset()
    hidden: int = 0
    failures: int = 0
    key_refused_since: float | None = None

    def in_vain(self, *, late: bool) -> bool:
        """Tell whether it was hidden so often that its servers are looked at instead; ``late``: past their deadline."""
        return self.hidden >= (LOOKS_WHEN_OVER if late else LOOKS_WHEN_HIDDEN)


@dataclass(eq=False, slots=True)
class ServerWatch:
    """A server that is looked at itself.

    Attributes:
        queue: to which it is reported.
        batch: the request that named it; None for a held server.
        server: its id.
        why: no answer came, its job told nothing, or it may still be down.
        since: observed time from which ``unknown_grace`` counts; of a held server the number of its watch.
        looks: successful ones.
        left_out: looks in a row that left it out, garbled it, or could not show it although others could be seen.
        under_way: a sign of the restart was seen.
        failures: looks in a row without a result; the pause grows with them.
        seen_at: loop time at which the last look was asked that said something of a held server, and its check with it.
        released: it is up, and that is being written.
        key_refused_since: as `JobWatch` has it.
        code, message: the job's own failure, which the server shares unless its state says otherwise.
    """

    queue: ServerQueue
    batch: Batch | None
    server: str
    why: WatchReason
    since: float
    looks: int = 0
    left_out: int = 0
    under_way: bool = False
    failures: int = 0
    seen_at: float = float("-inf")
    released: bool = False
    key_refused_since: float | None = None
    code: str = ""
    message: str = ""

    def read(self, view: ServerView | None) -> ServerView | None:
        """Count a look at it, and return what it tells; a garbled row tells nothing."""
        baseline = self.batch.views.get(self.server) if self.batch is not None else None
        if view is None or (baseline is not None and not self.under_way and is_garbled(view, baseline.updated)):
            self.left_out += 1
            return None
        self.looks, self.left_out, self.failures = self.looks + 1, 0, 0
        return view


def queue_of(watch: JobWatch | ServerWatch) -> ServerQueue:
    """Return the queue of what is watched."""
    return watch.queue if isinstance(watch, ServerWatch) else watch.batch.queue


@dataclass(slots=True)
class LookResult:
    """What one look means for the servers of one queue.

    Attributes:
        events: to be written.
        unstarted: servers whose request did not begin and that are sent again, by the number of their batch.
        later: servers to look at again, with the seconds to wait.
        released: held servers that need no look any more once this is written.
    """

    events: list[ev.Event] = field(default_factory=list[ev.Event])
    unstarted: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    later: list[tuple[ServerWatch, float]] = field(default_factory=list[tuple[ServerWatch, float]])
    released: list[ServerWatch] = field(default_factory=list[ServerWatch])

    def all_events(self) -> list[ev.Event]:
        """Return everything that is to be written, in order."""
        unstarted = [ev.BatchUnstarted(batch=batch, servers=servers) for batch, servers in self.unstarted.items()]
        return [*self.events, *unstarted]


class OutcomeResolver:
    """Decides what looks at one site mean."""

    def __init__(self, health: HealthChecker, grace: float, unit: float) -> None:
        """Both are seconds: ``grace`` is ``unknown_grace``, and ``unit`` what pauses between looks are multiples of."""
        self._health = health
        self._grace = grace
        self._unit = unit

    # -- jobs ------------------------------------------------------------------------------------------------------

    def job(self, watch: JobWatch, ended: Iterable[SubJob]) -> LookResult:
        """Return what the ended sub-jobs of a job mean: each is one server's end."""
        found = LookResult()
        batch = watch.batch
        up: list[str] = []
        for sub in ended:
            watch.pending.discard(sub.server_id)
            if sub.succeeded:
                up.append(sub.server_id)
            elif (skip := skip_of(sub.code)) is not None:
                self._skipped(batch, sub.server_id, skip, Evidence.JOB, found, sub.code)
            else:
                self._failed(batch, sub.server_id, found, Evidence.JOB, code=sub.code, message=sub.message)
        self._up(batch, up, Evidence.JOB, found)
        return found

    def overdue(self, watch: JobWatch, job: Job, states: Mapping[str, ServerView], found: LookResult) -> None:
        """Add to ``found`` the ends of servers that a job shows under way after their deadline, by their ``states``.

        The states were seen just before the job: had a restart ended in between, the job would say how.
        """
        batch = watch.batch
        for server in sorted(server for server in watch.pending & states.keys() if server in job.running):
            watch.pending.discard(server)
            baseline = batch.views.get(server)
            case = Case(
                baseline.updated if baseline else "",
                batch.cloud_time,
                under_way=server in batch.begun,
                late=True,
                running=True,
            )
            self._end_by(judge(states[server], case), batch, server, found)

    # -- servers themselves ----------------------------------------------------------------------------------------

    def server(self, watch: ServerWatch, view: ServerView | None, observed_at: float, found: LookResult) -> None:
        """Add to ``found`` what one look means for a server.

        Args:
            watch: the server.
            view: what was seen; None: the look left it out, garbled it or cannot show it, which tells nothing of it.
            observed_at: observed time at which the look was asked.
            found: takes what it means.
        """
        batch = watch.batch
        if batch is None or watch.server not in batch.open:
            return
        case = self._case(watch, batch, view, observed_at)
        verdict = judge_unseen(case) if view is None else judge(view, case)
        match verdict:
            case Verdict.NOT_STARTED:
                self._not_started(watch, batch, view, found)
            case Verdict.NO_TRACE:
                self._no_trace(watch, batch, view, found)
            case Verdict.UNDER_WAY | Verdict.NO_SIGN_YET:
                watch.under_way = watch.under_way or verdict is Verdict.UNDER_WAY
                found.later.append((watch, self._unit * min(2.0 + watch.looks + watch.left_out, 10.0)))
            case _:
                self._end_by(verdict, batch, watch.server, found, code=watch.code, message=watch.message)

    def _end_by(self, verdict: Verdict, batch: Batch, server: str, found: LookResult, **facts: str) -> None:
        """Add the end of a server by its own state; ``facts`` are what its job says of a failure."""
        match verdict:
            case Verdict.RESTARTED:
                self._up(batch, [server], Evidence.STATE, found)
            case Verdict.NOT_FOUND:
                self._skipped(batch, server, SkipReason.NOT_FOUND, Evidence.STATE, found)
            case Verdict.FAILED:
                self._failed(batch, server, found, Evidence.STATE, reason="error_state", **facts)
            case _:
                self._end(ev.ServerTimedOut, batch, server, found, holds=True)

    def _case(self, watch: ServerWatch, batch: Batch, view: ServerView | None, observed_at: float) -> Case:
        baseline = batch.views.get(watch.server)
        return Case(
            baseline=baseline.updated if baseline else "",
            cloud_time=batch.cloud_time,
            under_way=watch.under_way,
            given_up_for=observed_at - watch.since,
            looks=watch.left_out if view is None else watch.looks,
            grace=self._grace,
            late=observed_at > batch.deadline,
        )

    def _not_started(self, watch: ServerWatch, batch: Batch, view: ServerView | None, found: LookResult) -> None:
        """Send a server again, where that is wanted, whose request has left no trace: that is certain to be safe."""
        queue, server = watch.queue, watch.server
        if watch.why is not WatchReason.NO_ANSWER or not queue.options.resend:
            self._no_trace(watch, batch, view, found)
        elif queue.owner.unstarted(server) < queue.options.resend:
            batch.open.discard(server)
            found.unstarted.setdefault(batch.number, []).append(server)
        else:
            # Sent as often as allowed, and shown each time not to have begun: that it was not restarted is certain.
            facts = {"reason": "not_begun", "evidence": Evidence.STATE.value}
            self._end(ev.ServerFailed, batch, server, found, holds=_may_be_down(view), **facts)

    def _no_trace(self, watch: ServerWatch, batch: Batch, view: ServerView | None, found: LookResult) -> None:
        """End a server of which nothing tells whether it was restarted, unless its job does."""
        if watch.code:
            self._failed(batch, watch.server, found, Evidence.JOB, code=watch.code, message=watch.message)
        else:
            # It may have been restarted and not be healthy since: only a check, where there is one, can tell.
            down = _may_be_down(view) or watch.queue.options.check is not None
            self._end(ev.ServerUnknown, batch, watch.server, found, reason="no_trace", holds=down)

    def given_up(self, batch: Batch, servers: Iterable[str], reason: str, message: str) -> LookResult:
        """Return the ends of servers of which nothing can be learned any more, for a reason that is not the cloud's."""
        found = LookResult()
        for server in servers:
            if server in batch.open:
                facts = {"reason": reason, "message": message}
                self._end(ev.ServerUnknown, batch, server, found, holds=True, **facts)
        return found

    # -- ends ------------------------------------------------------------------------------------------------------

    def _up(self, batch: Batch, servers: Sequence[str], evidence: Evidence, found: LookResult) -> None:
        """End servers that the cloud says are up; where their own health is asked for, that comes first."""
        options = batch.queue.options
        if options.check is not None or options.min_ready > 0:
            for server in servers:
                self._health.watch(batch, server, evidence)
        else:
            batch.open.difference_update(servers)
            found.events += restarted(batch, servers, evidence)

    def _skipped(
        self, batch: Batch, server: str, reason: SkipReason, evidence: Evidence, found: LookResult, code: str = ""
    ) -> None:
        batch.open.discard(server)
        found.events.append(batch.queue.left_alone(server, reason.value, batch, evidence=evidence.value, code=code))

    def _failed(self, batch: Batch, server: str, found: LookResult, evidence: Evidence, **facts: str) -> None:
        self._end(ev.ServerFailed, batch, server, found, evidence=evidence.value, holds=True, **facts)

    @staticmethod
    def _end(kind: type[ev.ServerEvent], batch: Batch, server: str, found: LookResult, **facts: Any) -> None:
        """End a server; with ``holds`` it keeps its slot in the budget until a look shows it up."""
        batch.open.discard(server)
        found.events.append(batch.queue.server_event(kind, server, batch, **facts))


def _may_be_down(view: ServerView | None) -> bool:
    return view is None or not is_up(view)
