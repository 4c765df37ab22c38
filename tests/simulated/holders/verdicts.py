"""What is judged of a world with several holders: the cloud's books, the record, and who had each run when.

Most promises are those of `tests.simulated.checker`, by its own judges; here are those that only several machines can
break.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ecsbatch.errors import RunConflict, RunNotFound, StoreError
from ecsbatch.model.run import Result
from tests.simulated.agreement import false_alarms
from tests.simulated.allowed import judge_budget, judge_course
from tests.simulated.checker import judge_once, judge_ownership, judge_quota, judge_unstarted
from tests.simulated.evidence import Case, gather
from tests.simulated.looked import judge_baselines
from tests.simulated.outcomes import judge_outcomes
from tests.simulated.record import Record
from tests.simulated.remains import judge_chain, judge_claims

from .shared import NOBODY, LeaseSeen, SharedCloud, SharedDatabase


def check(record: Record) -> list[str]:
    """Return every broken promise of a played scene."""
    case = gather(record)
    for judge in JUDGES:
        case.broken += judge(case)
    for tale in case.tales.values():
        case.broken += tale.broken
    found = case.broken + record.complaints
    return found or list(false_alarms(record))


def judge_sends(case: Case) -> Iterator[str]:
    """Nothing leaves for a run but by the process that has its lease, and while that lasts."""
    database, cloud = case.record.database, case.record.cloud
    assert isinstance(database, SharedDatabase)
    assert isinstance(cloud, SharedCloud)
    for sent, intent in case.sent_by:
        by, run_id = cloud.senders[sent.tick], intent.run_id
        lease = _lease_at(database.leases.get(run_id, ()), sent.tick)
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
    troubled = case.record.tally["requests that were refused"] > 0
    for end in case.record.ends:
        how = end.how
        excused = isinstance(how, RunConflict | RunNotFound) or (troubled and isinstance(how, StoreError))
        if isinstance(how, BaseException) and not excused:
            yield f"raised: {end.run_id} in process {end.life} ended by {how!r}"
        elif isinstance(how, Result) and not how.status.over:
            yield f"stopped: {end.run_id} in process {end.life} came back {how.status.value} ({how.reason})"


JUDGES: Final[Sequence[Callable[[Case], Iterator[str]]]] = (
    judge_quota,
    judge_once,
    judge_unstarted,
    judge_baselines,
    judge_ownership,
    judge_outcomes,
    judge_budget,
    judge_course,
    judge_claims,
    judge_chain,
    judge_sends,
    judge_writes,
    judge_ends,
)
"""Each asks after some promises, and yields a sentence for each that was broken."""
