"""What a run's history comes to: marks that outlive a holder, and slots that a left-out domain does not get back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Stage

IDS = ["a1", "b1", "a2", "b2"]


def after(*events: ev.Event) -> RolloutState:
    plan = Plan(fleet=Fleet(IDS, ["a", "b"] * 2), waves=(Wave(1, 0, 4, "100%"),), max_unavailable=4)
    state = RolloutState("k7f", plan)
    for seq, event in enumerate([ev.RunStarted(total=4), *events], 1):
        state.apply(Recorded(seq, 1000.0 + seq, "k7f", event))
    return state


def sent(batch: int, servers: Sequence[str]) -> list[ev.Event]:
    return [ev.BatchSubmitting(batch=batch, servers=servers, updated=[""] * len(servers))]


def lost(batch: int, servers: Sequence[str]) -> list[ev.Event]:
    """Lose a request on its way to the cloud."""
    return [*sent(batch, servers), ev.BatchUnknown(batch=batch), ev.BatchUnstarted(batch=batch, servers=servers)]


TAKEN = [ev.HolderChanged(holder="bob", fence=2), ev.RunResumed(by="bob")]
ABORTED = ev.RunAborting(by="alice")
LEFT_OUT = ev.RunResumed(skip_domains=["b"])


@pytest.mark.parametrize(
    ("events", "times"),
    [
        (lost(1, ["a1"]), 1),
        ([*lost(1, ["a1"]), *lost(2, ["a1"])], 2),
        ([*lost(1, ["a1"]), *lost(2, ["a1"]), *TAKEN], 2),
        ([*lost(1, ["a1"]), *TAKEN, *lost(2, ["a1"]), *TAKEN], 2),
        # With its outcome the count ends: whoever is tried again may be sent as often as anybody.
        ([*lost(1, ["a1"]), ev.ServerFailed(server="a1"), ev.RunResumed(retry=["failed"])], 0),
    ],
)
def test_how_often_a_request_was_lost_is_no_less_for_a_later_holder(events: list[ev.Event], times: int) -> None:
    assert after(*events).unstarted.get("a1", 0) == times


def test_with_its_outcome_a_server_is_no_more_one_that_is_to_be_tried_again() -> None:
    retried = [*sent(1, ["a1"]), ev.ServerFailed(server="a1", batch=1), ev.RunResumed(retry=["failed"])]
    waits, over = after(*retried), after(*retried, ev.ServerSkipped(server="a1", reason="locked"))

    assert (list(waits.earlier), list(waits.retried_at)) == (["a1"], [0])
    assert (over.earlier, over.retried_at) == ({}, {})


@pytest.mark.parametrize(
    "events",
    [
        [ABORTED],
        [ABORTED, ev.RunStopped(status="interrupted", reason="interrupted")],
        [ABORTED, *TAKEN],
        [ABORTED, ev.RunStopped(status="interrupted", reason="interrupted"), *TAKEN, ev.RunPaused(reason="paused")],
    ],
)
def test_an_abort_outlives_its_holder(events: list[ev.Event]) -> None:
    state = after(*sent(1, IDS), *events)

    assert (state.aborting, state.aborted_by) == (True, "alice")


def test_an_aborting_run_runs_until_nothing_is_under_way() -> None:
    assert after(*sent(1, IDS), ev.RunPaused(reason="paused"), ABORTED).status is RunStatus.RUNNING


@pytest.mark.parametrize(
    ("events", "stages"),
    [
        ([LEFT_OUT], {"a1": Stage.WAITING, "b1": Stage.LEFT_OUT}),
        ([*sent(1, ["a1", "b1"]), LEFT_OUT], {"a1": Stage.SUBMITTING, "b1": Stage.SUBMITTING, "b2": Stage.LEFT_OUT}),
        (
            [*sent(1, ["a1", "b1"]), LEFT_OUT, ev.BatchRejected(batch=1, kind="not_accepted")],
            {"a1": Stage.WAITING, "b1": Stage.LEFT_OUT},
        ),
        (
            [*sent(1, ["a1", "b1"]), LEFT_OUT, *lost(1, ["a1", "b1"])[1:]],
            {"a1": Stage.WAITING, "b1": Stage.LEFT_OUT},
        ),
        (
            [ev.ServerFailed(server="b1"), ev.RunResumed(retry=["failed"], skip_domains=["b"])],
            {"a1": Stage.WAITING, "b1": Stage.FAILED, "b2": Stage.LEFT_OUT},
        ),
        ([LEFT_OUT, ev.HolderChanged(holder="bob", fence=2), ev.RunResumed()], {"b1": Stage.LEFT_OUT}),
    ],
)
def test_who_waits_in_a_left_out_domain_is_left_out_whatever_brings_it_there(
    events: list[ev.Event], stages: dict[str, Stage]
) -> None:
    state = after(*events)

    assert {server: state.stage[state.plan.fleet.find(server)] for server in stages} == stages


FROZEN = ev.RunFrozen(by="ann", reason="why", since=1000.0, until=2000.0)
ELSE = ev.RunFrozen(by="bob", reason="else", since=1001.0)


@pytest.mark.parametrize(
    ("events", "frozen"),
    [
        ([FROZEN], Freeze("ann", "why", 1000.0, 2000.0)),
        ([FROZEN, ELSE], Freeze("bob", "else", 1001.0)),
        ([FROZEN, *TAKEN, ev.RunPaused(reason="paused")], Freeze("ann", "why", 1000.0, 2000.0)),
        ([FROZEN, ev.RunThawed(by="bob")], None),
        ([FROZEN, ELSE, ev.RunThawed()], None),
    ],
)
def test_a_store_is_frozen_until_its_record_says_otherwise_whoever_holds_the_run(
    events: list[ev.Event], frozen: Freeze | None
) -> None:
    assert after(*events).frozen == frozen
