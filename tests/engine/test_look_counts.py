"""What a rollout costs in looks and requests, and how soon ends are seen: figures of today, with a small margin.

Virtual time: a busy machine changes nothing. A figure that has become better may be lowered here, one that has become
worse wants a reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from statistics import mean
from typing import Any, NamedTuple

import pytest
from world import World

from ecsbatch import Restarter
from ecsbatch.config.settings import Strategy
from ecsbatch.model.outcome import Outcome

MARGIN = 1.03


class Costs(NamedTuple):
    """What a run has cost: looks at a job, requests of all kinds for a server, and the mean delay in seconds."""

    looks: float
    requests: float
    delay: float


Run = Callable[[Restarter, list[str]], Awaitable[Sequence[Outcome]]]


async def standard(restarter: Restarter, ids: list[str]) -> Sequence[Outcome]:
    """Run a rollout as it is by itself: a canary, a hundredth, a tenth, the rest, a tenth down at once."""
    await restarter.rollout(ids, run_id="run").run()
    return [outcome async for outcome in restarter.outcomes("run")]


async def large_batches(restarter: Restarter, ids: list[str]) -> Sequence[Outcome]:
    """Run a rollout of two waves in batches of 1,000."""
    await restarter.rollout(ids, Strategy(waves="1000", max_unavailable="100%", batch_size=1000), run_id="run").run()
    return [outcome async for outcome in restarter.outcomes("run")]


async def one_by_one(restarter: Restarter, ids: list[str]) -> Sequence[Outcome]:
    """Ask for the restart of each server by itself, of a thousand at once."""
    return await asyncio.gather(*map(restarter.restart, ids[:1000]))


def costs(run: Run) -> Costs:
    """Return what a run costs."""
    world = World(servers=2000, latency=0.1, job_retention=10 * 86_400.0)

    async def life() -> Sequence[Outcome]:
        async with world.restarter() as restarter:
            return await run(restarter, world.ids)

    seen = {outcome.server: (outcome.ended_at or 0.0) - world.config.epoch for outcome in world.run(life)}
    jobs: Any = world.cloud._service.jobs._jobs.values()
    ends = {id_: end for job in jobs for id_, end in zip(job._server_ids, job.sub_ends, strict=True)}
    books = world.cloud.auditor
    return Costs(
        books.looks["job"] / len(jobs), books.requests / len(ends), mean(seen[id_] - end for id_, end in ends.items())
    )


@pytest.mark.parametrize(
    ("run", "today"),
    [
        (standard, Costs(looks=9.48, requests=2.46, delay=1.55)),
        (large_batches, Costs(looks=20.5, requests=0.032, delay=1.59)),
        (one_by_one, Costs(looks=19.6, requests=0.216, delay=1.74)),
    ],
)
def test_a_run_costs_no_more_than_it_does_today(run: Run, today: Costs) -> None:
    found = costs(run)

    assert {name for name, figure in found._asdict().items() if figure > MARGIN * getattr(today, name)} == set(), found
