"""Which run a command is about that was typed without one, and which others go on beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from shlex import quote
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ecsbatch.cli.output import print_lines
from ecsbatch.cli.run_rows import read_states
from ecsbatch.cli.wiring import make_store
from ecsbatch.errors import RunConflict
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.text import printable
from ecsbatch.policy.standing import standing

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord
    from ecsbatch.policy.standing import Standing

_ALL: Final = 1_000_000
_NAMED: Final = 8
"""Runs that are named at most."""


def _goes_on(record: RunRecord) -> bool:
    return record.held and not record.status.over


def _can_resume(record: RunRecord) -> bool:
    return not record.status.over and (not record.held or record.status is RunStatus.PAUSED)


def _can_abort(record: RunRecord) -> bool:
    return not record.status.over


_FITS: Final[Mapping[str, Callable[[RunRecord], bool]]] = {
    "pause": _goes_on,
    "promote": _goes_on,
    "adjust": _goes_on,
    "resume": _can_resume,
    "abort": _can_abort,
}
"""Commands that change a run, and which runs each can be about."""


def run_to_steer(run: str, command: str, url: str, options: str = "") -> str:
    """Return the run that a command is to change: the one that was named, else the latest if no other can be meant.

    Args:
        run: as it was typed, "" where it was left out.
        command: what was typed.
        url: of the store.
        options: what was typed behind it, to be typed again.

    Raises:
        RunConflict: none was named, and more than one can be meant.
        StoreError: the store cannot be read.
    """
    if run:
        return run
    meant = meant_by(command, asyncio.run(_rollouts(url)))
    if len(meant) > 1:
        listed = _listed(f"ecsbatch {command}", meant, standings_of(meant, url), options)
        print_lines([*listed, ""], to_stdout=False)
        raise RunConflict(f"{len(meant):,} runs can be meant, and {command} was typed without one: nothing was done.")
    return meant[0].run_id if meant else ""


def meant_by(command: str, records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs that a command without one can be about: those that it fits, and the latest in any case.

    Who types it means the latest. Where that has ended by now, another one must not be changed instead.

    Args:
        command: one that changes a run.
        records: the rollouts, the newest first.
    """
    fits = _FITS[command]
    return [record for place, record in enumerate(records) if place == 0 or fits(record)]


def others_going_on(url: str, run_id: str) -> list[RunRecord]:
    """Return the runs beside this one that a process holds.

    Raises:
        StoreError: the store cannot be read.
    """
    return [each for each in asyncio.run(_rollouts(url)) if each.run_id != run_id and _goes_on(each)]


def standings_of(records: Sequence[RunRecord], url: str) -> dict[str, Standing]:
    """Return how the first runs stand that are not over, by their ids: as many as are named.

    Raises:
        StoreError: the store cannot be read.
    """
    return asyncio.run(_standings([each for each in records[:_NAMED] if not each.status.over], url))


async def _standings(records: Sequence[RunRecord], url: str) -> dict[str, Standing]:
    async with make_store(url, read_only=True) as store:
        states, now = await read_states(store, records), store.wall()
    return {run_id: standing(state, now) for run_id, state in states.items()}


def others_lines(
    others: Sequence[RunRecord], options: str = "", standings: Mapping[str, Standing] = MappingProxyType({})
) -> list[str]:
    """Say which runs go on beside one, how they stand, and what shows each; nothing where there are none."""
    if not others:
        return []
    verb = "Another run goes" if len(others) == 1 else f"{len(others):,} other runs go"
    return ["", f"{verb} on:", *_listed("ecsbatch status", others, standings, options)]


def others_json(others: Sequence[RunRecord], standings: Mapping[str, Standing]) -> list[dict[str, Any]]:
    """Return the runs that go on beside one; how they stand is told of the first of them."""
    return [
        {"run_id": each.run_id, "status": each.status.value, "standing": how.phase.value if how else None}
        for each in others
        for how in (standings.get(each.run_id),)
    ]


async def _rollouts(url: str) -> list[RunRecord]:
    async with make_store(url, read_only=True) as store:
        return [record for record in await store.runs(limit=_ALL) if record.kind == "rollout"]


def _listed(command: str, records: Sequence[RunRecord], standings: Mapping[str, Standing], options: str) -> list[str]:
    """Write the command for each run, and beside it how the run stands."""
    named = [
        (f"  {command} {quote(record.run_id)}{options}", _row(record, standings.get(record.run_id)))
        for record in records[:_NAMED]
    ]
    width = max(len(typed) for typed, _ in named)
    more = len(records) - _NAMED
    return [f"{typed:{width}}  {words}" for typed, words in named] + ([f"  and {more:,} more"] if more > 0 else [])


def _row(record: RunRecord, how: Standing | None) -> str:
    held = f", held by {printable(record.holder.name)}, pid {record.holder.pid}" if record.held else ""
    return f"{how.text if how else record.status.value}, {record.ended:,} of {record.total:,}{held}"
