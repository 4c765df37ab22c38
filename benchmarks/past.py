"""Makes a store with a long history: some rollouts are played, and their rows are copied under other run ids.

Played, in virtual time and each once: a rollout of each size, and one whose process is killed half way. A copy has
another run id, in its events too, and other times: all those of the table of runs and of the journal are moved by the
same whole seconds, so that the runs' ends are spread evenly over so many days up to now. What servers told of their own
times is not moved. The list of servers is copied as it is: it is the same fleet that is restarted again and again. The
chain of each copy is made anew, link by link. Claims have the runs that were killed, each with a fleet of its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

import orjson

from ecsbatch import Strategy
from ecsbatch.model.json_text import stamp
from ecsbatch.store import chain
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database
from ecsbatch.store.packing import packed, unpacked
from ecsbatch.testing import Faults, Killed, World

SIZES: Final = (1_000, 8_000, 16_000)
"""Servers of the rollouts that are played: together some ten thousand events each."""

DAYS: Final = 100

_OPEN: Final = 2_000
_NAME: Final = "pattern0"
_TS: Final = re.compile(rb'"ts":"([^"]+)"')
_FAULTS: Final = Faults(reject_503=0.02)
_STRATEGY: Final = Strategy(max_unavailable="20%", max_failures="20%")


class Row(NamedTuple):
    """A row of a journal, without its link in the chain."""

    seq_first: int
    seq_last: int
    ts: float
    lines: bytes


@dataclass(frozen=True, slots=True)
class Pattern:
    """What one rollout has left in its store.

    Attributes:
        run: its row in the table of runs.
        targets: the rows of its list of servers.
        journal: its rows there, in their order.
        claims: its servers, where it is not over.
    """

    run: Mapping[str, Any]
    targets: Sequence[tuple[int, bytes]]
    journal: Sequence[Row]
    claims: Sequence[tuple[str, str]]

    @property
    def ended(self) -> float:
        """When its last event was stored."""
        return self.journal[-1].ts


@dataclass(slots=True)
class Past:
    """What a store was filled with.

    Attributes:
        runs: ids of those that are over, the oldest first.
        open: the id of the last one, which was killed.
        server: the id of a server of every run.
        servers, events: how many, of all runs.
        seconds: that it took to fill it.
    """

    runs: list[str] = field(default_factory=list[str])
    open: str = ""
    server: str = ""
    servers: int = 0
    events: int = 0
    seconds: float = 0.0


def play(servers: int, *, seed: int = 1, dies: bool = False) -> Pattern:
    """Play a rollout; ``dies``: its process is killed half way."""
    with World(servers=servers, seed=seed, faults=_FAULTS, fail_rate=0.005) as world:
        steps = _life(world) // 2
        if not dies:
            return _left(world)
    with World(servers=servers, seed=seed, faults=_FAULTS, fail_rate=0.005) as world:
        try:
            _life(world, steps)
        except Killed:
            return _left(world)
    raise AssertionError("the process was not killed")


def _life(world: World, kill_after: int | None = None) -> int:
    async def main() -> None:
        async with world.restarter() as restarter:
            await restarter.rollout(world.ids, _STRATEGY, run_id=_NAME).run()

    world.run(main, kill_after=kill_after)
    return world.steps


def _left(world: World) -> Pattern:
    ask = world.database.connection.execute
    row = ask(sql.RUN.text("sqlite"), {"run": _NAME}).fetchone()
    return Pattern(
        dict(zip(sql.RUN_COLUMNS, row, strict=True)),
        ask("SELECT part, servers FROM targets ORDER BY part").fetchall(),
        [
            Row(first, last, ts, unpacked(lines))
            for first, last, ts, lines in ask("SELECT seq_first, seq_last, ts, lines FROM journal ORDER BY seq_last")
        ],
        ask("SELECT site, server_id FROM claims ORDER BY 1, 2").fetchall(),
    )


def played() -> list[Pattern]:
    """Return what is copied; the last one is of a rollout that was killed, and of other servers."""
    return [*map(play, SIZES), play(_OPEN, seed=2, dies=True)]


def fill(database: Database, patterns: Sequence[Pattern], runs: int, days: float = DAYS) -> Past:
    """Fill a store with so many runs whose ends are spread over so many days up to now."""
    begun, now = time.perf_counter(), time.time()
    *over, killed = patterns
    past = Past(server=orjson.loads(over[0].journal[-2].lines.split(b"\n")[0]).get("server", ""))
    for n in range(runs):
        pattern = killed if n == runs - 1 else over[n % len(over)]
        run_id = f"run{n:05}"
        age = days * 86_400 * (runs - 1 - n) / runs
        copy(database, pattern, run_id, int(now - age - pattern.ended) - 1)
        past.servers += pattern.run["total"]
        past.events += pattern.run["seq"]
        past.runs += [run_id] if pattern is not killed else []
        past.open = run_id
    past.seconds = time.perf_counter() - begun
    return past


def copy(database: Database, pattern: Pattern, run_id: str, later: int) -> None:
    """Store a pattern as a run of this id, so many seconds later, in one transaction."""
    rows = list(_moved(pattern, run_id, later))
    database.write(partial(_insert, database, pattern, run_id, later, rows))


def _moved(pattern: Pattern, run_id: str, later: int) -> Iterator[Row]:
    times: dict[bytes, bytes] = {}

    def moved(found: re.Match[bytes]) -> bytes:
        told = found[1]
        if told not in times:
            text = stamp(datetime.fromisoformat(told.decode()).timestamp() + later)
            times[told] = b'"ts":"%s"' % text.encode()
        return times[told]

    name = run_id.encode()
    assert len(run_id) == len(_NAME)
    for row in pattern.journal:
        lines = _TS.sub(moved, row.lines).replace(_NAME.encode(), name)
        yield Row(row.seq_first, row.seq_last, round(row.ts + later, 3), lines)


def _insert(database: Database, pattern: Pattern, run_id: str, later: int, rows: Sequence[Row]) -> None:
    times = {name: pattern.run[name] + later for name in ("created_at", "since")}
    database.execute(sql.INSERT_RUN, {**pattern.run, **times, "run_id": run_id})
    parts = [{"run_id": run_id, "part": part, "servers": servers} for part, servers in pattern.targets]
    database.execute_many(sql.INSERT_TARGETS, parts)
    link = chain.begin(database, run_id)
    linked: list[dict[str, Any]] = []
    for row in rows:
        link = chain.link(link, *row)
        linked.append({"run_id": run_id, **row._asdict(), "lines": packed(row.lines), "hash": link})
    database.execute_many(sql.APPEND, linked)
    if pattern.claims:
        servers = orjson.dumps(pattern.claims).decode()
        database.execute(sql.CLAIM, {"run_id": run_id, "servers": servers})
