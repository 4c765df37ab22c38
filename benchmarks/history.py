"""A store with a long past: what commands take on it, pruning, a server's bytes; in a file and on a PostgreSQL server.

`benchmarks/past.py` makes the store, and says of what. The server is the wheel's with its own defaults, by a socket.
Each command is run as a process of its own, and again and again in one process where all is imported already; the run
that is asked about is one of the largest. Pruning deletes the older half, while another process commits an event every
ten milliseconds: beside it stands the longest that such a commit took, and took before.

    python -m benchmarks history [RUNS] [DATABASE]

of 30 runs with 300,000 events where no number is given, on both databases where no ``sqlite`` or ``postgres`` is.
With 1,000 runs and ten million events it takes a quarter of an hour and 10 GB of disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks import past
from benchmarks.common import table
from ecsbatch.model.events import JobProgress
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Holder, NewRun, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import open_store
from ecsbatch.store.opening import database_at

RUNS: Final = 30
TIMES: Final = 3
DATABASES: Final = ("sqlite", "postgres")
HALF: Final = f"{past.DAYS // 2}d"
SETTINGS: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "jit": "on",
    "shared_buffers": "128MB",
    "wal_level": "replica",
}
"""What the tests' server has otherwise, as PostgreSQL has it by itself."""

_AGAIN: Final = """
import json, sys, time
from ecsbatch.cli.app import main
took = []
for _ in range(int(sys.argv[1])):
    begun = time.perf_counter()
    code = main(sys.argv[2:])
    assert code == 0, code
    took.append(1000 * (time.perf_counter() - begun))
sys.stderr.write("\\n" + json.dumps(took[1:]))
"""
_FLEET: Final = 1_000
_HOLDER: Final = Holder("benchmark", "here", 1, 0.0)


class Took(NamedTuple):
    """Milliseconds of something, each time that it was done."""

    times: Sequence[float]

    def __str__(self) -> str:
        return f"{min(self.times):,.0f} / {median(self.times):,.0f}"


class Pruned(NamedTuple):
    """What pruning took.

    Attributes:
        runs: how many were deleted.
        seconds: of all of it.
        waited, before: milliseconds of the longest commit of another process, during it and before it.
    """

    runs: int
    seconds: float
    waited: float
    before: float


# -- where the store is -----------------------------------------------------------------------------------------------


@contextmanager
def made(kind: str) -> Iterator[str]:
    """Yield the address of a new store's place."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="ecsbatch-history-") as folder:
            yield f"sqlite:///{folder}/restarts.db"
        return
    from tests.postgres.server import Server  # noqa: PLC0415 - its wheel is needed here alone

    server = Server(SETTINGS)
    server.start()
    try:
        yield server.url()
    finally:
        server.remove()


def sizes(url: str) -> dict[str, int]:
    """Return the bytes of each table with its indexes, and of all there is."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            rows = connection.execute(
                "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_master USING (name) GROUP BY 1"
            ).fetchall()
        return {**dict(rows), "": path.stat().st_size}
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        found = connection.execute(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'ecsbatch'::regnamespace"
        ).fetchall()
    return {**dict(found), "": sum(size for _, size in found)}


# -- commands ---------------------------------------------------------------------------------------------------------


def commands(filled: past.Past, ids: Path) -> Mapping[str, Sequence[str]]:
    """Return what is asked, by the words that a table has for it; of runs one that is large and old."""
    run = filled.runs[len(filled.runs) // 2 // 3 * 3 - 1]
    return {
        "--version": ("--version",),
        "status": ("status",),
        "status RUN": ("status", run),
        "runs": ("runs",),
        "report RUN -o csv": ("report", run, "-o", "csv"),
        "explain SERVER RUN": ("explain", filled.server, run),
        "audit RUN": ("audit", run),
        f"store prune --older-than {HALF}": ("store", "prune", "--older-than", HALF),
        "plan of ten servers": ("plan", str(ids)),
        "the same, --skip-restarted-since 6h": ("plan", str(ids), "--skip-restarted-since", "6h"),
    }


def as_process(words: Sequence[str], environment: Mapping[str, str]) -> tuple[Took, Took]:
    """Run a command as a process; return how long it took, and its CPU, in which a server has no part."""
    walls: list[float] = []
    cpus: list[float] = []
    for _ in range(TIMES):
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        _run(["-m", "ecsbatch", *words], environment)
        walls.append(1000 * (time.perf_counter() - begun))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return Took(walls), Took(cpus)


def imported(words: Sequence[str], environment: Mapping[str, str]) -> Took:
    """Run a command again and again in one process, and leave the first time out."""
    told = _run(["-c", _AGAIN, str(TIMES + 1), *words], environment)
    return Took(json.loads(told.splitlines()[-1]))


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, *arguments],
        env=environment,
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stderr


@contextmanager
def cloud(folder: Path) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Run a simulated cloud of ten servers; yield a file with their ids, and what commands need to find it."""
    ids = folder / "ids.txt"
    command = [sys.executable, *("-m", "ecsbatch", "simulate", "-o", "json", "--servers", "10", "--ids", str(ids))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own program
        try:
            assert process.stdout is not None
            yield ids, {**os.environ, **json.loads(process.stdout.readline())["environment"]}
        finally:
            process.terminate()


# -- by the library ---------------------------------------------------------------------------------------------------


async def begin(url: str) -> Took:
    """Begin runs of a thousand servers: until their ids, servers and first event are stored."""
    took: list[float] = []
    async with open_store(url) as store:
        for n in range(TIMES):
            fleet = Fleet([f"{n}-{number:06}" for number in range(_FLEET)])
            new = NewRun(f"new-{n}", plan={}, fleet=fleet, events=[JobProgress()])
            begun = time.perf_counter()
            lease = await store.create_run(new, _HOLDER)
            took.append(1000 * (time.perf_counter() - begun))
            await store.commit(lease, Transaction(status=RunStatus.SUCCEEDED))
            await store.release(lease)
    return Took(took)


async def prune(url: str) -> Pruned:
    """Prune the older half, while another process writes."""
    with _writer(url) as writer:
        await asyncio.sleep(3)
        before = _longest(writer)
        async with open_store(url) as store:
            begun = time.perf_counter()
            deleted = await store.prune(HALF)
            seconds = time.perf_counter() - begun
        return Pruned(len(deleted), seconds, _longest(writer), before)


@contextmanager
def _writer(url: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.history", "write", url]
    with subprocess.Popen(  # noqa: S603 - ours
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        _longest(writer)
        yield writer
        assert writer.stdin is not None
        writer.stdin.close()


def _longest(writer: subprocess.Popen[str]) -> float:
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("\n")
    writer.stdin.flush()
    return float(writer.stdout.readline())


async def write(url: str) -> None:
    """Commit an event every ten milliseconds; for each line read, print how long the longest took since the last."""
    asked = asyncio.Queue[str]()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), lambda: asked.put_nowait(sys.stdin.readline()))
    longest = 0.0
    async with open_store(url) as store:
        lease = await store.create_run(NewRun(f"writer-{os.getpid()}", kind="direct"), _HOLDER)
        while True:
            begun = time.perf_counter()
            await store.commit(lease, Transaction([JobProgress()], status=RunStatus.RUNNING))
            longest = max(longest, 1000 * (time.perf_counter() - begun))
            await asyncio.sleep(0.01)
            if not asked.empty():
                if not asked.get_nowait():
                    return
                print(longest, flush=True)
                longest = 0.0


# -- all of it --------------------------------------------------------------------------------------------------------


def measure(kind: str, patterns: Sequence[past.Pattern], runs: int) -> None:
    """Fill a store, measure and print."""
    with made(kind) as url, tempfile.TemporaryDirectory() as folder:
        filled = _filled(url, patterns, runs)
        before = sizes(url)
        of = f"{filled.servers:,} servers, {filled.events:,} events"
        print(f"\n{kind}: {runs:,} runs of {of}, stored in {filled.seconds:.0f} s")
        with cloud(Path(folder)) as (ids, variables):
            environment = {**variables, "ECSBATCH_STORE": url, "XDG_STATE_HOME": folder}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            rows = [
                [name, *map(str, as_process(words, environment)), str(imported(words, environment))]
                for name, words in commands(filled, ids).items()
            ]
        rows.append([f"a new run of {_FLEET:,} servers", "", "", str(asyncio.run(begin(url)))])
        table(f"{kind}: milliseconds, least / median of {TIMES}", ["command", "process", "its CPU", "imported"], rows)
        pruned = asyncio.run(prune(url))
        told = f"{pruned.runs:,} runs deleted in {pruned.seconds:.1f} s; another's longest commit took"
        print(f"{told} {pruned.waited:.0f} ms meanwhile, {pruned.before:.0f} ms before.")
        _print_sizes(kind, filled.servers, before, sizes(url))


def _filled(url: str, patterns: Sequence[past.Pattern], runs: int) -> past.Past:
    database = database_at(url)
    try:
        database.prepare()
        return past.fill(database, patterns, runs)
    finally:
        database.close()


def _print_sizes(kind: str, servers: int, before: Mapping[str, int], after: Mapping[str, int]) -> None:
    names = sorted((name for name in before if before[name] > 100_000 or not name), key=before.__getitem__)
    rows = [
        [
            name or "all",
            f"{before[name] / 1e6:,.1f} MB",
            f"{before[name] / servers:,.1f}",
            f"{after[name] / 1e6:,.1f} MB",
        ]
        for name in reversed(names)
    ]
    table(f"{kind}: on disk, with indexes", ["table", "bytes", "a server", "pruned"], rows)


def main() -> int:
    """Measure both databases, or one."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["write"]:
        asyncio.run(write(arguments[1]))
        return 0
    numbers = [int(each) for each in arguments if each.isdecimal()]
    patterns = past.played()
    for kind in [each for each in arguments if each in DATABASES] or DATABASES:
        measure(kind, patterns, numbers[0] if numbers else RUNS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
