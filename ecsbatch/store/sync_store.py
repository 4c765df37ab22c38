"""All that a store does, synchronously, on one database and one thread.

Writes come in groups, one durable transaction for each: fsync is what a commit costs. A write that is refused leaves
nothing behind and does not disturb its group. Where the database fails the whole group is lost, and the leases that
had a part in it can write nothing more: what follows a lost event must not be stored. The events that a group stores
of one run are kept aside until its end, and become one row of the journal and one change of the run's own row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast
from uuid import uuid4

import orjson

from ecsbatch.clock import Clock, boottime_of
from ecsbatch.errors import Invalid, RecordEdited, RunConflict, StoreError
from ecsbatch.model.events import Event, StoreFailedOver
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.quota import Usage
from ecsbatch.model.recorded import Recorded, encode_all
from ecsbatch.model.run import Claim, Command, Committed, Holder, Lease, NewRun, RunRecord, Transaction
from ecsbatch.model.servers import targets_hash
from ecsbatch.model.spending import GroupSpending
from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest
from ecsbatch.store import chain, claims, journal, runs
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database
from ecsbatch.store.failover import Failover
from ecsbatch.store.freezes import FreezeTable
from ecsbatch.store.held_runs import Head, Pending, first_record, intended
from ecsbatch.store.ledger import TokenLedger
from ecsbatch.store.ledger_clock import TransactionClock
from ecsbatch.store.pruning import Pruning
from ecsbatch.store.spending import Spending
from ecsbatch.store.taking import Taking
from ecsbatch.store.worker import Write

_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


_NOBODYS: Final = -1
"""The fence of a run whose lock this process has lost; no lease has it."""

_NOT_NOW: Final = Shortage(0, 0.001, 0)
"""The answer to a caller that does not know yet what has come meanwhile: ask again at once, with that in mind."""


class SyncStore:
    """Runs, journal, claims and ledger of one database, as one process uses them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._nonce = uuid4().hex
        self.clock = database.ledger_clock(clock)
        self._machine = clock
        self._moment = TransactionClock(self.clock)
        self._ledger = TokenLedger(database, self.clock.name, self._nonce)
        self.freezes = FreezeTable(database, self.clock)
        self._spending = Spending(database)
        self.locks = self._locks = database.locks(self._nonce, clock)
        self._taking = Taking(database, self._locks)
        self._failover = Failover(database, self._ledger, self.clock, self._nonce, self._taking.claim)
        self._failover.on_lost = self.freezes.write_again
        self.pruning = Pruning(database, self._locks)
        self.reader = journal.Reader(database)
        self._heads: dict[str, Head] = {}
        self._staged: dict[str, Head] = {}
        self._pending: dict[str, Pending] = {}
        self._fences: dict[str, int] = {}
        self._locked: dict[str, float] = {}
        self._rows: list[journal.JournalRow] = []
        self._claims: list[tuple[str, Sequence[Claim], Sequence[Claim]]] = []
        self._broken: dict[str, str] = {}
        self._bare = f"{self._nonce[:12]}."
        self._bare_grants = 0

    # Transactions

    def commit_group(self, writes: Sequence[Write]) -> list[Any]:
        """Do writes in one durable transaction; return for each its result, or the exception that refused it."""
        try:
            done = self._database.write(lambda: self._do_group(writes), claims=any(write.claims for write in writes))
        except RecordEdited as e:
            return [e for _ in writes]
        except StoreError as e:
            self._broken |= {write.run_id: str(e) for write in writes if write.run_id}
            return [StoreError(str(e)) for _ in writes]
        except Exception as e:  # noqa: BLE001  # an intent is the caller's code: only its own write may fail
            return [e for _ in writes]
        else:
            self._heads |= self._staged
            self._failover.recollection.add(self._rows)
            for run_id, taken, freed in self._claims:
                self._failover.recollection.claimed(run_id, taken, freed)
            return done
        finally:
            # Whatever happens, what one group has kept aside must not be written by the next.
            self._forget_group()

    def _do_group(self, writes: Sequence[Write]) -> list[Any]:
        self._forget_group()  # it may be done again, from its begin
        for group in sorted({write.quota_group for write in writes if write.quota_group}):
            self._locked[group] = now = self._ledger.lock(group, self.clock.here())
            self._moment.notice(now)
        # A single write needs no savepoint: where it is refused the whole transaction is undone.
        done = [writes[0].do()] if len(writes) == 1 else [self._attempt(write) for write in writes]
        self._write_pending()
        return done

    def _attempt(self, write: Write) -> Any:
        try:
            if not write.needs_savepoint:
                return write.do()
            with self._database.attempt():
                return write.do()
        except self._database.errors:
            raise
        except Exception as e:  # noqa: BLE001  # an intent is the caller's code: only its own write may fail
            # What was undone with it, a lock on the run or what was written again, is needed by the next one.
            self._fences.pop(write.run_id, None)
            return e

    def _write_pending(self) -> None:
        """Write what the group has kept aside of its runs."""
        for run_id, pending in self._pending.items():
            head = self._staged[run_id]
            for row in journal.rows(pending.recorded, pending.lines, head.hash):
                journal.write(self._database, row)
                self._rows.append(row)
                head = self._staged[run_id] = replace(head, hash=row.hash)
            changed = head.status is not self._heads[run_id].status
            runs.advance(self._database, run_id, head.seq, head.counts, head.status if changed else None)

    def _forget_group(self) -> None:
        for each in (self._staged, self._pending, self._fences, self._locked, self._rows, self._claims):
            each.clear()
        self._moment.forget()

    # Runs and their holders

    def create(self, new: NewRun, holder: Holder) -> Lease:
        """Store a new run with its targets, claims and first events, and hold it."""
        if not isinstance(new.run_id, str) or not _RUN_ID.fullmatch(new.run_id):  # pyright: ignore[reportUnnecessaryIsInstance] - from JSON
            expected = "up to 64 letters, digits, dots, dashes and underscores"
            told = f"run_id = {new.run_id!r}: give {expected}."
            raise Invalid(told, field="run_id", value=new.run_id, expected=expected).about("run_id")
        counts = runs.counted({}, new.events)
        # Not in the transaction, in which nobody else can write: of a million it takes seconds.
        targets = targets_hash(()) if new.fleet is None else new.fleet.targets_hash()

        def insert() -> tuple[tuple[Recorded, ...], str, list[journal.JournalRow], RunRecord]:
            now = self.clock.stamp()
            recorded = journal.record(new.run_id, 0, now, new.events)
            record = first_record(new, holder, now, counts, targets)
            runs.insert(self._database, record)
            self._failover.note_whole(new.run_id)
            first = chain.begin(self._database, new.run_id)
            rows = journal.rows(recorded, [encode_all(recorded)], first)
            for row in rows:
                journal.write(self._database, row)
            return recorded, first, rows, record

        recorded, first, rows, record = self._taking.create(new, insert)
        behind = rows[-1].hash if rows else first
        head = Head(1, len(recorded), RunStatus.RUNNING, counts, behind, epoch=self._failover.epoch)
        self._begin(new.run_id, head)
        self._failover.born(record, new.fleet, first, rows)
        return Lease(new.run_id, holder, 1, None, recorded)

    def take_run(self, run_id: str, holder: Holder, as_of: int | None = None) -> Lease:
        """Take a run whose holder is gone."""
        record, status, behind = self._taking.take_run(run_id, holder, as_of)
        return self._go_on(record, holder, status, behind, anew=True)

    def renew(self, lease: Lease) -> Lease:
        """Return a new lease of a run that this process holds and can no longer write to."""
        record, status, behind = self._taking.renew(lease, lambda: self._fence(lease, unheard=True))
        return self._go_on(record, lease.holder, status, behind, anew=False)

    def _go_on(self, record: RunRecord, holder: Holder, status: RunStatus, behind: str, *, anew: bool) -> Lease:
        """Hold a run that was there before."""
        try:
            epoch = self._failover.remember(record.run_id, anew=anew)
        except BaseException:
            # It is ours already, and without a lease nobody could release it.
            self._heads.pop(record.run_id, None)
            self._locks.release(record.run_id)
            raise
        head = Head(record.fence + 1, record.seq, status, record.counts, behind, epoch=epoch)
        self._begin(record.run_id, head)
        return Lease(record.run_id, holder, record.fence + 1, record.holder)

    def _begin(self, run_id: str, head: Head) -> None:
        self._broken.pop(run_id, None)
        self._heads[run_id] = head

    def release(self, lease: Lease) -> None:
        """Release a run, if the lease is still the run's."""
        head = self._heads.get(lease.run_id)
        if head is not None and head.fence == lease.fence:
            del self._heads[lease.run_id]
            self._broken.pop(lease.run_id, None)
            self._failover.recollection.drop(lease.run_id)
            self._taking.let_go(lease.run_id, claimed=head.claimed)

    def trusts(self, lease: Lease) -> bool:
        """Tell whether a lease is the one by which this process holds its run, and nobody else can have taken that.

        Callable on any thread; it never waits.
        """
        head = self._heads.get(lease.run_id)
        return head is not None and head.fence == lease.fence and self._locks.trusted(lease.run_id)

    def drop(self) -> None:
        """Drop all locks, as the kernel does for a dead process."""
        self._heads.clear()
        self._locks.drop()

    def release_all(self) -> None:
        """Release all runs."""
        for run_id in self._heads:
            self._locks.release(run_id)
        self.drop()

    # Commits

    def commit(self, lease: Lease, transaction: Transaction, folded: int | None) -> Committed:
        """Do what a `Transaction` asks, inside the group's database transaction; see `DatabaseStore.commit`."""
        run_id = lease.run_id
        head = self._head(lease)
        for settlement in transaction.settle:
            self.settle(settlement)
        got = self._granted(transaction, run_id, head, folded)
        grant, shortage = (got, None) if isinstance(got, Grant) else (None, got)
        events = [*self._told_of_failover(head, lease), *transaction.events]
        if grant is not None and transaction.intent is not None:
            events += intended(transaction.intent, grant)
        recorded = journal.record(run_id, head.seq, self._moment.stamp(), events)
        lines = encode_all(recorded)
        self._change_claims(run_id, transaction, grant)
        over = transaction.status is not None and transaction.status.over
        # One piece only, to be quick: from now on all of them are void, and the rest is freed with the release.
        claimed = over and claims.free_piece(self._database, run_id) is not None
        self._staged[run_id] = replace(
            head,
            seq=head.seq + len(recorded),
            status=transaction.status or head.status,
            counts=runs.counted(head.counts, events) if events else head.counts,
            grants=head.grants + (grant is not None),
            failed_at=head.seq + len(recorded) if runs.any_failure(events) else head.failed_at,
            claimed=claimed,
            epoch=self._failover.epoch,
        )
        if recorded or transaction.status:
            pending = self._pending.setdefault(run_id, Pending())
            pending.recorded += recorded
            pending.lines += [lines] if recorded else []
        return Committed(recorded, grant, shortage)

    def _granted(
        self, transaction: Transaction, run_id: str, head: Head, folded: int | None
    ) -> Grant | Shortage | None:
        request, wanted = transaction.take, transaction.wanted
        if request is None:
            return None
        if wanted is not None and not wanted():
            return _NOT_NOW
        if head.epoch != self._failover.epoch or (folded is not None and head.failed_at > folded):
            return _NOT_NOW
        return self._take(request, f"{run_id}.{head.fence}.{head.grants + 1}", run_id)

    def take(self, request: TokenRequest) -> Grant | Shortage:
        """Take tokens that are no run's."""
        self._bare_grants += 1
        return self._take(request, f"{self._bare}{self._bare_grants}", "")

    def settle(self, settlement: Settlement) -> None:
        """Settle a grant of this group of writes: its request had ended before the group began."""
        back = self._ledger.settle(settlement, self._moment.now())
        if back is not None:
            group, run_id, tokens = back
            self._spending.took(group, run_id, -tokens, 0, self._moment.stamp())

    def start_cold(self, seconds: float) -> bool:
        """Grant no tokens for so many seconds where there has never been a run; return whether that is so."""
        cold = runs.none_yet(self._database)
        if cold:
            self.wait_out(seconds)
        return cold

    def wait_out(self, seconds: float) -> None:
        """Grant no tokens to anybody for so many seconds."""
        self._bare_grants += 1
        self._ledger.wait_out(seconds, self.clock.now(), f"{self._bare}{self._bare_grants}")

    def _take(self, request: TokenRequest, grant_id: str, run_id: str) -> Grant | Shortage:
        freeze = self.freezes.in_force()
        if freeze is not None:
            return Shortage(0, None, 0, frozen=freeze)
        now = self._locked[request.group]
        tokens = self._ledger.tokens(request, now)
        if isinstance(tokens, Shortage):
            return tokens
        grant = Grant(grant_id, tokens, now, boottime_of(self._machine))
        self._ledger.record_grant(request, grant, run_id)
        self._spending.took(request.group, run_id, tokens, request.limit, self._moment.stamp())
        return grant

    def _head(self, lease: Lease) -> Head:
        """Return the run's head for its holder.

        Raises:
            StoreError: an earlier write of this lease failed.
            RunTaken: the run has another holder.
            RunConflict: this process has released the run.
        """
        broken = self._broken.get(lease.run_id)
        if broken:
            raise StoreError(broken)
        fence = self._fences.get(lease.run_id)
        if fence is None:
            # Once for a group: nobody else takes the run until its transaction has ended.
            fence = self._fences[lease.run_id] = self._fence(lease)
        if fence != lease.fence:
            raise self._taking.taken(self._taking.exactly(lease.run_id), lease)
        head = self._staged.get(lease.run_id) or self._heads.get(lease.run_id)
        if head is None:
            raise RunConflict(
                f"Run {lease.run_id} was released by this process: hold it again before writing to it.",
                run_id=lease.run_id,
            )
        return head

    def _fence(self, lease: Lease, *, unheard: bool = False) -> int:
        """Return the number of the run's holder, `_NOBODYS` where it is we and our lock is another's by now.

        What a failover has forgotten of the run is there again then. ``unheard``: there may be writes of ours besides.
        """
        fence, seq = runs.how_far(self._database, lease.run_id)
        head = self._heads.get(lease.run_id)
        if head is None or head.fence != lease.fence or fence > lease.fence:
            return fence
        # In this order: where the fence has grown, the run must not be had again. Where it has shrunk, a failover has
        # forgotten that we took the run from a holder whose lease has run out.
        if not self._locks.mine(lease.run_id):
            if not self._locks.kept(lease.run_id) and not (fence < lease.fence and self._locks.regain(lease.run_id)):
                return _NOBODYS
            # Only now is the run locked: somebody may have taken it, and let it go, since it was read.
            fence, seq = runs.how_far(self._database, lease.run_id)
            if fence > lease.fence:
                self._locks.leave(lease.run_id)
                return fence
        epoch, over = self._failover.epoch, head.status.over
        changed = epoch and (epoch, fence, seq) != (head.epoch, head.fence, head.seq)
        if changed and self._failover.write_again(lease.run_id, head.seq, head.hash, over=over, unheard=unheard):
            runs.set_holder(self._database, lease.run_id, lease.holder, lease.fence, head.status)
            runs.advance(self._database, lease.run_id, head.seq, head.counts)
        return lease.fence

    def _told_of_failover(self, head: Head, lease: Lease) -> list[Event]:
        """Return the event of a failover since the run's last write, and note that its record is whole again."""
        if head.epoch == self._failover.epoch:
            return []
        self._failover.note_whole(lease.run_id)
        wait = round(self._ledger.waited_out_for(self.clock.now()), 3)
        return [StoreFailedOver(timeline=self._failover.timeline, wait=wait)]

    # Claims

    def claimed(self, servers: Sequence[Claim]) -> dict[Claim, str]:
        """Return which run has each of these servers; servers that no run has are left out."""
        owners = claims.owners(self._database, servers)
        void = {run_id for run_id in set(owners.values()) if self._taking.void(run_id)}
        return {server: run_id for server, run_id in owners.items() if run_id not in void}

    def _change_claims(self, run_id: str, transaction: Transaction, grant: Grant | None) -> None:
        """Free and claim servers; of those that tokens are for, only as many as got one: the others stay free."""
        if transaction.unclaim:
            claims.free(self._database, run_id, transaction.unclaim)
        claim = transaction.claim if transaction.take is None else transaction.claim[: grant.tokens if grant else 0]
        if claim:
            self._taking.claim(run_id, sorted(claim))
        if claim or transaction.unclaim:
            self._claims.append((run_id, claim, transaction.unclaim))

    # Questions

    def usage(self, group: str, limit: int) -> Usage:
        """Return how much of a quota group's ``limit`` is used now."""
        return self._ledger.usage(group, limit, self.clock.now())

    def spending(self) -> list[GroupSpending]:
        """Return who spends which quota, now and in the last hour."""
        now = self.clock.now()
        return self._spending.groups(self._ledger.every_grant(now), now, self.clock.stamp())

    def run(self, name: str) -> RunRecord:
        """Return a run by its id, a unique prefix, or "" for the latest."""
        return runs.find(self._database, name, self._locks)

    def runs(self, limit: int) -> list[RunRecord]:
        """Return the last runs, the newest first."""
        return runs.latest(self._database, limit, self._locks)

    def runs_between(self, since: float, until: float) -> list[RunRecord]:
        """Return the runs that went on at some time between two, the newest first."""
        return runs.between(self._database, since, until, self._locks)

    def open_rollouts(self) -> list[RunRecord]:
        """Return the rollouts that go on, or were broken off, the newest first."""
        return runs.open_rollouts(self._database, self._locks)

    def command(self, run_id: str, body: Mapping[str, Any], who: str) -> int:
        """Store a command for a run's holder; return its id."""
        run = self._taking.exactly(run_id).run_id
        now = self.clock.stamp()
        row = {"number": int(now * 1e6), "run_id": run, "ts": now, "who": who, "body": orjson.dumps(body).decode()}
        # None where another one got the same number in the same instant.
        while (done := self._database.execute(sql.INSERT_COMMAND, row).fetchone()) is None:
            pass
        return int(done[0])

    def commands(self, run_id: str, after: int) -> list[Command]:
        """Return the commands to a run's holder whose ids are above ``after``."""
        rows = self._database.execute(sql.COMMANDS, {"run": run_id, "after": after})
        return [Command(id_, ts, who, _body(body)) for id_, ts, who, body in rows]


def _body(text: str) -> Mapping[str, Any]:
    """Return a command's body; a row that cannot be read, since somebody wrote it by hand, asks for nothing."""
    try:
        body: Any = orjson.loads(text)
    except ValueError:
        return {}
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}
