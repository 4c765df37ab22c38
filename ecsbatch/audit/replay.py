"""Replays a run's record and judges every event by the promises. Pure, no I/O. Read `Replay.feed` first.

It shares no code with what it judges (state, policy, limiter, plan) beyond reading events: it keeps its own account of
who was down, who was sent when, and what was allowed, and compares that with the promises.

Here is judged how the run goes on and how its servers end, in `requests.py` what it sends; both share an `Account`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from operator import index
from typing import Any, ClassVar, Final

import orjson

from ecsbatch.audit.account import FAILURES, Account
from ecsbatch.audit.bookkeeping import LimitRecord, ServerRecord, Waves
from ecsbatch.audit.quota_windows import HolderSettings
from ecsbatch.audit.receipt import Receipt, Rule, collect
from ecsbatch.audit.requests import RESENDS, RequestJudge
from ecsbatch.model import events as ev
from ecsbatch.model.json_text import stamp
from ecsbatch.model.quota import Quota
from ecsbatch.model.recorded import Recorded, decode
from ecsbatch.model.servers import Fleet

_KINDS: Final[Mapping[type[ev.ServerEvent], str]] = {
    ev.ServerRestarted: "restarted",
    ev.ServerFailed: "failed",
    ev.ServerTimedOut: "timed_out",
    ev.ServerUnknown: "unknown",
    ev.ServerSkipped: "skipped",
}

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
        self._account = account = Account(fleet)
        self._requests = RequestJudge(account, terms, quota)
        self._fleet, self._found, self._timeline = fleet, account.found, account.timeline
        self._servers, self._failures, self._freezes = account.servers, account.failures, account.freezes
        self._quota = quota
        self._run_id = run_id
        self._events = self._holders = self._fence = 0

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
                recorded = Recorded(index(raw["seq"]), self._timeline.now, raw["run_id"], ev.Event())
                self._account.note(f"Events named {raw['event']!r} are not known to this version.")
        except (ValueError, KeyError, TypeError) as e:
            self._found(Rule.RECORD, f"A line behind event {self._account.seq} cannot be read: {e}")
            return
        self.feed(recorded)

    def feed(self, recorded: Recorded) -> None:
        """Replay the next event."""
        self._events += 1
        if recorded.seq != self._account.seq + 1:
            self._found(Rule.RECORD, f"Event {recorded.seq} follows event {self._account.seq}.", recorded.seq)
        self._account.seq = recorded.seq
        self._run_id = self._run_id or str(recorded.run_id)
        if recorded.run_id != self._run_id:
            self._found(Rule.RECORD, f"The event is of run {recorded.run_id}.", recorded.seq)
        if self._events == 1 and self._fleet is not None and not isinstance(recorded.event, ev.RunStarted):
            self._found(Rule.RECORD, "The record does not begin with the run's start.", recorded.seq)
        try:
            self._follow(recorded)
        except (LookupError, TypeError, ValueError, AttributeError) as e:
            # Somebody has written it by hand, or has taken away what it speaks of.
            self._found(Rule.RECORD, f"The event cannot be followed ({type(e).__name__}: {e}).")

    def _follow(self, recorded: Recorded) -> None:
        step = self._steps.get(type(recorded.event))
        if type(recorded.event) is not ev.Event:
            self._timeline.follow(recorded)
        if step is not None:
            step(self, recorded.event, recorded)
        else:
            self._requests.follow(recorded)

    def count_beside(self, history: History) -> None:
        """Count another run's requests into the windows: by the ledger's clock, else by stamps that never went back."""
        other = Replay(None, self._requests.sent.terms, self._quota)
        for entry in history:
            other.read(entry)
        by_stamps = not (self._timeline.set_backs or other._timeline.set_backs)
        self._requests.count_beside(other._run_id, other._requests.sent.by_batch.values(), by_stamps=by_stamps)

    # -- the run ---------------------------------------------------------------------------------------------------

    def _run_started(self, event: ev.RunStarted, _: Recorded) -> None:
        self._account.limits, self._account.waves = LimitRecord(event.plan), Waves(event.plan)
        self._servers.divide(event.plan.get("waves") or ())
        self._requests.resends = 0 if event.plan.get("on_unknown") == "leave" else RESENDS
        if self._fleet is not None and event.total != len(self._fleet):
            self._found(Rule.TARGETS, f"The run was of {event.total} servers, the list holds {len(self._fleet)}.")

    def _holder_changed(self, event: ev.HolderChanged, _: Recorded) -> None:
        self._holders += 1
        if event.fence <= self._fence:
            self._found(Rule.HOLDER, f"Holder {event.fence} came after holder {self._fence}.")
        self._fence = event.fence
        self._account.waves.taken(self._timeline.now)
        self._requests.holder_changed(event)

    def _paused(self, event: ev.RunPaused, _: Recorded) -> None:
        self._account.end("paused", event.reason)

    def _stopped(self, event: ev.RunStopped, _: Recorded) -> None:
        self._account.end(event.status, event.reason)

    def _followed_abort(self, _: ev.RunAborting, __: Recorded) -> None:
        self._account.aborting = True

    def _frozen(self, event: ev.RunFrozen, _: Recorded) -> None:
        self._freezes.begin(event.by, event.reason, self._timeline.now)

    def _thawed(self, _: ev.RunThawed, __: Recorded) -> None:
        self._freezes.end(self._timeline.now)

    def _failed_over(self, _: ev.StoreFailedOver, recorded: Recorded) -> None:
        self._account.note(
            f"The store's database failed over at {stamp(recorded.ts)}: it may have forgotten requests, which are not "
            "judged."
        )

    def _resumed(self, event: ev.RunResumed, _: Recorded) -> None:
        self._account.status, self._account.reason, self._account.ended_at = "running", "", None
        if event.forgive:
            self._failures.forgive()
        self._account.left_out.update(event.skip_domains)
        for record in self._servers.of_domains(event.skip_domains) if event.skip_domains else ():
            record.taken_up = False
            self._account.leave_out(record)
        for record in self._servers.all():
            if event.forgive and record.kind in FAILURES:
                record.holds = False
                self._servers.count(record)
            record.forgiven |= event.forgive
            if record.wave and record.ended_as in event.retry and record.domain not in event.skip_domains:
                if event.keeps_outcomes and record.kind in FAILURES and record.sent:
                    record.kept, record.forgiven = record.kind, record not in self._failures
                record.kind, record.retried, record.taken_up, record.left_out = "", record.sent > 0, True, False
                self._failures.discard(record)
                self._account.waves.again(record)
        self._account.judge_failures()

    def _limit_changed(self, event: ev.LimitChanged, _: Recorded) -> None:
        self._account.limits.change(event.limit, event.new, self._timeline.now)
        self._account.judge_failures()

    def _wave_started(self, event: ev.WaveStarted, _: Recorded) -> None:
        # Stamps of a clock that was set back prove no soak too short.
        now = math.inf if self._timeline.set_backs else self._timeline.now
        hindrance = self._account.waves.start(event.wave, now)
        if hindrance:
            self._found(Rule.HELD_BACK, hindrance)

    def _wave_finished(self, event: ev.WaveFinished, _: Recorded) -> None:
        self._account.waves.over(event.wave, self._timeline.now)

    def _gate_checked(self, event: ev.GateChecked, _: Recorded) -> None:
        self._account.waves.asked(event.gate, event.wave, event.verdict)

    def _finished(self, event: ev.RunFinished, _: Recorded) -> None:
        self._account.end(event.status, event.reason)
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

    # -- servers ---------------------------------------------------------------------------------------------------

    def _outcome(self, event: ev.ServerEvent, _: Recorded) -> None:
        record = self._account.record_of(event.server)
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
            self._account.waves.ended(record)
        record.flight, record.holds, record.retried, record.unstarted = 0, event.holds, False, 0
        self._servers.count(record)
        record.kind, record.kept, record.left_out = kind, "", False
        if kind in FAILURES:
            self._failures.add(record)
            self._account.judge_failures()

    def _not_retried(self, record: ServerRecord, kind: str, event: ev.ServerEvent) -> None:
        """Count a server that was to be tried again, and was left alone, as what it was before."""
        if kind != (record.kept or record.kind):
            text = (
                f"Server {record.server} was {record.kept or record.kind or 'not sent'}, was not retried and is {kind}."
            )
            self._found(Rule.OUTCOME, text, server=record.server)
        if not record.kind and not record.left_out:
            self._account.waves.ended(record)
        record.flight, record.holds, record.unstarted = 0, event.holds, 0
        self._servers.count(record)
        if record.kept:
            self._account.keep(record)

    def _released(self, event: ev.ServerReleased, _: Recorded) -> None:
        record = self._account.record_of(event.server)
        if record is not None:
            record.holds = False
            self._servers.count(record)

    # -- the end ---------------------------------------------------------------------------------------------------

    def _outcomes(self) -> Counter[str]:
        counts = Counter(kind for record in self._servers.all() if (kind := record.kind or record.keeps))
        if self._fleet is not None:
            counts["not_started"] = len(self._fleet) - counts.total() - self._servers.in_flight
        return counts

    def receipt(self) -> Receipt:
        """Return what the record proves so far."""
        windows = self._requests.windows()
        if self._timeline.set_backs:
            often = "once" if self._timeline.set_backs == 1 else f"{self._timeline.set_backs} times"
            self._account.note(f"The clock was set back {often}; no window is judged across that.")
        for told in self._freezes.notes():
            self._account.note(told)
        findings, breaches = collect(self._account.findings, self._account.breaches)
        return Receipt(
            run_id=self._run_id,
            status=self._account.status,
            reason=self._account.reason,
            events=self._events,
            holders=self._holders,
            requests=len(self._requests.sent.by_batch),
            total=None if self._fleet is None else len(self._fleet),
            findings=findings,
            breaches=breaches,
            windows=windows,
            down=self._requests.down,
            down_by_domain=dict(sorted(self._requests.down_by_domain.items())),
            submitted=self._requests.submitted,
            repeated=self._requests.repeated,
            retried=self._requests.retried,
            failures=len(self._failures),
            allowed_failures=self._account.limits.number("max_failures", self._timeline.now, 0.0),
            outcomes={kind: count for kind, count in self._outcomes().items() if count},
            notes=tuple(self._account.notes),
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
        ev.ServerReleased: _released,
        **dict.fromkeys(_KINDS, _outcome),
    }
