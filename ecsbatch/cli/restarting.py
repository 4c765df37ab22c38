"""``ecsbatch restart``: look, plan, ask, restart."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import Annotated, Final

import orjson
from cyclopts import Parameter

from ecsbatch.cli.concluding import check_outputs, conclude
from ecsbatch.cli.confirming import Consent, confirm, guard, parse_guard
from ecsbatch.cli.driving import Driven, drive
from ecsbatch.cli.exits import Exit, UsageError
from ecsbatch.cli.flags import GO_AHEAD, ConfigFile, Quiet, RestartFlags, Verbose, settings_of, store_url
from ecsbatch.cli.parts import engine, make_store, say
from ecsbatch.cli.planning import Prepared, prepare
from ecsbatch.cli.resuming import continue_run
from ecsbatch.cli.watching import Watching
from ecsbatch.errors import RunConflict
from ecsbatch.models import Server
from ecsbatch.plan import Plan
from ecsbatch.selection import read_fleet
from ecsbatch.sources import Settings
from ecsbatch.views.planned import Planned, planned_json, planned_lines

_ALL_RUNS: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class GoAhead:
    """What is said beforehand about going ahead."""

    dry_run: Annotated[
        bool,
        Parameter(negative="", help="Show the plan and restart nothing.", env_var="ECSBATCH_DRY_RUN"),
    ] = False
    yes: Annotated[
        bool,
        Parameter(
            name=["--yes", "-y"], negative="", help="Do not ask; needed without a terminal.", env_var="ECSBATCH_YES"
        ),
    ] = False
    confirm_count: Annotated[
        int | None,
        Parameter(
            help="Do not ask if the plan restarts just so many servers, else refuse.",
            metavar="N",
            env_var="ECSBATCH_CONFIRM_COUNT",
        ),
    ] = None
    max_servers: Annotated[
        str | None,
        Parameter(
            help="Refuse to restart more servers than this, or than this share of the project's.",
            metavar="N|N%",
            env_var="ECSBATCH_MAX_SERVERS",
        ),
    ] = None
    run_id: Annotated[
        str,
        Parameter(
            help="Name of the run; the same name with the same servers goes on with it.",
            metavar="TEXT",
            env_var="ECSBATCH_RUN_ID",
        ),
    ] = ""


def restart(  # noqa: D417 - the options are told of where they are defined
    file: Annotated[str, Parameter(allow_leading_hyphen=True, show_default=False)] = "",
    /,
    *,
    going: Annotated[
        GoAhead | None,
        Parameter(name="*", group=GO_AHEAD, show_env_var=False, show_default=False),
    ] = None,
    flags: Annotated[RestartFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Restart the servers of a list: look at them, show the plan, ask, restart wave by wave.

    Args:
        file: Servers, one id a line, or .csv with a column id, or .jsonl; - is standard input.
    """
    going = going or GoAhead()
    settings = settings_of(flags, config)
    check_usage(file, settings)
    most = parse_guard(going.max_servers)
    consent = Consent(going.yes, going.confirm_count, most, stdin_taken=file == "-")
    watching = Watching(quiet, verbose)
    servers = read_fleet(file)
    if going.run_id and (known := asyncio.run(known_run(going.run_id, servers, settings))):
        return continue_run(known, settings, consent, watching)
    share = most is not None and most.percent is not None
    prepared = asyncio.run(prepare(servers, settings, count=share, opened=not going.dry_run))
    if going.dry_run:
        return show_plan(prepared.planned, settings)
    return go_ahead(prepared, settings, consent, watching, going.run_id)


def check_usage(file: str, settings: Settings) -> None:
    """Refuse what cannot be meant together.

    Raises:
        UsageError: so it is.
    """
    if not file:
        raise UsageError("restart needs a list of servers: ecsbatch restart FILE, or - for standard input.")
    if file.startswith("-") and file != "-":
        raise UsageError(f"restart has no option {file}: see ecsbatch restart --help.")
    check_outputs(settings)


def show_plan(planned: Planned, settings: Settings) -> int:
    """Print a plan as data."""
    if settings.output.output == "json":
        sys.stdout.buffer.write(orjson.dumps(planned_json(planned)) + b"\n")
    else:
        say(planned_lines(planned), to_stdout=True)
    return Exit.OK


def go_ahead(prepared: Prepared, settings: Settings, consent: Consent, watching: Watching, run_id: str = "") -> int:
    """Show a plan, ask, and carry it out."""
    plan = prepared.planned.plan
    guard(plan.to_restart, consent, prepared.inventory)

    def show() -> None:
        if not watching.quiet:
            width = min(get_terminal_size().columns, 80)
            say([*planned_lines(prepared.planned, width), ""], to_stdout=False)

    confirm(plan.to_restart, consent, show)
    driven = asyncio.run(carry_out(plan, settings, watching, run_id))
    return conclude(driven, settings)


async def carry_out(plan: Plan, settings: Settings, watching: Watching, run_id: str = "") -> Driven:
    """Run a plan as it is."""
    async with make_store(store_url(settings)) as store, engine(settings, store) as restarter:
        return await drive(restarter, restarter.rollout(plan, run_id=run_id), settings, watching)


async def known_run(run_id: str, servers: Sequence[Server], settings: Settings) -> str:
    """Return the run id where a run has it already, "" where it is free.

    Raises:
        RunConflict: that run is about other servers.
    """
    async with make_store(store_url(settings)) as store:
        record = next((each for each in await store.runs(limit=_ALL_RUNS) if each.run_id == run_id), None)
        if record is None:
            return ""
        fleet = await store.targets(run_id)
    if set(fleet.ids) != {server.id for server in servers}:
        raise RunConflict(
            f"Run {run_id} exists already with other servers ({len(fleet)}, not {len(servers)}): "
            "choose another --run-id, or give the same list."
        )
    return run_id
