"""Words and numbers for people. Whatever the cloud or a file named passes here before it reaches a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ecsbatch.models import OutcomeKind
from ecsbatch.quantities import format_duration

WORDS: Final[Mapping[OutcomeKind, str]] = {
    OutcomeKind.RESTARTED: "restarted",
    OutcomeKind.FAILED: "failed",
    OutcomeKind.TIMED_OUT: "timed out",
    OutcomeKind.UNKNOWN: "unknown",
    OutcomeKind.SKIPPED: "skipped",
    OutcomeKind.NOT_STARTED: "not started",
}
"""The outcomes, for people."""

STYLES: Final[Mapping[OutcomeKind, str]] = {
    OutcomeKind.RESTARTED: "green",
    OutcomeKind.FAILED: "bold red",
    OutcomeKind.TIMED_OUT: "bold red",
    OutcomeKind.UNKNOWN: "bold yellow",
    OutcomeKind.SKIPPED: "yellow",
    OutcomeKind.NOT_STARTED: "dim",
}
"""Their colours; every place that uses them says the word as well."""

_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0


def printable(text: str, limit: int = 200) -> str:
    """Replace whatever could move a terminal's cursor, change its colours or turn its text around; cut at ``limit``."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return (
        shown if shown.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    )


def lasting(seconds: float) -> str:
    """Write a span of time with as much precision as one reads: ``0.8s``, ``12s``, ``3m20s``, ``2h05m``."""
    if seconds < 1:
        return format_duration(round(seconds, 1))
    if seconds >= _HOUR:
        hours, minutes = divmod(round(seconds / _MINUTE), 60)
        return f"{hours}h{minutes:02}m"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def counted(number: int, noun: str) -> str:
    """Write a count with its noun: ``1 server``, ``2,000 servers``, ``2 batches``."""
    plural = noun + ("es" if noun.endswith("ch") else "s")
    return f"{number:,} {noun if number == 1 else plural}"
