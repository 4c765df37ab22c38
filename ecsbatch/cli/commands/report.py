"""``ecsbatch report``: every server of a run with its outcome."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from ecsbatch.cli import candidates
from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit, UsageError
from ecsbatch.cli.flags import GROUPS, ConfigFile, RunName, StoreFlags
from ecsbatch.cli.output import columns, write_pieces
from ecsbatch.cli.wiring import make_store, read_run
from ecsbatch.model.text import printable
from ecsbatch.planning.lookup import need_server
from ecsbatch.views.report import ALL_KINDS, report_csv, report_json, report_table

if TYPE_CHECKING:
    from ecsbatch.views.page.reported_run import ReportedRun

_WIDEST: Final = 200


def report(
    run: RunName = "",
    /,
    *,
    output: Annotated[
        Literal["table", "json", "csv", "html"] | None,
        Parameter(
            name=["--output", "-o"],
            metavar="table|json|csv|html",
            show_choices=False,
            show_default=False,
            help="The form of the report; csv is a fleet file, html a page of its own with the audit's verdict, to be "
            "opened or mailed. [table on a terminal, else json]",
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
    if output == "html":
        return _html(CliContext.of(flags, config), run, out, filtered=bool(outcome or server))
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


def _html(context: CliContext, run: str, out: Path | None, *, filtered: bool) -> int:
    if filtered:
        raise UsageError(
            "-o html has every server, and finds and filters in the page: leave --outcome and --server out, or take "
            "-o table, json or csv."
        )
    if out is None and sys.stdout.isatty():
        raise UsageError("-o html is a page for a browser, not for a terminal: give it a file with --out report.html.")
    from ecsbatch.views.page.html_report import report_html  # noqa: PLC0415 - only for a page

    told = asyncio.run(_read(context.store_url, run))
    write_pieces(report_html(told), out)
    return Exit.OK


async def _read(url: str, run: str) -> ReportedRun:
    from ecsbatch.cli.html_report import read_report  # noqa: PLC0415 - only for a page

    async with make_store(url, read_only=True) as store:
        return await read_report(store, run)


def _kinds(text: str) -> frozenset[str]:
    kinds = frozenset(kind.strip().replace("-", "_") for kind in text.split(",") if kind.strip())
    if unknown := sorted(kinds - ALL_KINDS):
        raise UsageError(f"--outcome {printable(unknown[0])}: give {', '.join(sorted(ALL_KINDS))}.")
    return kinds or ALL_KINDS
