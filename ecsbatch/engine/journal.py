"""A run's journal, written and followed: an event is stored first, then folded, and then whoever waits is told.

`JournalWriter` writes for the one process that has the run; `EventFeed` follows for whoever wants to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from ecsbatch.engine.journal_tail import KEPT, JournalTail
from ecsbatch.engine.ports import Store
from ecsbatch.errors import EngineStopped, RunConflict, RunNotFound
from ecsbatch.model.arguments import refuse_no_number
from ecsbatch.model.conflicts import ServersClaimed
from ecsbatch.model.events import Event
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Claim, Committed, Lease, Transaction

T = TypeVar("T")

TRUST_POLL: Final = 0.25
"""Seconds between two looks at whether a run is to be trusted again: no event tells."""


class JournalWriter:
    """Writes a run's events, and folds each into its state before its caller goes on.

    Every caller gets an answer, whatever fails on the way. A state that has missed an event is no state to decide by:
    after a fault in a fold nothing more is folded or written.

    Attributes:
        failed: why nothing can be written any more (the store is full, the run was taken over), or None.
        last_batch: the number of the run's latest batch.
        closed: nothing more is written by this process.
    """

    def __init__(
        self,
        store: Store,
        lease: Lease,
        fold: Callable[[Sequence[Recorded]], None],
        *,
        last_batch: int = 0,
        on_failure: Callable[[], None] | None = None,
        freed_by: Callable[[Event], Sequence[Claim]] | None = None,
    ) -> None:
        """Write to the run that ``lease`` names.

        Args:
            store: keeps the journal.
            lease: the right to write.
            fold: called with every commit's events once, in order.
            last_batch: the number of the run's latest batch so far.
            on_failure: called once `failed` is set, for those who wait for something else than a write.
            freed_by: returns the claims that end with an event, for a run that claims servers with their intent;
                None for a run that has claimed all its servers from its start to its end.
        """
        self.failed: BaseException | None = None
        self.last_batch = last_batch
        self._store = store
        self._lease = lease
        self._fold = fold
        self._on_failure = on_failure
        self._freed_by = freed_by
        self._folded = 0
        self._missed: EngineStopped | None = None
        self.closed = False

    @property
    def run_id(self) -> str:
        """The run that is written to."""
        return self._lease.run_id

    @property
    def trusted(self) -> bool:
        """True while this process may send what it has on record: nobody else can have taken the run yet."""
        return not isinstance(self.failed, RunConflict) and self._store.trusted(self._lease)

    @property
    def claims(self) -> bool:
        """True where servers are claimed with their intent, and freed with their outcome."""
        return self._freed_by is not None

    async def hear_of_taking(self) -> None:
        """Where the run is not to be trusted any more, find out whether another process has taken it meanwhile.

        A run that waits for hours writes nothing by which its process would hear, or by which it would get back a lease
        that is gone. It is read first: a write that fails would end what an outage of the store need not end.

        Raises:
            RunTaken: one has.
            StoreError: the store cannot be asked now.
        """
        if self.closed or self.failed is not None or self.trusted:
            return
        try:
            record = await self._store.run(self._lease.run_id)
        except RunNotFound:
            await self.record(Transaction())  # a failover has forgotten it: it is written again
            return
        if record.fence != self._lease.fence or not record.held:
            await self.record(Transaction())

    def next_batch(self) -> int:
        """Return the number of a new batch."""
        self.last_batch += 1
        return self.last_batch

    def close(self) -> None:
        """Write no more: the run is somebody else's from now on.

        Grants are not settled either. The ledger must say no more than the journal: a request whose end is not there
        counts as that of a killed process, so that whoever reads the journal finds every window as it was.
        """
        self.closed = True

    def record(self, transaction: Transaction) -> asyncio.Future[Committed]:
        """Write a transaction, whether or not its caller waits; the future is done once its events are folded.

        Raises (by the future):
            StoreError: nothing of it was written.
            RunTaken: another process has taken the run.
            EngineStopped: the journal is closed, or an event could not be folded.
        """
        committed: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        refusal = self._refusal()
        if refusal is not None:
            _refuse(committed, refusal)
            return committed
        if self._freed_by is not None:
            freed = [claim for event in transaction.events for claim in self._freed_by(event)]
            transaction = replace(transaction, unclaim=freed) if freed else transaction
        written = self._store.commit(self._lease, transaction, folded=self._folded)
        if written.done():
            self._finish(written, committed)
        else:
            written.add_done_callback(lambda done: self._finish(done, committed))
        return committed

    def _refusal(self) -> EngineStopped | None:
        """Return why nothing may be written; None: it may."""
        if self.closed:
            return EngineStopped("The run is no longer written by this process; resume it.")
        return self._missed

    def _finish(self, done: asyncio.Future[Committed], committed: asyncio.Future[Committed]) -> None:
        """Fold what was stored and answer the caller, with what fails here too: nobody hears what a callback raises."""
        failure = _failure_of(done) or self._missed or self._fold_commit(done.result())
        if failure is None:
            if not committed.done():
                committed.set_result(done.result())
            return
        _refuse(committed, failure)
        # Who has a server that is wanted changes with every restart: the only refusal that ends no run.
        if self.failed is None and not isinstance(failure, ServersClaimed):
            self.failed = failure
            if self._on_failure is not None:
                self._on_failure()

    def _fold_commit(self, commit: Committed) -> EngineStopped | None:
        """Fold a commit's events; return the fault where that failed."""
        try:
            if commit.recorded:
                self._fold(commit.recorded)
                self._folded = commit.recorded[-1].seq
        except Exception as e:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self._missed = EngineStopped(
                f"What was stored of run {self._lease.run_id} could not be followed ({type(e).__name__}: {e}): "
                "report this; nothing is lost, and resuming reads the record anew."
            )
            self._missed.__cause__ = e
        return self._missed


def _failure_of(done: asyncio.Future[Any]) -> BaseException | None:
    if done.cancelled():
        return EngineStopped("The store did not say what became of a write; resume the run.")
    return done.exception()


def _refuse(committed: asyncio.Future[Any], failure: BaseException) -> None:
    if not committed.done():
        committed.set_exception(failure)
        committed.exception()  # it is kept in `failed` too: a caller that has gone need not fetch it


def seen(future: asyncio.Future[Any]) -> None:
    """Fetch a failure that nobody waits for, so that asyncio does not report it."""
    if not future.cancelled():
        future.exception()


class EventFeed:
    """Follows a run as this process writes it, for any number of readers; none is ahead of what is folded.

    What was just folded they get from memory, all the same objects. Lines of JSON, of which some tell what only the
    store knows, are read from it once for all who wait for them.
    """

    def __init__(self, store: Callable[[], Store], run_id: str, folded: Callable[[], int], *, kept: int = KEPT) -> None:
        """Read what is not in memory from ``store()``.

        Args:
            store: returns where the run is kept.
            run_id: the run.
            folded: returns the number of the last folded event, 0 while nothing is stored.
            kept: entries that are in memory for readers; half as many are read at once.
        """
        self._store = store
        self._run_id = run_id
        self._folded = folded
        self._news = asyncio.Event()
        self._live = True
        self._page = max(1, kept // 2)
        self._events = JournalTail[Recorded](kept)
        self._lines = JournalTail[bytes](kept)
        self._reading_lines = asyncio.Lock()

    def publish(self, folded: Sequence[Recorded]) -> None:
        """Give readers events that are stored and were just folded."""
        if folded:
            self._events.add(folded, folded[0].seq - 1, folded[-1].seq)
            self._notice()

    def open(self) -> None:
        """Have readers wait for what is written from now on, after a `close`."""
        self._live = True

    def close(self) -> None:
        """Nothing more is written by this process: readers end where the journal does."""
        self._live = False
        self._notice()

    def _notice(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def events(self, after: int = 0) -> AsyncGenerator[Recorded]:
        """Yield the events behind number ``after``, and those to come until `close`; Invalid where it is no number."""
        refuse_no_number(after)
        return self._follow(self._events, self._next_events, lambda found, _: found[-1].seq, after)

    @property
    def readers(self) -> int:
        """How many read events now."""
        return self._events.readers

    def join(self) -> None:
        """Have events kept in memory for a reader that asks by `read`, until it leaves."""
        self._events.join()

    def leave(self) -> None:
        """Let a reader go that has joined."""
        self._events.leave()

    async def read(self, after: int) -> list[Recorded]:
        """Return some of the events behind number ``after``; none where there are no more yet."""
        unread = min(self._page, self._folded() - after)
        return await self._next_events(after, unread) if unread > 0 else []

    def lines(self, after: int = 0) -> AsyncGenerator[bytes]:
        """Yield the same as lines of JSON, without line ends."""
        refuse_no_number(after)
        return self._follow(self._lines, self._next_lines, lambda found, after: after + len(found), after)

    async def _follow(
        self,
        tail: JournalTail[T],
        read: Callable[[int, int], Awaitable[list[T]]],
        number_of_last: Callable[[list[T], int], int],
        after: int,
    ) -> AsyncGenerator[T]:
        with tail.reading():
            while True:
                news, live = self._news, self._live
                unread = min(self._page, self._folded() - after)
                found = await read(after, unread) if unread > 0 else []
                for each in found:
                    yield each
                if found:
                    after = number_of_last(found, after)
                elif live:
                    await news.wait()
                else:
                    return

    async def _next_events(self, after: int, unread: int) -> list[Recorded]:
        return self._events.behind(after, unread) or await self._store().events(self._run_id, after, unread)

    async def _next_lines(self, after: int, unread: int) -> list[bytes]:
        found = self._lines.behind(after, unread)
        if found == []:
            async with self._reading_lines:
                found = self._lines.behind(after, unread)  # another who waited for the same may have read it
                if found == []:
                    found = await self._read_lines(after, unread)
                    self._lines.add(found, after, after + len(found))
        return await self._read_lines(after, unread) if found is None else found

    async def _read_lines(self, after: int, unread: int) -> list[bytes]:
        return await self._store().lines(self._run_id, after, unread)
