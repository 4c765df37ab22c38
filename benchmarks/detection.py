"""Rollouts in virtual time, of which is written down when each server's end was seen: for `benchmarks/delays.py`.

    python -m benchmarks.detection CASE LAYOUT SIZE [SEED ...]

prints a line of JSON for each seed: of every batch when its servers ended in the cloud and when that was known here, in
seconds after its acceptance, and how many looks there were. It uses nothing but what an older version has, too, so that
`delays` can play the same with one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf, log
from random import Random
from typing import Any, Final, NamedTuple

from ecsbatch import Restarter, Strategy
from ecsbatch.config.settings import Engine
from ecsbatch.model import events as ev
from ecsbatch.model.quota import Quota
from ecsbatch.testing import World


class Case(NamedTuple):
    """How long restarts take: log-normal around 40 s, but for some that take minutes, and for some that never end."""

    sigma: float
    stragglers: float = 0.0
    stuck: float = 0.0


CASES: Final = {
    "log-normal 0.25": Case(0.25),
    "log-normal 0.5": Case(0.5),
    "0.5% stragglers": Case(0.25, stragglers=0.005),
    "0.1% time out": Case(0.25, stuck=0.001),
}

STRAGGLE: Final = (3.0, 7.5)
"""How many times the median a straggler takes, from and to."""


class Layout(NamedTuple):
    """A rollout: servers, waves and places of the budget, all as multiples of a batch; batches in a minute."""

    waves: str
    batches: int
    at_once: float
    a_minute: int


LAYOUTS: Final = {
    # Each batch is a wave by itself, so that each holds up the next one.
    "alone": {
        1: Layout("1", 200, 1.0, 60),
        10: Layout("10", 150, 1.0, 60),
        100: Layout("100", 60, 1.0, 60),
        1000: Layout("1000", 20, 1.0, 60),
    },
    # All in one wave, many batches in flight together.
    "together": {
        1: Layout("100%", 2000, inf, 30),
        10: Layout("100%", 400, inf, 20),
        100: Layout("100%", 100, inf, 10),
        1000: Layout("100%", 20, inf, 1),
    },
    # What a rollout is by itself: a canary, a hundredth, a tenth, the rest; a tenth down at once.
    "standard": {100: Layout("auto", 100, 10.0, 10), 1000: Layout("auto", 20, 2.0, 1)},
}


class _Straggling(Random):
    """Draws of a log-normal of which some are far out."""

    share = 0.0

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        drawn = super().gauss(mu, sigma)
        return log(self.uniform(*STRAGGLE)) if self.random() < self.share else drawn


class Played(NamedTuple):
    """What a rollout showed.

    Attributes:
        jobs: of each batch its size, and for each server that ended when it did and when that was known, in seconds
            after the batch's acceptance, sorted.
        looks: at jobs.
        requests: of all kinds.
        servers: how many there were.
        seconds: from its begin to its end.
    """

    jobs: list[tuple[int, list[tuple[float, float]]]]
    looks: int
    requests: int
    servers: int
    seconds: float


def play(case: str, layout: str, size: int, seed: int) -> Played:
    """Play one rollout."""
    like, shape = CASES[case], LAYOUTS[layout][size]
    servers = shape.batches * size
    cloud: dict[str, Any] = {
        "servers": servers,
        "seed": seed,
        "latency": 0.1,
        "restart_sigma": like.sigma,
        "stuck_rate": like.stuck,
        "quota_limit": None,
        "job_retention": 10 * 86_400.0,
    }
    with World(**cloud) as world:
        actions = world.cloud._service.actions  # noqa: SLF001 - the cloud's own chance
        actions._random = _Straggling(seed)  # noqa: SLF001
        actions._random.share = like.stragglers  # noqa: SLF001
        found: list[Played] = []

        async def main() -> None:
            at_once = int(min(servers, shape.at_once * size))
            strategy = Strategy(
                max_unavailable=at_once, waves=shape.waves, batch_size=size, max_failures="100%", precheck=True
            )
            async with _engine(world, Quota(shape.a_minute * size, 60.0)) as restarter:
                rollout = restarter.rollout(world.ids, strategy)
                begun = world.now()
                await rollout.run()
                took = world.now() - begun
                outcomes: dict[str, float] = {}
                async for recorded in rollout.events():
                    if isinstance(recorded.event, ev.ServerRestarted):
                        outcomes[recorded.event.server] = recorded.ts - world.config.epoch
            found.append(_told(world, outcomes, took))

        world.run(main)
        return found[0]


@asynccontextmanager
async def _engine(world: World, quota: Quota) -> AsyncIterator[Restarter]:
    async with world.restarter(Engine(quota=quota), seed=world.config.seed) as restarter:
        yield restarter


def _told(world: World, outcomes: dict[str, float], took: float) -> Played:
    jobs: list[tuple[int, list[tuple[float, float]]]] = []
    for job in world.cloud._service.jobs._jobs.values():  # noqa: SLF001 - the cloud's own instants, which no client sees
        ends = zip(job._server_ids, job.sub_ends, strict=True)  # noqa: SLF001
        seen = sorted((end - job.begins, outcomes[id_] - job.begins) for id_, end in ends if id_ in outcomes)
        jobs.append((len(job.sub_ends), seen))
    books = world.cloud.auditor
    return Played(jobs, books.looks["job"], books.requests, len(world.ids), took)


if __name__ == "__main__":
    for number in sys.argv[4:]:
        print(json.dumps(play(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(number))))
