"""Memory and CPU per server of one rollout: ten thousand, a hundred thousand and a million servers, in virtual time.

    python -m benchmarks size [SERVERS ...] [--quick] [--repeats N]

The simulated cloud is another process at the end of a pipe: time stands still while it is asked, and nothing of it is
in the figures. Each size has a process of its own, a store on disk and the real quota. The million is really run, which
takes some minutes, and once; the others are repeated. Where sizes are given, they take the place of those above the
first.

The same work takes a half more CPU time where other programs have the machine's caches, and that changes from minute to
minute. So a rollout of minutes stands still now and then while one of the first size is run: those are what it is
compared with.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, NamedTuple

from benchmarks.common import Options, Result, Table, command, median_and_spread, say
from ecsbatch import EcsClient, Restarter, Strategy, open_store
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.simulator.cloud import CloudConfig, SimulatedCloud
from ecsbatch.simulator.virtual_time import VirtualClock, VirtualLoop
from ecsbatch.simulator.virtual_time import run as run_virtually

FIRST, SIZES, MILLION = 10_000, (100_000, 1_000_000), 1_000_000
ROUND_TRIP = 0.1

GOING = 20.0
"""Seconds after which a larger rollout stands still for one of the first size."""


class Size(NamedTuple):
    """What one rollout took: CPU seconds, and megabytes at the peak, of which ``start`` before its list was read.

    ``beside`` are the CPU seconds of the first size, run while this one stood still; 0 where it never did.
    """

    servers: int
    cpu: float
    peak: float
    start: float
    beside: float = 0.0


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
    ids = tuple(pipe.recv())  # each collection goes through a list, and this one is the host's
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
    run_virtually(main(), loop=loop)
    cpu = time.process_time() - begun
    pipe.send(None)
    seen = pipe.recv()
    assert seen == [servers, 0, 1000], seen
    return Size(servers, cpu, peak(), start)


def measure(servers: int) -> Size:
    """Run one rollout in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.size", "rollout", str(servers)]
    beside: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as going:  # noqa: S603 - ours
        while (told := _told(going, None if servers == FIRST else GOING)) is None:
            going.send_signal(signal.SIGSTOP)
            try:
                beside.append(measure(FIRST).cpu)
            finally:
                going.send_signal(signal.SIGCONT)
    if going.returncode:
        raise subprocess.CalledProcessError(going.returncode, command)
    return Size(*json.loads(told))._replace(beside=median(beside) if beside else 0.0)


def _told(going: subprocess.Popen[str], seconds: float | None) -> str | None:
    """Return what a process has printed, None where it still runs after so many seconds."""
    try:
        return going.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        return None


def first_of(runs: Sequence[Size], found: Mapping[int, Sequence[Size]]) -> float:
    """Return the CPU seconds of the first size that runs are compared with."""
    beside = [each.beside for each in runs if each.beside]
    return median(beside or [each.cpu for each in found[FIRST]])


def measured(sizes: Sequence[int], options: Options) -> dict[int, list[Size]]:
    """Run rollouts of all sizes in turn; those of a million once."""
    found: dict[int, list[Size]] = {size: [] for size in sizes}
    for turn in range(options.repeats):
        for size, runs in found.items():
            if size < MILLION or not turn:
                say(f"size: {size:,} servers, turn {turn + 1} of {1 if size >= MILLION else options.repeats}")
                runs.append(measure(size))
    return found


def table_of(found: Mapping[int, Sequence[Size]]) -> Table:
    """Return the table; the ratio is that of the medians."""
    rows: list[list[str]] = []
    for servers, runs in found.items():
        cpu = median_and_spread([each.cpu / servers * 1e6 for each in runs])
        peak = median_and_spread([each.peak for each in runs])
        own = median((each.peak - each.start) * 2**20 / servers for each in runs)
        ratio = cpu.median * FIRST / first_of(runs, found) / 1e6
        cells = [str(len(runs)), cpu.text("{:.0f}", " us"), f"{ratio:.2f}", peak.text("{:.0f}", " MB"), f"{own:.0f} B"]
        rows.append([f"{servers:,}", *cells])
    head = ["servers", "runs", "CPU a server", f"of that at {FIRST:,}", "peak", "a server"]
    return Table("One rollout in virtual time, the simulator apart; medians (least-most)", head, rows)


def run(options: Options) -> Result:
    """Measure all sizes."""
    sizes = [FIRST, *(map(int, options.words) if options.words else () if options.quick else SIZES)]
    found = measured(sizes, options)
    figures: dict[int, dict[str, Any]] = {
        servers: {"name": f"{servers:,}", "ours": True, "servers": servers}
        | {"cpu": median(each.cpu for each in runs) / servers * 1e6, "peak": median(each.peak for each in runs)}
        | {"first": first_of(runs, found) / FIRST * 1e6}
        for servers, runs in found.items()
    }
    return Result([table_of(found)], seen_of(figures), {"rows": [*figures.values()]})


def seen_of(figures: Mapping[int, Mapping[str, Any]]) -> dict[str, float]:
    """Return what the goals are held to: a million servers, where they were run, whatever ran beside them."""
    if (million := figures.get(MILLION)) is None:
        return {}
    return {"million_memory": million["peak"], "million_cpu": million["cpu"] / million["first"]}


def main() -> int:
    """Print the table."""
    if sys.argv[1:2] == ["rollout"]:
        print(json.dumps(rollout(int(sys.argv[2]))))
        return 0
    return command(run)


if __name__ == "__main__":
    raise SystemExit(main())
