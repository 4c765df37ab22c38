"""Who spends a quota, for people: a line about each quota group, and under it one for each run. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ecsbatch.model.spending import GroupSpending
from ecsbatch.model.text import printable
from ecsbatch.views.text import format_span

_NUMBERS: Final = ("IN FLIGHT", "COOLING", "LAST HOUR")
_RUN: Final = 28
_HOLDER: Final = 22
"""Columns that a run's id and its holder have at the most."""

_EVERY: Final = "*"


def quota_lines(groups: Sequence[GroupSpending]) -> list[str]:
    """Write who spends which quota, now and in the last hour."""
    lines: list[str] = []
    for group in groups:
        lines += [*([""] if lines else []), _head(group)]
        if group.runs:
            lines += _table([("RUN", "HOLDER", *_NUMBERS), *_rows(group)])
        lines += [f"  {printable(each.holder) or 'A process'} waits for {each.wants:,}." for each in group.waits]
    return lines


def _head(group: GroupSpending) -> str:
    if group.group == _EVERY:
        return f"Every quota: nothing is granted for another {format_span(group.next_free_in or 0.0)}."
    name = f"Quota {printable(group.group)}"
    more = "" if group.next_free_in is None else f", more in {format_span(group.next_free_in)}"
    if group.waited_out:
        more += ", since requests may have been sent of which this store knows nothing"
    if group.limit is None:
        return f"{name}: its limit is not known{more}."
    return f"{name}: {group.free or 0:,} of {group.limit:,} free{more}."


def _rows(group: GroupSpending) -> Iterator[tuple[str, ...]]:
    for run in group.runs:
        numbers = (run.in_flight, run.cooling, run.last_hour)
        yield (printable(run.run_id, _RUN) or "(no run)", printable(run.holder, _HOLDER), *(f"{n:,}" for n in numbers))
    if len(group.runs) > 1:
        yield ("all", "", f"{group.in_flight:,}", f"{group.cooling:,}", f"{group.last_hour:,}")


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Set texts to the left and numbers to the right of columns as wide as they have to be."""
    run, holder, *numbers = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [f"  {row[0]:{run}}", f"{row[1]:{holder}}", *(f"{n:>{w}}" for n, w in zip(row[2:], numbers, strict=True))]
        )
        for row in rows
    ]
