"""``ecsbatch report``: every server of a run with its outcome."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from ecsbatch.cli import candidates
from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit, UsageError
from ecsbatch.cli.flags import GROUPS, ConfigFile, RunName, StoreFlags
from ecsbatch.cli.output import columns, write_pieces
from ecsbatch.cli.wiring import read_run
from ecsbatch.model.text import printable
from ecsbatch.planning.lookup import need_server
from ecsbatch.views.report import ALL_KINDS, report_csv, report_json, report_table

_WIDEST: Final = 200


def report(
    run: RunName = "",
    /,
    *,
    output: Annotated[
        Literal["table", "json", "csv"] | None,
        Parameter(
            name=["--output", "-o"],
            metavar="table|json|csv",
            show_choices=False,
            show_default=False,
            help="The form of the report; csv is a fleet file. [table on a terminal, else json]",
            group=GROUPS["output"],
        ),
    ] = None,
    outcome: Annotated[
        str,
        Parameter(
            help="Only servers that ended so: restarted, failed, timed_out, unknown, skipped or not_started, or "
            "several with commas.",
            metavar="OUTCOMES",
            completer=candidates.offered(*sorted(ALL_KINDS)),
            show_default=False,
        ),
    ] = "",
    server: Annotated[
        str,
        Parameter(
            help="Only this server: its id, its name or a unique beginning of its id.",
            metavar="SERVER",
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
    only = need_server(state.plan.fleet, server, printable(state.run_id)) if server else None
    to_screen = out is None and sys.stdout.isatty()
    if output == "table" or (output is None and to_screen):
        width = columns(to_stdout=True, most=_WIDEST) if to_screen else 0
        write_pieces(report_table(state, kinds, only, width), out)
    else:
        write_pieces((report_csv if output == "csv" else report_json)(state, kinds, only), out)
    return Exit.OK


def _kinds(text: str) -> frozenset[str]:
    kinds = frozenset(kind.strip().replace("-", "_") for kind in text.split(",") if kind.strip())
    if unknown := sorted(kinds - ALL_KINDS):
        raise UsageError(f"--outcome {printable(unknown[0])}: give {', '.join(sorted(ALL_KINDS))}.")
    return kinds or ALL_KINDS
