"""Which path of the page's address means what. Pure."""

from __future__ import annotations

import re
from typing import Final

from ecsbatch.lazy_dataclass import dataclass

_RUN: Final = r"(?P<run>[A-Za-z0-9._-]{1,64})"

_READ: Final = {
    "page": re.compile(r"/"),
    "asset": re.compile(r"/assets/(?P<asset>[a-zA-Z-]{1,32}\.(?:css|js|txt))"),
    "session": re.compile(r"/api/session"),
    "runs": re.compile(r"/api/runs"),
    "runs_events": re.compile(r"/api/runs/events"),
    "fleet": re.compile(rf"/api/runs/{_RUN}/fleet"),
    "events": re.compile(rf"/api/runs/{_RUN}/events"),
    "server": re.compile(rf"/api/runs/{_RUN}/servers/(?P<index>[0-9]{{1,9}})"),
}
_STEER: Final = re.compile(rf"/api/runs/{_RUN}/steer")


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for.

    Attributes:
        name: ``page``, ``asset``, ``session``, ``runs``, ``runs_events``, or of a run ``fleet``, ``events``, ``server``
            and ``steer``.
        run, asset, index: those that the path names.
    """

    name: str
    run: str = ""
    asset: str = ""
    index: int = 0


def target_of(method: str, path: str, *, steers: bool) -> Target | int:
    """Return what a request asks for, or the HTTP status that refuses it.

    Args:
        method: ``GET``, ``HEAD`` or ``POST``.
        path: without its query.
        steers: runs can be steered; where they cannot, nothing is there.
    """
    reads = method in {"GET", "HEAD"}
    if steers and (found := _STEER.fullmatch(path)):
        return 405 if reads else Target("steer", found["run"])
    for name, pattern in _READ.items():
        if found := pattern.fullmatch(path):
            told = found.groupdict()
            target = Target(name, told.get("run", ""), told.get("asset", ""), int(told.get("index", 0)))
            return target if reads else 405
    return 404
