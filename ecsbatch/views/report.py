"""The report: one row for every server of a run, as JSON, CSV or a table, written piece by piece."""

from __future__ import annotations

import io
from collections.abc import Container, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ecsbatch.model.json_text import json_bytes, stamped
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import printable, without_code
from ecsbatch.policy.progress import progress
from ecsbatch.views.table import chunks, table
from ecsbatch.views.text import WORDS, cell, utc_text

if TYPE_CHECKING:
    from ecsbatch.model.conflicts import RunTaken
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
    "name",
    "host",
)
"""What is told of each server; a contract: columns are added, never renamed."""

ALL_KINDS: Final = frozenset(kind.value for kind in OutcomeKind)

_SHOWN: Final = (
    *(("ID", 36), ("NAME", 16), ("OUTCOME", 11), ("WHY", 44), ("ZONE", 12), ("WAVE", 4), ("ENDED (UTC)", 19)),
)
"""The columns of the table for people, those that matter most first."""

_LONGEST_NAME: Final = 256


def run_json(state: RolloutState, now: float | None = None) -> dict[str, Any]:
    """Return the one object that ``-o json`` prints of a run: its progress, and which of its servers do not exist.

    Args:
        state: of the run.
        now: seconds since 1970, for a run that has no end yet.
    """
    told = progress(state, state.updated_at if now is None else now)
    return told.as_dict() | {"not_found": state.not_found}


def taken_json(state: RolloutState, taken: RunTaken) -> dict[str, Any]:
    """Return what ``-o json`` prints of a run that another process has taken over: how it stood, and who has it."""
    holder = {"held": True, "holder": taken.holder, "pid": taken.pid, "host": taken.host, "since": taken.since}
    return run_json(state) | {"reason": "taken_over", "message": str(taken)} | holder


def holder_json(record: RunRecord) -> dict[str, Any]:
    """Return who holds a run, or held it last, as ``-o json`` prints it beside the run."""
    told = record.as_dict()
    return {name: told[name] for name in ("held", "holder", "pid", "host", "since", "lease_left")}


def report_json(state: RolloutState, kinds: Container[str] = ALL_KINDS, only: int | None = None) -> Iterator[bytes]:
    """Yield the pieces of ``{"run": {...}, "servers": [...]}``.

    Args:
        state: of the run.
        kinds: servers of which outcomes.
        only: the index of the only server that is told of, None for all.
    """
    run = run_json(state) | {
        "message": state.message,
        "started_at": stamped(state.started_at),
        "ended_at": stamped(state.ended_at),
        "wave": state.wave_under_way,
        "waves": len(state.plan.waves),
        "plan": state.plan.to_json(),
    }
    yield b'{"run":' + json_bytes(run) + b',"servers":['
    between = b"\n"
    for chunk in chunks(_rows(state, kinds, only)):
        yield between + b",\n".join(json_bytes(dict(zip(COLUMNS, row, strict=True))) for row in chunk)
        between = b",\n"
    yield b"\n]}\n"


def report_csv(state: RolloutState, kinds: Container[str] = ALL_KINDS, only: int | None = None) -> Iterator[bytes]:
    """Yield the pieces of a fleet file of it, see `report_json`; no cell begins as a spreadsheet's formula."""
    import csv  # noqa: PLC0415 - of all who read reports, only one writes such a file

    for chunk in chunks(chain([COLUMNS], _rows(state, kinds, only))):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([cell(value) for value in row] for row in chunk)
        yield text.getvalue().encode()


def report_table(
    state: RolloutState, kinds: Container[str] = ALL_KINDS, only: int | None = None, width: int = 0
) -> Iterator[bytes]:
    """Return the pieces of a table for people, see `report_json`; cut from the right to a screen's width, if any."""
    return table(_SHOWN, (_shown(state, index) for index in _indexes(state, kinds, only)), width)


def _shown(state: RolloutState, index: int) -> tuple[str, ...]:
    fleet, outcome, wave = state.plan.fleet, state.outcome(index), state.plan.wave_of(index)
    ended = utc_text(outcome.ended_at) if outcome.ended_at else ""
    again = f"not retried: {outcome.not_retried.replace('_', ' ')}" if outcome.not_retried else ""
    words = (outcome.reason.replace("_", " "), outcome.code, again, without_code(outcome.message, outcome.code))
    why = "  ".join(word for word in words if word)
    place = (fleet.domain(index), str(wave.number) if wave else "")
    return outcome.server, fleet.name(index), WORDS[outcome.kind], why, *place, ended


def _indexes(state: RolloutState, kinds: Container[str], only: int | None) -> Iterator[int]:
    """Yield the indexes of the servers with an outcome of these kinds."""
    every = range(len(state.plan.fleet)) if only is None else (only,)
    return (index for index in every if state.outcome(index).kind.value in kinds)


def _rows(state: RolloutState, kinds: Container[str], only: int | None) -> Iterator[tuple[Any, ...]]:
    fleet = state.plan.fleet
    for index in _indexes(state, kinds, only):
        outcome = state.outcome(index)
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
            stamped(outcome.submitted_at),
            stamped(outcome.ended_at),
            outcome.not_retried,
            printable(fleet.name(index), _LONGEST_NAME),
            printable(outcome.host, _LONGEST_NAME),
        )
