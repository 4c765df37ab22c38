"""What a store keeps of a server, and how many grants of quota a second it takes.

    python -m benchmarks store [SERVERS] [--quick] [--repeats N]

The first table is of whole rollouts in virtual time, of 20,000 servers where no number is given: what their file takes
by part, beyond what an empty store does, and how large its write-ahead log was before it was closed. Quota is lifted;
every write is a transaction and a row of its own, as it is where servers end at the pace that a real quota allows.

The second is of processes that take tokens of one quota at once on one database, each as fast as it can. `ecsbatch`
stores with each grant which servers it is for, ties that into the run's record, and settles the grant before. Beside it
stands the least that any limiter must do which several processes share: one number in the database is made smaller.
`pyrate-limiter` has buckets on both databases, of which the one in a file is for one process and its threads without
another package; `limits` and `throttled-py` have none there, and `aiolimiter` none that outlives a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.common import Options, Result, Table, command, median_and_spread, say
from benchmarks.history import made, sizes
from ecsbatch import Engine, Quota, Restarter, Strategy, open_store
from ecsbatch.testing import CloudConfig, Faults, World

SERVERS: Final = 20_000
SECONDS: Final = 1.0
"""For which processes take tokens in one measurement."""

PROCESSES: Final = (1, 2, 4)
QUOTA: Final = 1_000
"""Servers a minute."""

_LIFTED: Final = Engine(quota=Quota(1_000_000, 1.0))


# -- bytes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A rollout whose store is measured.

    Attributes:
        named: what it is.
        listed: servers are given by their ids alone, without names and zones.
        fails: restarts that fail, of all.
        batch_size: servers in a request.
        database: ``sqlite`` or ``postgres``.
    """

    named: str
    listed: bool = False
    fails: float = 0.0
    batch_size: int = 100
    database: str = "sqlite"


CASES: Final = (
    Case("batches of 100, ids alone", listed=True),
    Case("batches of 100, names and zones"),
    Case("the same, 5% fail, 2% of submits do not get through", fails=0.05),
    Case("batches of 1,000", batch_size=1_000),
    Case("batches of 10", batch_size=10),
    Case("batches of 100, on PostgreSQL", database="postgres"),
)

_HELD_TO_IT: Final = CASES[:4]
"""By which the goal is judged; in smaller batches the rows of the record outgrow what is in them."""


class Kept(NamedTuple):
    """Bytes of a store after a rollout, without those of an empty one: by part, and of its log before it was closed."""

    parts: Mapping[str, int]
    log: int


def world_of(case: Case, servers: int) -> World:
    """Return a simulated world for a case."""
    faults = Faults(reject_503=0.02) if case.fails else Faults()
    return World(
        config=CloudConfig(servers=servers, seed=1, quota_limit=None, fail_rate=case.fails, submit_faults=faults)
    )


def roll_out(case: Case, servers: int, url: str) -> int:
    """Restart all servers of a world; return the bytes of the log that lay beside the file then."""
    with world_of(case, servers) as world:

        async def life() -> int:
            async with (
                world.client() as ecs,
                open_store(url, clock=world.clock, inline=True) as store,
                Restarter(ecs, store, engine=_LIFTED, clock=world.clock, seed=1) as restarter,
            ):
                chosen = world.ids if case.listed else [server async for server in ecs.select(all=True)]
                strategy = Strategy(
                    batch_size=case.batch_size, max_unavailable="100%", waves="100%", max_failures="100%"
                )
                result = await restarter.rollout(chosen, strategy).run()
                assert sum(result.counts.values()) == servers, result
                return _size_of(url.removeprefix("sqlite:///") + "-wal")

        return world.run(life)


def _size_of(path: str) -> int:
    return Path(path).stat().st_size if Path(path).exists() else 0


def kept_of(case: Case, servers: int) -> Kept:
    """Measure the store of one rollout."""
    with made(case.database) as url:
        with World(1) as world:

            async def open_it() -> None:
                async with open_store(url, clock=world.clock, inline=True):
                    pass

            world.run(open_it)
        empty = sizes(url)
        log = roll_out(case, servers, url)
        return Kept({name: size - empty.get(name, 0) for name, size in sizes(url).items()}, log)


def size_table(kept: Mapping[Case, Kept], servers: int) -> Table:
    """Return the table of bytes."""
    rows: list[list[str]] = []
    for case, each in kept.items():
        parts = [each.parts.get(name, 0) / servers for name in ("journal", "targets", "claims", "")]
        record, targets, claims, whole = parts
        cells = [whole, record, targets, claims, max(0.0, whole - record - targets - claims)]
        log = f"{each.log / 2**20:.1f} MB" if each.log else ""
        rows.append([case.named, *(f"{cell:.0f}" for cell in cells), log])
    head = ["bytes a server", "in all", "record", "list of servers", "claims", "free and others", "log meanwhile"]
    notes = [
        "Free is what the claims took while the run went on: the next run fills it, and `store prune` gives it back.",
        "The log is not kept: it goes when the last process closes the store.",
    ]
    return Table(f"What a store keeps of a rollout of {servers:,} servers", head, rows, notes)


# -- grants -----------------------------------------------------------------------------------------------------------


class Contestant(NamedTuple):
    """Who takes tokens: its name in `benchmarks.grants`, what the table calls it, and how many processes at once."""

    name: str
    called: str
    processes: Sequence[int] = PROCESSES

    @property
    def ours(self) -> bool:
        """True for `ecsbatch`."""
        return self.called.startswith("ecsbatch")


CONTESTANTS: Final = (
    Contestant("batches", "ecsbatch, 100 servers and their intent"),
    Contestant("singles", "ecsbatch, 1 server and its intent"),
    Contestant("with_others_out", "ecsbatch, 1 server, 1,000 grants out", (1,)),
    Contestant("counter", "a number made smaller, nothing else"),
    Contestant("pyrate", "pyrate-limiter, 1 token", (1,)),
)


class Rate(NamedTuple):
    """Grants a second of all processes, and milliseconds that one took."""

    per_second: float
    p50: float
    p99: float


def contend(name: str, url: str, processes: int, seconds: float) -> Rate:
    """Have processes take tokens at once."""
    line = [sys.executable, "-m", "benchmarks.grants", name, url, str(seconds)]
    took = sorted(second for told in at_once([line] * processes) for second in json.loads(told))
    return Rate(len(took) / seconds, took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000)


def at_once(lines: Sequence[Sequence[str]]) -> list[str]:
    """Run programs that say that they are ready, and begin when they read a line; return what else they print.

    None of them begins before all are ready, and all begin before one is waited for.
    """
    pipe = subprocess.PIPE
    running = [subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True) for line in lines]  # noqa: S603 - ours
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n", "a process did not get ready"
    for each in running:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    return [each.communicate()[0] for each in running]


Measured = Mapping[tuple[str, Contestant, int], Sequence[Rate]]


def rates_of(options: Options) -> Measured:
    """Measure all contestants in turns, each turn on new databases; ours make theirs first."""
    found: dict[tuple[str, Contestant, int], list[Rate]] = {}
    seconds = SECONDS / 5 if options.quick else SECONDS
    for turn in range(options.repeats):
        say(f"grants, turn {turn + 1} of {options.repeats}")
        for database in ("sqlite", "postgres"):
            with made(database) as url:
                for contestant in CONTESTANTS:
                    for processes in contestant.processes[: 2 if options.quick else None]:
                        rate = contend(contestant.name, url, processes, seconds)
                        found.setdefault((database, contestant, processes), []).append(rate)
    return found


def used(contestant: Contestant, per_second: float) -> float:
    """Return which part of the grants a second a quota of 1,000 servers a minute uses: a grant for each batch."""
    return QUOTA / 60 / (100 if contestant.name == "batches" else 1) / per_second


def rate_table(rates: Measured, repeats: int) -> Table:
    """Return the table of grants."""
    rows: list[list[str]] = []
    for (database, contestant, processes), turns in rates.items():
        each = median_and_spread([turn.per_second for turn in turns])
        waits = [f"{median(turn[place] for turn in turns):.1f} ms" for place in (1, 2)]
        share = f"{used(contestant, each.median):.2%}" if contestant.ours else ""
        called = {"sqlite": "SQLite", "postgres": "PostgreSQL"}[database]
        rows.append([f"{called}: {contestant.called}", str(processes), each.text("{:.0f}"), *waits, share])
    told = "one turn" if repeats == 1 else f"medians of {repeats} turns (least-most)"
    return Table(
        f"Grants by processes that share a quota, {told}",
        ["", "processes", "a second", "p50", "p99", "of it used"],
        rows,
        ["Each is durable before its answer. Used is what 1,000 servers a minute take of it."],
    )


# -- both -------------------------------------------------------------------------------------------------------------


def run(options: Options) -> Result:
    """Measure both."""
    servers = int(options.words[0]) if options.words else SERVERS // 10 if options.quick else SERVERS
    kept: dict[Case, Kept] = {}
    for case in CASES[1:3] if options.quick else CASES:
        say(f"a rollout of {servers:,} servers: {case.named}")
        kept[case] = kept_of(case, servers)
    rates = rates_of(options)
    bars: list[dict[str, Any]] = [
        {"name": case.named, "ours": True, "bytes": each.parts[""] / servers} for case, each in kept.items()
    ]
    for (database, contestant, processes), turns in rates.items():
        per_second = median(turn.per_second for turn in turns)
        row: dict[str, Any] = {"name": f"{database}: {contestant.called}, {processes}", "ours": contestant.ours}
        bars.append({**row, "per_second": per_second, "of_limit": used(contestant, per_second)})
    worst = max(kept[case].parts[""] / servers for case in _HELD_TO_IT if case in kept)
    tables = [size_table(kept, servers), rate_table(rates, options.repeats)]
    return Result(tables, {"store_bytes": worst}, {"rows": bars})


def main() -> int:
    """Print the tables."""
    return command(run)


if __name__ == "__main__":
    raise SystemExit(main())
