"""The quota and the request: nothing over, nothing twice, whatever stands still or comes late."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence

from .stage import CloudRecord, Stage, stand_still
from .verdict import Verdict


def stale(stage: Stage, verdict: Verdict) -> None:
    """Three processes stand still past all holds, between grant and first byte, while another one spends."""
    cloud = stage.cloud(servers=200)
    machine = stage.machine(cloud, quota="100/3s", request_timeout="1s", unknown_grace="1s")
    points = {"granted": cloud.ids[:30], "signing": cloud.ids[30:60], "connected": cloud.ids[60:100]}
    frozen = {name: machine.restart(name, ids, freeze=name) for name, ids in points.items()}
    for process in frozen.values():
        process.until_frozen()
    # All or nothing, so that all of it is counted at one instant.
    other = machine.restart("other", cloud.ids[100:], "--batch-size", "400")
    cloud.until("the other one has spent the quota", lambda books: len(books.begun) == 100)
    for process in frozen.values():
        process.send(signal.SIGCONT)
    ended = {name: process.end() for name, process in {**frozen, "other": other}.items()}
    late = [name for name, ids in points.items() if _within(cloud.books().begun, ids[0], cloud.ids[100], 3.0)]
    verdict.note(f"sent what was long spent: {', '.join(late) or 'none'}")
    for name, each in ended.items():
        verdict.code(name, each, 0)
    verdict.books(cloud, 100, 3.0, count=200)
    for name in points:
        verdict.run(machine, name, cloud, "succeeded")


def _within(begun: Mapping[str, Sequence[float]], one: str, other: str, window: float) -> bool:
    return one in begun and abs(begun[one][0] - begun[other][0]) < window


def _job_seen(books: CloudRecord) -> bool:
    return any("/jobs/" in entry["path"] for entry in books.requests)


def slowlook(stage: Stage, verdict: Verdict) -> None:
    """A look that was taken before a given-up request began is answered behind the grace."""
    # Given up at 2.0 s, the grace over at 5.0 s, begun at 4.9 s: as promised. The look is of 3.6 to 4.0 s.
    cloud = stage.cloud(servers=20, posts=["late"], late_after=4.9, restart=0.15, held_looks=[3.6, 4.8, 5.3])
    machine = stage.machine(cloud)
    verdict.code("restart", machine.restart("r", cloud.ids).end(), 0)
    verdict.books(cloud, 200, 5.0, count=20)
    verdict.run(machine, "r", cloud, "succeeded")


def noupdated(stage: Stage, verdict: Verdict) -> None:
    """Rows do not tell when a server was changed; an answer is lost, the process is killed, the run resumed."""
    cloud = stage.cloud(servers=40, posts=["", "lost"], no_updated=True, restart=0.3)
    machine = stage.machine(cloud)
    process = machine.restart("r", cloud.ids, "--batch-size", "20")
    # The first one's answer is stored, for its job is looked at; the second one's is lost.
    cloud.until("both requests are counted", lambda books: len(books.begun) == 40 and _job_seen(books))
    process.kill()
    cloud.until("all are back", lambda books: len(books.up) == 40)
    verdict.code("resume", machine.type("resume", "r", "--yes"), 6)
    verdict.books(cloud, 200, 5.0, count=40)
    verdict.run(machine, "r", cloud)


def alias(stage: Stage, verdict: Verdict) -> None:
    """Two runs on one store know the project by two names."""
    cloud = stage.cloud(servers=200)
    machine = stage.machine(cloud, quota="100/4s")
    one = machine.restart("one", cloud.ids[:100])
    localhost = cloud.url.replace("127.0.0.1", "localhost")
    two = machine.restart("two", cloud.ids[100:], "--endpoint", localhost)
    for name, process in (("one", one), ("two", two)):
        verdict.code(name, process.end(), 0)
    verdict.books(cloud, 100, 4.0, count=200)
    verdict.run(machine, "two", cloud, "succeeded")


def partial(stage: Stage, verdict: Verdict) -> None:
    """Half of a request is carried out, and the answer is Ecs.0611."""
    cloud = stage.cloud(servers=40, posts=["half"], restart=1.0)
    machine = stage.machine(cloud)
    verdict.code("restart", machine.restart("r", cloud.ids, "--batch-size", "20").end(), 0)
    verdict.books(cloud, 200, 5.0, count=40)
    verdict.run(machine, "r", cloud, "succeeded")


def busy(stage: Stage, verdict: Verdict) -> None:
    """A colleague's process stands still inside a transaction, longer than a database waits."""
    cloud = stage.cloud(servers=70, frozen=True)
    machine = stage.machine(cloud, blind_timeout="60s")
    limits = ("--yes", "--waves", "100%", "--max-unavailable", "20", "--server-timeout", "60s")
    mine = machine.restart("mine", cloud.ids[:60], limits=limits)
    cloud.until("mine is under way", lambda books: len(books.begun) == 20)
    other = machine.restart("other", cloud.ids[60:], freeze="transaction")
    other.until_frozen()
    # Now mine has outcomes to write, and others to send behind them.
    cloud.set(frozen=False)
    before = len(mine.err)
    stand_still(4.0)
    explained = machine.begin("explain", "mine")
    stand_still(12.0)
    said, why = mine.err[before:], explained.out_so_far
    other.send(signal.SIGCONT)
    verdict.note(f"it says {said.strip()[-140:]!r}, explain {why.strip()[-140:]!r}")
    verdict.expect("store" in said + why, "neither its log nor explain says that it waits for the store")
    verdict.code("mine", mine.end(), 0)
    verdict.code("other", other.end(), 0)
    verdict.books(cloud, 200, 5.0, count=70)
    verdict.run(machine, "mine", cloud, "succeeded")


def upgrade(stage: Stage, verdict: Verdict) -> None:
    """A run and a spent window of an older version: the update goes on with both."""
    cloud = stage.cloud(servers=40)
    old, new = stage.updated(stage.machine(cloud, quota="20/10s"))
    process = old.restart("r", cloud.ids)
    cloud.until("the window is spent and the answer stored", _job_seen)
    process.kill()
    verdict.code("resume", new.type("resume", "r", "--yes"), 0)
    verdict.books(cloud, 20, 10.0, count=40)
    verdict.run(new, "r", cloud, "succeeded")


SCENARIOS = (stale, slowlook, noupdated, alias, partial, busy)
ACROSS = (upgrade,)
"""Played where an older checkout is named."""
