"""What is judged of a world with several holders: the cloud's books, the record, and who had each run when.

Most promises are those of `tests.simulated.checker`, by its own judges; here are those that only several machines can
break.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import orjson

from ecsbatch.errors import RecordEdited, RunConflict, RunNotFound, StoreError
from ecsbatch.model.run import Result
from ecsbatch.store.lease_keeper import TTL
from tests.simulated.agreement import false_alarms
from tests.simulated.allowed import judge_budget, judge_course
from tests.simulated.checker import judge_once, judge_ownership, judge_quota, judge_unstarted
from tests.simulated.evidence import Case, Restart, gather
from tests.simulated.looked import judge_baselines
from tests.simulated.outcomes import judge_outcomes
from tests.simulated.record import Record
from tests.simulated.remains import judge_chain, judge_claims
from tests.simulated.run_log import Intent, RunLog, read_run_logs

from .shared import NOBODY, LeaseSeen, SharedCloud, SharedDatabase

FORGOTTEN: Final = "forgotten "
"""The tale of the intents that a failover has forgotten; each is of a run whose name begins so."""


def check(record: Record) -> list[str]:
    """Return every broken promise of a played scene."""
    case = _gathered(record)
    case.broken += judge_unstarted(case)  # of what each request did itself
    _credit(case)
    for judge in JUDGES:
        case.broken += judge(case)
    for tale in case.tales.values():
        case.broken += tale.broken
    found = case.broken + record.complaints
    return found or list(false_alarms(record))


def _gathered(record: Record) -> Case:
    """Put the evidence together; a forgotten intent has the number of its batch with a minus before it."""
    database = record.database
    assert isinstance(database, SharedDatabase)
    tales = read_run_logs(database)
    for row in database.forgotten.values():
        tale = tales.setdefault(FORGOTTEN, RunLog(FORGOTTEN, "", "forgotten", []))
        for body in map(orjson.loads, row.lines.split(b"\n")):
            if body["event"] == "batch.submitting":
                number, servers = -body["batch"], tuple(body["servers"])
                tale.intents[len(tale.intents)] = Intent(row.tick, row.at, FORGOTTEN + row.run_id, number, 0, servers)
    return gather(record, tales)


def _credit(case: Case) -> None:
    """Count what a forgotten request has begun as begun by an earlier one of the run: no look tells the two apart."""
    forgotten = {key: restarts for key, restarts in case.restarts.items() if key[0].startswith(FORGOTTEN)}
    for (run_id, server, _), restarts in forgotten.items():
        tale = case.tales.get(run_id.removeprefix(FORGOTTEN))
        one = tale.last(server) if tale is not None else None
        if one is not None and one.batches and not case.restarts_of(one):
            case.restarts[one.run_id, server, one.batches[-1]] = restarts


def judge_others(case: Case) -> Iterator[str]:
    """No request names a server that another run has; what was forgotten is told of by no record."""
    return judge_ownership(replace(case, tales={name: tale for name, tale in case.tales.items() if name != FORGOTTEN}))


def judge_forgotten(case: Case) -> Iterator[str]:
    """A server that a forgotten request has restarted is not restarted once more by the run."""
    everything: dict[tuple[str, str], list[Restart]] = {}
    for (run_id, server, _), restarts in case.restarts.items():
        everything.setdefault((run_id.removeprefix(FORGOTTEN), server), []).extend(restarts)
    for (run_id, server), restarts in everything.items():
        once = {id(restart): restart for restart in restarts}.values()
        restarts = sorted(once, key=lambda restart: restart.begun.at)  # noqa: PLW2901 - in order, each once
        tale = case.tales.get(run_id)
        begun_anew = tale.facts[0].tick if tale is not None and tale.facts else 0
        for first, second in pairwise(restarts):
            if first.intent.batch < 0 and first.intent.tick > begun_anew:
                at = f"{first.begun.at:.2f} s by a request that was forgotten, and at {second.begun.at:.2f} s"
                yield f"once: {server[:8]} of {run_id} was restarted at {at}"


def judge_sends(case: Case) -> Iterator[str]:
    """Nothing leaves for a run but by the process that has its lease, and while that lasts."""
    database, cloud = case.record.database, case.record.cloud
    assert isinstance(database, SharedDatabase)
    assert isinstance(cloud, SharedCloud)
    for sent, intent in case.sent_by:
        by, run_id = cloud.senders[sent.tick], intent.run_id.removeprefix(FORGOTTEN)
        lease = _lease_at(database.leases.get(run_id, ()), sent.tick)
        if any(0.0 <= sent.at - at <= TTL for at in database.failed_over):
            continue  # what was forgotten is noticed with the next renewal, and nobody sends anything new meanwhile
        if lease.process != by:
            yield f"lease: process {by} sent for {run_id} at {sent.at:.2f} s, which {_named(lease)} had"
        elif lease.until < sent.at:
            yield f"lease: process {by} sent for {run_id} at {sent.at:.2f} s, its lease ended at {lease.until:.2f} s"


def judge_writes(case: Case) -> Iterator[str]:
    """Every event is written by the process that had the run's lease."""
    database = case.record.database
    assert isinstance(database, SharedDatabase)
    rows = database.connection.execute("SELECT rowid, run_id FROM journal ORDER BY rowid").fetchall()
    for rowid, run_id in rows:
        tick, at = database.stamps[rowid]
        lease = _lease_at(database.leases.get(run_id, ()), tick)
        by = database.writers[rowid]
        if lease.process != by:
            yield f"lease: process {by} wrote to {run_id} at {at:.2f} s, which {_named(lease)} had"


def _lease_at(leases: Sequence[LeaseSeen], tick: int) -> LeaseSeen:
    return next((lease for lease in reversed(leases) if lease.tick < tick), LeaseSeen(0, 0.0, NOBODY, 0.0))


def _named(lease: LeaseSeen) -> str:
    return "nobody" if lease.process == NOBODY else f"process {lease.process}"


def judge_ends(case: Case) -> Iterator[str]:
    """Whoever had a run hears how it ended, that another has it, or that the store could not be used."""
    database = case.record.database
    assert isinstance(database, SharedDatabase)
    troubled = case.record.tally["requests that were refused"] > 0
    for end in case.record.ends:
        how = end.how
        excused = isinstance(how, RunConflict | RunNotFound) or (troubled and isinstance(how, StoreError))
        excused |= bool(database.failed_over) and isinstance(how, RecordEdited)
        if isinstance(how, BaseException) and not excused:
            yield f"raised: {end.run_id} in process {end.life} ended by {how!r}"
        elif isinstance(how, Result) and not how.status.over:
            yield f"stopped: {end.run_id} in process {end.life} came back {how.status.value} ({how.reason})"


JUDGES: Final[Sequence[Callable[[Case], Iterator[str]]]] = (
    judge_quota,
    judge_once,
    judge_baselines,
    judge_others,
    judge_outcomes,
    judge_budget,
    judge_course,
    judge_claims,
    judge_chain,
    judge_forgotten,
    judge_sends,
    judge_writes,
    judge_ends,
)
"""Each asks after some promises, and yields a sentence for each that was broken."""
