"""`DirectState`: the fold over the events of a run of direct restarts: who is pending, and what is in flight.

Such a run has no plan and no end in sight, so that the state is small: whoever has an outcome is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ecsbatch.engine.pending import PendingRestart
from ecsbatch.model import events as ev
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Claim
from ecsbatch.model.tally import Attempt, InFlightBatch


class DirectState:
    """Pending servers and requests in flight of one run.

    Attributes:
        pending: the servers that somebody has asked for and that have no outcome yet.
        batches: the requests of which a server has no outcome yet, by number.
        in_flight: the request of each server that is in flight, whether or not somebody still waits for it.
        seq: the number of the last event that is folded, 0 before the first.
        frozen: the freeze of the store that the record tells of, or is about to; None where there is none.
    """

    def __init__(self, ended: Callable[[PendingRestart, Outcome], None]) -> None:
        """Begin before the first event; ``ended`` is told of each pending server that has its outcome."""
        self.pending: dict[str, PendingRestart] = {}
        self.batches: dict[int, InFlightBatch] = {}
        self.in_flight: dict[str, InFlightBatch] = {}
        self.seq = 0
        self.frozen: Freeze | None = None
        self._ended = ended

    @property
    def unanswered(self) -> list[int]:
        """The numbers of the requests of which the record says neither an answer nor that there is none."""
        return [batch.batch for batch in self.batches.values() if not batch.job_id and batch.unknown_at is None]

    def freed_by(self, event: ev.Event) -> Sequence[Claim]:
        """Return the claims that end with an event: of servers that have an outcome, or wait again."""
        match event:
            case ev.ServerEvent():
                servers: Iterable[str] = [event.server]
            case ev.BatchUnstarted():
                servers = event.servers
            case ev.BatchRejected() if event.batch in self.batches:
                servers = self.batches[event.batch].open
            case _:
                return ()
        return [(self.in_flight[server].site, server) for server in servers if server in self.in_flight]

    def apply(self, recorded: Recorded) -> None:
        """Follow an event."""
        self._follow(recorded.event, recorded.ts)
        self.seq = recorded.seq

    def _follow(self, event: ev.Event, ts: float) -> None:
        match event:
            case ev.ServerEvent():
                self._leave_flight([event.server])
                if pending := self.pending.pop(event.server, None):
                    self._ended(pending, event.outcome(ts, pending.attempts, pending.submitted_at))
            case ev.BatchSubmitting():
                self._enter_flight(event, ts)
            case ev.BatchAccepted() if event.batch in self.batches:
                self.batches[event.batch].job_id = event.job_id
            case ev.BatchUnknown() if event.batch in self.batches:
                self.batches[event.batch].unknown_at = ts
            case ev.BatchStarted():
                self._under_way_again(event, ts)
            case ev.BatchRejected() if event.batch in self.batches:
                batch = self.batches[event.batch]
                refused = event.kind == "refused"
                self._wait_again(batch, tuple(batch.open), void=refused, refused=refused)
            case ev.BatchUnstarted() if event.batch in self.batches:
                for pending in self._pending_of(event.servers):
                    pending.unstarted += 1
                self._wait_again(self.batches[event.batch], event.servers, void=True)
            case _:
                return

    def _pending_of(self, servers: Iterable[str]) -> Iterator[PendingRestart]:
        return filter(None, map(self.pending.get, servers))

    def _enter_flight(self, event: ev.BatchSubmitting, ts: float) -> None:
        batch = self.batches[event.batch] = InFlightBatch.of(event, ts)
        self.in_flight.update(dict.fromkeys(event.servers, batch))
        for pending in self._pending_of(event.servers):
            pending.attempts += 1
            pending.submitted_at = ts

    def _under_way_again(self, event: ev.BatchStarted, ts: float) -> None:
        """Count servers as in flight that a request has started after all, where somebody waits for one of them."""
        batch = self.batches.get(event.batch)
        if batch is None:
            pending = next(self._pending_of(event.servers), None)
            if pending is None:
                return
            queue = pending.queue
            batch = self.batches[event.batch] = InFlightBatch(
                event.batch, [], [], set(), queue.options.type, queue.site, unknown_at=ts
            )
        self.in_flight.update(dict.fromkeys(event.servers, batch))
        batch.open.update(event.servers)
        batch.begun.update(event.servers)

    def _wait_again(self, batch: InFlightBatch, servers: Sequence[str], *, void: bool, refused: bool = False) -> None:
        """Count servers as waiting whose request did nothing; with ``void`` a look may yet show that it did."""
        self._leave_flight(servers)
        if void:
            before = batch.baselines()
            for server in servers:
                if pending := self.pending.get(server):
                    updated = before.get(server, "")
                    pending.earlier = Attempt(batch.batch, updated, batch.cloud_time, refused=refused)

    def _leave_flight(self, servers: Iterable[str]) -> None:
        for server in servers:
            if batch := self.in_flight.pop(server, None):
                batch.open.discard(server)
                if not batch.open:
                    self.batches.pop(batch.batch, None)
