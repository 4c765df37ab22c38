"""Simulate rollouts by seed: ``python -m tests.simulated --seeds 0-10000``; one alone: ``--seed 4711 -v``.

``--dimensions old`` plays a seed as it was before worlds knew frozen processes, late stores and other people.
``--holders`` plays rollouts that processes of several machines hold in turn, over one store with leases.
``--killed-everywhere`` kills one small rollout at every step and every write instead.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from .agreement import false_alarms
from .checker import check
from .dimensions import DIMENSIONS, draw
from .holders.judging import judge as judge_holders
from .holders.scene import draw as draw_scene
from .holders.stage import play as play_scene
from .holders.telling import told
from .holders.verdicts import check as check_scene
from .judge import Verdict, judge
from .killing import EVERYWHERE, fates
from .play import Record, play


def judged(seeds: Iterable[int], jobs: int, judging: Callable[[int], Verdict]) -> Iterator[Verdict]:
    """Judge seeds in so many processes; the verdicts come in any order."""
    if jobs == 1:
        yield from map(judging, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(judging, seeds, chunksize=8)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulated", description=__doc__)
    parser.add_argument("--seeds", default="0-1000", help="FIRST-END, the end exclusive")
    parser.add_argument("--seed", type=int, help="one seed alone")
    parser.add_argument(
        "--dimensions",
        default="new",
        type=known,
        help=f"old: the worlds as they were first; new: with more in them; or some of {', '.join(DIMENSIONS)}",
    )
    parser.add_argument("--holders", action="store_true", help="several machines share a store, and hold runs in turn")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("-v", "--verbose", action="store_true", help="with --seed: the world and its journal")
    parser.add_argument("--killed-everywhere", action="store_true", help="no seeds: a rollout killed at every instant")
    options = parser.parse_args()
    if options.killed_everywhere:
        return everywhere()
    if options.seed is not None and options.holders:
        return alone_with_holders(options.seed, verbose=options.verbose)
    if options.seed is not None:
        return alone(options.seed, options.dimensions, verbose=options.verbose)
    first, _, end = options.seeds.partition("-")
    judging = judge_holders if options.holders else partial(judge, dimensions=options.dimensions)
    worlds = "--holders" if options.holders else f"--dimensions {options.dimensions}"
    return many(range(int(first), int(end)), options.jobs, judging, worlds)


def known(dimensions: str) -> str:
    """Return what was asked for, if there is such a thing."""
    if dimensions not in {"old", "new"} and not set(dimensions.split(",")) <= DIMENSIONS.keys():
        raise argparse.ArgumentTypeError(f"there is no dimension {dimensions!r}")
    return dimensions


def alone(seed: int, dimensions: str, *, verbose: bool) -> int:
    """Judge one seed and say what happened."""
    record = play(draw(seed, dimensions))
    if verbose:
        tell(record)
    for end in record.ends:
        say(f"life {end.life}: {end.run_id}: {end.how!r}")
    broken = check(record) or list(false_alarms(record))
    for promise in broken:
        say(f"BROKEN {promise}")
    return 1 if broken else 0


def alone_with_holders(seed: int, *, verbose: bool) -> int:
    """Judge one seed of several holders and say what happened."""
    scene = draw_scene(seed)
    record = play_scene(scene)
    for line in told(scene, record) if verbose else ():
        say(line)
    broken = check_scene(record)
    for promise in broken:
        say(f"BROKEN {promise}")
    return 1 if broken else 0


def everywhere() -> int:
    """Kill a small rollout at every instant and say what came of it."""
    broken = 0
    for name, worlds in EVERYWHERE.items():
        found = fates(worlds())
        missed = found.worlds - found.killed
        say(f"{name}: {found.worlds} worlds, {missed} not killed, {len(found.broken)} broken")
        for promise in found.broken:
            say(f"BROKEN {promise}")
        broken += len(found.broken) + missed
    return 1 if broken else 0


def tell(record: Record) -> None:
    """Say the world and everything that happened in it."""
    world = record.world
    say(f"dimensions: {', '.join(world.has) or 'none'}")
    parts = (world.strategy, world.engine, world.cloud, world.elsewhere, world.troubles, *world.runs, *world.lives)
    for part in parts:
        say(str(part))
    for row in record.database.journal():
        for line in row.lines:
            say(f"{row.tick:6d} {row.at:11.3f} {line.decode()}")
    for ordered in record.commands:
        say(f"{ordered.tick:6d} {ordered.at:11.3f} command {ordered.number} of {ordered.run_id}: {ordered.body}")
    for frozen in record.freezes:
        say(f"       {frozen.begin:11.3f} process {frozen.process} frozen until {frozen.end:.3f}")
    for restart in record.foreign:
        say(f"       {restart.begin:11.3f} somebody else restarts {restart.server[:8]} until {restart.end:.3f}")
    for sent in (sent for cloud in record.clouds.values() for sent in cloud.sends):
        begun = [(one.server[:8], round(one.at, 2), round(one.ends, 2), one.ending) for one in sent.begun]
        say(f"{sent.tick:6d} {sent.at:11.3f} sent {len(sent.servers)}, carried out {sent.performed_at}: {begun}")


def many(seeds: range, jobs: int, judging: Callable[[int], Verdict], worlds: str) -> int:
    """Judge many seeds; print each that breaks a promise, and the sums at the end."""
    began = time.perf_counter()
    total: Counter[str] = Counter()
    failing: list[int] = []
    for verdict in judged(seeds, jobs, judging):
        total += verdict.figures
        if verdict.broken:
            failing.append(verdict.seed)
            say(f"seed {verdict.seed} ({', '.join(verdict.has)}): {verdict.broken[0]}")
    took = time.perf_counter() - began
    say(f"{len(seeds)} seeds in {took:.0f} s ({took / max(1, len(seeds)) * 1000:.0f} ms each), {len(failing)} failing")
    for name in sorted(total):
        say(f"  {total[name]:9,d} {name}")
    for seed in sorted(failing):
        say(f"rerun: python -m tests.simulated {worlds} --seed {seed} -v")
    return 1 if failing else 0


def say(line: Any) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
