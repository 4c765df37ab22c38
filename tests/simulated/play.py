"""Plays a world: life after life, until its runs are over or rightly stopped."""

from __future__ import annotations

import itertools
from typing import Final

from ecsbatch.errors import EcsbatchError
from ecsbatch.model.run import Result

from .foreign_code import ForeignCode
from .life import LifeRun
from .process import Machine, generous
from .record import End, Frozen, Record, Told
from .troubled_cloud import TroubledCloud
from .troubles import ELSEWHERE
from .witnesses import Foreign, WatchedCloud, WatchedDatabase
from .world import Life, RunSpec, World

__all__ = ["End", "Frozen", "Record", "Told", "play"]

MENDINGS: Final = 8
"""Calm lives that may follow the scripted ones until every run is over."""


def play(world: World) -> Record:
    """Play a world through and return what is on record."""
    record = _new_record(world)
    machine = Machine(record, ForeignCode(world, record.note))
    for number, life in enumerate(world.lives):
        machine.life = number
        if not machine.hung:
            LifeRun(machine, life).play(_not_over(record))
    _mend(machine)
    record.finished_at = machine.now
    for cloud in record.clouds.values():
        cloud.now = lambda: machine.now
        cloud.advance()
        record.tally.update(cloud.played)
    return record


def _new_record(world: World) -> Record:
    ticks = itertools.count(1)
    foreign: list[Foreign] = []
    clouds = {"": TroubledCloud(world.cloud, ticks, world.longest, world.troubles.cloud, foreign)}
    if world.elsewhere is not None:
        clouds[ELSEWHERE] = TroubledCloud(world.elsewhere, ticks, world.longest, world.troubles.elsewhere, foreign)
    database = WatchedDatabase(ticks)
    return Record(
        world,
        clouds[""],
        database,
        dict(clouds),
        commands=database.commands,
        foreign=foreign,
        hidden=clouds[""].hidden,
        no_updated=bool(world.troubles.cloud.no_updated or world.troubles.elsewhere.no_updated),
        dimensions=world.dimensions,
    )


def _mend(machine: Machine) -> None:
    """Let the weather clear, and resume until every run is over, or stopped for a reason that stays."""
    record = machine.record
    machine.foreign.calm = True
    record.calm_at = machine.now
    for cloud in record.clouds.values():
        cloud.calm = True
    for _ in range(MENDINGS):
        runs = _unfinished(record)
        if not runs or machine.hung:
            return
        machine.life += 1
        machine.now += 1.0
        limits: dict[str, int | str] = {}
        if record.ends and isinstance(how := record.ends[-1].how, Result) and how.reason == "auth":
            machine.wall_offset = 0.0  # no key is good by a clock that is far from the cloud's
        if record.world.finish:
            limits = generous(record.world)
            _repair_all(machine)
        forgive = record.world.finish
        LifeRun(machine, Life(limits=limits, forgive=forgive)).play(runs)
        record.tally["mendings"] += 1
    if left := _unfinished(record):
        record.complaints.append(f"not over after {MENDINGS} calm lives: {[spec.run_id for spec in left]}")


def _unfinished(record: Record) -> list[RunSpec]:
    return [spec for spec in _not_over(record) if not _stays(record, spec.run_id)]


def _repair_all(machine: Machine) -> None:
    """Repair the servers that no restart will bring back by itself."""
    for cloud in machine.record.clouds.values():
        _repair(cloud, machine.now)


def _repair(cloud: WatchedCloud, now: float) -> None:
    cloud.now = lambda: now
    stuck = {begun.server for sent in cloud.sends for begun in sent.begun if begun.ending in {"stuck", "unhealthy"}}
    for server in cloud.ids():
        if server in stuck or cloud.truth(server).status == "ERROR":
            cloud.repair(server)


def _not_over(record: Record) -> list[RunSpec]:
    """Return the runs that want another life: those that are not over and were not refused for good."""
    statuses = dict(_statuses(record))
    over = {"succeeded", "failed", "aborted"}
    return [
        spec
        for spec in record.world.runs
        if statuses.get(spec.run_id) not in over and not _refused(record, spec.run_id, statuses)
    ]


def _statuses(record: Record) -> list[tuple[str, str]]:
    database = record.database
    if not record.database.stamps and not database._has_journal():
        return []
    rows: list[tuple[str, str]] = database.connection.execute("SELECT run_id, status FROM runs").fetchall()
    return rows


def _refused(record: Record, run_id: str, statuses: dict[str, str]) -> bool:
    """Tell whether a run was refused at its start and never existed."""
    refusals = [end for end in record.ends if end.run_id == run_id and isinstance(end.how, EcsbatchError)]
    scripted = len(record.world.lives)
    final = any(end.life >= scripted for end in refusals) or not any(end.doomed for end in refusals)
    return run_id not in statuses and bool(refusals) and final


def _stays(record: Record, run_id: str) -> bool:
    """Tell whether a run's last stop is one that a resume without changes would only repeat."""
    last = [end for end in record.ends if end.run_id == run_id]
    if record.world.finish or not last or not isinstance(last[-1].how, Result):
        return False
    reason = last[-1].how.reason
    return reason.startswith("max_failures") or reason == "budget_exhausted"
