"""Bars of the display: what has become of a group of servers, one line for each group, their columns aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.text import Text

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.policy.counts import Counts

_SHORTEST: Final = 10
_LONGEST: Final = 72
_LABELS: Final = (9, 16)

CELLS: Final[Mapping[str, str]] = {"restarted": "█", "failed": "▓", "skipped": "▒", "flight": "▌", "waiting": "░"}
ASCII: Final[Mapping[str, str]] = {"restarted": "#", "failed": "!", "skipped": "-", "flight": ">", "waiting": "."}


@dataclass(frozen=True, slots=True)
class Row:
    """A group: its name, its counts, and how many of it may fail where that has a limit."""

    label: str
    counts: Counts
    allowed: int | None = None


def bar_lines(rows: Sequence[Row], width: int, cells: Mapping[str, str]) -> list[Text]:
    """Draw groups below one another; columns that do not fit are left out, the bars share what is left."""
    most = f"{max((row.counts.total for row in rows), default=0):,}"
    label = _label_width(rows, width)
    figures = len(f" 100%  {most} of {most}")
    extras = [len(f"  {most} down"), len(f"  {most} failed")]
    while extras and label + figures + sum(extras) + _SHORTEST > width:
        extras.pop(0)
    room = max(min(width - label - figures - sum(extras), _LONGEST), 3)
    return [_line(row, label, room, len(most), len(extras), cells) for row in rows]


def _label_width(rows: Sequence[Row], width: int) -> int:
    least, most = _LABELS
    longest = max((len(row.label) for row in rows), default=0)
    return min(max(longest, least), most, max(width // 4, least)) + 1


def _line(row: Row, label: int, room: int, digits: int, extras: int, cells: Mapping[str, str]) -> Text:
    counts = row.counts
    share = 100 * counts.ended // counts.total if counts.total else 100
    line = Text(f"{_cut(row.label, label - 1):{label}}")
    line.append_text(_bar(counts, room, cells))
    line.append(f" {share:3d}%  {counts.ended:>{digits},} of {counts.total:>{digits},}")
    if extras > 1:
        line.append(f"  {counts.down:>{digits},} down" if counts.down else " " * (digits + 7))
    if extras and counts.failures:
        line.append(f"  {counts.failures:>{digits},} failed", "red")
    line.rstrip()
    return line


def _cut(text: str, room: int) -> str:
    """Keep a name's end, where names of one region differ."""
    return text if len(text) <= room else "…" + text[len(text) - room + 1 :]


def _bar(counts: Counts, room: int, cells: Mapping[str, str]) -> Text:
    """Share the room out; whatever is not nothing gets a cell, so that one failure in a thousand is seen."""
    parts = (
        ("restarted", counts.restarted, "green"),
        ("failed", counts.failed + counts.timed_out + counts.unknown, "red"),
        ("skipped", counts.skipped + counts.left_out, "dim"),
        ("flight", counts.in_flight, "cyan"),
        ("waiting", counts.waiting, "dim"),
    )
    lengths = shared([number for _, number, _ in parts], room)
    bar = Text()
    for (name, _, style), length in zip(parts, lengths, strict=True):
        bar.append(cells[name] * length, style)
    return bar


def shared(numbers: Sequence[int], room: int) -> list[int]:
    """Share ``room`` cells out in proportion, at least one for whatever is not nothing; the largest part gives way."""
    total = sum(numbers)
    if not total:
        return [0] * (len(numbers) - 1) + [room]
    lengths = [max(number * room // total, 1) if number else 0 for number in numbers]
    largest = max(range(len(numbers)), key=lambda i: numbers[i])
    lengths[largest] = max(lengths[largest] + room - sum(lengths), 0)
    return lengths
