"""``ecsbatch restart``: look, plan, ask, restart; its pieces are those of ``apply``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from ecsbatch.cli import candidates
from ecsbatch.cli.commands.resume import continue_run
from ecsbatch.cli.context import CliContext, Verbosity
from ecsbatch.cli.drive import DriveResult, drive, offer_resume
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import GO_AHEAD, ConfigFile, FleetFile, Quiet, RestartFlags, Verbose
from ecsbatch.cli.on_end import end_hook
from ecsbatch.cli.output import check_outputs, columns, in_json, log_json, print_json, print_lines
from ecsbatch.cli.page import serving_page
from ecsbatch.cli.prompt import (
    Consent,
    agreed_lines,
    confirm,
    guard,
    guard_not_found,
    parse_guard,
    variable_that_agrees,
)
from ecsbatch.cli.selection_flags import SelectionFlags, read_selection
from ecsbatch.cli.survey import PreparedPlan, prepare, survey
from ecsbatch.cli.wiring import engine, make_store
from ecsbatch.errors import ConfigError, RunConflict
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import Server
from ecsbatch.planning.selection import Selection
from ecsbatch.rollout.hooks import GivenHooks, cannot_be_asked, validate_hooks
from ecsbatch.views.plan import PlanView, plan_json, plan_lines
from ecsbatch.views.text import format_span

if TYPE_CHECKING:
    from ecsbatch.config.sources import Settings
    from ecsbatch.store import DatabaseStore

_ALL_RUNS: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ConfirmFlags:
    """What is said beforehand about going ahead."""

    dry_run: Annotated[
        bool,
        Parameter(negative="", help="Show the plan and restart nothing.", env_var="ECSBATCH_DRY_RUN"),
    ] = False
    yes: Annotated[
        bool,
        Parameter(name=["--yes", "-y"], negative="", help="Do not ask; needed without a terminal."),
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
            completer=candidates.runs,
            env_var="ECSBATCH_RUN_ID",
        ),
    ] = ""


def restart(  # noqa: D417 - the options are told of where they are defined
    file: FleetFile = "",
    /,
    *,
    going: Annotated[
        ConfirmFlags | None,
        Parameter(name="*", group=GO_AHEAD, show_env_var=False, show_default=False),
    ] = None,
    selecting: Annotated[SelectionFlags | None, Parameter(name="*")] = None,
    flags: Annotated[RestartFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Restart the servers of a list or a selection: look at them, show the plan, ask, restart wave by wave.

    What would happen; a canary first; the servers of a tag in one zone; a list from a pipe, by a script:

      ecsbatch restart fleet.csv --dry-run
      ecsbatch restart fleet.csv --waves 1,5%,25% --max-unavailable 5%
      ecsbatch restart --tag app=web --az az1 --check tcp:22
      ecsbatch restart - --yes --confirm-count 480 --run-id web-2026-03

    A key is never an option. It comes from the first of these that has one: HUAWEICLOUD_SDK_AK and _SK (for a temporary
    key _SECURITY_TOKEN, too); ~/.huaweicloud/credentials; ECSBATCH_AUTH_TOKEN; ECSBATCH_IAM_USER, _PASSWORD and
    _DOMAIN; the agency of the ECS server that this runs on. ECSBATCH_CREDENTIALS asks for one alone: environment, file,
    token, password or metadata. Which one is used, and whether it is good, says:

      ecsbatch check

    Args:
        file: Servers, an id or an exact name a line, or .csv with a column id or name, or .jsonl; - is standard input.
    """
    going = going or ConfirmFlags()
    context = CliContext.of(flags, config, Verbosity(quiet, verbose))
    check_usage(context.settings)
    end_hook(context)
    selection = read_selection(file, selecting, "restart")
    context, consent = agreement(going, context, stdin_taken=selection.from_stdin)
    if going.dry_run:
        return show_plan(prepare(asyncio.run(survey(selection, context, store="read")), context).view, context)
    return _restart(selection, context, consent, going.run_id)


def agreement(going: ConfirmFlags, context: CliContext, *, stdin_taken: bool = False) -> tuple[CliContext, Consent]:
    """Return what was agreed to beforehand, and the context that knows where it was a variable that agreed.

    Raises:
        ConfigError: a value is invalid.
    """
    agreed_by = "" if going.yes else variable_that_agrees(os.environ)
    most = parse_guard(going.max_servers)
    consent = Consent(going.yes or bool(agreed_by), going.confirm_count, most, stdin_taken=stdin_taken)
    return replace(context, agreed_by=agreed_by), consent


def counts_project(consent: Consent) -> bool:
    """Tell whether all servers of the project have to be counted."""
    return consent.max_servers is not None and consent.max_servers.percent is not None


def _restart(selection: Selection, context: CliContext, consent: Consent, run_id: str) -> int:
    """Look, plan, ask, restart; a run of this name that exists goes on instead."""
    fewer = selection.exclude_claimed
    if selection.servers is not None and is_known(run_id, selection.servers, context, fewer=fewer):
        return continue_run(run_id, context, consent)
    found = asyncio.run(survey(selection, context, count=counts_project(consent), run_id=run_id))
    if selection.servers is None and is_known(run_id, found.servers, context, fewer=fewer):
        return continue_run(run_id, context, consent)
    if found.conflict is not None:
        raise found.conflict
    return go_ahead(prepare(found, context), context, consent, run_id)


def is_known(run_id: str, servers: Sequence[Server], context: CliContext, *, fewer: bool = False) -> bool:
    """Tell whether a run has this id already; ``fewer``: it may have left servers out that others had then.

    Raises:
        RunConflict: that run is about other servers.
    """
    return bool(run_id) and asyncio.run(_known_run(run_id, servers, context, fewer=fewer))


def check_usage(settings: Settings) -> None:
    """Refuse settings that contradict one another.

    Raises:
        UsageError: two kinds of data are to go to standard output.
        ConfigError: a check or a gate is invalid.
    """
    check_outputs(settings)
    strategy = settings.strategy
    validate_hooks(strategy.check, strategy.gate, strategy.check_ca)


def show_plan(view: PlanView, context: CliContext) -> int:
    """Print a plan on standard output, as what the command is for."""
    if context.wants_json:
        print_json(plan_json(view))
    else:
        print_lines(plan_lines(view, columns(to_stdout=True)), to_stdout=True)
    return Exit.OK


def go_ahead(prepared: PreparedPlan, context: CliContext, consent: Consent, run_id: str = "") -> int:
    """Show a plan, ask, and carry it out.

    Raises:
        ConfigError: its check or its gate cannot be started here.
        Declined: a guard refuses it, or nobody agreed to it.
    """
    plan = prepared.view.plan
    for why in cannot_be_asked(plan, GivenHooks()):
        raise ConfigError(f"{why} Nothing was sent.")
    guard(plan.to_restart, consent, prepared.inventory)
    guard_not_found(plan, consent)

    def show() -> None:
        if context.verbosity.quiet:
            return
        if in_json():
            log_json("info", "plan", plan_json(prepared.view) | {"agreed_by": context.agreed_by})
        else:
            lines = plan_lines(prepared.view, columns(to_stdout=False))
            print_lines([*lines, "", *agreed_lines(context.agreed_by)], to_stdout=False)

    confirm(plan.to_restart, consent, show)
    result = asyncio.run(carry_out(plan, context, run_id))
    return offer_resume(result, context, asks=not consent.yes)


async def carry_out(plan: Plan, context: CliContext, run_id: str = "") -> DriveResult:
    """Run a plan as it is.

    Raises:
        EcsbatchError: whatever the rollout raises.
    """
    async with carried_out(plan, context, run_id) as result:
        return result


@asynccontextmanager
async def carried_out(plan: Plan, context: CliContext, run_id: str = "") -> AsyncGenerator[DriveResult]:
    """Run a plan as it is, and let the block see what it came to while its store is open and its page is up.

    Raises:
        EcsbatchError: whatever the rollout raises.
    """
    settings = context.settings
    async with make_store(context.store_url) as store, engine(context, store) as restarter:
        rollout = restarter.rollout(plan, run_id=run_id)
        async with serving_page(context, restarter, rollout.run_id):
            if settings.output.cold_start or plan.skip_updated_since is not None:
                await _start_cold(store, settings.engine.quota.window, quiet=context.verbosity.quiet)
            yield await drive(restarter, rollout, context)


async def _start_cold(store: DatabaseStore, window: float, *, quiet: bool) -> None:
    """Wait a window where this store knows of no earlier requests: those of a lost machine still count."""
    from ecsbatch.engine.limiter import GUARD  # noqa: PLC0415 - imported when used

    if not await store.start_cold(window + GUARD) or quiet:
        return
    wait = f"the first request waits {format_span(window)}"
    text = f"This store has had no run: {wait}, as another may have spent the quota."
    if in_json():
        log_json("info", "cold_start", {"message": text, "seconds": window})
    else:
        print_lines([text], to_stdout=False)


async def _known_run(run_id: str, servers: Sequence[Server], context: CliContext, *, fewer: bool) -> bool:
    async with make_store(context.store_url) as store:
        record = next((each for each in await store.runs(limit=_ALL_RUNS) if each.run_id == run_id), None)
        if record is None:
            return False
        fleet = await store.targets(run_id)
    by_name = dict(zip(fleet.names or (), fleet.ids, strict=False))
    wanted, has = {server.id or by_name.get(server.name, "") for server in servers}, set(fleet.ids)
    if has != wanted and not (fewer and has < wanted):
        raise RunConflict(
            f"Run {run_id} exists already with other servers ({len(wanted & has):,} of its {len(has):,} are given): "
            "choose another --run-id, or give the same list."
        )
    return True
