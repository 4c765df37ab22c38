"""`Journal`: one run's history being written. A fact is stored first, then folded, then told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ecsbatch.errors import EngineStopped
from ecsbatch.events import Event, Recorded
from ecsbatch.models import RunStatus
from ecsbatch.records import Commit, Grant, Hold, Settle, Take


class JournalStore(Protocol):
    """One durable transaction for everything that belongs together."""

    def commit(  # noqa: PLR0913 - one transaction, all but its events by keyword
        self,
        hold: Hold,
        events: Sequence[Event],
        *,
        take: Take | None = None,
        intent: Callable[[Grant], Sequence[Event]] | None = None,
        settle: Sequence[Settle] = (),
        status: RunStatus | None = None,
        claim: Sequence[tuple[str, str]] = (),
        unclaim: Sequence[tuple[str, str]] = (),
        folded: int | None = None,
    ) -> asyncio.Future[Commit]:
        """Write all or nothing; nothing is taken where a failure behind event ``folded`` is in the record already."""
        ...

    def settle(self, settle: Settle) -> asyncio.Future[None]:
        """End a grant without a run's leave: the ledger is everybody's."""
        ...


class Journal:
    """Writes a run's events and folds each into its state before the writer goes on.

    Attributes:
        failed: why nothing can be written any more (the store is full, the run was taken over), or None.
        last_batch: the number of the run's latest batch.
        closed: nothing more is written by this process.
    """

    def __init__(
        self, store: JournalStore, hold: Hold, fold: Callable[[Sequence[Recorded]], None], *, last_batch: int = 0
    ) -> None:
        """Write to the run that ``hold`` is about; ``fold`` sees every commit's events once, in order."""
        self.failed: BaseException | None = None
        self.last_batch = last_batch
        self._store = store
        self._hold = hold
        self._fold = fold
        self._folded = 0
        self.closed = False

    def next_batch(self) -> int:
        """Number a new batch."""
        self.last_batch += 1
        return self.last_batch

    def close(self) -> None:
        """Write no more: the run is somebody else's from now on. Grants are still settled."""
        self.closed = True

    def record(
        self,
        events: Sequence[Event],
        *,
        take: Take | None = None,
        intent: Callable[[Grant], Sequence[Event]] | None = None,
        settle: Sequence[Settle] = (),
        status: RunStatus | None = None,
        claim: Sequence[tuple[str, str]] = (),
        unclaim: Sequence[tuple[str, str]] = (),
    ) -> asyncio.Future[Commit]:
        """Store events and what belongs to them; the future is done once they are folded in.

        A caller that stops waiting undoes nothing.

        Raises (by the future):
            StoreError: nothing of it was written.
            RunConflict: another process has taken the run.
            EngineStopped: the journal is closed.
        """
        told: asyncio.Future[Commit] = asyncio.get_running_loop().create_future()
        if self.closed:
            for each in settle:
                self._store.settle(each).add_done_callback(seen)
            told.set_exception(EngineStopped("The run is no longer written by this process; resume it."))
            return told
        written = self._store.commit(
            self._hold,
            events,
            take=take,
            intent=intent,
            settle=settle,
            status=status,
            claim=claim,
            unclaim=unclaim,
            folded=self._folded,
        )
        if written.done():
            self._tell(written, told)
        else:
            written.add_done_callback(lambda done: self._tell(done, told))
        return told

    def _tell(self, done: asyncio.Future[Commit], told: asyncio.Future[Commit]) -> None:
        failure = done.exception()
        if failure is not None:
            self.failed = self.failed or failure
            if not told.done():
                told.set_exception(failure)
                told.exception()  # it is kept in `failed` too: a writer that has gone need not fetch it
            return
        commit = done.result()
        if commit.recorded:
            self._fold(commit.recorded)
            self._folded = commit.recorded[-1].seq
        if not told.done():
            told.set_result(commit)


def seen(future: asyncio.Future[Any]) -> None:
    """Fetch a failure that nobody waits for."""
    if not future.cancelled():
        future.exception()
