"""What a store knows of the runs that its process holds, between two transactions."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.events import Event
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Holder, NewRun, RunRecord
from ecsbatch.model.tokens import Grant


@dataclass(frozen=True, slots=True)
class Head:
    """How far a held run's history goes.

    Attributes:
        fence: of the present holder.
        seq: number of the last event.
        status, counts: as in its row.
        hash: the head of its record, which the next row follows.
        grants: how many grants this holder has had.
        failed_at: number of the last event that is a failure.
        claimed: True where the run is over and may still have servers.
        epoch: of the store, in which the record is known to be whole.
    """

    fence: int
    seq: int
    status: RunStatus
    counts: Mapping[str, int]
    hash: str
    grants: int = 0
    failed_at: int = 0
    claimed: bool = False
    epoch: str = ""


@dataclass(slots=True)
class Pending:
    """What a group stores of one run: its events, and the same as lines of JSON, one piece for each write."""

    recorded: list[Recorded] = field(default_factory=list[Recorded])
    lines: list[bytes] = field(default_factory=list[bytes])


def intended(intent: Callable[[Grant], Sequence[Event]], grant: Grant) -> Sequence[Event]:
    """Call the caller's ``intent``; an exception that would end a task or a thread refuses only this write."""
    try:
        return intent(grant)
    except (CancelledError, GeneratorExit) as e:
        raise RuntimeError(f"The intent to spend grant {grant.id} raised {type(e).__name__}.") from e


def first_record(new: NewRun, holder: Holder, now: float, counts: Mapping[str, int], targets: str) -> RunRecord:
    """Return what is stored of a run as it begins; ``targets`` is the hash of its servers."""
    return RunRecord(
        run_id=new.run_id,
        kind=new.kind,
        created_at=now,
        status=RunStatus.RUNNING,
        holder=holder,
        held=True,
        fence=1,
        seq=len(new.events),
        total=len(new.fleet) if new.fleet is not None else 0,
        counts=counts,
        targets_hash=targets,
        plan=new.plan,
    )
