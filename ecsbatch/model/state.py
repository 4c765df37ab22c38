"""`RolloutState`: how a run stands, folded from its events.

The running engine, ``resume``, ``status``, ``explain``, the display and the report all read this state, so they
cannot disagree. What is known of each server is kept in columns: a million servers fit into some tens of megabytes.
Read `RolloutState.apply` first; `_folds` at the end of the class says which event changes what.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from sys import intern
from typing import Any, ClassVar, Final

from ecsbatch.model import events as ev
from ecsbatch.model.failures import Failure, FailureLog
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.in_parts import counted
from ecsbatch.model.outcome import Evidence, Outcome, OutcomeKind, RunStatus, SkipReason
from ecsbatch.model.pace import EndCounter
from ecsbatch.model.plan import Plan
from ecsbatch.model.quota import Quota
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.restarts import servers_of
from ecsbatch.model.stopwatch import Stopwatch
from ecsbatch.model.tally import ENDED, FAILURES, KIND, Attempt, GateWait, InFlightBatch, KeptOutcome, Stage, Tally

_EVIDENCES: Final = ("", *(e.value for e in Evidence))
_EVIDENCE: Final = {word: i for i, word in enumerate(_EVIDENCES)}

_UNTOLD: Final = frozenset({Stage.TIMED_OUT, Stage.UNKNOWN})
"""Ends that a job has not told."""

_TURNS: Final = frozenset(
    {ev.WaveStarted, ev.WaveFinished, ev.HolderChanged, ev.CloudUnseen, ev.CloudSeen}
    | {ev.RunPaused, ev.RunResumed, ev.RunAborting, ev.RunStopped, ev.RunFinished, ev.RunFrozen, ev.RunThawed}
)
"""Events by which a run can send from now on, or cannot any more."""


class RolloutState:
    """How one run stands. Times are seconds since 1970, servers are ids or indexes in the plan's fleet.

    Attributes:
        run_id, plan: the run.
        status, reason, message: how it stands, and why.
        seq, updated_at: number and time of the last event folded in.
        started_at, ended_at: when it started, and when it ended or was stopped; None where it did not.
        failed_over_at: when a failover of the store was noticed last, before which requests may have been made that the
            record lacks; None where there was none.
        waited_out_until: when tokens are granted again behind that, seconds since 1970; 0 where there was none.
        retried_at: since when servers, by index, wait that are to be tried again.
        fence, holder, paused_by: how many holders it has had, who holds it, who paused it.
        pause: the event of a pause that nobody has ended, whatever has become of its process; None where none is.
        wave: number of the wave under way, 0 before the first.
        stage: how far each server is, by index; `outcome` says it in words.
        run, waves, domains: tallies; ``waves[0]`` is the first wave, servers that the plan skips are in none.
        flights: batches in flight by number.
        held: indexes of servers with an outcome that may still be down.
        kept: how servers failed, by index, that wait or are under way to be tried again, see `RunResumed`.
        not_retried: why servers, by index, have kept the outcome with which they were to be tried again.
        skipped_by: how many skips each reason has.
        limits: limits that were changed since the plan, by the setting's name.
        gate, promoted: the last gate event; the wave up to which somebody has promoted the run.
        gate_wait: since when a gate is asked, how often it was, and when its time is over.
        wave_over, wave_over_at: the last finished wave, and when it finished.
        taken_at: when the present holder took the run, seconds since 1970.
        quota: the quota that its last holder keeps to; None where the record does not say.
        throttled: the last 429 and when it came.
        lowered: the last time that its holder went down to less than its quota for a while, and when; None where it has
            not.
        rejected: the last rejected request and when, None once one was accepted.
        unseen: since when nothing can be seen of the cloud, seconds since 1970, and what is on record about it; None
            where it can be seen.
        frozen: the freeze of its store, as far as its holder has noticed; None where there is none.
        last_batch: the highest batch number so far.
        unstarted: how often requests for a server were shown not to have begun, since its last outcome.
        earlier: the last request of a server that waits again, where a look may yet show its restart.
        left_out: domains to whose servers nothing is sent any more, but for those that somebody has retried since.
        aborting, aborted_by: somebody has ended the run for good, though servers may still be under way; who it was.
        abort_asked_by: who has asked for that, while the run's process has not followed; no event says so. "" for none.
        last_command: the last command that was asked before the present holder took the run.
        watch, ends: for how long processes have held it; how many servers ended lately, while it could send.
        gate_at, status_at: when the last gate was asked; when the status last changed.
    """

    def __init__(self, run_id: str, plan: Plan) -> None:
        """Begin before the first event."""
        n = len(plan.fleet)
        self.run_id, self.plan = run_id, plan
        self.status = RunStatus.RUNNING
        self.reason = self.message = ""
        self.seq = self.wave = self.wave_over = self.promoted = self.fence = self.last_command = self.last_batch = 0
        self.started_at: float | None = None
        self.failed_over_at: float | None = None
        self.ended_at: float | None = None
        self.updated_at = self._heard_at = 0.0
        self.quota: Quota | None = None
        self.holder = self.paused_by = self.aborted_by = self.abort_asked_by = ""
        self.stage = bytearray(n)
        self.run = Tally(total=n, waiting=n)
        self.waves = [Tally(total=len(w), waiting=len(w)) for w in plan.waves]
        self._starts = [w.start for w in plan.waves]
        self._in_waves = plan.to_restart
        named = counted(plan.fleet.domains) if plan.fleet.domains else {"": n} if n else {}
        self.domains = defaultdict(Tally, {domain: Tally(total=of, waiting=of) for domain, of in named.items()})
        self.flights, self._under_way = dict[int, InFlightBatch](), dict[str, int]()
        self.held: set[int] = set()
        self.unstarted: dict[str, int] = {}
        self.earlier: dict[str, Attempt] = {}
        self.left_out: set[str] = set()
        self.aborting = False
        self._failures = FailureLog()
        self.kept, self.not_retried, self.retried_at = dict[int, KeptOutcome](), dict[int, str](), dict[int, float]()
        self._kept_waiting, self._not_retried_by = Counter[Stage](), Counter[str]()
        self.skipped_by: Counter[str] = Counter()
        self.limits: dict[str, Any] = {}
        self.gate: ev.GateChecked | None = None
        self.gate_wait = GateWait()
        self.waited_out_until = self.gate_at = self.wave_over_at = self.status_at = self.taken_at = 0.0
        self.rejected: tuple[float, ev.BatchRejected] | None = None
        self.throttled: tuple[float, ev.QuotaThrottled] | None = None
        self.lowered: tuple[float, ev.QuotaDesync] | None = None
        self.unseen: tuple[float, ev.CloudUnseen] | None = None
        self.frozen: Freeze | None = None
        self.pause: ev.RunPaused | None = None
        self.watch, self.ends = Stopwatch(), EndCounter()
        self._elapsed: float | None = None
        self._retried_while_down, self._forgiven, self._retried_left_out = set[int](), set[int](), set[int]()
        self._untold = set[int]()  # ended although the job that they were followed by has not told their end
        self._attempts = bytearray(n)
        self._evidence = bytearray(n)
        self._batch = array("i", bytes(4 * n))
        self._ended_at = array("d", bytes(8 * n))
        self._jobs: list[str] = [""]
        self._submitted = array("d", [0.0])
        self._detail, self._hosts = dict[int, tuple[str, str, str]](), dict[int, str]()

    # -- folding ---------------------------------------------------------------------------------------------------

    def apply(self, recorded: Recorded) -> None:
        """Fold the next event in; events must come in the order of their ``seq``."""
        self.seq = recorded.seq
        event, ts = recorded.event, recorded.ts
        self._heard_at, self.updated_at = self.updated_at, ts
        kind = type(event)
        fold = self._folds.get(kind)
        if fold is not None:
            fold(self, event, ts)
        if kind in _TURNS:
            self._begin_to_count(ts)

    def apply_restarts(self, restarts: Sequence[Recorded]) -> None:
        """Fold the next events in together, a group of ``restarts_together``: each leaves what ``_ended`` leaves."""
        seq, ts, like = restarts[-1].seq, restarts[-1].ts, restarts[-1].event
        if self.kept or self.not_retried or not isinstance(like, ev.ServerEvent):
            for each in restarts:
                self.apply(each)
            return
        self.seq, self._heard_at, self.updated_at = seq, ts if len(restarts) > 1 else self.updated_at, ts
        servers = servers_of(restarts)
        indexes, evidence = self._indexes(servers), _EVIDENCE[like.evidence]
        self._move(indexes, Stage.RESTARTED)
        for server, i in zip(servers, indexes, strict=True):
            self._ended_at[i], self._evidence[i] = ts, evidence
            for by_server in (self._under_way, self.unstarted, self.earlier):
                by_server.pop(server, None)
            for by_index in (self.retried_at, self._detail, self._hosts):
                by_index.pop(i, None)
        for some in (self._forgiven, self._untold, self._retried_while_down):
            some.difference_update(indexes)
        for i in self.held.intersection(indexes):
            self._release(i)
        self.ends.ended(like.batch, ts, len(servers))
        self._close(like.batch, servers)

    def _begin_to_count(self, ts: float) -> None:
        """Count anew what ends from now on where the run can send, else not at all."""
        stands_still = self.aborting or self.unseen is not None or self.frozen is not None
        can_send = self.status is RunStatus.RUNNING and not stands_still
        if can_send and self.wave > self.wave_over:
            self.ends.begin(ts, self.last_batch)
        else:
            self.ends.stop()

    def _run_started(self, _: ev.RunStarted, ts: float) -> None:
        self.started_at = self.status_at = ts

    def _wave_started(self, event: ev.WaveStarted, _: float) -> None:
        self.wave = event.wave

    def _wave_finished(self, event: ev.WaveFinished, ts: float) -> None:
        self.wave_over = event.wave
        self.wave_over_at = ts
        self.gate_wait = GateWait()

    def _submitting(self, event: ev.BatchSubmitting, ts: float) -> None:
        self.flights[event.batch] = InFlightBatch.of(event, ts)
        self._note_batch(event.batch, ts)
        indexes = self._indexes(event.servers)
        self._under_way.update(zip(event.servers, indexes, strict=True))
        again = self.held.intersection(indexes)
        self._move(indexes, Stage.SUBMITTING)
        for i in indexes:
            self._batch[i] = event.batch
            self._attempts[i] = min(255, self._attempts[i] + 1)
        for i in again:
            self._release(i)
        self._retried_while_down |= again

    def _indexes(self, servers: Iterable[str]) -> list[int]:
        find = self.find
        return [find(server) for server in servers]

    def _note_batch(self, batch: int, ts: float) -> None:
        self.last_batch = max(self.last_batch, batch)
        while len(self._jobs) <= batch:
            self._jobs.append("")
            self._submitted.append(0.0)
        self._submitted[batch] = ts

    def _accepted(self, event: ev.BatchAccepted, _: float) -> None:
        flight = self.flights.get(event.batch)
        self.rejected = None
        if flight is None:
            return
        flight.job_id = self._jobs[event.batch] = event.job_id
        self._move(self._indexes(flight.open), Stage.ACCEPTED)

    def _job_finished(self, event: ev.JobFinished, _: float) -> None:
        flight = self.flights.get(event.batch)
        if flight is not None:
            flight.job_status = event.status

    def _rejected(self, event: ev.BatchRejected, ts: float) -> None:
        flight = self.flights.pop(event.batch, None)
        if flight is not None:
            if event.kind == "refused":
                self._remember_attempt(flight, flight.open, refused=True)
            self._requeue(flight.open)
        self.rejected = (ts, event)

    def _unanswered(self, event: ev.BatchUnknown, ts: float) -> None:
        flight = self.flights.get(event.batch)
        if flight is None:
            return
        flight.unknown_at = ts
        self._move(self._indexes(flight.open), Stage.UNSETTLED)

    def _unstarted(self, event: ev.BatchUnstarted, _: float) -> None:
        flight = self.flights.get(event.batch)
        if flight is not None:
            self._remember_attempt(flight, event.servers, refused=False)
        self._requeue(event.servers)
        for server in event.servers:
            self.unstarted[server] = self.unstarted.get(server, 0) + 1
            self._close(event.batch, (server,))

    def _remember_attempt(self, flight: InFlightBatch, servers: Iterable[str], *, refused: bool) -> None:
        """Remember what is taken for not carried out: a look may show that it was."""
        wanted = set(servers)
        for server, updated in zip(flight.servers, flight.updated, strict=False):
            if server in wanted:
                self.earlier[server] = Attempt(flight.batch, updated, flight.cloud_time, refused=refused)

    def _started(self, event: ev.BatchStarted, ts: float) -> None:
        """Follow servers that wait again although an earlier request of ours did start them."""
        indexes = [i for i in self._indexes(event.servers) if self._can_have_begun(i)]
        if not indexes:
            return
        for i in indexes:
            if self.stage[i] in FAILURES:
                self._keep_until_tried(i)
                self._failures.set_aside({self.plan.fleet.ids[i]})
        fleet, batch = self.plan.fleet, event.batch
        servers = [fleet.ids[i] for i in indexes]
        attempts = [self.earlier.pop(server, Attempt(batch, "", 0.0)) for server in servers]
        updated = [attempt.updated for attempt in attempts]
        job_id = attempts[0].job_id
        flight = self.flights.get(batch)
        if flight is None:
            flight = self.flights[batch] = InFlightBatch(
                batch, servers, updated, set(), self.plan.type, fleet.site(indexes[0]), "", self._submitted[batch]
            )
            flight.job_id = job_id
            flight.unknown_at = None if job_id else ts
        flight.begun.update(servers)
        flight.by_state.update(() if job_id else servers)
        flight.open.update(servers)
        again = self.held.intersection(indexes)
        self._move(indexes, Stage.ACCEPTED if job_id else Stage.UNSETTLED)
        for i in again:
            self._release(i)
        self._retried_while_down |= again

    def _can_have_begun(self, i: int) -> bool:
        waits = self.stage[i] in {Stage.WAITING, Stage.LEFT_OUT}
        return waits or (self.stage[i] in FAILURES and self.not_retried.get(i) == "left_out")

    def _requeue(self, servers: Collection[str]) -> None:
        """Let servers wait again, except those of left-out domains; one that was down before counts as down again."""
        indexes = self._indexes(servers)
        for server in servers:
            self._under_way.pop(server, None)
        out = [i for i in indexes if self._is_left_out(i)] if self.left_out else []
        self._move(set(indexes).difference(out) if out else indexes, Stage.WAITING)
        self._end_left_out(out)
        for i in self._retried_while_down.intersection(indexes):
            self._retried_while_down.discard(i)
            self._hold(i)

    def _close(self, batch: int, servers: Iterable[str]) -> None:
        flight = self.flights.get(batch)
        if flight is not None:
            flight.open.difference_update(servers)
            if not flight.open:
                del self.flights[batch]

    def _ended(self, stage: Stage, event: ev.ServerEvent, ts: float) -> None:
        i = self.find(event.server)
        self._under_way.pop(event.server, None)
        self.unstarted.pop(event.server, None)
        self.earlier.pop(event.server, None)
        self.retried_at.pop(i, None)
        if i in self.kept and event.not_retried:
            self._keep(i, event.not_retried)
        elif not event.not_retried:
            self._end(i, stage, event, ts)
        # A server that was down before it was tried again is not up for being skipped: only a look says that.
        still_down = (stage is Stage.SKIPPED or event.not_retried) and (i in self.held or i in self._retried_while_down)
        self._retried_while_down.discard(i)
        if event.holds or still_down:
            self._hold(i)
        else:
            self._release(i)
        self._close(event.batch, (event.server,))

    def _end(self, i: int, stage: Stage, event: ev.ServerEvent, ts: float) -> None:
        """Give a server its outcome."""
        if self.kept or self.not_retried:
            self._count_kept(i, -1)
            self.kept.pop(i, None)
            self._forget_not_retried(i)
        was, self.stage[i] = self.stage[i], stage
        more = (stage in FAILURES) - self._counts_as_failure(i, was)
        self._forgiven.discard(i)
        for tally in self._tallies_of(i):
            tally.move(was, stage, 1)
            tally.failures += more
        self._ended_at[i] = ts
        self._evidence[i] = _EVIDENCE[event.evidence]
        if event.reason or event.code or event.message:
            self._detail[i] = (event.reason, event.code, event.message)
        else:
            self._detail.pop(i, None)
        if event.host or self._hosts:
            self._note_host(i, event.host)
        if stage in _UNTOLD and event.job_id:
            self._untold.add(i)
        else:
            self._untold.discard(i)
        if stage is Stage.SKIPPED:
            self.skipped_by[event.reason] += 1
        else:
            self.ends.ended(event.batch, ts)
        if stage in FAILURES:
            self._failures.add(
                Failure(event.server, event.kind, event.domain, event.host, event.reason, event.code, event.message)
            )

    def _note_host(self, i: int, host: str) -> None:
        """Remember where a server ended, if that is elsewhere than the plan has it; few texts are shared by many."""
        if host and host != self.plan.fleet.host(i):
            self._hosts[i] = intern(host)
        else:
            self._hosts.pop(i, None)

    def _keep_until_tried(self, i: int) -> None:
        """Remember how a server has failed, for the case that it is not tried again."""
        self.kept[i] = KeptOutcome(Stage(self.stage[i]), i in self._forgiven)
        self._forget_not_retried(i)

    def _keep(self, i: int, why: str) -> None:
        """End a server that was to be tried again as what it was before; ``why`` that was not done, in a word."""
        self._count_kept(i, -1)
        kept = self.kept.pop(i)
        self.not_retried[i] = why
        self._not_retried_by[why] += 1
        self._move([i], kept.stage)
        if kept.forgiven:
            self._forgiven.add(i)
        for tally in self._tallies_of(i):
            tally.failures += not kept.forgiven
        self._failures.put_back(self.plan.fleet.ids[i])

    def _forget_not_retried(self, i: int) -> None:
        if (why := self.not_retried.pop(i, None)) is not None:
            self._not_retried_by[why] -= 1

    def _count_kept(self, i: int, by: int) -> None:
        """Count a server that waits to be tried again: whoever asks how many there are does not look at them all."""
        if i in self.kept and self.stage[i] == Stage.WAITING:
            self._kept_waiting[self.kept[i].stage] += by

    def _restarted(self, event: ev.ServerRestarted, ts: float) -> None:
        self._ended(Stage.RESTARTED, event, ts)

    def _failed(self, event: ev.ServerFailed, ts: float) -> None:
        self._ended(Stage.FAILED, event, ts)

    def _timed_out(self, event: ev.ServerTimedOut, ts: float) -> None:
        self._ended(Stage.TIMED_OUT, event, ts)

    def _unknown(self, event: ev.ServerUnknown, ts: float) -> None:
        self._ended(Stage.UNKNOWN, event, ts)

    def _skipped(self, event: ev.ServerSkipped, ts: float) -> None:
        self._ended(Stage.SKIPPED, event, ts)

    def _released(self, event: ev.ServerReleased, _: float) -> None:
        i = self.plan.fleet.find(event.server)
        self._retried_while_down.discard(i)
        self._release(i)

    def _hold(self, i: int) -> None:
        if i not in self.held:
            self.held.add(i)
            for tally in self._tallies_of(i):
                tally.held += 1

    def _release(self, i: int) -> None:
        if i in self.held:
            self.held.discard(i)
            for tally in self._tallies_of(i):
                tally.held -= 1

    def _move(self, indexes: Collection[int], to: Stage) -> None:
        """Change servers' stage and every count that depends on it, those alike together."""
        fleet, starts, stages = self.plan.fleet, self._starts, self.stage
        alike: dict[tuple[int, str, int, bool], int] = {}
        kept = self.kept.keys() & indexes if self.kept else ()
        for i in kept:
            self._count_kept(i, -1)
        for i in indexes:
            wave = bisect_right(starts, i) if i < self._in_waves else 0
            key = (stages[i], fleet.domain(i), wave, self._counts_as_failure(i, stages[i]))
            alike[key] = alike.get(key, 0) + 1
            stages[i] = to
        for i in kept:
            self._count_kept(i, 1)
        for (was, domain, wave, failed), n in alike.items():
            for tally in self._tallies(domain, wave):
                tally.move(was, to, n)
                tally.failures -= n if failed else 0

    def _counts_as_failure(self, i: int, stage: int) -> bool:
        return stage in FAILURES and i not in self._forgiven

    def _tallies(self, domain: str, wave: int) -> Sequence[Tally]:
        if not wave:
            return self.run, self.domains[domain]
        return self.run, self.domains[domain], self.waves[wave - 1]

    def _tallies_of(self, i: int) -> Sequence[Tally]:
        wave = bisect_right(self._starts, i) if i < self._in_waves else 0
        return self._tallies(self.plan.fleet.domain(i), wave)

    def _gate_waiting(self, event: ev.GateWaiting, ts: float) -> None:
        self.gate_wait = GateWait(since=ts, until=ts + event.timeout)

    def _gate_checked(self, event: ev.GateChecked, ts: float) -> None:
        self.gate, self.gate_at = event, ts
        self.gate_wait.asked += event.gate != "hold"
        if event.gate == "hold" and event.verdict == "go":
            self.promoted = max(self.promoted, event.wave)

    def _limit_changed(self, event: ev.LimitChanged, _: float) -> None:
        self.limits[event.limit] = event.new

    def _holder_changed(self, event: ev.HolderChanged, ts: float) -> None:
        self.watch.taken(ts, event.ledger_time, self._heard_at)
        self._elapsed = None
        self.taken_at, self.gate_wait, self.unseen, self.lowered = ts, GateWait(), None, None
        self.holder = event.holder
        self.fence = event.fence
        self.last_command = event.command
        self.quota = Quota(event.limit, event.window) if event.limit else self.quota

    def _quota_throttled(self, event: ev.QuotaThrottled, ts: float) -> None:
        self.throttled = (ts, event)

    def _quota_desync(self, event: ev.QuotaDesync, ts: float) -> None:
        self.lowered = (ts, event)

    def _cloud_unseen(self, event: ev.CloudUnseen, ts: float) -> None:
        self.unseen = (ts - event.seconds, event)

    def _store_failed_over(self, event: ev.StoreFailedOver, ts: float) -> None:
        self.failed_over_at, self.waited_out_until = ts, ts + event.wait

    def _cloud_seen(self, _: ev.CloudSeen, _ts: float) -> None:
        self.unseen = None

    def _frozen(self, event: ev.RunFrozen, _: float) -> None:
        self.frozen = Freeze(event.by, event.reason, event.since, event.until)

    def _thawed(self, _: ev.RunThawed, _ts: float) -> None:
        self.frozen = None

    def _paused(self, event: ev.RunPaused, ts: float) -> None:
        self.status_at = ts
        self.status, self.reason, self.paused_by = RunStatus.PAUSED, event.reason, event.by
        self.pause = event

    def _aborting(self, event: ev.RunAborting, ts: float) -> None:
        self.aborting, self.aborted_by, self.pause = True, event.by, None
        self.status_at = ts
        self.status, self.reason, self.message, self.ended_at = RunStatus.RUNNING, "", "", None

    def _resumed(self, event: ev.RunResumed, ts: float) -> None:
        self.status_at, self._elapsed, self.pause = ts, None, None
        self.status, self.reason, self.message, self.ended_at = RunStatus.RUNNING, "", "", None
        if event.forgive:
            self._forgive()
        if event.skip_domains:
            self._leave_out(event.skip_domains)
        again: set[Stage] = {ENDED[kind] for kind in event.retry if kind in ENDED}
        if again:
            self._wait_again(again, event.skip_domains, keep=event.keeps_outcomes)

    def _leave_out(self, domains: Sequence[str]) -> None:
        """End what waits in domains that are left out from now on."""
        self.left_out.update(domains)
        domain = self.plan.fleet.domain
        self._retried_left_out = {i for i in self._retried_left_out if domain(i) not in domains}
        waiting = (i for i, stage in enumerate(self.stage) if stage == Stage.WAITING and i < self._in_waves)
        self._end_left_out([i for i in waiting if self._is_left_out(i)])

    def _end_left_out(self, indexes: Sequence[int]) -> None:
        """End servers as left out, those that had failed before as what they were."""
        for i in self.kept.keys() & indexes if self.kept else ():
            self._keep(i, "left_out")
        self._move([i for i in indexes if self.stage[i] not in FAILURES], Stage.LEFT_OUT)

    def _is_left_out(self, i: int) -> bool:
        return self.plan.fleet.domain(i) in self.left_out and i not in self._retried_left_out

    def _forgive(self) -> None:
        for i in list(self.held):
            if self.stage[i] in FAILURES:
                self._release(i)
        self._forgiven.update(self._at(FAILURES))
        for kept in self.kept.values():
            kept.forgiven = True
        for tally in (self.run, *self.waves, *self.domains.values()):
            tally.failures = 0

    def _at(self, stages: Collection[Stage]) -> list[int]:
        """Return the servers at these stages, in their order; of a million the few that failed are found in a blink."""
        found: list[int] = []
        for stage in stages:
            i = self.stage.find(stage)
            while i >= 0:
                found.append(i)
                i = self.stage.find(stage, i + 1)
        return sorted(found)

    def _wait_again(self, stages: set[Stage], but: Sequence[str], *, keep: bool) -> None:
        """Let servers at these stages wait again, except those of some domains; a wave that waits is no longer over.

        A retry that somebody asks for counts more than that the domain was left out before. With ``keep`` those that
        were sent and failed have this outcome for as long as they are not sent again.
        """
        domain = self.plan.fleet.domain
        again = [i for i in self._at(stages) if domain(i) not in but]
        if Stage.SKIPPED in stages:  # whom the plan leaves alone is in no wave
            again = [i for i in again if i < self._in_waves]
            self.skipped_by -= Counter(self._detail[i][0] for i in again if self.stage[i] == Stage.SKIPPED)
        self._retried_left_out.update(i for i in again if domain(i) in self.left_out)
        self.retried_at.update(dict.fromkeys(again, self.updated_at))
        for i in again:
            if self._attempts[i]:
                if keep and self.stage[i] in FAILURES:
                    self._keep_until_tried(i)
                job_id = self._jobs[self._batch[i]] if i in self._untold else ""
                self.earlier[self.plan.fleet.ids[i]] = Attempt(self._batch[i], "", 0.0, job_id)
        self._move(again, Stage.WAITING)
        self._forgiven.difference_update(again)
        waves = [bisect_right(self._starts, i) - 1 for i in again if i < self._in_waves]
        self.wave_over = min([self.wave_over, *waves])
        self._forget(again)

    def _forget(self, again: Sequence[int]) -> None:
        """Take servers that are tried again out of the failures."""
        self._failures.set_aside({self.plan.fleet.ids[i] for i in again})
        if not any(self.run.ended[KIND[stage]] for stage in FAILURES):
            self._failures.clear_counts()

    def _stopped(self, event: ev.RunStopped, ts: float) -> None:
        self.status, self.reason, self.message = RunStatus(event.status), event.reason, event.message
        self.ended_at = self.status_at = ts
        self._elapsed = event.elapsed_s or None
        self.watch.left(ts, event.elapsed_s)

    def _finished(self, event: ev.RunFinished, ts: float) -> None:
        for i in [i for i in self.kept if self.stage[i] == Stage.WAITING]:
            self._keep(i, event.status)
        self.status, self.reason, self.message = RunStatus(event.status), event.reason, event.message
        self.ended_at = self.status_at = ts
        self._elapsed = event.elapsed_s
        self.watch.left(ts, event.elapsed_s)

    _folds: ClassVar[Mapping[type[ev.Event], Callable[[Any, Any, float], None]]] = {
        ev.RunStarted: _run_started,
        ev.WaveStarted: _wave_started,
        ev.WaveFinished: _wave_finished,
        ev.BatchSubmitting: _submitting,
        ev.BatchAccepted: _accepted,
        ev.BatchRejected: _rejected,
        ev.BatchUnknown: _unanswered,
        ev.BatchUnstarted: _unstarted,
        ev.BatchStarted: _started,
        ev.JobFinished: _job_finished,
        ev.ServerRestarted: _restarted,
        ev.ServerFailed: _failed,
        ev.ServerTimedOut: _timed_out,
        ev.ServerUnknown: _unknown,
        ev.ServerSkipped: _skipped,
        ev.ServerReleased: _released,
        ev.GateWaiting: _gate_waiting,
        ev.GateChecked: _gate_checked,
        ev.LimitChanged: _limit_changed,
        ev.HolderChanged: _holder_changed,
        ev.QuotaThrottled: _quota_throttled,
        ev.QuotaDesync: _quota_desync,
        ev.CloudUnseen: _cloud_unseen,
        ev.CloudSeen: _cloud_seen,
        ev.StoreFailedOver: _store_failed_over,
        ev.RunFrozen: _frozen,
        ev.RunThawed: _thawed,
        ev.RunPaused: _paused,
        ev.RunAborting: _aborting,
        ev.RunResumed: _resumed,
        ev.RunStopped: _stopped,
        ev.RunFinished: _finished,
    }

    # -- asking ----------------------------------------------------------------------------------------------------

    def find(self, server: str) -> int:
        """Return the index of a server; of one under way it is at hand, for it is asked for several times.

        Raises:
            KeyError: it is not in this run.
        """
        index = self._under_way.get(server)
        return self.plan.fleet.find(server) if index is None else index

    def locate(self, server: str) -> tuple[int, str]:
        """Return the number of a server's wave, 0 where it is in none, and its domain."""
        i = self.find(server)
        return bisect_right(self._starts, i) if i < self._in_waves else 0, self.plan.fleet.domain(i)

    @property
    def counts(self) -> dict[OutcomeKind, int]:
        """Outcomes so far; a server under way counts as unknown, a waiting one as not started or as what it was."""
        counts = {kind: self.run.ended[kind] for kind in OutcomeKind}
        counts[OutcomeKind.UNKNOWN] += self.run.in_flight
        counts[OutcomeKind.NOT_STARTED] += self.run.waiting
        for stage, n in self._kept_waiting.items():
            counts[OutcomeKind.NOT_STARTED] -= n
            counts[KIND[stage]] += n
        return counts

    @property
    def failures(self) -> deque[Failure]:
        """The most recent failures, oldest first, without those that are tried again."""
        return self._failures.recent

    @property
    def failed_by(self) -> dict[str, Counter[str]]:
        """How many failures each domain, host and code has, without those that are tried again."""
        return self._failures.counts

    @property
    def failed(self) -> bool:
        """True where a server ended neither restarted nor rightly skipped; failures count though forgiven."""
        return any(self.run.ended[KIND[stage]] for stage in (*FAILURES, Stage.LEFT_OUT))

    @property
    def not_found(self) -> list[str]:
        """The ids that turned out not to exist, in the order of the fleet."""
        if not self.skipped_by[SkipReason.NOT_FOUND]:
            return []
        gone = (i for i, (reason, _, _) in self._detail.items() if reason == SkipReason.NOT_FOUND)
        return [self.plan.fleet.ids[i] for i in sorted(gone) if self.stage[i] == Stage.SKIPPED]

    @property
    def left_out_by(self) -> Counter[str]:
        """How many servers were left out, for each domain."""
        return +Counter({name: tally.ended[OutcomeKind.NOT_STARTED] for name, tally in self.domains.items()})

    @property
    def not_retried_by(self) -> Counter[str]:
        """How many servers were to be tried again and were not, or not yet, by reason (`Outcome.not_retried`)."""
        return self._not_retried_by + Counter(waiting=self._kept_waiting.total())

    @property
    def wave_under_way(self) -> int:
        """The number of the wave under way, else of the last one; while an earlier one is tried again, of that."""
        return min(self.wave, self.wave_over + 1)

    @property
    def down(self) -> int:
        """How many servers take a slot of the budget now."""
        return self.run.down

    @property
    def elapsed(self) -> float:
        """Seconds for which processes have held the run, up to its last event."""
        if self._elapsed is not None:
            return self._elapsed
        if self.fence:
            return self.watch.by_stamp(self.updated_at)
        if self.started_at is None:
            return 0.0
        return (self.ended_at or self.updated_at) - self.started_at

    def attempts(self, i: int) -> int:
        """Return how many requests have named the server with index ``i``."""
        return self._attempts[i]

    def kept_outcome(self, i: int) -> Outcome | None:
        """Return how the server with index ``i`` had failed that is, or was, to be tried again; None for others."""
        if i in self.kept:
            return self._outcome(i, self.kept[i].stage, "waiting")
        return self.outcome(i) if i in self.not_retried else None

    def outcome(self, i: int) -> Outcome:
        """Return how the server with index ``i`` ended; where it has not, how it stands."""
        stage = Stage(self.stage[i])
        if stage is Stage.WAITING and i in self.kept:
            return self._outcome(i, self.kept[i].stage, "waiting")
        return self._outcome(i, stage, self.not_retried.get(i, ""))

    def _outcome(self, i: int, stage: Stage, not_retried: str) -> Outcome:
        kind = KIND.get(stage, OutcomeKind.NOT_STARTED if stage == Stage.WAITING else OutcomeKind.UNKNOWN)
        reason, code, message = self._detail.get(i, ("", "", "")) if stage >= Stage.RESTARTED else ("", "", "")
        if stage is Stage.LEFT_OUT:
            reason, code, message = "left_out", "", ""
        if Stage.SUBMITTING <= stage <= Stage.UNSETTLED:
            reason = "in_flight"
        evidence = _EVIDENCES[self._evidence[i]] if Stage.RESTARTED <= stage < Stage.LEFT_OUT else ""
        batch = self._batch[i]
        return Outcome(
            server=self.plan.fleet.ids[i],
            kind=kind,
            reason=reason,
            evidence=Evidence(evidence) if evidence else None,
            code=code,
            message=message,
            job_id=self._jobs[batch],
            attempts=self._attempts[i],
            submitted_at=self._submitted[batch] or None,
            ended_at=self._ended_at[i] or None,
            not_retried=not_retried,
            name=self.plan.fleet.name(i),
            domain=self.plan.fleet.domain(i),
            host=self._hosts.get(i) or self.plan.fleet.host(i),
        )

    def outcomes(self) -> Iterator[Outcome]:
        """Return every server's outcome in the order of the fleet."""
        return (self.outcome(i) for i in range(len(self.plan.fleet)))
