"""The frozen list of a run's servers, as compressed columns: a million take some twenty megabytes."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import orjson
import sqlalchemy as sa

from ecsbatch.models import Fleet
from ecsbatch.store.database import Database, Prepared
from ecsbatch.store.records import Claim
from ecsbatch.store.schema import targets

_PART: Final = 20_000
"""Servers in one row: only so many are held twice in memory while a list is written or read."""

_INSERT = Prepared(sa.insert(targets).values({column.name: sa.bindparam(column.name) for column in targets.c}))
_PARTS = Prepared(
    sa.select(targets.c.servers).where(targets.c.run_id == sa.bindparam("run_id")).order_by(targets.c.part)
)


def in_key_order(fleet: Fleet) -> Callable[[], Iterator[Claim]]:
    """Sort a fleet's servers by their key, once; every call of the result goes through them as claims."""
    if fleet.sites is None:
        ids = sorted(fleet.ids)
        return lambda: (("", server_id) for server_id in ids)
    claims = sorted(zip(fleet.sites, fleet.ids, strict=True))
    return lambda: iter(claims)


def targets_hash(fleet: Fleet) -> str:
    """Name a set of targets: equal for the same servers of the same sites in any order."""
    return hash_of(in_key_order(fleet)())


def hash_of(servers: Iterable[Claim]) -> str:
    """Name a set of targets that is sorted by its key already."""
    digest = hashlib.sha256()
    for site, server_id in servers:
        digest.update(f"{site}\t{server_id}\n".encode())
    return digest.hexdigest()


def write(database: Database, run_id: str, fleet: Fleet) -> None:
    """Store a run's targets in their order."""
    for part, start in enumerate(range(0, len(fleet), _PART)):
        columns = {name: column[start : start + _PART] for name, column in _columns(fleet) if column is not None}
        row = {"run_id": run_id, "part": part, "servers": zlib.compress(orjson.dumps(columns), 1)}
        database.execute(_INSERT, row)


def read(database: Database, run_id: str) -> Fleet:
    """Return a run's targets in their order."""
    columns: dict[str, list[str]] = {"ids": [], "domains": [], "names": [], "sites": []}
    shared: dict[str, str] = {}
    for part in _parts(database, run_id):
        size = len(part["ids"])
        for name, values in columns.items():
            values.extend(_share(part.get(name, [""] * size), shared) if name != "ids" else part[name])
    return Fleet(columns["ids"], columns["domains"], columns["names"], columns["sites"])


def _columns(fleet: Fleet) -> Iterator[tuple[str, Sequence[str] | None]]:
    yield "ids", fleet.ids
    yield "domains", fleet.domains
    yield "names", fleet.names
    yield "sites", fleet.sites


def _parts(database: Database, run_id: str) -> Iterator[dict[str, Any]]:
    for (servers,) in database.execute(_PARTS, {"run_id": run_id}):
        yield orjson.loads(zlib.decompress(servers))


def _share(values: Iterable[str], shared: dict[str, str]) -> Iterator[str]:
    return (shared.setdefault(value, value) for value in values)
