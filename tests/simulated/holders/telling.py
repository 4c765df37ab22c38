"""A played scene, line by line in the order of the world's time, for whoever looks into a seed."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulated.record import Record
from tests.simulated.witnesses import plain

from .scene import Scene
from .shared import SharedCloud, SharedDatabase


def told(scene: Scene, record: Record) -> Iterator[str]:
    """Yield what was decided before the first step, and what has happened."""
    world = scene.world
    for part in (world.strategy, world.engine, world.cloud, *world.runs, *scene.machines):
        yield str(part)
    yield f"standbys: {scene.standbys}, latency: {scene.latency}"
    for misfortune in (*scene.stalls, *scene.deaths, *scene.troubles, *scene.resumes, *scene.failovers):
        yield str(misfortune)
    for tick, at, what in sorted(_happened(record)):
        yield f"{tick:6d} {at:11.3f} {what}"
    for stood in record.freezes:
        yield f"       {stood.begin:11.3f} process {stood.process} stood still until {stood.end:.3f}"
    for end in record.ends:
        yield f"       {end.at:11.3f} process {end.life}: {end.run_id}: {end.how!r}"


def _happened(record: Record) -> Iterator[tuple[int, float, str]]:
    database, cloud = record.database, record.cloud
    assert isinstance(database, SharedDatabase)
    assert isinstance(cloud, SharedCloud)
    for rowid, lines in database.connection.execute("SELECT rowid, lines FROM journal ORDER BY rowid"):
        tick, at = database.stamps[rowid]
        for line in plain(lines).split(b"\n"):
            yield tick, at, f"process {database.writers[rowid]} writes {line.decode()}"
    for run_id, leases in database.leases.items():
        for lease in leases:
            yield lease.tick, lease.at, f"process {lease.process} has {run_id} until {lease.until:.3f}"
    for sent in cloud.sends:
        begun = [(one.server[:8], round(one.at, 2), round(one.ends, 2), one.ending) for one in sent.begun]
        yield (
            sent.tick,
            sent.at,
            f"process {cloud.senders[sent.tick]} sends {[each[:8] for each in sent.servers]}: {begun}",
        )
