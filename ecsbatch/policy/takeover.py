"""Which runs a standby takes now, and when it looks again. Pure: `takeover` is the decision.

A run whose holder's lease is about to run out is looked at again at that very instant, so that it is without a process
for no longer than the lease.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import RunRecord

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the store, at the longest."""

_LEAST: Final = 0.05
"""Seconds between two looks, at the least: a lease's end as two clocks see it differs by less."""

_TRIED_AGAIN: Final = 5.0
_MOST: Final = 60.0


@dataclass(frozen=True, slots=True)
class Takeover:
    """What a standby does now.

    Attributes:
        take: the runs that it takes, the oldest first.
        look_in: seconds until it looks again.
    """

    take: tuple[RunRecord, ...]
    look_in: float


def may_be_taken(record: RunRecord, handed_over: Collection[str], wanted: Collection[str]) -> bool:
    """Tell whether a run is without a process, and by nobody's wish: it died, or handed the run over.

    Args:
        record: of the run.
        handed_over: the runs whose last process has left them for another one.
        wanted: the only runs that are taken; none: all are.
    """
    if wanted and record.run_id not in wanted:
        return False
    if record.status is RunStatus.ORPHANED:
        return True
    return record.status is RunStatus.INTERRUPTED and not record.held and record.run_id in handed_over


def takeover(
    records: Sequence[RunRecord],
    *,
    handed_over: Collection[str],
    wanted: Collection[str],
    not_now: Collection[str],
    room: int,
) -> Takeover:
    """Decide what a standby takes.

    Args:
        records: the rollouts that are not over, the newest first.
        handed_over: the runs whose last process has left them for another one.
        wanted: the only runs that are taken; none: all are.
        not_now: runs that it has already, that it lacks something for, or that it has just failed to take.
        room: how many more it may have.
    """
    free = [each for each in records if may_be_taken(each, handed_over, wanted) and each.run_id not in not_now]
    take = tuple(free[::-1][: max(room, 0)])
    leases = [
        left
        for each in records
        if each.held and each.run_id not in not_now and (left := each.lease_left) is not None and left > 0
    ]
    return Takeover(take, max(min([LOOK_EVERY, *leases]), _LEAST))


def tried_again_in(failures: int) -> float:
    """Return the seconds until a run is tried again that could not be taken so many times in a row."""
    return min(_TRIED_AGAIN * 2.0 ** max(failures - 1, 0), _MOST)
