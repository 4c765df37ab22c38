"""A simulated cloud in a process of its own that also notes every look: ``python -m benchmarks.judge``.

It prints its URL, serves until its standard input ends, and then prints what it saw: how long an ending stayed unseen,
by the cloud's own instants, so that all clients are measured by the same eyes.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import mean
from typing import Any

from aiohttp import web

from benchmarks.speed import SPEED
from ecsbatch.simulator.cloud import CloudConfig, Reply, SimulatedCloud
from ecsbatch.simulator.gateway import ReceivedRequest
from ecsbatch.simulator.server import HttpFront


class Judge(SimulatedCloud):
    """A cloud that remembers who looked when."""

    def __init__(self, config: CloudConfig) -> None:
        started = time.monotonic()
        super().__init__(config, lambda: (time.monotonic() - started) * SPEED, time.time)
        self.looks: defaultdict[str, list[float]] = defaultdict(list)
        self.server_looks = 0
        self._first = self._last = 0.0
        self._spent = 0.0

    def perform(self, received: ReceivedRequest, fault: str, at: float) -> Reply | None:
        """Note looks."""
        self._last = time.monotonic()
        if not self._first:
            self._first, self._spent = self._last, time.process_time()
        head, _, last = received.path.rpartition("/")
        if head.endswith("/jobs"):
            self.looks[last].append(at)
        self.server_looks += last == "detail"
        return super().perform(received, fault, at)

    def verdict(self) -> dict[str, Any]:
        """Return what matters; seconds are real, and busy is the part of a core that this process took."""
        busy = (time.process_time() - self._spent) / max(0.001, self._last - self._first)
        delays: list[float] = []
        for job in self.jobs:
            looks = self.looks[job.id]
            # A look between the last ending and none at all: whoever stopped looking early has not seen it.
            delays += [
                (looks[place] - end) / SPEED for end in job.sub_ends if (place := bisect_left(looks, end)) < len(looks)
            ]
        audit = self.audit()
        return {
            "busy": busy,
            "restarted": audit["restarted_servers"],
            "twice": audit["restarted_more_than_once"],
            "seen": len(delays),
            "delay": mean(delays) if delays else 0.0,
            "looks": mean(len(looks) for looks in self.looks.values()) if self.looks else 0.0,
            "server_looks": self.server_looks / max(1, len(self.looks)),
        }

    @property
    def jobs(self) -> list[Any]:
        """All jobs, from where the cloud keeps them."""
        return list(self._service.jobs._jobs.values())  # noqa: SLF001 - the judge is the cloud


async def serve(servers: int) -> None:
    """Serve until standard input ends."""
    judge = Judge(CloudConfig(servers=servers, quota_limit=None, latency=0.0, job_retention=86_400.0))
    runner = web.ServerRunner(web.Server(HttpFront(judge, SPEED, "127.0.0.1").answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    # The judge is to be quick rather than small: nothing that it makes is worth a search for cycles.
    gc.freeze()
    gc.disable()
    await asyncio.to_thread(sys.stdin.read)
    sys.stdout.write(json.dumps(judge.verdict()) + "\n")
    await runner.cleanup()


@dataclass
class Court:
    """A judge at work.

    Attributes:
        url: of the cloud.
        verdict: what the judge saw, once the block is over.
    """

    url: str
    verdict: dict[str, Any]


@contextmanager
def court(servers: int) -> Generator[Court]:
    """Have a judge in another process for as long as the block runs."""
    command = [sys.executable, "-m", "benchmarks.judge", str(servers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        assert process.stdin is not None
        assert process.stdout is not None
        there = Court(process.stdout.readline().strip(), {})
        try:
            yield there
        finally:
            process.stdin.close()
            there.verdict.update(json.loads(process.stdout.readline()))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
