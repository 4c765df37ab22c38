"""The table of targets: the frozen list of a run's servers, in compressed columns; a million take about 20 MB.

Hosts and tags are for people, and whoever reads a row without knowing of them has all that a run needs. Few texts are
shared by many servers there: a row has those that no row before it has, and the number of its text for each server.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import orjson

from ecsbatch.errors import RecordEdited
from ecsbatch.model.in_parts import Gathered, Sharing, kept
from ecsbatch.model.outcome import SkipReason
from ecsbatch.model.servers import Fleet
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database
from ecsbatch.store.packing import inflated

_PART: Final = 20_000
"""Servers in one row: only so many are in memory twice while a list is written or read."""

_MOST: Final = 2**29
"""Bytes of one row before it is compressed: all its servers with the longest names and as many tags as are kept."""

_HOSTS: Final = "hosts"
_TAGS: Final = "tags"

_LEFT_ALONE: Final = frozenset({SkipReason.EXCLUDED.value, SkipReason.RESTARTED_RECENTLY.value})


def to_claim(fleet: Fleet, plan: Mapping[str, Any]) -> Fleet:
    """Return the servers that a run claims: all but those that its plan was told to leave alone."""
    left = [range(skip["start"], skip["end"]) for skip in plan.get("skips", ()) if skip["reason"] in _LEFT_ALONE]
    if not any(map(len, left)):
        return fleet
    claimed = list(_between(left, len(fleet)))
    ids = kept(fleet.ids[i] for part in claimed for i in part)
    sites = fleet.sites
    return Fleet(ids, sites=None if sites is None else kept(sites[i] for part in claimed for i in part))


def _between(left: Sequence[range], end: int) -> Iterator[range]:
    """Yield what is in none of the ranges, up to an end."""
    at = 0
    for each in sorted(left, key=lambda each: each.start):
        yield range(at, min(each.start, end))
        at = max(at, each.stop)
    yield range(at, end)


def rows(run_id: str, fleet: Fleet) -> Iterator[Mapping[str, Any]]:
    """Yield the rows in which a run's targets are stored, in their order."""
    hosts, tags = _Numbers(), {key: _Numbers() for key in fleet.tags}
    for part, start in enumerate(range(0, len(fleet), _PART)):
        here = slice(start, start + _PART)
        columns: dict[str, Any] = {name: column[here] for name, column in _columns(fleet) if column is not None}
        if fleet.hosts is not None:
            columns[_HOSTS] = hosts.written(fleet.hosts[here])
        if fleet.tags:
            columns[_TAGS] = {key: numbers.written(fleet.tags[key][here]) for key, numbers in tags.items()}
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
        RecordEdited: somebody has edited them, and they cannot be read any more.
    """
    ids = Gathered[str]()
    columns = {name: _Column() for name in ("domains", "names", "sites")}
    hosts, tags = _Numbered(), defaultdict[str, _Numbered](_Numbered)
    try:
        for part in _parts(database, run_id):
            start, size = len(ids), len(part["ids"])
            ids.add(part["ids"])
            for name in columns.keys() & part:
                columns[name].read(part[name], start)
            if _HOSTS in part:
                hosts.read(part[_HOSTS], start, size)
            for key, written in part.get(_TAGS, {}).items():
                tags[key].read(written, start, size)
        servers = len(ids)
        told = {key: numbered.of(servers) for key, numbered in tags.items()}
        domains, names, sites = (column.of(servers) for column in columns.values())
        return Fleet(ids.kept(), domains, names, sites, hosts.of(servers), told)
    except (zlib.error, ValueError, TypeError, LookupError, AttributeError) as e:
        # Without the run, so that no audit is named as the way on: it cannot read them either.
        raise RecordEdited(
            f"The list of servers of run {run_id} was not written by ecsbatch and cannot be read ({e}): "
            "restore the store from a copy of before."
        ) from e


class _Numbers:
    """Numbers the texts of a column in the order in which they come, from one row of it to the next."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def written(self, column: Sequence[str]) -> dict[str, Any]:
        """Return a row's part of the column."""
        numbers, known = self._numbers, len(self._numbers)
        index = [numbers.setdefault(text, len(numbers)) for text in column]
        return {"values": list(islice(numbers, known, None)), "index": index}


class _Column:
    """Reads a column row by row, of which some rows may have no part: they are "" there."""

    def __init__(self) -> None:
        self._texts = Gathered[str](Sharing())

    def read(self, texts: Iterable[str], start: int) -> None:
        """Read a row's part of the column, from server ``start`` on."""
        self._texts.add([""] * (start - len(self._texts)))
        self._texts.add(texts)

    def of(self, servers: int) -> Sequence[str] | None:
        """Return the column of so many servers; None where no row had any of it."""
        if not len(self._texts):
            return None
        self._texts.add([""] * (servers - len(self._texts)))
        return self._texts.kept()


class _Numbered:
    """Reads what `_Numbers` has written, row by row."""

    def __init__(self) -> None:
        self._values: list[str] = []
        self._column = _Column()

    def read(self, written: Mapping[str, Any], start: int, size: int) -> None:
        """Read a row's part of the column: ``size`` servers from ``start`` on.

        Raises:
            ValueError, TypeError, LookupError, AttributeError: this is none.
        """
        values, index = written["values"], written["index"]
        if len(index) != size or min(index, default=0) < 0:
            raise ValueError(f"hosts or tags that are not those of {size} servers")
        "".join(values)  # they are texts
        self._values += values
        self._column.read(map(self._values.__getitem__, index), start)

    def of(self, servers: int) -> Sequence[str]:
        """Return the column of so many servers; "" for those whose rows have no part of it."""
        return self._column.of(servers) or ()


def _columns(fleet: Fleet) -> Iterator[tuple[str, Sequence[str] | None]]:
    yield "ids", fleet.ids
    yield "domains", fleet.domains
    yield "names", fleet.names
    yield "sites", fleet.sites


def _parts(database: Database, run_id: str) -> Iterator[dict[str, Any]]:
    for (servers,) in database.execute(sql.TARGETS, {"run": run_id}):
        yield orjson.loads(inflated(servers, _MOST))
