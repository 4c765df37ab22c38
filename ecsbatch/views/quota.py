"""Who spends a quota, for people: a line for each quota group, and under it one for each run. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ecsbatch.model.spending import GroupSpending
from ecsbatch.model.text import printable
from ecsbatch.views.table import table
from ecsbatch.views.text import format_span

_COLUMNS: Final = (
    *(("QUOTA / RUN", 32), ("LIMIT", 6), ("IN FLIGHT", 9), ("COOLING", 7), ("FREE", 6), ("LAST HOUR", 9)),
    *(("MORE IN", 8), ("HOLDER", 40)),
)


def quota_table(groups: Sequence[GroupSpending], width: int = 0) -> Iterator[bytes]:
    """Yield the pieces of a table of all groups; cut from the right to a screen's width, if any."""
    return table(_COLUMNS, (row for group in groups for row in _rows(group)), width)


def _rows(group: GroupSpending) -> Iterator[Sequence[str]]:
    more = "" if group.next_free_in is None else format_span(group.next_free_in)
    now = (f"{group.in_flight:,}", f"{group.cooling:,}", _known(group.free))
    yield (printable(group.group, 32), _known(group.limit), *now, f"{group.last_hour:,}", more, "")
    for run in group.runs:
        name = f"  {printable(run.run_id) or '(no run)'}"
        spent = (f"{run.in_flight:,}", f"{run.cooling:,}", "", f"{run.last_hour:,}", "")
        yield (name, "", *spent, printable(run.holder))
    for waiting in group.waits:
        yield ("  waits for tokens", "", f"{waiting.wants:,}", "", "", "", "", printable(waiting.holder))


def _known(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
