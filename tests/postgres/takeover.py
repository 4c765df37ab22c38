"""Kills the holder of a run in its middle, again and again, and says how long it took until another process had it.

    python tests/postgres/takeover.py --times 20

Each time a rollout of 60 servers is begun, its process is killed (SIGKILL), and one or two standbys (`ecsbatch work`)
race for it. It exits with 1 where one took longer than six seconds, their median is above five, a server was restarted
twice or not at all, or the simulator counted more than its quota.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in (".", "tests", "tests/cli")]
os.environ.setdefault("PYTHONPATH", str(ROOT))

from ecsbatch.model import events as ev  # noqa: E402
from postgres.databases import Databases  # noqa: E402 - the path first
from postgres.server import Server  # noqa: E402
from postgres.taking_over import ENGINE, QUOTA, SERVERS, Scene, books, kill, scene  # noqa: E402

AT_MOST: Final = 6.0
MEDIAN: Final = 5.0
EACH: Final = 60
"""Servers of a rollout; some of those of one are restarted again by a later one."""


def once(stage: Scene, number: int, standbys: int) -> tuple[float, int]:
    """Lose a holder and see its run through; return the seconds until the next one and how many servers it had left."""
    run_id, first = f"k{number}", number * EACH % (SERVERS - EACH + 1)
    holder = stage.restart(run_id, stage.cloud.ids[first : first + EACH])
    # With the first requests in the air, with some of them ended, and with most of them ended.
    stage.until(run_id, *((ev.BatchAccepted, 2), (ev.ServerRestarted, 10), (ev.ServerRestarted, 45))[number % 3])
    died = kill(holder)
    taken = stage.until(run_id, ev.HolderChanged, 2)
    over = stage.until(run_id, ev.RunFinished)
    events = stage.events(run_id)
    restarted = {each.event.server for each in events if isinstance(each.event, ev.ServerRestarted)}
    assert len(restarted) == EACH, f"run {run_id} ended as {over.event} with {len(restarted)} servers restarted"
    assert len(stage.holders(run_id)) == 2, f"run {run_id} was taken more than once by {standbys} standbys"
    return taken.ts - died, EACH - sum(each.ts < died for each in events if isinstance(each.event, ev.ServerRestarted))


def play(times: int, standbys: int, url: str) -> list[float]:
    """Lose so many holders, one after another; return the seconds that each was missed."""
    took: list[float] = []
    with tempfile.TemporaryDirectory() as folder, scene(Path(folder), url) as stage:
        waiting = [stage.begin("work", *ENGINE) for _ in range(standbys)]
        time.sleep(1.0)  # until they stand by: nothing tells it, for there is no run yet
        for number in range(times):
            seconds, left = once(stage, number, standbys)
            took.append(seconds)
            sys.stdout.write(f"{number + 1:3}  {seconds:5.2f} s until the next holder, {left} servers were left\n")
            sys.stdout.flush()
        assert all(each.poll() is None for each in waiting), "a standby has ended"
        said = books(stage.cloud)
        assert said["restarts"] == EACH * times, said
        assert said["fullest_window"] <= QUOTA, said
        sys.stdout.write(f"the simulator's books: {said}\n")
    return took


def main() -> int:
    """Play it as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=20, help="how often [20]")
    parser.add_argument("--standbys", type=int, default=2, help="how many race for each run [2]")
    typed = parser.parse_args()
    server = Server()
    server.start()
    try:
        took = play(typed.times, typed.standbys, Databases(server.url()).create())
    finally:
        server.remove()
    most, median = max(took), statistics.median(took)
    sys.stdout.write(f"kill to holder.changed, {len(took)} times: median {median:.2f} s, at most {most:.2f} s\n")
    return int(most > AT_MOST or median > MEDIAN)


if __name__ == "__main__":
    sys.exit(main())
