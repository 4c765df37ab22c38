"""How --help looks: two columns of plain text that fit 80, whatever the terminal can do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ecsbatch.cli.catalog import EPILOGUE, SUMMARY, TITLES

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions

_WIDTH: Final = 80
_LABELS: Final = 28

VERSION_FLAGS: Final = ("--version", "-V")

_OPTIONS: Final = (
    ("--help, -h", "Display this message and exit."),
    (", ".join(VERSION_FLAGS), "Display application version."),
)
"""What the parser says of the options that it has by itself."""


def overview() -> str:
    """Return what ``ecsbatch --help`` prints; it takes neither the parser nor what the parser draws with."""
    lines = ["Usage: ecsbatch COMMAND", "", *_paragraphs(SUMMARY)]
    for title, commands in TITLES.items():
        lines += _panel(title, [(command.name, command.text) for command in commands])
    lines += [*_panel("Options", _OPTIONS), "", *_paragraphs(EPILOGUE)]
    return "\n".join(lines)


class TwoColumns:
    """A help formatter of cyclopts: labels on the left, sentences on the right."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one group."""
        del options
        rows = [(", ".join(entry.display_labels_with_metavar), _plain(entry.description)) for entry in panel.entries]
        if rows:
            _print(console, _panel(_plain(panel.title), rows))

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        del options
        if text := _plain(usage):
            _print(console, [text if text.startswith("Usage:") else f"Usage: {text}"])

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the command does."""
        del options
        _print(console, _paragraphs(_plain(description)))


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the lines of paragraphs, each followed by a blank line."""
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        if lines and all(line.startswith("  ") for line in lines):
            # Set apart, to be copied: it stays as it is.
            yield from (*lines, "")
        elif words := " ".join(paragraph.split()):
            yield from textwrap.wrap(words, _WIDTH, break_on_hyphens=False, break_long_words=False)
            yield ""


def _panel(title: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of a title and its rows, and a blank line."""
    yield f"{title}:"
    left = min(max(len(label) for label, _ in rows) + 4, _LABELS)
    for label, text in rows:
        lines = textwrap.wrap(" ".join(text.split()), _WIDTH - left, break_on_hyphens=False) or [""]
        head = f"  {label}"
        first = [f"{head:{left}}{lines[0]}"] if len(head) < left else [head, f"{'':{left}}{lines[0]}"]
        yield from (line.rstrip() for line in (*first, *(f"{'':{left}}{line}" for line in lines[1:])))
    yield ""


def _plain(text: Any) -> str:
    """Take the words out of what may be text or a renderable of rich."""
    if text is None:
        return ""
    for name in ("plain", "markup", "primary_renderable"):
        inner = getattr(text, name, None)
        if inner is not None:
            return inner if isinstance(inner, str) else _plain(inner)
    return str(text)


def _print(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
