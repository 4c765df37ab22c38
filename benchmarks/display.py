"""CPU of the live display: ``python -m benchmarks display [SERVERS] [--quick] [--repeats N]``.

The real display draws a real run's state on a pseudo-terminal, four pictures a second, while servers change and the
budget is full: few of them, many, many with thousands behind a health check or failed and not back up, and many in a
fleet of three hundred domains. What is counted is the CPU of making and writing the pictures; that of the changes
belongs to the run. It is to be 3% of a core at most, in each case.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from benchmarks.common import Options, Result, Table, command, median_and_spread, say
from benchmarks.cpu import of_turns
from ecsbatch.cli.live import FRAME
from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.progress import progress
from ecsbatch.views.terminal import TerminalDisplay

SECONDS = 8.0
_BATCH = 100


@dataclass(frozen=True)
class Case:
    """What happens while the display draws.

    Attributes:
        named: what it is.
        changes: servers that change in a second.
        in_flight: servers that are under way throughout.
        domains: zones of the fleet.
        check: the run's health check.
        held: servers that have failed and are not back up.
    """

    named: str
    changes: int
    in_flight: int = 1_000
    domains: int = 3
    check: str = ""
    held: int = 0


CASES = (
    Case("10 changes a second", 10),
    Case("5,000 changes a second", 5_000),
    Case("the same, 50,000 not healthy yet", 5_000, in_flight=50_000, check="tcp:22"),
    Case("the same, 5,000 failed and not back up", 5_000, held=5_000),
    Case("the same in 300 domains", 5_000, domains=300),
)


class Run:
    """A run of so many servers in its second wave, which goes on as it is told."""

    def __init__(self, servers: int, case: Case) -> None:
        ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(servers)]
        fleet = Fleet(ids, [f"az{number % case.domains}" for number in range(servers)])
        first = servers // 10
        waves = (Wave(1, 0, first, "10%"), Wave(2, first, servers, "100%"))
        full = case.in_flight + case.held
        plan = Plan(fleet, waves, max_unavailable=full, max_failures=servers, check=case.check)
        self.state = RolloutState("bench", plan)
        self._ids = ids
        self._now = 1_700_000_000.0
        self._happening = self._events(servers, case)
        self._apply(next(self._happening))

    @property
    def now(self) -> float:
        """The time by the run's events."""
        return self._now

    def go_on(self, changes: int) -> None:
        """Let so many servers end, each in an event of its own, and a quarter of a second pass."""
        self._now += FRAME
        for _ in range(changes):
            self._apply(next(self._happening))

    def _apply(self, events: list[ev.Event]) -> None:
        for event in events:
            self.state.apply(Recorded(self.state.seq + 1, self._now, "bench", event))

    def _events(self, servers: int, case: Case) -> Iterator[list[ev.Event]]:
        """Yield what begins the run, and then one server's end at a time; a new batch goes where one is through."""
        ids, first = self._ids, servers // 10
        opening: list[ev.Event] = [
            ev.RunStarted(total=servers),
            ev.HolderChanged(holder="ann@web", fence=1, limit=100_000, window=60.0),
            ev.WaveStarted(wave=1, servers=first),
            *_sent(1, ids[:first]),
            *(ev.ServerFailed(server=each, wave=1, batch=1, code="Ecs.0227", holds=True) for each in ids[: case.held]),
            *(ev.ServerRestarted(server=each, wave=1, batch=1, evidence="job") for each in ids[case.held : first]),
            ev.WaveFinished(wave=1, restarted=first),
            ev.WaveStarted(wave=2, servers=servers - first),
        ]
        batches = [ids[begin : begin + _BATCH] for begin in range(first, servers, _BATCH)]
        ahead = case.in_flight // _BATCH
        for number, batch in enumerate(batches[:ahead], 2):
            opening += _sent(number, batch)
        yield opening
        for number, batch in enumerate(batches, 2):
            if number - 2 + ahead < len(batches):
                yield list(_sent(number + ahead, batches[number - 2 + ahead]))
            for place, server in enumerate(batch):
                told: dict[str, Any] = {"server": server, "wave": 2, "batch": number, "evidence": "job"}
                yield [ev.ServerFailed(**told, code="Ecs.0227") if place == 0 else ev.ServerRestarted(**told)]


def _sent(batch: int, ids: list[str]) -> list[ev.Event]:
    return [
        ev.BatchSubmitting(batch=batch, servers=ids, updated=[""] * len(ids), wave=2),
        ev.BatchAccepted(batch=batch, job_id=f"job-{batch}"),
        ev.JobFinished(batch=batch, job_id=f"job-{batch}", status="SUCCESS"),
    ]


async def drawn(servers: int, case: Case) -> tuple[float, float]:
    """Return which part of a core the display takes in percent, and the milliseconds of the costliest picture."""
    run = Run(servers, case)
    gc.collect()
    master, slave = pty.openpty()
    # Another process reads the terminal, so that this costs us nothing.
    reader = subprocess.Popen(["/bin/cat"], stdin=master, stdout=subprocess.DEVNULL)  # noqa: ASYNC220 - it starts once
    with reader as screen, os.fdopen(slave, "w", encoding="utf-8") as tty:
        console = Console(file=tty, force_terminal=True, color_system="256", width=120, height=40)
        display = TerminalDisplay(console)
        spent: list[float] = []
        carried = 0.0
        lasts = min(SECONDS, servers / 2 / case.changes)  # until half of the fleet has ended, at most
        for _ in range(max(int(lasts / FRAME), 1)):
            carried += case.changes * FRAME
            run.go_on(int(carried))
            carried -= int(carried)
            begun = time.process_time()
            usage = Usage(limit=100_000, held=900, cooling=100, free=99_000, next_free_in=1.0)
            await display.show(progress(run.state, run.now, quota=Quota(100_000, 60.0), usage=usage))
            spent.append(time.process_time() - begun)
            await asyncio.sleep(0.1)
        await display.stop()
        screen.terminate()
    os.close(master)
    return sum(spent) / (len(spent) * FRAME) * 100, max(spent) * 1000


def run(options: Options) -> Result:
    """Draw all cases in turn, as often as is asked for."""
    servers = int(options.words[0]) if options.words else 100_000
    cases = CASES[:2] if options.quick else CASES
    seen: dict[str, list[tuple[float, float]]] = {case.named: [] for case in cases}
    for turn in range(options.repeats):
        say(f"display: turn {turn + 1} of {options.repeats}")
        for case in cases:
            seen[case.named].append(asyncio.run(drawn(servers, case)))
    rows: list[list[str]] = []
    figures: list[dict[str, Any]] = []
    for name, runs in seen.items():
        shares = median_and_spread([share for share, _ in runs])
        costliest = median_and_spread([most for _, most in runs])
        picture = f"{shares.median / 100 * FRAME * 1000:.1f} ms"
        rows.append([name, shares.text("{:.2f}", "%"), picture, costliest.text("{:.1f}", " ms")])
        figures.append({"name": name, "ours": True, "share": shares.median / 100})
    title = f"The display of {servers:,} servers, four pictures a second; {of_turns(options.repeats)}"
    table = Table(title, ["meanwhile", "of a core", "a picture", "the costliest"], rows)
    return Result([table], {"display_cpu": max(each["share"] for each in figures)}, {"rows": figures})


def main() -> int:
    """Print the table."""
    return command(run)


if __name__ == "__main__":
    raise SystemExit(main())
