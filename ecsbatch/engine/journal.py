"""A run's journal, written and followed: an event is stored first, then folded, and then whoever waits is told.

`JournalWriter` writes for the one process that has the run; `EventFeed` follows for whoever wants to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias, TypeVar

from ecsbatch.engine.ports import Store
from ecsbatch.errors import EngineStopped
from ecsbatch.model.conflicts import ServersClaimed
from ecsbatch.model.events import Event, Recorded
from ecsbatch.model.run import Claim, Committed, Lease, Transaction

T = TypeVar("T")

_Read: TypeAlias = Callable[[str, int, int], Awaitable[list[T]]]

_READ_AT_ONCE: Final = 1000


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
    def claims(self) -> bool:
        """True where servers are claimed with their intent, and freed with their outcome."""
        return self._freed_by is not None

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
            RunConflict: another process has taken the run.
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
    """Follows a run as this process writes it, for any number of readers; none is ahead of what is folded."""

    def __init__(self, store: Callable[[], Store], run_id: str, folded: Callable[[], int]) -> None:
        """Read from ``store()``; ``folded`` returns the number of the last folded event, 0 while nothing is stored."""
        self._store = store
        self._run_id = run_id
        self._folded = folded
        self._news = asyncio.Event()
        self._live = True

    def notice(self) -> None:
        """Say that there may be news."""
        self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """Nothing more is written by this process: readers end where the journal does."""
        self._live = False
        self.notice()

    def events(self, after: int = 0) -> AsyncIterator[Recorded]:
        """Yield the events behind number ``after``, and those to come until `close`."""
        return self._follow(lambda store: store.events, lambda found, _: found[-1].seq, after)

    def lines(self, after: int = 0) -> AsyncIterator[bytes]:
        """Yield the same as lines of JSON, without line ends."""
        return self._follow(lambda store: store.lines, lambda found, after: after + len(found), after)

    async def _follow(
        self, read: Callable[[Store], _Read[T]], number_of_last: Callable[[list[T], int], int], after: int
    ) -> AsyncIterator[T]:
        while True:
            news, live = self._news, self._live
            unread = max(0, min(_READ_AT_ONCE, self._folded() - after))
            found = await read(self._store())(self._run_id, after, unread) if unread else []
            for each in found:
                yield each
            if found:
                after = number_of_last(found, after)
            elif live:
                await news.wait()
            else:
                return
