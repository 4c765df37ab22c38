"""``ecsbatch runs``: the last runs."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import AskFlags, ConfigFile
from ecsbatch.cli.output import columns, print_json, print_lines
from ecsbatch.cli.run_rows import read_states, run_row, with_counts
from ecsbatch.cli.wiring import make_store
from ecsbatch.policy.frozen import freeze_notice
from ecsbatch.policy.standing import standing
from ecsbatch.views.summary import run_lines
from ecsbatch.views.text import wrap_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecsbatch.model.freeze import Freeze
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState

_RUNS: Final = 20
_WIDEST: Final = 160
"""Columns of the widest table."""


def runs(
    *,
    limit: Annotated[int, Parameter(help="How many, the newest first. [20]", metavar="N", show_default=False)] = _RUNS,
    flags: Annotated[AskFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """List the last runs, the newest first."""
    context = CliContext.of(flags, config)
    records, states, frozen, now = asyncio.run(_read_runs(context.store_url, max(limit, 1)))
    standings = {run_id: standing(state, now) for run_id, state in states.items()}
    if context.wants_json:
        rows = [run_row(record, states.get(record.run_id), now) for record in records]
        print_json({"runs": rows, "frozen": frozen.as_dict() if frozen is not None else None})
        return Exit.OK
    if frozen is not None:
        print_lines([*wrap_line(freeze_notice(frozen, now), columns(to_stdout=True)), ""], to_stdout=True)
    if records:
        print_lines(run_lines(records, _width(records), standings), to_stdout=True)
    else:
        print_lines(["No runs yet."], to_stdout=True)
    return Exit.OK


def _width(records: Sequence[RunRecord]) -> int:
    """Return how wide the table is: without a terminal 80 columns, and more where machines are to be told apart."""
    shared = any(record.lease_left is not None for record in records)
    return columns(to_stdout=True, most=_WIDEST) if sys.stdout.isatty() or not shared else _WIDEST


async def _read_runs(url: str, limit: int) -> tuple[list[RunRecord], dict[str, RolloutState], Freeze | None, float]:
    """Return the last runs, the states of the rollouts of them that are not over, the store's freeze, and its time."""
    async with make_store(url, read_only=True) as store:
        records = await store.runs(limit)
        open_ = [record for record in records if not record.status.over and record.kind == "rollout"]
        states = await read_states(store, open_)
        frozen, now = await store.frozen(), store.wall()
    return [with_counts(record, states.get(record.run_id)) for record in records], states, frozen, now
