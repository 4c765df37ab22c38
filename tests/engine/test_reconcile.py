"""What a request without an answer has become of each of its servers: the whole decision, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ecsbatch.engine.reconcile import (
    Case,
    Verdict,
    is_garbled,
    is_restarting,
    is_up,
    judge,
    judge_unseen,
    moved,
    seconds_of,
    was_begun,
)
from ecsbatch.model.servers import ServerView

SENT = datetime(2026, 3, 1, 22, 0, 0, tzinfo=UTC).timestamp()
BEFORE, AFTER, LONG_AGO = "2026-03-01T20:00:00Z", "2026-03-01T22:00:04Z", "2026-03-01T19:00:00Z"

# -- what a look shows -------------------------------------------------------------------------------------------------

UP = ServerView("a", status="ACTIVE", updated=BEFORE)
BACK = UP._replace(updated=AFTER)
REBOOTING = UP._replace(status="REBOOT", task_state="rebooting")
TO_REBOOT = UP._replace(task_state="reboot_pending")
STOPPING = UP._replace(updated=AFTER, task_state="powering-off")
OFF = UP._replace(status="SHUTOFF", updated=AFTER)
OFF_BEFORE = OFF._replace(updated=BEFORE)
BROKEN = UP._replace(status="ERROR", updated=AFTER)
BROKEN_BEFORE = BROKEN._replace(updated=BEFORE)
BROKEN_AND_REBOOTING = BROKEN._replace(task_state="rebooting_hard")
MIGRATING = UP._replace(task_state="migrating")
UNDATED = UP._replace(updated="")
UNDATED_REBOOTING = REBOOTING._replace(updated="")
GONE = ServerView("a", found=False)

# -- what is known beside it -------------------------------------------------------------------------------------------

FRESH = Case(baseline=BEFORE, cloud_time=SENT, given_up_for=10.0, looks=2, grace=60.0)
SEEN_UNDER_WAY = replace(FRESH, under_way=True)
WAITED = replace(FRESH, given_up_for=61.0, looks=3)
TO_THE_LAST_SECOND = replace(WAITED, given_up_for=60.0)
LATE = replace(WAITED, late=True)
LATE_BUT_IN_GRACE = replace(FRESH, looks=3, late=True)
JOB_RUNS, JOB_RUNS_LATE = replace(WAITED, running=True), replace(LATE, running=True)
NO_BASELINE = replace(WAITED, baseline="")
NO_BASELINE_SEEN = replace(NO_BASELINE, under_way=True)

SIGNS = {
    # Signs of our restart.
    "a server in reboot was restarted by our request": (REBOOTING, FRESH, Verdict.UNDER_WAY),
    "a server that is about to reboot is under way": (TO_REBOOT, FRESH, Verdict.UNDER_WAY),
    "a server that has changed since and is up was restarted": (BACK, FRESH, Verdict.RESTARTED),
    "a server that was seen in reboot and is up was restarted": (UP, SEEN_UNDER_WAY, Verdict.RESTARTED),
    "a server that has changed since and is not up yet is under way": (STOPPING, FRESH, Verdict.UNDER_WAY),
    "a server that our restart has switched off is not back": (OFF, FRESH, Verdict.UNDER_WAY),
    "a server that our restart has broken has failed": (BROKEN, FRESH, Verdict.FAILED),
    "a broken server that was seen in reboot has failed": (BROKEN_BEFORE, SEEN_UNDER_WAY, Verdict.FAILED),
    "a broken server that is in reboot may come back": (BROKEN_AND_REBOOTING, FRESH, Verdict.UNDER_WAY),
    "a server that was broken before shows no sign": (BROKEN_BEFORE, FRESH, Verdict.NO_SIGN_YET),
    "a server that the cloud does not know is gone": (GONE, FRESH, Verdict.NOT_FOUND),
    "a server that was seen in reboot can be gone": (GONE, SEEN_UNDER_WAY, Verdict.NOT_FOUND),
    "a server whose job runs can be gone": (GONE, JOB_RUNS_LATE, Verdict.NOT_FOUND),
    # No sign: the request may begin yet, and a look may have missed it.
    "a request that was just given up may begin yet": (UP, FRESH, Verdict.NO_SIGN_YET),
    "a request may begin until the last second of its grace": (UP, TO_THE_LAST_SECOND, Verdict.NO_SIGN_YET),
    "two looks are not enough": (UP, replace(WAITED, looks=2), Verdict.NO_SIGN_YET),
    "without a sign after the grace and three looks it never began": (UP, WAITED, Verdict.NOT_STARTED),
    "a change of before the request is no sign": (UP._replace(updated=LONG_AGO), WAITED, Verdict.NOT_STARTED),
    "a server that is off without a change was not restarted": (OFF_BEFORE, WAITED, Verdict.NOT_STARTED),
    "what another action does to it may hide a restart": (MIGRATING, WAITED, Verdict.NO_SIGN_YET),
    # Where the cloud tells no time of the last change, nothing is ever sent again.
    "without a time there is no trace to go by": (UNDATED, WAITED, Verdict.NO_TRACE),
    "without a baseline there is no trace to go by": (UP, NO_BASELINE, Verdict.NO_TRACE),
    "with neither there is none": (UNDATED, NO_BASELINE, Verdict.NO_TRACE),
    "without a time the grace is waited for all the same": (UNDATED, FRESH, Verdict.NO_SIGN_YET),
    "a change of after the request needs no baseline": (BACK, NO_BASELINE, Verdict.RESTARTED),
    "a server in reboot needs no time": (UNDATED_REBOOTING, NO_BASELINE, Verdict.UNDER_WAY),
    "a server that was seen in reboot needs no time": (UNDATED, NO_BASELINE_SEEN, Verdict.RESTARTED),
    # After the deadline: by what is seen now.
    "who is in reboot after the deadline has timed out": (REBOOTING, LATE, Verdict.TIMED_OUT),
    "who is not up after the deadline has timed out": (STOPPING, LATE, Verdict.TIMED_OUT),
    "who is back after the deadline was restarted": (BACK, LATE, Verdict.RESTARTED),
    "who is broken after the deadline has failed": (BROKEN, LATE, Verdict.FAILED),
    "who shows no sign after the deadline was never begun": (UP, LATE, Verdict.NOT_STARTED),
    "whom another action keeps after the deadline has left no trace": (MIGRATING, LATE, Verdict.NO_TRACE),
    "two looks are not enough, however late it is": (UP, replace(LATE, looks=2), Verdict.NO_SIGN_YET),
    "one look without a time is not enough, however late it is": (UNDATED, replace(LATE, looks=1), Verdict.NO_SIGN_YET),
    "a deadline within the grace ends nothing": (UP, LATE_BUT_IN_GRACE, Verdict.NO_SIGN_YET),
    # Its job shows it running still: that it has begun is the job's to say.
    "whose job runs is under way though no look shows it": (UP, JOB_RUNS, Verdict.UNDER_WAY),
    "whose job runs is under way though there is no trace": (UNDATED, JOB_RUNS, Verdict.UNDER_WAY),
    "whose job runs after the deadline has timed out": (UP, JOB_RUNS_LATE, Verdict.TIMED_OUT),
    "whose job runs after the deadline needs no trace": (UNDATED, JOB_RUNS_LATE, Verdict.TIMED_OUT),
    "who is seen back was restarted though its job runs": (BACK, JOB_RUNS_LATE, Verdict.RESTARTED),
    "who is seen broken has failed though its job runs": (BROKEN, JOB_RUNS_LATE, Verdict.FAILED),
    "a server that was broken before is under way while its job runs": (BROKEN_BEFORE, JOB_RUNS, Verdict.UNDER_WAY),
}


@pytest.mark.parametrize(("view", "case", "verdict"), SIGNS.values(), ids=SIGNS)
def test_one_look_after_another_tells_what_became_of_a_server(view: ServerView, case: Case, verdict: Verdict) -> None:
    assert judge(view, case) is verdict


IN_VAIN = replace(LATE, looks=8)

UNSEEN = {
    "who is late and was looked for often has left no trace": (IN_VAIN, Verdict.NO_TRACE),
    "that it was seen in reboot says nothing of now": (replace(IN_VAIN, under_way=True), Verdict.NO_TRACE),
    "that its job runs says nothing of the server": (replace(IN_VAIN, running=True), Verdict.NO_TRACE),
    "some looks fail by chance": (replace(IN_VAIN, looks=7), Verdict.NO_SIGN_YET),
    "until its deadline it may be shown again": (replace(IN_VAIN, looks=100, late=False), Verdict.NO_SIGN_YET),
    "its request may begin until its grace is over": (replace(IN_VAIN, given_up_for=60.0), Verdict.NO_SIGN_YET),
}


@pytest.mark.parametrize(("case", "verdict"), UNSEEN.values(), ids=UNSEEN)
def test_a_server_that_no_look_shows_any_more_is_unknown_whatever_was_seen_before(case: Case, verdict: Verdict) -> None:
    assert judge_unseen(case) is verdict


BEGUN, NOT_BEGUN = True, False

ATTEMPTS = {
    "a server without a change was not begun": (UP, BEFORE, SENT, NOT_BEGUN),
    "a server in reboot was begun": (REBOOTING, BEFORE, SENT, BEGUN),
    "a server that has changed since was begun": (BACK, BEFORE, SENT, BEGUN),
    "a server that has changed since was begun, known before or not": (BACK, "", SENT, BEGUN),
    "a server that was changed before the request was not begun by it": (UP, LONG_AGO, SENT, NOT_BEGUN),
    "of a server that is gone nothing is said": (REBOOTING._replace(found=False), BEFORE, SENT, NOT_BEGUN),
    # An attempt that was carried out tells no baseline: only a restart that is seen going on is ours.
    "a change alone is nobody's where nothing is known of before": (BACK, "", 0.0, NOT_BEGUN),
    "a server in reboot was begun whatever is known of before": (REBOOTING, "", 0.0, BEGUN),
}


REFUSALS = {
    "a server that is in reboot as before was not begun": (REBOOTING, BEFORE, SENT, NOT_BEGUN),
    "a server in reboot was not begun where nothing is known of before": (REBOOTING, "", SENT, NOT_BEGUN),
    "a server whose reboot tells no time was not begun": (UNDATED_REBOOTING, BEFORE, SENT, NOT_BEGUN),
    "a reboot that began before the request was not begun by it": (
        REBOOTING._replace(updated=BEFORE),
        LONG_AGO,
        SENT,
        NOT_BEGUN,
    ),
    "a reboot that began since was begun": (REBOOTING._replace(updated=AFTER), BEFORE, SENT, BEGUN),
    "a server that has changed since was begun": (BACK, BEFORE, SENT, BEGUN),
    "a server without a change was not begun": (UP, BEFORE, SENT, NOT_BEGUN),
    "of a server that is gone nothing is said": (BACK._replace(found=False), BEFORE, SENT, NOT_BEGUN),
}


@pytest.mark.parametrize(("view", "baseline", "cloud_time", "begun"), ATTEMPTS.values(), ids=ATTEMPTS)
def test_a_request_taken_for_not_carried_out_shows_that_it_was(
    view: ServerView, baseline: str, cloud_time: float, *, begun: bool
) -> None:
    assert was_begun(view, baseline, cloud_time) is begun


@pytest.mark.parametrize(("view", "baseline", "cloud_time", "begun"), REFUSALS.values(), ids=REFUSALS)
def test_a_request_that_was_refused_began_only_what_has_changed_since(
    view: ServerView, baseline: str, cloud_time: float, *, begun: bool
) -> None:
    assert was_begun(view, baseline, cloud_time, refused=True) is begun


GARBLED, WHOLE = True, False

ROWS = {
    "a row without the time that was told before is not whole": (UNDATED, BEFORE, GARBLED),
    "a row with its time is whole": (UP, BEFORE, WHOLE),
    "where no time was told before none is missing": (UNDATED, "", WHOLE),
    # What is seen of a transition, or of an error, is seen with or without a time.
    "a server in reboot needs no time": (UNDATED_REBOOTING, BEFORE, WHOLE),
    "a server in another transition needs no time": (MIGRATING._replace(updated=""), BEFORE, WHOLE),
    "a broken server needs no time": (BROKEN._replace(updated=""), BEFORE, WHOLE),
    "a server that is gone has no time": (GONE, BEFORE, WHOLE),
}


@pytest.mark.parametrize(("view", "baseline", "garbled"), ROWS.values(), ids=ROWS)
def test_a_server_shown_up_without_the_time_that_was_told_before_is_not_shown_at_all(
    view: ServerView, baseline: str, *, garbled: bool
) -> None:
    assert is_garbled(view, baseline) is garbled


MOVED, NOT_MOVED = True, False

TIMES = {
    "a change of after the request is of it": (AFTER, BEFORE, SENT, MOVED),
    "the time of before is no change": (BEFORE, BEFORE, SENT, NOT_MOVED),
    "the time of before is no change even if it lies ahead": (AFTER, AFTER, SENT, NOT_MOVED),
    "no time is no change": ("", BEFORE, SENT, NOT_MOVED),
    "a change between look and request is somebody else's": ("2026-03-01T21:00:00Z", BEFORE, SENT, NOT_MOVED),
    "the cloud's clocks may differ by two seconds": ("2026-03-01T21:59:58Z", BEFORE, SENT, MOVED),
    "the cloud's clocks differ by no more": ("2026-03-01T21:59:57Z", BEFORE, SENT, NOT_MOVED),
    "a time is read with its zone": ("2026-03-02T06:00:04+08:00", BEFORE, SENT, MOVED),
    "a time that cannot be read is another than before": ("just now", BEFORE, SENT, MOVED),
    # Where the cloud did not tell its clock, any change counts.
    "without the cloud's clock any change is of the request": (LONG_AGO, BEFORE, 0.0, MOVED),
    "without the cloud's clock and a time of before nothing is": (AFTER, "", 0.0, NOT_MOVED),
    "with the cloud's clock no time of before is needed": (AFTER, "", SENT, MOVED),
    "an old time is no change though none is known of before": (LONG_AGO, "", SENT, NOT_MOVED),
}


@pytest.mark.parametrize(("updated", "baseline", "cloud_time", "has_moved"), TIMES.values(), ids=TIMES)
def test_the_last_change_of_a_server_is_of_the_request_or_of_before_it(
    updated: str, baseline: str, cloud_time: float, *, has_moved: bool
) -> None:
    assert moved(updated, baseline, cloud_time) is has_moved


RESTARTING, STANDS = True, False
RUNS = True

STATES = {
    "an active server that nothing is done to runs": (UP, STANDS, RUNS),
    "a soft restart": (UP._replace(status="REBOOT"), RESTARTING, not RUNS),
    "a hard restart": (UP._replace(status="HARD_REBOOT"), RESTARTING, not RUNS),
    "a restart that the task alone tells of": (UP._replace(task_state="rebooting"), RESTARTING, not RUNS),
    "a restart in line": (UP._replace(task_state="reboot_pending"), RESTARTING, not RUNS),
    "a hard restart that has begun": (UP._replace(task_state="reboot_started_hard"), RESTARTING, not RUNS),
    "another task is no restart, and keeps it from running": (MIGRATING, STANDS, not RUNS),
    "a server that is off": (OFF, STANDS, not RUNS),
    "a broken server": (BROKEN, STANDS, not RUNS),
    "a server whose state the cloud does not tell": (UP._replace(status=""), STANDS, not RUNS),
    "a server that is gone": (UP._replace(found=False), STANDS, not RUNS),
}


@pytest.mark.parametrize(("view", "restarting", "runs"), STATES.values(), ids=STATES)
def test_a_state_is_a_restart_or_up_or_neither(view: ServerView, *, restarting: bool, runs: bool) -> None:
    assert (is_restarting(view), is_up(view)) == (restarting, runs)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-01T22:00:00Z", SENT),
        ("2026-03-01T22:00:00.500000Z", SENT + 0.5),
        ("2026-03-02T06:00:00+08:00", SENT),
        ("", None),
        ("yesterday", None),
    ],
)
def test_the_clouds_times_are_read_or_are_none(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds
