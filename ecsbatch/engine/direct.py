"""`DirectRestarts`: restarts that callers ask for one by one, packed into batches together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, cast

from ecsbatch.config.settings import Engine
from ecsbatch.engine.journal import EventFeed, JournalStore, JournalWriter, ReadStore
from ecsbatch.engine.pipeline import Pipeline
from ecsbatch.engine.runtime import holder_changed
from ecsbatch.engine.server_queue import Batch, RestartOptions, ServerQueue
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped, RunConflict, StoreError
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.run import Holder, Lease, NewRun
from ecsbatch.model.servers import RestartType, ServerView
from ecsbatch.model.tally import Attempt
from ecsbatch.model.tokens import Grant


class DirectStore(JournalStore, ReadStore, Protocol):
    """What direct restarts need of a store."""

    async def create_run(self, new: NewRun, holder: Holder) -> Lease:
        """Store a new run."""
        ...

    async def renew(self, hold: Lease) -> Lease:
        """Take a run anew whose writing failed, without letting it go; raises RunConflict."""
        ...

    async def release(self, hold: Lease) -> None:
        """Let a run go."""
        ...

    async def claimed(self, servers: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Name the run of each of these servers that one has."""
        ...


@dataclass(slots=True)
class PendingRestart:
    """One server that was asked for, and everybody who waits for it.

    Attributes:
        line: where it stands.
        waiters: everybody who asked.
        attempts: requests that named it.
        unstarted: how often one was shown not to have begun.
        earlier: the last request that was taken for not carried out, where a look may yet show its restart.
        submitted_at: of the last request's intent, seconds since 1970.
    """

    queue: ServerQueue
    waiters: list[asyncio.Future[Outcome]] = field(default_factory=list[asyncio.Future[Outcome]])
    attempts: int = 0
    unstarted: int = 0
    earlier: Attempt | None = None
    submitted_at: float | None = None

    @property
    def wanted(self) -> bool:
        """True while somebody waits."""
        return any(not waiter.done() for waiter in self.waiters)


@dataclass(slots=True)
class _Sent:
    """A request that is on its way, was accepted, or got no answer, until its last server's end.

    Attributes:
        batch: its number.
        line: whose servers.
        updated: each server's ``updated`` before it.
        cloud_time: the cloud's clock at the intent, or 0 where it was not known.
        open: servers that have neither an end nor are in line again.
        begun: those of them that the cloud has shown to be restarting whatever was answered.
        job_id, answered: the job, "" without one; whether the record has an answer.
    """

    batch: int
    queue: ServerQueue
    updated: Mapping[str, str]
    cloud_time: float
    open: set[str]
    begun: set[str] = field(default_factory=set[str])
    job_id: str = ""
    answered: bool = False


class DirectRestarts:
    """The tickets of all callers, and one line for each site and type that was asked for; it is their `QueueOwner`.

    Attributes:
        cursors: readers of the journal of these restarts.
    """

    def __init__(
        self,
        store: DirectStore,
        holder: Holder,
        engine: Engine,
        run_id: str,
        options: Callable[[RestartType], RestartOptions],
        pipelines: Mapping[str, Pipeline],
        wake: Callable[[str], None],
    ) -> None:
        """``pipelines`` work on the lines of each site; ``wake`` tells one of new servers."""
        self._store = store
        self._holder = holder
        self._engine = engine
        self._run_id = run_id
        self._options = options
        self._pipelines = pipelines
        self._wake = wake
        self._pending: dict[str, PendingRestart] = {}
        self._queues: dict[tuple[str, RestartType], ServerQueue] = {}
        self._sent: dict[int, _Sent] = {}
        self._in_flight: dict[str, _Sent] = {}
        self._journal: JournalWriter | None = None
        self._opening = asyncio.Lock()
        self._hold: Lease | None = None
        self._folded = 0
        self.feed = EventFeed(lambda: store, run_id, lambda: self._folded)

    def __len__(self) -> int:
        return len(self._pending)

    def submit(self, server: str, site: str, type_: RestartType) -> asyncio.Future[Outcome]:
        """Ask for a server's restart; one that is asked for already is joined.

        Raises:
            ConfigError: it is being restarted with another type.
        """
        queue = self._queue(site, type_)
        pending, before = self._pending.get(server), self._way_of(server)
        if before is None and pending is not None and (pending.wanted or pending.queue is queue):
            before = pending.queue  # it has its place there, even where nobody waits any more
        if before is not None and before is not queue:
            at = f" at site {before.site}" if before.site != site else ""
            raise ConfigError(
                f"Server {server} is being restarted {before.options.type} already{at}: wait for it before asking for "
                f"{type_}."
            )
        if pending is None or pending.queue is not queue:
            pending = self._pending[server] = PendingRestart(queue)
        if before is None:
            queue.put([server])
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        pending.waiters.append(waiter)
        return waiter

    def _queue(self, site: str, type_: RestartType) -> ServerQueue:
        queue = self._queues.get((site, type_))
        if queue is None:
            queue = ServerQueue(
                site=site,
                options=self._options(type_),
                journal=self._journal or JournalWriter(self._store, _NOBODY, self._fold),
                owner=self,
                claims=True,
                more=True,
            )
            self._queues[site, type_] = queue
            self._pipelines[site].add(queue)
        return queue

    # -- what the engine asks about these servers ------------------------------------------------------------------

    def locate(self, _server: str) -> tuple[int, str]:
        """Return no wave and no domain: nothing is planned."""
        return 0, ""

    def woken(self, queue: ServerQueue) -> None:
        """Tell the engine that a line has changed; where it was stopped, tell its callers."""
        if queue.halt is not None:
            self._on_halt(queue)
        self._wake(queue.site)

    def wanted(self, queue: ServerQueue, server: str) -> bool:
        """Tell whether somebody waits for a server that has its place in this line and is not under way.

        A ticket stands for one place: who asks anew for a server that was given up takes the place that it still has.
        """
        pending = self._pending.get(server)
        if pending is None or pending.queue is not queue or self._way_of(server) is not None:
            return False
        if not pending.wanted:
            del self._pending[server]
        return pending.wanted

    def _way_of(self, server: str) -> ServerQueue | None:
        """Return the line of a server that was sent, or may be: its intent was given to the store; None: neither."""
        if (sent := self._in_flight.get(server)) is not None:
            return sent.queue
        return next((queue for queue in self._queues.values() if server in queue.given), None)

    def returned(self, servers: Iterable[str]) -> None:
        """Offer recalled servers anew that somebody has asked for since: who waited before has been told why not."""
        for server in servers:
            pending = self._pending.get(server)
            if pending is not None and self._way_of(server) is None:
                pending.queue.put([server])

    def earlier(self, server: str) -> Attempt | None:
        """Return the last request that named a waiting server and of which a look may yet show a restart."""
        pending = self._pending.get(server)
        return pending.earlier if pending else None

    def unstarted(self, server: str) -> int:
        """Return how often a server's request was shown not to have begun, since it was asked for."""
        pending = self._pending.get(server)
        return pending.unstarted if pending else 0

    def still_down(self, _server: str) -> bool:
        """Keep no place for an ended server: single restarts have no budget."""
        return False

    def freed_by(self, event: ev.Event) -> Sequence[str]:
        """Return the servers whose claims end with an event: those that ended, and those that wait again."""
        match event:
            case ev.ServerEvent():
                return (event.server,)
            case ev.BatchUnstarted():
                return event.servers
            case ev.BatchRejected() if event.batch in self._sent:
                return tuple(self._sent[event.batch].open)
            case _:
                return ()

    async def admit(self, queue: ServerQueue, servers: Sequence[str]) -> Sequence[str]:
        """Keep the servers that somebody still waits for and no other run has."""
        try:
            queue.journal = await self._open_journal()
            claimed = await self._store.claimed([(queue.site, server) for server in servers])
        except EcsbatchError as e:
            self._fail(servers, e)
            return []
        admitted: list[str] = []
        for server in servers:
            if not self.wanted(queue, server):
                continue
            owner = claimed.get((queue.site, server), self._run_id)
            if owner == self._run_id:
                admitted.append(server)
                continue
            way = "ask again once that run is over, or abort it"
            self._fail([server], RunConflict(f"Server {server} belongs to run {owner}: {way}."))
        return admitted

    async def _open_journal(self) -> JournalWriter:
        """Create the run of these restarts, once; one whose writing failed is taken anew."""
        async with self._opening:
            if self._journal is not None and self._journal.failed is None:
                return self._journal
            if self._journal is not None and self._hold is not None:
                await self._take_anew(self._journal, self._hold)
            else:
                told = holder_changed(self._holder, self._engine, 1)
                self._hold = await self._store.create_run(
                    NewRun(self._run_id, kind="direct", events=[told]), self._holder
                )
                self._journal = JournalWriter(self._store, self._hold, self._fold)
            return self._journal

    async def mend(self) -> None:
        """Take the record anew where its writing has failed, so that what is under way is followed."""
        if self._journal is not None and self._journal.failed is not None:
            with suppress(EcsbatchError):
                await self._open_journal()

    async def _take_anew(self, failed: JournalWriter, hold: Lease) -> None:
        """Go on behind a failed write as a resume does.

        What was found and not written is lost, so that whoever waits stands in new lines, and what the record has
        under way is followed from its beginning.
        """
        self._hold = hold = await self._store.renew(hold)
        journal = JournalWriter(self._store, hold, self._fold, last_batch=failed.last_batch)
        taken = holder_changed(self._holder, self._engine, hold.fence, self._holder.name)
        lost = [sent.batch for sent in self._sent.values() if not sent.answered]
        await journal.record([taken, *(ev.BatchUnknown(batch=n, message="Its answer was not written.") for n in lost)])
        self._journal = journal
        for queue in self._queues.values():
            self._pipelines[queue.site].drop(queue)
        self._queues = {}
        for server, pending in self._pending.items():
            pending.queue = self._queue(pending.queue.site, pending.queue.options.type)
            if self._way_of(server) is None:
                pending.queue.put([server])
        for sent in self._sent.values():
            sent.queue = self._queue(sent.queue.site, sent.queue.options.type)
            self._follow(sent)

    def _follow(self, sent: _Sent) -> None:
        """Have the engine find out what has become of a request."""
        pipeline, queue = self._pipelines[sent.queue.site], sent.queue
        batch = Batch(
            number=sent.batch,
            queue=queue,
            views={server: ServerView(server, updated=sent.updated.get(server, "")) for server in sent.open},
            grant=Grant("", 0, 0.0),
            cloud_time=sent.cloud_time,
            deadline=pipeline.visibility.observed_time() + queue.options.server_timeout,
            open=set(sent.open),
            job_id=sent.job_id,
            begun=frozenset(sent.begun),
        )
        if batch.job_id and not batch.begun:
            pipeline.poller.watch_job(batch)
        else:
            pipeline.poller.watch_unknown(batch)

    # -- outcomes --------------------------------------------------------------------------------------------------

    def _fold(self, commit: Sequence[ev.Recorded]) -> None:
        for recorded in commit:
            self._fold_one(recorded.event, recorded.ts)
            self._folded = recorded.seq
        self.feed.notice()

    def _fold_one(self, event: ev.Event, ts: float) -> None:
        match event:
            case ev.ServerEvent():
                self._land([event.server])
                if pending := self._pending.pop(event.server, None):
                    _resolve(pending, event.outcome(ts, pending.attempts, pending.submitted_at))
            case ev.BatchSubmitting():
                self._fly(event, ts)
            case ev.BatchAccepted() | ev.BatchUnknown() if sent := self._sent.get(event.batch):
                sent.answered, sent.job_id = True, getattr(event, "job_id", "")
            case ev.BatchStarted() if sent := self._sent_again(event):
                self._in_flight.update(dict.fromkeys(event.servers, sent))
                sent.open.update(event.servers)
                sent.begun.update(event.servers)
            case ev.BatchRejected() if sent := self._sent.get(event.batch):
                self._wait(sent, tuple(sent.open), void=event.kind == "refused")
            case ev.BatchUnstarted() if sent := self._sent.get(event.batch):
                for pending in filter(None, map(self._pending.get, event.servers)):
                    pending.unstarted += 1
                self._wait(sent, event.servers, void=True)
            case _:
                return

    def _fly(self, event: ev.BatchSubmitting, ts: float) -> None:
        queue = self._queue(event.site, cast("RestartType", event.type))
        updated = dict(zip(event.servers, event.updated, strict=True))
        sent = self._sent[event.batch] = _Sent(event.batch, queue, updated, event.cloud_time, set(event.servers))
        self._in_flight.update(dict.fromkeys(event.servers, sent))
        for pending in filter(None, map(self._pending.get, event.servers)):
            pending.attempts += 1
            pending.submitted_at = ts

    def _sent_again(self, event: ev.BatchStarted) -> _Sent | None:
        """Return the batch of servers that were under way after all; None where nobody waits for any of them."""
        pending = next(filter(None, map(self._pending.get, event.servers)), None)
        if event.batch not in self._sent and pending is not None:
            self._sent[event.batch] = _Sent(event.batch, pending.queue, {}, 0.0, set(), answered=True)
        return self._sent.get(event.batch)

    def _wait(self, sent: _Sent, servers: Sequence[str], *, void: bool) -> None:
        """A request did nothing to these servers: they are in line again."""
        self._land(servers)
        for server in servers if void else ():
            if pending := self._pending.get(server):
                pending.earlier = Attempt(sent.batch, sent.updated.get(server, ""), sent.cloud_time)

    def _land(self, servers: Iterable[str]) -> None:
        for server in servers:
            if sent := self._in_flight.pop(server, None):
                sent.open.discard(server)
                if not sent.open:
                    self._sent.pop(sent.batch, None)

    def _on_halt(self, queue: ServerQueue) -> None:
        """The cloud cannot be reached or does not know us: the line's callers hear it now, later ones try anew.

        What was given to the store may be sent whatever they are told, so that nobody can say that it was not.
        """
        halt, fault = queue.halt, queue.fault
        queue.halt = queue.fault = None
        queue.recall()
        mine = {server: pending for server, pending in self._pending.items() if pending.queue is queue}
        if fault is not None:
            self._fail(mine, fault)
        elif halt is not None:
            for server, pending in mine.items():
                kind = OutcomeKind.NOT_STARTED if self._way_of(server) is None else OutcomeKind.UNKNOWN
                del self._pending[server]
                _resolve(pending, Outcome(server, kind, halt.reason, message=halt.message, attempts=pending.attempts))
        queue.open = True

    def _fail(self, servers: Iterable[str], fault: BaseException) -> None:
        for server in list(servers):
            pending = self._pending.pop(server, None)
            for waiter in pending.waiters if pending else ():
                if not waiter.done():
                    waiter.set_exception(fault)

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let nothing more be sent."""
        for queue in self._queues.values():
            queue.open = False

    def end(self, fault: BaseException | None) -> None:
        """The engine has ended: whoever still waits hears why."""
        stopped = EngineStopped(
            f"The engine ended before this server did: {fault}"
            if fault
            else "The Restarter was closed before this server had an outcome."
        )
        stopped.__cause__ = fault
        self._fail(list(self._pending), stopped)

    async def release(self) -> None:
        """Close the run of direct restarts; its claims are free, as they are once nobody holds it."""
        try:
            if self._journal is not None and self._journal.failed is None:
                done = ev.RunFinished(status=RunStatus.SUCCEEDED.value, reason="closed")
                with suppress(StoreError):
                    await self._journal.record([done], status=RunStatus.SUCCEEDED)
        finally:
            self.feed.close()


def _resolve(pending: PendingRestart, outcome: Outcome) -> None:
    for waiter in pending.waiters:
        if not waiter.done():
            waiter.set_result(outcome)


_NOBODY = Lease("", Holder("", "", 0, 0.0), 0)
