"""`ServerFold`: what the events of requests and of servers' outcomes change, folded as a part of `RolloutState`.

`ServerFold.folds` at the end of the class says which event changes what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from ecsbatch.model import events as ev
from ecsbatch.model.failures import Failure, FailureLog
from ecsbatch.model.outcome_columns import OutcomeColumns
from ecsbatch.model.pace import EndCounter
from ecsbatch.model.plan import Plan
from ecsbatch.model.stages import Stages
from ecsbatch.model.tally import ENDED, FAILURES, KIND, Attempt, InFlightBatch, Stage

_NEVER_SENT: Final = 1_000_000
"""Numbers of batches, at most, that a run has given to some for which no tokens came; each other one has its event."""


class ServerFold:
    """How the servers of one run stand. What `RolloutState` has too is explained there.

    Attributes:
        plan: the run's.
        stages: how far each server is, and the tallies.
        outcomes: what is remembered of their requests and ends.
        failures: the recent ones, and how many there are.
        flights, unstarted, earlier, last_batch, rejected, left_out, retried_at, skipped_by, ends: as in `RolloutState`.
    """

    def __init__(self, plan: Plan) -> None:
        """Begin before the first event."""
        self.plan = plan
        self.stages, self.outcomes = Stages(plan), OutcomeColumns(plan.fleet)
        self.failures = FailureLog()
        self.flights, self._under_way = dict[int, InFlightBatch](), dict[str, int]()
        self.unstarted: dict[str, int] = {}
        self.earlier: dict[str, Attempt] = {}
        self.last_batch = self._intents = 0
        self.rejected: tuple[float, ev.BatchRejected] | None = None
        self.left_out: set[str] = set()
        self._retried_left_out = set[int]()
        self.retried_at: dict[int, float] = {}
        self.skipped_by: Counter[str] = Counter()
        self.ends = EndCounter()

    def find(self, server: str) -> int:
        """Return the index of a server; of one under way it is at hand, for it is asked for several times.

        Raises:
            KeyError: it is not in this run.
        """
        index = self._under_way.get(server)
        return self.plan.fleet.find(server) if index is None else index

    def _indexes(self, servers: Iterable[str]) -> list[int]:
        find = self.find
        return [find(server) for server in servers]

    # -- requests --------------------------------------------------------------------------------------------------

    def _submitting(self, event: ev.BatchSubmitting, ts: float) -> None:
        self._intents += 1
        if not 0 < event.batch <= self._intents + _NEVER_SENT:
            raise ValueError(f"batch {event.batch}")
        self.flights[event.batch] = InFlightBatch.of(event, ts)
        self.last_batch = max(self.last_batch, event.batch)
        indexes = self._indexes(event.servers)
        self._under_way.update(zip(event.servers, indexes, strict=True))
        self.stages.send(indexes, Stage.SUBMITTING)
        self.outcomes.submitting(event.batch, indexes, ts)

    def _accepted(self, event: ev.BatchAccepted, _: float) -> None:
        flight = self.flights.get(event.batch)
        self.rejected = None
        if flight is None:
            return
        flight.job_id = event.job_id
        self.outcomes.accepted(event.batch, event.job_id)
        self.stages.move(self._indexes(flight.open), Stage.ACCEPTED)

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
        self.stages.move(self._indexes(flight.open), Stage.UNSETTLED)

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
            if self.stages.stage[i] in FAILURES:
                self.stages.keep_until_tried(i)
                self.failures.set_aside({self.plan.fleet.ids[i]})
        fleet, batch = self.plan.fleet, event.batch
        servers = [fleet.ids[i] for i in indexes]
        attempts = [self.earlier.pop(server, Attempt(batch, "", 0.0)) for server in servers]
        updated = [attempt.updated for attempt in attempts]
        job_id = attempts[0].job_id
        flight = self.flights.get(batch)
        if flight is None:
            at = self.outcomes.submitted[batch]
            flight = self.flights[batch] = InFlightBatch(
                batch, servers, updated, set(), self.plan.type, fleet.site(indexes[0]), "", at
            )
            flight.job_id = job_id
            flight.unknown_at = None if job_id else ts
        flight.begun.update(servers)
        flight.by_state.update(() if job_id else servers)
        flight.open.update(servers)
        self.stages.send(indexes, Stage.ACCEPTED if job_id else Stage.UNSETTLED)

    def _can_have_begun(self, i: int) -> bool:
        stage = self.stages.stage[i]
        waits = stage in {Stage.WAITING, Stage.LEFT_OUT}
        return waits or (stage in FAILURES and self.stages.not_retried.get(i) == "left_out")

    def _requeue(self, servers: Collection[str]) -> None:
        """Let servers wait again, except those of left-out domains; one that was down before counts as down again."""
        indexes = self._indexes(servers)
        for server in servers:
            self._under_way.pop(server, None)
        out = [i for i in indexes if self._is_left_out(i)] if self.left_out else []
        self.stages.move(set(indexes).difference(out) if out else indexes, Stage.WAITING)
        self._end_left_out(out)
        self.stages.hold_again(indexes)

    def _close(self, batch: int, servers: Iterable[str]) -> None:
        flight = self.flights.get(batch)
        if flight is not None:
            flight.open.difference_update(servers)
            if not flight.open:
                del self.flights[batch]

    # -- outcomes --------------------------------------------------------------------------------------------------

    def _ended(self, event: ev.ServerEvent, ts: float) -> None:
        server, stages, stage = event.server, self.stages, ENDED[event.kind]
        i = self.find(server)
        self._settle(server, i)
        if not event.not_retried:
            self._end(i, stage, event, ts)
        elif i in stages.kept:
            self._keep(i, event.not_retried)
        # A server that was down before it was tried again is not up for being skipped: only a look says that.
        if event.holds or ((stage is Stage.SKIPPED or event.not_retried) and stages.was_down(i)):
            stages.hold(i)
        else:
            stages.release(i)
        self._close(event.batch, (server,))

    def _end(self, i: int, stage: Stage, event: ev.ServerEvent, ts: float) -> None:
        """Give a server its outcome."""
        self.stages.end(i, stage)
        self.outcomes.ended(i, stage, event, ts)
        if stage is Stage.SKIPPED:
            self.skipped_by[event.reason] += 1
        else:
            self.ends.ended(event.batch, ts)
        if stage in FAILURES:
            self.failures.add(
                Failure(event.server, event.kind, event.domain, event.host, event.reason, event.code, event.message)
            )

    def restarted(self, servers: Sequence[str], like: ev.ServerRestarted, ts: float) -> None:
        """Fold the restarts of servers together, all ``like`` one: each leaves what `_ended` leaves of it."""
        indexes = self._indexes(servers)
        for server, i in zip(servers, indexes, strict=True):
            self._settle(server, i)
        self.stages.end_restarted(indexes)
        self.outcomes.restarted(indexes, like.evidence, ts)
        self.ends.ended(like.batch, ts, len(servers))
        self._close(like.batch, servers)

    def _settle(self, server: str, i: int) -> None:
        """Forget what matters only until a server has its outcome."""
        self._under_way.pop(server, None)
        self.unstarted.pop(server, None)
        self.earlier.pop(server, None)
        self.retried_at.pop(i, None)

    def _released(self, event: ev.ServerReleased, _: float) -> None:
        self.stages.release(self.plan.fleet.find(event.server))

    def _keep(self, i: int, why: str) -> None:
        """End a server that was to be tried again as what it was before; ``why`` that was not done, in a word."""
        self.stages.keep(i, why)
        self.failures.put_back(self.plan.fleet.ids[i])

    # -- what a resume or the run's end does to servers ------------------------------------------------------------

    def keep_waiting(self, why: str) -> None:
        """End who still waits to be tried again as what it was before; ``why`` that was not done, in a word."""
        for i in [i for i in self.stages.kept if self.stages.stage[i] == Stage.WAITING]:
            self._keep(i, why)

    def leave_out(self, domains: Sequence[str]) -> None:
        """End what waits in domains that are left out from now on."""
        self.left_out.update(domains)
        domain, in_waves = self.plan.fleet.domain, self.plan.to_restart
        self._retried_left_out = {i for i in self._retried_left_out if domain(i) not in domains}
        waiting = (i for i, stage in enumerate(self.stages.stage) if stage == Stage.WAITING and i < in_waves)
        self._end_left_out([i for i in waiting if self._is_left_out(i)])

    def _end_left_out(self, indexes: Sequence[int]) -> None:
        """End servers as left out, those that had failed before as what they were."""
        stages = self.stages
        for i in stages.kept.keys() & indexes if stages.kept else ():
            self._keep(i, "left_out")
        stages.move([i for i in indexes if stages.stage[i] not in FAILURES], Stage.LEFT_OUT)

    def _is_left_out(self, i: int) -> bool:
        return self.plan.fleet.domain(i) in self.left_out and i not in self._retried_left_out

    def wait_again(self, event: ev.RunResumed, ts: float) -> list[int]:
        """Let servers wait again that a resume wants to be tried again; return the numbers of their waves.

        A retry that somebody asks for counts more than that the domain was left out before. Those that were sent and
        failed have this outcome for as long as they are not sent again, where the event says so.
        """
        stages, fleet, in_waves = self.stages, self.plan.fleet, self.plan.to_restart
        retried = {ENDED[kind] for kind in event.retry if kind in ENDED}
        if not retried:
            return []
        again = [i for i in stages.at(retried) if fleet.domain(i) not in event.skip_domains]
        if Stage.SKIPPED in retried:  # whom the plan leaves alone is in no wave
            again = [i for i in again if i < in_waves]
            self.skipped_by -= Counter(self.outcomes.details[i][0] for i in again if stages.stage[i] == Stage.SKIPPED)
        self._retried_left_out.update(i for i in again if fleet.domain(i) in self.left_out)
        self.retried_at.update(dict.fromkeys(again, ts))
        for i in again:
            if self.outcomes.attempts[i]:
                if event.keeps_outcomes and stages.stage[i] in FAILURES:
                    stages.keep_until_tried(i)
                self.earlier[fleet.ids[i]] = self.outcomes.last_attempt(i)
        stages.retry(again)
        self._forget(again)
        return [stages.wave_of(i) for i in again if i < in_waves]

    def _forget(self, again: Sequence[int]) -> None:
        """Take servers that are tried again out of the failures."""
        self.failures.set_aside({self.plan.fleet.ids[i] for i in again})
        if not any(self.stages.run.ended[KIND[stage]] for stage in FAILURES):
            self.failures.clear_counts()

    folds: ClassVar[Mapping[type[ev.Event], Callable[[Any, Any, float], None]]] = {
        ev.BatchSubmitting: _submitting,
        ev.BatchAccepted: _accepted,
        ev.BatchRejected: _rejected,
        ev.BatchUnknown: _unanswered,
        ev.BatchUnstarted: _unstarted,
        ev.BatchStarted: _started,
        ev.JobFinished: _job_finished,
        ev.ServerRestarted: _ended,
        ev.ServerFailed: _ended,
        ev.ServerTimedOut: _ended,
        ev.ServerUnknown: _ended,
        ev.ServerSkipped: _ended,
        ev.ServerReleased: _released,
    }
