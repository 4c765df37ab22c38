"""The loop in virtual time: it jumps, it reports hangs, and it can be killed."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from ecsbatch.simulator.virtual_time import Hang, Killed, VirtualClock, VirtualLoop, abandon, run


def test_a_sleep_of_a_month_takes_no_time_and_passes_exactly() -> None:
    async def main() -> float:
        await asyncio.sleep(30 * 86_400)
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(30 * 86_400)


def test_timers_fire_in_the_order_of_their_instants() -> None:
    fired: list[int] = []

    async def main() -> None:
        async def wait(seconds: int) -> None:
            await asyncio.sleep(seconds)
            fired.append(seconds)

        async with asyncio.TaskGroup() as group:
            for seconds in (5, 1, 3, 2, 4):
                group.create_task(wait(seconds))

    run(main())

    assert fired == [1, 2, 3, 4, 5]


def test_a_wait_that_nothing_can_end_is_a_hang_that_names_the_waiter() -> None:
    async def waits_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Hang, match=r"nothing scheduled(.|\n)*waits_for_ever"):
        run(waits_for_ever())


def test_a_loop_that_never_ends_meets_the_guard() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110  # a loop without an end is what the guard is for
            await asyncio.sleep(1)

    with pytest.raises(Hang, match="passed 10 s"):
        run(main(), loop=VirtualLoop(max_time=10))


def test_what_is_for_a_thread_runs_at_once_and_takes_no_time() -> None:
    """In another thread it would end at an instant of real time, and one seed would play in many ways."""

    async def main() -> tuple[bool, float]:
        loop = asyncio.get_running_loop()
        elsewhere: list[int] = []
        loop.call_soon(elsewhere.append, 1)
        here = await asyncio.to_thread(lambda: (threading.get_ident(), len(elsewhere)))
        return here == (threading.get_ident(), 0), loop.time()

    assert run(main()) == (True, pytest.approx(0.0, abs=1e-3))


def test_what_a_function_for_a_thread_raises_is_raised_where_it_is_awaited() -> None:
    async def main() -> None:
        await asyncio.to_thread(int, "none")

    with pytest.raises(ValueError, match="none"):
        run(main())


def test_a_call_from_another_thread_arrives() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[str] = loop.create_future()
        other = threading.Thread(target=loop.call_soon_threadsafe, args=(arrived.set_result, "arrived"))
        other.start()
        other.join()
        return await arrived

    assert run(main()) == "arrived"


def test_leftover_tasks_are_cancelled_at_the_end() -> None:
    ended: list[str] = []

    async def leftover() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("leftover")

    async def main() -> None:
        task = asyncio.ensure_future(leftover())
        await asyncio.sleep(1)
        assert not task.done()

    run(main())

    assert ended == ["leftover"]


async def _batches(done: list[int], cleaned: list[int]) -> None:
    async def batch(number: int) -> None:
        try:
            await asyncio.sleep(number)
            done.append(number)
        finally:
            cleaned.append(number)
            await asyncio.sleep(0.5)

    async with asyncio.TaskGroup() as group:
        for number in range(1, 4):
            group.create_task(batch(number))


def test_a_kill_at_every_step_runs_no_cleanup_before_the_loop_is_abandoned() -> None:
    whole = VirtualLoop()
    run(_batches([], []), loop=whole)
    # The last three rounds are the loop's own, after the batches have ended.
    for step in range(whole.steps - 3):
        done: list[int] = []
        cleaned: list[int] = []
        loop = VirtualLoop()
        loop.kill_after(step)
        with pytest.raises(Killed):
            run(_batches(done, cleaned), loop=loop)

        assert cleaned == done

        abandon(loop)
        assert loop.is_closed()
    gc.collect()


def test_a_kill_from_inside_a_step_comes_out_of_run() -> None:
    async def dies() -> None:
        await asyncio.sleep(2)
        raise Killed("in the middle of a write")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(dies())
            group.create_task(asyncio.sleep(100))

    loop = VirtualLoop()
    with pytest.raises(Killed):
        run(main(), loop=loop)
    abandon(loop)
    gc.collect()

    assert loop.time() == pytest.approx(2, abs=1e-3)


def test_a_time_line_continues_over_a_crash() -> None:
    first = VirtualLoop()
    first.kill_after(3)
    with pytest.raises(Killed):
        run(asyncio.sleep(7), loop=first)
    abandon(first)

    async def main() -> float:
        await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    second = VirtualLoop(start=first.time())

    assert run(main(), loop=second) == pytest.approx(first.time() + 1, abs=1e-3)


def test_the_wall_clock_can_jump_and_the_monotonic_one_does_not() -> None:
    loop = VirtualLoop(start=100)
    clock = VirtualClock(loop, epoch=1_000_000.0, boot="boot-7")
    clock.wall_offset = -3600

    readings = (clock.wall(), clock.monotonic(), clock.boot_id())
    loop.close()

    assert readings == (1_000_000.0 + 100 - 3600, 100, "boot-7")
