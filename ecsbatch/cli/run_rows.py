"""A run in a list of runs, as JSON: what its record says, and how its events say that it stands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.policy.progress import standing_json
from ecsbatch.policy.standing import Phase, Standing, standing

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState


def with_counts(record: RunRecord, state: RolloutState | None) -> RunRecord:
    """Return a record that counts who has an outcome as its events tell, where there is a state.

    The row does not know who keeps an outcome while it is tried again.
    """
    if state is None:
        return record
    counts = state.counts
    counts[OutcomeKind.UNKNOWN] -= state.run.in_flight
    counts[OutcomeKind.NOT_STARTED] = state.run.ended[OutcomeKind.NOT_STARTED]
    return replace(record, counts={kind.value: number for kind, number in counts.items() if number})


def run_row(record: RunRecord, state: RolloutState | None, now: float) -> dict[str, Any]:
    """Return a run as JSON; without a state its record tells how it stands."""
    how = Standing(Phase(record.status.value), record.status.value) if state is None else standing(state, now)
    aborting = state is not None and bool(state.aborting or state.abort_asked_by)
    return record.as_dict() | {"aborting": aborting} | standing_json(how)
