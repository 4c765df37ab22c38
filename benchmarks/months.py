"""An hour of a service that asks for 100 restarts a second: nothing may grow with the number ever made.

Virtual time, a quota of 10,000 a minute; one restart in fifty is given up by its caller, a watcher comes every
minute, reads from the run's begin, and goes. The simulated cloud keeps its books in another process, so that all that
is measured is ours: the memory of the process, of it the store's, asyncio's tasks, claims and grants.
``python -m benchmarks months [MINUTES] [memory|file|rollouts]``: with the store that a client has where none is given,
with one on disk, or rollouts of 20 servers, ten at a time. In less than half an hour the first run of restarts is
still growing.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.common import table
from benchmarks.size import PipeSender, simulate
from ecsbatch import EcsClient, Engine, Quota, Restarter, Strategy, open_store
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.simulator.cloud import CloudConfig
from ecsbatch.simulator.virtual_time import VirtualClock, VirtualLoop, run

A_SECOND: Final = 100
FLEET: Final = 20_000
QUOTA: Final = Quota(10_000, 60.0)
GIVEN_UP: Final = 50
"""One restart in so many has a caller who does not wait for it."""

_ALL: Final = Strategy(max_unavailable="100%", waves="100%")

_WHAT: Final = {
    "memory": f"{A_SECOND} restarts a second, a store in memory",
    "file": f"{A_SECOND} restarts a second, a store on disk",
    "rollouts": "rollouts, a store in memory",
}

SAMPLES: Final = 6
NOISE: Final = 1.05
"""The most by which the second half of the samples may exceed the first: what an allocator keeps differs by as much."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_MB: Final = 2**20


class Sample(NamedTuple):
    """What there is at one moment: megabytes, and numbers of things."""

    minute: int
    memory: float
    store: float
    tasks: int
    rows: dict[str, int]


class Service:
    """A service that restarts servers for as long as it is told to.

    Attributes:
        samples: what was there, from time to time.
    """

    def __init__(self, ecs: EcsClient, restarter: Restarter, ids: list[str]) -> None:
        self.samples: list[Sample] = []
        self._ecs = ecs
        self._restarter = restarter
        self._ids = ids
        self._asked = 0
        self._waiting: set[asyncio.Task[Any]] = set()

    async def restarts(self, seconds: int) -> None:
        """Ask for 100 restarts in each second."""
        for second in range(seconds):
            for _ in range(A_SECOND):
                self._ask(self._ids[self._asked % len(self._ids)])
            if second % 60 == 0:
                asyncio.get_running_loop().call_later(3, self._start(self._watch()).cancel)
            await asyncio.sleep(1)

    async def _watch(self) -> None:
        async for _ in self._restarter.events():
            pass

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        return task

    def _ask(self, server: str) -> None:
        task = self._start(self._restarter.restart(server))
        self._asked += 1
        if self._asked % GIVEN_UP == 0:
            asyncio.get_running_loop().call_later(0.1 * (self._asked % 7), task.cancel)

    async def rollouts(self, seconds: int) -> None:
        """Run rollouts of 20 servers, ten at a time."""
        until = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(*(self._one_after_another(part, until) for part in range(10)))

    async def _one_after_another(self, part: int, until: float) -> None:
        while asyncio.get_running_loop().time() < until:
            await self._restarter.rollout(self._ids[20 * part : 20 * part + 20], _ALL).run()

    async def ended(self) -> None:
        """Wait until all who wait have heard."""
        if self._waiting:
            await asyncio.wait(self._waiting)

    def sample(self, minute: int) -> None:
        """Note what there is now."""
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE / _MB
        execute = _database(self._restarter).connection.execute
        pages, size = (execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in ("page_count", "page_size"))
        rows = {
            name: execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608 - our own tables
            for name in ("runs", "journal", "claims", "grants")
        }
        tasks = len(asyncio.all_tasks()) - len(self._waiting)
        self.samples.append(Sample(minute, resident, pages * size / _MB, tasks, rows))


def _database(restarter: Restarter) -> Any:
    store: Any = restarter.store
    return store._handle.opened[0]  # noqa: SLF001 - the benchmark looks behind the store


def live(minutes: int, what: str) -> list[Sample]:
    """Have a service live for so many virtual minutes; return what was there after each part of them."""
    pipe, other = multiprocessing.Pipe()
    config = CloudConfig(servers=FLEET, quota_limit=QUOTA.limit, latency=0.0)
    multiprocessing.get_context("spawn").Process(target=simulate, args=(other, config), daemon=True).start()
    ids = pipe.recv()
    loop = VirtualLoop()

    async def main() -> list[Sample]:
        with tempfile.TemporaryDirectory() as folder:
            async with AsyncExitStack() as opened:
                ecs, restarter = await _start(
                    opened, pipe, config, VirtualClock(loop), folder if what == "file" else ""
                )
                service = Service(ecs, restarter, ids)
                ask: Callable[[int], Awaitable[None]] = service.rollouts if what == "rollouts" else service.restarts
                for part in range(SAMPLES):
                    await ask(minutes * 60 // SAMPLES)
                    service.sample((part + 1) * minutes // SAMPLES)
                await service.ended()
                await asyncio.sleep(60)
                service.sample(minutes + 1)
                return service.samples

    samples = run(main(), loop=loop)
    pipe.send(None)
    restarted, _, fullest = pipe.recv()
    assert restarted, "nothing was restarted"
    assert fullest <= QUOTA.limit, fullest
    return samples


async def _start(
    opened: AsyncExitStack, pipe: Connection, config: CloudConfig, clock: VirtualClock, folder: str
) -> tuple[EcsClient, Restarter]:
    ecs = EcsClient(
        auth=KeyAuth(config.access_key, config.secret_key),
        project_id=config.project_id,
        endpoint="https://ecs.example.com",
        sender=PipeSender(pipe),
        clock=clock,
    )
    await opened.enter_async_context(ecs)
    store = open_store(f"sqlite:///{folder}/restarts.db", clock=clock, inline=True) if folder else None
    if store is not None:
        await opened.enter_async_context(store)
    restarter = Restarter(ecs, store, engine=Engine(quota=QUOTA), clock=clock, seed=1)
    return ecs, await opened.enter_async_context(restarter)


def verdict(samples: list[Sample], *, on_disk: bool) -> list[str]:
    """Return what grows, in words; nothing may. A store on disk grows by its history, and its file is no memory."""
    lived, end = samples[:-1], samples[-1]
    half = len(lived) // 2
    found: list[str] = []
    if max(s.memory for s in lived[half:]) > NOISE * max(s.memory for s in lived[:half]):
        found.append("memory")
    if min(s.tasks for s in lived[half:]) > min(s.tasks for s in lived[:half]):  # those of requests come and go
        found.append("tasks")
    if not on_disk and max(s.store for s in lived[half:]) > NOISE * max(s.store for s in lived[:half]):
        found.append("the store")
    if end.rows["claims"]:
        found.append("claims")
    return found


def main() -> int:
    """Print the table; 1 if something grows."""
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    what = sys.argv[2] if len(sys.argv) > 2 else "memory"
    begun = time.process_time()
    samples = live(minutes, what)
    cpu = time.process_time() - begun
    names = list(samples[0].rows)
    rows = [
        [f"{s.minute}", f"{s.memory:.0f} MB", f"{s.store:.1f} MB", f"{s.tasks}", *(f"{s.rows[n]:,}" for n in names)]
        for s in samples
    ]
    table(
        f"{_WHAT[what]}, {minutes} virtual minutes, {cpu:.0f} s of CPU",
        ["minute", "memory", "store", "tasks", *names],
        rows,
    )
    found = verdict(samples, on_disk=what == "file")
    print(f"GROWS: {', '.join(found)}" if found else "nothing grows")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
