"""`ServerQueue`: servers with the same owner, site and options, from their wait to their outcomes.

A rollout has a queue at each of its sites; the direct restarts of a `Restarter` share one for each site and type. The
engine's parts work on queues and never on rollouts: they take servers from a queue and report to it what happens.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextvars import Context
from dataclasses import field
from typing import Any, Final, TypeVar

from ecsbatch.engine.journal import JournalWriter
from ecsbatch.engine.ports import QueueOwner
from ecsbatch.errors import EcsbatchError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Evidence, OutcomeKind
from ecsbatch.model.run import Committed, Halt, Transaction
from ecsbatch.model.servers import RestartType, Server, ServerView
from ecsbatch.model.tally import InFlightBatch
from ecsbatch.model.tokens import Grant, Settlement
from ecsbatch.model.view_table import ViewTable

Check = Callable[[Server], Awaitable[bool]]
"""Asks a server whether it is healthy: True where it is; False, or raising, means not yet."""

BASELINE_AGE = 55.0
"""Seconds after which a look is no baseline any more and servers are looked at again; a minute is promised."""

FRESH_FOR = 45.0
"""Seconds after its look for which a batch waits for tokens: it is looked at anew while they are still to come, so
that it does not wait for that look, too, once they are there."""

_FAILURES: Final[Mapping[OutcomeKind, type[ev.ServerEvent]]] = {
    kind.kind: kind for kind in (ev.ServerFailed, ev.ServerTimedOut, ev.ServerUnknown)
}

E = TypeVar("E", bound=ev.ServerEvent)


@dataclass(slots=True)
class RestartOptions:
    """How the servers of a queue are to be restarted.

    Attributes:
        type: ``SOFT`` or ``HARD``.
        batch_size: servers per request at the most.
        precheck: leave out what must not be restarted.
        skip_updated_since: leave out servers that others have changed since then, seconds since 1970; None: send them.
        server_timeout: seconds from a server's intent to its outcome.
        resend: how often a server is sent again whose request was shown not to have started it.
        check: asks a server itself whether it is healthy; None: the cloud's answer is enough.
        check_is_program: the check starts a program of its own for each server.
        check_interval: seconds between two checks of a server.
        min_ready: seconds for which a server must stay healthy.
        linger: seconds that a batch which is not full waits for more servers.
        context: the context variables that the check sees; None: the engine's own.
    """

    type: RestartType = "SOFT"
    batch_size: int = 100
    precheck: bool = True
    skip_updated_since: float | None = None
    server_timeout: float = 600.0
    resend: int = 2
    check: Check | None = None
    check_is_program: bool = False
    check_interval: float = 5.0
    min_ready: float = 0.0
    linger: float = 0.5
    context: Context | None = None


@dataclass(slots=True)
class Prechecked:
    """Servers that were looked at and may go into one request.

    Attributes:
        views: what precheck saw of each, in order: the baseline.
        looked_at: loop time at which the look was asked for.
        refusals: how often the cloud refused exactly these; what was refused is not merged with others.
    """

    views: ViewTable
    looked_at: float
    refusals: int = 0

    def stale(self, now: float) -> bool:
        """Tell whether the look is too old to be a baseline at a loop time; what was refused goes as it is."""
        return not self.refusals and self.looked_at < now - BASELINE_AGE

    @property
    def fresh_until(self) -> float | None:
        """Return the loop time from which it is better looked at anew than kept; None: it goes as it is."""
        return None if self.refusals else self.looked_at + FRESH_FOR


@dataclass(slots=True)
class Batch:
    """The servers of one request, from its intent to its last server's outcome.

    Attributes:
        number: of the batch in its run.
        queue: where its servers come from, and to which they are reported.
        views: what precheck saw of each server, in the order of the request.
        grant: its tokens; an adopted batch names the grant that another process took.
        cloud_time: the cloud's clock at the intent, seconds since 1970; 0 where not known.
        deadline: observed time after which a server without an outcome has timed out.
        open: servers without an outcome.
        refusals: of the prechecked servers that it was made of.
        job_id: "" until the request is accepted.
        begun: servers that the cloud has shown to be restarted by it, whatever was answered.
        sent: when its first byte left, by the ledger's clock; 0 while none has.
    """

    number: int
    queue: ServerQueue
    views: ViewTable
    grant: Grant
    cloud_time: float
    deadline: float
    open: set[str]
    refusals: int = 0
    job_id: str = ""
    begun: Collection[str] = ()
    sent: float = 0.0


@dataclass(eq=False)
class ServerQueue:
    """A queue of servers with the same owner, site and options; the engine takes from it and reports to it.

    Attributes:
        site: the key of its site.
        options: how to restart its servers.
        journal: writes what happens to them.
        owner: whose servers they are; asked what may be done with each.
        wave: the number of the wave under way, 0 for direct restarts.
        waiting: servers that were put in and not looked at.
        ready: servers that were looked at and are to be sent.
        given: servers whose intent the store has and has not answered.
        in_air: requests whose intent was given to the store and that are neither refused there nor answered.
        more: more servers are to be expected, so a small batch may wait for them.
        open: servers may be sent.
        halt: why the engine cannot go on with this queue; None while it can.
        waiting_since: loop time from which the linger counts.
        looking: how many servers are just being looked at.
        packing: how many servers wait for tokens.
        unaccepted: loop times of the first and of the last request in a row that was not accepted; None: the last was.
        generation: counts the recalls; who took servers from the queue before one gives them back to the owner.
        fault: why its servers' events cannot be written any more.
        dropped: nobody waits for these servers any more; what the engine has in hand is let go.
    """

    site: str
    options: RestartOptions
    journal: JournalWriter
    owner: QueueOwner
    wave: int = 0
    waiting: deque[str] = field(default_factory=deque[str])
    ready: deque[Prechecked] = field(default_factory=deque[Prechecked])
    given: set[str] = field(default_factory=set[str])
    in_air: int = 0
    more: bool = False
    open: bool = True
    halt: Halt | None = None
    waiting_since: float = 0.0
    looking: int = 0
    packing: int = 0
    unaccepted: tuple[float, float] | None = None
    generation: int = 0
    fault: EcsbatchError | None = None
    dropped: bool = False

    def wake(self) -> None:
        """Tell the owner that this queue has changed; it wakes the engine."""
        self.owner.woken(self)

    # -- the queue -------------------------------------------------------------------------------------------------

    def put(self, servers: Iterable[str]) -> None:
        """Append servers."""
        if not self.waiting:
            self.waiting_since = asyncio.get_running_loop().time()
        self.waiting.extend(servers)
        self.wake()

    def append(self, server: str) -> None:
        """Append one server of many; the caller calls `wake` after the last."""
        if not self.waiting:
            self.waiting_since = asyncio.get_running_loop().time()
        self.waiting.append(server)

    def recall(self) -> list[str]:
        """Take back every server without an intent; those in the engine's hands come by `QueueOwner.returned`."""
        self.generation += 1
        self.unaccepted = None  # what was not accepted before says nothing of what is asked after a pause
        taken = [server for prechecked in self.ready for server in prechecked.views]
        taken += self.waiting
        self.ready.clear()
        self.waiting.clear()
        return taken

    def requeue(self, servers: Sequence[str]) -> None:
        """Put servers that are still wanted back at the head, in this order, to be looked at anew."""
        if not self.waiting:
            self.waiting_since = asyncio.get_running_loop().time()
        self.waiting.extendleft(server for server in reversed(servers) if self.owner.wanted(self, server))
        self.wake()

    def freshen(self, now: float) -> None:
        """Put servers back, to be looked at anew, whose look will be too old before long at loop time ``now``."""
        old: list[str] = []
        while self.ready and (until := self.ready[0].fresh_until) is not None and until <= now:
            old += self.ready.popleft().views
        if old:
            self.requeue(old)

    @property
    def ready_count(self) -> int:
        """Servers that are ready to be sent."""
        return sum(len(prechecked.views) for prechecked in self.ready)

    @property
    def queued(self) -> int:
        """Servers that were put in and have no intent yet."""
        return len(self.waiting) + self.ready_count + self.looking + self.packing

    def due_at(self, size: int) -> float:
        """Return the loop time from which waiting servers go on: the end of the linger, 0 where no more need come."""
        if not self.more or len(self.waiting) + self.ready_count >= size:
            return 0.0
        return self.waiting_since + self.options.linger

    # -- reports ---------------------------------------------------------------------------------------------------

    async def report(self, events: Sequence[ev.Event], settle: Sequence[Settlement] = ()) -> bool:
        """Write what happened to these servers; False where that failed, which ends the queue and no others."""
        return await self.written(self.journal.record(Transaction(events, settle=settle)))

    async def written(self, commit: asyncio.Future[Committed]) -> bool:
        """Wait until a commit is written; False where that failed, which ends the queue."""
        try:
            await commit
        except EcsbatchError as e:
            self.fail(e)
            return False
        return True

    def fail(self, fault: EcsbatchError) -> None:
        """End the queue: what happens to its servers cannot be written any more."""
        self.fault = self.fault or fault
        self.stop("store", str(fault))

    def server_event(
        self, kind: type[E], server: str, batch: Batch | None = None, view: ServerView | None = None, **more: Any
    ) -> E:
        """Make an event of a server: wave, domain, batch, job and host are filled in; ``more`` are its other fields."""
        wave, domain = self.owner.locate(server)
        if view is None and batch is not None:
            view = batch.views.get(server)
        return kind(
            server=server,
            wave=wave,
            domain=domain or (view.az if view else ""),
            batch=batch.number if batch else 0,
            job_id=batch.job_id if batch else "",
            host=view.host_id if view else "",
            **more,
        )

    def left_alone(
        self, server: str, reason: str, batch: Batch | None = None, view: ServerView | None = None, **more: Any
    ) -> ev.ServerEvent:
        """Make the event of a server that must not be restarted; one that had failed is that, and was not retried."""
        kept = self.owner.kept(server)
        if kept is None:
            return self.server_event(ev.ServerSkipped, server, batch, view, reason=reason, **more)
        before = {"reason": kept.reason, "evidence": kept.evidence or "", "code": kept.code, "message": kept.message}
        holds = more.get("holds", False)
        return self.server_event(_FAILURES[kept.kind], server, batch, view, holds=holds, not_retried=reason, **before)

    def server(self, server: str, view: ServerView | None) -> Server:
        """Return a server as checks take it, with the name and address that a look told of it."""
        name, address = (view.name, view.address) if view else ("", "")
        return Server(server, self.owner.locate(server)[1], name, self.site, address)

    def stop(self, reason: str, message: str) -> None:
        """Let nothing more be sent: the engine cannot go on, for a reason (one word) and a message (one sentence)."""
        if self.halt is None:
            self.halt = Halt(reason, message)
            self.open = False
        self.wake()


def restarted(batch: Batch, servers: Iterable[str], evidence: Evidence) -> list[ev.ServerRestarted]:
    """Make the events of servers that were restarted; they name no host, by which only failures are counted."""
    locate, az, number, job_id = batch.queue.owner.locate, batch.views.az, batch.number, batch.job_id
    word = evidence.value
    events: list[ev.ServerRestarted] = []
    for server in servers:
        wave, domain = locate(server)
        events.append(
            ev.ServerRestarted(
                server=server, wave=wave, domain=domain or az(server), batch=number, evidence=word, job_id=job_id
            )
        )
    return events


def adopted(in_flight: InFlightBatch, queue: ServerQueue, now: float) -> Batch:
    """Rebuild a batch from the record; its timeout begins ``now`` (observed time), for nobody has looked since."""
    before = in_flight.baselines()
    named = [*in_flight.servers, *sorted(in_flight.open.difference(before))]
    return Batch(
        number=in_flight.batch,
        queue=queue,
        views=ViewTable({server: ServerView(server, updated=before.get(server, "")) for server in named}),
        grant=Grant(in_flight.grant, len(in_flight.servers), in_flight.granted),
        cloud_time=in_flight.cloud_time,
        deadline=now + queue.options.server_timeout,
        open=set(in_flight.open),
        job_id=in_flight.job_id,
        begun=frozenset(in_flight.begun),
    )
