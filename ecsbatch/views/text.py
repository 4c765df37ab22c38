"""Words, numbers, paragraphs, commands and cells, as people read and copy them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from textwrap import TextWrapper, wrap
from typing import Any, Final, TypeVar, cast

from ecsbatch.config.types import format_duration
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.json_text import stamp
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.text import visible

_Json = TypeVar("_Json")

WORDS: Final[Mapping[OutcomeKind, str]] = {
    OutcomeKind.RESTARTED: "restarted",
    OutcomeKind.FAILED: "failed",
    OutcomeKind.TIMED_OUT: "timed out",
    OutcomeKind.UNKNOWN: "unknown",
    OutcomeKind.SKIPPED: "skipped",
    OutcomeKind.NOT_STARTED: "not started",
}
"""The outcomes, for people."""

_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0
_COMMAND: Final = re.compile(r"\s*ecsbatch [a-z]")
_HEAD: Final = re.compile(r"\s*(?:\S+(?: \S+){0,2}:?\s{2,})?")
"""A line's indent and label, below which its text goes on."""

_FORMULA: Final = re.compile(r"""((?:^|[,;|\t])[\s"']*)(?=[=+@\t\r\n-])""")
"""The place before what a spreadsheet takes for the begin of a formula: some leave out blanks, and each has a separator
of its own, at which it begins another cell."""

NAME: Final = 32
"""Columns that a server's name has at most beside its id; nothing is said of it without its id."""

_LEAST: Final = 20
"""Columns that a paragraph has beside its label on the narrowest screen."""


@dataclass(frozen=True, slots=True)
class RepeatFlags:
    """Flags that commands about a run must be given again, as one would type them after its id.

    Attributes:
        go_on: for commands that go on with it.
        read: for commands that only read it.
        resume: for ``resume`` besides, so that its check and gate run as they did.
    """

    go_on: str = ""
    read: str = ""
    resume: str = ""


NOTHING_TO_REPEAT: Final = RepeatFlags()


def format_span(seconds: float) -> str:
    """Write a span of time with as much precision as one reads: ``0.8s``, ``12s``, ``3m20s``, ``2h05m``."""
    if seconds < 1:
        return format_duration(round(seconds, 1))
    if seconds >= _HOUR:
        hours, minutes = divmod(round(seconds / _MINUTE), 60)
        return f"{hours}h{minutes:02}m"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def utc_text(ts: float) -> str:
    """Write a time, seconds since 1970, in UTC to the second: ``2026-11-26 21:04:05``."""
    return stamp(ts)[:19].replace("T", " ")


def wrap_command(command: str, width: int) -> list[str]:
    """Break a command into lines that a shell joins again: each but the last ends in a backslash, no word in quotes."""
    lines: list[str] = []
    while len(command) > width:
        unquoted = [end for end in range(1, len(command)) if command.count("'", 0, end) % 2 == 0]
        blanks = [end for end in unquoted if command[end - 1] == " " and end < width]
        end = max(blanks or [end for end in unquoted if end < width] or [0])
        if not end:
            break
        lines.append(f"{command[:end]}\\")
        command = command[end:]
    return [*lines, command]


def wrap_line(line: str, width: int) -> list[str]:
    """Break a line that is too wide between words, the rest below the text; commands and ids stay whole."""
    if len(line) <= width or _COMMAND.match(line):
        return [line]
    head, indent = _HEAD.match(line), len(line) - len(line.lstrip())
    left = head.end() if head is not None else indent
    below = " " * (left if left <= width // 2 else indent + 2)
    wrapper = TextWrapper(
        width, initial_indent=" " * indent, subsequent_indent=below, break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(line.strip())


def paragraph(label: str, text: str, width: int, column: int) -> list[str]:
    """Set a label before a text that is broken between words; what does not fit beside the label stands below.

    Args:
        label: shorter than ``column``.
        text: of any length; its words stay whole.
        width: of the whole, in columns.
        column: where the text begins.
    """
    lines = wrap(text, max(width - column, _LEAST), break_on_hyphens=False, break_long_words=False) or [""]
    return [f"{label:{column}}{lines[0]}", *(" " * column + line for line in lines[1:])]


def cell(value: object) -> object:
    """Return a cell's value; what a spreadsheet would run as a formula gets an apostrophe before it."""
    if isinstance(value, str):
        return _FORMULA.sub(r"\1'", visible(value))
    return "" if value is None else value


def visible_values(value: _Json) -> _Json:
    """Return JSON values with a mark for each character that turns or hides text; names of fields stay as they are."""
    shown: Any = value
    if isinstance(value, str):
        shown = visible(value)
    elif isinstance(value, Mapping):
        shown = {name: visible_values(each) for name, each in cast("Mapping[str, Any]", value).items()}
    elif isinstance(value, list | tuple):
        shown = [visible_values(each) for each in cast("Sequence[Any]", value)]
    return cast("_Json", shown)
