"""What rollouts and restarts cost in virtual time, where the same seed gives the same run on every machine."""

from __future__ import annotations

import asyncio
import cProfile
import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from types import CodeType
from typing import Any, Final, NamedTuple

import ecsbatch
from ecsbatch import Restarter
from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.quota import Quota
from ecsbatch.simulator.auditor import fullest_window
from ecsbatch.testing import World

PACKAGE: Final = str(Path(ecsbatch.__file__).parent)
SIMULATOR: Final = str(Path(PACKAGE, "simulator"))
TESTS: Final = str(Path(__file__).parents[1])
"""What watches a test, as `nothing_real` does where pytest runs this, is no part of a run."""
WARM: Final = 2
"""Runs before the one that is measured: what a process does for the first or second time has been done then."""

QUOTA: Final = Quota(950, 60.0)
"""Less than the cloud's, and no multiple of a batch: one server too many is seen."""

Life = Callable[[Restarter, list[str]], Awaitable[Sequence[Outcome]]]


async def standard(restarter: Restarter, ids: list[str]) -> Sequence[Outcome]:
    """Run a rollout as it is by itself: a canary, a hundredth, a tenth, the rest, a tenth down at once."""
    return await _rollout(restarter, ids, Strategy())


async def batches(restarter: Restarter, ids: list[str]) -> Sequence[Outcome]:
    """Run a rollout of one wave in batches of 100."""
    return await _rollout(restarter, ids, Strategy(waves="100%", max_unavailable="100%", batch_size=100))


async def large(restarter: Restarter, ids: list[str]) -> Sequence[Outcome]:
    """Run a rollout of one wave in batches of up to 1,000, as large as the quota lets through."""
    return await _rollout(restarter, ids, Strategy(waves="100%", max_unavailable="100%", batch_size=1000))


async def singles(restarter: Restarter, ids: list[str]) -> Sequence[Outcome]:
    """Ask for the restart of each server by itself, of all at once."""
    return await asyncio.gather(*map(restarter.restart, ids))


async def _rollout(restarter: Restarter, ids: list[str], strategy: Strategy) -> Sequence[Outcome]:
    await restarter.rollout(ids, strategy, run_id="run").run()
    return [outcome async for outcome in restarter.outcomes("run")]


class Lived(NamedTuple):
    """A run that is over.

    Attributes:
        world: it ran in.
        outcomes: of its servers.
        blocks: of memory that the interpreter held before its engine was closed.
        traced: bytes of memory that were held then, if they are traced.
    """

    world: World
    outcomes: Sequence[Outcome]
    blocks: int
    traced: int


def _live(life: Life, servers: int, statements: Counter[str] | None = None) -> Lived:
    world = World(servers=servers, latency=0.1, job_retention=10 * 86_400.0)
    if statements is not None:
        world.database.connection.set_trace_callback(lambda text: statements.update([text.split(None, 1)[0]]))

    async def main() -> tuple[Sequence[Outcome], int, int]:
        async with world.restarter(Engine(quota=QUOTA)) as restarter:
            outcomes = await life(restarter, world.ids)
            return outcomes, sys.getallocatedblocks(), tracemalloc.get_traced_memory()[0]

    return Lived(world, *world.run(main))


def costs(life: Life, servers: int) -> dict[str, float]:
    """Return what a run asks of the cloud, of the store and of the loop."""
    statements = Counter[str]()
    lived = _live(life, servers, statements)
    with lived.world:
        return _costs(lived.world, lived.outcomes, statements)


def _costs(world: World, outcomes: Sequence[Outcome], statements: Counter[str]) -> dict[str, float]:
    servers = len(world.ids)
    ended = {outcome.server: (outcome.ended_at or 0.0) - world.config.epoch for outcome in outcomes}
    jobs: Any = world.cloud._service.jobs._jobs.values()
    ends = {id_: end for job in jobs for id_, end in zip(job._server_ids, job.sub_ends, strict=True)}
    books, database = world.cloud.auditor, world.database.connection
    [[pages]], [[size]] = (database.execute(f"PRAGMA {name}").fetchall() for name in ("page_count", "page_size"))
    transactions = statements.pop("BEGIN")
    assert len(ends) == servers
    return {
        "fullest window": fullest_window(books.counted, QUOTA.window)[0],
        "requests a server": books.requests / servers,
        "looks a job": books.looks["job"] / len(jobs),
        "seconds until an end is seen": mean(ended[id_] - end for id_, end in ends.items()),
        "transactions a server": transactions / servers,
        "statements a server": (statements.total() - statements["COMMIT"]) / servers,
        "bytes of store a server": pages * size / servers,
        "turns of the loop a server": world.steps / servers,
    }


def calls(life: Life, servers: int) -> dict[str, float]:
    """Return how many functions a run calls: what instructions would say, whatever the processor."""
    for _ in range(WARM):
        _live(life, servers).world.close()
    profile = cProfile.Profile()
    with _no_collections():
        profile.enable()
        try:
            _live(life, servers).world.close()
        finally:
            profile.disable()
    counted = Counter[str]()
    for entry in profile.getstats():
        counted[_kind(entry.code)] += entry.callcount
        counted["callbacks"] += entry.callcount * (getattr(entry.code, "co_qualname", "") == "Handle._run")
    return {
        "calls of ours a server": counted["ours"] / servers,
        "calls of other Python a server": counted["others"] / servers,
        "calls of C a server": counted["C"] / servers,
        "callbacks of the loop a server": counted["callbacks"] / servers,
    }


def _kind(code: CodeType | str) -> str:
    if isinstance(code, str):
        return "C"
    if code.co_filename.startswith((SIMULATOR, TESTS)):
        return "not counted"
    return "ours" if code.co_filename.startswith(PACKAGE) else "others"


def memory(life: Life, servers: int) -> dict[str, float]:
    """Return what a run allocates: its peak, and what it holds at its end, with its simulated cloud."""
    # One before, of the same size: what the interpreter keeps for later objects of a kind is filled.
    _live(life, servers).world.close()
    with _no_collections():
        before = sys.getallocatedblocks()
        blocks = _live(life, servers)
        blocks.world.close()
    with _no_collections():
        tracemalloc.start()
        try:
            traced = _live(life, servers)
            traced.world.close()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    return {
        "blocks of memory a server at the end": (blocks.blocks - before) / servers,
        "bytes of memory a server at the end": traced.traced / servers,
        "bytes of memory a server at the peak": peak / servers,
    }


@contextmanager
def _no_collections() -> Iterator[None]:
    """Have the collector come between no two runs at different instants."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


WORLDS: Final[Mapping[str, Callable[[], dict[str, float]]]] = {
    "batches of 100": lambda: costs(batches, 2000),
    "large batches": lambda: costs(large, 2000),
    "as by itself": lambda: costs(standard, 400),
    "one by one": lambda: costs(singles, 1500),
    "calls": lambda: calls(batches, 1000),
    "memory": lambda: memory(batches, 1000),
}
