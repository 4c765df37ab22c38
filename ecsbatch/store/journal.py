"""A run's history: one row per transaction, its events as lines of JSON.

The lines are stored as ``--events`` prints them, so that a reader hands them on without decoding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import orjson
import sqlalchemy as sa

from ecsbatch.events import Event, Recorded, ServerRestarted, decode, encode
from ecsbatch.store.database import Database, Prepared
from ecsbatch.store.schema import journal

_j = journal.c
_APPEND = Prepared(sa.insert(journal).values({column.name: sa.bindparam(column.name) for column in _j}))
_AFTER = Prepared(
    sa.select(_j.seq_first, _j.lines)
    .where(_j.run_id == sa.bindparam("run_id"), _j.seq_last > sa.bindparam("after"))
    .order_by(_j.seq_last)
)

_SINCE = Prepared(sa.select(_j.lines).where(_j.ts >= sa.bindparam("since")))


def record(run_id: str, after: int, wall: float, events: Sequence[Event]) -> tuple[Recorded, ...]:
    """Give events their places behind the event ``after``, and the time: to the millisecond, as they will be read."""
    ts = math.floor(wall * 1000) / 1000
    return tuple(Recorded(seq, ts, run_id, event) for seq, event in enumerate(events, after + 1))


def encoded(recorded: Sequence[Recorded]) -> bytes:
    """Write events as lines, joined by line ends."""
    return b"\n".join(map(encode, recorded))


def append(database: Database, recorded: Sequence[Recorded], lines: Sequence[bytes]) -> None:
    """Store a run's events of one transaction, and them as lines, in pieces; the row's time is that of the last."""
    first, last = recorded[0], recorded[-1]
    joined = b"\n".join(lines)
    row = {"run_id": first.run_id, "seq_first": first.seq, "seq_last": last.seq, "ts": last.ts, "lines": joined}
    database.execute(_APPEND, row)


def lines(database: Database, run_id: str, after: int, limit: int) -> list[bytes]:
    """Return up to ``limit`` events behind ``after`` as they were stored; the first is number ``after + 1``."""
    found: list[bytes] = []
    for line in _lines(database, run_id, after):
        if len(found) == limit:
            break
        found.append(line)
    return found


def events(database: Database, run_id: str, after: int, limit: int) -> list[Recorded]:
    """Return up to ``limit`` events behind ``after``; those of a later version are passed over."""
    found: list[Recorded] = []
    for line in _lines(database, run_id, after):
        if len(found) == limit:
            break
        recorded = decode(line)
        if recorded is not None:
            found.append(recorded)
    return found


def restarted_since(database: Database, since: float) -> set[str]:
    """Return the servers that any run of this store has restarted since a wall time."""
    mark = f'"event":"{ServerRestarted.name}"'.encode()
    found: set[str] = set()
    for (joined,) in database.execute(_SINCE, {"since": since}):
        for line in joined.split(b"\n"):
            if mark in line:
                found.add(orjson.loads(line)["server"])
    return found


def _lines(database: Database, run_id: str, after: int) -> Iterator[bytes]:
    for seq_first, joined in database.execute(_AFTER, {"run_id": run_id, "after": after}):
        yield from joined.split(b"\n")[max(0, after + 1 - seq_first) :]
