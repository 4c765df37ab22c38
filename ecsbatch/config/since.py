"""A moment as people name it: how long ago or from now, a date, a time of day, or all of it with its zone."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import Final

from ecsbatch.config.types import parse_duration

SINCE: Final = (
    'how long ago such as "2h", a date such as "2026-03-01", a local time such as "22:00", or "2026-03-01T22:00:00Z"'
)

UNTIL: Final = (
    'how long from now such as "2h", a local time such as "22:00", a date such as "2026-03-01", or '
    '"2026-03-01T22:00:00Z"'
)

_TIME_OF_DAY: Final = re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:?[0-9]{2})?", re.IGNORECASE)


def parse_since(text: str, now: float) -> float:
    """Return a moment as seconds since 1970; what names no zone is local, and a time of day is the last one there was.

    Args:
        text: ``2h``, ``2026-03-01``, ``22:00``, ``2026-03-01 22:00`` or ``2026-03-01T22:00:00Z``.
        now: seconds since 1970.

    Raises:
        ValueError: it is no moment, or lies in the future.
    """
    try:
        then = now - parse_duration(text)
    except ValueError:
        try:
            then = _moment(text.strip(), now).timestamp()
        except (ValueError, OverflowError):
            raise ValueError(SINCE) from None
    if then > now:
        raise ValueError(f"{SINCE}; it lies in the future")
    return max(then, 0.0)


def parse_until(text: str, now: float) -> float:
    """Return a moment to come as seconds since 1970; what names no zone is local, and a time of day is the next one.

    Args:
        text: ``22:00``, ``2026-03-01``, ``2026-03-01 22:00`` or ``2026-03-01T22:00:00Z``.
        now: seconds since 1970.

    Raises:
        ValueError: it is no moment, or lies in the past.
    """
    try:
        then = _moment(text.strip(), now, ahead=True).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(UNTIL) from None
    if then <= now:
        raise ValueError(f"{UNTIL}; it lies in the past")
    return then


def _moment(text: str, now: float, *, ahead: bool = False) -> datetime:
    """Return a moment; a time of day is the last one there was, or with ``ahead`` the next one."""
    if not _TIME_OF_DAY.fullmatch(text):
        return datetime.fromisoformat(text)
    of_day = time.fromisoformat(text if text[2] == ":" else f"0{text}")
    then = datetime.combine(datetime.fromtimestamp(now, of_day.tzinfo), of_day)
    if ahead:
        return then if then.timestamp() > now else then + timedelta(days=1)
    return then if then.timestamp() <= now else then - timedelta(days=1)
