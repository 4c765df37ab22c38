"""Who holds a run where processes of several machines share the database: a lease in a row, for some seconds.

Whether its holder may still send is reckoned in `ecsbatch.store.lease_keeper`; what has it renewed each second is in
`ecsbatch.store.heart`. What is written is safe without trust: each write looks in its own transaction whether the row
still has its writer's nonce.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from ecsbatch.errors import StoreError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.run import Holder
from ecsbatch.store.database import Database
from ecsbatch.store.lease_keeper import TTL, Beat, LeaseKeeper, Renewed
from ecsbatch.store.locks import TimedLease
from ecsbatch.store.sql import Statement

# A holder's commits keep its row FOR KEY SHARE, which this alone conflicts with: nobody takes a run in mid-commit.
_AWAIT: Final = Statement("""
    SELECT 1 FROM leases WHERE run_id = :run
    FOR UPDATE  -- postgres
""")
_INSERT: Final = """
    INSERT INTO leases (run_id, nonce, holder, host, pid, since, lease_until)
    VALUES (:run, :nonce, :holder, :host, :pid,
        :now, :now + :ttl                                                                    -- sqlite
        extract(epoch FROM clock_timestamp()), extract(epoch FROM clock_timestamp()) + :ttl  -- postgres
    )
"""
_TAKE: Final = Statement(f"""
    {_INSERT}
    ON CONFLICT (run_id) DO UPDATE SET
        nonce = excluded.nonce, holder = excluded.holder, host = excluded.host, pid = excluded.pid,
        since = excluded.since, lease_until = excluded.lease_until
    WHERE leases.nonce = excluded.nonce
        OR leases.lease_until <= :now - :excused                                                 -- sqlite
        OR leases.lease_until <= extract(epoch FROM clock_timestamp()) - CAST(:excused AS float) -- postgres
    RETURNING run_id
""")
_WRITE_AGAIN: Final = Statement(f"{_INSERT} ON CONFLICT DO NOTHING RETURNING run_id")
_RENEW: Final = Statement("""
    UPDATE leases
    SET lease_until = :now + :ttl                                        -- sqlite
    SET lease_until = extract(epoch FROM clock_timestamp()) + :ttl       -- postgres
    WHERE nonce = :nonce
    RETURNING run_id
""")
_RELEASE: Final = Statement("DELETE FROM leases WHERE run_id = :run AND nonce = :nonce")
_NONCE: Final = Statement("""
    SELECT nonce FROM leases WHERE run_id = :run
    FOR KEY SHARE  -- postgres
""")
_LEASE: Final = Statement("""
    SELECT holder, host, pid, since,
        lease_until - :now                                               -- sqlite
        lease_until - extract(epoch FROM clock_timestamp())              -- postgres
    FROM leases WHERE run_id = :run
""")
# One that has run out may be that of a holder before us, which a failover has brought back.
_OTHERS: Final = Statement("""
    SELECT 1 FROM leases WHERE run_id = :run AND nonce <> :nonce
        AND lease_until > :now                                           -- sqlite
        AND lease_until > extract(epoch FROM clock_timestamp())          -- postgres
""")
_SEEN: Final = """
    SELECT run_id, nonce,
        lease_until - :now                                               -- sqlite
        lease_until - extract(epoch FROM clock_timestamp())              -- postgres
    FROM leases
"""
_LEFT: Final = Statement(f"{_SEEN} WHERE run_id = :run")
_ALL_LEFT: Final = Statement(_SEEN)


_LONG: Final = 1e9
"""Seconds for which no database is away."""


@dataclass(frozen=True, slots=True)
class SeenLeases:
    """Leases as they were at one instant.

    Attributes:
        seconds: until each ends, negative where it has.
        ours: those of this store, which it is about to renew.
        excused: seconds by which one may have ended through no fault of its holder's.
    """

    seconds: Mapping[str, float]
    ours: Collection[str]
    excused: float = 0.0

    def held(self, run_id: str) -> bool:
        """Return True where a run has a holder that is not dead."""
        return run_id in self.ours or self.seconds.get(run_id, -math.inf) > -self.excused

    def left(self, run_id: str) -> float | None:
        """Return the seconds until a run's lease ends, None where it has none."""
        return self.seconds.get(run_id)


class LeaseLocks:
    """The runs that one store holds, by rows of the table of leases.

    Attributes:
        keeper: tells for how long they are trusted.
        on_lease: called with each lease that was taken, by the thread that takes it.
    """

    def __init__(
        self,
        database: Database,
        nonce: str,
        boottime: Callable[[], float],
        *,
        now: Callable[[], float] = float,
        host: str = "",
    ) -> None:
        """Hold runs by ``nonce``, which no other store has ever had.

        Args:
            database: where the leases are.
            nonce: names this store.
            boottime: this machine's seconds, which go on while it is suspended.
            now: the seconds of a database whose SQL has no clock of its own.
            host: where this process runs; "" for the machine's name.
        """
        self.keeper = LeaseKeeper(boottime)
        self.on_lease: Callable[[], None] = _nothing
        self._database = database
        self._now = now
        self._us = {"nonce": nonce, "ttl": TTL}
        self._who = {"holder": "", "host": host or socket.gethostname(), "pid": os.getpid()}

    # As `ecsbatch.store.locks.Locks` has it

    def acquire(self, run_id: str) -> bool:
        """Take a run that nobody has, or whose lease has run out, in a transaction of its own."""
        if self.keeper.has(run_id):
            return False
        taken = self.keeper.take(run_id, lambda: self._database.write(lambda: self._take(run_id, self._excused())))
        if taken:
            self.on_lease()
        return taken

    def _take(self, run_id: str, excused: float = 0.0) -> bool:
        self._database.execute(_AWAIT, {"run": run_id}).fetchall()
        return self._database.execute(_TAKE, {**self._row(run_id), "excused": excused}).fetchone() is not None

    def _excused(self) -> float:
        """Return by how many seconds a lease may have ended: while the database was away nobody could renew any."""
        return _LONG if self._database.back_for() < TTL else 0.0

    def _row(self, run_id: str) -> Mapping[str, Any]:
        return {"run": run_id, **self._us, **self._who, "now": self._now()}

    def held(self, run_id: str) -> bool:
        """Return True where a run has a lease that has not run out, or one of ours, which we are about to renew."""
        return self.seen(run_id).held(run_id)

    def left(self, run_id: str) -> float | None:
        """Return the seconds until a run's lease ends, negative where it has."""
        return self.seen(run_id).left(run_id)

    def seen(self, run_id: str = "") -> SeenLeases:
        """Return a run's lease, or all leases, as they are now."""
        statement = _LEFT if run_id else _ALL_LEFT
        rows = self._database.execute(statement, {"run": run_id, "now": self._now()}).fetchall()
        left = {run_id: seconds for run_id, _, seconds in rows}
        ours = {run_id for run_id, nonce, _ in rows if nonce == self._us["nonce"] and self.keeper.has(run_id)}
        return SeenLeases(left, ours, self._excused())

    def release(self, run_id: str) -> None:
        """Let a run go. A row that cannot be deleted now runs out, or a later renewal deletes it."""
        self.keeper.drop(run_id)
        with suppress(StoreError):
            self._database.write(lambda: self._delete([run_id]))

    def drop(self) -> None:
        """Forget all runs, as a killed process does; their leases run out."""
        self.keeper.drop_all()

    def mine(self, run_id: str) -> bool:
        """Return True where the row is still ours: nobody else can take the run before the transaction's end."""
        row = self._database.execute(_NONCE, {"run": run_id}).fetchone()
        return row is not None and row[0] == self._us["nonce"] and self.keeper.has(run_id)

    def kept(self, run_id: str) -> bool:
        """Return what `mine` does; a row that is gone is written again, and trusted once it was renewed.

        It is gone where somebody took the run after its lease had run out and let it go again, or where a failover has
        forgotten it. Whoever asks must know that nobody has written to the run meanwhile.
        """
        if self.mine(run_id):
            return True
        if not self.keeper.has(run_id):
            return False
        if self._database.execute(_WRITE_AGAIN, self._row(run_id)).fetchone() is None:
            return False
        self.keeper.take_anew(run_id)
        return True

    def regain(self, run_id: str) -> bool:
        """Take a run anew in the transaction of the caller, where nobody has it; it is trusted once it was renewed."""
        if not (self.keeper.has(run_id) and self._take(run_id)):
            return False
        self.keeper.take_anew(run_id)
        return True

    def leave(self, run_id: str) -> None:
        """Leave a run for good, in the transaction of the caller: another process has written to it."""
        self.keeper.lose(run_id)
        self._delete([run_id])

    def trusted(self, run_id: str) -> bool:
        """Return True while something may be sent for a run; safe from any thread, and never waits."""
        return self.keeper.trusted(run_id)

    def lease(self, run_id: str) -> TimedLease | None:
        """Return who has a run's lease and for how long; called inside a transaction."""
        row = self._database.execute(_LEASE, {"run": run_id, "now": self._now()}).fetchone()
        if row is None:
            return None
        name, host, pid, since, left = row
        return TimedLease(Holder(name or host, host, pid, since), left)

    # Renewals

    def beat(self, database: Database | None = None) -> None:
        """Renew all leases of this store, by another connection where one is given and can be had.

        Raises:
            StoreError: it has failed.
        """
        stray = self.keeper.beat(lambda beat: self._renew(beat, database))
        if stray:
            on = database or self._database
            on.write(lambda: self._delete_strays(stray, on))

    def _renew(self, beat: Beat, beside: Database | None) -> Renewed:
        if beside is not None:
            try:
                return self.renew(beat, beside)
            except StoreError as e:
                # Where there is no connection to spare, this store's own may be busy for a while, and has to do.
                if not self._database.is_full(e):
                    raise
        return self.renew(beat, self._database)

    def renew(self, beat: Beat, database: Database) -> Renewed:
        """Renew all leases of this store in one transaction; return what that has shown."""

        def renew() -> Renewed:
            rows = database.execute(_RENEW, {**self._us, "now": self._now()}).fetchall()
            ours = {run_id for (run_id,) in rows}
            others = {run_id for run_id in beat.holds if run_id not in ours and self._is_others(run_id, database)}
            return Renewed(ours, others)

        return database.write(renew)

    def _is_others(self, run_id: str, database: Database) -> bool:
        row = {"run": run_id, "nonce": self._us["nonce"], "now": self._now()}
        return database.execute(_OTHERS, row).fetchone() is not None

    def _delete_strays(self, run_ids: Collection[str], database: Database) -> None:
        """Delete rows of ours that nobody here knows of, but those of runs that were taken again meanwhile."""
        for run_id in run_ids:
            # Whoever takes the run now waits at its row, and is known of before.
            locked = database.execute(_AWAIT, {"run": run_id}).fetchall()
            if locked and not self.keeper.knows(run_id):
                self._delete([run_id], database)

    def _delete(self, run_ids: Collection[str], database: Database | None = None) -> None:
        for run_id in run_ids:
            (database or self._database).execute(_RELEASE, {"run": run_id, "nonce": self._us["nonce"]})


def _nothing() -> None:
    """Nobody is to hear of a lease."""
