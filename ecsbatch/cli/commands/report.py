"""``ecsbatch report``: every server of a run with its outcome."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit, UsageError
from ecsbatch.cli.flags import GROUPS, ConfigFile, RunName, StoreFlags
from ecsbatch.cli.output import write_pieces
from ecsbatch.cli.wiring import read_run
from ecsbatch.model.text import printable
from ecsbatch.views.report import ALL_KINDS, report_csv, report_json


def report(
    run: RunName = "",
    /,
    *,
    output: Annotated[
        Literal["json", "csv"],
        Parameter(
            name=["--output", "-o"],
            metavar="json|csv",
            show_choices=False,
            help="The form of the report.",
            group=GROUPS["output"],
        ),
    ] = "json",
    outcome: Annotated[
        str,
        Parameter(
            help="Only servers that ended so: restarted, failed, timed_out, unknown, skipped or not_started, or "
            "several with commas.",
            metavar="OUTCOMES",
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        Parameter(help="Write it into this file instead of standard output.", metavar="FILE", group=GROUPS["output"]),
    ] = None,
    flags: Annotated[StoreFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Write every server of a run with its outcome, its reason and what it rests on."""
    context = CliContext.of(flags, config)
    kinds = _kinds(outcome)
    _, state = asyncio.run(read_run(context.store_url, run))
    write_pieces(report_csv(state, kinds) if output == "csv" else report_json(state, kinds), out)
    return Exit.OK


def _kinds(text: str) -> frozenset[str]:
    kinds = frozenset(kind.strip().replace("-", "_") for kind in text.split(",") if kind.strip())
    if unknown := sorted(kinds - ALL_KINDS):
        raise UsageError(f"--outcome {printable(unknown[0])}: give {', '.join(sorted(ALL_KINDS))}.")
    return kinds or ALL_KINDS
