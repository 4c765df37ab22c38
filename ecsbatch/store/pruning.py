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

from ecsbatch.errors import Invalid
from ecsbatch.model.durations import DURATION, parse_duration
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Claim
from ecsbatch.store import claims as claim_table
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database, found
from ecsbatch.store.locks import Locks

PIECE: Final = 2**19
"""Bytes of a journal that are deleted in one transaction: some milliseconds."""

_ROWS: Final = 1000
"""Rows of a journal that are deleted in one transaction at the most."""

_PARTS: Final = 2
"""Rows of a run's targets that are deleted in one transaction: each has some ten thousand servers."""

_NOTE: Final = "pruned "
"""How the name of a fact begins that notes a run whose deletion has begun."""

_OVER: Final = [status.value for status in RunStatus if status.over]


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

        def ended() -> list[str]:
            run_ids = [run_id for (run_id,) in self._database.execute(sql.ENDED_BEFORE, {"before": before})]
            holding = self._locks.seen()
            return [run_id for run_id in run_ids if run_id in self._locked or not holding.held(run_id)]

        return self._database.read(ended)

    def superfluous(self, kept: int) -> list[str]:
        """Return the runs that are over but for the last ``kept`` rollouts, for a store that keeps no history."""
        over = self._database.read(lambda: self._database.execute(sql.RUNS_OVER).fetchall())
        return [run_id for run_id, kind in over if kind == "direct"] + [r for r, kind in over if kind != "direct"][
            kept:
        ]

    def begun(self) -> list[str]:
        """Return the runs whose deletion was begun and not ended."""
        names = {"first": _NOTE, "last": f"{_NOTE}~"}
        notes = self._database.read(lambda: self._database.execute(sql.NOTES, names).fetchall())
        return [name.removeprefix(_NOTE) for (name,) in notes]

    def claiming(self, run_ids: Collection[str]) -> set[str]:
        """Return those of the runs that still have servers, though they are over: their process died as they ended."""
        claiming = self._database.read(lambda: self._database.execute(sql.CLAIMING_RUNS).fetchall())
        return {run_id for (run_id,) in claiming}.intersection(run_ids)

    def begin(self, run_id: str, before: float) -> bool:
        """Delete a run's row and note that, where it ended before a time and nobody has taken it since.

        The run is locked until `end`; where this returns True, `go_on` deletes the rest.
        """

        def begun() -> bool:
            if not (self._locks.mine(run_id) and self._may_go(run_id, before)):
                return False
            self._database.execute(sql.DELETE_RUN, {"run": run_id})
            self._database.execute(sql.STATE, {"name": _NOTE + run_id, "value": ""})
            return True

        return self._lock(run_id) and self._database.write(begun, claims=True)

    def begin_again(self, run_id: str) -> bool:
        """Lock a run whose deletion was begun, until `end`; False where another process does that, or has done it."""
        return self._lock(run_id) and self._database.read(lambda: noted(self._database, run_id))

    def _lock(self, run_id: str) -> bool:
        if not self._locks.acquire(run_id):
            return False
        self._locked.add(run_id)
        return True

    def go_on(self, run_id: str) -> bool:
        """Delete the next piece of a run; return True where that was not the last."""
        return self._database.write(lambda: self._locks.mine(run_id) and delete_piece(self._database, run_id))

    def free(self, run_id: str, after: Claim) -> Claim | None:
        """Free servers that a run still has, from one of them on; return where to go on, None at the end."""

        def freed() -> Claim | None:
            return claim_table.free_piece(self._database, run_id, after) if self._locks.mine(run_id) else None

        return self._database.write(freed)

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
        row = found(self._database.execute(sql.ENDED, {"run": run_id}))
        if row is None:
            return False
        kind, status, ended = row
        nobodys = run_id in self._locked or not self._locks.held(run_id)
        return ended < before and (status in _OVER or kind == "direct") and nobodys


def noted(database: Database, run_id: str) -> bool:
    """Return True where a run's deletion was begun and not ended."""
    return found(database.execute(sql.FACT, {"name": _NOTE + run_id})) is not None


def delete_piece(database: Database, run_id: str) -> bool:
    """Delete a piece of what a run without a row has left, in a transaction; True where that was not the last."""
    rows = database.execute(sql.NEXT_ROWS, {"run": run_id, "limit": _ROWS}).fetchall()
    if rows:
        count = _within(rows, PIECE)
        database.execute(sql.DELETE_ROWS, {"run": run_id, "last": rows[count - 1][0]})
        if count < len(rows) or len(rows) == _ROWS:
            return True
    parts = database.execute(sql.NEXT_TARGETS, {"run": run_id, "limit": _PARTS}).fetchall()
    if parts:
        database.execute(sql.DELETE_TARGETS, {"run": run_id, "last": parts[-1][0]})
        if len(parts) == _PARTS:
            return True
    database.execute(sql.DELETE_COMMANDS, {"run": run_id})
    database.execute(sql.WITHDRAW, {"name": _NOTE + run_id})
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
