"""The seams of the new worlds do what they say, and each dimension is met in the worlds that have it."""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from functools import partial
from random import Random

import pytest

from ecsbatch.simulator.virtual_time import run
from ecsbatch.store.worker import InlineWorker

from . import world
from .dimensions import DIMENSIONS, draw
from .freezing import PROCESS, FreezingLoop
from .judge import figures
from .late_store import LateWorker
from .play import play

MET_BY = {
    "late_store": "late words",
    "failing_store": "commands that could not be read",
    "frozen": "freezes",
    "slow_looks": "slow answers to looks",
    "hidden": "looks at what cannot be seen",
    "holes": "rows left out",
    "no_updated": "rows without updated",
    "others_restarts": "restarts by others",
    "healing": "repairs by others",
    "left_out": "command pause",
    "quick_words": "command pause",
    "abort_and_die": "crashes (instant)",
    "wall_clock": "wall clock jumps",
    "foreign_code": "checks that raised",
    "overlap": "callers",
    "gives_up": "callers who gave up",
    "days": "freezes",
    "two_sites": "callers",
    "long_blackhole": "fault blackhole",
    "lost_requests": "fault silent",
    "as_service": "orphans taken",
    "named": "servers given by name",
}
"""What one of a few worlds of each dimension has in its figures; soak and tokens leave no trace of their own."""


@pytest.mark.parametrize("name", MET_BY)
def test_a_dimension_is_met_in_its_worlds(name: str) -> None:
    for seed in range(8):
        if figures(play(draw(seed, name))).get(MET_BY[name]):
            return
    pytest.fail(f"no {MET_BY[name]} in 8 worlds of {name}")


def test_every_dimension_is_looked_for() -> None:
    assert DIMENSIONS.keys() - MET_BY.keys() == {"soak", "slow_tokens"}


def test_the_old_worlds_stay_as_they_were() -> None:
    assert [draw(seed, "old") for seed in range(20)] == [world.draw(seed) for seed in range(20)]


def test_a_dimension_is_drawn_by_a_chance_of_its_own() -> None:
    alone = [draw(seed, "wall_clock").lives for seed in range(60)]
    together = [drawn.lives for seed in range(60) if (drawn := draw(seed)).has == ("wall_clock",)]

    assert together
    assert all(lives in alone for lives in together)


# -- standing still ----------------------------------------------------------------------------------------------------


async def _ticks(number: int, at: list[tuple[int, float]]) -> None:
    """Be a process: wake up every second."""
    PROCESS.set(number)
    for _ in range(10):
        await asyncio.sleep(1.0)
        at.append((number, round(asyncio.get_running_loop().time(), 3)))


def test_a_frozen_process_stands_still_while_the_other_goes_on() -> None:
    loop, at, thawed = FreezingLoop(), list[tuple[int, float]](), list[float]()

    async def both() -> None:
        loop.call_later(3.5, loop.at_step, 0, partial(loop.freeze, 0, 20.0, lambda: thawed.append(loop.time())))
        await asyncio.gather(_ticks(0, at), _ticks(1, at))

    run(both(), loop=loop)

    assert [when for number, when in at if number == 1] == pytest.approx(list(range(1, 11)), abs=0.01)
    late = [1, 2, 3, 23.5, 24.5, 25.5, 26.5, 27.5, 28.5, 29.5]
    assert [when for number, when in at if number == 0] == pytest.approx(late, abs=0.01)
    assert thawed == pytest.approx([23.5], abs=0.01)


def test_what_fell_due_meanwhile_happens_in_its_order() -> None:
    loop, done = FreezingLoop(), list[str]()

    async def main() -> None:
        context = contextvars.copy_context()
        context.run(PROCESS.set, 0)
        for seconds in (5.0, 2.0, 9.0):
            loop.call_later(seconds, done.append, f"due at {seconds:g}", context=context)
        loop.at_step(0, partial(loop.freeze, 0, 60.0, lambda: done.append("goes on")))
        await asyncio.sleep(1.0)
        loop.call_soon(done.append, "ready", context=context)
        await asyncio.sleep(58.0)
        assert done == []
        await asyncio.sleep(2.0)

    run(main(), loop=loop)

    assert done == ["goes on", "ready", "due at 2", "due at 5", "due at 9"]


def test_a_process_that_dies_in_its_freeze_is_let_go() -> None:
    loop, ended = FreezingLoop(), list[float]()

    async def sleeper() -> None:
        PROCESS.set(0)
        try:
            await asyncio.sleep(1000.0)
        finally:
            ended.append(loop.time())

    async def main() -> None:
        task = asyncio.create_task(sleeper())
        loop.at_step(0, partial(loop.freeze, 0, 500.0, lambda: None))
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.sleep(1.0)
        assert ended == []
        loop.thaw(0)
        await asyncio.wait([task])

    run(main(), loop=loop)

    assert ended == pytest.approx([2.0], abs=0.01)


# -- telling late ------------------------------------------------------------------------------------------------------


def _note(heard: list[int], number: int, _: object) -> None:
    heard.append(number)


def test_a_late_worker_tells_in_the_order_of_the_work() -> None:
    heard, done = list[int](), list[int]()

    async def main() -> None:
        told: Counter[str] = Counter()
        worker = LateWorker(InlineWorker(lambda _: [], "memory:"), 0.5, Random(1), lambda: told.update(["late"]))
        futures = [worker.call(partial(done.append, number)) for number in range(20)]
        for number, future in enumerate(futures):
            future.add_done_callback(partial(_note, heard, number))
        assert done == list(range(20))
        await asyncio.wait(futures)
        assert told["late"] > 5

    run(main(), loop=FreezingLoop())

    assert heard == done
