"""Durations as people write them."""

from __future__ import annotations

import re
from typing import Final

DURATION: Final = 'a duration with its unit, such as "30s", "1h30m" or "0.5s"'

_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
_DURATION: Final = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in _UNITS))


def parse_duration(text: str) -> float:
    """Return ``30s``, ``5m``, ``1h30m``, ``0.5s`` or ``250ms`` in seconds; no bare number but 0 is a duration.

    Raises:
        ValueError: the text is no duration.
    """
    text = text.strip().lower()
    if text == "0":
        return 0.0
    found = _DURATION.fullmatch(text) if text else None
    if not found:
        raise ValueError(DURATION)
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS.values(), strict=True) if part)


def format_duration(seconds: float) -> str:
    """Return seconds as `parse_duration` reads them, to the millisecond: ``1h30m``, ``0.25s``."""
    rest, parts = round(seconds, 3), ""
    for unit in ("d", "h", "m"):
        whole, rest = divmod(rest, _UNITS[unit])
        parts += f"{whole:.0f}{unit}" if whole else ""
    return parts + (f"{round(rest, 3):g}s" if rest or not parts else "")
