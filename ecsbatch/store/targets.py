"""The table of targets: the frozen list of a run's servers, in compressed columns; a million take about 20 MB."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from ecsbatch.errors import StoreError
from ecsbatch.model.outcome import SkipReason
from ecsbatch.model.servers import Fleet
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database

_PART: Final = 20_000
"""Servers in one row: only so many are in memory twice while a list is written or read."""

_LEFT_ALONE: Final = frozenset({SkipReason.EXCLUDED.value, SkipReason.RESTARTED_RECENTLY.value})


def to_claim(fleet: Fleet, plan: Mapping[str, Any]) -> Fleet:
    """Return the servers that a run claims: all but those that its plan was told to leave alone."""
    left = [range(skip["start"], skip["end"]) for skip in plan.get("skips", ()) if skip["reason"] in _LEFT_ALONE]
    if not any(map(len, left)):
        return fleet
    indexes = sorted(set(range(len(fleet))).difference(*left))
    sites = fleet.sites
    return Fleet([fleet.ids[i] for i in indexes], sites=None if sites is None else [sites[i] for i in indexes])


def rows(run_id: str, fleet: Fleet) -> Iterator[Mapping[str, Any]]:
    """Yield the rows in which a run's targets are stored, in their order."""
    for part, start in enumerate(range(0, len(fleet), _PART)):
        columns = {name: column[start : start + _PART] for name, column in _columns(fleet) if column is not None}
        yield {"run_id": run_id, "part": part, "servers": zlib.compress(orjson.dumps(columns), 1)}


def write(database: Database, row: Mapping[str, Any]) -> None:
    """Store one row of a run's targets."""
    database.execute(sql.INSERT_TARGETS, row)


def any_of(database: Database, run_id: str) -> bool:
    """Return True where some targets of a run are stored."""
    return database.execute(sql.ANY_TARGETS, {"run": run_id}).fetchone() is not None


def read(database: Database, run_id: str) -> Fleet:
    """Return a run's targets in their order.

    Raises:
        StoreError: somebody has edited them, and they cannot be read any more.
    """
    columns: dict[str, list[str]] = {"ids": [], "domains": [], "names": [], "sites": []}
    shared: dict[str, str] = {}
    try:
        for part in _parts(database, run_id):
            size = len(part["ids"])
            for name, values in columns.items():
                values.extend(_share(part.get(name, [""] * size), shared) if name != "ids" else part[name])
        return Fleet(columns["ids"], columns["domains"], columns["names"], columns["sites"])
    except (zlib.error, ValueError, TypeError, KeyError, AttributeError) as e:
        raise StoreError(
            f"The list of servers of run {run_id} was not written by ecsbatch and cannot be read ({e}): "
            "restore the store from a copy of before."
        ) from e


def _columns(fleet: Fleet) -> Iterator[tuple[str, Sequence[str] | None]]:
    yield "ids", fleet.ids
    yield "domains", fleet.domains
    yield "names", fleet.names
    yield "sites", fleet.sites


def _parts(database: Database, run_id: str) -> Iterator[dict[str, Any]]:
    for (servers,) in database.execute(sql.TARGETS, {"run": run_id}):
        yield orjson.loads(zlib.decompress(servers))


def _share(values: Iterable[str], shared: dict[str, str]) -> Iterator[str]:
    return (shared.setdefault(value, value) for value in values)
