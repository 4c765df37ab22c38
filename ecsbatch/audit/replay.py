"""Replays a run's record and judges every event by the promises. Pure, no I/O. Read `Replay.feed` first.

It shares no code with what it judges (state, policy, limiter, plan) beyond reading events: it keeps its own account of
who was down, who was sent when, and what was allowed, and compares that with the promises.

Steering reaches an engine while intents are on their way to the disk: intents of the next second are not held against
it. When the run itself says that it ends, that is final: after `run.aborting`, `run.stopped` and `run.finished` no
intent is excused.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import orjson

from ecsbatch.audit.bookkeeping import Failures, FreezeRecord, LimitRecord, ServerRecord, ServerRecords, Waves
from ecsbatch.audit.quota_windows import HolderSettings, SentRequest, SentRequests, Timeline, fullest_windows
from ecsbatch.audit.receipt import Finding, Peak, Receipt, Rule, collect
from ecsbatch.model import events as ev
from ecsbatch.model.json_text import stamp
from ecsbatch.model.quota import Quota
from ecsbatch.model.recorded import Recorded, decode
from ecsbatch.model.servers import Fleet

ON_ITS_WAY: Final = 1.0
"""Seconds for which an intent may follow an event that forbids it: steering must take effect within a second."""

RESENDS: Final = 2
"""How often a server may be sent again after requests that did not begin, where the run may do so at all."""

_KEPT: Final = 100
"""Findings of one rule that are kept."""

_MS: Final = 0.001
_KINDS: Final[Mapping[type[ev.ServerEvent], str]] = {
    ev.ServerRestarted: "restarted",
    ev.ServerFailed: "failed",
    ev.ServerTimedOut: "timed_out",
    ev.ServerUnknown: "unknown",
    ev.ServerSkipped: "skipped",
}
_FAILURES: Final = frozenset({"failed", "timed_out", "unknown"})

History = Iterable[Recorded | bytes | str]
"""A run's events from the first one on, decoded or as lines of JSON."""


def audit(
    history: History,
    fleet: Fleet | None = None,
    *,
    quota: Quota | None = None,
    terms: HolderSettings | None = None,
    beside: Iterable[History] = (),
    run_id: str = "",
) -> Receipt:
    """Return what a run's record proves.

    Args:
        history: all of its events, in order; lines of JSON are better, since they show events that we do not know.
        fleet: the run's frozen targets; None for direct restarts.
        quota: the cloud's quota; None to go by what the record says, else by ``terms``.
        terms: the settings of holders where the record does not say them.
        beside: the histories of other runs that share the quota.
        run_id: the run; "" to go by the first event.
    """
    replay = Replay(fleet, terms, quota, run_id)
    for entry in history:
        replay.read(entry)
    for other in beside:
        replay.count_beside(other)
    return replay.receipt()


class Replay:
    """Replays one run: `read` or `feed` it every event, then take its `receipt`."""

    def __init__(
        self,
        fleet: Fleet | None = None,
        terms: HolderSettings | None = None,
        quota: Quota | None = None,
        run_id: str = "",
    ) -> None:
        """Begin before the first event; the arguments are those of `audit`."""
        given = terms or HolderSettings()
        self._quota = quota
        self._requests = SentRequests(replace(given, quota=quota) if quota else given)
        self._beside: list[SentRequest] = []
        self._timeline = Timeline()
        self._fleet = fleet
        self._servers = ServerRecords(fleet)
        self._limits, self._waves = LimitRecord({}), Waves({})
        self._failures = Failures()
        self._resends = RESENDS
        self._left_out: set[str] = set()
        self._aborting = False
        self._freezes = FreezeRecord()
        self._findings: list[Finding] = []
        self._breaches: Counter[Rule] = Counter()
        self._notes: dict[str, None] = {}
        self._run_id = run_id
        self._status, self._reason = "running", ""
        self._quota_known = quota is not None or terms is not None
        self._grace_known = terms is not None
        self._events = self._seq = self._holders = self._fence = 0
        self._ended_at: float | None = None
        self._down = Peak()
        self._down_by_domain: dict[str, Peak] = {}
        self._submitted = self._repeated = self._retried = 0

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self, entry: Recorded | bytes | str) -> None:
        """Replay the next event, be it decoded or a line of JSON."""
        if isinstance(entry, Recorded):
            self.feed(entry)
            return
        try:
            recorded = decode(entry)
            if recorded is None:
                raw = orjson.loads(entry)
                recorded = Recorded(raw["seq"], self._timeline.now, raw["run_id"], ev.Event())
                self._note(f"Events named {raw['event']!r} are not known to this version.")
        except (ValueError, KeyError, TypeError) as e:
            self._found(Rule.RECORD, f"A line behind event {self._seq} cannot be read: {e}")
            return
        self.feed(recorded)

    def feed(self, recorded: Recorded) -> None:
        """Replay the next event."""
        self._events += 1
        if recorded.seq != self._seq + 1:
            self._found(Rule.RECORD, f"Event {recorded.seq} follows event {self._seq}.", recorded.seq)
        self._seq = recorded.seq
        self._run_id = self._run_id or recorded.run_id
        if recorded.run_id != self._run_id:
            self._found(Rule.RECORD, f"The event is of run {recorded.run_id}.", recorded.seq)
        if self._events == 1 and self._fleet is not None and not isinstance(recorded.event, ev.RunStarted):
            self._found(Rule.RECORD, "The record does not begin with the run's start.", recorded.seq)
        step = self._steps.get(type(recorded.event))
        if type(recorded.event) is not ev.Event:
            self._timeline.follow(recorded)
        if step is None:
            return
        try:
            step(self, recorded.event, recorded)
        except (LookupError, TypeError, ValueError, AttributeError) as e:
            # Somebody has written it by hand, or has taken away what it speaks of.
            self._found(Rule.RECORD, f"The event cannot be followed ({type(e).__name__}: {e}).")

    def count_beside(self, history: History) -> None:
        """Count another run's requests into the windows: by the ledger's clock, else by stamps that never went back."""
        other = Replay(None, self._requests.terms, self._quota)
        for entry in history:
            other.read(entry)
        by_stamps = not (self._timeline.set_backs or other._timeline.set_backs)
        for request in other._requests.by_batch.values():
            placed = self._requests.placed(request) if request.boot else request if by_stamps else None
            if placed is not None:
                self._beside.append(placed)
            else:
                why = "another boot's clock dates it" if request.boot else "the clock was set back"
                self._note(f"Run {other._run_id} was not counted in: {why}.")

    def _found(self, rule: Rule, text: str, seq: int | None = None, server: str = "") -> None:
        self._breaches[rule] += 1
        if self._breaches[rule] <= _KEPT:
            name = self._fleet.name_of(server) if self._fleet is not None else ""
            self._findings.append(Finding(rule, text, self._seq if seq is None else seq, server, name))

    def _note(self, text: str) -> None:
        self._notes[text] = None

    # -- the run ---------------------------------------------------------------------------------------------------

    def _run_started(self, event: ev.RunStarted, _: Recorded) -> None:
        self._limits, self._waves = LimitRecord(event.plan), Waves(event.plan)
        self._servers.divide(event.plan.get("waves") or ())
        self._resends = 0 if event.plan.get("on_unknown") == "leave" else RESENDS
        if self._fleet is not None and event.total != len(self._fleet):
            self._found(Rule.TARGETS, f"The run was of {event.total} servers, the list holds {len(self._fleet)}.")

    def _holder_changed(self, event: ev.HolderChanged, _: Recorded) -> None:
        self._holders += 1
        if event.fence <= self._fence:
            self._found(Rule.HOLDER, f"Holder {event.fence} came after holder {self._fence}.")
        self._fence = event.fence
        self._waves.taken(self._timeline.now)
        terms = self._requests.terms
        told = event.limit > 0 and event.window > 0
        self._quota_known |= told
        self._grace_known |= event.unknown_grace > 0
        self._requests.holder(event, self._timeline.now)
        self._requests.terms = HolderSettings(
            Quota(event.limit, event.window) if told and self._quota is None else terms.quota,
            event.unknown_grace or terms.unknown_grace,
            event.request_timeout or terms.request_timeout,
        )

    def _paused(self, event: ev.RunPaused, _: Recorded) -> None:
        self._end("paused", event.reason)

    def _stopped(self, event: ev.RunStopped, _: Recorded) -> None:
        self._end(event.status, event.reason)

    def _followed_abort(self, _: ev.RunAborting, __: Recorded) -> None:
        self._aborting = True

    def _frozen(self, event: ev.RunFrozen, _: Recorded) -> None:
        self._freezes.begin(event.by, event.reason, self._timeline.now)

    def _thawed(self, _: ev.RunThawed, __: Recorded) -> None:
        self._freezes.end(self._timeline.now)

    def _failed_over(self, _: ev.StoreFailedOver, recorded: Recorded) -> None:
        self._note(
            f"The store's database failed over at {stamp(recorded.ts)}: it may have forgotten requests, which are not "
            "judged."
        )

    def _end(self, status: str, reason: str) -> None:
        self._status, self._reason, self._ended_at = status, reason, self._timeline.now

    def _resumed(self, event: ev.RunResumed, _: Recorded) -> None:
        self._status, self._reason, self._ended_at = "running", "", None
        if event.forgive:
            self._failures.forgive()
        self._left_out.update(event.skip_domains)
        for record in self._servers.of_domains(event.skip_domains) if event.skip_domains else ():
            record.taken_up = False
            self._leave_out(record)
        for record in self._servers.all():
            if event.forgive and record.kind in _FAILURES:
                record.holds = False
                self._servers.count(record)
            record.forgiven |= event.forgive
            if record.wave and record.ended_as in event.retry and record.domain not in event.skip_domains:
                if event.keeps_outcomes and record.kind in _FAILURES and record.sent:
                    record.kept, record.forgiven = record.kind, record not in self._failures
                record.kind, record.retried, record.taken_up, record.left_out = "", record.sent > 0, True, False
                self._failures.discard(record)
                self._waves.again(record)
        self._judge_failures()

    def _leave_out(self, record: ServerRecord) -> None:
        """Count a waiting server of a left-out domain as one that is not started, or as what it was before."""
        if record.waits and record.wave and not record.left_out:
            record.left_out = True
            self._waves.ended(record)
            if record.kept:
                self._keep(record)

    def _keep(self, record: ServerRecord) -> None:
        """End a server as what it was before it was to be tried again."""
        record.kind, record.kept, record.retried = record.kept, "", False
        if not record.forgiven:
            self._failures.add(record)
            self._judge_failures()

    def _limit_changed(self, event: ev.LimitChanged, _: Recorded) -> None:
        self._limits.change(event.limit, event.new, self._timeline.now)
        self._judge_failures()

    def _wave_started(self, event: ev.WaveStarted, _: Recorded) -> None:
        # Stamps of a clock that was set back prove no soak too short.
        now = math.inf if self._timeline.set_backs else self._timeline.now
        hindrance = self._waves.start(event.wave, now)
        if hindrance:
            self._found(Rule.HELD_BACK, hindrance)

    def _wave_finished(self, event: ev.WaveFinished, _: Recorded) -> None:
        self._waves.over(event.wave, self._timeline.now)

    def _gate_checked(self, event: ev.GateChecked, _: Recorded) -> None:
        self._waves.asked(event.gate, event.wave, event.verdict)

    def _finished(self, event: ev.RunFinished, _: Recorded) -> None:
        self._end(event.status, event.reason)
        if self._fleet is None:
            return
        counts = self._outcomes()
        left_out = sum(record.left_out and record.waits for record in self._servers.all())
        again = sum(bool(record.keeps) for record in self._servers.all())
        open_ = counts["not_started"] + again + self._servers.in_flight - left_out
        if left_out and event.status == "succeeded":
            self._found(
                Rule.OUTCOME, f"The run succeeded, and {left_out} servers of left-out domains were not started."
            )
        if open_ and event.status != "aborted":
            self._found(Rule.OUTCOME, f"The run is over, and {open_} servers have no outcome.")
        if event.counts:
            told = Counter({kind: count for kind, count in event.counts.items() if count})
            counts["unknown"] += self._servers.in_flight
            if told != +counts:
                self._found(Rule.OUTCOME, f"The run's own counts {dict(told)} are not {dict(+counts)}.")

    # -- requests --------------------------------------------------------------------------------------------------

    def _submitting(self, event: ev.BatchSubmitting, recorded: Recorded) -> None:
        now = self._timeline.now
        self._judge_running(now)
        if event.batch in self._requests.by_batch:
            self._found(Rule.RECORD, f"Batch {event.batch} was sent twice under one number.")
        self._requests.submitting(event, now, recorded.ts)
        self._submitted += len(event.servers)
        domains: set[str] = set()
        for server in event.servers:
            record = self._record_of(server)
            if record is not None:
                self._judge_server(record, event)
                record.flight, record.sent = event.batch, record.sent + 1
                self._servers.count(record)
                domains.add(record.domain)
        self._judge_down(domains, recorded)

    def _judge_running(self, now: float) -> None:
        """Find that servers were sent in a run that is aborted, paused or over, or has too many failures."""
        excused = self._status == "paused" and self._ended_at is not None and now <= self._ended_at + ON_ITS_WAY
        if self._freezes.going_on:
            self._found(Rule.HELD_BACK, "Servers were sent although the store was frozen.")
        if self._aborting:
            self._found(Rule.HELD_BACK, "Servers were sent although the run was being aborted.")
        elif self._status != "running" and not excused:
            self._found(Rule.HELD_BACK, f"Servers were sent while the run was {self._status}.")
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
            self._retried += 1
        elif record.sent and self._fleet is not None:
            self._repeated += 1
        record.retried = False
        if record.domain in self._left_out and not record.taken_up:
            self._found(
                Rule.LEFT_OUT, f"Server {server} of {record.domain} was sent, which was left out.", server=server
            )
        if self._fleet is not None and record.unstarted > self._resends:
            text = f"Server {server} was sent again although {record.unstarted} requests had not begun for it"
            self._found(Rule.TWICE, f"{text}, {self._resends} are allowed.", server=server)
        if self._fleet is not None and not record.wave:
            self._found(Rule.TARGETS, f"Server {server} was sent although the plan leaves it out.", server=server)
        elif self._fleet is not None and self._waves.too_early(record, event.wave):
            self._found(Rule.WAVES, f"Server {server} was sent before the turn of wave {record.wave}.", server=server)

    def _judge_down(self, domains: Iterable[str], recorded: Recorded) -> None:
        now = self._timeline.now
        down, allowed = self._servers.down, self._limits.number("max_unavailable", now, ON_ITS_WAY)
        if allowed is not None and down > allowed:
            self._found(Rule.BUDGET, f"{down} servers were down at once, {allowed} are allowed.")
        if down > self._down.servers:
            self._down = Peak(down, allowed, recorded.ts)
        for domain in domains:
            down = self._servers.down_in[domain]
            allowed = self._limits.of("max_unavailable_per_domain", domain, now, ON_ITS_WAY)
            if allowed is not None and down > allowed:
                self._found(Rule.BUDGET, f"{down} servers of {domain} were down at once, {allowed} are allowed.")
            if down > self._down_by_domain.get(domain, Peak()).servers:
                self._down_by_domain[domain] = Peak(down, allowed, recorded.ts)

    def _answered(self, event: ev.BatchAccepted | ev.BatchRejected | ev.BatchUnknown, _: Recorded) -> None:
        request = self._requests.answer(event, self._timeline.now)
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
            record = self._record_of(server)
            if record is not None and record.flight == batch:
                record.flight = 0
                self._servers.count(record)
                if record.domain in self._left_out and not record.taken_up:
                    self._leave_out(record)

    def _unstarted(self, event: ev.BatchUnstarted, _: Recorded) -> None:
        request = self._requests.by_batch.get(event.batch)
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
        if event.batch not in self._requests.by_batch:
            self._found(Rule.RECORD, f"Batch {event.batch} did start servers, and was never sent.")
        for server in event.servers:
            record = self._record_of(server)
            if record is not None and record.flight:
                text = f"Batch {event.batch} did start server {server}, which batch {record.flight} has too."
                self._found(Rule.TWICE, text, server=server)
            elif record is not None and (not record.kind or record.left_out):
                record.kept, record.kind = record.kind or record.kept, ""
                self._failures.discard(record)
                record.flight = event.batch
                self._servers.count(record)

    # -- servers ---------------------------------------------------------------------------------------------------

    def _record_of(self, server: str) -> ServerRecord | None:
        record = self._servers.get(server)
        if record is None:
            self._found(Rule.TARGETS, f"Server {server} is none of the run's.", server=server)
        return record

    def _outcome(self, event: ev.ServerEvent, _: Recorded) -> None:
        record = self._record_of(event.server)
        if record is None:
            return
        kind = _KINDS[type(event)]
        if event.not_retried:
            self._not_retried(record, kind, event)
            return
        if record.kept and kind == "skipped":
            text = f"Server {record.server} was {record.kept}, is not restarted since, and is skipped."
            self._found(Rule.OUTCOME, text, server=record.server)
        if record.kind and not record.flight and self._fleet is not None:
            self._found(
                Rule.OUTCOME, f"Server {record.server} was {record.kind} and then {kind}.", server=record.server
            )
        if kind in {"restarted", "timed_out", "unknown"} and not record.flight:
            self._found(Rule.OUTCOME, f"Server {record.server} is {kind}, but was not sent.", server=record.server)
        if not record.kind and not record.left_out:
            self._waves.ended(record)
        record.flight, record.holds, record.retried, record.unstarted = 0, event.holds, False, 0
        self._servers.count(record)
        record.kind, record.kept, record.left_out = kind, "", False
        if kind in _FAILURES:
            self._failures.add(record)
            self._judge_failures()

    def _not_retried(self, record: ServerRecord, kind: str, event: ev.ServerEvent) -> None:
        """Count a server that was to be tried again, and was left alone, as what it was before."""
        if kind != (record.kept or record.kind):
            text = (
                f"Server {record.server} was {record.kept or record.kind or 'not sent'}, was not retried and is {kind}."
            )
            self._found(Rule.OUTCOME, text, server=record.server)
        if not record.kind and not record.left_out:
            self._waves.ended(record)
        record.flight, record.holds, record.unstarted = 0, event.holds, 0
        self._servers.count(record)
        if record.kept:
            self._keep(record)

    def _released(self, event: ev.ServerReleased, _: Recorded) -> None:
        record = self._record_of(event.server)
        if record is not None:
            record.holds = False
            self._servers.count(record)

    def _judge_failures(self) -> None:
        self._failures.judge(self._limits, self._timeline.now)

    # -- the end ---------------------------------------------------------------------------------------------------

    def _outcomes(self) -> Counter[str]:
        counts = Counter(kind for record in self._servers.all() if (kind := record.kind or record.keeps))
        if self._fleet is not None:
            counts["not_started"] = len(self._fleet) - counts.total() - self._servers.in_flight
        return counts

    def receipt(self) -> Receipt:
        """Return what the record proves so far."""
        own = list(self._requests.by_batch.values())
        windows = tuple(fullest_windows([*own, *self._beside])) if self._quota_known else ()
        for window in windows:
            if window.servers > window.quota.limit:
                text = f"Up to {window.servers} servers in one window, the quota is {window.quota}."
                self._found(Rule.QUOTA, text, seq=0)
        if own and not self._quota_known:
            self._note("The record does not say the quota, which is not judged.")
        if self._timeline.set_backs:
            often = "once" if self._timeline.set_backs == 1 else f"{self._timeline.set_backs} times"
            self._note(f"The clock was set back {often}; no window is judged across that.")
        for told in self._freezes.notes():
            self._note(told)
        findings, breaches = collect(self._findings, self._breaches)
        return Receipt(
            run_id=self._run_id,
            status=self._status,
            reason=self._reason,
            events=self._events,
            holders=self._holders,
            requests=len(own),
            total=None if self._fleet is None else len(self._fleet),
            findings=findings,
            breaches=breaches,
            windows=windows,
            down=self._down,
            down_by_domain=dict(sorted(self._down_by_domain.items())),
            submitted=self._submitted,
            repeated=self._repeated,
            retried=self._retried,
            failures=len(self._failures),
            allowed_failures=self._limits.number("max_failures", self._timeline.now, 0.0),
            outcomes={kind: count for kind, count in self._outcomes().items() if count},
            notes=tuple(self._notes),
        )

    _steps: ClassVar[Mapping[type[ev.Event], Callable[[Any, Any, Recorded], None]]] = {
        ev.RunStarted: _run_started,
        ev.HolderChanged: _holder_changed,
        ev.RunPaused: _paused,
        ev.RunFrozen: _frozen,
        ev.RunThawed: _thawed,
        ev.StoreFailedOver: _failed_over,
        ev.RunAborting: _followed_abort,
        ev.RunResumed: _resumed,
        ev.RunStopped: _stopped,
        ev.RunFinished: _finished,
        ev.LimitChanged: _limit_changed,
        ev.WaveStarted: _wave_started,
        ev.WaveFinished: _wave_finished,
        ev.GateChecked: _gate_checked,
        ev.BatchSubmitting: _submitting,
        ev.BatchAccepted: _answered,
        ev.BatchRejected: _answered,
        ev.BatchUnknown: _answered,
        ev.BatchUnstarted: _unstarted,
        ev.BatchStarted: _started,
        ev.ServerReleased: _released,
        **dict.fromkeys(_KINDS, _outcome),
    }
