"""What a look before a request means for each server, as a table: sent, left alone, or under way as ours already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ecsbatch.engine.server_queue import Batch, RestartOptions, ServerQueue
from ecsbatch.engine.triage import CLOCKS_APART, UNSEEN_AFTER, triage
from ecsbatch.errors import Refused
from ecsbatch.model.servers import Look, ServerView
from ecsbatch.model.tally import Attempt
from ecsbatch.model.tokens import Grant
from ecsbatch.model.view_table import ViewTable

BEFORE, AFTER, LATER = "2026-03-01T20:00:00Z", "2026-03-01T22:00:04Z", "2026-03-01T22:00:09Z"
SENT = 1_772_402_400.0
UP = ServerView("a", status="ACTIVE", updated=BEFORE)
REBOOTING = UP._replace(status="REBOOT", task_state="rebooting", updated=AFTER)
OURS = Attempt(batch=3, updated=BEFORE, cloud_time=SENT)
REFUSED = replace(OURS, refused=True)


class Owner:
    """Has sent the server before, or not."""

    def __init__(self, attempt: Attempt | None, sent: float | None) -> None:
        self.attempt = attempt
        self.sent = sent

    def earlier(self, _server: str) -> Attempt | None:
        """Return the request that was taken for not carried out."""
        return self.attempt

    def kept(self, _server: str) -> None:
        """Return None: it has not failed before."""

    def maybe_sent_since(self, _server: str) -> float | None:
        """Return from when on it may have been sent without a word in the record."""
        return self.sent

    def locate(self, _server: str) -> tuple[int, str]:
        """Return no wave and no domain."""
        return 0, ""


def looked_at(
    look: Look,
    attempt: Attempt | None = None,
    before: ServerView | None = None,
    sent: float | None = None,
    *,
    precheck: bool = True,
) -> tuple[Sequence[str], ...]:
    """Say what is made of a look; with ``before``, behind the refusal of what was sent then.

    ``sent``: a failover has made the record forget what was sent since.
    """
    queue = queue_of(attempt, sent, precheck=precheck)
    return said(queue, look, None if before is None else batch_of(queue, before))


def queue_of(attempt: Attempt | None, sent: float | None = None, *, precheck: bool = True) -> ServerQueue:
    """Return a queue of servers which may have been sent before."""
    nobody: Any = None
    owner: Any = Owner(attempt, sent)
    return ServerQueue(site="", options=RestartOptions(precheck=precheck), journal=nobody, owner=owner)


def batch_of(queue: ServerQueue, before: ServerView) -> Batch:
    """Return the batch of `OURS`, with what a look has shown before it was sent."""
    return Batch(OURS.batch, queue, ViewTable({"a": before}), Grant("g", 1, 0.0), SENT, 0.0, set())


def said(queue: ServerQueue, look: Look, refused: Batch | None = None) -> tuple[Sequence[str], ...]:
    """Say what is made of a look."""
    found = triage(queue, ["a"], look, 0.0, refused)
    begun = [
        f"{server} by {number} {job_id}".rstrip()
        for (number, job_id), batch in found.begun.items()
        for server in batch.views
        if batch.job_id == job_id
    ]
    return list(found.go), found.later, begun, [f"{event.server} {event.reason}" for event in found.ended]


@pytest.mark.parametrize(
    ("view", "attempt", "go", "begun", "ended"),
    [
        (UP, None, ["a"], [], []),
        (REBOOTING, None, [], [], ["a already_restarting"]),
        (UP._replace(status="SHUTOFF"), None, [], [], ["a not_active"]),
        (UP._replace(found=False), None, [], [], ["a not_found"]),
        # What an earlier request of ours has begun after all is ours, whatever was thought of it.
        (UP, OURS, ["a"], [], []),
        (REBOOTING, OURS, [], ["a by 3"], []),
        (UP._replace(updated=AFTER), OURS, [], ["a by 3"], []),
        (REBOOTING, replace(OURS, job_id="j"), [], ["a by 3 j"], []),
        (UP._replace(found=False), OURS, [], [], ["a not_found"]),
    ],
)
def test_a_look_tells_whose_turn_it_is(
    view: ServerView, attempt: Attempt | None, go: list[str], begun: list[str], ended: list[str]
) -> None:
    assert looked_at(Look({"a": view}), attempt) == (go, [], begun, ended)


@pytest.mark.parametrize(
    ("view", "before", "begun", "ended"),
    [
        (REBOOTING, UP, ["a by 3"], []),
        # It was being restarted already when it was sent without a precheck: that is why it was refused.
        (REBOOTING, REBOOTING, [], ["a already_restarting"]),
        (REBOOTING._replace(updated=LATER), REBOOTING, ["a by 3"], []),
        (UP._replace(updated=LATER), REBOOTING, ["a by 3"], []),
    ],
)
def test_behind_a_refusal_a_restart_is_ours_but_for_the_one_that_was_under_way_before(
    view: ServerView, before: ServerView, begun: list[str], ended: list[str]
) -> None:
    attempt = replace(REFUSED, updated=before.updated)

    assert looked_at(Look({"a": view}), attempt, before) == ([], [], begun, ended)
    # Where the look behind the refusal has shown nothing, or another process makes it: by the record alone.
    assert looked_at(Look({"a": view}), attempt, precheck=False) == ([], [], begun, ended)


def test_the_baseline_of_a_refused_request_is_that_of_the_next_where_no_look_shows_the_server() -> None:
    queue, look = queue_of(REFUSED), Look({}, unseen={"a": UNSEEN_AFTER})

    for refused in (batch_of(queue, UP), None):
        assert triage(queue, ["a"], look, 0.0, refused).go["a"] == ServerView("a", updated=BEFORE)
    assert triage(queue_of(OURS), ["a"], look, 0.0).go["a"] == ServerView("a")


@pytest.mark.parametrize(
    ("look", "go", "later", "ended"),
    [
        (Look({}), ["a"], [], []),  # left out: the request itself tells
        (Look({}, unseen={"a": 1}), [], ["a"], []),
        (Look({}, unseen={"a": UNSEEN_AFTER}), ["a"], [], []),
        (Look({}, refused={"a": Refused("No.", status=400, answered=True)}), [], [], ["a refused"]),
    ],
)
def test_who_is_not_shown_goes_without_waits_or_fails_alone(
    look: Look, go: list[str], later: list[str], ended: list[str]
) -> None:
    assert looked_at(look) == (go, later, [], ended)


AT = SENT - 7200.0
"""When UP was changed last, seconds since 1970."""


@pytest.mark.parametrize(
    ("view", "attempt", "sent", "go", "ended"),
    [
        (UP, None, AT - 1.0, [], ["a restarted_recently"]),
        (UP, None, AT + CLOCKS_APART + 1.0, ["a"], []),
        (UP, None, AT + CLOCKS_APART - 1.0, [], ["a restarted_recently"]),
        # Tried again: how it was before is not known, but for the time.
        (UP, Attempt(3, "", 0.0), AT - 1.0, [], ["a restarted_recently"]),
        (UP, Attempt(3, "", 0.0), AT + CLOCKS_APART + 1.0, ["a"], []),
        # It is as it was before a request of ours.
        (UP, OURS, AT - 1.0, ["a"], []),
    ],
)
def test_behind_a_failover_a_server_that_has_changed_may_have_been_sent(
    view: ServerView, attempt: Attempt | None, sent: float, go: list[str], ended: list[str]
) -> None:
    assert looked_at(Look({"a": view}), attempt, sent=sent) == (go, [], [], ended)
