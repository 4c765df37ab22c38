"""Drift: what has changed in the cloud since a plan was made. Pure functions on two looks at the same servers.

A plan is exact about servers as they were. A server that somebody has stopped, locked or restarted since then is not
what a person agreed to, and one that could be restarted by now would be left out without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import SkipReason
from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import ServerView
from ecsbatch.planning.precheck import skip_reason


class DriftKind(StrEnum):
    """How a server differs from what the plan saw; the worst comes first, and a server has one of them."""

    DELETED = "deleted"
    STOPPED = "stopped"
    CHANGING = "changing"
    RESTARTING = "restarting"
    LOCKED = "locked"
    MOVED = "moved"
    TOUCHED = "touched"
    APPEARED = "appeared"
    STARTED = "started"
    UNLOCKED = "unlocked"


@dataclass(frozen=True, slots=True)
class Drifted:
    """One server that is not as the plan saw it.

    Attributes:
        server: its id.
        kind: how it differs.
        name: its name, "" where it has none.
        before, now: what was seen then and is seen now: states, zones, or times of the last change.
    """

    server: str
    kind: DriftKind
    before: str = ""
    now: str = ""
    name: str = ""


_ASKED_FOR: Final = frozenset({SkipReason.EXCLUDED.value, SkipReason.RESTARTED_RECENTLY.value})
"""Servers that are left alone by request: whatever happens to them, the plan stays right."""

_OF_RESTARTED: Final = frozenset({DriftKind.MOVED, DriftKind.TOUCHED})
"""Differences that only matter of servers that are to be restarted."""

_BECAME: Final[Mapping[SkipReason, DriftKind]] = {
    SkipReason.NOT_FOUND: DriftKind.DELETED,
    SkipReason.NOT_ACTIVE: DriftKind.STOPPED,
    SkipReason.ALREADY_RESTARTING: DriftKind.RESTARTING,
    SkipReason.LOCKED: DriftKind.LOCKED,
}

_CAME_BACK: Final[Mapping[SkipReason, DriftKind]] = {
    SkipReason.NOT_FOUND: DriftKind.APPEARED,
    SkipReason.NOT_ACTIVE: DriftKind.STARTED,
    SkipReason.ALREADY_RESTARTING: DriftKind.STARTED,
    SkipReason.LOCKED: DriftKind.UNLOCKED,
}


def find_drift(plan: Plan, then: Mapping[str, ServerView], now: Mapping[str, ServerView]) -> list[Drifted]:
    """Return the servers that differ from what a plan saw, in the order of its fleet.

    Args:
        plan: the plan.
        then: its servers as they were seen when it was made, by id.
        now: its servers as they are seen now, by id; one without a view counts as deleted.
    """
    found: list[Drifted] = []
    for index, server_id in enumerate(plan.fleet.ids):
        skip = plan.skip_of(index) if index >= plan.to_restart else None
        if skip is not None and skip.reason in _ASKED_FOR:
            continue
        seen = now.get(server_id) or ServerView(server_id, found=False)
        drifted = compare(then.get(server_id) or ServerView(server_id, found=False), seen)
        # Of a server that is left alone it only matters whether it still has to be.
        if drifted is not None and (skip is None or drifted.kind not in _OF_RESTARTED):
            found.append(replace(drifted, name=plan.fleet.name(index) or seen.name))
    return found


def compare(then: ServerView, now: ServerView) -> Drifted | None:
    """Return how one server differs between two looks, None where it does not."""
    before, after = skip_reason(then), skip_reason(now)
    if before != after:
        kind = _BECAME[after[0]] if after is not None else _CAME_BACK[before[0]] if before is not None else None
        if kind is DriftKind.STOPPED and after is not None and after[1]:
            kind = DriftKind.CHANGING
        if kind is not None:
            return Drifted(now.id, kind, _state(then), _state(now))
    if not now.found:
        return None
    if then.az != now.az:
        return Drifted(now.id, DriftKind.MOVED, then.az, now.az)
    if then.updated != now.updated:
        return Drifted(now.id, DriftKind.TOUCHED, then.updated, now.updated)
    return None


def _state(view: ServerView) -> str:
    if not view.found:
        return "not found"
    state = "/".join(part for part in (view.status, view.task_state) if part) or "no state"
    return f"{state} (locked)" if view.locked else state
