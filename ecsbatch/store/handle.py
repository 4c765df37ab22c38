"""How a store has its database: opened, worked with on a thread, closed, or left as a killed process leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from ecsbatch.clock import Clock
from ecsbatch.errors import StoreError
from ecsbatch.model.run import Lease
from ecsbatch.store.database import Database
from ecsbatch.store.failover import LOST_LEDGER
from ecsbatch.store.heart import Heart, TaskHeart, ThreadHeart
from ecsbatch.store.lease_keeper import TTL
from ecsbatch.store.leases import LeaseLocks
from ecsbatch.store.opening import database_at
from ecsbatch.store.patience import Patience
from ecsbatch.store.pruning import Pruning
from ecsbatch.store.sqlite import MemoryDatabase
from ecsbatch.store.sync_store import SyncStore
from ecsbatch.store.worker import InlineWorker, ThreadWorker, Worker, Write

T = TypeVar("T")


class StoreHandle:
    """A database as one store has it, and the worker on whose thread all is done with it.

    Args:
        url: names the store in messages.
        given: the database's URL, or a database in memory that outlives this store.
        clock: stamps events, and is the ledger's clock.
        cold_start: seconds for which a store that has never had a run grants no tokens.
        patience: how long it waits for other processes.
        inline: work at once in the caller instead of on a thread.
        read_only: the caller only reads.

    Attributes:
        state: ``not open``, ``open``, ``closed`` or ``severed``.
        worker: does all work; None before it is opened.
        opened: the database, and what does transactions on it; None before it is open.
        heart: renews the leases, None where it has none.
    """

    def __init__(
        self,
        url: str,
        given: str | MemoryDatabase,
        clock: Clock,
        cold_start: float,
        patience: Patience,
        *,
        inline: bool,
        read_only: bool,
    ) -> None:
        self.state = "not open"
        self.patience = patience
        self.worker: Worker | None = None
        self.opened: tuple[Database, SyncStore] | None = None
        self.heart: Heart | None = None
        self._url = url
        self._given = given
        self._clock = clock
        self._cold_start = cold_start
        self._inline = inline
        self._read_only = read_only

    # Opening and closing

    async def open(self) -> None:
        """Open the database; what `DatabaseStore.__aenter__` raises is raised here."""
        worker = InlineWorker if self._inline else ThreadWorker
        self.worker = worker(self._commit_group, self._url)
        try:
            await self.worker.call(self._open)
        except BaseException:
            self.sever()
            raise
        self.state = "open"

    async def close(self) -> None:
        """Finish what was begun, release all runs and close the database."""
        if self.worker is None or self.state != "open":
            return
        self.state = "closed"
        self.patience.end_within(self.patience.timeout)
        await asyncio.shield(self.worker.shutdown(self._close))

    def sever(self) -> None:
        """Write nothing more, and drop the locks as the kernel would."""
        self.state = "severed"
        self.patience.lose()
        if self.worker is not None:
            self.worker.sever()
        self._stop_heart()
        if self.opened is not None:
            self.opened[1].drop()
            self._leave(self.opened[0])

    def _open(self) -> None:
        database = (
            database_at(self._given, self.patience, read_only=self._read_only)
            if isinstance(self._given, str)
            else self._given
        )
        try:
            lost = database.prepare()
            store = SyncStore(database, self._clock)
            if lost:
                store.commit_group([Write(partial(store.wait_out, LOST_LEDGER))])
            elif self._cold_start:
                store.commit_group([Write(partial(store.start_cold, self._cold_start))])
        except BaseException:
            self._leave(database)
            raise
        self.opened = database, store
        if isinstance(store.locks, LeaseLocks):
            self.heart = self._new_heart(database, store.locks)
            store.locks.on_lease = self.heart.begin

    def _new_heart(self, database: Database, locks: LeaseLocks) -> Heart:
        """Return what renews this store's leases."""
        if self._inline:
            return TaskHeart(self.beat, lambda: locks.keeper.idle)
        beside = database.beside()
        return ThreadHeart(partial(locks.beat, beside), lambda: locks.keeper.idle, partial(self._part, beside))

    def _part(self, beside: Database) -> None:
        if self.opened is None or beside is not self.opened[0]:
            beside.close()

    def _close(self) -> None:
        if self.opened is not None:
            # Where a server cannot be told, it need not be: by then the leases have run out by themselves.
            self.patience.end_within(TTL)
            self.opened[1].release_all()
            self._stop_heart()
            self._leave(self.opened[0])

    def _stop_heart(self) -> None:
        if self.heart is not None:
            self.heart.stop()

    def _leave(self, database: Database) -> None:
        if database is not self._given:
            database.close()

    # Other processes

    @property
    def leases(self) -> LeaseLocks | None:
        """The leases of its runs, None where other locks keep them, and before it is open."""
        locks = self.opened[1].locks if self.opened is not None else None
        return locks if isinstance(locks, LeaseLocks) else None

    async def beat(self) -> None:
        """Renew the leases now."""
        if (leases := self.leases) is not None:
            leases.beat()

    def keeper(self) -> int:
        """Return the id of the process that is in the middle of a write now, 0 for none that is known."""
        return self.opened[0].keeper() if self.opened is not None else 0

    def waiting(self) -> float:
        """Return for how many seconds this store has been waiting: for another's write, or to renew its leases."""
        return max(self.patience.waiting(), self._unrenewed()[0])

    def waits_for(self) -> str:
        """Return in words what it waits for, while it does."""
        seconds, why = self._unrenewed()
        if seconds > self.patience.waiting():
            return f"a renewal of its leases ({why})"
        if said := self.patience.waits_for:
            return said
        keeper = self.keeper()
        return f"process {keeper}" if keeper else "another process"

    def _unrenewed(self) -> tuple[float, str]:
        leases = self.leases
        return leases.keeper.failing if leases is not None else (0.0, "")

    # Handing work over

    def parts(self) -> tuple[Database, SyncStore]:
        """Return the database, and what does transactions on it.

        Raises:
            StoreError: it is not open.
        """
        if self.opened is None:
            raise self._not_open()
        return self.opened

    def worker_now(self) -> Worker:
        """Return the worker; one that was stopped refuses all work itself.

        Raises:
            StoreError: it was never opened.
        """
        if self.worker is None:
            raise self._not_open()
        return self.worker

    def write(self, do: Callable[[SyncStore], Any]) -> asyncio.Future[Any]:
        """Do a write, in one transaction with others that wait."""
        return self.worker_now().write(Write(lambda: do(self.parts()[1])))

    def call(self, do: Callable[[SyncStore], T]) -> asyncio.Future[T]:
        """Do what begins transactions of its own."""
        return self.worker_now().call(lambda: do(self.parts()[1]))

    def pruning(self, do: Callable[[Pruning], Any]) -> asyncio.Future[Any]:
        """Do what finds or deletes runs that are over."""
        return self.call(lambda store: do(store.pruning))

    def read(self, do: Callable[[Database, SyncStore], T]) -> asyncio.Future[T]:
        """Read, all of it as of one instant."""

        def reading() -> T:
            database, store = self.parts()
            return database.read(lambda: do(database, store))

        return self.worker_now().call(reading)

    async def lease(self, do: Callable[[SyncStore], Lease]) -> Lease:
        """Do what takes a run, and wait for its lease; release the run where the caller was cancelled meanwhile."""
        future = self.call(do)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(self._let_go)
            raise

    def _commit_group(self, writes: Sequence[Write]) -> list[Any]:
        return self.parts()[1].commit_group(writes)

    def _not_open(self) -> StoreError:
        return StoreError(f"The store {self._url} is not open: enter it with `async with` first.")

    def _let_go(self, future: asyncio.Future[Lease]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.call(lambda store: store.release(future.result())).add_done_callback(_seen)


def _seen(future: asyncio.Future[None]) -> None:
    """Mark a failure as seen: a closed store has released all its runs already."""
    if not future.cancelled():
        future.exception()
