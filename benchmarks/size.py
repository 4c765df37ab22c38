"""Memory and CPU per server of one rollout, at ten thousand and a hundred thousand servers, in virtual time.

The simulated cloud is another process at the end of a pipe: time stands still while it is asked, and nothing of it is
in the figures. Each size has a process of its own, a store on disk and the real quota. The design promises at most
300 MB for a million servers in one rollout (the whole process), and a CPU per server of at most 1.2 times that at ten
thousand. ``python -m benchmarks size 1000000`` measures the million too (six minutes; 276 MB where this was written);
without it, its row is reckoned from the slope, which tables that grow by doubling make a rough guess, and not judged.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from benchmarks.common import table
from ecsbatch import EcsClient, Restarter, Strategy, open_store
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.simulator.cloud import CloudConfig, SimulatedCloud
from ecsbatch.simulator.virtual_time import VirtualClock, VirtualLoop, run

SIZES = (10_000, 100_000)
MILLION, MEMORY, CPU = 1_000_000, 300.0, 1.2
ROUND_TRIP = 0.1


class Size(NamedTuple):
    """What one rollout took: CPU seconds, and megabytes at the peak, of which ``start`` before its list was read."""

    servers: int
    cpu: float
    peak: float
    start: float


def simulate(pipe: Connection, config: CloudConfig) -> None:
    """Be the cloud: answer each request as of the instant that comes with it."""
    now = [0.0]
    cloud = SimulatedCloud(config, lambda: now[0])
    pipe.send(cloud.ids())
    while (asked := pipe.recv()) is not None:
        now[0], method, target, headers, body = asked
        reply = cloud.receive(method, target, headers, body).execute()
        assert reply is not None
        pipe.send((reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.body))
    audit = cloud.audit()
    pipe.send([audit[key] for key in ("restarted_servers", "restarted_more_than_once", "fullest_window")])


class PipeSender:
    """Carries requests to the cloud's process, while virtual time stands still."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Send one request once."""
        on_sent()
        await asyncio.sleep(ROUND_TRIP / 2)
        _, _, rest = request.url.partition("://")
        host, _, target = rest.partition("/")
        headers = {"Host": host, **request.headers}
        self._pipe.send((asyncio.get_running_loop().time(), request.method, f"/{target}", headers, request.body))
        status, answered, body = self._pipe.recv()
        await asyncio.sleep(ROUND_TRIP / 2)
        return Answer(status, answered, body)


def peak() -> float:
    """Return the most megabytes that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rollout(servers: int) -> Size:
    """Run one rollout in this process."""
    pipe, other = multiprocessing.Pipe()
    cloud = CloudConfig(servers=servers, latency=0.0)
    multiprocessing.get_context("spawn").Process(target=simulate, args=(other, cloud), daemon=True).start()
    start = peak()
    ids = pipe.recv()
    config = CloudConfig(servers=1)
    loop = VirtualLoop()
    clock = VirtualClock(loop)
    auth = KeyAuth(config.access_key, config.secret_key)
    endpoint = "https://ecs.example.com"

    async def main() -> None:
        sender = PipeSender(pipe)
        with tempfile.TemporaryDirectory() as folder:
            async with (
                EcsClient(
                    auth=auth, project_id=config.project_id, endpoint=endpoint, sender=sender, clock=clock
                ) as ecs,
                open_store(f"sqlite:///{folder}/restarts.db", clock=clock, inline=True) as store,
                Restarter(ecs, store, clock=clock, seed=1) as restarter,
            ):
                await restarter.rollout(ids, Strategy(max_unavailable="100%", waves="100%")).run()

    begun = time.process_time()
    run(main(), loop=loop)
    cpu = time.process_time() - begun
    pipe.send(None)
    seen = pipe.recv()
    assert seen == [servers, 0, 1000], seen
    return Size(servers, cpu, peak(), start)


def measure(servers: int) -> Size:
    """Run one rollout in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.size", "rollout", str(servers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - ours
    return Size(*json.loads(done.stdout))


def rows_of(sizes: list[Size]) -> tuple[list[list[str]], bool]:
    """Return the table's rows, and whether the promises are kept."""
    first, last = sizes[0], sizes[-1]
    slope = (last.peak - first.peak) / (last.servers - first.servers)
    million = last.peak + slope * (MILLION - last.servers)
    rows: list[list[str]] = []
    for size in sizes:
        ratio = (size.cpu / size.servers) / (first.cpu / first.servers)
        per_server = (size.peak - size.start) * 2**20 / size.servers
        row: list[Any] = [f"{size.servers:,}", f"{size.cpu / size.servers * 1e6:.0f} us", f"{ratio:.2f}"]
        rows.append([*row, f"{size.peak:.0f} MB", f"{per_server:.0f} B"])
    if last.servers < MILLION:
        rows.append([f"{MILLION:,} (by the slope)", "", "", f"{million:.0f} MB", f"{slope * 2**20:.0f} B"])
    rows.append(["promised", "", f"<={CPU}", f"<={MEMORY:.0f} MB", ""])
    worst = max((size.cpu / size.servers) / (first.cpu / first.servers) for size in sizes)
    return rows, worst <= CPU and (last.servers < MILLION or million <= MEMORY)


def main() -> int:
    """Print the table; 1 if a promise is broken."""
    if sys.argv[1:2] == ["rollout"]:
        print(json.dumps(rollout(int(sys.argv[2]))))
        return 0
    sizes = [measure(servers) for servers in (*SIZES, *map(int, sys.argv[1:]))]
    rows, kept = rows_of(sizes)
    table("one rollout, the simulator apart", ["servers", "CPU each", "ratio", "peak", "each"], rows)
    print("promises kept" if kept else "A PROMISE IS BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
