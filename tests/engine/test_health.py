"""Health checks at once: as many as servers wait for one, and none of them in another's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from world import World

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.engine.health import MOST_CHECKS, checks_at_once
from ecsbatch.engine.server_queue import RestartOptions
from ecsbatch.engine.workers import WorkersOnDemand
from ecsbatch.errors import EngineStopped
from ecsbatch.model.run import Result
from ecsbatch.model.servers import Server
from ecsbatch.rollout.rollout import Rollout

ALL = Strategy(waves="100%", max_unavailable="100%")


@dataclass
class SlowCheck:
    """A check that takes a while, and counts how many are asked at once."""

    seconds: float
    now: int = 0
    most: int = 0

    async def __call__(self, _: Server) -> bool:
        """Take a while, and pass."""
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        return True


def rolled_out(world: World, check: Callable[[Server], object], engine: Engine, strategy: Strategy = ALL) -> Result:
    async def main() -> Result:
        async with world.restarter(engine) as restarter:
            return await restarter.rollout(world.ids, strategy, check=check).run()  # type: ignore[arg-type]

    return world.live(main)


def options_of(rollout: Rollout) -> RestartOptions:
    return rollout._session.dispatcher._queues[""].options


def test_slow_checks_cost_their_own_time_and_no_queue() -> None:
    """The bound is the quota, 1,000 servers a minute, and one server's own checks; 32 workers took six times it."""
    slow = SlowCheck(8.0)
    bound = rolled_out(World(servers=1500), SlowCheck(0.0), Engine()).elapsed_s

    assert rolled_out(World(servers=1500), slow, Engine()).elapsed_s < bound + 3 * slow.seconds
    assert slow.most > 200


def test_no_more_checks_run_at_once_than_are_set() -> None:
    check = SlowCheck(8.0)

    assert rolled_out(World(servers=60), check, Engine(check_workers=7)).status == "succeeded"
    assert check.most == 7


def test_a_check_that_takes_longer_than_its_timeout_has_not_passed() -> None:
    """Each is given up at its timeout; where that is longer than the check takes, the check passes."""
    strategy = Strategy(waves="100%", max_unavailable="100%", server_timeout="2m", max_failures="100%")
    results = [
        rolled_out(World(servers=3), SlowCheck(20.0), Engine(check_timeout=timeout), strategy) for timeout in ("5s", 30)
    ]

    assert [result.counts["failed"] for result in results] == [3, 0]  # type: ignore[index]


@pytest.mark.parametrize(("workers", "most"), [(None, 32), (50, 50)])
def test_checks_that_start_programs_are_fewer_unless_somebody_says_how_many(workers: int | None, most: int) -> None:
    world, check = World(servers=100), SlowCheck(8.0)

    async def main() -> Result:
        async with world.restarter(Engine(check_workers=workers)) as restarter:
            rollout = restarter.rollout(world.ids, ALL, check=check)
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(1.0)
            options_of(rollout).check_is_program = True
            return await running

    assert world.live(main).status == "succeeded"
    assert check.most == most


@pytest.mark.parametrize(("text", "is_program"), [("cmd:true", True), ("tcp:22", False)])
def test_a_planned_check_is_told_to_the_engine_and_ends_before_its_timeout(text: str, *, is_program: bool) -> None:
    world = World(servers=1)

    async def main() -> RestartOptions:
        async with world.restarter(Engine(check_timeout=30)) as restarter:
            rollout = restarter.rollout(world.ids, Strategy(check=text))
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(1.0)
            rollout.stop()
            await running
            return options_of(rollout)

    options = world.live(main)

    assert options.check_is_program is is_program
    assert options.check._timeout == 24.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("workers", "open_files", "sites", "most"),
    [
        (None, 1024, 1, 512),
        (None, 1024, 4, 128),
        (None, 256, 1, 128),
        (None, 1_000_000, 1, MOST_CHECKS),
        (None, -1, 2, MOST_CHECKS // 2),
        (None, 1, 1, 1),
        (7, 1024, 4, 7),
        (5000, 256, 1, 5000),
    ],
)
def test_files_that_may_be_open_bound_the_checks_where_nothing_is_set(
    workers: int | None, open_files: int, sites: int, most: int
) -> None:
    assert checks_at_once(workers, open_files, sites) == most


# -- workers on demand -------------------------------------------------------------------------------------------------


@dataclass
class Work:
    """Work that takes a second, and what was seen of it."""

    done: list[int] = field(default_factory=list[int])
    now: int = 0
    most: int = 0

    async def work(self, item: int) -> None:
        """Take a second."""
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(1)
        self.now -= 1
        if item < 0:
            raise ValueError(item)
        self.done.append(item)


def played(play: Callable[[Work, WorkersOnDemand[int]], object]) -> Work:
    seen = Work()

    async def main() -> None:
        workers = WorkersOnDemand("work", 3, seen.work)
        workers.put(0)
        running = asyncio.create_task(workers.run())
        await asyncio.sleep(0)
        try:
            await play(seen, workers)  # type: ignore[misc]
        finally:
            running.cancel()
            await asyncio.wait([running])
            assert len(workers) == 0
            if not running.cancelled():
                await running

    World(servers=1).live(main)
    return seen


def test_workers_are_made_when_needed_and_gone_when_idle() -> None:
    async def play(_: Work, workers: WorkersOnDemand[int]) -> None:
        assert len(workers) == 1
        for item in range(1, 10):
            workers.put(item)
        assert len(workers) == 3
        await asyncio.sleep(4.5)
        assert len(workers) == 0
        workers.put(10)
        assert len(workers) == 1
        await asyncio.sleep(1.5)

    seen = played(play)

    assert seen.done == list(range(11))
    assert seen.most == 3


def test_what_is_under_way_ends_with_the_workers() -> None:
    async def play(_: Work, workers: WorkersOnDemand[int]) -> None:
        workers.put(1)
        await asyncio.sleep(0.5)

    assert played(play).done == []


def test_a_fault_of_a_worker_ends_all() -> None:
    async def play(_: Work, workers: WorkersOnDemand[int]) -> None:
        workers.put(-1)
        await asyncio.sleep(1.5)
        assert len(workers) == 0

    with pytest.raises(ValueError, match="-1"):
        played(play)


def test_a_worker_that_somebody_cancels_ends_all() -> None:
    async def play(*_: object) -> None:
        next(task for task in asyncio.all_tasks() if task.get_name() == "work").cancel()
        await asyncio.sleep(0.5)

    with pytest.raises(EngineStopped, match="the engine's task 'work' was cancelled from outside"):
        played(play)
