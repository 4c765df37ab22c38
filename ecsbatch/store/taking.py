"""How a process takes a run: it locks the run and claims its servers.

A large fleet is written piece by piece, in short transactions between which others can write. Only the last one makes
it valid: it checks that every claim is still the run's and writes the run's row, or its new status. A process that
dies before that leaves claims that are void, since nobody holds the lock of a run that has no row, and targets, which
show the next creation of that id that there is something to clear away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from ecsbatch.errors import RunConflict, StoreError
from ecsbatch.model.conflicts import RunExists, RunHeld, RunOver, RunTaken, ServersClaimed, ServersWanted, gone_on
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Claim, Holder, Lease, NewRun, RunRecord
from ecsbatch.model.servers import Fleet
from ecsbatch.store import chain, claims, pruning, runs, targets
from ecsbatch.store.database import Database
from ecsbatch.store.locks import Locks

T = TypeVar("T")

_SOMEBODY: Final = "another process"
"""The name of a holder that is not known."""

Servers = Callable[[], Iterator[Claim]]
"""Returns the servers of a run, sorted by ``(site, id)``, from the first at each call."""


class Taking:
    """Takes and releases runs for one process."""

    def __init__(self, database: Database, locks: Locks) -> None:
        self._database = database
        self._locks = locks

    # Runs

    def create(self, new: NewRun, insert: Callable[[], T]) -> T:
        """Take a new run's id and claim its servers; ``insert`` writes its row, in the transaction of the last claims.

        Returns what ``insert`` returns.

        Raises:
            RunExists: the run id is taken.
            RunConflict: another process is creating a run of this id, or one with some of the servers.
            ServersClaimed: another run has some of the servers.
        """
        self._refuse_existing(new.run_id)
        with self._locked(new.run_id):
            self._refuse_existing(new.run_id)
            self._clear_away(new.run_id)
            if new.fleet is None:
                return self._write(new.run_id, insert)
            servers = targets.to_claim(new.fleet, new.plan).key_order()
            rows = targets.rows(new.run_id, new.fleet)
            first = (partial(targets.write, self._database, row) for row in rows)
            with self._clearing_away(new.run_id):
                return self._claim_all(new.run_id, servers, len(new.fleet), insert, first=first, ignore=new.ignore)

    def take_run(self, run_id: str, holder: Holder, as_of: int | None = None) -> tuple[RunRecord, RunStatus, str]:
        """Take a run whose holder is gone; return it as it was, its status from now on, and the head of its record.

        Raises:
            RunHeld: a living process holds it.
            RunConflict: its last event is not number ``as_of``.
            RunOver: it was aborted.
            ServersClaimed: it was over, and another run has some of its servers now.
            RunNotFound: there is no such run.
        """
        self._database.read(lambda: self.exactly(run_id))
        with self._locked(run_id, known=True):
            record, fleet = self._database.read(lambda: self._as_it_is(run_id))
            if as_of not in {None, record.seq}:
                raise gone_on(record)
            # The status that a dead holder left stays: the new holder decides what to do about it.
            status = RunStatus.RUNNING if record.status is RunStatus.ORPHANED else record.status
            status = RunStatus.INTERRUPTED if status.over else status

            def change() -> str:
                runs.set_holder(self._database, run_id, holder, record.fence + 1, status)
                return chain.head(self._database, run_id, record.seq)

            servers = targets.to_claim(fleet, record.plan).key_order()
            return record, status, self._claim_all(run_id, servers, len(fleet), change)

    def _as_it_is(self, run_id: str) -> tuple[RunRecord, Fleet]:
        """Return a run and, where it is over, its targets: they are claimed again."""
        record = self.exactly(run_id)
        if record.status is RunStatus.ABORTED:
            raise RunOver(run_id)
        return record, targets.read(self._database, run_id) if record.status.over else Fleet(())

    def renew(self, lease: Lease, fence: Callable[[], int]) -> tuple[RunRecord, RunStatus, str]:
        """Give a run that this process holds a new fence, without releasing it; return what `take_run` returns.

        ``fence`` returns the number of the run's holder, with the run locked and its record whole.

        Raises:
            RunTaken: another process has taken the run.
        """

        def renewed() -> tuple[RunRecord, RunStatus, str]:
            ours = fence() == lease.fence and self._locks.kept(lease.run_id)
            record = self.exactly(lease.run_id)
            if not ours:
                raise self.taken(record, lease)
            runs.set_holder(self._database, lease.run_id, lease.holder, record.fence + 1, record.status)
            return record, record.status, chain.head(self._database, lease.run_id, record.seq)

        return self._database.write(renewed, claims=True)

    def taken(self, record: RunRecord, lease: Lease) -> RunTaken:
        """Return the error of a run that another process has, or is just taking."""
        if record.fence != lease.fence:
            return RunTaken(record.run_id, record.holder)
        now = self._locks.lease(record.run_id)
        # It may have let the run go again, and then nobody knows who it was: its own holder is none that took it.
        return RunTaken(
            record.run_id, replace(lease.holder, name=_SOMEBODY, host="", pid=0) if now is None else now.holder
        )

    def let_go(self, run_id: str, *, claimed: bool) -> None:
        """Release a run; ``claimed`` says that it is over and may still have servers, which are freed."""
        try:
            if claimed:
                # They are void already, or another's who has taken the run: what cannot be freed is in nobody's way.
                with suppress(StoreError, RunConflict):
                    self._free_all(run_id)
        finally:
            self._locks.release(run_id)

    def exactly(self, run_id: str) -> RunRecord:
        """Return a run by its whole id.

        Raises:
            RunNotFound: there is no such run.
        """
        record = runs.get(self._database, run_id, self._locks)
        if record is None:
            raise runs.missing(self._database, run_id)
        return record

    def _refuse_existing(self, run_id: str) -> None:
        existing = self._database.read(lambda: runs.get(self._database, run_id, self._locks))
        if existing is not None:
            raise RunExists(existing)

    # Locks

    @contextmanager
    def _locked(self, run_id: str, *, known: bool = False) -> Generator[None]:
        """Lock a run, ``known`` where it was there a moment ago; the lock is released where the block raises."""
        self._lock(run_id, known=known)
        try:
            yield
        except BaseException:
            self._locks.release(run_id)
            raise

    def _lock(self, run_id: str, *, known: bool) -> None:
        if self._locks.acquire(run_id):
            return
        # In a write transaction: a process that was about to store the run has done so once this one begins.
        record = self._database.write(lambda: runs.get(self._database, run_id, self._locks), claims=True)
        if record is not None:
            raise RunHeld(run_id, record.holder)
        if known:
            raise runs.missing(self._database, run_id)  # it is just being deleted
        raise RunConflict(
            f"Run {run_id} is just being created by another process: wait until it has begun, or choose another run "
            "id.",
            run_id=run_id,
        )

    def _write(self, run_id: str, do: Callable[[], T]) -> T:
        """Call a function in a transaction that writes, and in which nobody else takes a run that is locked.

        Raises:
            RunConflict: somebody has taken it, since this process stood still for too long.
        """

        def ours() -> T:
            if not self._locks.mine(run_id):
                raise RunConflict(
                    f"Run {run_id} was taken by another process while this one stood still: watch it there, or try "
                    "again.",
                    run_id=run_id,
                )
            return do()

        return self._database.write(ours, claims=True)

    # Claims

    def claim(self, run_id: str, servers: Sequence[Claim], ignore: frozenset[str] = frozenset()) -> int:
        """Claim servers inside a transaction; return how many of them the run has now.

        Raises:
            ServersClaimed: another run that is not ignored has some of them.
        """
        others = claims.take(self._database, run_id, servers, self.void)
        in_the_way = Counter({other: count for other, count in others.items() if other not in ignore})
        if in_the_way:
            raise self._conflict(in_the_way)
        return len(servers) - others.total()

    def void(self, run_id: str) -> bool:
        """Return True where a run's claims no longer count."""
        record = runs.get(self._database, run_id, self._locks)
        if record is None:
            return not self._locks.held(run_id)  # where it is locked, it is just being created
        return record.status.over or (record.kind == "direct" and not record.held)

    def _claim_all(
        self,
        run_id: str,
        servers: Servers,
        size: int,
        last: Callable[[], T],
        *,
        first: Iterable[Callable[[], None]] = (),
        ignore: frozenset[str] = frozenset(),
    ) -> T:
        """Call ``first`` and claim all servers, in one transaction or piece by piece; return what ``last`` returns.

        ``last`` is called in the last transaction.
        """
        if size <= claims.PIECE:
            begun = list(first)

            def at_once() -> T:
                for do in begun:
                    do()
                for piece in claims.pieces(servers()):
                    self.claim(run_id, piece, ignore)
                return last()

            return self._write(run_id, at_once)
        for do in first:
            self._write(run_id, do)
            self._database.give_way()
        try:
            return self._claim_pieces(run_id, claims.pieces(servers()), last, ignore)
        except ServersClaimed as e:
            # Where one piece is claimed by others more may be: the error names all of them.
            raise (self._in_the_way(run_id, servers, ignore) or e) from None

    def _claim_pieces(
        self, run_id: str, pieces: Iterable[Sequence[Claim]], last: Callable[[], T], ignore: frozenset[str]
    ) -> T:
        got = 0
        for piece in pieces:
            got += self._write(run_id, partial(self.claim, run_id, piece, ignore))
            self._database.give_way()

        def complete() -> T:
            if claims.count(self._database, run_id) != got:
                raise RunConflict(
                    f"Another run has taken some of run {run_id}'s servers while they were claimed: try again.",
                    run_id=run_id,
                )
            return last()

        return self._write(run_id, complete)

    def _in_the_way(self, run_id: str, servers: Servers, ignore: frozenset[str]) -> ServersClaimed | None:
        """Return the conflict about all servers, None where there is none any more."""

        def found() -> ServersClaimed | None:
            owners = Counter[str]()
            for piece in claims.pieces(servers()):
                owners.update(claims.owners(self._database, piece).values())
            others = {other: n for other, n in owners.items() if other != run_id and other not in ignore}
            in_the_way = Counter({other: n for other, n in others.items() if not self.void(other)})
            return self._conflict(in_the_way) if in_the_way else None

        return self._database.read(found)

    def _conflict(self, in_the_way: Counter[str]) -> ServersClaimed:
        counts = dict(in_the_way.most_common())
        for run_id in counts:
            record = runs.get(self._database, run_id, self._locks)
            if record is not None:
                return ServersClaimed(record, counts)
        return ServersWanted(next(iter(counts)), counts)

    # Clearing away

    @contextmanager
    def _clearing_away(self, run_id: str) -> Generator[None]:
        """Clear away what was stored of a run where the block raises; what then remains is void."""
        try:
            yield
        except Exception:
            with suppress(StoreError, RunConflict):
                self._clear_away(run_id)
            raise

    def _clear_away(self, run_id: str) -> None:
        """Clear away what a creation, or a deletion, that did not come to its end has left behind."""
        if not self._database.read(lambda: self._is_left(run_id)):
            return
        self._free_all(run_id)
        while self._write(run_id, lambda: pruning.delete_piece(self._database, run_id)):
            self._database.give_way()

    def _is_left(self, run_id: str) -> bool:
        return targets.any_of(self._database, run_id) or pruning.noted(self._database, run_id)

    def _free_all(self, run_id: str) -> None:
        after: Claim | None = ("", "")
        while after is not None:
            after = self._write(run_id, partial(claims.free_piece, self._database, run_id, after))
            self._database.give_way()
