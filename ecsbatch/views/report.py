"""The report: one row for every server of a run, as JSON or CSV, written piece by piece."""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ecsbatch.model.events import stamp
from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.standing import Phase, Standing, standing
from ecsbatch.views.standing import lasted
from ecsbatch.views.text import cell

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord

COLUMNS: Final = (
    "id",
    "outcome",
    "reason",
    "evidence",
    "error_code",
    "job_id",
    "wave",
    "domain",
    "attempts",
    "submitted_at",
    "ended_at",
    "not_retried",
)
"""What is told of each server; a contract: columns are added, never renamed."""

ALL_KINDS: Final = frozenset(kind.value for kind in OutcomeKind)

_ROWS_AT_ONCE: Final = 1000


def run_json(state: RolloutState, now: float | None = None) -> dict[str, Any]:
    """Return the one object that ``-o json`` prints of a run.

    Args:
        state: of the run.
        now: seconds since 1970, for a run that has no end yet.
    """
    counts = {kind.value: state.counts[kind] for kind in OutcomeKind}
    return {
        "run_id": state.run_id,
        "status": state.status.value,
        "reason": state.reason,
        "total": state.run.total,
        **counts,
        "elapsed_s": round(lasted(state, now), 3),
        "not_found": state.not_found,
        "not_retried": dict(sorted(state.not_retried_by.items())),
        **standing_json(how := standing(state, state.updated_at if now is None else now)),
        # Not who holds the run, but that it waits for somebody to promote it.
        "hold": {"before_wave": state.wave_over + 1, "since": _time(state.wave_over_at)}
        if how.phase is Phase.HELD
        else None,
    }


def standing_json(how: Standing) -> dict[str, Any]:
    """Return how a run stands, as ``-o json`` prints it beside the run."""
    return {"standing": how.phase.value, "standing_text": how.text, "standing_until": _time(how.until)}


def holder_json(record: RunRecord) -> dict[str, Any]:
    """Return who holds a run, or held it last, as ``-o json`` prints it beside the run."""
    return {"held": record.held, "holder": record.holder.name, "pid": record.holder.pid}


def report_json(state: RolloutState, kinds: Container[str] = ALL_KINDS) -> Iterator[bytes]:
    """Yield the pieces of ``{"run": {...}, "servers": [...]}``; ``kinds`` says servers of which outcomes."""
    run = run_json(state) | {
        "message": state.message,
        "started_at": _time(state.started_at),
        "ended_at": _time(state.ended_at),
        "wave": state.wave,
        "waves": len(state.plan.waves),
        "plan": state.plan.to_json(),
    }
    yield b'{"run":' + json_bytes(run) + b',"servers":['
    between = b"\n"
    rows = _rows(state, kinds)
    while chunk := list(islice(rows, _ROWS_AT_ONCE)):
        yield between + b",\n".join(json_bytes(dict(zip(COLUMNS, row, strict=True))) for row in chunk)
        between = b",\n"
    yield b"\n]}\n"


def report_csv(state: RolloutState, kinds: Container[str] = ALL_KINDS) -> Iterator[bytes]:
    """Yield the pieces of a table with a header; ``kinds`` says servers of which outcomes.

    No cell begins as a formula of a spreadsheet.
    """
    rows = _rows(state, kinds)
    chunk: list[tuple[Any, ...]] = [COLUMNS]
    while chunk:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([cell(value) for value in row] for row in chunk)
        yield text.getvalue().encode()
        chunk = list(islice(rows, _ROWS_AT_ONCE))


def _rows(state: RolloutState, kinds: Container[str]) -> Iterator[tuple[Any, ...]]:
    fleet = state.plan.fleet
    for index, outcome in enumerate(state.outcomes()):
        if outcome.kind.value not in kinds:
            continue
        wave = state.plan.wave_of(index)
        yield (
            outcome.server,
            outcome.kind.value,
            outcome.reason,
            outcome.evidence.value if outcome.evidence else "",
            outcome.code,
            outcome.job_id,
            wave.number if wave else None,
            fleet.domain(index),
            outcome.attempts,
            _time(outcome.submitted_at),
            _time(outcome.ended_at),
            outcome.not_retried,
        )


def _time(ts: float | None) -> str | None:
    return None if ts is None else stamp(ts)
