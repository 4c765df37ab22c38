"""JSON that is read by programs and, in a terminal or an editor, by people too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

_ACTING: Final = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf"
)
"""What JSON may hold as it is and a terminal or a reader's eye would follow, in UTF-8: DEL, C1 controls, line and
paragraph separators, marks that turn the direction of text or hide in it."""


def json_bytes(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """Return a value as JSON in one line, in which all that a terminal would act upon is escaped.

    Args:
        value: what is written.
        default: makes something that JSON has of what it has not.
    """
    try:
        written = orjson.dumps(value, default=default)
    except orjson.JSONEncodeError:
        # A name that is no UTF-8, as a terminal or a file system may give one.
        written = json.dumps(value, default=default, separators=(",", ":")).encode()
    return harmless(written)


def harmless(written: bytes) -> bytes:
    """Return JSON in which all that a terminal would act upon is escaped."""
    # ASCII, as nearly all of it is, has DEL of these alone: to look for one takes a fiftieth of a search by pattern.
    return written if written.isascii() and b"\x7f" not in written else _ACTING.sub(_escaped, written)


@lru_cache(maxsize=64)  # the events of one transaction share their time
def stamp(ts: float) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(ts, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamped(ts: float | None) -> str | None:
    """Return a time as `stamp`, and None where there is none."""
    return None if ts is None else stamp(ts)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())
