"""``ecsbatch runs``: the last runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import AskFlags, ConfigFile
from ecsbatch.cli.output import columns, print_json, print_lines
from ecsbatch.cli.wiring import make_store
from ecsbatch.model.events import stamp
from ecsbatch.store.history import aborts_of
from ecsbatch.views.report import holder_json
from ecsbatch.views.summary import run_lines

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord

_RUNS: Final = 20


def runs(
    *,
    limit: Annotated[int, Parameter(help="How many, the newest first. [20]", metavar="N", show_default=False)] = _RUNS,
    flags: Annotated[AskFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """List the last runs, the newest first."""
    context = CliContext.of(flags, config)
    records, aborting = asyncio.run(_read_runs(context.store_url, max(limit, 1)))
    if context.wants_json:
        print_json({"runs": [_row(record) | {"aborting": record.run_id in aborting} for record in records]})
    elif records:
        print_lines(run_lines(records, columns(to_stdout=True), aborting), to_stdout=True)
    else:
        print_lines(["No runs yet."], to_stdout=True)
    return Exit.OK


async def _read_runs(url: str, limit: int) -> tuple[list[RunRecord], set[str]]:
    """Return the last runs, and those of them that somebody has ended for good and that are not over yet."""
    async with make_store(url) as store:
        records = await store.runs(limit)
        open_ = [record.run_id for record in records if not record.status.over]
        return records, {run_id for run_id in open_ if await aborts_of(store, run_id)}


def _row(record: RunRecord) -> dict[str, Any]:
    return {
        "run_id": record.run_id,
        "kind": record.kind,
        "status": record.status.value,
        "created_at": stamp(record.created_at),
        "total": record.total,
        "counts": dict(record.counts),
    } | holder_json(record)
