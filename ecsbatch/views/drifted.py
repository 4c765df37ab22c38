"""What has drifted since a plan was made, for people: how many of each kind, and the first few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ecsbatch.planning.drift import Drifted, DriftKind
from ecsbatch.views.text import counted, printable

_SHOWN: Final = 3

_WORDS: Final[Mapping[DriftKind, str]] = {
    DriftKind.DELETED: "no longer there",
    DriftKind.STOPPED: "stopped",
    DriftKind.CHANGING: "down or changing",
    DriftKind.RESTARTING: "restarting now",
    DriftKind.LOCKED: "locked",
    DriftKind.MOVED: "moved to another zone",
    DriftKind.TOUCHED: "restarted or changed",
    DriftKind.APPEARED: "there by now, would be left alone",
    DriftKind.STARTED: "active by now, would be left alone",
    DriftKind.UNLOCKED: "unlocked by now, would be left alone",
}


def drift_lines(drifted: Sequence[Drifted]) -> list[str]:
    """Write the drift, the worst kinds first."""
    lines: list[str] = []
    for kind in DriftKind:
        of_it = [each for each in drifted if each.kind is kind]
        if not of_it:
            continue
        lines.append(f"  {_WORDS[kind]}: {counted(len(of_it), 'server')}")
        lines += [f"    {printable(each.server, 36)}  {_change(each)}" for each in of_it[:_SHOWN]]
        if len(of_it) > _SHOWN:
            lines.append(f"    and {len(of_it) - _SHOWN:,} more")
    return lines


def _change(drifted: Drifted) -> str:
    return f"{printable(drifted.before, 24) or '-'} -> {printable(drifted.now, 24) or '-'}"
