"""Texts of others in HTML: nothing of them is markup, and nothing turns, hides or runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from ecsbatch.model.text import printable

_LONGEST: Final = 300
_WHOLE: Final = 4_000
"""Characters of a sentence of our own, in which a command of somebody's may stand."""

Cell = str | int | None
"""A text, which is escaped, or a number; None is empty."""


def safe(text: str, longest: int = _LONGEST) -> str:
    """Return a text as HTML shows it, cut where it is too long."""
    return escape(printable(text, longest))


def row(cells: Iterable[Cell]) -> str:
    """Return a row of a table; what its first cell says is what it is about."""
    first, *rest = cells
    return f'<tr><th scope="row">{_shown(first)}</th>{"".join(map(_cell, rest))}</tr>'


def table(caption: str, heads: Sequence[str], rows: Iterable[str], foot: str = "") -> str:
    """Return a table of rows that are written already; heads that end with ``#`` are those of numbers."""
    titles = "".join(map(_head, heads))
    last = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="scroll"><table><caption>{safe(caption)}</caption><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody>{last}</table></div>\n"
    )


def rows_of(told: Iterable[tuple[str, str]]) -> str:
    """Return labels with a sentence or two each."""
    rows = "".join(f"<div><dt>{safe(label)}</dt><dd>{safe(text, _WHOLE)}</dd></div>" for label, text in told)
    return f'<dl class="rows">{rows}</dl>\n'


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
    kind = ' class="n"' if isinstance(value, int) else ""
    return f"<td{kind}>{_shown(value)}</td>"


def _shown(value: Cell) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else safe(value)
