"""The barrier before a wave, step by step: the soak, and a gate that says nothing that can be used."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.decide import Ending
from ecsbatch.rollout.barrier import WaveBarrier
from ecsbatch.simulator.virtual_time import run

WAVES = (Wave(1, 0, 1, "1"), Wave(2, 1, 2, "100%"))


class HeldRun:
    """The journal of a run that nobody else can have."""

    trusted = True


class Standing:
    """A rollout whose first wave is over.

    Attributes:
        noted: the events that it was given.
        stopped: why a gate has ended it.
    """

    def __init__(self, **plan: Any) -> None:
        self.plan = Plan(fleet=Fleet(["a", "b"]), waves=WAVES, max_unavailable=1, **plan)
        self.state = RolloutState("r", self.plan)
        self.noted: list[ev.Event] = []
        self.stopped = ""
        self.journal = HeldRun()
        self._news = asyncio.Event()

    async def note(self, event: ev.Event, status: RunStatus | None = None) -> None:  # noqa: ARG002
        """Take an event."""
        self.noted.append(event)

    async def change(self, until: float | None = None) -> None:
        """Wait."""
        try:
            async with asyncio.timeout_at(until):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    def notice(self) -> None:
        """Say that something has changed."""
        self._news.set()

    def end_by(self, ending: Ending) -> None:
        """End."""
        self.stopped = ending.reason


async def seconds_until_passed(barrier: WaveBarrier, standing: Standing, wave: Wave) -> float | None:
    """Return the seconds until a wave may start; None where the gate ends the run before."""
    since = asyncio.get_running_loop().time()
    while not await barrier.passed(wave):
        if standing.stopped:
            return None
    return asyncio.get_running_loop().time() - since


@pytest.mark.parametrize(
    ("wave", "soak", "seconds"),
    [(WAVES[0], 90.0, 0.0), (WAVES[1], 0.0, 0.0), (WAVES[1], 3.0, 3.0), (WAVES[1], 90.0, 90.0)],
)
def test_a_wave_but_the_first_waits_for_the_soak(wave: Wave, soak: float, seconds: float) -> None:
    async def main() -> float | None:
        standing = Standing(soak=soak)
        return await seconds_until_passed(WaveBarrier(standing, None, lambda: False), standing, wave)

    assert run(main()) == pytest.approx(seconds, abs=0.01)


def says(answer: Any) -> Any:
    async def gate(_: RolloutState) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return gate


@pytest.mark.parametrize(
    ("answer", "verdict", "goes"),
    [
        ("go", "go", True),
        ("wait", "wait", False),
        ("stop", "stop", False),
        (True, "inconclusive", False),
        (None, "inconclusive", False),
        (RuntimeError("no answer"), "inconclusive", False),
        (asyncio.CancelledError(), "inconclusive", False),
    ],
)
def test_a_gate_opens_by_its_go_alone(answer: Any, verdict: str, goes: bool) -> None:  # noqa: FBT001 - the table's
    async def main() -> tuple[bool, list[str]]:
        standing = Standing(gate="./fine", gate_timeout=40.0)
        waited = await seconds_until_passed(WaveBarrier(standing, says(answer), lambda: False), standing, WAVES[1])
        return waited is not None, [event.verdict for event in standing.noted if isinstance(event, ev.GateChecked)]

    opened, verdicts = run(main())

    assert opened is goes
    assert set(verdicts) == {verdict}


def test_a_gate_is_on_record_before_its_first_answer() -> None:
    """Who looks while it is asked for the first time reads since when, and how long that may last."""

    async def main() -> list[ev.Event]:
        standing = Standing(gate="./fine", gate_timeout=40.0)
        await seconds_until_passed(WaveBarrier(standing, says("wait"), lambda: False), standing, WAVES[1])
        return standing.noted

    first, *others = run(main())

    assert first == ev.GateWaiting(gate="./fine", wave=2, timeout=40.0)
    assert {type(event) for event in others} == {ev.GateChecked}


def test_a_gate_whose_time_begins_anew_says_so() -> None:
    async def main() -> list[ev.Event]:
        standing = Standing(gate="./fine", gate_timeout=40.0)
        barrier = WaveBarrier(standing, says("wait"), lambda: False)
        await barrier.passed(WAVES[1])
        barrier.paused()
        await barrier.passed(WAVES[1])
        return standing.noted

    assert [type(event) for event in run(main())] == [ev.GateWaiting, ev.GateChecked] * 2


def test_a_gate_is_not_asked_and_its_time_is_not_counted_while_the_store_is_frozen() -> None:
    async def main() -> tuple[list[type[ev.Event]], float | None]:
        standing = Standing(gate="./fine", gate_timeout=40.0)
        barrier = WaveBarrier(standing, says("wait"), lambda: False)
        await barrier.passed(WAVES[1])
        standing.state.frozen = Freeze("ann", "incident", 0.0, None)
        asyncio.get_running_loop().call_later(3600, thaw, standing)
        await barrier.passed(WAVES[1])
        noted = [type(event) for event in standing.noted]
        since = asyncio.get_running_loop().time()
        await seconds_until_passed(barrier, standing, WAVES[1])
        return noted, asyncio.get_running_loop().time() - since

    def thaw(standing: Standing) -> None:
        standing.state.frozen = None
        standing.notice()

    assert run(main()) == ([ev.GateWaiting, ev.GateChecked], pytest.approx(40.0))
