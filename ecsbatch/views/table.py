"""Tables for people, with a row for each server: cut from the right to a screen's width, written piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

from ecsbatch.model.text import printable

ROWS_AT_ONCE: Final = 1000
_WIDEST: Final = 200
_LEAST: Final = 8
"""Columns of a screen that a column of the table has, or none."""


def table(columns: Sequence[tuple[str, int]], rows: Iterable[Sequence[str]], width: int = 0) -> Iterator[bytes]:
    """Yield the pieces of a table with its titles.

    Args:
        columns: each one's title, and how wide it is; the first is always whole, those without room are left out.
        rows: a text for each column.
        width: of the screen, 0 where there is none.
    """
    widths = _widths([wanted for _, wanted in columns], width or _WIDEST)
    for chunk in chunks(chain([[title for title, _ in columns]], rows)):
        lines = (" ".join(map(_celled, row, widths)).rstrip() for row in chunk)
        yield "".join(f"{line}\n" for line in lines).encode(errors="replace")


def chunks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield rows in lists, of which one at a time is in memory."""
    left = iter(rows)
    while chunk := list(islice(left, ROWS_AT_ONCE)):
        yield chunk


def _widths(wanted: Sequence[int], width: int) -> list[int]:
    """Return the widths of the columns that fit; the last of them takes what is left."""
    widths = [wanted[0]]
    for each in wanted[1:]:
        left = width - sum(widths) - len(widths)
        if left < min(each, _LEAST):
            break
        widths.append(min(each, left))
    return widths


def _celled(text: str, width: int) -> str:
    return printable(text, width).ljust(width)
