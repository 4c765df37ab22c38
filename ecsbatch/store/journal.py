"""The table of events: one row for each transaction of a run, or several for a long one, with events as lines of JSON.

The lines are as ``--events`` prints them, so that a reader can pass them on without decoding, and compressed where they
are many: they differ in little. Only the last line of a row gets a field more when it is read, the record's ``head``
behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count, islice, repeat
from typing import Any, Final

import orjson

from ecsbatch.errors import RecordEdited
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.events import Event, ServerRestarted
from ecsbatch.model.recorded import Recorded, decode
from ecsbatch.store import chain
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database
from ecsbatch.store.packing import packed, unpacked

_PAGE: Final = 500
"""Rows that are in memory at once."""

ROW: Final = 1000
"""Events in one row at most: a reader that takes a thousand at a time splits each row at most twice."""


_RESTARTED: Final = f'"event":"{ServerRestarted.name}"'.encode()
"""What a line has that tells of a restart, and no other: quotes in a text are escaped."""


def record(run_id: str, after: int, wall: float, events: Sequence[Event]) -> tuple[Recorded, ...]:
    """Return events with the numbers after ``after`` and the time, cut to the millisecond as it will be read back."""
    ts = math.floor(wall * 1000) / 1000
    return tuple(map(Recorded, count(after + 1), repeat(ts), repeat(run_id), events))


@dataclass(frozen=True, slots=True)
class JournalRow:
    """A row of the journal: the events of one transaction, or a part of them, with its link in the chain."""

    run_id: str
    seq_first: int
    seq_last: int
    ts: float
    lines: bytes
    hash: str


def rows(recorded: Sequence[Recorded], lines: Sequence[bytes], head: str) -> list[JournalRow]:
    """Return the rows of a run's events of one transaction; ``lines`` are the same as JSON.

    A row has the time of its last event, and follows the row before it in the run's chain, from ``head`` on.
    """
    joined = b"\n".join(lines)
    if len(recorded) <= ROW:
        return [_row(recorded, joined, head)] if recorded else []
    every = joined.split(b"\n")
    made: list[JournalRow] = []
    for start in range(0, len(recorded), ROW):
        part = slice(start, start + ROW)
        made.append(_row(recorded[part], b"\n".join(every[part]), made[-1].hash if made else head))
    return made


def _row(recorded: Sequence[Recorded], lines: bytes, head: str) -> JournalRow:
    first, last = recorded[0], recorded[-1]
    link = chain.link(head, first.seq, last.seq, last.ts, lines)
    return JournalRow(first.run_id, first.seq, last.seq, last.ts, lines, link)


def row_of(stored: Sequence[Any]) -> JournalRow:
    """Return a row as it is stored, in the order of `JournalRow`."""
    run_id, seq_first, seq_last, ts, lines, link = stored
    return JournalRow(run_id, seq_first, seq_last, ts, unpacked(lines), link)


def write(database: Database, row: JournalRow) -> None:
    """Store a row."""
    # Not `asdict`, which copies what it finds: a tenth of what a run costs the processor.
    database.execute(
        sql.APPEND,
        {
            "run_id": row.run_id,
            "seq_first": row.seq_first,
            "seq_last": row.seq_last,
            "ts": row.ts,
            "lines": packed(row.lines),
            "hash": row.hash,
        },
    )


def _with_head(line: bytes, head: str) -> bytes:
    """Tell the record's head behind an event in the event's line; whoever keeps the line can prove the record by it."""
    return b'%s,"head":%s}' % (line[:-1], orjson.dumps(head)) if line.endswith(b"}") else line


@dataclass(frozen=True, slots=True)
class _Long:
    """The lines of a row of an older version, which may have a hundred thousand events."""

    run_id: str
    first: int
    lines: Sequence[bytes]

    def has(self, run_id: str, seq: int) -> bool:
        """Return True where the event with this number is in it."""
        return run_id == self.run_id and self.first <= seq < self.first + len(self.lines)


class Reader:
    """Reads the histories of one database; the lines of a long row are kept while it is read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._long: _Long | None = None

    def lines(self, run_id: str, after: int, limit: int) -> list[bytes]:
        """Return up to ``limit`` events after number ``after`` as lines of JSON, without gaps."""
        return list(islice(self._lines(run_id, after, limit), limit))

    def events(self, run_id: str, after: int, limit: int) -> list[Recorded]:
        """Return up to ``limit`` events after number ``after``; those that only a later version knows are left out.

        Raises:
            RecordEdited: somebody has edited a line, and it is no event any more, or none that comes after ``after``.
        """
        try:
            return list(islice(self._decoded(run_id, after, limit), limit))
        except ValueError as e:
            raise _edited(run_id, after) from e

    def _decoded(self, run_id: str, after: int, limit: int) -> Iterator[Recorded]:
        for recorded in filter(None, map(decode, self._lines(run_id, after, limit))):
            # Whoever asks for what comes after the last event that was read would otherwise ask for ever.
            if recorded.seq <= after:
                raise ValueError(recorded.seq)
            after = recorded.seq
            yield recorded

    def _lines(self, run_id: str, after: int, limit: int) -> Iterator[bytes]:
        """Yield lines to the end; ``limit`` is how many are wanted, by which rows are read."""
        kept = self._long
        if kept is not None and kept.has(run_id, after + 1):
            yield from map(kept.lines.__getitem__, range(after + 1 - kept.first, len(kept.lines)))
            after = kept.first + len(kept.lines) - 1
        for seq_first, joined, head in self._rows(run_id, after, limit):
            lines = joined.split(b"\n")
            if head:
                lines[-1] = _with_head(lines[-1], head)
            self._long = _Long(run_id, seq_first, lines) if len(lines) > ROW else None
            yield from lines[max(0, after + 1 - seq_first) :]

    def _rows(self, run_id: str, after: int, limit: int) -> Iterator[tuple[int, bytes, str]]:
        """Yield rows to the end, of which those of the next ``limit`` events are read at once."""
        rows = self._database.execute(sql.ROWS_UP_TO, {"run": run_id, "after": after, "until": after + limit})
        page = rows.fetchall()
        while page := page or self._database.execute(sql.NEXT_ROW, {"run": run_id, "after": after}).fetchall():
            for seq_first, seq_last, stored, head in page:
                yield seq_first, unpacked(stored), head
                if seq_last <= after:
                    return  # somebody has written a number into it behind which there is no next row
                after = seq_last
            page = []

    def restarted_since(self, since: float) -> set[str]:
        """Return the ids of servers that any run has restarted since a time in seconds since 1970.

        Raises:
            RecordEdited: somebody has edited a line of these, and it names no server any more.
        """
        at: dict[str, Any] = {"since": since, "run": "", "after": 0, "limit": _PAGE}
        restarted: set[str] = set()
        while page := self._database.execute(sql.ROWS_SINCE, at).fetchall():
            for ts, run_id, seq_first, seq_last, stored in page:
                at |= {"since": ts, "run": run_id, "after": seq_last}
                try:
                    restarted.update(_restarted_in(unpacked(stored)))
                except (ValueError, LookupError, TypeError) as e:
                    raise _edited(run_id, seq_first - 1) from e
        return restarted


def _restarted_in(lines: bytes) -> Iterator[str]:
    """Yield the servers whose restart lines tell; other lines are not read.

    Raises:
        ValueError, LookupError, TypeError: these are no lines, or one of them names no server.
    """
    if not lines.startswith(b"{"):
        raise ValueError("a row that cannot be unpacked")  # whoever is named in it might be restarted twice
    for line in lines.split(b"\n"):
        if _RESTARTED in line:
            server: object = orjson.loads(line)["server"]
            if not isinstance(server, str):
                raise TypeError("a server that is no text")
            yield server


def _edited(run_id: str, after: int) -> RecordEdited:
    return RecordEdited(
        f"The record of run {run_id} has a line behind event {after} that ecsbatch did not write: "
        "restore the store from a copy of before.",
        run_id=run_id,
    )
