"""Judges what a run has sent: who was named, when and under which quota, and what became of each request.

Steering reaches an engine while intents are on their way to the disk: intents of the next second are not held against
it. When the run itself says that it ends, that is final: after `run.aborting`, `run.stopped` and `run.finished` no
intent is excused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from ecsbatch.audit.account import Account
from ecsbatch.audit.bookkeeping import ServerRecord
from ecsbatch.audit.quota_windows import HolderSettings, SentRequest, SentRequests, fullest_windows
from ecsbatch.audit.receipt import FullestWindow, Peak, Rule
from ecsbatch.model import events as ev
from ecsbatch.model.quota import Quota
from ecsbatch.model.recorded import Recorded

ON_ITS_WAY: Final = 1.0
"""Seconds for which an intent may follow an event that forbids it: steering must take effect within a second."""

RESENDS: Final = 2
"""How often a server may be sent again after requests that did not begin, where the run may do so at all."""

_MS: Final = 0.001


class RequestJudge:
    """Judges the requests of one run; `follow` is told every event about them, `holder_changed` who sends them.

    Args:
        account: what the record has told so far.
        terms: the settings of holders where the record does not say them.
        quota: the cloud's quota; None to go by what the record says, else by ``terms``.

    Attributes:
        sent: the requests.
        resends: how often a server may be sent again after requests that did not begin.
        submitted: how many servers requests have named, repetitions included.
        repeated: how many of these were sent again after a request that did nothing.
        retried: how many of these were sent again because a person asked for it.
        down, down_by_domain: the most servers down at once.
    """

    def __init__(self, account: Account, terms: HolderSettings | None, quota: Quota | None) -> None:
        given = terms or HolderSettings()
        self._account, self._found, self._fleet = account, account.found, account.fleet
        self._timeline, self._servers, self._freezes = account.timeline, account.servers, account.freezes
        self._failures, self._left_out = account.failures, account.left_out
        self._quota = quota
        self._quota_known = quota is not None or terms is not None
        self._grace_known = terms is not None
        self._beside: list[SentRequest] = []
        self.sent = SentRequests(replace(given, quota=quota) if quota else given)
        self.resends = RESENDS
        self.submitted = self.repeated = self.retried = 0
        self.down = Peak()
        self.down_by_domain: dict[str, Peak] = {}

    def follow(self, recorded: Recorded) -> None:
        """Judge the next event, where it is about a request."""
        step = self._steps.get(type(recorded.event))
        if step is not None:
            step(self, recorded.event, recorded)

    def holder_changed(self, event: ev.HolderChanged) -> None:
        """Take the settings of a new holder, as far as the record says them."""
        terms = self.sent.terms
        told = event.limit > 0 and event.window > 0
        self._quota_known |= told
        self._grace_known |= event.unknown_grace > 0
        self.sent.holder(event, self._timeline.now)
        self.sent.terms = HolderSettings(
            Quota(event.limit, event.window) if told and self._quota is None else terms.quota,
            event.unknown_grace or terms.unknown_grace,
            event.request_timeout or terms.request_timeout,
        )

    # -- the quota -------------------------------------------------------------------------------------------------

    def count_beside(self, run_id: str, requests: Iterable[SentRequest], *, by_stamps: bool) -> None:
        """Count another run's requests into the windows: by the ledger's clock, else by stamps, where these compare."""
        for request in requests:
            placed = self.sent.placed(request) if request.boot else request if by_stamps else None
            if placed is not None:
                self._beside.append(placed)
            else:
                why = "another boot's clock dates it" if request.boot else "the clock was set back"
                self._account.note(f"Run {run_id} was not counted in: {why}.")

    def windows(self) -> tuple[FullestWindow, ...]:
        """Return the fullest window of each quota, and find those that are over it."""
        own = list(self.sent.by_batch.values())
        windows = tuple(fullest_windows([*own, *self._beside])) if self._quota_known else ()
        for window in windows:
            if window.servers > window.quota.limit:
                text = f"Up to {window.servers} servers in one window, the quota is {window.quota}."
                self._found(Rule.QUOTA, text, seq=0)
        if own and not self._quota_known:
            self._account.note("The record does not say the quota, which is not judged.")
        return windows

    # -- intents ---------------------------------------------------------------------------------------------------

    def _submitting(self, event: ev.BatchSubmitting, recorded: Recorded) -> None:
        now = self._timeline.now
        self._judge_running(now)
        if event.batch in self.sent.by_batch:
            self._found(Rule.RECORD, f"Batch {event.batch} was sent twice under one number.")
        self.sent.submitting(event, now, recorded.ts)
        self.submitted += len(event.servers)
        domains: set[str] = set()
        for server in event.servers:
            record = self._account.record_of(server)
            if record is not None:
                self._judge_server(record, event)
                record.flight, record.sent = event.batch, record.sent + 1
                self._servers.count(record)
                domains.add(record.domain)
        self._judge_down(domains, recorded)

    def _judge_running(self, now: float) -> None:
        """Find that servers were sent in a run that is aborted, paused or over, or has too many failures."""
        account = self._account
        excused = account.status == "paused" and account.ended_at is not None and now <= account.ended_at + ON_ITS_WAY
        if self._freezes.going_on:
            self._found(Rule.HELD_BACK, "Servers were sent although the store was frozen.")
        if account.aborting:
            self._found(Rule.HELD_BACK, "Servers were sent although the run was being aborted.")
        elif account.status != "running" and not excused:
            self._found(Rule.HELD_BACK, f"Servers were sent while the run was {account.status}.")
        if self._failures.exceeded and now > self._failures.since + ON_ITS_WAY:
            self._found(Rule.FAILURES, f"Servers were sent although there were {self._failures.exceeded}.")

    def _judge_server(self, record: ServerRecord, event: ev.BatchSubmitting) -> None:
        server = record.server
        if record.flight:
            self._found(
                Rule.TWICE, f"Server {server} was sent again while batch {record.flight} had it.", server=server
            )
        elif record.kind and self._fleet is not None:
            self._found(Rule.TWICE, f"Server {server} was sent although it was {record.kind} already.", server=server)
        elif record.retried:
            self.retried += 1
        elif record.sent and self._fleet is not None:
            self.repeated += 1
        record.retried = False
        if record.domain in self._left_out and not record.taken_up:
            self._found(
                Rule.LEFT_OUT, f"Server {server} of {record.domain} was sent, which was left out.", server=server
            )
        if self._fleet is not None and record.unstarted > self.resends:
            text = f"Server {server} was sent again although {record.unstarted} requests had not begun for it"
            self._found(Rule.TWICE, f"{text}, {self.resends} are allowed.", server=server)
        if self._fleet is not None and not record.wave:
            self._found(Rule.TARGETS, f"Server {server} was sent although the plan leaves it out.", server=server)
        elif self._fleet is not None and self._account.waves.too_early(record, event.wave):
            self._found(Rule.WAVES, f"Server {server} was sent before the turn of wave {record.wave}.", server=server)

    def _judge_down(self, domains: Iterable[str], recorded: Recorded) -> None:
        now = self._timeline.now
        down, allowed = self._servers.down, self._account.limits.number("max_unavailable", now, ON_ITS_WAY)
        if allowed is not None and down > allowed:
            self._found(Rule.BUDGET, f"{down} servers were down at once, {allowed} are allowed.")
        if down > self.down.servers:
            self.down = Peak(down, allowed, recorded.ts)
        for domain in domains:
            down = self._servers.down_in[domain]
            allowed = self._account.limits.of("max_unavailable_per_domain", domain, now, ON_ITS_WAY)
            if allowed is not None and down > allowed:
                self._found(Rule.BUDGET, f"{down} servers of {domain} were down at once, {allowed} are allowed.")
            if down > self.down_by_domain.get(domain, Peak()).servers:
                self.down_by_domain[domain] = Peak(down, allowed, recorded.ts)

    # -- what became of them ---------------------------------------------------------------------------------------

    def _answered(self, event: ev.BatchAccepted | ev.BatchRejected | ev.BatchUnknown, _: Recorded) -> None:
        request = self.sent.answer(event, self._timeline.now)
        if request is None:
            self._found(Rule.RECORD, f"Batch {event.batch} got an answer that no request was waiting for.")
            return
        if request.late:
            self._found(
                Rule.QUOTA, f"Batch {event.batch} left {request.late:.1f} s later than its tokens were good for."
            )
        if event.sent and (late := self._freezes.since_begin(request.sent)) > ON_ITS_WAY:
            self._found(Rule.HELD_BACK, f"Batch {event.batch} left {late:.1f} s after the store was frozen.")
        if isinstance(event, ev.BatchRejected):
            self._return(request.servers, event.batch)
            request.servers = ()
        elif isinstance(event, ev.BatchAccepted):
            request.servers = ()

    def _return(self, servers: Iterable[str], batch: int) -> None:
        """Let servers wait again to which a request did nothing."""
        for server in servers:
            record = self._account.record_of(server)
            if record is not None and record.flight == batch:
                record.flight = 0
                self._servers.count(record)
                if record.domain in self._left_out and not record.taken_up:
                    self._account.leave_out(record)

    def _unstarted(self, event: ev.BatchUnstarted, _: Recorded) -> None:
        request = self.sent.by_batch.get(event.batch)
        if request is None or request.answer != ev.BatchUnknown.name:
            self._found(Rule.TWICE, f"Batch {event.batch} was taken for not started, but its answer was not unknown.")
        elif (
            self._grace_known
            # Stamps of a clock that was set back prove no pause too short.
            and not self._timeline.set_backs
            and (waited := self._timeline.now - request.answered) < request.settings.unknown_grace - _MS
        ):
            self._found(Rule.RESENT_EARLY, f"Batch {event.batch} was taken for not started after {waited:.1f} s.")
        for server in event.servers:
            if (record := self._servers.get(server)) is not None:
                record.unstarted += 1
        self._return(event.servers, event.batch)

    def _started(self, event: ev.BatchStarted, _: Recorded) -> None:
        """Count servers as under way that a request did restart although it was taken for not carried out."""
        if event.batch not in self.sent.by_batch:
            self._found(Rule.RECORD, f"Batch {event.batch} did start servers, and was never sent.")
        for server in event.servers:
            record = self._account.record_of(server)
            if record is not None and record.flight:
                text = f"Batch {event.batch} did start server {server}, which batch {record.flight} has too."
                self._found(Rule.TWICE, text, server=server)
            elif record is not None and (not record.kind or record.left_out):
                record.kept, record.kind = record.kind or record.kept, ""
                self._failures.discard(record)
                record.flight = event.batch
                self._servers.count(record)

    _steps: ClassVar[Mapping[type[ev.Event], Callable[[Any, Any, Recorded], None]]] = {
        ev.BatchSubmitting: _submitting,
        ev.BatchAccepted: _answered,
        ev.BatchRejected: _answered,
        ev.BatchUnknown: _answered,
        ev.BatchUnstarted: _unstarted,
        ev.BatchStarted: _started,
    }
