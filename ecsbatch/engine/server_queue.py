"""`ServerQueue`: one caller's servers at one site, from the queue to their outcomes.

A rollout has a line at each of its sites, the direct restarts of a `Restarter` share one. The engine's parts work on
lines and never on rollouts: they take servers from a line, and every fact about them goes back through it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ecsbatch.engine.journal import JournalWriter
from ecsbatch.engine.ports import QueueOwner
from ecsbatch.errors import EcsbatchError
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Evidence
from ecsbatch.model.run import Committed, Halt, Transaction
from ecsbatch.model.servers import RestartType, Server, ServerView
from ecsbatch.model.tally import InFlightBatch
from ecsbatch.model.tokens import Grant, Settlement

Check = Callable[[Server], Awaitable[bool]]
"""Asks a server whether it is healthy; False or raising: not yet."""

BASELINE_AGE = 55.0
"""Seconds after which a look is no baseline any more and is taken again; a minute is promised."""

E = TypeVar("E", bound=ev.ServerEvent)


@dataclass(slots=True)
class RestartOptions:
    """How a line's servers are to be restarted. A rollout may change them while it runs.

    Attributes:
        type: ``SOFT`` or ``HARD``.
        batch_size: servers per request at the most.
        precheck: leave out what must not be restarted.
        skip_updated_since: leave out what others have changed since then, seconds since 1970; None: whatever they did.
        server_timeout: seconds from a server's intent to its outcome.
        resend: how often a server is sent again whose request was shown not to have started it.
        check: asks a server's own health; None: the cloud's word is enough.
        check_interval: seconds between two checks of a server.
        min_ready: seconds for which a server must stay healthy.
        linger: seconds that a batch waits for more servers.
    """

    type: RestartType = "SOFT"
    batch_size: int = 100
    precheck: bool = True
    skip_updated_since: float | None = None
    server_timeout: float = 600.0
    resend: int = 2
    check: Check | None = None
    check_interval: float = 5.0
    min_ready: float = 0.0
    linger: float = 0.5


@dataclass(slots=True)
class Prechecked:
    """Servers that were looked at and may go into one request.

    Attributes:
        views: what precheck saw of each, in order: the baseline.
        looked_at: loop time at which the look was asked for.
        refusals: how often the cloud refused exactly these; a packet that was refused goes alone.
    """

    views: dict[str, ServerView]
    looked_at: float
    refusals: int = 0

    def stale(self, now: float) -> bool:
        """Tell whether its look is too old to be a baseline; what was refused goes as it is, to find what offends."""
        return not self.refusals and self.looked_at < now - BASELINE_AGE


@dataclass(slots=True)
class Batch:
    """The servers of one request, from its intent to its last server's outcome.

    Attributes:
        number: in its run.
        line: whose servers.
        views: what precheck saw of each.
        grant: its tokens; an adopted batch names the one that another process took.
        cloud_time: the cloud's clock at the intent, 0 where not known.
        deadline: by the site's sighted clock; when a server without an end has timed out.
        open: servers without an outcome.
        refusals: of the packet it came from.
        job_id: "" until accepted.
        begun: servers that the cloud has shown to be restarted by it, whatever was answered.
        sent: when its first byte left, by the ledger's clock; 0 while none has.
    """

    number: int
    queue: ServerQueue
    views: dict[str, ServerView]
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
    """A queue of servers and the way back for their facts.

    Attributes:
        site: the key of its site.
        options: how to restart.
        journal: where the facts go.
        owner: whose servers they are.
        wave: the number of the wave under way, 0 for direct restarts.
        waiting: put in, not looked at.
        ready: looked at, to be sent.
        looking, packing: servers that are just being looked at, and that wait for tokens.
        given: servers whose intent was given to the store, and whose word for it is still on its way.
        in_air: intents that were given to the store and came back neither refused nor with the answer to their request.
        more: more servers are to be expected, so a small batch may wait for them.
        open: servers may be sent.
        halt: set where the engine cannot go on with this line.
        unaccepted: loop times since which no request was accepted, and of the last that was not; None: one was.
        dropped: nobody waits for these servers any more; what the engine has in hand is let go.
        fault: why this line's record cannot be written any more.
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
        """Have the engine and the owner look at this line."""
        self.owner.woken(self)

    # -- the queue -------------------------------------------------------------------------------------------------

    def put(self, servers: Iterable[str]) -> None:
        """Append servers to the queue."""
        if not self.waiting:
            self.waiting_since = asyncio.get_running_loop().time()
        self.waiting.extend(servers)
        self.wake()

    def recall(self) -> list[str]:
        """Take back every server that has no intent yet; one that the engine has in hand comes through `returned`."""
        self.generation += 1
        self.unaccepted = None  # what was not accepted before says nothing of what is asked after a pause
        taken = [server for prechecked in self.ready for server in prechecked.views]
        taken += self.waiting
        self.ready.clear()
        self.waiting.clear()
        return taken

    def requeue(self, servers: Sequence[str]) -> None:
        """Put servers that are still wanted back at the head of the queue, to be looked at anew."""
        if not self.waiting:
            self.waiting_since = asyncio.get_running_loop().time()
        self.waiting.extendleft(server for server in reversed(servers) if self.owner.wanted(self, server))
        self.wake()

    @property
    def ready_count(self) -> int:
        """Servers that are ready to be sent."""
        return sum(len(prechecked.views) for prechecked in self.ready)

    @property
    def queued(self) -> int:
        """Servers that were offered and have no intent yet."""
        return len(self.waiting) + self.ready_count + self.looking + self.packing

    def due_at(self, size: int) -> float:
        """Loop time from which waiting servers should go on: at once when there are enough, else after the linger."""
        if not self.more or len(self.waiting) + self.ready_count >= size:
            return 0.0
        return self.waiting_since + self.options.linger

    # -- facts -----------------------------------------------------------------------------------------------------

    async def report(self, events: Sequence[ev.Event], settle: Sequence[Settlement] = ()) -> bool:
        """Store facts about these servers; where that fails the queue ends, and the engine goes on with others."""
        return await self.written(self.journal.record(Transaction(events, settle=settle)))

    async def written(self, commit: asyncio.Future[Committed]) -> bool:
        """Wait for a commit; False where it failed, which ends the queue."""
        try:
            await commit
        except EcsbatchError as e:
            self.fail(e)
            return False
        return True

    def fail(self, fault: EcsbatchError) -> None:
        """End the line: its record cannot be written any more."""
        self.fault = self.fault or fault
        self.stop("store", str(fault))

    def server_event(
        self, kind: type[E], server: str, batch: Batch | None = None, view: ServerView | None = None, **more: Any
    ) -> E:
        """Make a server's event, with its place in the run filled in from its batch or from a look at it."""
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

    def server(self, server: str, view: ServerView | None) -> Server:
        """Return a server as checks want it, with what a look told of it."""
        name, address = (view.name, view.address) if view else ("", "")
        return Server(server, self.owner.locate(server)[1], name, self.site, address)

    def stop(self, reason: str, message: str) -> None:
        """Let nothing more be sent: the engine cannot go on."""
        if self.halt is None:
            self.halt = Halt(reason, message)
            self.open = False
        self.wake()


def restarted(batch: Batch, server: str, evidence: Evidence) -> ev.ServerRestarted:
    """Make the event that every server is meant to end with; it needs no host, which is for counting failures by."""
    wave, domain = batch.queue.owner.locate(server)
    if not domain and server in batch.views:
        domain = batch.views[server].az
    return ev.ServerRestarted(
        server=server, wave=wave, domain=domain, batch=batch.number, evidence=evidence.value, job_id=batch.job_id
    )


def adopted(in_flight: InFlightBatch, queue: ServerQueue, now: float) -> Batch:
    """Rebuild a batch from the record; its deadline begins ``now``, by observed time, for nobody has looked since."""
    before = in_flight.baselines()
    named = [*in_flight.servers, *sorted(in_flight.open.difference(before))]
    return Batch(
        number=in_flight.batch,
        queue=queue,
        views={server: ServerView(server, updated=before.get(server, "")) for server in named},
        grant=Grant(in_flight.grant, len(in_flight.servers), 0.0),
        cloud_time=in_flight.cloud_time,
        deadline=now + queue.options.server_timeout,
        open=set(in_flight.open),
        job_id=in_flight.job_id,
        begun=frozenset(in_flight.begun),
    )
