"""Which run has which server: a row each, so that no two can have the same one.

A rollout's claims stay until it is over, even where its process is dead, since it can be resumed. A direct run has
nothing to resume: its claims are void as soon as nobody holds it, and are swept when they are in somebody's way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import sqlalchemy as sa

from ecsbatch.records import Claim
from ecsbatch.store.database import Database, Prepared
from ecsbatch.store.schema import claims

_CHUNK: Final = 10_000

_c = claims.c
_key = sa.and_(_c.site == sa.bindparam("site"), _c.server_id == sa.bindparam("server_id"))
_INSERT = Prepared(
    sa.text("INSERT INTO claims (site, server_id, run_id) VALUES (:site, :server_id, :run_id) ON CONFLICT DO NOTHING")
)
_OWNER = Prepared(sa.select(_c.run_id).where(_key))
_FREE = Prepared(sa.delete(claims).where(_key, _c.run_id == sa.bindparam("run_id")))
_FREE_ALL = Prepared(sa.delete(claims).where(_c.run_id == sa.bindparam("run_id")))


def owners(database: Database, servers: Iterable[Claim]) -> dict[Claim, str]:
    """Return the run that has each server, of those that some run has."""
    found: dict[Claim, str] = {}
    for site, server_id in servers:
        row = database.execute(_OWNER, {"site": site, "server_id": server_id}).fetchone()
        if row:
            found[site, server_id] = row[0]
    return found


def take(
    database: Database, run_id: str, servers: Callable[[], Iterable[Claim]], void: Callable[[str], bool]
) -> Counter[str]:
    """Claim servers for a run, sweeping the claims of runs that are void.

    The caller undoes the transaction, or its part of it, where runs are in the way.

    Args:
        database: in a transaction.
        run_id: who claims; what it has already is no conflict.
        servers: begins to go through them, sorted by their key.
        void: tells whether a run's claims no longer count.

    Returns:
        The runs in the way, each with how many of the servers it has.
    """
    wanted, got = _insert(database, run_id, servers())
    if wanted == got:
        return Counter()
    others = _others(database, run_id, servers())
    swept = [other for other in others if void(other)]
    if swept:
        for other in swept:
            free_all(database, other)
        _insert(database, run_id, servers())
    return Counter({other: count for other, count in others.items() if other not in swept})


def free(database: Database, run_id: str, servers: Iterable[Claim]) -> None:
    """Free servers that a run has."""
    database.execute_many(_FREE, [{"site": s, "server_id": i, "run_id": run_id} for s, i in servers])


def free_all(database: Database, run_id: str) -> None:
    """Free all that a run has."""
    database.execute(_FREE_ALL, {"run_id": run_id})


def _insert(database: Database, run_id: str, servers: Iterable[Claim]) -> tuple[int, int]:
    """Insert what is free; return how many were wanted and how many inserted."""
    wanted = got = 0
    rows = ({"site": site, "server_id": server_id, "run_id": run_id} for site, server_id in servers)
    while chunk := list(islice(rows, _CHUNK)):
        wanted += len(chunk)
        got += database.execute_many(_INSERT, chunk)
    return wanted, got


def _others(database: Database, run_id: str, servers: Iterable[Claim]) -> Counter[str]:
    found = Counter(owners(database, servers).values())
    del found[run_id]
    return found
