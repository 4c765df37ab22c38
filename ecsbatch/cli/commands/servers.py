"""``ecsbatch servers``: look at a fleet before touching it; the list that it prints is a fleet file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import GROUPS, ConfigFile, FleetFile, SiteFlags
from ecsbatch.cli.output import columns, print_lines, write_pieces
from ecsbatch.cli.selection_flags import SelectionFlags, read_selection
from ecsbatch.cli.survey import Survey, survey
from ecsbatch.errors import SelectionRefused
from ecsbatch.model.servers import ServerView
from ecsbatch.model.text import counted, printable
from ecsbatch.views.servers import Writer, servers_csv, servers_json, servers_jsonl, servers_table, would_skip

Form: TypeAlias = Literal["table", "csv", "json", "jsonl"]

_WRITERS: Final[Mapping[Form, Writer]] = {
    "table": servers_table,
    "csv": servers_csv,
    "json": servers_json,
    "jsonl": servers_jsonl,
}


def servers(  # noqa: D417 - the options are told of where they are defined
    file: FleetFile = "",
    /,
    *,
    selecting: Annotated[SelectionFlags | None, Parameter(name="*")] = None,
    output: Annotated[
        Form,
        Parameter(
            name=["--output", "-o"],
            metavar="table|csv|json|jsonl",
            show_choices=False,
            show_default=False,
            help="The form of the list; csv and jsonl are fleet files. [table]",
            group=GROUPS["output"],
        ),
    ] = "table",
    out: Annotated[
        Path | None,
        Parameter(help="Write it into this file instead of standard output.", metavar="FILE", group=GROUPS["output"]),
    ] = None,
    flags: Annotated[SiteFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Look at servers: where they are, in which state, and why a restart would skip them now. Nothing is restarted.

    Args:
        file: Servers to look at, as for restart; - is standard input.
    """
    context = CliContext.of(flags, config)
    selection = read_selection(file, selecting, "servers")
    found = asyncio.run(survey(selection, context, store="none"))
    views = _left(found)
    to_screen = output == "table" and out is None and sys.stdout.isatty()
    pieces = servers_table(views, columns(to_stdout=True, most=200)) if to_screen else _WRITERS[output](views)
    write_pieces(pieces, out)
    left_out = len(found.servers) - len(views) + sum(found.claimed.values())
    print_lines([_summary(views, left_out, out)], to_stdout=False)
    return Exit.OK


def _summary(views: list[ServerView], left_out: int, out: Path | None) -> str:
    """Say how many there are, where they went, and how many of them are not fit for a restart now."""
    where = f" written to {printable(str(out))}" if out is not None else ""
    more = f", {left_out:,} left out" if left_out else ""
    skipped = sum(bool(would_skip(view)) for view in views)
    which = "it" if len(views) == 1 else f"{skipped:,} of them"
    fit = f"; a restart would skip {which} now" if skipped else ""
    return f"{counted(len(views), 'server')}{where}{more}{fit}."


def _left(found: Survey) -> list[ServerView]:
    """Return the servers that a restart would be about.

    Raises:
        SelectionRefused: all of them are to be left out.
    """
    views = [found.views[server.id] for server in found.left]
    if not views:
        raise SelectionRefused(f"All of {counted(len(found.servers), 'server')} are left out by what was asked for.")
    return views
