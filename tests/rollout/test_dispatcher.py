"""What a rollout's dispatcher hands to the engine and asks of it: held slots, requests in the air, who is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.decide import limits_of
from ecsbatch.rollout.dispatcher import Dispatcher
from ecsbatch.simulator.virtual_time import run

IDS = ["a1", "b1", "a2", "b2"]


class Dispatched:
    """A rollout's dispatcher with an engine that does nothing.

    Attributes:
        watched: servers that the engine was asked to watch.
    """

    def __init__(self) -> None:
        self.plan = Plan(fleet=Fleet(IDS, ["a", "b"] * 2), waves=(Wave(1, 0, 4, "100%"),), max_unavailable=4)
        self.state = RolloutState("r", self.plan)
        self.watched: list[str] = []
        poller = SimpleNamespace(watch_held=lambda _, server: self.watched.append(server))
        observer = SimpleNamespace(meet=lambda _: None)
        pipeline: Any = SimpleNamespace(
            add=lambda queue: setattr(self, "queue", queue), wake=lambda: None, poller=poller, observer=observer
        )
        self.queue: Any = None
        self.dispatcher = Dispatcher(self.plan, self.state, {"": pipeline}, lambda: None)

    def open(self) -> None:
        """Open its queue."""
        self.dispatcher.open(SimpleNamespace(), None, 0.5)  # type: ignore[arg-type]  # nothing is written

    def fold(self, *events: ev.Event, at: float = 1000.0) -> None:
        """Follow events as a rollout does."""
        for event in events:
            back = self.dispatcher.on_event(event)
            self.state.apply(Recorded(self.state.seq + 1, at, "r", event))
            self.dispatcher.after(event, back)

    def dispatch(self) -> None:
        """Put all that waits into the queue."""
        self.dispatcher.dispatch(self.plan.waves[0], len(IDS), limits_of(self.plan, {}))


def sent(servers: Sequence[str]) -> ev.Event:
    return ev.BatchSubmitting(batch=1, servers=servers, updated=[""] * len(servers))


LEFT_OUT = ev.RunResumed(skip_domains=["b"])
HELD: list[tuple[list[ev.Event], list[str]]] = [
    ([ev.ServerFailed(server="a1", reason="unhealthy", holds=True)], ["a1"]),
    ([ev.ServerTimedOut(server="b1", holds=True)], ["b1"]),
    ([ev.ServerUnknown(server="a1", holds=True)], ["a1"]),
    ([ev.ServerSkipped(server="a1", reason="already_restarting", holds=True)], ["a1"]),
    ([ev.ServerSkipped(server="a1", reason="not_active")], []),
    ([ev.ServerRestarted(server="a1")], []),
]


@pytest.mark.parametrize(("events", "watched"), HELD)
def test_who_keeps_its_slot_is_watched_by_whoever_ends_it_and_by_the_next_holder(
    events: list[ev.Event], watched: list[str]
) -> None:
    async def main() -> tuple[list[str], list[str]]:
        here, later = Dispatched(), Dispatched()
        here.open()
        here.fold(sent(IDS), *events)
        later.fold(sent(IDS), *events, ev.BatchRejected(batch=1, kind="not_sent"))
        later.open()
        later.dispatcher.adopt_in_flight()
        return here.watched, later.watched

    assert run(main()) == (watched, watched)


def test_who_was_down_before_it_was_tried_again_and_was_not_sent_is_watched_anew() -> None:
    async def main() -> list[str]:
        rollout = Dispatched()
        rollout.open()
        rollout.fold(sent(["a1"]), ev.ServerFailed(server="a1", batch=1, holds=True), ev.RunResumed(retry=["failed"]))
        rollout.watched.clear()
        rollout.fold(
            ev.BatchSubmitting(batch=2, servers=["a1"], updated=[""]), ev.BatchRejected(batch=2, kind="not_sent")
        )
        return rollout.watched

    assert run(main()) == ["a1"]


@pytest.mark.parametrize(("in_air", "given", "counted"), [(0, [], 0), (1, [], 1), (1, ["a1"], 1), (3, ["a1", "b1"], 3)])
def test_an_intent_is_in_the_air_while_the_store_has_it(in_air: int, given: list[str], counted: int) -> None:
    async def main() -> int:
        rollout = Dispatched()
        rollout.open()
        rollout.queue.in_air, rollout.queue.given = in_air, set(given)
        return rollout.dispatcher.in_air

    assert run(main()) == counted


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ([], IDS),
        ([sent(["a1"])], ["b1", "a2", "b2"]),
        ([ev.ServerSkipped(server="b1", reason="locked")], ["a1", "a2", "b2"]),
        ([LEFT_OUT], ["a1", "a2"]),
        ([sent(["a1", "b1"]), LEFT_OUT, ev.BatchRejected(batch=1, kind="throttled")], ["a1", "a2"]),
    ],
)
def test_the_engine_may_send_who_was_queued_and_not_left_out_since(events: list[ev.Event], wanted: list[str]) -> None:
    async def main() -> list[str]:
        rollout = Dispatched()
        rollout.open()
        rollout.dispatch()
        rollout.fold(*events)
        return [server for server in IDS if rollout.dispatcher.wanted(rollout.queue, server)]

    assert run(main()) == wanted


def test_behind_a_failover_who_waits_may_have_been_sent_since_the_run_began() -> None:
    dispatched = Dispatched()
    dispatched.fold(ev.RunStarted(total=4), sent(["a1"]), ev.ServerFailed(server="a1", batch=1))
    assert dispatched.dispatcher.maybe_sent_since("b1") is None

    dispatched.fold(ev.StoreFailedOver(timeline="2"), at=1200.0)

    assert dispatched.dispatcher.maybe_sent_since("b1") == 1000.0


def test_behind_a_failover_who_is_tried_again_may_have_been_sent_since_that_was_asked() -> None:
    """What it had done until then is known; what is asked behind the failover is not forgotten."""
    dispatched = Dispatched()
    dispatched.fold(ev.RunStarted(total=4), sent(["a1", "b1"]))
    dispatched.fold(*(ev.ServerFailed(server=server, batch=1) for server in ("a1", "b1")))
    dispatched.fold(ev.RunResumed(retry=["failed"]), at=1100.0)
    dispatched.fold(ev.StoreFailedOver(timeline="2"), at=1200.0)
    assert dispatched.dispatcher.maybe_sent_since("a1") == 1100.0

    dispatched.fold(ev.ServerFailed(server="a1", batch=2), at=1300.0)
    dispatched.fold(ev.RunResumed(retry=["failed"]), at=1400.0)

    assert dispatched.dispatcher.maybe_sent_since("a1") is None
    assert dispatched.dispatcher.maybe_sent_since("b1") == 1100.0
