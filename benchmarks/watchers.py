"""CPU per server of those who watch a rollout: ``python -m benchmarks watchers [SERVERS]``.

The same rollout in virtual time with nobody, ten and fifty who follow its events or its lines of JSON and count them.
What the watchers cost is the difference to the rollout alone. All are measured in turn, in this process, and the least
of the repeats counts. Fifty together are promised to cost at most 100 us a server.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Callable
from functools import partial

from benchmarks.common import Simulated, table
from ecsbatch import Strategy

REPEATS = 3
WATCHERS = (0, 10, 50)
PROMISED = 100.0


def watched(servers: int, watchers: int, kind: str) -> float:
    """Return the CPU seconds of a rollout with so many watchers."""
    world = Simulated(servers=servers, latency=0.1)
    spent: list[float] = []
    world.play(partial(_run, world, watchers, kind, spent.append))
    return spent[0]


async def _run(world: Simulated, watchers: int, kind: str, tell: Callable[[float], object]) -> None:
    gc.collect()
    begun = time.process_time()
    rollout = world.engine.rollout(world.ids, Strategy(max_unavailable="100%", waves="100%"))

    async def count() -> int:
        seen = 0
        async for _ in getattr(rollout, kind)():
            seen += 1
        return seen

    async with asyncio.TaskGroup() as group:
        counting = [group.create_task(count()) for _ in range(watchers)]
        await rollout.run()
    tell(time.process_time() - begun)
    assert {task.result() for task in counting} <= {rollout.state.seq}


def main() -> int:
    """Print the table; 1 if the promise is broken."""
    servers = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    cases = [(kind, watchers) for kind in ("events", "lines") for watchers in WATCHERS]
    spent: dict[tuple[str, int], float] = {}
    for _ in range(REPEATS):
        for kind, watchers in cases:
            seconds = watched(servers, watchers, kind) / servers * 1e6
            spent[kind, watchers] = min(seconds, spent.get((kind, watchers), seconds))
    alone = min(spent["events", 0], spent["lines", 0])
    rows = [["nobody", f"{alone:.0f} us", "", ""]]
    for kind, watchers in cases:
        if watchers:
            more = spent[kind, watchers] - alone
            rows.append(
                [f"{watchers} of {kind}", f"{alone + more:.0f} us", f"{more:.0f} us", f"{more / watchers:.1f} us"]
            )
    rows.append(["promised of fifty", "", f"<={PROMISED:.0f} us", ""])
    table(f"CPU per server, {servers:,} servers, the least of {REPEATS}", ["watchers", "all", "together", "each"], rows)
    kept = all(spent[kind, 50] - alone <= PROMISED for kind in ("events", "lines"))
    print("promises kept" if kept else "A PROMISE IS BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
