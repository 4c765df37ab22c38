"""Kill the holder of a run with standbys beside it, again and again: ``python tests/cli/takeovers.py --kills 20``.

The store is a PostgreSQL server of its own. It prints how long each run was without a process, from the kill to the
event ``holder.changed`` of the next one, and what the simulated cloud's books say in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # as `python tests/cli/takeovers.py` it finds no other room

from fork_server import Command
from postgres.server import Server
from typed_commands import Simulator, Terminal, simulate

from ecsbatch import EcsbatchError, open_store
from ecsbatch.model.events import HolderChanged

RUN = "night"
PATIENCE = 60.0


@dataclass
class Takeovers:
    """What came of it.

    Attributes:
        seconds: from each kill to the next holder's first event.
        status: how the run ended.
        audit: the cloud's books.
        receipt: what `ecsbatch audit` says.
    """

    seconds: list[float] = field(default_factory=list[float])
    status: str = ""
    audit: dict[str, Any] = field(default_factory=dict[str, Any])
    receipt: int = -1

    @property
    def told(self) -> str:
        """The figures in a line."""
        return (
            f"{len(self.seconds)} kills, median {statistics.median(self.seconds):.2f} s, "
            f"most {max(self.seconds):.2f} s; {self.status}; {self.audit['restarted_servers']} servers restarted, "
            f"{self.audit['restarted_more_than_once']} twice, fullest window {self.audit['fullest_window']} of "
            f"{self.audit['quota_limit']}; audit ends with {self.receipt}"
        )


async def holders(url: str) -> list[tuple[int, float]]:
    """Return the process id of each holder of the run and when it came."""
    async with open_store(url, read_only=True) as store:
        found, after = list[tuple[int, float]](), 0
        while events := await store.events(RUN, after):
            after = events[-1].seq
            found += [(each.event.pid, each.ts) for each in events if isinstance(each.event, HolderChanged)]
    return found


def next_holder(url: str, known: int) -> tuple[int, float]:
    """Wait for one more than are known, and return it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(EcsbatchError):  # not even its tables are there yet
            if len(found := asyncio.run(holders(url))) > known:
                return found[known]
        time.sleep(0.1)  # nothing tells it: the processes are killed ones and those that come after
    raise AssertionError("nobody has taken the run over")


def play(
    folder: Path, simulator: Simulator, url: str, *, kills: int, every: float, speed: int, down: str = "2%"
) -> Takeovers:
    """Begin a run, and kill whoever holds it so many times."""
    told, window = Takeovers(), 60 / speed
    typed = Terminal(folder, simulator.environment | {"ECSBATCH_STORE": url})
    engine = ("--quota", f"1000/{window:g}s", "--typical-restart", "2s", "--unknown-grace", f"{max(1.0, window):g}s")
    engine += ("--request-timeout", "1s", "--api-rate", "100/s")
    (folder / "fleet.txt").write_text("\n".join(simulator.ids), encoding="utf-8")
    limits = ("--waves", "100%", "--max-unavailable", down, "--max-failures", "100%", "--max-failures-per-wave", "100%")
    first = typed.begin("restart", "fleet.txt", "--yes", "--quiet", *limits, *engine, "--run-id", RUN)
    processes: dict[int, Command] = {first.pid: first}

    def stand_by() -> None:
        worker = typed.begin("work", "--quiet", *engine)
        processes[worker.pid] = worker

    try:
        for _ in range(2):
            stand_by()
        pid, _ = next_holder(url, 0)
        for number in range(1, kills + 1):
            time.sleep(every)  # real processes: a kill is to come at any instant of a holder's life
            at = time.time()
            processes.pop(pid).send_signal(signal.SIGKILL)
            pid, came = next_holder(url, number)
            told.seconds.append(came - at)
            stand_by()
        while (stands := json.loads(typed.type("status", RUN, "-o", "json").stdout))["status"] == "running":
            time.sleep(0.5)  # each look is a process of its own
        told.status, told.receipt = stands["status"], typed.type("audit", RUN).returncode
        told.audit = simulator.audit()
    finally:
        typed.end()
    return told


def main() -> int:
    """Do it once and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--every", type=float, default=3.0)
    parser.add_argument("--servers", type=int, default=3000)
    parser.add_argument("--speed", type=int, default=20)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = Server()
        server.start()
        stack.callback(server.remove)
        words = ["--servers", str(given.servers), "--speed", str(given.speed)]
        for cloud in simulate(folder, words):
            told = play(folder, cloud, server.url(), kills=given.kills, every=given.every, speed=given.speed)
    print(told.told)  # noqa: T201 - a program's output
    print(" ".join(f"{each:.2f}" for each in told.seconds))  # noqa: T201
    whole = told.audit["restarted_servers"] == given.servers and not told.audit["restarted_more_than_once"]
    return 0 if whole and max(told.seconds) <= 6 else 1


if __name__ == "__main__":
    raise SystemExit(main())
