"""The database and the cloud that all machines share, watched: who had which run, who has written and sent what."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from ecsbatch.errors import StoreError
from ecsbatch.simulator.cloud import CloudConfig, Exchange
from ecsbatch.simulator.virtual_time import EPOCH
from tests.simulated.freezing import PROCESS
from tests.simulated.troubled_cloud import TroubledCloud
from tests.simulated.troubles import CloudTroubles
from tests.simulated.witnesses import Foreign, WatchedDatabase, plain

T = TypeVar("T")

NOBODY: Final = -1
"""The number of no process."""


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """How a run's lease stood from a tick on, until the next one of the run.

    Attributes:
        process: who has it; `NOBODY` where there is none.
        until: when it ends, by the world's time.
    """

    tick: int
    at: float
    process: int
    until: float


@dataclass(frozen=True, slots=True)
class ForgottenRow:
    """A row of the journal that was durable, and is not any more."""

    tick: int
    at: float
    run_id: str
    lines: bytes


class SharedDatabase(WatchedDatabase):
    """A watched database of several machines.

    Attributes:
        writer: the process that writes now: whoever makes it write says so.
        refusing: connections are refused now.
        begun: the process has written in a transaction, and goes on with another.
        between: called between two transactions of one piece of work.
        writers: who has written each row of the journal.
        leases: how the lease of each run has changed.
        nonces: the process that has each nonce.
        failed_over: the instants at which another server went on in its place.
        forgotten: rows of the journal that it lacked then and that nobody has written again.
    """

    def __init__(self, ticks: itertools.count[int]) -> None:
        super().__init__(ticks, leases=True)
        self.writer = NOBODY
        self.refusing = False
        self.begun = False
        self.between: Callable[[], None] = lambda: None
        self.writers: dict[int, int] = {}
        self.leases: dict[str, list[LeaseSeen]] = {}
        self.nonces: dict[str, int] = {}
        self.failed_over: list[float] = []
        self.forgotten: dict[tuple[str, str], ForgottenRow] = {}
        self._known: dict[str, tuple[str, float]] = {}
        self._written: dict[tuple[str, str], tuple[tuple[int, float], int]] = {}
        self._standby = sqlite3.connect(":memory:")

    def write(self, do: Callable[[], T], *, claims: bool = False) -> T:
        """Write, where connections are not refused."""
        self._refuse()
        if self.begun:
            before = self.writer
            self.between()
            self.writer, self.refusing = before, False
        self.begun = True
        return super().write(do, claims=claims)

    def read(self, do: Callable[[], T]) -> T:
        """Read, where connections are not refused."""
        self._refuse()
        return super().read(do)

    def _refuse(self) -> None:
        if self.refusing:
            raise away()

    # -- failing over ----------------------------------------------------------------------------------------------

    def lag(self) -> None:
        """Note what a standby has, which lags behind from now on."""
        self.connection.backup(self._standby)

    def promote(self) -> None:
        """Let the standby go on in this server's place, as it was when it began to lag."""
        had = self._rows()
        self._standby.backup(self.connection)
        self.fail_over()
        self.failed_over.append(self.now())
        has = self._rows()
        for key in had.keys() - has.keys():
            tick, at = self._written[key][0]
            self.forgotten[key] = ForgottenRow(tick, at, key[0], had[key][1])
        self.stamps = {rowid: self._written[key][0] for key, (rowid, _) in has.items()}
        self.writers = {rowid: self._written[key][1] for key, (rowid, _) in has.items()}
        self._last_row = max(self.stamps, default=0)
        self._note_leases()

    def _rows(self, after: int = 0) -> dict[tuple[str, str], tuple[int, bytes]]:
        """Return the number and the lines of each row by its run and its hash."""
        query = "SELECT rowid, run_id, hash, lines FROM journal WHERE rowid > ? ORDER BY rowid"
        rows = self.connection.execute(query, (after,)).fetchall()
        return {(run_id, link): (rowid, plain(lines)) for rowid, run_id, link, lines in rows}

    # -- watching --------------------------------------------------------------------------------------------------

    def _note(self) -> None:
        before = self._last_row
        if self._has_journal():
            self._note_leases()  # whoever takes a lost lease anew and writes by it does both in one transaction
        super()._note()
        for key, (rowid, _) in self._rows(before).items() if self._last_row > before else ():
            # What is written again after a failover is on record since it was first.
            self.stamps[rowid], self.writers[rowid] = self._written.setdefault(key, (self.stamps[rowid], self.writer))
            self.forgotten.pop(key, None)

    def _note_leases(self) -> None:
        found = self.connection.execute("SELECT run_id, nonce, lease_until FROM leases").fetchall()
        now = {run_id: (nonce, until) for run_id, nonce, until in found}
        if now == self._known:
            return
        for run_id in sorted(now.keys() | self._known.keys()):
            nonce, until = now.get(run_id, ("", 0.0))
            if self._known.get(run_id) != now.get(run_id):
                seen = LeaseSeen(next(self._ticks), self.now(), self.nonces.get(nonce, NOBODY), until - EPOCH)
                self.leases.setdefault(run_id, []).append(seen)
        self._known = now


def away() -> StoreError:
    """Return what a store says of a database that refuses connections."""
    return StoreError("The store memory: cannot be reached: connection refused.")


class SharedCloud(TroubledCloud):
    """A cloud that notes which process has sent each submit.

    Attributes:
        senders: by the tick at which it left.
    """

    def __init__(
        self, config: CloudConfig, ticks: itertools.count[int], longest: float, foreign: list[Foreign]
    ) -> None:
        super().__init__(config, ticks, longest, CloudTroubles(), foreign)
        self.senders: dict[int, int] = {}

    def schedule(self, exchange: Exchange, delay: float) -> None:
        """Note a submit that leaves."""
        count = len(self.sends)
        super().schedule(exchange, delay)
        self.senders.update({sent.tick: PROCESS.get() for sent in self.sends[count:]})
