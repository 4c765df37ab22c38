"""A failure stays one: who is to be tried again is what it was until a request of the run has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.plan import Plan, Skip, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState

IDS = ["a1", "b1", "a2", "b2"]
SENT = ev.BatchSubmitting(batch=1, servers=IDS, updated=[""] * 4)
FAILED = ev.ServerFailed(server="b1", domain="b", batch=1, code="Ecs.0227", host="h1", evidence="job")
AGAIN = ev.RunResumed(retry=["failed"], keeps_outcomes=True)
AS_BEFORE = ev.RunResumed(retry=["failed"])
RESENT = ev.BatchSubmitting(batch=2, servers=["b1"], updated=[""])
OFF = ev.ServerFailed(server="b1", domain="b", not_retried="not_active")
FORGIVEN, WITHOUT_B = ev.RunResumed(forgive=True), ev.RunResumed(skip_domains=["b"])


def after(*events: ev.Event) -> RolloutState:
    plan = Plan(fleet=Fleet(IDS, ["a", "b"] * 2), waves=(Wave(1, 0, 4, "100%"),), max_unavailable=4)
    state = RolloutState("k7f", plan)
    for seq, event in enumerate([ev.RunStarted(total=4), SENT, FAILED, *events], 1):
        state.apply(Recorded(seq, 1000.0 + seq, "k7f", event))
    return state


@pytest.mark.parametrize(
    ("events", "kind", "not_retried"),
    [
        ([AGAIN], "failed", "waiting"),
        ([AGAIN, OFF], "failed", "not_active"),
        ([AGAIN, WITHOUT_B], "failed", "left_out"),
        ([AGAIN, RESENT, WITHOUT_B, ev.BatchRejected(batch=2, kind="refused")], "failed", "left_out"),
        ([AGAIN, ev.RunAborting(), ev.RunFinished(status="aborted")], "failed", "aborted"),
        ([AGAIN, RESENT, ev.BatchRejected(batch=2, kind="throttled")], "failed", "waiting"),
        ([AGAIN, RESENT], "unknown", ""),
        ([AGAIN, RESENT, ev.ServerRestarted(server="b1", batch=2)], "restarted", ""),
        ([AGAIN, RESENT, ev.ServerTimedOut(server="b1", batch=2)], "timed_out", ""),
        ([AGAIN, OFF, AGAIN], "failed", "waiting"),
        ([AGAIN, OFF, AGAIN, RESENT, ev.ServerRestarted(server="b1", batch=2)], "restarted", ""),
        # Word of an earlier request that comes late.
        ([AGAIN, ev.ServerRestarted(server="b1", batch=1)], "restarted", ""),
        ([AGAIN, OFF, ev.ServerRestarted(server="b1", batch=1)], "restarted", ""),
        # A request that was refused had begun all the same, which was found as the server was left out.
        ([AGAIN, WITHOUT_B, ev.BatchStarted(batch=1, servers=["b1"])], "unknown", ""),
        (
            [AGAIN, WITHOUT_B, ev.BatchStarted(batch=1, servers=["b1"]), ev.ServerRestarted(server="b1", batch=1)],
            "restarted",
            "",
        ),
        # As older versions have it, whose journals do not say that outcomes are kept.
        ([AS_BEFORE], "not_started", ""),
        ([AS_BEFORE, ev.ServerSkipped(server="b1", reason="not_active")], "skipped", ""),
        ([AS_BEFORE, WITHOUT_B], "not_started", ""),
    ],
)
def test_who_had_failed_is_that_until_a_request_has_ended(
    events: Sequence[ev.Event], kind: str, not_retried: str
) -> None:
    state = after(*events)
    outcome = state.outcome(state.plan.fleet.find("b1"))

    assert (outcome.kind, outcome.not_retried) == (kind, not_retried)
    assert state.counts[OutcomeKind(kind)] >= 1
    assert sum(state.counts.values()) == 4
    if kind == "failed":
        assert (outcome.code, outcome.evidence) == ("Ecs.0227", "job")
    assert state.not_retried_by == ({not_retried: 1} if not_retried else {})


@pytest.mark.parametrize(
    ("events", "failures"),
    [
        ([AGAIN], 0),
        ([AGAIN, OFF], 1),
        ([AGAIN, WITHOUT_B], 1),
        ([AGAIN, FORGIVEN, OFF], 0),
        ([FORGIVEN, AGAIN, OFF], 0),
        ([FORGIVEN, AGAIN, RESENT, ev.ServerFailed(server="b1", batch=2)], 1),
        ([AGAIN, WITHOUT_B, ev.BatchStarted(batch=1, servers=["b1"])], 0),
    ],
)
def test_a_failure_that_stays_counts_as_it_did_before(events: Sequence[ev.Event], failures: int) -> None:
    state = after(*events)

    assert (state.run.failures, state.domains["b"].failures, state.waves[0].failures) == (failures,) * 3


@pytest.mark.parametrize("last", [OFF, WITHOUT_B, ev.RunFinished(status="aborted")])
def test_a_failure_that_stays_is_one_of_the_last_with_its_host(last: ev.Event) -> None:
    state = after(AGAIN, last)

    assert [(failure.server, failure.host, failure.code) for failure in state.failures] == [("b1", "h1", "Ecs.0227")]
    assert state.failed_by["code"] == {"Ecs.0227": 1}


@pytest.mark.parametrize(
    ("planned", "events", "host"),
    [
        (None, [], "h1"),
        (None, [AGAIN], "h1"),
        (None, [AGAIN, OFF], "h1"),
        (None, [AGAIN, RESENT, ev.ServerRestarted(server="b1", batch=2)], ""),
        ("h0", [], "h1"),
        ("h0", [AGAIN, RESENT, ev.ServerRestarted(server="b1", batch=2)], "h0"),
        ("h0", [AGAIN, RESENT, ev.ServerFailed(server="b1", batch=2, host="h2")], "h2"),
        ("h1", [AGAIN, RESENT, ev.ServerTimedOut(server="b1", batch=2)], "h1"),
    ],
)
def test_a_server_is_on_the_host_on_which_it_failed_else_where_the_plan_saw_it(
    planned: str | None, events: Sequence[ev.Event], host: str
) -> None:
    hosts = None if planned is None else ["", planned, "h9", ""]
    state = RolloutState("k7f", replace(after().plan, fleet=Fleet(IDS, ["a", "b"] * 2, hosts=hosts)))
    for seq, event in enumerate([ev.RunStarted(total=4), SENT, FAILED, *events], 1):
        state.apply(Recorded(seq, 1000.0 + seq, "k7f", event))

    assert state.outcome(1).host == host
    assert state.outcome(2).host == ("h9" if planned else "")


def test_who_was_never_sent_may_still_be_left_alone() -> None:
    """A look that was denied is a failure, and touches nobody."""
    state = RolloutState("k7f", after().plan)
    denied = ev.ServerFailed(server="b1", reason="denied")
    told = [ev.RunStarted(total=4), denied, AGAIN, ev.ServerSkipped(server="b1", reason="locked")]
    for seq, event in enumerate(told, 1):
        state.apply(Recorded(seq, 1000.0 + seq, "k7f", event))

    assert state.counts[OutcomeKind.SKIPPED] == 1


def ended(*events: ev.Event) -> dict[str, str]:
    """Four servers, of which a plan leaves ``b2`` alone, and what they come to."""
    plan = Plan(
        fleet=Fleet(IDS, ["a", "b"] * 2),
        waves=(Wave(1, 0, 3, "100%"),),
        skips=(Skip("locked", 3, 4),),
        max_unavailable=4,
    )
    state = RolloutState("k7f", plan)
    told = [ev.RunStarted(total=4), ev.ServerSkipped(server="b2", reason="locked"), *events]
    for seq, event in enumerate(told, 1):
        state.apply(Recorded(seq, 1000.0 + seq, "k7f", event))
    assert sum(state.skipped_by.values()) == state.run.ended[OutcomeKind.SKIPPED]
    return {outcome.server: f"{outcome.kind} {outcome.reason}".strip() for outcome in state.outcomes()}


def test_who_was_left_out_or_skipped_waits_again_but_for_whom_the_plan_leaves_alone() -> None:
    off = ev.ServerSkipped(server="a1", reason="not_active")
    over = [off, WITHOUT_B, ev.ServerRestarted(server="a2"), ev.RunFinished(status="failed")]
    left_out, skipped = ev.RunResumed(retry=["not_started"]), ev.RunResumed(retry=["skipped", "not_started"])
    plan_skips = {"b2": "skipped locked"}

    assert ended(*over) == {"a1": "skipped not_active", "b1": "not_started left_out", "a2": "restarted"} | plan_skips
    assert ended(*over, left_out) == {"a1": "skipped not_active", "b1": "not_started", "a2": "restarted"} | plan_skips
    assert ended(*over, skipped) == {"a1": "not_started", "b1": "not_started", "a2": "restarted"} | plan_skips
    # In a domain that is left out at the same time nobody waits again, and later ones do as before.
    again = ev.RunResumed(retry=["not_started"], skip_domains=["b"])
    assert ended(*over, again)["b1"] == "not_started left_out"
    assert ended(*over, left_out, *sent_and_refused("b1"))["b1"] == "not_started"


def sent_and_refused(server: str) -> list[ev.Event]:
    return [ev.BatchSubmitting(batch=7, servers=[server], updated=[""]), ev.BatchRejected(batch=7, kind="throttled")]
