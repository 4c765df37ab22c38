"""A run's history: one row per transaction, more where it is a long one; its events as lines of JSON.

The lines are stored as ``--events`` prints them, so that a reader hands them on without decoding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import orjson
import sqlalchemy as sa

from ecsbatch.model.events import Event, Recorded, ServerRestarted, decode, encode
from ecsbatch.store.database import Database, PreparedStatement
from ecsbatch.store.schema import journal

ROW: Final = 1000
"""Events in one row at most: a reader who takes a thousand at a time splits each row twice."""

_j = journal.c
_APPEND = PreparedStatement(sa.insert(journal).values({column.name: sa.bindparam(column.name) for column in _j}))
_AFTER = PreparedStatement(
    sa.select(_j.seq_first, _j.lines)
    .where(_j.run_id == sa.bindparam("run_id"), _j.seq_last > sa.bindparam("after"))
    .order_by(_j.seq_last)
)

_SINCE = PreparedStatement(sa.select(_j.lines).where(_j.ts >= sa.bindparam("since")))


def record(run_id: str, after: int, wall: float, events: Sequence[Event]) -> tuple[Recorded, ...]:
    """Give events their places behind the event ``after``, and the time: to the millisecond, as they will be read."""
    ts = math.floor(wall * 1000) / 1000
    return tuple(Recorded(seq, ts, run_id, event) for seq, event in enumerate(events, after + 1))


def encoded(recorded: Sequence[Recorded]) -> bytes:
    """Write events as lines, joined by line ends."""
    return b"\n".join(map(encode, recorded))


def append(database: Database, recorded: Sequence[Recorded], lines: Sequence[bytes]) -> None:
    """Store a run's events of one transaction, and them as lines, in pieces; a row's time is that of its last."""
    joined = b"\n".join(lines)
    if len(recorded) <= ROW:
        database.execute(_APPEND, _row(recorded, joined))
        return
    every = joined.split(b"\n")
    for start in range(0, len(recorded), ROW):
        part = slice(start, start + ROW)
        database.execute(_APPEND, _row(recorded[part], b"\n".join(every[part])))


def _row(recorded: Sequence[Recorded], joined: bytes) -> dict[str, object]:
    first, last = recorded[0], recorded[-1]
    return {"run_id": first.run_id, "seq_first": first.seq, "seq_last": last.seq, "ts": last.ts, "lines": joined}


@dataclass(frozen=True, slots=True)
class _Long:
    """A row of an older version, which may have a hundred thousand events, in its lines."""

    run_id: str
    first: int
    lines: Sequence[bytes]

    def has(self, run_id: str, seq: int) -> bool:
        """Tell whether it holds an event."""
        return run_id == self.run_id and self.first <= seq < self.first + len(self.lines)


class Reader:
    """Reads the histories of one database; a long row is kept in its lines while it is read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._long: _Long | None = None

    def lines(self, run_id: str, after: int, limit: int) -> list[bytes]:
        """Return up to ``limit`` events behind ``after`` as they were stored; the first is number ``after + 1``."""
        return list(islice(self._lines(run_id, after), limit))

    def events(self, run_id: str, after: int, limit: int) -> list[Recorded]:
        """Return up to ``limit`` events behind ``after``; those of a later version are passed over."""
        decoded = (decode(line) for line in self._lines(run_id, after))
        return list(islice((recorded for recorded in decoded if recorded is not None), limit))

    def _lines(self, run_id: str, after: int) -> Iterator[bytes]:
        kept = self._long
        if kept is not None and kept.has(run_id, after + 1):
            yield from map(kept.lines.__getitem__, range(after + 1 - kept.first, len(kept.lines)))
            after = kept.first + len(kept.lines) - 1
        for seq_first, joined in self._database.execute(_AFTER, {"run_id": run_id, "after": after}):
            every = joined.split(b"\n")
            self._long = _Long(run_id, seq_first, every) if len(every) > ROW else None
            yield from every[max(0, after + 1 - seq_first) :]

    def restarted_since(self, since: float) -> set[str]:
        """Return the servers that any run has restarted since a wall time."""
        mark = f'"event":"{ServerRestarted.name}"'.encode()
        found: set[str] = set()
        for (joined,) in self._database.execute(_SINCE, {"since": since}):
            for line in joined.split(b"\n"):
                if mark in line:
                    found.add(orjson.loads(line)["server"])
        return found
