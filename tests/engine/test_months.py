"""What a service has in memory after months is what it had after a day: nothing is kept of what is over.

`python -m benchmarks months` measures an hour of it, memory and store too.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter, deque
from contextlib import suppress

from test_direct_runs import short_lived
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.restarter import Restarter

_WAITING = ("_asyncio.", "asyncio.", "builtins.coroutine", "builtins.async_generator")


def ours() -> Counter[str]:
    """Count the objects of this package, without the simulator's, and what is waited for, in the whole process."""
    gc.collect()
    kinds = [type(each) for each in gc.get_objects()]
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in kinds]
    return Counter(name for name in names if name.startswith(("ecsbatch.", *_WAITING)) and "simulator" not in name)


async def a_day(restarter: Restarter, ids: list[str]) -> None:
    """Restart servers one by one, some with a caller who gives up, beside rollouts, one resumed, and watchers."""
    single, first, second = ids[:30], ids[30:45], ids[45:]
    watcher = asyncio.create_task(drained(restarter))
    waiting = [asyncio.create_task(restarter.restart(server)) for server in single]
    await asyncio.sleep(2)
    for task in waiting[::7]:
        task.cancel()
    stopped = asyncio.create_task(restarter.rollout(first, Strategy(max_unavailable="100%", waves="100%")).run())
    joined = [asyncio.create_task(restarter.restart(server)) for server in first]
    await asyncio.sleep(5)
    for task in joined[::2]:
        task.cancel()
    stopped.cancel()
    with suppress(asyncio.CancelledError):
        await stopped
    watcher.cancel()
    late = asyncio.create_task(drained(restarter))
    await (await restarter.resume()).run()
    await restarter.rollout(second, Strategy(max_unavailable="100%", waves="100%")).run()
    await asyncio.wait([*waiting, *joined])
    late.cancel()
    await asyncio.sleep(90)


async def drained(restarter: Restarter) -> None:
    """Watch all direct restarts."""
    async for _ in restarter.events():
        pass


def test_nothing_is_kept_of_what_is_over() -> None:
    world = World(servers=60)
    others = ours()  # what tests before this one have left in the process

    async def main() -> tuple[list[Counter[str]], int, int]:
        seen: list[Counter[str]] = []
        async with world.client() as client, world.engine(client, None) as restarter:
            short_lived(restarter, 20)._ended = deque(maxlen=1)
            for _ in range(4):
                await a_day(restarter, world.ids)
                seen.append(ours())
            runs = await restarter.store.runs(1000)
            claimed = await restarter.store.claimed([("", server) for server in world.ids])
            return seen, sum(run.kind == "direct" for run in runs), len(claimed)

    seen, direct, claimed = world.live(main)
    assert seen[3] - seen[1] == Counter()
    assert (seen[3] - others)["ecsbatch.rollout.session.RunSession"] == 0
    assert direct <= 1
    assert claimed == 0
