"""The table of claims, which run has which server: one row for each server, so that two runs cannot have the same one.

A rollout's claims stay until it is over, even where its process is dead, since it can be resumed. A direct run has
nothing to resume: its claims are void as soon as nobody holds it. So are those of a run that is over, and of one that
has no row since its process died while it was being created. A run that wants servers with void claims gets them.

Servers are claimed and freed `PIECE` by `PIECE`, a transaction each: while one lasts nobody else can write, and a
million servers take seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import orjson

from ecsbatch.model.run import Claim
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database, found

PIECE: Final = 10_000
"""Servers that are claimed or freed in one transaction: some 50 ms."""


def pieces(servers: Iterator[Claim]) -> Iterator[Sequence[Claim]]:
    """Yield servers by the `PIECE`."""
    while piece := list(islice(servers, PIECE)):
        yield piece


def owners(database: Database, servers: Iterable[Claim]) -> dict[Claim, str]:
    """Return which run has each server; servers that no run has are left out."""
    rows = database.execute(sql.CLAIMS_OF, {"servers": _listed(servers)})
    return {(site, server_id): run_id for site, server_id, run_id in rows}


def _listed(servers: Iterable[Claim]) -> str:
    return orjson.dumps(list(servers)).decode()


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
    every = set(servers)
    while database.execute(sql.CLAIM, {"run_id": run_id, "servers": _listed(servers)}).rowcount != len(every):
        owned = owners(database, servers)
        others = {server: owner for server, owner in owned.items() if owner != run_id}
        gone = {owner for owner in set(others.values()) if void(owner)}
        inherited = sum(_inherit(database, run_id, other, others) for other in gone)
        in_the_way = Counter(owner for owner in others.values() if owner not in gone)
        # At a server others free some of them between two of our statements, and then nobody has these: once more.
        if len(owned) == len(every) and inherited == len(others) - in_the_way.total():
            return in_the_way
    return Counter()


def _inherit(database: Database, run_id: str, other: str, owned: Mapping[Claim, str]) -> int:
    """Give the servers that another run has to a run; return how many it still had."""
    left = _listed(server for server, owner in owned.items() if owner == other)
    return database.execute(sql.INHERIT, {"run_id": run_id, "other": other, "servers": left}).rowcount


def count(database: Database, run_id: str) -> int:
    """Return how many servers a run has."""
    return int(database.execute(sql.COUNT_CLAIMS, {"run_id": run_id}).fetchone()[0])


def amiss(database: Database, run_id: str, wanted: Iterable[Claim]) -> tuple[list[Claim], list[Claim]]:
    """Return which of the wanted servers a run does not have, and which it has besides, both in their order."""
    has = dict.fromkeys((site, id_) for site, id_ in database.execute(sql.CLAIMS_OF_RUN, {"run_id": run_id}))
    return [claim for claim in wanted if has.pop(claim, claim) is not None], list(has)


def free(database: Database, run_id: str, servers: Iterable[Claim]) -> None:
    """Free servers; those that the run does not have are left alone."""
    database.execute(sql.FREE, {"run_id": run_id, "servers": _listed(servers)})


def free_piece(database: Database, run_id: str, after: Claim = ("", "")) -> Claim | None:
    """Free a run's servers among the next `PIECE` claims after a server; return where to go on, None at the end."""
    values = {"run_id": run_id, "site": after[0], "server_id": after[1]}
    last = found(database.execute(sql.END_OF_PIECE, {**values, "skipped": PIECE - 1}))
    if last is None:
        database.execute(sql.FREE_REST, values)
        return None
    database.execute(sql.FREE_PIECE, {**values, "last_site": last[0], "last_id": last[1]})
    return last[0], last[1]
