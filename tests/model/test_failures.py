"""Failures that were forgiven, tried again, and failed anew: what still counts against the limits."""

from __future__ import annotations

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState

IDS = [f"s{i}" for i in range(6)]


def after(*events: ev.Event) -> RolloutState:
    plan = Plan(fleet=Fleet(IDS, ["az1", "az2"] * 3), waves=(Wave(1, 0, 6, "100%"),), max_unavailable=6)
    state = RolloutState("k7f", plan)
    for seq, event in enumerate([ev.RunStarted(total=6), *events], 1):
        state.apply(Recorded(seq, 1000.0 + seq, "k7f", event))
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


def broken(*numbers: int, code: str = "Ecs.0227") -> list[ev.Event]:
    return [ev.ServerFailed(server=IDS[i], code=code, domain=f"az{i % 2 + 1}", host=f"h{i}") for i in numbers]


@pytest.mark.parametrize(
    ("events", "remembered", "domains", "codes"),
    [
        ([*broken(0, 1)], ["s0", "s1"], {"az1": 1, "az2": 1}, {"Ecs.0227": 2}),
        ([*broken(0, 1), FORGIVEN], ["s0", "s1"], {"az1": 1, "az2": 1}, {"Ecs.0227": 2}),
        ([*broken(0, 1), AGAIN], [], {}, {}),
        ([*broken(0, 1), AGAIN, ev.ServerRestarted(server="s0"), *broken(1)], ["s1"], {"az2": 1}, {"Ecs.0227": 1}),
        ([*broken(0, 1), *unknown(2), AGAIN], ["s2"], {}, {"unknown": 1}),
        ([*broken(0, 1), ev.RunResumed(retry=["failed"], skip_domains=["az1"])], ["s0"], {"az1": 1}, {"Ecs.0227": 1}),
        ([*broken(0, code="A"), AGAIN, *broken(0, code="B")], ["s0"], {"az1": 1}, {"B": 1}),
    ],
)
def test_a_server_that_is_tried_again_is_no_failure_any_more(
    events: list[ev.Event], remembered: list[str], domains: dict[str, int], codes: dict[str, int]
) -> None:
    state = after(*events)

    assert [failure.server for failure in state.failures] == remembered
    assert (state.failed_by["domain"], state.failed_by["code"]) == (domains, codes)
    assert state.failed_by["host"].total() == sum(domains.values())


def test_more_failures_than_are_remembered_are_all_forgotten_when_all_are_tried_again() -> None:
    ids = [f"s{i}" for i in range(1_500)]
    plan = Plan(fleet=Fleet(ids, ["az1"] * 1_500), waves=(Wave(1, 0, 1_500, "100%"),), max_unavailable=1_500)
    state = RolloutState("k7f", plan)
    told = [*(ev.ServerFailed(server=each, code="A", domain="az1") for each in ids), ev.RunResumed(retry=["failed"])]
    for seq, event in enumerate(told, 1):
        state.apply(Recorded(seq, 1000.0 + seq, "k7f", event))

    assert not state.failures
    assert not any(state.failed_by.values())
