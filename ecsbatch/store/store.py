"""`DatabaseStore`: runs, their journals, claims, holders and the quota ledger, for asyncio programs.

`open_store` makes one. Each of its methods hands a function to its `StoreHandle`, whose worker calls it on the store's
own thread.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from ecsbatch.clock import Clock, SystemClock, boottime_of
from ecsbatch.model.chain import ChainCheck
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.ownership import Exposure
from ecsbatch.model.quota import Usage
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Claim, Command, Committed, Holder, Lease, NewRun, RunRecord, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.model.spending import GroupSpending
from ecsbatch.model.store_url import shown
from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest
from ecsbatch.store import chain, claims, pruning, targets
from ecsbatch.store.address import weakness_of
from ecsbatch.store.database import GIVE_WAY
from ecsbatch.store.handle import StoreHandle
from ecsbatch.store.patience import BUSY_TIMEOUT, Patience
from ecsbatch.store.sqlite import MemoryDatabase
from ecsbatch.store.worker import Write

T = TypeVar("T")

COLD_START: Final = 60.05
"""Seconds for which a store grants no tokens after a cold start: a window and its guard."""

ROLLOUTS_KEPT: Final = 100
"""Rollouts that are over and that a store in memory remembers."""


def open_store(
    url: str | MemoryDatabase,
    *,
    clock: Clock | None = None,
    cold_start: bool = False,
    cold_start_window: float = COLD_START,
    busy_timeout: float = BUSY_TIMEOUT,
    inline: bool = False,
    read_only: bool = False,
) -> DatabaseStore:
    """Return a store that ``async with`` opens: what of runs and of the quota outlives the process.

        async with open_store("sqlite:////var/lib/service/restarts.db") as store, Restarter(ecs, store) as restarter:
            await restarter.resume_orphans()

    All processes that share a quota share a store. Opening it raises `ConfigError` where the file's folder is missing,
    and `StoreError` where the store cannot be read or written, is damaged, or is a newer version's. A server on another
    machine that need not prove its name is warned of, as Python's warnings are.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``; ``postgresql://user@host/database``, in all forms of
            libpq's, for several machines; or ``memory:``, which forgets what is over but the last hundred rollouts; or
            a database in memory that outlives its stores.
        clock: stamps events, and is the ledger's clock; None for the system's.
        cold_start: a store that has never had a run grants no tokens for ``cold_start_window``: for containers without
            a volume, and machines that take over from a lost one, whose store may have spent the quota a moment ago.
        cold_start_window: seconds.
        busy_timeout: seconds to wait for another process that stands still in the middle of a write; then `StoreError`.
            `DatabaseStore.waiting` shows the wait meanwhile.
        inline: work at once in the caller instead of on a thread: for virtual time.
        read_only: the caller only reads; a file that this process may not write is opened, too.

    Raises:
        ConfigError: the URL is of no known kind, or cannot be understood.
    """
    if isinstance(url, str) and (weakness := weakness_of(url, read_only=read_only)):
        warnings.warn(weakness, stacklevel=2)
    wait_out = cold_start_window if cold_start else 0.0
    return DatabaseStore(
        url, clock or SystemClock(), wait_out, inline=inline, busy_timeout=busy_timeout, read_only=read_only
    )


class DatabaseStore:
    """A store of runs in a database; `open_store` makes it.

    Every method may raise `StoreError` where the database cannot be used. A call whose caller is cancelled is carried
    out nevertheless. What runs were and how they stand is asked of a `History`, or of a `Restarter`, on it.

    Attributes:
        url: as it was given, without a password.
    """

    def __init__(
        self,
        url: str | MemoryDatabase,
        clock: Clock,
        cold_start: float,
        *,
        inline: bool,
        busy_timeout: float = BUSY_TIMEOUT,
        read_only: bool = False,
    ) -> None:
        self.url = shown(url) if isinstance(url, str) else url.url
        self._forgets = url == "memory:"
        self._clock = clock
        self._pause = 0.0 if inline else GIVE_WAY
        self._handle = StoreHandle(
            self.url, url, clock, cold_start, Patience(busy_timeout), inline=inline, read_only=read_only
        )

    def __repr__(self) -> str:
        return f"<Store {self.url} [{self._handle.state}]>"

    # Opening and closing

    async def __aenter__(self) -> Self:
        """Open the database.

        Raises:
            ConfigError: the file's folder is missing.
            StoreError: the file cannot be read or written, is damaged, or is another program's or a newer version's.
        """
        await self._handle.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what was begun, release all runs and close the database.

        What is to be done before waits for the database, all in all, as long as a single write does otherwise; that
        runs are released does so for seconds at most.
        """
        await self._handle.close()

    def sever(self) -> None:
        """Stop as a killed process does: write nothing more, and drop the locks as the kernel would."""
        self._handle.sever()

    # Runs and holders

    async def create_run(self, new: NewRun, holder: Holder) -> Lease:
        """Store a new run, held by ``holder``, with its targets, claims and first events: all or nothing.

        Raises:
            RunExists: the run id is taken.
            RunConflict: another process is creating a run of this id, or one with some of the servers.
            ServersClaimed: another run that is not over has some of the servers.
        """
        return await self._handle.lease(lambda store: store.create(new, holder))

    async def take_run(self, run_id: str, holder: Holder, *, as_of: int | None = None) -> Lease:
        """Take a run whose holder is gone; from now on the holder before can write nothing to it.

        A run that is over claims its servers again, and is ``interrupted`` from then on.

        Raises:
            RunHeld: a living process holds it.
            RunConflict: its last event is not number ``as_of``: its holder has written more before it was gone, or
                another one has had it meanwhile. None: however far it is.
            RunOver: it was aborted.
            ServersClaimed: it was over, and another run has some of its servers now.
            RunNotFound: there is no such run.
        """
        return await self._handle.lease(lambda store: store.take_run(run_id, holder, as_of))

    async def renew(self, lease: Lease) -> Lease:
        """Return a new lease of a run after a write failed; the run is not released in between.

        Where the caller is cancelled it is released: nobody would have the new lease.

        Raises:
            RunTaken: another process has taken the run since.
        """
        return await self._handle.lease(lambda store: store.renew(lease))

    async def release(self, lease: Lease) -> None:
        """Release a run; a lease that is no longer the run's is ignored."""
        await self._handle.call(lambda store: store.release(lease))
        if self._forgets:
            over = await self._handle.pruning(lambda pruning: pruning.superfluous(ROLLOUTS_KEPT))
            await pruning.delete_all(self._handle.pruning, over)

    async def run(self, name: str = "") -> RunRecord:
        """Return a run by its id or a unique prefix; for "" the latest, rollouts before direct runs.

        Raises:
            RunNotFound: no run or several runs fit.
        """
        return await self._handle.read(lambda _, store: store.run(name))

    async def runs(self, limit: int = 50) -> list[RunRecord]:
        """Return the last runs, the newest first."""
        return await self._handle.read(lambda _, store: store.runs(limit))

    async def runs_between(self, since: float, until: float) -> list[RunRecord]:
        """Return the runs that went on at some time between two in seconds since 1970, the newest first."""
        return await self._handle.read(lambda _, store: store.runs_between(since, until))

    async def open_rollouts(self) -> list[RunRecord]:
        """Return the rollouts that go on, have no process any more, or were interrupted, the newest first."""
        return await self._handle.read(lambda _, store: store.open_rollouts())

    async def targets(self, run_id: str) -> Fleet:
        """Return a run's frozen targets in their order; an empty fleet for a direct run."""
        return await self._handle.read(lambda database, _: targets.read(database, run_id))

    async def claimed(self, servers: Sequence[Claim]) -> dict[Claim, str]:
        """Return which run has each of these servers; servers that no run has are left out."""
        return await self._handle.read(lambda _, store: store.claimed(servers))

    async def claims_amiss(self, record: RunRecord, fleet: Fleet) -> tuple[list[Claim], list[Claim]]:
        """Return the servers that a run that is not over should have and has not, and those that it has besides."""
        wanted = targets.to_claim(fleet, record.plan)
        return await self._handle.read(lambda database, _: claims.amiss(database, record.run_id, wanted.key_order()()))

    # History

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Write all of a transaction durably, or nothing; the future is done when it is on disk.

        Commits are journaled in the order of their calls. One that writes nothing but events may wait some
        milliseconds for others to share a database transaction. After a `StoreError` the lease can write nothing
        more: `renew` it, or release the run and take it again.

        Args:
            lease: the right to write; checked in the transaction.
            transaction: what to write.
            folded: the last event that the caller knows of. No tokens are granted where a failure came after it: once
                failures exceed their limit nothing new starts, not even what is decided in the same instant.

        The future raises:
            RunTaken: the run has another holder.
            ServersClaimed: another run has a server of the transaction's ``claim``.
            StoreError: nothing was written.
        """
        write = Write(
            lambda: self._handle.parts()[1].commit(lease, transaction, folded),
            lease.run_id,
            transaction.urgent,
            needs_savepoint=not transaction.only_tells,
            claims=bool(transaction.claim),
            quota_group=transaction.take.group if transaction.take is not None else "",
        )
        return self._handle.worker_now().write(write)

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Return up to ``limit`` events of a run that come after number ``after``."""
        return await self._handle.read(lambda _, store: store.reader.events(run_id, after, limit))

    async def lines(self, run_id: str, after: int = 0, limit: int = 1000) -> list[bytes]:
        """Return the same events as lines of JSON without line ends: event ``after + 1`` and on, without gaps.

        The last event of each transaction also tells the record's ``head`` behind it.
        """
        return await self._handle.read(lambda _, store: store.reader.lines(run_id, after, limit))

    async def check_chain(self, run_id: str, anchor: str = "") -> ChainCheck:
        """Make the chain of a run's record anew and compare it with what the record carries, and with a noted head."""
        return await self._handle.read(lambda database, _: chain.check(database, run_id, anchor))

    async def restarted_since(self, since: float) -> set[str]:
        """Return the ids of servers that any run has restarted since a time in seconds since 1970.

        Raises:
            RecordEdited: somebody has edited the record of one of these runs, and it cannot be read any more.
        """
        return await self._handle.read(lambda _, store: store.reader.restarted_since(since))

    async def prune(self, older_than: float | str | timedelta, *, dry: bool = False) -> list[str]:
        """Delete the runs that are over and ended longer ago than that, with everything that is kept of them.

        What can be resumed stays, however old, and so does every grant that counts. Other processes may go on writing,
        resume or prune meanwhile; each run is deleted as a whole or not at all. The file shrinks by what was
        deleted; one that an older version has made keeps its size, and what is written next fills it again.

            deleted = await store.prune(older_than="90d")

        Args:
            older_than: seconds, or a text such as ``90d``.
            dry: delete nothing.

        Returns:
            The ids of the runs that were deleted, or would be.

        Raises:
            Invalid: ``older_than`` is no duration.
        """
        before = self.wall() - pruning.seconds_of(older_than)
        if dry:
            found: list[str] = await self._handle.pruning(lambda pruning: pruning.ended_before(before))
            return found
        return await pruning.prune(self._handle.pruning, before, pause=self._pause)

    # Commands

    async def command(self, run_id: str, command: Mapping[str, Any], who: str) -> int:
        """Store a command for a run's holder; return its id.

        Args:
            run_id: the run.
            command: what is asked for, see `ecsbatch.model.commands.asked_for`.
            who: who asks.

        Raises:
            RunNotFound: there is no such run.
        """
        # One at a time, as those who take runs: a holder that has heard a later one would never hear one before it.
        do = Write(lambda: self._handle.parts()[1].command(run_id, command, who), claims=True)
        number: int = await self._handle.worker_now().write(do)
        return number

    async def commands(self, run_id: str, after: int = 0) -> list[Command]:
        """Return the commands to a run's holder whose ids are above ``after``."""
        return await self._handle.read(lambda _, store: store.commands(run_id, after))

    # The whole store

    async def freeze(
        self, reason: str, *, by: str = "", until: float | None = None, lasts: float | None = None
    ) -> Freeze:
        """Grant no tokens to anybody from now on; a freeze that is in force is replaced.

        Args:
            reason: why, for all who ask; it cannot be empty.
            by: names who asks.
            until: when it ends by itself, seconds since 1970; None: once somebody thaws it.
            lasts: instead, for how many seconds from now on; both are by the clock of the store.

        Raises:
            Invalid: there is no reason, or it would be over already.
        """
        begun: Freeze = await self._handle.write(lambda store: store.freezes.begin(reason, by, until, lasts))
        return begun

    async def thaw(self, *, by: str = "") -> Freeze | None:
        """Grant tokens again; return the freeze that this ends, None where there was none. ``by`` names who asks."""
        ended: Freeze | None = await self._handle.write(lambda store: store.freezes.end(by))
        return ended

    async def frozen(self) -> Freeze | None:
        """Return the freeze that is in force, None where there is none."""
        return await self._handle.read(lambda _, store: store.freezes.in_force())

    async def last_freeze(self) -> Freeze | None:
        """Return the last freeze: with ``thawed_at``, where it is over by now; None where there never was one."""
        return await self._handle.read(lambda _, store: store.freezes.last())

    async def spending(self) -> list[GroupSpending]:
        """Return who spends which quota, now and in the last hour."""
        return await self._handle.read(lambda _, store: store.spending())

    # The ledger by itself

    def take(self, take: TokenRequest) -> asyncio.Future[Grant | Shortage]:
        """Take tokens that are no run's."""
        return self._handle.worker_now().write(
            Write(lambda: self._handle.parts()[1].take(take), quota_group=take.group)
        )

    def settle(self, settle: Settlement) -> asyncio.Future[None]:
        """Settle a grant that is no run's."""
        return self._handle.write(lambda store: store.settle(settle))

    async def start_cold(self, seconds: float) -> bool:
        """Grant no tokens for so many seconds where this store has never had a run; return whether that is so."""
        cold: bool = await self._handle.write(lambda store: store.start_cold(seconds))
        return cold

    async def usage(self, group: str, limit: int) -> Usage:
        """Return how much of a quota group's ``limit`` is used now."""
        return await self._handle.read(lambda _, store: store.usage(group, limit))

    def age(self, grant: Grant) -> float:
        """Return the seconds since a grant, those of a suspend among them; a little longer than it has counted."""
        by_ledger = self.ledger_time() - grant.granted
        return by_ledger if grant.asked is None else max(by_ledger, boottime_of(self._clock) - grant.asked)

    def least_age(self, grant: Grant) -> float:
        """Return the seconds since a grant by the ledger's clock, rather too few than too many."""
        return self._handle.parts()[1].clock.earliest() - grant.granted

    def ledger_time(self) -> float:
        """Return what the clock shows now by which grants are dated."""
        return self._handle.parts()[1].clock.estimate()

    def wall(self) -> float:
        """Return the seconds since 1970 by the clock that stamps what is stored: the server's, or this machine's."""
        return self._handle.parts()[1].clock.wall()

    @property
    def clock_name(self) -> str:
        """The name of that clock: readings of processes that name the same one can be compared."""
        return self._handle.parts()[1].clock.name

    # Other processes

    def trusted(self, lease: Lease) -> bool:
        """Tell whether this process may still send by a lease: it holds the run, and nobody can have taken it yet."""
        handle = self._handle
        return handle.state == "open" and handle.opened is not None and handle.opened[1].trusts(lease)

    @property
    def waiting(self) -> float:
        """Seconds for which this store has been waiting for another process's write; 0 where it does not wait.

        It waits, too, while the leases of its runs cannot be renewed.
        """
        return self._handle.waiting()

    @property
    def waits_for(self) -> str:
        """What it waits for, while it does: ``process 123``, ``another process``, ``the database (…)``, a renewal."""
        return self._handle.waits_for()

    @property
    def trust_left(self) -> float | None:
        """Seconds for which this process trusts that it has its runs, if nothing renews their leases; None without."""
        leases = self._handle.leases
        return leases.keeper.trust_left() if leases is not None else None

    @property
    def keeper(self) -> int:
        """The id of the process that is in the middle of a write now; 0 where there is none or it is not known."""
        return self._handle.keeper()

    @property
    def exposure(self) -> Exposure | None:
        """Why others than this user and root may have written its rows; None: nobody else may."""
        return self._handle.parts()[0].exposure()

    def hurry(self) -> None:
        """Do not wait for other processes any more, for a program that wants to end now."""
        self._handle.patience.lose()

    async def kept_by(self) -> int | None:
        """Return the id of the process that keeps others from writing, 0 where it is not known, None for none."""
        return await self._handle.worker_now().call(self._handle.parts()[0].kept_by)
