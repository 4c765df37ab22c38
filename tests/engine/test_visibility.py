"""Observed time stands still while nothing can be seen, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ecsbatch.engine.visibility import QUIET, Visibility
from ecsbatch.simulator.virtual_time import run

HOUR = 3600.0


def about(*seconds: float) -> object:
    """The virtual loop's timers are some microseconds long."""
    return pytest.approx(seconds, abs=0.01)


def watched(main: Callable[[Visibility, list[str]], Awaitable[None]]) -> list[str]:
    """Run with a `Visibility` in virtual time; return what it says of blindness."""
    told: list[str] = []

    async def life() -> None:
        await main(Visibility(300.0, told.append), told)

    run(life())
    return told


def test_deadlines_stand_still_from_the_first_failed_look_to_the_next_that_shows_something() -> None:
    async def main(visibility: Visibility, _: list[str]) -> None:
        await asyncio.sleep(10)
        visibility.failed("a 503")
        await asyncio.sleep(30)
        assert (visibility.observed_time(), visibility.blind_for()) == about(10.0, 30.0)
        assert visibility.why == "a 503"
        visibility.seen()
        await asyncio.sleep(5)
        assert (visibility.observed_time(), visibility.blind_for()) == about(15.0, 0.0)

    assert not watched(main)


def test_blind_for_long_with_tries_all_the_while_is_told() -> None:
    async def main(visibility: Visibility, told: list[str]) -> None:
        while not told:
            visibility.failed("connection refused")
            await asyncio.sleep(45)
        assert visibility.observed_time() < 0.01

    assert watched(main) == ["Nothing could be seen of the cloud for 315 s; the last try: connection refused"]


def test_a_failure_before_quiet_hours_says_nothing_of_the_one_behind_them() -> None:
    async def main(visibility: Visibility, _: list[str]) -> None:
        visibility.failed("a 503")
        await asyncio.sleep(4 * HOUR)
        # Of those hours only the minute counts as blind in which a try was to be expected.
        assert (visibility.observed_time(), visibility.blind_for()) == about(4 * HOUR - QUIET, 0.0)
        visibility.failed("another")
        await asyncio.sleep(30)
        assert (visibility.observed_time(), visibility.blind_for()) == about(4 * HOUR - QUIET, 30.0)
        visibility.seen()
        assert (visibility.observed_time(), visibility.blind_for()) == about(4 * HOUR - QUIET, 0.0)

    assert not watched(main)


def test_a_try_that_takes_minutes_is_no_quiet() -> None:
    async def main(visibility: Visibility, _: list[str]) -> None:
        visibility.failed("no answer within 250 s")
        with visibility.trying():
            await asyncio.sleep(250)
            assert (visibility.observed_time(), visibility.blind_for()) == about(0.0, 250.0)
        visibility.failed("no answer within 250 s")
        await asyncio.sleep(10)
        assert (visibility.observed_time(), visibility.blind_for()) == about(0.0, 260.0)

    assert not watched(main)


def test_observed_time_never_goes_back() -> None:
    async def main(visibility: Visibility, _: list[str]) -> None:
        before = 0.0
        for step in range(400):
            if step % 7 == 0:
                visibility.failed("x")
            if step % 50 == 0:
                visibility.seen()
            await asyncio.sleep((step * 13) % 97)
            assert visibility.observed_time() >= before
            before = visibility.observed_time()

    watched(main)
