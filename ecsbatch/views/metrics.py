"""`Metrics`: what a process has done since it began, counted from the events that it has stored.

It hears of a `Restarter`'s events and of an `EcsClient`'s requests, and counts; what stands now (servers down, tokens)
is measured when somebody asks, see `measure`. Neither grows with servers, hosts or runs. `MetricsCollector` gives both
to a registry of prometheus_client, which a program of its own has, or `registry_of` makes::

    metrics = Metrics()
    async with (
        EcsClient(region="eu-west-101", auth=credentials(), watchers=[metrics]) as ecs,
        open_store("sqlite:///restarts.db") as store,
        Restarter(ecs, store, watchers=[metrics]) as restarter,
    ):
        await restarter.restart("web-1")
        sample = await measure([restarter])  # before each answer to Prometheus
        print(written(registry_of(MetricsCollector(metrics, lambda: sample), process=True)))
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar, Final, TypeVar

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.requests import OutgoingRequest
from ecsbatch.model.state import RolloutState

K = TypeVar("K")

OUTCOMES: Final = tuple(kind.value for kind in OutcomeKind if kind is not OutcomeKind.NOT_STARTED)
"""The outcomes that events tell of."""
RESULTS: Final = ("accepted", "unknown", "throttled", "not_accepted", "refused", "auth", "not_sent")
"""What a request for restarts can come to."""
ENDS: Final = ("succeeded", "failed", "aborted", "stopped", "interrupted")
"""How a run can end here."""
STOP_REASONS: Final = (
    *("max_failures", "max_failures_per_wave", "max_failures_per_domain", "gate", "gate_timeout", "budget_exhausted"),
    *("cloud_unreachable", "auth", "store"),
)
"""Why a run can stop; for any other reason it is ``other``."""

RESTART_BOUNDS: Final = (10.0, 20.0, 30.0, 40.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0)
DELAY_BOUNDS: Final = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 60.0, 120.0)
HTTP_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The upper bounds of the buckets, in seconds; those of requests are OpenTelemetry's."""

_STATUSES: Final = frozenset({200, 201, 202, 204, 400, 401, 403, 404, 408, 409, 413, 429, 500, 501, 502, 503, 504})
_RUNS_KNOWN: Final = 256
"""Runs of which the last event is remembered, so that none is counted twice."""


class Histogram:
    """How many values are up to each bound.

    Attributes:
        bounds: the upper bounds, ascending.
        counts: how many values each bucket has; the last one is for those above all bounds.
        total: all values added.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin without values."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class _Flight:
    """A request under way: its servers' site, when it was stored, and how many of them have no outcome yet."""

    site: str
    since: float
    left: int


@dataclass(slots=True)
class _Run:
    """What is remembered of a run that this process has or had.

    Attributes:
        seq: the number of the last event that was counted.
        site: of the last request that was not accepted.
        flights: requests under way, by number.
    """

    seq: int = 0
    site: str = ""
    flights: dict[int, _Flight] = field(default_factory=dict[int, _Flight])


class Metrics:
    """Counts what one process does, for as many runs as it has; a site is its key in the `Restarter`, mostly "".

    Events that it has heard are counted once, however often a run is let go and taken again.

    Attributes:
        servers: outcomes by site and kind. A server that is tried again has one more.
        submits: requests for restarts by site and what they came to.
        submitted: the servers that they named, by site.
        restarts: seconds from a request to the recorded end of a restarted server, by site and evidence: with a health
            check these are the checks' seconds, too.
        delays: for how many seconds a restart was over when a look showed it, by the cloud's own clock.
        requests: seconds of HTTP requests by method, route and status.
        desyncs: how often the cloud refused what the ledger had granted, by site.
        ended: how runs have ended here.
        stopped: why runs stand still now, by run.
        completed_at: when a server's outcome other than a skip was recorded last, by site, seconds since 1970.
        taken_at: when this process has begun or taken a run last, in the same way; 0 where it has not.
    """

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self.servers, self.submits = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        self.submitted, self.desyncs, self.ended = Counter[str](), Counter[str](), Counter[str]()
        self.restarts = dict[tuple[str, str], Histogram]()
        self.delays = Histogram(DELAY_BOUNDS)
        self.requests = dict[tuple[str, str, str], Histogram]()
        self.stopped = dict[str, str]()
        self.completed_at = dict[str, float]()
        self.taken_at = 0.0
        self._runs = OrderedDict[str, _Run]()

    # -- events ----------------------------------------------------------------------------------------------------

    def heard(self, recorded: Recorded, state: RolloutState | None) -> None:
        """Count an event once; ``state`` is of its rollout, None for single restarts."""
        run = self._run(recorded.run_id)
        if recorded.seq <= run.seq:
            return
        run.seq = recorded.seq
        event = recorded.event
        if isinstance(event, ev.ServerEvent):
            self._ended(run, event, recorded.ts, state)
        elif isinstance(event, ev.HolderChanged):
            self._taken(run, recorded, state)
        elif (count := self._counts.get(type(event))) is not None:
            count(self, run, recorded, event)

    def asked(self, server: str, answer: asyncio.Future[Outcome]) -> None:
        """Hear of a single restart; its events are what counts."""

    def left(self, run_id: str) -> None:
        """Hear that a run was let go; what of it goes on here is measured, not counted."""

    def _run(self, run_id: str) -> _Run:
        run = self._runs.get(run_id)
        if run is None:
            run = self._runs[run_id] = _Run()
            if len(self._runs) > _RUNS_KNOWN:
                self.stopped.pop(self._runs.popitem(last=False)[0], None)
        return run

    def _taken(self, run: _Run, recorded: Recorded, state: RolloutState | None) -> None:
        self._runs.move_to_end(recorded.run_id)
        if state is not None:
            # Of an earlier holder's requests it is counted how long they take, and not that they were sent.
            flights = state.flights.values()
            run.flights = {each.batch: _Flight(each.site, each.submitted_at, len(each.open)) for each in flights}
        self.taken_at = recorded.ts
        self.stopped.pop(recorded.run_id, None)

    def _submitting(self, run: _Run, recorded: Recorded, event: ev.BatchSubmitting) -> None:
        run.flights[event.batch] = _Flight(event.site, recorded.ts, len(event.servers))
        self.submitted[event.site] += len(event.servers)

    def _accepted(self, run: _Run, _: Recorded, event: ev.BatchAccepted) -> None:
        self.submits[_site(run, event.batch), "accepted"] += 1

    def _unknown(self, run: _Run, _: Recorded, event: ev.BatchUnknown) -> None:
        self.submits[_site(run, event.batch), "unknown"] += 1

    def _rejected(self, run: _Run, _: Recorded, event: ev.BatchRejected) -> None:
        run.site = _site(run, event.batch)
        self.submits[run.site, event.kind if event.kind in RESULTS else "not_accepted"] += 1
        run.flights.pop(event.batch, None)

    def _unstarted(self, run: _Run, _: Recorded, event: ev.BatchUnstarted) -> None:
        _land(run, event.batch, len(event.servers))

    def _desync(self, run: _Run, _: Recorded, __: ev.QuotaDesync) -> None:
        self.desyncs[run.site] += 1

    def _ended(self, run: _Run, event: ev.ServerEvent, ts: float, state: RolloutState | None) -> None:
        flight = run.flights.get(event.batch)
        site = flight.site if flight is not None else _site_in(state, event.server)
        if not event.not_retried:  # else it has the outcome that was counted before
            self.servers[site, event.kind.value] += 1
        if event.kind is not OutcomeKind.SKIPPED:
            self.completed_at[site] = ts
        if flight is not None:
            if event.kind is OutcomeKind.RESTARTED:
                _in(self.restarts, (site, event.evidence), RESTART_BOUNDS).observe(ts - flight.since)
            _land(run, event.batch, 1)

    def _stopped(self, _: _Run, recorded: Recorded, event: ev.RunStopped) -> None:
        self.ended[event.status] += 1
        if event.status == RunStatus.STOPPED:
            self.stopped[recorded.run_id] = event.reason if event.reason in STOP_REASONS else "other"

    def _finished(self, run: _Run, recorded: Recorded, event: ev.RunFinished) -> None:
        run.flights.clear()
        self.ended[event.status] += 1
        self.stopped.pop(recorded.run_id, None)

    _counts: ClassVar[Mapping[type[ev.Event], Callable[[Any, _Run, Recorded, Any], None]]] = {
        ev.BatchSubmitting: _submitting,
        ev.BatchAccepted: _accepted,
        ev.BatchUnknown: _unknown,
        ev.BatchRejected: _rejected,
        ev.BatchUnstarted: _unstarted,
        ev.QuotaDesync: _desync,
        ev.RunStopped: _stopped,
        ev.RunFinished: _finished,
    }

    # -- requests --------------------------------------------------------------------------------------------------

    def sending(self, request: OutgoingRequest) -> Callable[[int, str], None]:
        """Time a request."""
        begun = time.perf_counter()

        def ended(status: int, _: str) -> None:
            key = (request.method, request.route, status_word(status))
            _in(self.requests, key, HTTP_BOUNDS).observe(time.perf_counter() - begun)

        return ended

    def saw_ends(self, delays: Sequence[float]) -> None:
        """Count for how long restarts were over when a look showed it."""
        for delay in delays:
            self.delays.observe(delay)


def status_word(status: int) -> str:
    """Return the word for an HTTP status: its number, of rare ones only the class such as ``5xx``, else ``none``."""
    if status in _STATUSES:
        return str(status)
    return f"{status // 100}xx" if 100 <= status <= 599 else "none"  # noqa: PLR2004 - the statuses of HTTP


def _in(histograms: dict[K, Histogram], key: K, bounds: Sequence[float]) -> Histogram:
    found = histograms.get(key)
    if found is None:
        found = histograms[key] = Histogram(bounds)
    return found


def _site(run: _Run, batch: int) -> str:
    flight = run.flights.get(batch)
    return flight.site if flight is not None else run.site


def _site_in(state: RolloutState | None, server: str) -> str:
    """Return the key of a server's site by its run's plan."""
    index = None if state is None else state.plan.fleet.index_of(server)
    return "" if state is None or index is None else state.plan.fleet.site(index)


def _land(run: _Run, batch: int, servers: int) -> None:
    """Forget a request once all its servers have ended."""
    flight = run.flights.get(batch)
    if flight is not None:
        flight.left -= servers
        if flight.left <= 0:
            del run.flights[batch]
