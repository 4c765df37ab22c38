"""Looks at jobs and what they show: the learned schedule, fixed intervals, and back-off as other clients have it.

    python -m benchmarks looks [--quick]

First at equal mean detection delay. Restart times have a median of 40 s. Each policy watches the same servers; the
schedule's aim is swept and its looks are interpolated (on logarithms) at the very delay that the fixed interval had.
Times are stratified draws in random order, so that a few thousand servers say what a hundred thousand would. Everything
is learned in the run that is measured, from the first batch on. A ratio below 1 means fewer looks; it is to be at most
0.75 with batches of 100 and 0.55 with single servers in the first case, and never above 1.03 in any.

Then what clients do where nothing else is said, and at last whole rollouts at an equal number of looks: `delays`.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, inf, log
from random import Random
from statistics import NormalDist, fmean
from typing import Any, Final, NamedTuple

from benchmarks import delays
from benchmarks.common import Options, Result, Table, command, say
from benchmarks.policies import DEFAULTS, Looked, back_off, fitted, fixed, watch
from ecsbatch.engine.poll_schedule import PollSchedule, Watched

MEDIAN: Final = 40.0
DELAYS: Final = (1.0, 2.0, 3.0)
AIMS: Final = (0.6, 0.9, 1.3, 2.2)
"""Times the delay wanted: they bracket it."""

DRAWN: Final = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
"""Mean delays that the picture's curves go through."""

SERVERS: Final = {100: 6000, 1: 5000}
EVERY: Final = {100: 6.0, 1: 4.0}
"""Seconds between two submits: 1,000 servers a minute; ten single ones at a time."""

Jobs = Sequence[Sequence[float]]
"""For each batch its servers' restart times, sorted."""


class Case(NamedTuple):
    """A kind of restart times (the age by which a share of servers has ended) and what the schedule is told of it."""

    name: str
    quantile: Callable[[float], float]
    typical: float = MEDIAN


class Measured(NamedTuple):
    """What one policy cost and gave."""

    looks: float
    delay: float


def lognormal(sigma: float) -> Callable[[float], float]:
    """Return the quantiles of a log-normal with the common median."""
    return lambda share: MEDIAN * exp(sigma * NormalDist().inv_cdf(share))


def two_kinds(share: float) -> float:
    """Return the quantiles of a fleet of which half takes about 20 s and half about 60 s."""
    return (20.0 if share < 0.5 else 60.0) * exp(0.1 * NormalDist().inv_cdf(2 * share % 1))


CASES: Final = (
    Case("log-normal 0.25", lognormal(0.25)),
    Case("  told 20 s", lognormal(0.25), 20.0),
    Case("  told 80 s", lognormal(0.25), 80.0),
    Case("log-normal 0.6", lognormal(0.6)),
    Case("memoryless", lambda share: -MEDIAN / log(2) * log(1 - share)),
    Case("two kinds", two_kinds),
)


def batches(case: Case, size: int) -> list[list[float]]:
    """Draw the restart times of a run: for each batch its servers', sorted."""
    count = SERVERS[size]
    times = [case.quantile((i + 0.5) / count) for i in range(count)]
    Random(1).shuffle(times)
    return [sorted(times[i : i + size]) for i in range(0, count, size)]


def watched(jobs: Jobs) -> list[tuple[float, Sequence[float]]]:
    """Return jobs as `policies` watches them: each until its last server's end."""
    return [(ends[-1], ends) for ends in jobs]


def measured(looked: Looked) -> Measured:
    """Return what looks cost, and the mean of their delays."""
    return Measured(looked.looks, fmean(delay for batch in looked.delays for delay in batch))


def slower_than(delay: float) -> Callable[[Looked], bool]:
    """Return what tells whether looks have more than a mean delay."""
    return lambda looked: measured(looked).delay > delay


def learned(jobs: Jobs, typical: float, aim: float) -> Measured:
    """Look when the schedule says, with nothing known at the start but `typical`."""
    schedule = PollSchedule(typical_restart=typical, looks_per_second=inf, target_delay=aim)
    size = len(jobs[0])
    starts = [number * EVERY[size] for number in range(len(jobs))]
    heap = [(start, number) for number, start in enumerate(starts)]
    seen: dict[int, int] = {}
    looks, delay, rescale_at = 0, 0.0, 0.0
    while heap:
        now, number = heapq.heappop(heap)
        if now >= rescale_at:
            schedule.rescale([Watched(now - starts[job], size - done, size) for job, done in seen.items()])
            rescale_at = now + schedule.rescale_every
        age, ends = now - starts[number], jobs[number]
        done, before = bisect_right(ends, age), seen.get(number, 0)
        looks += number in seen
        seen[number] = done
        for end in ends[before:done]:
            schedule.observe(end, end)
            delay += age - end
        if done == size:
            del seen[number]
        else:
            heapq.heappush(heap, (starts[number] + schedule.next_look(age, size - done, size), number))
    return Measured(looks / len(jobs), delay / len(jobs) / size)


def at_delay(jobs: Jobs, typical: float, delay: float, name: str) -> float:
    """Return the schedule's looks at a mean delay."""
    swept = sorted((log(delay), log(looks)) for looks, delay in (learned(jobs, typical, a * delay) for a in AIMS))
    for (x, u), (y, v) in pairwise(swept):
        if x <= log(delay) <= y:
            return exp(u + (v - u) * (log(delay) - x) / (y - x))
    raise AssertionError(f"{name}: the aims do not bracket {delay:.2f} s")


def row_of(case: Case, size: int, delays: Sequence[float]) -> list[str]:
    """Return a case's row: for each delay the looks of all policies, and ours of the fixed interval's."""
    jobs, cells = batches(case, size), [case.name, str(size)]
    for wanted in delays:
        rule = measured(watch(fixed(2 * wanted), watched(jobs)))
        other = fitted(back_off, watched(jobs), slower_than(rule.delay))
        ours = at_delay(jobs, case.typical, rule.delay, case.name)
        cells += [f"{rule.looks:.1f}", f"{other.looks:.1f}", f"{ours:.1f}", f"{ours / rule.looks:.2f}"]
    return cells


def equal_delay(options: Options) -> Table:
    """Return the table of looks at equal mean delay."""
    cases, sizes, wanted = (CASES[:1], [100], DELAYS[1:2]) if options.quick else (CASES, [*SERVERS], DELAYS)
    rows: list[list[str]] = []
    for case in cases:
        say(f"looks: {case.name}")
        rows += [row_of(case, size, wanted) for size in sizes]
    head = [
        "restart times",
        "batch",
        *(cell for d in wanted for cell in (f"{d:g} s: fixed", "back-off", "ours", "ratio")),
    ]
    return Table("Looks for a batch at equal mean delay until an end is seen", head, rows)


def defaults() -> tuple[Table, list[dict[str, Any]]]:
    """Return the table of what clients do where nothing else is said, and the picture's curves and points."""
    jobs, curves = batches(CASES[0], 100), []
    for wanted in DRAWN:
        other = fitted(back_off, watched(jobs), slower_than(wanted))
        curves.append(("ecsbatch, learned", learned(jobs, MEDIAN, wanted)))
        curves += [("fixed interval", measured(watch(fixed(2 * wanted), watched(jobs))))]
        curves += [("back-off x1.5", measured(other))]
    found = {name: watch(policy(), watched(jobs)) for name, policy in DEFAULTS.items()}
    rows = [_default(name, each) for name, each in found.items()]
    drawn = [{"name": name, "looks": at.looks, "delay": at.delay} for name, at in curves]
    points = [
        {"name": name, "looks": at.looks, "delay": measured(at).delay, "default": True} for name, at in found.items()
    ]
    head = ["looks at a job", "looks", "mean s", "99% s", "last s"]
    return Table("What others do by default: a batch of 100, restart times log-normal 0.25", head, rows), [
        *drawn,
        *points,
    ]


def _default(name: str, looked: Looked) -> list[str]:
    seen = delays.figures(*looked)
    return [name, f"{seen.looks:.1f}", f"{seen.mean:.2f}", f"{seen.p99:.1f}", f"{seen.last:.1f}"]


def run(options: Options) -> Result:
    """Compare schedules, then whole rollouts."""
    equal = equal_delay(options)
    others, drawn = defaults()
    whole = delays.run(options)
    figures = {"rows": drawn, "delays": whole.figures["rows"]}
    return Result([equal, others, *whole.tables], whole.seen, figures)


def main() -> int:
    """Print the tables."""
    return command(run)


if __name__ == "__main__":
    raise SystemExit(main())
