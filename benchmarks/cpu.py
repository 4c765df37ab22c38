"""CPU per restarted server of whole processes over real HTTP, at equal mean detection delay.

    python -m benchmarks cpu [BATCH ...] [--quick] [--repeats N]

The simulated cloud is another process; its own instants tell how long each ending stayed unseen. Ours runs first, then
the peers with the fixed interval that gives them the same mean delay; it is found once and kept while all contestants
run in turn, so that what else the machine does burdens all alike. A ratio is that of two runs of the same turn.

Ours do more than is asked of the peers, and pay for it here: the library looks at every server before its batch is sent
(precheck, 100 servers a look) and stores every step on disk; the command line also looks at all servers for its plan.
The peers send what they are given, forget it with their process, and know nothing of a lost answer. The quota is lifted
for all: every batch is under way at once, so that the schedule cannot learn from the first ones for the later ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.common import Options, Result, Table, command, median_and_spread, say
from benchmarks.judge import court

NEAR: Final = 0.1
"""Mean delays within so much of each other are equal."""


FAR: Final = 0.2
"""Mean delays that differ by more of the library's are told as such: the machine was not what it was at the fitting."""


class Work(NamedTuple):
    """How many servers are restarted in batches of a size; small batches need looks of their own, so they are fewer."""

    servers: int
    threads: int


WORK: Final = {1: Work(500, 64), 10: Work(5_000, 64), 100: Work(20_000, 32), 1_000: Work(20_000, 32)}
QUICK: Final = {100: Work(3_200, 32)}
LIBRARY, COMMAND, BARE = "ecsbatch, library", "ecsbatch restart", "bare aiohttp loop"


class Contestant(NamedTuple):
    """Who runs: a program of `benchmarks.contestants`, and in how many threads."""

    name: str
    program: str
    threads: int = 0

    @property
    def ours(self) -> bool:
        """Whether it finds its own times to look."""
        return self.program in {"ours", "command_line"}


class Cost(NamedTuple):
    """What one run took; CPU in microseconds per server, delay in seconds, looks at jobs and servers per job.

    Attributes:
        engine: CPU after the start.
        whole: CPU of the process.
        busy: the part of a core that the cloud took meanwhile; far below 1, or it would be what is measured.
    """

    engine: float
    whole: float
    delay: float
    looks: float
    server_looks: float
    busy: float


def measure(name: str, servers: int, interval: float = 0.0, batch: int = 100, threads: int = 32) -> Cost:
    """Run one contestant against a new cloud."""
    with court(servers) as cloud:
        words = [name, cloud.url, str(interval), str(batch), str(threads)]
        line = [sys.executable, "-m", "benchmarks.contestants", *words]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 - ours
        assert process.stdout is not None
        assert process.stderr is not None
        started = float(process.stdout.readline() or 0)
        process.stdout.read()
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said[-2000:]
    seen = cloud.verdict
    assert (seen["restarted"], seen["twice"], seen["seen"]) == (servers, 0, servers), seen
    whole = used.ru_utime + used.ru_stime
    figures = (seen[name] for name in ("delay", "looks", "server_looks", "busy"))
    return Cost((whole - started) / servers * 1e6, whole / servers * 1e6, *figures)


def fitted(who: Contestant, batch: int, servers: int, delay: float, tries: int) -> float:
    """Return the fixed interval that gives a contestant this mean delay."""
    interval = 2 * delay
    for _ in range(tries):
        cost = measure(who.program, servers, interval, batch, who.threads)
        if abs(cost.delay / delay - 1) <= NEAR:
            break
        interval = max(0.01, interval + 2 * (delay - cost.delay))
    return interval


def contestants(batch: int, work: Work, *, quick: bool) -> list[Contestant]:
    """Return who runs with batches of a size; the SDK that others are held to is the last."""
    threads = (64, work.threads) if batch == 100 and not quick else (work.threads,)
    sdks = [Contestant(f"official SDK, {number} threads", "sdk", number) for number in threads]
    return [Contestant(LIBRARY, "ours"), Contestant(COMMAND, "command_line"), Contestant(BARE, "bare"), *sdks]


def measured(batch: int, work: Work, options: Options) -> dict[str, list[Cost]]:
    """Run all contestants in turn, as often as is asked for."""
    who = contestants(batch, work, quick=options.quick)
    say(f"cpu: batches of {batch:,}, {work.servers:,} servers, which interval gives the same delay")
    first = measure("ours", work.servers, batch=batch)
    tries = 0 if options.quick else 3
    intervals = {one.name: 0.0 if one.ours else fitted(one, batch, work.servers, first.delay, tries) for one in who}
    costs: dict[str, list[Cost]] = {one.name: [] for one in who}
    for turn in range(options.repeats):
        say(f"cpu: batches of {batch:,}, turn {turn + 1} of {options.repeats}")
        for one in who:
            if options.quick and one.name == LIBRARY:
                costs[one.name].append(first)  # each run waits for its slowest server, ten seconds
                continue
            cost = measure(one.program, work.servers, intervals[one.name], batch, one.threads)
            costs[one.name].append(cost)
    return costs


def table_of(batch: int, work: Work, costs: Mapping[str, Sequence[Cost]]) -> Table:
    """Return the table of one size of batches."""
    rows: list[list[str]] = []
    for name, runs in costs.items():
        engine, whole = ratios(costs, name)
        cells = (
            median_and_spread([run.engine for run in runs]).text("{:.0f}", " us"),
            median_and_spread(engine).text("{:.2f}"),
            median_and_spread([run.whole for run in runs]).text("{:.0f}", " us"),
            median_and_spread(whole).text("{:.2f}"),
            median_and_spread([run.delay for run in runs]).text("{:.2f}", " s"),
            f"{median(run.looks for run in runs):.1f}",
            f"{median(run.server_looks for run in runs):.1f}",
            f"{median(run.busy for run in runs):.0%}",
        )
        rows.append([name, *cells])
    turns = len(next(iter(costs.values())))
    head = [
        "",
        "after its start",
        "of SDK",
        "whole process",
        "of SDK",
        "delay",
        "looks/job",
        "at servers",
        "cloud busy",
    ]
    title = f"CPU a server, {work.servers:,} servers in batches of {batch:,}"
    return Table(f"{title}; {of_turns(turns)}", head, rows, unlike(costs))


def unlike(costs: Mapping[str, Sequence[Cost]]) -> list[str]:
    """Say who saw ends sooner or later than our library did, so that its CPU is no figure at equal delay."""
    delays = {name: median(run.delay for run in runs) for name, runs in costs.items()}
    wanted = delays[LIBRARY]
    away = {name: delay for name, delay in delays.items() if abs(delay / wanted - 1) > FAR}
    told = (f"{name} {'later' if delay > wanted else 'sooner'}: {delay / wanted:.2f}" for name, delay in away.items())
    return [f"Not at the library's delay, and so with fewer or more looks: {'; '.join(told)} of it."] if away else []


def of_turns(runs: int) -> str:
    """Say of how many runs a table shows the medians."""
    return "one run" if runs == 1 else f"medians of {runs} turns (least-most)"


def ratios(costs: Mapping[str, Sequence[Cost]], name: str) -> tuple[list[float], list[float]]:
    """Return a contestant's CPU of the SDK's in each turn, after the start and of the whole process."""
    pairs = list(zip(costs[name], costs[[*costs][-1]], strict=True))
    return [a.engine / b.engine for a, b in pairs], [a.whole / b.whole for a, b in pairs]


def figures_of(batch: int, costs: Mapping[str, Sequence[Cost]]) -> list[dict[str, Any]]:
    """Return what a picture shows of one size of batches."""
    return [
        {
            "batch": batch,
            "name": name,
            "ours": name in {LIBRARY, COMMAND},
            "engine": median(run.engine for run in runs),
            "whole": median(run.whole for run in runs),
            "of_sdk": median(ratios(costs, name)[1]),
        }
        for name, runs in costs.items()
    ]


def run(options: Options) -> Result:
    """Measure batches of all sizes."""
    chosen = [int(word) for word in options.words]
    work = QUICK if options.quick and not chosen else {batch: WORK[batch] for batch in chosen or WORK}
    costs = {batch: measured(batch, each, options) for batch, each in work.items()}
    seen: dict[str, float] = {}
    # The library after its start, of the SDK after its own; the command is all that is typed and paid for.
    if 100 in costs:
        seen["cpu_library"] = median(ratios(costs[100], LIBRARY)[0])
        seen["cpu_command"] = median(ratios(costs[100], COMMAND)[1])
    tables = [table_of(batch, work[batch], each) for batch, each in costs.items()]
    return Result(tables, seen, {"rows": [row for batch, each in costs.items() for row in figures_of(batch, each)]})


def main() -> int:
    """Print the tables."""
    return command(run)


if __name__ == "__main__":
    raise SystemExit(main())
