"""What is done about a failover that forgets: a promoted standby may lack the last commits, and says nothing of it.

Each promotion gives the server's write-ahead log a new *timeline*, which is compared with the one in the store at every
transaction that writes. Where it has changed a new *epoch* of the store begins: no tokens are granted for as long as
those of a forgotten grant could count. And each holder finds out by its run's last event and that event's hash whether
something of the run was lost; it writes again what it remembers, byte by byte, so that the chain of the record is the
same. Where somebody else has written to the run instead, the run is theirs.

Why nothing is sent twice: who may have had a run in the time that was forgotten trusts itself for three seconds, and
what it had tokens for leaves within five. Until nobody has tokens again, all that is under way shows in the cloud, and
every waiting server is looked at once more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Final
from uuid import uuid4

from ecsbatch.errors import RecordEdited, RunConflict
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.conflicts import RunTaken, ServersClaimed
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Claim, RunRecord
from ecsbatch.model.servers import Fleet
from ecsbatch.store import chain, claims, journal, runs, targets
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database, found
from ecsbatch.store.journal import JournalRow
from ecsbatch.store.ledger import TokenLedger
from ecsbatch.store.ledger_clock import LedgerClock

_FACT: Final = "timeline"

_NEW: Final = ":new"
"""At the end of an epoch's name: nothing was forgotten before it, as far as is known."""

REMEMBERED: Final = 900.0
"""Seconds for which a row is remembered that was written: standbys lag by seconds, and are promoted within minutes."""

_AT_LEAST: Final = 100
"""Rows of a run that are remembered however old they are."""

LOST_LEDGER: Final = 155.05
"""Seconds for which no tokens are granted after grants were lost: as long as, by the defaults, the grant of a killed
process can count."""


@dataclass(slots=True)
class _Memory:
    """What this process remembers of one run: the hash before its first row, its last rows, its claims.

    ``born`` is the run as this process has created it, while all rows since then are remembered.
    """

    before: str
    rows: deque[JournalRow] = field(default_factory=deque[JournalRow])
    claims: set[Claim] = field(default_factory=set[Claim])
    born: tuple[RunRecord, Fleet | None] | None = None


class Recollection:
    """What this process has written of its runs lately and may have to write again."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._runs: dict[str, _Memory] = {}

    def begin(
        self,
        run_id: str,
        before: str,
        rows: Sequence[JournalRow] = (),
        born: tuple[RunRecord, Fleet | None] | None = None,
    ) -> None:
        """Remember a run that this process holds from now on, with the last rows of its record."""
        self._runs[run_id] = _Memory(before, deque(rows), born=born)

    def born(self, run_id: str) -> tuple[RunRecord, Fleet | None] | None:
        """Return a run as this process has created it and could do so again; None where it could not."""
        return self._runs[run_id].born if run_id in self._runs else None

    def drop(self, run_id: str) -> None:
        """Forget a run that this process holds no more."""
        self._runs.pop(run_id, None)

    def add(self, rows: Sequence[JournalRow]) -> None:
        """Remember rows that are durable."""
        for row in rows:
            memory = self._runs.get(row.run_id)
            if memory is None:
                continue
            memory.rows.append(row)
            while len(memory.rows) > _AT_LEAST and memory.rows[0].ts < row.ts - REMEMBERED:
                memory.before, memory.born = memory.rows.popleft().hash, None

    def claimed(self, run_id: str, taken: Sequence[Claim], freed: Sequence[Claim]) -> None:
        """Remember which servers a run of single restarts has."""
        if (memory := self._runs.get(run_id)) is not None:
            memory.claims.difference_update(freed)
            memory.claims.update(taken)

    def claims_of(self, run_id: str) -> list[Claim]:
        """Return the servers that a run of single restarts has."""
        return sorted(self._runs[run_id].claims) if run_id in self._runs else []

    def is_ours(self, run_id: str, seq: int, hash_: str) -> bool:
        """Tell whether a record that ends with event ``seq``, and this hash, may be the beginning of what we know."""
        memory = self._runs.get(run_id)
        if memory is None or not memory.rows or seq < memory.rows[0].seq_first - 1:
            return True
        return self._hash_at(memory, seq) == hash_

    def rows_behind(self, run_id: str, seq: int, hash_: str) -> list[JournalRow] | None:
        """Return the rows behind event ``seq``, at which a record has this hash; None where they are not known."""
        memory = self._runs.get(run_id)
        if memory is None or self._hash_at(memory, seq) != hash_:
            return None
        rows = [row for row in memory.rows if row.seq_last > seq]
        return rows if not rows or rows[0].seq_first == seq + 1 else None

    def go_on(self, run_id: str, rows: Sequence[JournalRow]) -> bool:
        """Remember those of a run's last rows that are new; False where they do not follow what is remembered."""
        memory = self._runs.get(run_id)
        if memory is None or not memory.rows:
            return False
        last = memory.rows[-1].seq_last
        new = [row for row in rows if row.seq_last > last]
        if new and new[0].seq_first != last + 1:
            return False
        self.add(new)
        return True

    @staticmethod
    def _hash_at(memory: _Memory, seq: int) -> str:
        return next((row.hash for row in reversed(memory.rows) if row.seq_last <= seq), memory.before)


class Failover:
    """Notices a failover of one database, and mends what it has forgotten of this process's runs.

    Attributes:
        timeline: the server's, "" for a database that never fails over, or does not tell.
        epoch: names the stretch of time since the last failover that anybody has noticed; "" as above.
        recollection: what this process could write again.
        on_lost: called in a transaction once this process has lived through a failover, to mend what else it knows.
    """

    def __init__(
        self,
        database: Database,
        ledger: TokenLedger,
        clock: LedgerClock,
        nonce: str,
        claim: Callable[[str, Sequence[Claim]], object],
    ) -> None:
        """Listen to a database for the opened store ``nonce``; ``claim`` takes servers for a run."""
        self.timeline = self.epoch = ""
        self.recollection = Recollection()
        self.on_lost: Callable[[], None] = _nothing
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._nonce = nonce
        self._claim = claim
        database.hear_timeline(self._hear)

    def _hear(self, timeline: str) -> None:
        """Compare the timeline with the store's, in the transaction that has shown it.

        The first that notices has all wait until what may have been forgotten cannot count any more.
        """
        if self._noted() is None:
            self._database.execute(sql.STATE_ONCE, {"name": _FACT, "value": _named(timeline) + _NEW})
        noted = self._noted() or ""
        # A store that seems to be new is none for who has used it before: even its first writes are forgotten.
        seems_new = bool(self.epoch) and noted != self.epoch and noted.endswith(_NEW)
        if _timeline_of(noted) != timeline or seems_new:
            change = {"name": _FACT, "value": _named(timeline), "before": noted}
            if self._database.execute(sql.CHANGE_FACT, change).rowcount:
                (longest,) = self._database.execute(sql.LONGEST_HOLD).fetchone()
                self._wait_out(max(LOST_LEDGER, longest))
        before, self.timeline, self.epoch = self.epoch, timeline, self._noted() or ""
        if before and before != self.epoch:
            # Who has noticed first may not know for how long our own grants count.
            if self._ledger.longest > LOST_LEDGER:
                self._wait_out(self._ledger.longest)
            self.on_lost()

    def _noted(self) -> str | None:
        row = found(self._database.execute(sql.FACT, {"name": _FACT}))
        return str(row[0]) if row else None

    def _wait_out(self, seconds: float) -> None:
        self._ledger.wait_out(seconds, self._clock.now(), f"{self._nonce[:12]}.{uuid4().hex[:12]}")

    def note_whole(self, run_id: str) -> None:
        """Store that a run's record is whole in the present epoch; called inside a transaction."""
        self._database.execute(sql.SET_TIMELINE, {"run": run_id, "timeline": self.epoch})

    def born(self, record: RunRecord, fleet: Fleet | None, before: str, rows: Sequence[JournalRow]) -> None:
        """Begin to remember a run that this process has created, with the hash before its first rows."""
        if self.epoch:
            self.recollection.begin(record.run_id, before, rows, (record, fleet))

    def remember(self, run_id: str, *, anew: bool) -> str:
        """Begin to remember a run that this process has now; return the epoch in which its record is known to be whole.

        Unless ``anew`` it had the run before, and only goes on.
        """
        if not self.epoch:
            return ""
        last = {"run": run_id, "limit": _AT_LEAST + 1}

        def known() -> tuple[str, str, list[JournalRow]]:
            rows = [journal.row_of(row) for row in self._database.execute(sql.LAST_ROWS, last).fetchall()][::-1]
            (whole,) = found(self._database.execute(sql.TIMELINE_OF_RUN, {"run": run_id})) or ("",)
            before = rows.pop(0).hash if len(rows) > _AT_LEAST else self._first_hash(run_id)
            return whole or self.epoch, before, rows

        epoch, before, rows = self._database.read(known)
        if anew or not self.recollection.go_on(run_id, rows):
            self.recollection.begin(run_id, before, rows)
        return epoch

    def _first_hash(self, run_id: str) -> str:
        return str((found(self._database.execute(sql.FIRST_HASH, {"run": run_id})) or ("",))[0])

    def write_again(self, run_id: str, seq: int, head: str, *, over: bool = False, unheard: bool = False) -> bool:
        """Write what the database has forgotten of a run's record; called inside a transaction that has the run locked.

        Args:
            run_id: the run, which this process has.
            seq: the last event that is known to be written.
            head: of the record, behind that event.
            over: the run is over.
            unheard: writes may have succeeded whose answers this process did not get.

        Returns:
            False where the record is longer by such a write.

        Raises:
            RunTaken: another process has written to the run, or has created another one of its id.
            RecordEdited: more was forgotten than this process remembers.
            RunConflict: another run has some of its servers now.
        """
        created = self._create_again(run_id)
        status = found(self._database.execute(sql.STATUS, {"run": run_id}))
        if status is None:
            raise _forgotten(run_id, 0, seq)
        has, behind = found(self._database.execute(sql.LAST_ROW, {"run": run_id})) or (0, self._first_hash(run_id))
        if unheard and has > seq and self._hash_at(run_id, seq) == head:
            return False
        if (has, behind) != (seq, head):
            self._write_rows(run_id, seq, has, behind)
        if not over and (created or RunStatus(status[0]).over):
            self._claim_all(run_id)
        if servers := self.recollection.claims_of(run_id):
            claims.take(self._database, run_id, servers, lambda _: False)
        return True

    def _write_rows(self, run_id: str, seq: int, has: int, behind: str) -> None:
        """Write the rows that are missing behind event ``has``."""
        if has > seq or not self.recollection.is_ours(run_id, has, behind):
            theirs = found(self._database.execute(sql.RUN, {"run": run_id})) or ()
            raise RunTaken(run_id, runs.holder_of(theirs))
        rows = self.recollection.rows_behind(run_id, has, behind)
        if not rows or rows[-1].seq_last != seq:
            raise _forgotten(run_id, has, seq)
        for row in rows:
            journal.write(self._database, row)

    def _hash_at(self, run_id: str, seq: int) -> str:
        row = found(self._database.execute(sql.HASH_AT, {"run": run_id, "seq": seq}))
        return str(row[0]) if row else "" if seq else self._first_hash(run_id)

    def _create_again(self, run_id: str) -> bool:
        """Store a run once more that this process has created, where nothing of it is left; return whether it did."""
        born = self.recollection.born(run_id)
        if born is None or found(self._database.execute(sql.HOW_FAR, {"run": run_id})) is not None:
            return False
        record, fleet = born
        runs.insert(self._database, record)
        if fleet is not None:
            for row in targets.rows(run_id, fleet):
                targets.write(self._database, row)
        chain.begin(self._database, run_id)
        return True

    def _claim_all(self, run_id: str) -> None:
        """Claim the servers of a rollout, of which the database has forgotten that they are its own."""
        record = found(self._database.execute(sql.RUN, {"run": run_id})) or ()
        servers = targets.to_claim(targets.read(self._database, run_id), runs.plan_of(record))
        try:
            for piece in claims.pieces(servers.key_order()()):
                self._claim(run_id, piece)
        except ServersClaimed as e:
            # It is no `ServersClaimed`: that would be of a single request, and this is of the whole run.
            raise RunConflict(
                f"The database has failed over, and had forgotten that run {run_id} has its servers. Meanwhile "
                f"run {e.run_id} has claimed some of them: nothing more is sent of run {run_id}. "
                f"Watch run {e.run_id}, then begin anew with the servers that are left.",
                run_id=run_id,
            ) from e


def _forgotten(run_id: str, has: int, seq: int) -> RecordEdited:
    return RecordEdited(
        f"The database has forgotten more of run {run_id} than its holder remembers: the record ends with event {has}, "
        f"and event {seq} was the last one. Nothing is sent: restore the store from a copy, or resume the run, which "
        "looks at every server first.",
        run_id=run_id,
    )


def _named(timeline: str) -> str:
    """Return a new epoch's name; two servers that were promoted apart may call their timelines the same."""
    return f"{timeline}:{uuid4().hex[:12]}"


def _timeline_of(epoch: str) -> str:
    return epoch.partition(":")[0]


def _nothing() -> None:
    """Nothing else is to be mended."""
