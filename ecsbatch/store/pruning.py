"""Deletes runs that are over, each with everything that is kept of it: as a whole, and while others go on writing.

A run is gone in one transaction, which deletes its row and leaves a note. What else there is of it goes piece by piece;
the last piece takes the note with it. A process that dies before that leaves the note, by which the next pruning, or a
new run of that id, clears the rest away. The run is locked meanwhile, so that nobody can take it, and grants stay.

SQLite keeps the pages that become free and uses them for what is written next. A file that was made by this version
also gives them back to the disk, piece by piece; an older one keeps its size until somebody calls `VACUUM` on it while
no process uses it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from ecsbatch.errors import Invalid
from ecsbatch.model.durations import DURATION, parse_duration
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Claim
from ecsbatch.store import claims as claim_table
from ecsbatch.store.database import Database, PreparedStatement
from ecsbatch.store.locks import Locks
from ecsbatch.store.schema import claims, commands, facts, journal, runs, targets

PIECE: Final = 2**19
"""Bytes of a journal that are deleted in one transaction: some milliseconds."""

_ROWS: Final = 1000
"""Rows of a journal that are deleted in one transaction at the most."""

_PARTS: Final = 2
"""Rows of a run's targets that are deleted in one transaction: each has some ten thousand servers."""

_NOTE: Final = "pruned "
"""How the name of a fact begins that notes a run whose deletion has begun."""

_OVER: Final = [status.value for status in RunStatus if status.over]
_r, _j, _t = runs.c, journal.c, targets.c
_run: sa.BindParameter[str] = sa.bindparam("run")
_last_event = sa.select(_j.ts).where(_j.run_id == _r.run_id, _j.seq_last == _r.seq).scalar_subquery()
_ended = sa.func.coalesce(_last_event, _r.created_at)
_over = _r.status.in_([sa.literal_column(f"'{status}'") for status in _OVER])
_direct = _r.kind == sa.literal_column("'direct'")
_BEFORE = PreparedStatement(
    sa.select(_r.run_id).where(sa.or_(_over, _direct), _ended < sa.bindparam("before")).order_by(_r.number)
)
_ENDED = PreparedStatement(sa.select(_r.kind, _r.status, _ended).where(_r.run_id == _run))
_ALL_OVER = PreparedStatement(sa.select(_r.run_id, _r.kind).where(_over).order_by(_r.number.desc()))
_CLAIMING = PreparedStatement(sa.select(claims.c.run_id).distinct())
_DELETE_RUN = PreparedStatement(sa.delete(runs).where(_r.run_id == _run))
_NOTE_RUN = PreparedStatement(sa.insert(facts).values(name=sa.bindparam("name"), value=sa.literal_column("''")))
_NOTED = PreparedStatement(sa.select(facts.c.name).where(facts.c.name == sa.bindparam("name")))
_FORGET_NOTE = PreparedStatement(sa.delete(facts).where(facts.c.name == sa.bindparam("name")))
_NOTES = PreparedStatement(
    sa.select(facts.c.name).where(facts.c.name.between(sa.bindparam("first"), sa.bindparam("last")))
)
_NEXT_ROWS = PreparedStatement(
    sa.select(_j.seq_last, sa.func.length(_j.lines)).where(_j.run_id == _run).order_by(_j.seq_last)
)
_DELETE_ROWS = PreparedStatement(sa.delete(journal).where(_j.run_id == _run, _j.seq_last <= sa.bindparam("last")))
_NEXT_PARTS = PreparedStatement(sa.select(_t.part).where(_t.run_id == _run).order_by(_t.part))
_DELETE_PARTS = PreparedStatement(sa.delete(targets).where(_t.run_id == _run, _t.part <= sa.bindparam("last")))
_DELETE_COMMANDS = PreparedStatement(sa.delete(commands).where(commands.c.run_id == _run))


class Pruning:
    """Deletes runs of one database, for one process."""

    def __init__(self, database: Database, locks: Locks) -> None:
        self._database = database
        self._locks = locks
        self._locked: set[str] = set()

    def ended_before(self, before: float) -> list[str]:
        """Return the runs that are over and ended before a time in seconds since 1970, the oldest first.

        A run of direct restarts whose process is gone is over as well: it cannot be resumed.
        """
        with self._database.reading():
            found = [run_id for (run_id,) in self._database.execute(_BEFORE, {"before": before})]
            return [run_id for run_id in found if self._may_go(run_id, before)]

    def superfluous(self, kept: int) -> list[str]:
        """Return the runs that are over but for the last ``kept`` rollouts, for a store that keeps no history."""
        with self._database.reading():
            over = self._database.execute(_ALL_OVER).fetchall()
        return [run_id for run_id, kind in over if kind == "direct"] + [r for r, kind in over if kind != "direct"][
            kept:
        ]

    def begun(self) -> list[str]:
        """Return the runs whose deletion was begun and not ended."""
        with self._database.reading():
            notes = self._database.execute(_NOTES, {"first": _NOTE, "last": f"{_NOTE}~"})
            return [name.removeprefix(_NOTE) for (name,) in notes]

    def claiming(self, run_ids: Collection[str]) -> set[str]:
        """Return those of the runs that still have servers, though they are over: their process died as they ended."""
        with self._database.reading():
            return {run_id for (run_id,) in self._database.execute(_CLAIMING)}.intersection(run_ids)

    def begin(self, run_id: str, before: float) -> bool:
        """Delete a run's row and note that, where it ended before a time and nobody has taken it since.

        The run is locked until `end`; where this returns True, `go_on` deletes the rest.
        """
        if not self._lock(run_id):
            return False
        with self._database.writing():
            if not self._may_go(run_id, before):
                return False
            self._database.execute(_DELETE_RUN, {"run": run_id})
            self._database.execute(_NOTE_RUN, {"name": _NOTE + run_id})
            return True

    def begin_again(self, run_id: str) -> bool:
        """Lock a run whose deletion was begun, until `end`; False where another process does that, or has done it."""
        if not self._lock(run_id):
            return False
        with self._database.reading():
            return noted(self._database, run_id)

    def _lock(self, run_id: str) -> bool:
        if not self._locks.acquire(run_id):
            return False
        self._locked.add(run_id)
        return True

    def go_on(self, run_id: str) -> bool:
        """Delete the next piece of a run; return True where that was not the last."""
        with self._database.writing():
            return delete_piece(self._database, run_id)

    def free(self, run_id: str, after: Claim) -> Claim | None:
        """Free servers that a run still has, from one of them on; return where to go on, None at the end."""
        with self._database.writing():
            return claim_table.free_piece(self._database, run_id, after)

    def end(self, run_id: str) -> None:
        """Release a run that `begin` has locked."""
        if run_id in self._locked:
            self._locked.discard(run_id)
            self._locks.release(run_id)

    def shrink(self) -> bool:
        """Give a piece of the free pages back to the disk; return True where there may be more."""
        return self._database.shrink()

    def _may_go(self, run_id: str, before: float) -> bool:
        """Tell whether a run that nobody has is over, or of direct restarts, and ended before a time."""
        row = self._database.execute(_ENDED, {"run": run_id}).fetchone()
        if row is None:
            return False
        kind, status, ended = row
        return ended < before and (status in _OVER or kind == "direct") and self._nobody_has(run_id)

    def _nobody_has(self, run_id: str) -> bool:
        return run_id in self._locked or not self._locks.held(run_id)


def noted(database: Database, run_id: str) -> bool:
    """Return True where a run's deletion was begun and not ended."""
    return database.execute(_NOTED, {"name": _NOTE + run_id}).fetchone() is not None


def delete_piece(database: Database, run_id: str) -> bool:
    """Delete a piece of what a run without a row has left, in a transaction; True where that was not the last."""
    rows = database.execute(_NEXT_ROWS, {"run": run_id}).fetchmany(_ROWS)
    if rows:
        count = _within(rows, PIECE)
        database.execute(_DELETE_ROWS, {"run": run_id, "last": rows[count - 1][0]})
        if count < len(rows) or len(rows) == _ROWS:
            return True
    parts = database.execute(_NEXT_PARTS, {"run": run_id}).fetchmany(_PARTS)
    if parts:
        database.execute(_DELETE_PARTS, {"run": run_id, "last": parts[-1][0]})
        if len(parts) == _PARTS:
            return True
    database.execute(_DELETE_COMMANDS, {"run": run_id})
    database.execute(_FORGET_NOTE, {"name": _NOTE + run_id})
    return False


def _within(rows: Sequence[Sequence[Any]], most: int) -> int:
    """Return how many of the rows have so many bytes together, at least one."""
    size = 0
    for count, (_, length) in enumerate(rows):
        size += int(length or 0)
        if size > most and count:
            return count
    return len(rows)


def seconds_of(duration: float | str | timedelta) -> float:
    """Return the age in seconds from which on runs are deleted; raises Invalid for what is no duration."""
    try:
        seconds = parse_duration(duration) if isinstance(duration, str) else duration
        seconds = seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise Invalid(
            f"older_than={duration!r} is invalid: give seconds, or {DURATION}.",
            field="older_than",
            value=duration,
            expected=f"seconds, or {DURATION}",
        )
    return seconds


Call: TypeAlias = Callable[[Callable[[Pruning], Any]], Awaitable[Any]]
"""Has something done with the database's `Pruning`, in its turn among all that the store does."""


async def prune(call: Call, before: float, *, pause: float = 0.0) -> list[str]:
    """Delete the runs that are over and ended before a time in seconds since 1970; return their ids.

    Args:
        call: has each piece of the work done.
        before: the time.
        pause: seconds between two pieces, in which others write.
    """
    for run_id in await call(Pruning.begun):
        await _delete(call, run_id, partial(Pruning.begin_again, run_id=run_id), pause)
    run_ids = await call(lambda pruning: pruning.ended_before(before))
    deleted = await delete_all(call, run_ids, before, pause=pause)
    if deleted:
        await _to_the_last(call, Pruning.shrink, pause)
    return deleted


async def delete_all(call: Call, run_ids: Sequence[str], before: float = math.inf, *, pause: float = 0.0) -> list[str]:
    """Delete those of the runs that are over and ended before a time; return their ids."""
    claiming: set[str] = await call(lambda pruning: pruning.claiming(run_ids)) if run_ids else set()
    deleted: list[str] = []
    for run_id in run_ids:
        begin = partial(Pruning.begin, run_id=run_id, before=before)
        if await _delete(call, run_id, begin, pause, claiming=run_id in claiming):
            deleted.append(run_id)
    return deleted


async def _delete(
    call: Call, run_id: str, begin: Callable[[Pruning], bool], pause: float, *, claiming: bool = True
) -> bool:
    """Delete a run piece by piece, where ``begin`` says that it may be; where we are cancelled, a note stays."""
    try:
        if not await call(begin):
            return False
        after: Claim | None = ("", "") if claiming else None
        while after is not None:
            after = await call(partial(Pruning.free, run_id=run_id, after=after))
            await asyncio.sleep(pause)
        await _to_the_last(call, partial(Pruning.go_on, run_id=run_id), pause)
        return True
    finally:
        await call(partial(Pruning.end, run_id=run_id))


async def _to_the_last(call: Call, piece: Callable[[Pruning], bool], pause: float) -> None:
    """Do one piece after another for as long as that returns True."""
    while await call(piece):  # noqa: ASYNC110 - the pause is for others
        await asyncio.sleep(pause)
