"""Simulate rollouts by seed: ``python -m tests.simulated --seeds 0-10000``; one alone: ``--seed 4711 -v``."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from .agreement import false_alarms
from .checker import check
from .judging import Verdict, judge
from .lives import play
from .world import draw


def judged(seeds: Iterable[int], jobs: int) -> Iterator[Verdict]:
    """Judge seeds in so many processes; the verdicts come in any order."""
    if jobs == 1:
        yield from map(judge, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(judge, seeds, chunksize=8)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulated", description=__doc__)
    parser.add_argument("--seeds", default="0-1000", help="FIRST-END, the end exclusive")
    parser.add_argument("--seed", type=int, help="one seed alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("-v", "--verbose", action="store_true", help="with --seed: the world and its journal")
    options = parser.parse_args()
    if options.seed is not None:
        return alone(options.seed, verbose=options.verbose)
    first, _, end = options.seeds.partition("-")
    return many(range(int(first), int(end)), options.jobs)


def alone(seed: int, *, verbose: bool) -> int:
    """Judge one seed and say what happened."""
    record = play(draw(seed))
    if verbose:
        world = record.world
        for part in (world.strategy, world.engine, world.cloud, *world.runs, *world.lives):
            say(str(part))
        for row in record.database.journal():
            for line in row.lines:
                say(f"{row.tick:6d} {row.at:11.3f} {line.decode()}")
        for sent in record.cloud.sends:
            begun = [(one.server[:8], round(one.at, 2), round(one.ends, 2), one.ending) for one in sent.begun]
            say(f"{sent.tick:6d} {sent.at:11.3f} sent {len(sent.servers)}, carried out {sent.performed_at}: {begun}")
    for end in record.ends:
        say(f"life {end.life}: {end.run_id}: {end.how!r}")
    broken = check(record) or list(false_alarms(record))
    for promise in broken:
        say(f"BROKEN {promise}")
    return 1 if broken else 0


def many(seeds: range, jobs: int) -> int:
    """Judge many seeds; print each that breaks a promise, and the sums at the end."""
    began = time.perf_counter()
    total: Counter[str] = Counter()
    failing: list[int] = []
    for verdict in judged(seeds, jobs):
        total += verdict.figures
        if verdict.broken:
            failing.append(verdict.seed)
            say(f"seed {verdict.seed}: {verdict.broken[0]}")
    took = time.perf_counter() - began
    say(f"{len(seeds)} seeds in {took:.0f} s ({took / max(1, len(seeds)) * 1000:.0f} ms each), {len(failing)} failing")
    for name in sorted(total):
        say(f"  {total[name]:9,d} {name}")
    for seed in sorted(failing):
        say(f"rerun: python -m tests.simulated --seed {seed} -v")
    return 1 if failing else 0


def say(line: Any) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
