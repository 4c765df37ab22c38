"""How long it takes until a server's end is seen: mean, 99th percentile, worst, and the last one of a batch.

    python -m benchmarks delays [LAYOUT ...] [--before COMMIT] [--quick]

Whole rollouts in virtual time, a round trip of 0.1 s: the same seeds give the same figures on any machine. With
``--before`` the package of that commit plays the same beside this one; without it stands there what d7ba375 showed.
Fixed intervals, and a back-off as other clients have it (times 1.5, up to twenty times the first), look at the same
batches, as often as this version did: by their unit. What times out is not counted among the delays, but what its looks
cost is.
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, geometric_mean, median
from typing import Any, Final, NamedTuple

from benchmarks.common import Options, Result, Table, command, say
from benchmarks.detection import CASES, LAYOUTS, Played
from benchmarks.policies import Policy, back_off, fitted, fixed

ROOT: Final = Path(__file__).parents[1]
SEEDS: Final = {1: 1, 10: 1, 100: 1, 1000: 3}
QUICK: Final = (("log-normal 0.25", 100), ("log-normal 0.25", 1000))
BEFORE: Final[Mapping[str, Sequence[float]]] = json.loads((ROOT / "benchmarks" / "delays-before.json").read_text())
"""What d7ba375, before looks heeded waves, showed with the same seeds: by case, layout and size its `Figures`."""

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


def others(played: Sequence[Played], looks: float, policy: Policy) -> Figures:
    """Return what a policy shows of the same batches with so many looks for each."""
    jobs = watched(played)
    found = fitted(policy, jobs, lambda seen: seen.looks <= looks)
    return figures(*found)


def watched(played: Sequence[Played]) -> list[tuple[float, list[float]]]:
    """Return until when each batch is watched, and when its servers ended, in seconds after its acceptance."""
    jobs = [(size, [end for end, _ in pairs]) for each in played for size, pairs in each.jobs]
    return [(ends[-1] if len(ends) == size else TIMEOUT, ends) for size, ends in jobs]


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


class Cell(NamedTuple):
    """One kind of restart times, in batches of one size: what is seen of it, by whom."""

    case: str
    layout: str
    size: int
    found: dict[str, Figures]

    def rows(self) -> list[list[str]]:
        """Return its rows in a table."""
        names = [f"{self.case}, {self.size}", *[""] * (len(self.found) - 1)]
        return [[name, by, *each.cells()] for name, (by, each) in zip(names, self.found.items(), strict=True)]


def run(options: Options) -> Result:
    """Play all of it, or what was chosen."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks delays")
    parser.add_argument("layouts", nargs="*", metavar="LAYOUT", help=f"of {', '.join(LAYOUTS)}; all where left out")
    parser.add_argument("--before", metavar="COMMIT", help="play it with the package of this commit, too")
    typed = parser.parse_args(list(options.words))
    layouts = typed.layouts or (["alone"] if options.quick else list(LAYOUTS))
    cells: list[Cell] = []
    with tempfile.TemporaryDirectory() as folder:
        if typed.before:
            unpack(typed.before, Path(folder))
        before = Path(folder) if typed.before else None
        for layout in layouts:
            chosen = [(case, size) for size in sorted(LAYOUTS[layout]) for case in CASES]
            for case, size in QUICK if options.quick else chosen:
                say(f"delays: batches {layout}, {case}, {size}")
                cells.append(_played(case, layout, size, before, once=options.quick))
    tables = [_table(layout, [each for each in cells if each.layout == layout]) for layout in layouts]
    return Result(tables, seen_of(cells), {"rows": list(_drawn(cells))})


def _played(case: str, layout: str, size: int, before: Path | None, *, once: bool) -> Cell:
    """Play one case."""
    seeds = 1 if once else SEEDS[size]
    now = play(ROOT, case, layout, size, seeds)
    found: dict[str, Figures] = {}
    if before:
        found["before"] = seen(play(before, case, layout, size, seeds))
    elif seeds == SEEDS[size] and (known := BEFORE.get(f"{case}, {layout}, {size}")):
        found["before"] = Figures(*known)
    found["now"] = seen(now)
    found["fixed"] = others(now, found["now"].looks, fixed)
    found["back-off"] = others(now, found["now"].looks, back_off)
    return Cell(case, layout, size, found)


def _table(layout: str, cells: Sequence[Cell]) -> Table:
    head = ["restart times, batch", "by", "looks", "mean s", "99% s", "99%/mean", "worst s", "last s", "last 95%"]
    title = f"From a server's end until it is seen, batches {layout}; looks for a batch, the same for all but `before`"
    return Table(title, head, [row for cell in cells for row in cell.rows()])


def seen_of(cells: Sequence[Cell]) -> dict[str, float]:
    """Return what the goals are held to: the worst case, and beside the version before all cases together."""
    now = [cell.found["now"] for cell in cells]
    waited = [each.found["now"].last for each in cells if each.size == 1000 and each.layout != "together"]
    goals = {"delay_p99": max(each.p99 / each.mean for each in now)}
    goals |= {"delay_last": max(waited)} if waited else {}
    if known := [(cell.found["now"], cell.found["before"]) for cell in cells if "before" in cell.found]:
        goals["delay_mean"] = geometric_mean(new.mean / old.mean for new, old in known)
        goals["delay_looks"] = geometric_mean(new.looks / old.looks for new, old in known)
    return goals


def _drawn(cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        for by, each in cell.found.items():
            told = {"case": cell.case, "layout": cell.layout, "size": cell.size, "name": by, "ours": by == "now"}
            yield told | {"looks": each.looks, "mean": each.mean, "p99": each.p99, "last": each.last}


def main() -> int:
    """Print the tables."""
    return command(run)


if __name__ == "__main__":
    raise SystemExit(main())
