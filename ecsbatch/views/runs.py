"""The list of runs, for people: a table that is cut to its screen from the right; ids stay whole."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from ecsbatch.model.events import stamp
from ecsbatch.model.run import RunRecord
from ecsbatch.views.text import printable

_TITLES: Final = ("RUN", "STATUS", "DONE", "OF", "STARTED (UTC)", "HOLDER")
_RIGHT: Final = frozenset({"DONE", "OF"})
_BETWEEN: Final = 2
_LEAST: Final = 8


def run_lines(records: Sequence[RunRecord], width: int = 80, aborting: Container[str] = ()) -> list[str]:
    """Write runs below one another; the holder is cut, columns that have no room at all are left out.

    Args:
        records: the runs.
        width: of the screen.
        aborting: the ids of those that somebody has ended for good.
    """
    rows = [_TITLES, *(_row(record, aborting=record.run_id in aborting) for record in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = [[row[0].ljust(widths[0])] for row in rows]
    left = width - widths[0]
    for column in range(1, len(_TITLES)):
        is_last = column == len(_TITLES) - 1
        room = min(widths[column], left - _BETWEEN) if is_last else widths[column]
        if room < min(_LEAST, widths[column]) or left < room + _BETWEEN:
            break
        left -= room + _BETWEEN
        for cells, row in zip(lines, rows, strict=True):
            text = printable(row[column], room)
            cells.append(text.rjust(room) if _TITLES[column] in _RIGHT else text.ljust(room))
    return [(" " * _BETWEEN).join(cells).rstrip() for cells in lines]


def _row(record: RunRecord, *, aborting: bool) -> tuple[str, ...]:
    status = f"{record.status.value}, aborting" if aborting else record.status.value
    started = stamp(record.created_at)[:19].replace("T", " ")
    figures = (f"{record.ended:,}", f"{record.total:,}")
    return (printable(record.run_id), status, *figures, started, printable(record.holder.name))
