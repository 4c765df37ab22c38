"""The quota ledger: grants in a table, read and written inside a transaction that holds the write lock.

Its clock is `Clock.monotonic`, which all processes of a boot share. A row of another boot, or one that would be free
much later than its whole ``hold`` from now, was written by a clock that cannot be compared with ours: its tokens count
for the whole ``hold`` from the moment at which it is first seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.quota import Usage, quota_group
from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest
from ecsbatch.store import accounting
from ecsbatch.store import statements as sql
from ecsbatch.store.accounting import OutstandingGrant, Turn
from ecsbatch.store.database import Database

EVERY_GROUP: Final = "*"
"""The quota group of a row that takes all tokens of every group while the ledger is waited out."""

_KEPT: Final = 86_400.0
"""Seconds for which an expired grant is kept that nobody has settled: settled late, it counts again."""

_TURN_LASTS: Final = 2.5
"""Seconds for which a process counts as waiting after it has asked; it asks each second."""

_SERVED_LASTS: Final = 0.5
"""Seconds for which a process that was served and wants more counts as one that asks again."""

_AFTER_OTHERS: Final = 0.1
"""Seconds until a process asks again that was denied tokens which others are about to take."""

_PURGE_AT: Final = 64
"""Rows without effect that may pile up in a group before they are deleted."""


@dataclass(frozen=True, slots=True)
class RunGrant:
    """A grant that may still count, and the group and the run that it is of; ``run_id`` is "" for no run."""

    group: str
    run_id: str
    grant: OutstandingGrant


class TokenLedger:
    """The grants of one database, as one process of one boot sees them.

    Attributes:
        longest: the most seconds for which a grant counts that this process has had, were it killed.

    Call every method inside a transaction, with ``now`` read in it from the ledger's clock, in seconds: then all
    processes agree on the order of what they do.
    """

    def __init__(self, database: Database, boot: str, nonce: str) -> None:
        """Grant to the opened store ``nonce``, by the clock ``boot``."""
        self.longest = 0.0
        self._database = database
        self._boot = boot
        self._nonce = nonce

    def lock(self, group: str, now: float | None) -> float:
        """Have everybody else who takes tokens of a group wait for the transaction's end; return the time.

        ``now`` is None where the time is the server's, which reads it once it is our turn.
        """
        if self._database.one_writes and now is not None:
            return now
        row = self._database.execute(sql.LOCK_GROUP, {"name": quota_group(group), "now": now}).fetchone()
        return float(row[0])

    def tokens(self, request: TokenRequest, now: float) -> int | Shortage:
        """Return how many tokens a request can have, or why it gets none; nothing is taken yet.

        Where other processes wait whose turn it is before ours, theirs are left to them.
        """
        values = {**_key(request.group), "now": now, "boot": self._boot, "nonce": self._nonce}
        held, others, waiting = self._out(values)
        turns = self._turns(values) if waiting else {}
        waited = turns.pop(self._nonce, None)
        wants, ticket = request.want + request.more, waited.ticket if waited else accounting.NO_TICKET
        mine = Turn(held - others, ticket, wants, request.limit)
        tokens, judged = accounting.in_turn(request, held, mine, tuple(turns.values()))
        shared = bool(turns or others)
        turn = {**values, "wants": wants - tokens, "allowed": request.limit}
        if not tokens:
            return self._wait(judged, held, turn, shared=shared)
        if shared and wants > tokens:
            self._database.execute(sql.END_TURN, {**turn, "until": now + _SERVED_LASTS})
        elif waited:
            self._database.execute(sql.LEAVE_TURN, values)
        return tokens

    def _wait(self, request: TokenRequest, held: int, turn: Mapping[str, Any], *, shared: bool) -> Shortage:
        """Say why there are no tokens, and take a turn where others want some, too."""
        now = turn["now"]
        lacks = accounting.shortage(request, self._outstanding(request.group, now), now)
        if lacks.next_in is None or not shared:
            return lacks
        self._database.execute(sql.TAKE_TURN, {**turn, "until": now + _TURN_LASTS})
        # Where there are tokens for us, but for those before us, these take theirs any moment.
        reserved = accounting.tokens_for(request, held) > 0
        return replace(lacks, next_in=_AFTER_OTHERS if reserved else lacks.next_in, shared=True)

    def _out(self, values: Mapping[str, Any]) -> tuple[int, int, int]:
        """Return the tokens that are out, those of them that other processes hold, and how many wait."""
        held, foreign, dead, others, waiting = self._sums(values)
        if foreign:
            self._adopt(values["now"])
            held, _, dead, others, waiting = self._sums(values)
        if dead > _PURGE_AT:
            self._database.execute(sql.PURGE_GRANTS, {**values, "long_ago": values["now"] - _KEPT})
            self._database.execute(sql.FORGET_TURNS, values)
        return held, others, waiting

    def _sums(self, values: Mapping[str, Any]) -> tuple[int, int, int, int, int]:
        """Return tokens held, rows of other clocks, rows without effect, tokens of other processes, and who waits."""
        sums: tuple[int, int, int, int, int] = self._database.execute(sql.SUMS, values).fetchone()
        return sums

    def _turns(self, values: Mapping[str, Any]) -> dict[str, Turn]:
        return {
            nonce: Turn(held, ticket or accounting.NO_TICKET, wants, allowed)
            for nonce, held, ticket, wants, allowed in self._database.execute(sql.TURNS, values).fetchall()
        }

    def record_grant(self, request: TokenRequest, grant: Grant, run_id: str) -> None:
        """Store a grant."""
        self.longest = max(self.longest, request.expires_in)
        self._insert(request.group, grant, request.expires_in, run_id, settled=False)

    def settle(self, settlement: Settlement, now: float) -> tuple[str, str, int] | None:
        """Store the end of a grant. One that had expired before counts again: its request did happen.

        Returns:
            The group, the run and the tokens that came back unspent; None where none did.
        """
        if settlement.expires_in is None:
            back = self._database.execute(sql.REFUND, {"grant_id": settlement.grant}).fetchall()
            return (str(back[0][0]), str(back[0][1]), int(back[0][2])) if back else None
        self._database.execute(
            sql.SETTLE,
            {
                "grant_id": settlement.grant,
                "until": now + settlement.expires_in,
                "hold": settlement.expires_in,
                "boot": self._boot,
            },
        )
        return None

    def wait_out(self, seconds: float, now: float, grant_id: str) -> None:
        """Grant no tokens to anybody for so many seconds, since it is not known how many are out."""
        self._insert(EVERY_GROUP, Grant(grant_id, accounting.ALL_TOKENS, now), seconds, "", settled=True)

    def waited_out_for(self, now: float) -> float:
        """Return for how many seconds the ledger is waited out, so that nobody gets tokens; 0 where it is not."""
        until = accounting.waited_out_until(self._outstanding(EVERY_GROUP, now), now)
        return max(0.0, until - now)

    def usage(self, group: str, limit: int, now: float) -> Usage:
        """Return how much of a quota group's ``limit`` is used."""
        return accounting.usage(limit, self._outstanding(group, now), now)

    def every_grant(self, now: float) -> list[RunGrant]:
        """Return all grants of all groups that may still count."""
        return [
            RunGrant(
                quota_group(group),
                run_id,
                OutstandingGrant(tokens, self._free_at(now, free_at, hold, boot), bool(settled)),
            )
            for _, group, run_id, tokens, _, free_at, hold, settled, boot in self._database.execute(sql.EVERY_GRANT)
        ]

    def _outstanding(self, group: str, now: float) -> list[OutstandingGrant]:
        rows = self._database.execute(sql.GRANTS, _key(group))
        return [
            OutstandingGrant(tokens, self._free_at(now, free_at, hold, boot), bool(settled))
            for tokens, free_at, settled, hold, boot in rows
        ]

    def _free_at(self, now: float, free_at: float, hold: float, boot: str) -> float:
        return min(free_at, now + hold) if boot == self._boot else now + hold

    def _adopt(self, now: float) -> None:
        self._database.execute(sql.ADOPT, {"boot": self._boot, "now": now})

    def _insert(self, group: str, grant: Grant, hold: float, run_id: str, *, settled: bool) -> None:
        row: dict[str, Any] = {
            "grant_id": grant.id,
            "name": quota_group(group),
            "run_id": run_id,
            "tokens": grant.tokens,
            "granted": grant.granted,
            "free_at": grant.granted + hold,
            "hold": hold,
            "settled": int(settled),
            "boot": self._boot,
            "nonce": self._nonce,
        }
        self._database.execute(sql.INSERT_GRANT, row)


def _key(group: str) -> dict[str, str]:
    """Return the values by which a group's rows are found."""
    key = quota_group(group)
    return {"name": key, "tail": f"/{key}"}
