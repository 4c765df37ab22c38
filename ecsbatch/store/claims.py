"""The table of claims, which run has which server: one row for each server, so that two runs cannot have the same one.

A rollout's claims stay until it is over, even where its process is dead, since it can be resumed. A direct run has
nothing to resume: its claims are void as soon as nobody holds it. So are those of a run that is over, and of one that
has no row since its process died while it was being created. A run that wants servers with void claims gets them.

Servers are claimed and freed `PIECE` by `PIECE`, a transaction each: while one lasts nobody else can write, and a
million servers take seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import sqlalchemy as sa

from ecsbatch.model.run import Claim
from ecsbatch.store.database import Database, PreparedStatement
from ecsbatch.store.schema import claims

PIECE: Final = 10_000
"""Servers that are claimed or freed in one transaction: some 50 ms."""

_c = claims.c
_after = sa.tuple_(_c.site, _c.server_id) > sa.tuple_(sa.bindparam("site"), sa.bindparam("server_id"))
_up_to = sa.tuple_(_c.site, _c.server_id) <= sa.tuple_(sa.bindparam("last_site"), sa.bindparam("last_id"))
_key = sa.and_(_c.site == sa.bindparam("site"), _c.server_id == sa.bindparam("server_id"))
_INSERT = PreparedStatement(
    sa.text("INSERT INTO claims (site, server_id, run_id) VALUES (:site, :server_id, :run_id) ON CONFLICT DO NOTHING")
)
_OWNER = PreparedStatement(sa.select(_c.run_id).where(_key))
_FREE = PreparedStatement(sa.delete(claims).where(_key, _c.run_id == sa.bindparam("run_id")))
_INHERIT = PreparedStatement(
    sa.update(claims).where(_key, _c.run_id == sa.bindparam("other")).values(run_id=sa.bindparam("run_id"))
)
_HAS = PreparedStatement(
    sa.select(_c.site, _c.server_id).where(_c.run_id == sa.bindparam("run_id")).order_by(_c.site, _c.server_id)
)
_COUNT = PreparedStatement(sa.select(sa.func.count()).select_from(claims).where(_c.run_id == sa.bindparam("run_id")))
_BOUND = PreparedStatement(
    sa.select(_c.site, _c.server_id)
    .where(_after)
    .order_by(_c.site, _c.server_id)
    .limit(sa.literal_column("1"))
    .offset(sa.literal_column(str(PIECE - 1)))
)
_FREE_PIECE = PreparedStatement(sa.delete(claims).where(_c.run_id == sa.bindparam("run_id"), _after, _up_to))
_FREE_REST = PreparedStatement(sa.delete(claims).where(_c.run_id == sa.bindparam("run_id"), _after))


def owners(database: Database, servers: Iterable[Claim]) -> dict[Claim, str]:
    """Return which run has each server; servers that no run has are left out."""
    found: dict[Claim, str] = {}
    for site, server_id in servers:
        row = database.execute(_OWNER, {"site": site, "server_id": server_id}).fetchone()
        if row:
            found[site, server_id] = row[0]
    return found


def take(database: Database, run_id: str, servers: Sequence[Claim], void: Callable[[str], bool]) -> Counter[str]:
    """Claim servers for a run, also those with void claims.

    Where other runs are in the way, the caller undoes the transaction or its part of it.

    Args:
        database: the database, in a transaction.
        run_id: the run that claims; servers that it has already are no conflict.
        servers: at most a `PIECE`; sorted is fastest.
        void: returns True where the claims of a run no longer count.

    Returns:
        The runs in the way, each with how many of the servers it has.
    """
    rows = [{"site": site, "server_id": server_id, "run_id": run_id} for site, server_id in servers]
    if database.execute_many(_INSERT, rows) == len(rows):
        return Counter()
    owned = {server: owner for server, owner in owners(database, servers).items() if owner != run_id}
    gone = {owner for owner in set(owned.values()) if void(owner)}
    database.execute_many(
        _INHERIT,
        [
            {"site": site, "server_id": server_id, "run_id": run_id, "other": owner}
            for (site, server_id), owner in owned.items()
            if owner in gone
        ],
    )
    return Counter(owner for owner in owned.values() if owner not in gone)


def count(database: Database, run_id: str) -> int:
    """Return how many servers a run has."""
    return int(database.execute(_COUNT, {"run_id": run_id}).fetchone()[0])


def amiss(database: Database, run_id: str, wanted: Iterable[Claim]) -> tuple[list[Claim], list[Claim]]:
    """Return which of the wanted servers a run does not have, and which it has besides, both in their order."""
    has = dict.fromkeys(database.execute(_HAS, {"run_id": run_id}))
    return [claim for claim in wanted if has.pop(claim, claim) is not None], list(has)


def free(database: Database, run_id: str, servers: Iterable[Claim]) -> None:
    """Free servers; those that the run does not have are left alone."""
    database.execute_many(_FREE, [{"site": s, "server_id": i, "run_id": run_id} for s, i in servers])


def free_piece(database: Database, run_id: str, after: Claim = ("", "")) -> Claim | None:
    """Free a run's servers among the next `PIECE` claims after a server; return where to go on, None at the end."""
    values = {"run_id": run_id, "site": after[0], "server_id": after[1]}
    last = database.execute(_BOUND, values).fetchone()
    if last is None:
        database.execute(_FREE_REST, values)
        return None
    database.execute(_FREE_PIECE, {**values, "last_site": last[0], "last_id": last[1]})
    return last[0], last[1]
