"""Whether a server may be restarted in its present state: a pure decision on one look."""

from __future__ import annotations

from typing import Final

from ecsbatch.model.outcome import SkipReason
from ecsbatch.model.servers import ServerView

_RESTING: Final = frozenset(
    {"SHUTOFF", "SHELVED", "SHELVED_OFFLOADED", "PAUSED", "SUSPENDED", "DELETED", "SOFT_DELETED"}
)
"""States of servers that somebody has shut down on purpose: nobody waits for them, and they take no slot."""


def skip_reason(view: ServerView) -> tuple[SkipReason, bool] | None:
    """Return why a server must not be restarted now, and whether it takes a slot of the budget; None where it may."""
    if not view.found:
        return SkipReason.NOT_FOUND, False
    if view.status in {"REBOOT", "HARD_REBOOT"} or view.task_state.startswith("reboot"):
        return SkipReason.ALREADY_RESTARTING, True
    # The status alone hides transitions: powering-off still shows ACTIVE, powering-on still SHUTOFF.
    if view.task_state or (view.status != "ACTIVE" and view.status not in _RESTING):
        return SkipReason.NOT_ACTIVE, True
    if view.status in _RESTING:
        return SkipReason.NOT_ACTIVE, False
    return (SkipReason.LOCKED, False) if view.locked else None


def precheck(view: ServerView, *, precheck: bool, updated_since: float | None) -> tuple[SkipReason, bool] | None:
    """Return why a server that was not sent yet is to be left alone, in the form of `skip_reason`; None to restart it.

    Args:
        view: the server as it is seen now.
        precheck: True to leave servers in the wrong state alone.
        updated_since: servers that have changed since this time (seconds since 1970) are left alone; None for none.
    """
    seen = skip_reason(view)
    at = view.updated_at if updated_since is not None else None
    if updated_since is not None and at is not None and at >= updated_since:
        return SkipReason.RESTARTED_RECENTLY, seen is not None and seen[1]
    return seen if precheck else None
