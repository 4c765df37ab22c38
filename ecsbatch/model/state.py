"""`RolloutState`: how a run stands, folded from its events.

The running engine, ``resume``, ``status``, ``explain``, the display and the report all read this state, so they
cannot disagree. Read `RolloutState.apply` first: its `ServerFold` folds what happens to servers, and `_folds` says
which event changes what of the run as a whole.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from ecsbatch.model import events as ev
from ecsbatch.model.failures import Failure
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus, SkipReason
from ecsbatch.model.plan import Plan
from ecsbatch.model.quota import Quota
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.restarts import servers_of
from ecsbatch.model.server_fold import ServerFold
from ecsbatch.model.stopwatch import Stopwatch
from ecsbatch.model.tally import FAILURES, KIND, GateWait, Stage

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
        unseen: since when nothing can be seen of the cloud, seconds since 1970, and what is on record about it; None
            where it can be seen.
        frozen: the freeze of its store, as far as its holder has noticed; None where there is none.
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
        self.run_id, self.plan = run_id, plan
        self.status = RunStatus.RUNNING
        self.reason = self.message = ""
        self.seq = self.wave = self.wave_over = self.promoted = self.fence = self.last_command = 0
        self.started_at: float | None = None
        self.failed_over_at: float | None = None
        self.ended_at: float | None = None
        self.updated_at = self._heard_at = 0.0
        self.quota: Quota | None = None
        self.holder = self.paused_by = self.aborted_by = self.abort_asked_by = ""
        self.aborting = False
        self.limits: dict[str, Any] = {}
        self.gate: ev.GateChecked | None = None
        self.gate_wait = GateWait()
        self.waited_out_until = self.gate_at = self.wave_over_at = self.status_at = self.taken_at = 0.0
        self.throttled: tuple[float, ev.QuotaThrottled] | None = None
        self.lowered: tuple[float, ev.QuotaDesync] | None = None
        self.unseen: tuple[float, ev.CloudUnseen] | None = None
        self.frozen: Freeze | None = None
        self.pause: ev.RunPaused | None = None
        self.watch = Stopwatch()
        self._elapsed: float | None = None
        servers = self._servers = ServerFold(plan)
        self._outcomes = servers.outcomes
        stages = self._stages = servers.stages
        # The very objects, not copies: they are read for every server, and nobody puts others in their place.
        self.stage, self.run, self.waves, self.domains = stages.stage, stages.run, stages.waves, stages.domains
        self.held, self.kept, self.not_retried = stages.held, stages.kept, stages.not_retried
        self.flights, self.unstarted, self.earlier = servers.flights, servers.unstarted, servers.earlier
        self.left_out, self.retried_at, self.skipped_by = servers.left_out, servers.retried_at, servers.skipped_by
        self.ends = servers.ends

    # -- folding ---------------------------------------------------------------------------------------------------

    def apply(self, recorded: Recorded) -> None:
        """Fold the next event in; events must come in the order of their ``seq``."""
        self.seq = recorded.seq
        event, ts = recorded.event, recorded.ts
        self._heard_at, self.updated_at = self.updated_at, ts
        kind = type(event)
        fold = ServerFold.folds.get(kind)
        if fold is not None:
            fold(self._servers, event, ts)
            return
        fold = self._folds.get(kind)
        if fold is not None:
            fold(self, event, ts)
        if kind in _TURNS:
            self._begin_to_count(ts)

    def apply_restarts(self, restarts: Sequence[Recorded]) -> None:
        """Fold a group of ``restarts_together`` in: several restarts leave what they leave one by one."""
        last = restarts[-1]
        if len(restarts) == 1 or not isinstance(last.event, ev.ServerRestarted):
            self.apply(last)
            return
        self.seq, self._heard_at, self.updated_at = last.seq, last.ts, last.ts
        self._servers.restarted(servers_of(restarts), last.event, last.ts)

    def _begin_to_count(self, ts: float) -> None:
        """Count anew what ends from now on where the run can send, else not at all."""
        stands_still = self.aborting or self.unseen is not None or self.frozen is not None
        can_send = self.status is RunStatus.RUNNING and not stands_still
        if can_send and self.wave > self.wave_over:
            self.ends.begin(ts, self._servers.last_batch)
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
            self._stages.forgive()
        if event.skip_domains:
            self._servers.leave_out(event.skip_domains)
        waves = self._servers.wait_again(event, ts)
        self.wave_over = min([self.wave_over, *(wave - 1 for wave in waves)])

    def _stopped(self, event: ev.RunStopped, ts: float) -> None:
        self.status, self.reason, self.message = RunStatus(event.status), event.reason, event.message
        self.ended_at = self.status_at = ts
        self._elapsed = event.elapsed_s or None
        self.watch.left(ts, event.elapsed_s)

    def _finished(self, event: ev.RunFinished, ts: float) -> None:
        self._servers.keep_waiting(event.status)
        self.status, self.reason, self.message = RunStatus(event.status), event.reason, event.message
        self.ended_at = self.status_at = ts
        self._elapsed = event.elapsed_s
        self.watch.left(ts, event.elapsed_s)

    _folds: ClassVar[Mapping[type[ev.Event], Callable[[Any, Any, float], None]]] = {
        ev.RunStarted: _run_started,
        ev.WaveStarted: _wave_started,
        ev.WaveFinished: _wave_finished,
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
        """Return the index of a server.

        Raises:
            KeyError: it is not in this run.
        """
        return self._servers.find(server)

    def locate(self, server: str) -> tuple[int, str]:
        """Return the number of a server's wave, 0 where it is in none, and its domain."""
        i = self._servers.find(server)
        return self._stages.wave_of(i), self.plan.fleet.domain(i)

    @property
    def counts(self) -> dict[OutcomeKind, int]:
        """Outcomes so far; a server under way counts as unknown, a waiting one as not started or as what it was."""
        counts = {kind: self.run.ended[kind] for kind in OutcomeKind}
        counts[OutcomeKind.UNKNOWN] += self.run.in_flight
        counts[OutcomeKind.NOT_STARTED] += self.run.waiting
        for stage, n in self._stages.kept_waiting.items():
            counts[OutcomeKind.NOT_STARTED] -= n
            counts[KIND[stage]] += n
        return counts

    @property
    def failures(self) -> deque[Failure]:
        """The most recent failures, oldest first, without those that are tried again."""
        return self._servers.failures.recent

    @property
    def failed_by(self) -> dict[str, Counter[str]]:
        """How many failures each domain, host and code has, without those that are tried again."""
        return self._servers.failures.counts

    @property
    def failed(self) -> bool:
        """True where a server ended neither restarted nor rightly skipped; failures count though forgiven."""
        return any(self.run.ended[KIND[stage]] for stage in (*FAILURES, Stage.LEFT_OUT))

    @property
    def not_found(self) -> list[str]:
        """The ids that turned out not to exist, in the order of the fleet."""
        if not self.skipped_by[SkipReason.NOT_FOUND]:
            return []
        gone = (i for i, (reason, _, _) in self._outcomes.details.items() if reason == SkipReason.NOT_FOUND)
        return [self.plan.fleet.ids[i] for i in sorted(gone) if self.stage[i] == Stage.SKIPPED]

    @property
    def left_out_by(self) -> Counter[str]:
        """How many servers were left out, for each domain."""
        return +Counter({name: tally.ended[OutcomeKind.NOT_STARTED] for name, tally in self.domains.items()})

    @property
    def not_retried_by(self) -> Counter[str]:
        """How many servers were to be tried again and were not, or not yet, by reason (`Outcome.not_retried`)."""
        return self._stages.not_retried_by + Counter(waiting=self._stages.kept_waiting.total())

    @property
    def last_batch(self) -> int:
        """The highest batch number so far."""
        return self._servers.last_batch

    @property
    def rejected(self) -> tuple[float, ev.BatchRejected] | None:
        """The last rejected request and when; None once one was accepted."""
        return self._servers.rejected

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
        return self._outcomes.attempts[i]

    def kept_outcome(self, i: int) -> Outcome | None:
        """Return how the server with index ``i`` had failed that is, or was, to be tried again; None for others."""
        if i in self.kept:
            return self._outcomes.outcome(i, self.kept[i].stage, "waiting")
        return self.outcome(i) if i in self.not_retried else None

    def outcome(self, i: int) -> Outcome:
        """Return how the server with index ``i`` ended; where it has not, how it stands."""
        stage = Stage(self.stage[i])
        if stage is Stage.WAITING and i in self.kept:
            return self._outcomes.outcome(i, self.kept[i].stage, "waiting")
        return self._outcomes.outcome(i, stage, self.not_retried.get(i, ""))

    def outcomes(self) -> Iterator[Outcome]:
        """Return every server's outcome in the order of the fleet."""
        return (self.outcome(i) for i in range(len(self.plan.fleet)))
