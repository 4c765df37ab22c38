"""The table of runs: what each one is, how it stands, who holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import orjson

from ecsbatch.errors import RunNotFound, StoreError
from ecsbatch.model.events import (
    Event,
    RunFinished,
    RunResumed,
    ServerEvent,
    ServerFailed,
    ServerRestarted,
    ServerSkipped,
    ServerTimedOut,
    ServerUnknown,
)
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.run import Holder, RunRecord
from ecsbatch.model.text import printable
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database, found
from ecsbatch.store.locks import Holding, Locks

_NAMED: Final = 5
"""Runs that the error about an ambiguous prefix names."""

_CANDIDATES: Final = 50
"""Runs that it carries at most."""

_LAST: Final = "\U0010ffff"
"""The last of all characters: what begins with a text comes before the text with this one behind it."""

_LAST_TIME: Final = 253_402_300_799.0
"""The end of the year 9999, the last one that can be written."""

_OUTCOMES: Final[Mapping[type[Event], str]] = {
    ServerRestarted: OutcomeKind.RESTARTED.value,
    ServerFailed: OutcomeKind.FAILED.value,
    ServerTimedOut: OutcomeKind.TIMED_OUT.value,
    ServerUnknown: OutcomeKind.UNKNOWN.value,
    ServerSkipped: OutcomeKind.SKIPPED.value,
}


_FAILURES: Final = frozenset(kind for kind in _OUTCOMES if issubclass(kind, ServerEvent) and kind.kind.is_failure)


def any_failure(events: Sequence[Event]) -> bool:
    """Tell whether one of the events is a server's failure."""
    return not _FAILURES.isdisjoint(map(type, events))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= _LAST_TIME


_FITS: Final[Mapping[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("run_id", "kind", "targets_hash", "holder", "host", "counts", "plan"), _is_text),
    **dict.fromkeys(("fence", "seq", "total", "pid"), _is_count),
    **dict.fromkeys(("created_at", "since"), _is_time),
}
"""What we write into a column, by which an edited row is told."""


def insert(database: Database, record: RunRecord) -> None:
    """Store a new run."""
    database.execute(
        sql.INSERT_RUN,
        {
            "run_id": record.run_id,
            "kind": record.kind,
            "created_at": record.created_at,
            "status": record.status.value,
            "fence": record.fence,
            "seq": record.seq,
            "total": record.total,
            "counts": _text(record.counts),
            "targets_hash": record.targets_hash,
            "plan": _text(record.plan),
            **_columns_of(record.holder),
        },
    )


def how_far(database: Database, run_id: str) -> tuple[int, int]:
    """Return the number of a run's last holder and that of its last event, 0 and 0 where there is no such run."""
    row = found(database.execute(sql.HOW_FAR, {"run": run_id}))
    return (int(row[0]), int(row[1])) if row else (0, 0)


def advance(
    database: Database, run_id: str, seq: int, counts: Mapping[str, int], status: RunStatus | None = None
) -> None:
    """Store how far a run is: its last event's number, its outcomes so far, and its status where that is another."""
    row = {"run": run_id, "seq": seq, "counts": _text(counts)}
    if status is None:
        database.execute(sql.ADVANCE_RUN, row)
    else:
        database.execute(sql.CHANGE_STATUS, {**row, "status": status.value})


def set_holder(database: Database, run_id: str, holder: Holder, number: int, status: RunStatus) -> None:
    """Store a run's new holder."""
    values = {"run": run_id, "fence": number, "status": status.value, **_columns_of(holder)}
    database.execute(sql.SET_HOLDER, values)


def get(database: Database, run_id: str, locks: Locks) -> RunRecord | None:
    """Return a run by its whole id, or None."""
    row = found(database.execute(sql.RUN, {"run": run_id}))
    return _record(row, locks.seen(run_id)) if row else None


def find(database: Database, name: str, locks: Locks) -> RunRecord:
    """Return a run by its id or a unique prefix; for "" the latest, rollouts before direct runs.

    Raises:
        RunNotFound: no run or several runs fit.
    """
    rows = _candidates(database, name)
    if not rows:
        raise missing(database, name)
    records = _records(rows, locks)
    exact = [record for record in records if record.run_id == name]
    if len(records) > 1 and not exact:
        named = ", ".join(record.run_id for record in records[:_NAMED])
        more = f" and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
        candidates = [record.run_id for record in records[:_CANDIDATES]]
        told = f"Several runs begin with {name!r} ({named}{more}): give more of its id."
        raise RunNotFound(told, run_id=name, candidates=candidates)
    return (exact or records)[0]


def missing(database: Database, name: str) -> RunNotFound:
    """Return the error about a run that does not exist."""
    what = f"There is no run {name!r} in" if name else "There are no runs yet in"
    return RunNotFound(f"{what} {database.url}.", run_id=name)


def latest(database: Database, limit: int, locks: Locks) -> list[RunRecord]:
    """Return the last runs, the newest first."""
    return _records(database.execute(sql.LAST_RUNS, {"limit": limit}).fetchall(), locks)


def between(database: Database, since: float, until: float, locks: Locks) -> list[RunRecord]:
    """Return the runs that went on at some time between two in seconds since 1970, the newest first."""
    return _records(database.execute(sql.RUNS_BETWEEN, {"since": since, "until": until}).fetchall(), locks)


def open_rollouts(database: Database, locks: Locks) -> list[RunRecord]:
    """Return the rollouts that go on, or were broken off, the newest first."""
    return _records(database.execute(sql.OPEN_ROLLOUTS).fetchall(), locks)


def none_yet(database: Database) -> bool:
    """Return True where this store has never had a run."""
    return found(database.execute(sql.ANY_RUN)) is None


def counted(counts: Mapping[str, int], events: Sequence[Event]) -> Mapping[str, int]:
    """Return the outcomes so far, with those that events add."""
    new = dict(counts)
    for event in events:
        kind = _OUTCOMES.get(type(event))
        if kind is not None:
            new[kind] = new.get(kind, 0) + 1
        elif isinstance(event, RunResumed):
            # Servers of left-out domains are not tried again, which is not known here: the run's end corrects it.
            new = {kind: count for kind, count in new.items() if kind not in event.retry}
        elif isinstance(event, RunFinished) and event.counts:
            new = dict(event.counts)
    return new


def _candidates(database: Database, name: str) -> list[Sequence[Any]]:
    if not name:
        row = found(database.execute(sql.LATEST_RUN))
        return [row] if row else []
    return database.execute(sql.RUNS_BY_PREFIX, {"prefix": name, "last": f"{name}{_LAST}"}).fetchall()


def holder_of(row: Sequence[Any]) -> Holder:
    """Return who has a run, or had it last, by its row."""
    has = dict(zip(sql.RUN_COLUMNS, row, strict=True))
    return Holder(has["holder"], has["host"], has["pid"], has["since"])


def plan_of(row: Sequence[Any]) -> Mapping[str, Any]:
    """Return a run's plan by its row."""
    return _object(dict(zip(sql.RUN_COLUMNS, row, strict=True))["plan"])


def _columns_of(holder: Holder) -> dict[str, Any]:
    return {"holder": holder.name, "host": holder.host, "pid": holder.pid, "since": holder.since}


def _records(rows: Sequence[Sequence[Any]], locks: Locks) -> list[RunRecord]:
    holding = locks.seen()
    return [_record(row, holding) for row in rows]


def _record(row: Sequence[Any], holding: Holding) -> RunRecord:
    """Return a run by its row.

    Raises:
        StoreError: somebody has edited the row, and it cannot be read any more.
    """
    has: dict[str, Any] = dict(zip(sql.RUN_COLUMNS, row, strict=True))
    try:
        return _read(has, holding)
    except (ValueError, TypeError) as e:
        raise StoreError(
            f"The row of run {printable(str(has['run_id']), 80)} was not written by ecsbatch and cannot be read ({e}): "
            "restore the store from a copy of before."
        ) from e


def _read(has: Mapping[str, Any], holding: Holding) -> RunRecord:
    for column, fits in _FITS.items():
        if not fits(has[column]):
            raise ValueError(f"{column} is {printable(repr(has[column]), 40)}")
    counts, plan = _object(has["counts"]), _object(has["plan"])
    if not all(map(_is_count, counts.values())):
        raise ValueError(f"counts is {printable(repr(counts), 40)}")
    status = RunStatus(has["status"])
    held = not status.over and holding.held(has["run_id"])
    if not held and status in {RunStatus.RUNNING, RunStatus.PAUSED}:
        status = RunStatus.ORPHANED
    return RunRecord(
        run_id=has["run_id"],
        kind=has["kind"],
        created_at=has["created_at"],
        status=status,
        holder=Holder(has["holder"], has["host"], has["pid"], has["since"]),
        held=held,
        fence=has["fence"],
        seq=has["seq"],
        total=has["total"],
        counts=counts,
        targets_hash=has["targets_hash"],
        plan=plan,
        lease_left=None if status.over else holding.left(has["run_id"]),
    )


def _object(text: str) -> dict[str, Any]:
    """Return the object of a JSON text; whatever else it holds is a TypeError."""
    value: object = orjson.loads(text)
    if not isinstance(value, dict):
        raise TypeError("counts or plan is no object")
    return cast("dict[str, Any]", value)


def _text(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode()
