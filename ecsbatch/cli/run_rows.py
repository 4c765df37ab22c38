"""Runs in a list: what their records say, and how their events say that they stand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ecsbatch.cli.output import warn
from ecsbatch.errors import RecordEdited
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.policy.progress import standing_json
from ecsbatch.policy.standing import Phase, Standing, standing
from ecsbatch.rollout.follower import load_history

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState
    from ecsbatch.store.store import DatabaseStore


async def read_states(store: DatabaseStore, records: Iterable[RunRecord]) -> dict[str, RolloutState]:
    """Return how rollouts stand, by their ids; one whose record was edited is left out, with a warning.

    It hides no other run.
    """
    states: dict[str, RolloutState] = {}
    for record in records:
        try:
            states[record.run_id] = (await load_history(store, record)).state
        except RecordEdited as e:
            from ecsbatch.cli.remedies import with_remedy  # noqa: PLC0415 - what edits ask for is seldom asked for

            warn(with_remedy(e))
    return states


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
