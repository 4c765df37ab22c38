"""What is done about a failover that forgets: a promoted standby may lack the last commits, and says nothing of it.

Each promotion gives the server's write-ahead log a new *timeline*, which is compared with the one in the store at every
transaction that writes. Where it has changed, no tokens are granted for as long as those of a forgotten grant could
count. And each holder finds out by the number of its run's last event whether something of the run was lost; it writes
again what it remembers, byte by byte, so that the chain of the record is the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ecsbatch.errors import RecordEdited
from ecsbatch.model.run import Claim, Lease, RunRecord
from ecsbatch.model.servers import Fleet
from ecsbatch.store import chain, claims, journal, runs, targets
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database, found
from ecsbatch.store.journal import JournalRow
from ecsbatch.store.ledger import TokenLedger
from ecsbatch.store.ledger_clock import LedgerClock

_FACT: Final = "timeline"

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

    def rows_behind(self, run_id: str, seq: int, head: str) -> list[JournalRow] | None:
        """Return the rows behind event ``seq``, whose record has the hash ``head``; None where they are not known."""
        memory = self._runs.get(run_id)
        if memory is None:
            return None
        rows = [row for row in memory.rows if row.seq_last > seq]
        before = next((row.hash for row in reversed(memory.rows) if row.seq_last <= seq), memory.before)
        follows = bool(rows) and rows[0].seq_first == seq + 1 and before == head
        return rows if follows or (not rows and before == head) else None


class Failover:
    """Notices a failover of one database, and mends what it has forgotten of this process's runs.

    Attributes:
        timeline: the server's, "" for a database that never fails over.
        recollection: what this process could write again.
    """

    def __init__(self, database: Database, ledger: TokenLedger, clock: LedgerClock, nonce: str) -> None:
        """Listen to a database; grants of nobody's run are named after ``nonce``."""
        self.timeline = ""
        self.recollection = Recollection()
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._nonce = nonce
        database.hear_timeline(self._hear)

    def _hear(self, timeline: str) -> None:
        """Compare the timeline with the store's, in the transaction that has shown it.

        The first that notices has all wait until what may have been forgotten cannot count any more.
        """
        row = found(self._database.execute(sql.FACT, {"name": _FACT}))
        if row is None:
            self._database.execute(sql.STATE_ONCE, {"name": _FACT, "value": timeline})
        elif row[0] != timeline:
            change = {"name": _FACT, "value": timeline, "before": row[0]}
            if self._database.execute(sql.CHANGE_FACT, change).rowcount:
                (longest,) = self._database.execute(sql.LONGEST_HOLD).fetchone()
                grant = f"{self._nonce[:12]}.{timeline}"
                self._ledger.wait_out(max(LOST_LEDGER, longest), self._clock.now(), grant)
        self.timeline = timeline

    def timeline_of(self, run_id: str) -> str:
        """Return the timeline in which a run's record is known to be whole; called inside a transaction."""
        row = found(self._database.execute(sql.TIMELINE_OF_RUN, {"run": run_id}))
        return str(row[0]) if row else self.timeline

    def note_whole(self, run_id: str) -> None:
        """Store that a run's record is whole in the present timeline; called inside a transaction."""
        self._database.execute(sql.SET_TIMELINE, {"run": run_id, "timeline": self.timeline})

    def remember(self, run_id: str) -> str:
        """Begin to remember a run that this process has taken; return the timeline in which its record is whole."""
        if not self.timeline:
            return ""
        last = {"run": run_id, "limit": _AT_LEAST + 1}

        def known() -> tuple[str, str, list[JournalRow]]:
            rows = [JournalRow(*row) for row in self._database.execute(sql.LAST_ROWS, last).fetchall()][::-1]
            first = found(self._database.execute(sql.FIRST_HASH, {"run": run_id}))
            before = rows.pop(0).hash if len(rows) > _AT_LEAST else str(first[0]) if first else ""
            return self.timeline_of(run_id), before, rows

        timeline, before, rows = self._database.read(known)
        self.recollection.begin(run_id, before, rows)
        return timeline

    def write_again(self, lease: Lease, seq: int) -> None:
        """Write what the database has forgotten of a run's record up to event ``seq``; called inside a transaction.

        Raises:
            RecordEdited: more was forgotten than this process remembers.
        """
        run_id = lease.run_id
        self._create_again(run_id)
        last, head = found(self._database.execute(sql.LAST_ROW, {"run": run_id})) or (0, "")
        if not last:
            head = str((found(self._database.execute(sql.FIRST_HASH, {"run": run_id})) or ("",))[0])
        rows = self.recollection.rows_behind(run_id, last, head)
        if rows is None or (rows and rows[-1].seq_last != seq) or (not rows and last != seq):
            raise RecordEdited(
                f"The database has forgotten more of run {run_id} than its holder remembers: the record ends with "
                f"event {last}, and event {seq} was the last one. Nothing is sent: restore the store from a copy, or "
                "resume the run, which looks at every server first.",
                run_id=run_id,
            )
        for row in rows:
            journal.write(self._database, row)
        if servers := self.recollection.claims_of(run_id):
            claims.take(self._database, run_id, servers, lambda _: False)

    def _create_again(self, run_id: str) -> None:
        """Store a run once more that this process has created, where nothing of it is left."""
        born = self.recollection.born(run_id)
        if born is None or found(self._database.execute(sql.HOW_FAR, {"run": run_id})) is not None:
            return
        record, fleet = born
        runs.insert(self._database, record)
        if fleet is not None:
            for row in targets.rows(run_id, fleet):
                targets.write(self._database, row)
            # Where others have claimed some of them meanwhile they keep them: what was sent of these is in our record.
            for servers in claims.pieces(targets.to_claim(fleet, record.plan).key_order()()):
                claims.take(self._database, run_id, servers, lambda _: False)
        chain.begin(self._database, run_id)
