"""`Verdicts`: what a look means for servers, as events. Nothing is asked of the cloud here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ecsbatch import events as ev
from ecsbatch.health import Health, complaint
from ecsbatch.line import Batch, restarted
from ecsbatch.models import Evidence, Job, ServerView, SkipReason, SubJob
from ecsbatch.reconcile import Case, Verdict, is_up, judge
from ecsbatch.retry import skip_of
from ecsbatch.sight import Sight
from ecsbatch.watches import JobWatch, ServerWatch, Why


@dataclass(slots=True)
class Findings:
    """What one look means for one line.

    Attributes:
        events: to be recorded.
        unstarted: servers whose request did not begin and that are sent again, by batch.
        held: servers that may be down although they have their outcome.
        released: watches of held servers that are done.
        later: watches to come back to, with the seconds to wait.
    """

    events: list[ev.Event] = field(default_factory=list[ev.Event])
    unstarted: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    held: list[str] = field(default_factory=list[str])
    released: list[ServerWatch] = field(default_factory=list[ServerWatch])
    later: list[tuple[ServerWatch, float]] = field(default_factory=list[tuple[ServerWatch, float]])

    def all_events(self) -> list[ev.Event]:
        """Return everything that is to be recorded."""
        begun = [ev.BatchUnstarted(batch=batch, servers=servers) for batch, servers in self.unstarted.items()]
        return [*self.events, *begun]


class Verdicts:
    """Says what looks at one site mean."""

    def __init__(self, sight: Sight, health: Health, grace: float, unit: float) -> None:
        """``grace`` is ``unknown_grace``; ``unit`` the seconds that pauses between looks at servers are made of."""
        self._sight = sight
        self._health = health
        self._grace = grace
        self._unit = unit

    # -- jobs ------------------------------------------------------------------------------------------------------

    def job(self, watch: JobWatch, ended: Iterable[SubJob]) -> Findings:
        """Say what the ended sub-jobs of a job mean."""
        found = Findings()
        batch = watch.batch
        for sub in ended:
            watch.pending.discard(sub.server_id)
            if sub.succeeded:
                self._up(batch, sub.server_id, Evidence.JOB, found)
            elif (skip := skip_of(sub.code)) is not None:
                self._skipped(batch, sub.server_id, skip, Evidence.JOB, found, sub.code)
            else:
                self._failed(batch, sub.server_id, found, Evidence.JOB, code=sub.code, message=sub.message)
        return found

    def overdue(self, watch: JobWatch, job: Job, found: Findings) -> None:
        """End the servers that a job still shows under way after their deadline, not those that it leaves out."""
        late = sorted(server for server in watch.pending if server in job.running)
        for server in late:
            self._timed_out(watch.batch, server, found)
        watch.pending.difference_update(late)

    # -- bare servers ----------------------------------------------------------------------------------------------

    async def server(self, watch: ServerWatch, view: ServerView | None, found: Findings) -> None:
        """Say what one look means for a bare server; None: the look left it out, which tells nothing of it."""
        batch = watch.batch
        if batch is None:
            await self._held(watch, view, found)
        elif watch.server in batch.open:
            if view is None:
                self._follow(watch, batch, found)
            else:
                self._judge(watch, batch, view, found)

    def _judge(self, watch: ServerWatch, batch: Batch, view: ServerView, found: Findings) -> None:
        verdict = judge(view, self._case(watch, batch))
        match verdict:
            case Verdict.RESTARTED:
                self._up(batch, watch.server, Evidence.STATE, found)
            case Verdict.NOT_FOUND:
                self._skipped(batch, watch.server, SkipReason.NOT_FOUND, Evidence.STATE, found)
            case Verdict.FAILED:
                facts = {"code": watch.code, "message": watch.message}
                self._failed(batch, watch.server, found, Evidence.STATE, reason="error_state", **facts)
            case Verdict.NOT_STARTED:
                self._not_started(watch, batch, view, found)
            case Verdict.UNDER_WAY | Verdict.NO_SIGN_YET:
                watch.under_way = watch.under_way or verdict is Verdict.UNDER_WAY
                self._follow(watch, batch, found)

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

    def _follow(self, watch: ServerWatch, batch: Batch, found: Findings) -> None:
        """Go on watching, up to the deadline; without any sign of a restart ``unknown_grace`` is the later end."""
        late = self._sight.clock() > batch.deadline
        if late and watch.under_way:
            self._timed_out(batch, watch.server, found)
        elif late and self._sight.clock() - watch.since > self._grace:
            self._end(ev.ServerUnknown, batch, watch.server, found, reason="no_trace", holds=True)
        else:
            found.later.append((watch, self._unit * min(2.0 + watch.looks, 10.0)))

    def _not_started(self, watch: ServerWatch, batch: Batch, view: ServerView, found: Findings) -> None:
        """A request left no trace: send these servers again where that is wanted, for it is certain to be safe."""
        line, server, down = watch.line, watch.server, not is_up(view)
        if watch.why is Why.NO_ANSWER and line.resends.get(server, 0) < line.terms.resend:
            batch.open.discard(server)
            line.resends[server] = line.resends.get(server, 0) + 1
            found.unstarted.setdefault(batch.number, []).append(server)
        elif watch.why is Why.NO_ANSWER and line.terms.resend:
            # Sent again as often as allowed and shown each time not to have begun: that is known, and no restart.
            facts = {"reason": "not_begun", "evidence": Evidence.STATE.value}
            self._end(ev.ServerFailed, batch, server, found, holds=down, **facts)
        elif watch.code:
            self._failed(batch, server, found, Evidence.JOB, code=watch.code, message=watch.message)
        else:
            self._end(ev.ServerUnknown, batch, server, found, reason="no_trace", holds=down)

    async def _held(self, watch: ServerWatch, view: ServerView | None, found: Findings) -> None:
        """Release a server's place in the budget once it is up, and healthy where a check is set."""
        check = watch.line.terms.check
        up = view is not None and is_up(view)
        if up and check is not None:
            up = not await complaint(check, watch.line.server(watch.server, view))
        if up or (view is not None and not view.found):
            found.released.append(watch)
            found.events.append(ev.ServerReleased(server=watch.server, why="up" if up else "not_found"))
        else:
            found.later.append((watch, self._unit * min(5.0 * 2.0 ** min(watch.looks, 6), 60.0)))

    # -- ends ------------------------------------------------------------------------------------------------------

    def _up(self, batch: Batch, server: str, evidence: Evidence, found: Findings) -> None:
        """The cloud says that it is up: its outcome, or first its own word for it."""
        terms = batch.line.terms
        if terms.check is not None or terms.min_ready > 0:
            self._health.watch(batch, server, evidence)
        else:
            batch.open.discard(server)
            found.events.append(restarted(batch, server, evidence))

    def _skipped(
        self, batch: Batch, server: str, reason: SkipReason, evidence: Evidence, found: Findings, code: str = ""
    ) -> None:
        facts = {"reason": reason.value, "evidence": evidence.value, "code": code}
        self._end(ev.ServerSkipped, batch, server, found, **facts)

    def _failed(self, batch: Batch, server: str, found: Findings, evidence: Evidence, **facts: str) -> None:
        self._end(ev.ServerFailed, batch, server, found, evidence=evidence.value, holds=True, **facts)

    def _timed_out(self, batch: Batch, server: str, found: Findings) -> None:
        self._end(ev.ServerTimedOut, batch, server, found, holds=True)

    @staticmethod
    def _end(kind: type[ev.ServerEvent], batch: Batch, server: str, found: Findings, **facts: Any) -> None:
        """End a server; one that may be down keeps its place in the budget until a look shows it up."""
        batch.open.discard(server)
        found.events.append(batch.line.fact(kind, server, batch, **facts))
        if facts.get("holds"):
            found.held.append(server)
