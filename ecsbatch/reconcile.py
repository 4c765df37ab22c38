"""What happened to a server of whose request or job nothing more can be learned: judged by the cloud's own record.

A pure decision. A server that is rebooting, or whose ``updated`` has moved since the baseline and not before the
request was sent, was restarted by it. Without any such sign the request did not start it - once the time has passed
in which a given-up request may still begin (``unknown_grace``, the one assumption) and enough looks agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from ecsbatch.models import ServerView

CLOCK_TOLERANCE: Final = 2.0
"""Seconds by which the cloud's own clocks may differ; its ``updated`` and ``Date`` have whole seconds."""

LOOKS_NEEDED: Final = 3
"""Successful looks without a sign before a request counts as never begun."""

RESTARTING: Final = frozenset({"REBOOT", "HARD_REBOOT"})
"""States of a server that is being restarted (API reference, ECS statuses)."""


class Verdict(StrEnum):
    """What one look says, together with those before it."""

    UNDER_WAY = "under_way"
    RESTARTED = "restarted"
    NO_SIGN_YET = "no_sign_yet"
    NOT_STARTED = "not_started"
    FAILED = "failed"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of one server apart from the look.

    Attributes:
        baseline: its ``updated`` before the request, "" where not known.
        cloud_time: the cloud's clock at the intent, seconds since 1970; 0 where not known.
        under_way: a sign of the restart was seen before, or the cloud had accepted the request and began it.
        given_up_for: seconds, on the sighted clock, since the answer was given up.
        looks: successful looks so far, this one included.
        grace: seconds in which a given-up request may still begin.
    """

    baseline: str
    cloud_time: float
    under_way: bool
    given_up_for: float
    looks: int
    grace: float


def judge(view: ServerView, case: Case) -> Verdict:
    """Say what became of the server."""
    if not view.found:
        return Verdict.NOT_FOUND
    if is_restarting(view):
        return Verdict.UNDER_WAY
    if view.status == "ERROR" and (case.under_way or moved(view.updated, case)):
        return Verdict.FAILED
    if case.under_way or moved(view.updated, case):
        return Verdict.RESTARTED if is_up(view) else Verdict.UNDER_WAY
    if case.given_up_for > case.grace and case.looks >= LOOKS_NEEDED and not view.task_state:
        return Verdict.NOT_STARTED
    return Verdict.NO_SIGN_YET


def is_restarting(view: ServerView) -> bool:
    """Tell whether a restart of the server is going on."""
    return view.status in RESTARTING or view.task_state.startswith("reboot")


def is_up(view: ServerView) -> bool:
    """Tell whether the server runs and is in no transition."""
    return view.found and view.status == "ACTIVE" and not view.task_state


def moved(updated: str, case: Case) -> bool:
    """Tell whether ``updated`` shows an action of or after the request."""
    if not updated or updated == case.baseline:
        return False
    if not case.cloud_time:
        return bool(case.baseline)
    at = seconds_of(updated)
    return at is None or at >= case.cloud_time - CLOCK_TOLERANCE


def seconds_of(text: str) -> float | None:
    """Read one of the cloud's times (RFC 3339) as seconds since 1970; None where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
