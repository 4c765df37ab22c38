"""What became of a server by its own state, where its request or job tells nothing more. Read `judge` first.

A pure decision. A server that is rebooting, or whose ``updated`` has moved since the baseline and not before the
request was sent, was restarted by it. Without any such sign the request did not start it - once the time has passed
in which a given-up request may still begin (``unknown_grace``, the one assumption) and enough looks agree. Where the
cloud tells no ``updated`` there is no trace to go by, and nothing is sent again.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.servers import ServerView

CLOCK_TOLERANCE: Final = 2.0
"""Seconds by which the cloud's own clocks may differ; its ``updated`` and ``Date`` have whole seconds."""

LOOKS_NEEDED: Final = 3
"""Successful looks without a sign before a request counts as never begun."""

LOOKS_IN_VAIN: Final = 8
"""Looks in a row that do not show a server, before nothing is to be learned of it: some fail by chance."""

RESTARTING: Final = frozenset({"REBOOT", "HARD_REBOOT"})
"""States of a server that is being restarted (API reference, ECS statuses)."""


class Verdict(StrEnum):
    """What one look at a server says, together with those before it."""

    UNDER_WAY = "under_way"
    RESTARTED = "restarted"
    NO_SIGN_YET = "no_sign_yet"
    NOT_STARTED = "not_started"
    NO_TRACE = "no_trace"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of one server apart from the look, at the time at which that was asked, not answered.

    Attributes:
        baseline: its ``updated`` before the request, "" where not known.
        cloud_time: the cloud's clock at the intent, seconds since 1970; 0 where not known.
        under_way: a sign of the restart was seen before.
        given_up_for: seconds of observed time since the answer was given up.
        looks: successful looks so far, this one included.
        grace: seconds in which a given-up request may still begin.
        late: its deadline had passed.
        running: its job still shows it under way.
    """

    baseline: str
    cloud_time: float
    under_way: bool = False
    given_up_for: float = 0.0
    looks: int = 0
    grace: float = 0.0
    late: bool = False
    running: bool = False


def judge(view: ServerView, case: Case) -> Verdict:
    """Return what became of a server, by a look at it and what was known before."""
    if not view.found:
        return Verdict.NOT_FOUND
    restarting = is_restarting(view)
    sign = restarting or case.under_way or moved(view.updated, case.baseline, case.cloud_time)
    if sign and not restarting and view.status == "ERROR":
        return Verdict.FAILED
    if sign and not restarting and is_up(view):
        return Verdict.RESTARTED
    if sign or case.running:
        return Verdict.TIMED_OUT if case.late else Verdict.UNDER_WAY
    return _without_a_sign(view, case)


def _without_a_sign(view: ServerView, case: Case) -> Verdict:
    """Return whether the request can be taken for never begun; without ``updated`` nothing tells that."""
    if case.given_up_for <= case.grace or case.looks < LOOKS_NEEDED:
        return Verdict.NO_SIGN_YET
    if view.task_state:
        return Verdict.NO_TRACE if case.late else Verdict.NO_SIGN_YET
    return Verdict.NOT_STARTED if view.updated and case.baseline else Verdict.NO_TRACE


def is_garbled(view: ServerView, baseline: str) -> bool:
    """Tell whether a look shows a server up and lacks the ``updated`` of before, so that it tells of no restart."""
    return is_up(view) and bool(baseline) and not view.updated


def judge_unseen(case: Case) -> Verdict:
    """Return what became of a server that looks do not show; ``case.looks`` counts those in a row.

    What was seen of it before says nothing of now.
    """
    over = case.late and case.given_up_for > case.grace and case.looks >= LOOKS_IN_VAIN
    return Verdict.NO_TRACE if over else Verdict.NO_SIGN_YET


def was_begun(view: ServerView, baseline: str, cloud_time: float, *, refused: bool = False) -> bool:
    """Tell whether a look shows that a request which was taken for not carried out did start the server.

    Of one that the cloud has refused only a change since then tells that: the restart that goes on may be what it was
    refused for.
    """
    changed = moved(view.updated, baseline, cloud_time)
    return view.found and (changed or (is_restarting(view) and not refused))


def is_restarting(view: ServerView) -> bool:
    """Tell whether a restart of the server is going on."""
    return view.status in RESTARTING or view.task_state.startswith("reboot")


def is_up(view: ServerView) -> bool:
    """Tell whether the server runs and is in no transition."""
    return view.found and view.status == "ACTIVE" and not view.task_state


def moved(updated: str, baseline: str, cloud_time: float) -> bool:
    """Tell whether ``updated`` shows an action of or after the request."""
    if not updated or updated == baseline:
        return False
    if not cloud_time:
        return bool(baseline)
    at = seconds_of(updated)
    return at is None or at >= cloud_time - CLOCK_TOLERANCE


def seconds_of(text: str) -> float | None:
    """Read one of the cloud's times (RFC 3339) as seconds since 1970; None where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
