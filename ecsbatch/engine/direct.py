"""`DirectRestarts`: restarts that callers ask for one by one; the engine sends them together in batches.

Read `DirectRestarts.submit` first. Their journal is a run of its own, which `DirectState` folds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from ecsbatch.config.settings import Strategy
from ecsbatch.engine.direct_state import DirectState
from ecsbatch.engine.journal import EventFeed, JournalWriter, seen
from ecsbatch.engine.pending import Answers, PendingRestart, join
from ecsbatch.engine.runtime import Runtime
from ecsbatch.engine.server_queue import RestartOptions, ServerQueue, adopted
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped, RecordEdited, RunConflict, StoreError
from ecsbatch.model import events as ev
from ecsbatch.model.conflicts import RunTaken
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Holder, Lease, NewRun, Transaction
from ecsbatch.model.servers import RestartType, restart_type
from ecsbatch.model.tally import Attempt, InFlightBatch

_NOBODY: Final = Lease("", Holder("", "", 0, 0.0), 0)
"""The lease of a run that is not stored yet."""


class DirectRestarts:
    """The pending restarts of all callers, and a queue for each site and type; it is their `QueueOwner`.

    Attributes:
        run_id: the run that their journal is.
        live: something may still be written to it by this process.
        taken: another process has taken the run, or the store has lost it; None: it is ours to go on with.
        successor: the run that new requests go to instead, once there is one.
        feed: follows its journal.
    """

    def __init__(self, runtime: Runtime, run_id: str, noticed: Callable[[], None]) -> None:
        """Restart servers on ``runtime``; the journal is a run with this id, created with the first restart.

        ``noticed`` is called whenever there are new events.
        """
        self.run_id = run_id
        self.live = True
        self.taken: RunTaken | RecordEdited | None = None
        self.successor: DirectRestarts | None = None
        self._noticed = noticed
        self._runtime = runtime
        self._loop = asyncio.get_running_loop()
        self._answers = Answers(self._loop)
        self._state = DirectState(self._answers.give)
        self._queues: dict[tuple[str, RestartType], ServerQueue] = {}
        self._waking = False
        self._journal: JournalWriter | None = None
        self._opening = asyncio.Lock()
        self._lease: Lease | None = None
        self._began: float | None = None
        self.feed = EventFeed(lambda: runtime.store, run_id, lambda: self._state.seq)

    def __len__(self) -> int:
        return len(self._state.pending)

    @property
    def events(self) -> int:
        """How many events its journal has."""
        return self._state.seq

    @property
    def age(self) -> float:
        """Seconds since its run was created, 0 where it was not yet."""
        return 0.0 if self._began is None else self._loop.time() - self._began

    @property
    def failed(self) -> BaseException | None:
        """Why nothing can be written now; None: it can."""
        return self._journal.failed if self._journal is not None else None

    @property
    def idle(self) -> bool:
        """True where no server waits or is in flight, and the engine has nothing of it in hand."""
        state = self._state
        in_hand = (queue.in_air or queue.given or queue.looking or queue.packing for queue in self._queues.values())
        return not (state.pending or state.in_flight or state.batches or any(in_hand))

    def has(self, server: str) -> bool:
        """Tell whether a server waits here, or is in flight whether or not somebody waits for it."""
        return server in self._state.pending or self._sent_from(server) is not None

    def submit(self, server: str, site: str, type_: RestartType) -> asyncio.Future[Outcome]:
        """Ask for a server's restart; the future gives its outcome. A server that is pending already is joined.

        Thousands may be asked for in a row: nothing is done here but to write down who waits for what. The engine looks
        at it in the next round of the event loop, and takes as many servers at a time as one look shows.

        Raises (at once):
            ConfigError: it is being restarted with another type, or at another site.

        Raises (by the future):
            RunConflict: the server belongs to another run.
            StoreError: what happens cannot be written.
            EngineStopped: the engine ended before the server did.
        """
        queue = self._queue(site, type_)
        pending = self._state.pending.get(server)
        before = self._sent_from(server)
        if before is None and pending is not None and (pending.wanted or pending.queue is queue):
            before = pending.queue  # it stands there, even where nobody waits for it any more
        if before is not None and before is not queue:
            at = f" at site {before.site}" if before.site != site else ""
            raise ConfigError(
                f"Server {server} is being restarted {before.options.type} already{at}: wait for it before asking for "
                f"{type_}."
            )
        if pending is None or pending.queue is not queue:
            pending = self._state.pending[server] = PendingRestart(queue)
        if before is None:
            queue.append(server)
            self._wake_soon()
        return join(pending.waiters, self._loop)

    def _wake_soon(self) -> None:
        """Have the engine look at all queues in the next round of the event loop, once for all that is asked now."""
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        for queue in list(self._queues.values()):
            queue.wake()

    def _queue(self, site: str, type_: RestartType) -> ServerQueue:
        queue = self._queues.get((site, type_))
        if queue is None:
            queue = ServerQueue(
                site=site,
                options=_options(type_, self._runtime.engine.linger),
                journal=self._journal or self._writer(_NOBODY),
                owner=self,
                more=True,
            )
            self._queues[site, type_] = queue
            self._runtime.pipelines[site].add(queue)
        return queue

    def _queue_of(self, batch: InFlightBatch) -> ServerQueue:
        return self._queue(batch.site, restart_type(batch.type))

    # -- what the engine asks about these servers ------------------------------------------------------------------

    def locate(self, _server: str) -> tuple[int, str]:
        """Return no wave and no domain: nothing is planned."""
        return 0, ""

    def woken(self, queue: ServerQueue) -> None:
        """Wake the engine for a queue that has changed; where it was stopped, its callers hear why."""
        if queue.halt is not None:
            self._on_halt(queue)
        self._runtime.wake(queue.site)

    def wanted(self, queue: ServerQueue, server: str) -> bool:
        """Tell whether somebody waits for a server that is in this queue and was not sent.

        A server that nobody waits for is forgotten here, when its turn comes, and no sooner: who asks for it anew
        before finds it in the queue and need not put it there a second time.
        """
        pending = self._state.pending.get(server)
        if pending is None or pending.queue is not queue or self._sent_from(server) is not None:
            return False
        if not pending.wanted:
            del self._state.pending[server]
        return pending.wanted

    def _sent_from(self, server: str) -> ServerQueue | None:
        """Return the queue of a server that was sent, or may be since the store has its intent; None: neither."""
        if (batch := self._state.in_flight.get(server)) is not None:
            return self._queue_of(batch)
        for queue in self._queues.values():
            if server in queue.given:
                return queue
        return None

    def returned(self, servers: Iterable[str]) -> None:
        """Put recalled servers back that somebody has asked for since; who waited before has heard why not."""
        for server in servers:
            pending = self._state.pending.get(server)
            if pending is not None and self._sent_from(server) is None:
                pending.queue.put([server])

    def earlier(self, server: str) -> Attempt | None:
        """Return the last request that named a pending server and of which a look may yet show a restart."""
        pending = self._state.pending.get(server)
        return pending.earlier if pending else None

    def unstarted(self, server: str) -> int:
        """Return how many requests that named a server were shown not to have begun, since it was asked for."""
        pending = self._state.pending.get(server)
        return pending.unstarted if pending else 0

    def maybe_sent_since(self, _server: str) -> None:
        """Return None: of what was asked here this process has the record."""

    def kept(self, _server: str) -> None:
        """Return None: whoever asks for a server anew hears what becomes of that."""

    def still_down(self, _server: str) -> bool:
        """Return False: without a budget there is no slot to keep."""
        return False

    async def admit(self, queue: ServerQueue, servers: Sequence[str]) -> Sequence[str]:
        """Return the servers that somebody still waits for and no other run has; who waits for others hears why not."""
        try:
            journal = await self._open_journal()
            if queue.dropped:
                return []  # the run was taken anew meanwhile: who is pending is in a new queue, this one writes no more
            queue.journal = journal
            claimed = await self._runtime.store.claimed([(queue.site, server) for server in servers])
        except EcsbatchError as e:
            self._fail(servers, e)
            return []
        admitted: list[str] = []
        for server in servers:
            if not self.wanted(queue, server):
                continue
            owner = claimed.get((queue.site, server), self.run_id)
            if owner == self.run_id:
                admitted.append(server)
                continue
            remedy = "ask again once that run is over, or abort it"
            self._fail([server], RunConflict(f"Server {server} belongs to run {owner}: {remedy}.", run_id=owner))
        return admitted

    def _on_halt(self, queue: ServerQueue) -> None:
        """Tell a stopped queue's callers why, and open it again: later ones may try.

        A server whose intent the store has may be sent all the same, so that its outcome is unknown.
        """
        halt, fault = queue.halt, queue.fault
        queue.halt = queue.fault = None
        queue.recall()
        stopped = {server: pending for server, pending in self._state.pending.items() if pending.queue is queue}
        if fault is not None:
            self._fail(stopped, fault)
        elif halt is not None:
            for server, pending in stopped.items():
                kind = OutcomeKind.NOT_STARTED if self._sent_from(server) is None else OutcomeKind.UNKNOWN
                del self._state.pending[server]
                pending.resolve(Outcome(server, kind, halt.reason, message=halt.message, attempts=pending.attempts))
        queue.open = True

    def _fail(self, servers: Iterable[str], fault: BaseException) -> None:
        for server in list(servers):
            if pending := self._state.pending.pop(server, None):
                pending.fail(fault)

    # -- the journal -----------------------------------------------------------------------------------------------

    def _writer(self, lease: Lease, last_batch: int = 0) -> JournalWriter:
        freed_by = self._state.freed_by
        return JournalWriter(self._runtime.store, lease, self._fold, last_batch=last_batch, freed_by=freed_by)

    def _fold(self, commit: Sequence[Recorded]) -> None:
        """Follow the events of a commit; whoever waits for a server that has its outcome is answered soon."""
        for recorded in commit:
            self._state.apply(recorded)
        self.feed.publish(commit)
        self._runtime.watchers.heard(commit, None, None)
        self._noticed()

    async def _open_journal(self) -> JournalWriter:
        """Return the journal; its run is created once, and taken anew where writing has failed."""
        async with self._opening:
            if self._journal is not None and self._journal.failed is None:
                return self._journal
            if self._journal is not None and self._lease is not None:
                await self._take_anew(self._journal, self._lease)
            else:
                new = NewRun(self.run_id, kind="direct", events=[self._runtime.holder_changed(1)])
                self._lease = await self._runtime.store.create_run(new, self._runtime.holder_now())
                self._journal = self._writer(self._lease)
                self._began = self._loop.time()
            return self._journal

    def note_freeze(self) -> None:
        """Record that the store is frozen, or that it is not any more, so that the record explains its own gap."""
        if self._journal is None or self._journal.failed is not None or not self.live:
            return
        if event := self._runtime.freeze.news(self._state.frozen):
            self._state.frozen = self._runtime.freeze.freeze
            self._journal.record(Transaction([event])).add_done_callback(seen)

    async def mend(self) -> None:
        """Take the run anew where writing has failed, so that what is under way is followed.

        Where another process has taken it, or the store has lost what was in it, whoever waits for a server hears so.
        """
        try:
            if self._journal is not None:
                await self._journal.hear_of_taking()
            if self.failed is not None:
                await self._open_journal()
        except (RunTaken, RecordEdited) as e:
            self.taken = e
            self._fail(list(self._state.pending), e)
        except EcsbatchError:
            return

    async def _take_anew(self, failed: JournalWriter, lease: Lease) -> None:
        """Go on after a failed write as a resume does.

        What was found and not written is lost: pending servers go into new queues, and what is under way by the
        journal is followed from its beginning.
        """
        runtime = self._runtime
        self._lease = lease = await runtime.store.renew(lease)
        journal = self._writer(lease, failed.last_batch)
        taken = runtime.holder_changed(lease.fence, runtime.holder.name)
        lost = [
            ev.BatchUnknown(batch=number, message="Its answer was not written.") for number in self._state.unanswered
        ]
        await journal.record(Transaction([taken, *lost]))
        self._journal = journal
        self._drop_queues()
        for server, pending in self._state.pending.items():
            pending.queue = self._queue(pending.queue.site, pending.queue.options.type)
            if self._sent_from(server) is None:
                pending.queue.put([server])
        for batch in self._state.batches.values():
            self._follow(batch)

    def _drop_queues(self) -> None:
        for queue in self._queues.values():
            self._runtime.pipelines[queue.site].drop(queue)
        self._queues = {}

    def _follow(self, in_flight: InFlightBatch) -> None:
        """Have the engine find out what has become of a request."""
        pipeline, queue = self._runtime.pipelines[in_flight.site], self._queue_of(in_flight)
        batch = adopted(in_flight, queue, pipeline.visibility.observed_time())
        if batch.job_id and not batch.begun:
            pipeline.poller.watch_job(batch)
        else:
            pipeline.poller.watch_unknown(batch, pipeline.bucket.in_air_for(batch.grant))

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let nothing more be sent."""
        for queue in self._queues.values():
            queue.open = False

    def end(self, fault: BaseException | None) -> None:
        """Tell whoever still waits that the engine has ended; ``fault`` is why, None where it was closed."""
        self._answers.finish()
        stopped = EngineStopped(
            f"The engine ended before this server did: {fault}"
            if fault
            else "The Restarter was closed before this server had an outcome."
        )
        stopped.__cause__ = fault
        self._fail(list(self._state.pending), stopped)

    async def finish(self, reason: str, message: str = "") -> None:
        """Write that the run is over, where it was stored; its claims are free then. The engine works on it no more.

        The end is left out where it cannot be written; `failed` tells.

        Raises:
            RunTaken: another process has taken the run.
        """
        self._drop_queues()
        if self._journal is not None and self._journal.failed is None:
            done = ev.RunFinished(status=RunStatus.SUCCEEDED.value, reason=reason, message=message)
            with suppress(StoreError):
                await self._journal.record(Transaction([done], status=RunStatus.SUCCEEDED))

    def abandon(self) -> None:
        """Leave the run to the process that has taken it."""
        self._drop_queues()
        self.stop()

    def stop(self) -> None:
        """Write nothing more: readers end where the journal does."""
        self.live = False
        self._noticed()

    async def let_go(self) -> None:
        """Have the store let the run go."""
        lease, self._lease = self._lease, None
        if lease is not None:
            with suppress(EcsbatchError):
                await self._runtime.store.release(lease)


def _options(type_: RestartType, linger: float) -> RestartOptions:
    defaults = Strategy()
    return RestartOptions(
        type=type_, batch_size=defaults.batch_size, server_timeout=defaults.server_timeout, linger=linger
    )
