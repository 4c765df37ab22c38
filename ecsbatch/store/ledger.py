"""The quota ledger: grants in a table, read and written inside a transaction that holds the write lock.

Its clock is `Clock.monotonic`, which all processes of a boot share. A row of another boot, or one that would be free
later than its whole ``hold`` from now, was written by a clock that cannot be compared with ours: its tokens count for
the whole ``hold`` from the moment at which it is first seen.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from ecsbatch.model.quota import Usage, quota_group
from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest
from ecsbatch.store import accounting
from ecsbatch.store.accounting import OutstandingGrant
from ecsbatch.store.database import Database, PreparedStatement
from ecsbatch.store.schema import grants

_EVERY_GROUP: Final = "*"
"""The quota group of a row that takes all tokens of every group while the ledger is waited out."""

_ALL_TOKENS: Final = 2**40

_KEPT: Final = 86_400.0
"""Seconds for which an expired grant is kept that nobody has settled: settled late, it counts again."""

_PURGE_AT: Final = 64
"""Rows without effect that may pile up in a group before they are deleted."""

_ZERO: Final[sa.ColumnElement[int]] = sa.literal_column("0", sa.Integer)
_ONE: Final[sa.ColumnElement[int]] = sa.literal_column("1", sa.Integer)

_g = grants.c
# Rows of older versions, which may run beside us, have the endpoint before the group: `https://host/project`.
_tail = sa.bindparam("tail", type_=sa.Text)
_group = sa.or_(
    _g.quota_group.in_([sa.bindparam("group"), sa.literal_column(f"'{_EVERY_GROUP}'")]),
    sa.func.substr(_g.quota_group, sa.func.length(_g.quota_group) - sa.func.length(_tail) + _ONE) == _tail,
)
_foreign = sa.or_(_g.boot != sa.bindparam("boot"), _g.free_at > sa.bindparam("now") + _g.hold)


def _sum(condition: sa.ColumnElement[bool], what: sa.ColumnElement[int] = _ONE) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, what), else_=_ZERO)), _ZERO)


_SUMS = PreparedStatement(
    sa.select(
        _sum(_g.free_at > sa.bindparam("now"), _g.tokens),
        _sum(_foreign),
        _sum(_g.free_at <= sa.bindparam("now")),
    ).where(_group)
)
_ROWS = PreparedStatement(sa.select(_g.tokens, _g.free_at, _g.settled, _g.hold, _g.boot).where(_group))
_ADOPT = PreparedStatement(
    sa.update(grants)
    .where(_foreign)
    .values(boot=sa.bindparam("boot"), free_at=sa.bindparam("now") + _g.hold, granted=sa.bindparam("now"))
)
_INSERT = PreparedStatement(sa.insert(grants).values({column.name: sa.bindparam(column.name) for column in _g}))
# A second settlement never shortens the first: of two ends of one request the later one counts.
_until: sa.ColumnElement[float] = sa.bindparam("until", type_=sa.Float)
_hold: sa.ColumnElement[float] = sa.bindparam("hold", type_=sa.Float)
_later = sa.and_(_g.settled == _ONE, _g.free_at > _until)
_SETTLE = PreparedStatement(
    sa.update(grants)
    .where(_g.grant_id == sa.bindparam("grant"))
    .values(
        free_at=sa.case((_later, _g.free_at), else_=_until),
        hold=sa.case((_later, _g.hold), else_=_hold),
        settled=_ONE,
        boot=sa.bindparam("boot"),
    )
)
_REFUND = PreparedStatement(sa.delete(grants).where(_g.grant_id == sa.bindparam("grant"), _g.settled == _ZERO))
_PURGE = PreparedStatement(
    sa.delete(grants).where(
        _g.boot == sa.bindparam("boot"),
        sa.or_(
            sa.and_(_g.settled == _ONE, _g.free_at <= sa.bindparam("now")),
            _g.free_at <= sa.bindparam("long_ago"),
        ),
    )
)


class TokenLedger:
    """The grants of one database, as one process of one boot sees them.

    Call every method inside a transaction, with ``now`` read in it from the ledger's clock, in seconds: then all
    processes agree on the order of what they do.
    """

    def __init__(self, database: Database, boot: str) -> None:
        self._database = database
        self._boot = boot

    def tokens(self, request: TokenRequest, now: float) -> int | Shortage:
        """Return how many tokens a request can have, or why it gets none; nothing is taken yet."""
        values = {**_key(request.group), "now": now, "boot": self._boot}
        held, foreign, dead = self._database.execute(_SUMS, values).fetchone()
        if foreign:
            self._adopt(now)
            held, _, dead = self._database.execute(_SUMS, values).fetchone()
        if dead > _PURGE_AT:
            self._database.execute(_PURGE, {"now": now, "long_ago": now - _KEPT, "boot": self._boot})
        return accounting.tokens_for(request, held) or accounting.shortage(
            request, self._outstanding(request.group, now), now
        )

    def record_grant(self, request: TokenRequest, grant: Grant, run_id: str) -> None:
        """Store a grant."""
        self._insert(request.group, grant, request.expires_in, run_id, settled=False)

    def settle(self, settlement: Settlement, now: float) -> None:
        """Store the end of a grant. One that had expired before counts again: its request did happen."""
        if settlement.expires_in is None:
            self._database.execute(_REFUND, {"grant": settlement.grant})
            return
        self._database.execute(
            _SETTLE,
            {
                "grant": settlement.grant,
                "until": now + settlement.expires_in,
                "hold": settlement.expires_in,
                "boot": self._boot,
            },
        )

    def wait_out(self, seconds: float, now: float, grant_id: str) -> None:
        """Grant no tokens to anybody for so many seconds, since it is not known how many are out."""
        self._insert(_EVERY_GROUP, Grant(grant_id, _ALL_TOKENS, now), seconds, "", settled=True)

    def usage(self, group: str, limit: int, now: float) -> Usage:
        """Return how much of a quota group's ``limit`` is used."""
        return accounting.usage(limit, self._outstanding(group, now), now)

    def _outstanding(self, group: str, now: float) -> list[OutstandingGrant]:
        rows = self._database.execute(_ROWS, _key(group))
        return [
            OutstandingGrant(tokens, self._free_at(now, free_at, hold, boot), bool(settled))
            for tokens, free_at, settled, hold, boot in rows
        ]

    def _free_at(self, now: float, free_at: float, hold: float, boot: str) -> float:
        return min(free_at, now + hold) if boot == self._boot else now + hold

    def _adopt(self, now: float) -> None:
        self._database.execute(_ADOPT, {"boot": self._boot, "now": now})

    def _insert(self, group: str, grant: Grant, hold: float, run_id: str, *, settled: bool) -> None:
        row: dict[str, Any] = {
            "grant_id": grant.id,
            "quota_group": quota_group(group),
            "run_id": run_id,
            "tokens": grant.tokens,
            "granted": grant.granted,
            "free_at": grant.granted + hold,
            "hold": hold,
            "settled": int(settled),
            "boot": self._boot,
        }
        self._database.execute(_INSERT, row)


def _key(group: str) -> dict[str, str]:
    """Return the values by which a group's rows are found."""
    key = quota_group(group)
    return {"group": key, "tail": f"/{key}"}
