"""How long it takes until a server's end is seen: mean, 99th percentile, worst, and the last one of a batch.

    python -m benchmarks delays [LAYOUT ...] [--before COMMIT] [--quick]

Whole rollouts in virtual time, a round trip of 0.1 s: the same seeds give the same figures on any machine. With
``--before`` the package of that commit plays the same beside this one. Fixed intervals, and a back-off as other clients
have it (times 1.5, up to twenty times the first), look at the very same batches, as often as this version did: by their
unit. What times out is not counted among the delays, but what its looks cost is.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Final, NamedTuple

from benchmarks.common import table
from benchmarks.detection import CASES, LAYOUTS, Played

ROOT: Final = Path(__file__).parents[1]
SEEDS: Final = {1: 1, 10: 1, 100: 1, 1000: 3}
QUICK: Final = ("log-normal 0.25",)
TIMEOUT: Final = 600.0
"""Seconds after which a server that never ends is given up."""


class Figures(NamedTuple):
    """Looks for a batch, and delays in seconds: of all servers, and of the last one of each batch."""

    looks: float
    mean: float
    p99: float
    worst: float
    last: float
    last95: float

    def cells(self) -> list[str]:
        """Return them as a table has them."""
        return [
            f"{self.looks:.1f}",
            f"{self.mean:.2f}",
            f"{self.p99:.1f}",
            f"{self.p99 / self.mean:.1f}",
            f"{self.worst:.0f}",
            f"{self.last:.1f}",
            f"{self.last95:.0f}",
        ]


def figures(looks: float, delays: Sequence[Sequence[float]]) -> Figures:
    """Return the figures of looks for a batch, and of the delays of each batch's servers in the order of their ends."""
    every = sorted(delay for batch in delays for delay in batch)
    last = sorted(batch[-1] for batch in delays if batch)
    shares = (every[int(len(every) * 0.99)], every[-1], median(last), last[int(len(last) * 0.95)])
    return Figures(looks, fmean(every), *shares)


def seen(played: Sequence[Played]) -> Figures:
    """Return the figures of rollouts as they were."""
    jobs = [pairs for each in played for _, pairs in each.jobs]
    looks = sum(each.looks for each in played) / len(jobs)
    return figures(looks, [[known - end for end, known in pairs] for pairs in jobs])


def fixed(unit: float) -> Iterator[float]:
    """Yield the ages of looks in equal steps."""
    number = 0
    while True:
        number += 1
        yield number * unit


def back_off(unit: float) -> Iterator[float]:
    """Yield the ages of looks in steps that grow by half, up to twenty times the first."""
    age, step = 0.0, unit
    while True:
        age += step
        step = min(1.5 * step, 20 * unit)
        yield age


def others(played: Sequence[Played], looks: float, policy: Callable[[float], Iterator[float]]) -> Figures:
    """Return what a policy shows of the same batches with so many looks for each."""
    jobs = [(size, [end for end, _ in pairs]) for each in played for size, pairs in each.jobs]
    until = [ends[-1] if len(ends) == size else TIMEOUT for size, ends in jobs]
    low, high = 0.01, 1000.0
    for _ in range(40):
        unit = (low * high) ** 0.5
        ages = _ages(policy(unit), max(until))
        found = fmean(bisect_left(ages, end) + 1 for end in until)
        low, high = (unit, high) if found > looks else (low, unit)
    return figures(found, [[ages[bisect_left(ages, end)] - end for end in ends] for _, ends in jobs])


def _ages(looks: Iterator[float], until: float) -> list[float]:
    ages: list[float] = []
    for age in looks:
        ages.append(age)
        if age >= until:
            return ages
    raise AssertionError("looks have no end")


def play(folder: Path, case: str, layout: str, size: int, seeds: int) -> list[Played]:
    """Play so many rollouts with the package of a folder, in a process of its own."""
    numbers = [str(seed) for seed in range(1, seeds + 1)]
    command = [sys.executable, "-m", "benchmarks.detection", case, layout, str(size), *numbers]
    there = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=there, stdout=subprocess.PIPE, check=True)  # noqa: S603 - ours
    return [Played(*json.loads(line)) for line in done.stdout.splitlines()]


def unpack(commit: str, folder: Path) -> None:
    """Put the package of a commit into a folder, with today's benchmarks."""
    command = ["git", "-C", str(ROOT), "archive", commit, "ecsbatch"]
    tar = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 - ours
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        archive.extractall(folder, filter="data")
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks delays")
    parser.add_argument("layouts", nargs="*", metavar="LAYOUT", help=f"of {', '.join(LAYOUTS)}; all where left out")
    parser.add_argument("--before", metavar="COMMIT", help="play it with the package of this commit, too")
    parser.add_argument("--quick", action="store_true", help="batches of 100 and of 1,000, of one kind, once each")
    options = parser.parse_args()
    head = ["restart times, batch", "by", "looks", "mean s", "99% s", "99%/mean", "worst s", "last s", "last 95%"]
    with tempfile.TemporaryDirectory() as folder:
        if options.before:
            unpack(options.before, Path(folder))
        before = Path(folder) if options.before else None
        for layout in options.layouts or LAYOUTS:
            cells = [(case, size) for size in sorted(LAYOUTS[layout]) for case in CASES]
            chosen = [(case, size) for case, size in cells if not options.quick or (case in QUICK and size >= 100)]
            rows = [row for case, size in chosen for row in _rows(case, layout, size, before, once=options.quick)]
            table(f"From a server's end until it is seen, batches {layout}; looks for a batch", head, rows)
            sys.stdout.flush()
    return 0


def _rows(case: str, layout: str, size: int, before: Path | None, *, once: bool) -> list[list[str]]:
    """Play one case, and return its rows."""
    seeds = 1 if once else SEEDS[size]
    now = play(ROOT, case, layout, size, seeds)
    found = {"before": seen(play(before, case, layout, size, seeds))} if before else {}
    found["now"] = seen(now)
    found["fixed"] = others(now, found["now"].looks, fixed)
    found["back-off"] = others(now, found["now"].looks, back_off)
    names = [f"{case}, {size}", *[""] * (len(found) - 1)]
    return [[name, by, *each.cells()] for name, (by, each) in zip(names, found.items(), strict=True)]


if __name__ == "__main__":
    raise SystemExit(main())
