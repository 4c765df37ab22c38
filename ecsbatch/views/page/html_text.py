"""Texts of others in HTML: nothing of them is markup, and nothing turns, hides or runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from ecsbatch.model.text import printable

_LONGEST: Final = 300
_WHOLE: Final = 4_000
"""Characters of a sentence of our own, in which a command of somebody's may stand."""

_SHORT: Final = 36
"""Characters of a text that is not broken, such as an id or a time."""

Cell = str | int | None
"""A text, which is escaped, or a number; None is empty."""


def safe(text: str, longest: int = _LONGEST) -> str:
    """Return a text as HTML shows it, cut where it is too long."""
    return escape(printable(text, longest))


def row(cells: Iterable[Cell]) -> str:
    """Return a row of a table; what its first cell says is what it is about."""
    first, *rest = cells
    return f'<tr><th scope="row"{_look(first)}>{_shown(first)}</th>{"".join(map(_cell, rest))}</tr>'


def table(caption: str, heads: Sequence[str], rows: Iterable[str], foot: str = "", *, tall: bool = False) -> str:
    """Return a table of rows that are written already.

    Args:
        caption: what it is about.
        heads: of the columns; those of numbers end with ``#``.
        rows: see `row`.
        foot: a last row, "" for none.
        tall: it has so many rows that it is scrolled on a screen.
    """
    titles = "".join(map(_head, heads))
    last = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="scroll{" tall" if tall else ""}" tabindex="0" role="region" aria-label="{safe(caption)}"><table>'
        f"<caption>{safe(caption)}</caption><thead><tr>{titles}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody>{last}</table></div>\n"
    )


def rows_of(told: Iterable[tuple[str, str]]) -> str:
    """Return labels with a sentence or two each."""
    rows = "".join(f"<div><dt>{safe(label)}</dt><dd>{safe(text, _WHOLE)}</dd></div>" for label, text in told)
    return f'<dl class="rows">{rows}</dl>\n'


def beside(*parts: str) -> str:
    """Set parts beside one another where there is room."""
    return f'<div class="beside">{"".join(parts)}</div>\n'


def section(name: str, title: str, *parts: str) -> str:
    """Return a part of a page with its heading."""
    return (
        f'<section class="told" id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{safe(title)}</h2>\n'
        f"{''.join(parts)}</section>\n"
    )


def _head(title: str) -> str:
    kind = ' class="n"' if title.endswith("#") else ""
    return f'<th scope="col"{kind}>{safe(title.rstrip("#"))}</th>'


def _cell(value: Cell) -> str:
    return f"<td{_look(value)}>{_shown(value)}</td>"


def _look(value: Cell) -> str:
    if isinstance(value, int):
        return ' class="n"'
    return ' class="short"' if value and len(value) <= _SHORT else ""


def _shown(value: Cell) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else safe(value)
