"""Direct restarts, by their events: whose claims end with one, who is still to be sent, and what thousands cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from ecsbatch.config.settings import Engine
from ecsbatch.engine.direct import DirectRestarts
from ecsbatch.engine.watching import WatcherList
from ecsbatch.errors import EngineStopped
from ecsbatch.model import events as ev
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Holder
from ecsbatch.simulator.virtual_time import run

IDS = ["a", "b", "c"]


class Asked:
    """Servers that callers have asked for.

    Attributes:
        woken: how often the engine was woken.
    """

    def __init__(self, servers: Sequence[str] = IDS) -> None:
        self.woken = 0
        nothing: Any = lambda *_: None  # noqa: E731
        site: Any = SimpleNamespace(add=nothing, drop=nothing)
        runtime: Any = SimpleNamespace(
            store=None,
            holder=Holder("tester", "here", 1, 0.0),
            engine=Engine(),
            pipelines={"": site},
            wake=self.wake,
            watchers=WatcherList(),
        )
        self.direct = DirectRestarts(runtime, "d", lambda: None)
        self.waiting = {server: self.direct.submit(server, "", "SOFT") for server in servers}
        self.queue = self.direct._queues["", "SOFT"]

    def wake(self, _site: str) -> None:
        """Count."""
        self.woken += 1

    @property
    def answered(self) -> int:
        """How many have heard."""
        return sum(waiter.done() for waiter in self.waiting.values())

    def fold(self, *events: ev.Event) -> None:
        """Follow what was stored."""
        self.direct._fold([Recorded(seq, 1000.0, "d", event) for seq, event in enumerate(events, 1)])


def sent(*servers: str) -> ev.Event:
    return ev.BatchSubmitting(batch=1, servers=servers, updated=[""] * len(servers), type="SOFT")


@pytest.mark.parametrize(
    ("before", "event", "freed"),
    [
        ([], ev.ServerSkipped(server="a", reason="locked"), []),  # nothing was claimed for it yet
        ([sent("a", "b")], ev.ServerRestarted(server="a", batch=1), ["a"]),
        ([sent("a", "b")], ev.ServerFailed(server="b", batch=1), ["b"]),
        ([sent("a", "b")], ev.ServerTimedOut(server="b", batch=1), ["b"]),
        ([sent("a", "b")], ev.ServerUnknown(server="b", batch=1), ["b"]),
        ([sent("a", "b")], ev.BatchUnstarted(batch=1, servers=["a"]), ["a"]),
        ([sent("a", "b")], ev.BatchRejected(batch=1, kind="throttled"), ["a", "b"]),
        ([sent("a", "b"), ev.ServerRestarted(server="a", batch=1)], ev.BatchRejected(batch=1, kind="refused"), ["b"]),
        # Of what may still be carried out nobody else may have the servers.
        ([sent("a", "b")], ev.BatchUnknown(batch=1), []),
        ([sent("a", "b")], ev.BatchAccepted(batch=1, job_id="j"), []),
        ([sent("a", "b")], ev.BatchStarted(batch=1, servers=["a"]), []),
    ],
)
def test_a_claim_ends_with_whatever_ends_the_intent(
    before: Sequence[ev.Event], event: ev.Event, freed: list[str]
) -> None:
    async def main() -> list[str]:
        asked = Asked()
        asked.fold(*before)
        return sorted(server for _, server in asked.direct._state.freed_by(event))

    assert run(main()) == freed


@pytest.mark.parametrize(
    ("events", "cancelled", "wanted"),
    [
        ([], [], IDS),
        ([], ["a"], ["b", "c"]),
        ([], IDS, []),
        ([ev.ServerSkipped(server="a", reason="locked")], [], ["b", "c"]),
        ([sent("a", "b"), ev.BatchRejected(batch=1, kind="throttled")], ["b"], ["a", "c"]),
    ],
)
def test_who_is_to_be_sent_has_somebody_who_waits(
    events: list[ev.Event], cancelled: list[str], wanted: list[str]
) -> None:
    async def main() -> list[str]:
        asked = Asked()
        asked.fold(*events)
        for server in cancelled:
            asked.waiting[server].cancel()
        return [server for server in IDS if asked.direct.wanted(asked.queue, server)]

    assert run(main()) == wanted


MANY = [f"s{number}" for number in range(1000)]


def test_a_thousand_requests_wake_the_engine_once() -> None:
    async def main() -> tuple[int, int]:
        asked = Asked(MANY)
        at_once = asked.woken
        await asyncio.sleep(0)
        return at_once, asked.woken

    assert run(main()) == (0, 1)


def test_a_thousand_outcomes_of_one_commit_are_told_a_hundred_in_a_round_of_the_loop() -> None:
    """Each wakes a task of the caller's: all at once they would hold the host's event loop."""

    async def main() -> list[int]:
        asked = Asked(MANY)
        await asyncio.sleep(0)
        asked.fold(*(ev.ServerRestarted(server=server) for server in MANY))
        told: list[int] = []
        for _ in range(12):
            told.append(asked.answered)
            await asyncio.sleep(0)
        return told

    assert run(main()) == [*range(0, 1001, 100), 1000]


def test_who_has_an_outcome_hears_it_although_the_engine_ends_first() -> None:
    async def main() -> tuple[int, int, list[BaseException | None]]:
        asked = Asked(MANY)
        asked.fold(*(ev.ServerRestarted(server=server) for server in MANY[:-1]))
        asked.direct.end(None)
        failures = [failure for waiter in asked.waiting.values() if (failure := waiter.exception())]
        return asked.answered, len(failures), [asked.waiting[MANY[-1]].exception()]

    answered, failed, [last] = run(main())
    assert (answered, failed) == (1000, 1)
    assert isinstance(last, EngineStopped)


def test_callers_who_ask_and_give_up_again_and_again_leave_nothing_behind() -> None:
    async def main() -> int:
        asked = Asked()
        for _ in range(10_000):
            asked.direct.submit("a", "", "SOFT").cancel()
        return len(asked.direct._state.pending["a"].waiters)

    assert run(main()) <= 8
