"""How the cloud writes instants down."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def milliseconds(wall: float) -> str:
    """Return ``2016-04-25T20:04:34.604Z``, the form in jobs."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(wall * 1000) % 1000:03d}Z"


def whole_seconds(wall: float) -> str:
    """Return ``2016-04-25T20:04:34Z``, the form in servers."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))


def microseconds(wall: float) -> str:
    """Return ``2016-04-25T20:04:34.604000Z``, the form in tokens and temporary keys."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def http_date(wall: float) -> str:
    """Return ``Mon, 25 Apr 2016 20:04:34 GMT``, the form of the ``Date`` header."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(wall))
