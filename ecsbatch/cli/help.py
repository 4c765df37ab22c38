"""How --help looks: two columns of plain text that fit 80, whatever the terminal can do."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

_WIDTH: Final = 80
_LABELS: Final = 28


class TwoColumns:
    """A help formatter of cyclopts: labels on the left, sentences on the right."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one group."""
        del options
        if not panel.entries:
            return
        _say(console, f"{_plain(panel.title)}:")
        narrow = min((max(len(_label(entry)) for entry in panel.entries) + 4), _LABELS)
        for entry in panel.entries:
            for line in _entry(_label(entry), _told(entry), narrow):
                _say(console, line)
        _say(console, "")

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        del options
        if text := _plain(usage):
            _say(console, text if text.startswith("Usage:") else f"Usage: {text}")

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the command does."""
        del options
        for paragraph in _plain(description).split("\n\n"):
            lines = paragraph.splitlines()
            if lines and all(line.startswith("  ") for line in lines):
                # Set apart, to be copied: it stays as it is.
                _say(console, f"{paragraph}\n")
            elif text := " ".join(paragraph.split()):
                filled = textwrap.fill(text, _WIDTH, break_on_hyphens=False, break_long_words=False)
                _say(console, f"{filled}\n")


def _entry(label: str, text: str, left: int) -> list[str]:
    lines = textwrap.wrap(text, _WIDTH - left, break_on_hyphens=False) or [""]
    head = f"  {label}"
    first = [f"{head:{left}}{lines[0]}"] if len(head) < left else [head, f"{'':{left}}{lines[0]}"]
    return [line.rstrip() for line in (*first, *(f"{'':{left}}{line}" for line in lines[1:]))]


def _label(entry: HelpEntry) -> str:
    return ", ".join(entry.display_labels_with_metavar)


def _told(entry: HelpEntry) -> str:
    return " ".join(_plain(entry.description).split())


def _plain(text: Any) -> str:
    """Take the words out of what may be text or a renderable of rich."""
    if text is None:
        return ""
    for name in ("plain", "markup", "primary_renderable"):
        inner = getattr(text, name, None)
        if inner is not None:
            return inner if isinstance(inner, str) else _plain(inner)
    return str(text)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
