"""How runs ended, and what is left in the end: nobody stands still without a reason, nothing is kept without a need."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from hashlib import sha256
from typing import Final

from ecsbatch.errors import CloudError, EngineStopped, RunConflict, SelectionError, StoreError
from ecsbatch.model.run import Result

from .evidence import FOLLOWED, OVER, Case, last_before
from .play import End
from .record import Claimed
from .run_log import Fact, Release, RunLog
from .sight import UNACCEPTED, UNSEEN, awaited, glances, unseen_for
from .witnesses import FOREVER, plain
from .words import ENDS, TAKEN

SHOWN: Final = 3
"""Looks that may have shown a server up, one by whoever keeps its place among them."""

CHECKED: Final = 12
"""The same where a check is asked as well, which may fail for its own reasons."""

LOOKS: Final = 1.5
"""Typical restarts between two looks at a place that is kept, at most."""

LATE: Final = 1.25
"""Such pauses for which nobody may have looked."""

UNDER_WAY: Final = frozenset(
    {"batch.submitting", "batch.accepted", "batch.unknown", "batch.started", "job.progress", "job.finished"}
)
"""The last event about a server that may still be restarted by its request."""

STOPS: Final = ("max_failures", "budget_exhausted", "cloud_unreachable", "auth", "gate")


def judge_ends(case: Case) -> Iterator[str]:
    """Every run that is not over stands there for a reason; nothing but what is documented was raised."""
    record = case.record
    disk_full = record.tally["writes that found a full disk"] > 0
    for end in record.ends:
        how, where = end.how, f"{end.run_id} in life {end.life}"
        if isinstance(how, BaseException):
            excused = (
                end.doomed
                or isinstance(how, RunConflict)
                or (record.world.named and isinstance(how, CloudError | SelectionError))
                or (disk_full and isinstance(how, StoreError | EngineStopped))
            )
            if not excused:
                yield f"raised: {where} ended by {how!r}"
        elif how.status.value == "stopped" and not how.reason.startswith(STOPS):
            yield f"stopped: {where} stopped for {how.reason}: {how.message}"
        elif not how.status.over and how.status.value != "stopped" and not end.doomed:
            yield f"stopped: {where} came back {how.status.value} ({how.reason}) though nobody asked it to"
        elif wrong := _untrue_stop(case, end, how):
            yield f"message: {where} says {how.reason}: {how.message} But {wrong}."


def _untrue_stop(case: Case, end: End, how: Result) -> str:
    """Return what contradicts that the cloud could not be reached, or did not know us."""
    tale = case.tales.get(end.run_id)
    if how.reason not in UNSEEN or how.status.value != "stopped" or tale is None:
        return ""
    if not how.message.startswith(UNACCEPTED):
        return unseen_for(case, tale.targets, end.at, how.reason)
    since = end.at - tale.plan["server_timeout"]
    told = end.at - case.record.world.request_timeout - FOLLOWED
    against = {"run.paused", "run.resumed", "batch.accepted"}
    broken = [fact for fact in tale.facts if fact.name in against and since < fact.at < told]
    if len(case.clouds) > 1 or not broken:
        return ""
    return f"there was {broken[0].name} at {broken[0].at:.2f} s"


# -- claims ------------------------------------------------------------------------------------------------------------


def judge_claims(case: Case) -> Iterator[str]:
    """Whoever has a server in the end is a run that is not over, or a direct request that is under way."""
    if not case.record.database.stamps:
        return
    for server, run_id in case.record.database.connection.execute("SELECT server_id, run_id FROM claims").fetchall():
        tale = case.tales.get(run_id)
        if tale is None or tale.status in OVER:
            yield f"claims: {run_id} is over and still has {server[:8]}"
            return
        if tale.kind == "direct" and tale.stage.get(server) != "flying":
            yield f"claims: {run_id} has {server[:8]}, which is {tale.stage.get(server, 'nothing that it has sent')}"
            return


def judge_chain(case: Case) -> Iterator[str]:
    """Every row of a record carries the hash of itself and of what was before, whoever wrote it in whichever life."""
    if not case.record.database.stamps:
        return
    connection = case.record.database.connection
    rows = "SELECT seq_first, seq_last, ts, lines, hash FROM journal WHERE run_id = ? ORDER BY seq_last"
    for run_id, begun in connection.execute("SELECT run_id, first_hash FROM runs").fetchall():
        behind = begun
        for first, last, ts, lines, carried in connection.execute(rows, (run_id,)).fetchall():
            behind = sha256(f"{behind}\n{first} {last} {ts!r}\n".encode() + plain(lines)).hexdigest()
            if carried != behind:
                yield f"chain: events {first} to {last} of {run_id} carry {carried[:8]!r} and are {behind[:8]!r}"
                return


def judge_kept_claims(case: Case) -> Iterator[str]:
    """Direct requests have no server that they have done with, while their process lives and others may want it."""
    for claimed in case.record.claimed:
        tale = case.tales.get(claimed.run_id)
        told = tale.facts if tale is not None else ()
        about = [fact for fact in told if fact.tick < claimed.tick and claimed.server in _named(case, fact, claimed)]
        if not about or about[-1].name not in UNDER_WAY:
            yield f"claims: {claimed.run_id} still has {claimed.server[:8]} at {claimed.at:.2f} s, and has done with it"
            return


def _named(case: Case, fact: Fact, claimed: Claimed) -> Collection[str]:
    """Return the servers that an event is about."""
    if "servers" in fact.body or "server" in fact.body:
        return (*fact.body.get("servers", ()), fact.body.get("server", ""))
    intent = case.tales[claimed.run_id].intents.get(fact.body.get("batch", 0))
    return intent.servers if intent is not None else ()


# -- places of the budget ----------------------------------------------------------------------------------------------


def judge_places(case: Case) -> Iterator[str]:
    """A place that is kept belongs to a server that is down; one that was given back to a server that was up."""
    for tale in case.tales.values():
        if tale.kind != "rollout":
            continue
        for release in tale.releases:
            if wrong := _untrue_release(case, release):
                name = f"{release.server[:8]} of {tale.run_id}"
                yield f"places: {name} was released at {release.fact.at:.2f} s, but {wrong}"
        last = last_before(tale.facts, ENDS | TAKEN, tale.facts[-1].tick + 1) if tale.facts else None
        if last is not None and last.name in ENDS:
            yield from _kept(case, tale, last)


def _untrue_release(case: Case, release: Release) -> str:
    """Return what contradicts that a look, some seconds ago at most, has shown a server up."""
    server, at = release.server, release.fact.at
    known = server in case.cloud_of(server).fleet.numbers
    if release.fact.body.get("why") == "not_found":
        return "there is such a server" if known else ""
    world = case.record.world
    since = case.seen_since(at, world.request_timeout + (world.check_delay or 0.0) + FOLLOWED)
    down = [(begin, end) for begin, end in case.down(server) if begin <= since and end >= at]
    return f"it was down from {down[0][0]:.2f} to {down[0][1]:.2f} s" if down else ""


def _kept(case: Case, tale: RunLog, end: Fact) -> Iterator[str]:
    """A server that is up gives its place back: somebody looks at it, and believes what looks show."""
    taken = last_before(tale.facts, TAKEN, end.tick)
    for server, since in tale.held.items():
        up = case.up_since(server, end.at)
        if up == FOREVER or server in case.record.hidden or server not in case.cloud_of(server).fleet.numbers:
            continue
        watched = max(up, since.at, taken.at if taken is not None else 0.0)
        if wrong := _unwatched(case, server, watched, end):
            name = f"{server[:8]} of {tale.run_id}"
            yield f"places: {name} keeps its place at {end.at:.2f} s, and is up since {up:.2f} s: {wrong}"
            return


def _unwatched(case: Case, server: str, since: float, end: Fact) -> str:
    """Return what looks there were at a server that is up and keeps its place; "" where they excuse that."""
    world = case.record.world
    looks = glances(case, server, since, end.at)
    believed = [look for look in looks if look.up and look.asked < end.at - FOLLOWED]
    if len(believed) >= (SHOWN if world.check_delay is None else CHECKED):
        return f"{len(believed)} looks have shown it"
    # A look may hang, and another before it in the same worker.
    apart = LOOKS * world.engine.typical_restart + 2 * world.request_timeout + (world.check_delay or 0.0)
    now = end.body.get("reason") == "budget_exhausted" and world.check_delay is None
    least = 2 * world.request_timeout + FOLLOWED if now else LATE * apart + FOLLOWED
    last = max((look.asked for look in looks), default=since)
    # While all look workers wait for answers nobody can look.
    idle = end.at - last - awaited(case, server, last, end.at) / world.engine.look_workers
    blind = case.record.freezes or end.body.get("reason") in UNSEEN
    return f"nobody has looked for {end.at - last:.0f} s" if idle > least and not blind else ""
