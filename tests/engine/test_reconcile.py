"""What becomes of a server of whose request nothing more can be learned: the whole decision, as a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ecsbatch.engine.reconcile import (
    LOOKS_IN_VAIN,
    LOOKS_NEEDED,
    Case,
    Verdict,
    is_garbled,
    judge,
    judge_unseen,
    was_begun,
)
from ecsbatch.model.servers import ServerView

SENT = datetime(2026, 3, 1, 22, 0, 0, tzinfo=UTC).timestamp()
BEFORE, AFTER, LONG_AGO = "2026-03-01T20:00:00Z", "2026-03-01T22:00:04Z", "2026-03-01T19:00:00Z"
UP = ServerView("a", status="ACTIVE", updated=BEFORE)
REBOOTING = replace(UP, status="REBOOT", task_state="rebooting")
BROKEN = replace(UP, status="ERROR", updated=AFTER)

FRESH = Case(baseline=BEFORE, cloud_time=SENT, under_way=False, given_up_for=10.0, looks=2, grace=60.0)
WAITED = replace(FRESH, given_up_for=61.0, looks=LOOKS_NEEDED)
LATE = replace(WAITED, late=True)


@pytest.mark.parametrize(
    ("view", "case", "verdict"),
    [
        (replace(UP, found=False), FRESH, Verdict.NOT_FOUND),
        # Signs of our restart.
        (REBOOTING, FRESH, Verdict.UNDER_WAY),
        (replace(UP, task_state="reboot_pending"), FRESH, Verdict.UNDER_WAY),
        (replace(UP, updated=AFTER), FRESH, Verdict.RESTARTED),
        (UP, replace(FRESH, under_way=True), Verdict.RESTARTED),
        (replace(UP, updated=AFTER, task_state="powering-off"), FRESH, Verdict.UNDER_WAY),
        (BROKEN, FRESH, Verdict.FAILED),
        (replace(BROKEN, updated=BEFORE), FRESH, Verdict.NO_SIGN_YET),
        # None yet, and none any more.
        (UP, FRESH, Verdict.NO_SIGN_YET),
        (UP, replace(WAITED, given_up_for=60.0), Verdict.NO_SIGN_YET),
        (UP, replace(WAITED, looks=LOOKS_NEEDED - 1), Verdict.NO_SIGN_YET),
        (UP, WAITED, Verdict.NOT_STARTED),
        (replace(UP, updated=LONG_AGO), WAITED, Verdict.NOT_STARTED),
        (replace(UP, task_state="migrating"), WAITED, Verdict.NO_SIGN_YET),
        (replace(UP, task_state="migrating"), LATE, Verdict.NO_TRACE),
        (UP, LATE, Verdict.NOT_STARTED),
        # However late it is, one look is not enough.
        (UP, replace(LATE, looks=LOOKS_NEEDED - 1), Verdict.NO_SIGN_YET),
        (replace(UP, updated=""), replace(LATE, looks=1), Verdict.NO_SIGN_YET),
        # Without a time of the last change there is no trace to go by: nothing is ever sent again.
        (replace(UP, updated=""), WAITED, Verdict.NO_TRACE),
        (UP, replace(WAITED, baseline=""), Verdict.NO_TRACE),
        (replace(UP, updated=""), replace(WAITED, baseline=""), Verdict.NO_TRACE),
        (replace(UP, updated=""), FRESH, Verdict.NO_SIGN_YET),
        (replace(UP, updated=AFTER), replace(WAITED, baseline=""), Verdict.RESTARTED),
        (replace(REBOOTING, updated=""), replace(WAITED, baseline=""), Verdict.UNDER_WAY),
        # After the deadline: by what is seen now.
        (REBOOTING, LATE, Verdict.TIMED_OUT),
        (replace(UP, updated=AFTER), LATE, Verdict.RESTARTED),
        (replace(UP, updated=AFTER, task_state="powering-off"), LATE, Verdict.TIMED_OUT),
        # Its job shows it running still: what cannot be told is the job's to say.
        (UP, replace(LATE, running=True), Verdict.TIMED_OUT),
        (replace(UP, updated=""), replace(LATE, running=True), Verdict.TIMED_OUT),
        (replace(UP, updated=AFTER), replace(LATE, running=True), Verdict.RESTARTED),
        (BROKEN, replace(LATE, running=True), Verdict.FAILED),
    ],
)
def test_one_look_after_another_tells_what_became_of_a_server(view: ServerView, case: Case, verdict: Verdict) -> None:
    assert judge(view, case) is verdict


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        (replace(LATE, looks=LOOKS_IN_VAIN), Verdict.NO_TRACE),
        (replace(LATE, looks=LOOKS_IN_VAIN, under_way=True), Verdict.NO_TRACE),
        (replace(LATE, looks=LOOKS_IN_VAIN, running=True), Verdict.NO_TRACE),
        (replace(LATE, looks=LOOKS_IN_VAIN - 1), Verdict.NO_SIGN_YET),
        (replace(LATE, looks=LOOKS_IN_VAIN, given_up_for=59.0), Verdict.NO_SIGN_YET),
        (replace(WAITED, looks=100), Verdict.NO_SIGN_YET),
    ],
)
def test_a_server_that_no_look_shows_any_more_is_unknown_whatever_was_seen_before(case: Case, verdict: Verdict) -> None:
    assert judge_unseen(case) is verdict


@pytest.mark.parametrize(
    ("view", "baseline", "cloud_time", "begun"),
    [
        (UP, BEFORE, SENT, False),
        (REBOOTING, BEFORE, SENT, True),
        (replace(UP, updated=AFTER), BEFORE, SENT, True),
        (replace(UP, updated=AFTER), "", SENT, True),
        (replace(UP, updated=BEFORE), LONG_AGO, SENT, False),
        (replace(REBOOTING, found=False), BEFORE, SENT, False),
        # An attempt that was carried out tells no baseline: only a restart that is seen going on is ours.
        (replace(UP, updated=AFTER), "", 0.0, False),
        (REBOOTING, "", 0.0, True),
    ],
)
def test_a_request_taken_for_not_carried_out_shows_that_it_was(
    view: ServerView, baseline: str, cloud_time: float, *, begun: bool
) -> None:
    assert was_begun(view, baseline, cloud_time) is begun


@pytest.mark.parametrize(
    ("view", "baseline", "garbled"),
    [
        (replace(UP, updated=""), BEFORE, True),
        (UP, BEFORE, False),
        (replace(UP, updated=""), "", False),
        # What is seen of a transition, or of an error, is seen with or without a time.
        (replace(REBOOTING, updated=""), BEFORE, False),
        (replace(BROKEN, updated=""), BEFORE, False),
        (replace(UP, updated="", found=False), BEFORE, False),
    ],
)
def test_a_server_shown_up_without_the_time_that_was_told_before_is_not_shown_at_all(
    view: ServerView, baseline: str, *, garbled: bool
) -> None:
    assert is_garbled(view, baseline) is garbled
