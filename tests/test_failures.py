"""Failures that were forgiven, tried again, and failed anew: what still counts against the limits."""

from __future__ import annotations

import pytest

from ecsbatch import events as ev
from ecsbatch.models import Fleet, Wave
from ecsbatch.plan import Plan
from ecsbatch.state import RolloutState

IDS = [f"s{i}" for i in range(6)]


def after(*events: ev.Event) -> RolloutState:
    plan = Plan(fleet=Fleet(IDS, ["az1", "az2"] * 3), waves=(Wave(1, 0, 6, "100%"),), max_unavailable=6)
    state = RolloutState("k7f", plan)
    for seq, event in enumerate([ev.RunStarted(total=6), *events], 1):
        state.apply(ev.Recorded(seq, 1000.0 + seq, "k7f", event))
    return state


def failed(*numbers: int) -> list[ev.Event]:
    return [ev.ServerFailed(server=IDS[i], code="Ecs.0227") for i in numbers]


def unknown(*numbers: int) -> list[ev.Event]:
    return [ev.ServerUnknown(server=IDS[i]) for i in numbers]


FORGIVEN = ev.RunResumed(forgive=True)
AGAIN = ev.RunResumed(retry=["failed"])


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([*failed(0, 1)], 2),
        ([*failed(0, 1), FORGIVEN], 0),
        ([*failed(0, 1), FORGIVEN, *failed(2)], 1),
        ([*failed(0, 1), AGAIN], 0),
        ([*failed(0, 1), FORGIVEN, *unknown(2, 3), AGAIN], 2),
        ([*failed(0, 1), FORGIVEN, AGAIN, *failed(0)], 1),
        ([*failed(0, 1), FORGIVEN, AGAIN, *failed(0), AGAIN], 0),
        ([*failed(0), FORGIVEN, *failed(2), ev.RunResumed(forgive=True, retry=["failed"])], 0),
        ([*failed(0, 2), ev.RunResumed(retry=["failed"], skip_domains=["az1"])], 2),
        ([*failed(0, 1), ev.RunResumed(retry=["failed"], skip_domains=["az1"])], 1),
    ],
)
def test_each_failure_counts_once_until_it_is_forgiven_or_tried_again(events: list[ev.Event], count: int) -> None:
    state = after(*events)

    assert state.run.failures == state.waves[0].failures == count
    assert sum(tally.failures for tally in state.domains.values()) == count
