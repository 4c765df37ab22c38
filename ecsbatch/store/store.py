"""The store: runs, their journals, claims, holders and the quota ledger, behind one asynchronous door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from ecsbatch.clock import Clock, SystemClock
from ecsbatch.errors import StoreError
from ecsbatch.model.events import Recorded
from ecsbatch.model.quota import Usage
from ecsbatch.model.run import Claim, Command, Committed, Holder, Lease, NewRun, RunRecord, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest
from ecsbatch.store import targets
from ecsbatch.store.database import Database
from ecsbatch.store.patience import BUSY_TIMEOUT, Patience
from ecsbatch.store.sqlite import MemoryDatabase, database_at, path_of
from ecsbatch.store.sync_store import SyncStore
from ecsbatch.store.worker import InlineWorker, ThreadWorker, Worker, Write

T = TypeVar("T")

COLD_START: Final = 60.05
"""Seconds that a new store lends nothing after a cold start: a window and its guard."""

LOST_LEDGER: Final = 155.05
"""Seconds that an unreadable ledger is waited out: the longest hold of a killed process's grant by the defaults."""


def open_store(
    url: str | MemoryDatabase,
    *,
    clock: Clock | None = None,
    cold_start: bool = False,
    cold_start_window: float = COLD_START,
    busy_timeout: float = BUSY_TIMEOUT,
    inline: bool = False,
) -> DatabaseStore:
    """Name a store; ``async with`` opens it.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``memory:``; or a database in memory that
            outlives its stores.
        clock: stamps events and counts the ledger's time.
        cold_start: a store that has never had a run lends nothing for ``cold_start_window``: for containers without a
            volume, and machines that take over from a lost one, whose store may have spent the quota a moment ago.
        cold_start_window: seconds.
        busy_timeout: seconds to wait for another process that stands still in the middle of a write;
            `DatabaseStore.waiting` tells so meanwhile.
        inline: work at once in the caller instead of on a thread: for virtual time.

    Raises:
        ConfigError: the URL is of no kind that is known.
    """
    if isinstance(url, str) and url != "memory:":
        path_of(url)
    wait_out = cold_start_window if cold_start else 0.0
    return DatabaseStore(url, clock or SystemClock(), wait_out, inline=inline, busy_timeout=busy_timeout)


class DatabaseStore:
    """All that outlives a process. Made by `open_store`; `commit`, `take` and `settle` give futures.

    A call that is cancelled is carried out all the same.

    Attributes:
        url: as it was given.
    """

    def __init__(
        self,
        url: str | MemoryDatabase,
        clock: Clock,
        cold_start: float,
        *,
        inline: bool,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> None:
        self.url = url if isinstance(url, str) else url.url
        self._given = None if isinstance(url, str) else url
        self._clock = clock
        self._cold_start = cold_start
        self._patience = Patience(busy_timeout)
        self._inline = inline
        self._worker: Worker | None = None
        self._opened: tuple[Database, SyncStore] | None = None
        self._state = "not open"

    def __repr__(self) -> str:
        return f"<Store {self.url} [{self._state}]>"

    # Opening and closing

    async def __aenter__(self) -> Self:
        """Open the database.

        Raises:
            ConfigError: its folder is missing.
            StoreError: it cannot be read or written, is damaged, or another program's, or a newer version's.
        """
        worker = InlineWorker if self._inline else ThreadWorker
        self._worker = worker(self._together, self.url)
        try:
            await self._worker.call(self._open)
        except BaseException:
            self.sever()
            raise
        self._state = "open"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Write what was given, let all runs go and close the database."""
        if self._worker is None or self._state != "open":
            return
        self._state = "closed"
        await asyncio.shield(self._worker.shutdown(self._close))

    def sever(self) -> None:
        """Break off as a killed process does: write nothing more, and let the kernel drop the holder's locks."""
        self._state = "severed"
        self._patience.lose()
        if self._worker is not None:
            self._worker.sever()
        if self._opened is not None:
            self._opened[1].drop()
            self._leave(self._opened[0])

    def _open(self) -> None:
        database = self._given or database_at(self.url, self._patience)
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
        self._opened = database, store

    def _close(self) -> None:
        if self._opened is not None:
            self._opened[1].release_all()
            self._leave(self._opened[0])

    def _leave(self, database: Database) -> None:
        if database is not self._given:
            database.close()

    # Runs and holders

    async def create_run(self, new: NewRun, holder: Holder) -> Lease:
        """Store a new run, held by ``holder``: its targets, its claims, its first events; all or nothing.

        Raises:
            RunExists: the run id is taken.
            RunConflict: another process is creating a run of this id, or one with some of the servers.
            ServersClaimed: another run that is not over has some of the servers.
        """
        return await self._keep(self._alone(lambda store: store.create(new, holder)))

    async def take_run(self, run_id: str, holder: Holder) -> Lease:
        """Take a run whose holder is gone, at once; from now on the holder before it can write nothing.

        A run that is over takes its servers again and is ``interrupted`` then.

        Raises:
            RunHeld: a living process has it.
            RunOver: it was aborted.
            ServersClaimed: it was over, and another run has some of its servers now.
            ConfigError: there is no such run.
        """
        return await self._keep(self._alone(lambda store: store.take_run(run_id, holder)))

    async def renew(self, lease: Lease) -> Lease:
        """Take a run anew whose writing failed, without letting it go: its claims count all the while.

        Raises:
            RunTaken: another process has taken it since.
        """
        return await self._alone(lambda store: store.renew(lease))

    async def release(self, lease: Lease) -> None:
        """Let a run go; a hold that is not valid any more is ignored."""
        await self._alone(lambda store: store.release(lease))

    async def run(self, name: str = "") -> RunRecord:
        """Return a run by its id or a unique prefix; "" is the latest, rollouts before direct runs.

        Raises:
            ConfigError: there is none, or several.
        """
        return await self._read(lambda _, store: store.run(name))

    async def runs(self, limit: int = 50) -> list[RunRecord]:
        """Return the last runs, the newest first."""
        return await self._read(lambda _, store: store.runs(limit))

    async def targets(self, run_id: str) -> Fleet:
        """Return a run's frozen targets in their order; none for a direct run."""
        return await self._read(lambda database, _: targets.read(database, run_id))

    async def claimed(self, servers: Sequence[Claim]) -> dict[Claim, str]:
        """Return the run of each of these servers that one has, by ``(site, id)``."""
        return await self._read(lambda _, store: store.claimed(servers))

    # History

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Do all of a transaction durably, or nothing; the future is done when it is on disk.

        Commits are journaled in the order of their calls; one that only tells what happened may wait some
        milliseconds for others to share its transaction. After a `StoreError` the lease writes nothing more: release
        the run and take it again.

        Args:
            lease: the right to write; checked in the transaction.
            transaction: what to write.
            folded: the last event that the caller knows of. Nothing is taken where a failure came after it: once
                failures exceed their limit nothing new starts, not even what is decided in the same instant.

        The future raises:
            RunTaken: the run has another holder.
            ServersClaimed: another run has a server of the transaction's ``claim``.
            StoreError: nothing was written.
        """
        write = Write(
            lambda: self._parts()[1].commit(lease, transaction, folded),
            lease.run_id,
            transaction.urgent,
            needs_savepoint=not transaction.only_tells,
        )
        return self._worker_now().write(write)

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Return up to ``limit`` of a run's events behind number ``after``."""
        return await self._read(lambda _, store: store.reader.events(run_id, after, limit))

    async def lines(self, run_id: str, after: int = 0, limit: int = 1000) -> list[bytes]:
        """Return the same as lines of JSON, without line ends; the first is event ``after + 1``, without gaps."""
        return await self._read(lambda _, store: store.reader.lines(run_id, after, limit))

    async def restarted_since(self, since: float) -> set[str]:
        """Return the servers that any run of this store has restarted since a wall time, seconds since 1970."""
        return await self._read(lambda _, store: store.reader.restarted_since(since))

    # Commands

    async def command(self, run_id: str, command: Mapping[str, Any], who: str) -> int:
        """Ask something of a run's holder; return the command's number.

        Raises:
            ConfigError: there is no such run.
        """
        number: int = await self._write(lambda store: store.command(run_id, command, who))
        return number

    async def commands(self, run_id: str, after: int = 0) -> list[Command]:
        """Return what was asked of a run's holder since a command's number."""
        return await self._read(lambda _, store: store.commands(run_id, after))

    # The ledger by itself

    def take(self, take: TokenRequest) -> asyncio.Future[Grant | Shortage]:
        """Take tokens without a run."""
        return self._write(lambda store: store.take(take))

    def settle(self, settle: Settlement) -> asyncio.Future[None]:
        """Settle a grant without a run."""
        return self._write(lambda store: store.settle(settle))

    async def start_cold(self, seconds: float) -> bool:
        """Lend nothing for a while where this store has never had a run; tell whether that is so."""
        cold: bool = await self._write(lambda store: store.start_cold(seconds))
        return cold

    async def usage(self, group: str, limit: int) -> Usage:
        """Return what a quota group's ledger says now."""
        return await self._read(lambda _, store: store.usage(group, limit))

    def age(self, grant: Grant) -> float:
        """Return for how many seconds a grant has counted, on the ledger's own clock: rather too many than too few."""
        return self._clock.monotonic() - grant.granted

    # Other processes

    @property
    def waiting(self) -> float:
        """Seconds for which this store has waited for a process that keeps the database; 0 where it does not wait."""
        return self._patience.waiting()

    @property
    def keeper(self) -> int:
        """The id of the process that is in the middle of a write now, 0 where there is none or nobody tells."""
        return self._opened[0].keeper() if self._opened is not None else 0

    def hurry(self) -> None:
        """Wait for other processes no more, now or later: whoever wants to end now does not want to wait for them."""
        self._patience.lose()

    async def kept_by(self) -> int | None:
        """Return which process keeps others from writing, 0 where that cannot be told, None where none does."""
        return await self._worker_now().call(self._parts()[0].kept_by)

    # Handing work over

    def _together(self, writes: Sequence[Write]) -> list[Any]:
        return self._parts()[1].commit_group(writes)

    def _parts(self) -> tuple[Database, SyncStore]:
        if self._opened is None:
            raise self._not_open()
        return self._opened

    def _not_open(self) -> StoreError:
        return StoreError(f"The store {self.url} is not open: enter it with `async with` first.")

    def _write(self, do: Callable[[SyncStore], Any]) -> asyncio.Future[Any]:
        return self._worker_now().write(Write(lambda: do(self._parts()[1])))

    def _alone(self, do: Callable[[SyncStore], T]) -> asyncio.Future[T]:
        return self._worker_now().call(lambda: do(self._parts()[1]))

    def _read(self, do: Callable[[Database, SyncStore], T]) -> asyncio.Future[T]:
        def reading() -> T:
            database, store = self._parts()
            with database.reading():
                return do(database, store)

        return self._worker_now().call(reading)

    def _worker_now(self) -> Worker:
        """Return the worker; one that was stopped refuses by itself."""
        if self._worker is None:
            raise self._not_open()
        return self._worker

    async def _keep(self, future: asyncio.Future[Lease]) -> Lease:
        """Wait for a hold; where nobody waits any more when it comes, let it go again."""
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(self._let_go)
            raise

    def _let_go(self, future: asyncio.Future[Lease]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._alone(lambda store: store.release(future.result())).add_done_callback(_seen)


def _seen(future: asyncio.Future[None]) -> None:
    """Mark a failure as seen: a store that is closed has let all its runs go."""
    if not future.cancelled():
        future.exception()
