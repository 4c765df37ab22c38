"""From the first submit to the last, against what quota and budget allow: one wave of 20,000 servers in virtual time.

A budget of N servers lets N go at once and then one for each that comes back, so N / (restart + detection) a second;
the quota lets its limit go at once and then as many in each window. Restart times are the cloud's own, detection is the
time from a server's end in the cloud to its outcome here. The design promises 95% of the smaller rate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import mean
from typing import NamedTuple

from benchmarks.common import Simulated, table
from ecsbatch import Strategy
from ecsbatch.model import events as ev

SERVERS = 20_000
AT_ONCE = (100, 500, 600, 2_000)
PROMISED = 0.95


class Pace(NamedTuple):
    """What one run showed, in seconds and servers a second."""

    restart: float
    detection: float
    submits: float
    allowed: float


def paced(at_once: int) -> Pace:
    """Restart the fleet with so many servers down at once."""
    world = Simulated(servers=SERVERS, latency=0.1, job_retention=10 * 86_400.0)
    seen: list[Pace] = []
    world.play(partial(_run, world, at_once, seen.append))
    return seen[0]


async def _run(world: Simulated, at_once: int, tell: Callable[[Pace], object]) -> None:
    epoch, quota = world.cloud.config.epoch, world.engine.engine.quota
    rollout = world.engine.rollout(world.ids, Strategy(max_unavailable=at_once, waves="100%"))
    await rollout.run()
    sent: dict[str, float] = {}
    outcomes: dict[str, float] = {}
    async for recorded in rollout.events():
        if isinstance(recorded.event, ev.BatchSubmitting):
            sent.update(dict.fromkeys(recorded.event.servers, recorded.ts))
        elif isinstance(recorded.event, ev.ServerRestarted):
            outcomes[recorded.event.server] = recorded.ts
    jobs = world.cloud._service.jobs._jobs.values()  # noqa: SLF001 - the cloud's own instants, which no client sees
    ends = {id_: epoch + end for job in jobs for id_, end in zip(job._server_ids, job.sub_ends, strict=True)}  # noqa: SLF001
    restart = mean(ends[id_] - at for id_, at in sent.items())
    detection = mean(at - ends[id_] for id_, at in outcomes.items())
    allowed = min(quota.limit / quota.window, at_once / (restart + detection))
    begun_with = min(quota.limit, at_once)
    tell(Pace(restart, detection, (SERVERS - begun_with) / (max(sent.values()) - min(sent.values())), allowed))


def main() -> int:
    """Measure and print; 1 where the promise is broken."""
    paces = {at_once: paced(at_once) for at_once in AT_ONCE}
    rows = [
        [f"{n:,} at once", *(f"{figure:.2f}" for figure in pace), f"{pace.submits / pace.allowed:.1%}"]
        for n, pace in paces.items()
    ]
    head = ["20,000 servers", "restart s", "detection s", "submits/s", "allowed/s", "share"]
    table("From the first submit to the last", head, rows)
    kept = all(p.submits >= PROMISED * p.allowed for p in paces.values())
    print("promises kept" if kept else "A PROMISE IS BROKEN")
    return 0 if kept else 1
