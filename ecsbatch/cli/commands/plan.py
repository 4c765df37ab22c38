"""``ecsbatch plan`` and ``ecsbatch apply``: agree today on what is carried out tonight, exactly so or not at all."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from shlex import quote
from typing import Annotated, Final

from cyclopts import Parameter

from ecsbatch.cli.commands.restart import (
    ConfirmFlags,
    agreement,
    check_usage,
    counts_project,
    go_ahead,
    is_known,
    show_plan,
)
from ecsbatch.cli.commands.resume import continue_run
from ecsbatch.cli.context import CliContext, Verbosity
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.cli.flags import (
    GO_AHEAD,
    ApplyFlags,
    ConfigFile,
    FleetFile,
    Quiet,
    RestartFlags,
    Verbose,
)
from ecsbatch.cli.on_end import end_hook
from ecsbatch.cli.output import check_outputs, print_lines, warn, write_file
from ecsbatch.cli.programs import exposure_notice, given_programs, refuse_other
from ecsbatch.cli.prompt import parse_hash
from ecsbatch.cli.selection_flags import SelectionFlags, read_selection
from ecsbatch.cli.survey import PreparedPlan, prepare, prepared_as, survey
from ecsbatch.cli.wiring import make_store
from ecsbatch.config.since import parse_since
from ecsbatch.errors import ConfigError, PlanStale
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.json_text import stamp
from ecsbatch.model.text import counted
from ecsbatch.planning.drift import Drifted, find_drift
from ecsbatch.planning.plan_file import Kept, plan_pieces, read_plan
from ecsbatch.planning.selection import Selection
from ecsbatch.rollout.hooks import GivenHooks, hooks_of
from ecsbatch.views.plan import drift_lines
from ecsbatch.views.text import format_span

_RUNS: Final = 1000
_SKEW: Final = 60.0
"""Seconds that another machine's clock may be ahead of ours."""


@dataclass(frozen=True, kw_only=True)
class KeptPlanFlags:
    """What a plan's file must be for it to be carried out."""

    max_age: Annotated[
        str,
        Parameter(
            help="Refuse a plan that is older, or was made before: 24h, or a date or time. [24h]",
            metavar="TIME",
            env_var="ECSBATCH_MAX_AGE",
        ),
    ] = "24h"
    accept_drift: Annotated[
        bool, Parameter(help="Carry it out whatever has changed since, or however old it is.", negative="")
    ] = False
    hash: Annotated[
        str,
        Parameter(
            help="Carry out the plan that has this hash on its screen, and no other.",
            metavar="HASH",
            env_var="ECSBATCH_HASH",
        ),
    ] = ""


def plan(  # noqa: D417 - the options are told of where they are defined
    file: FleetFile = "",
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="Keep the plan in this file, for apply.", metavar="FILE", group=GO_AHEAD)
    ] = None,
    selecting: Annotated[SelectionFlags | None, Parameter(name="*")] = None,
    flags: Annotated[RestartFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Show what restart would do, in numbers, and restart nothing. With --out the plan is kept, for apply.

    Args:
        file: Servers, an id or an exact name a line, or .csv with a column id or name, or .jsonl; - is standard input.
    """
    context = CliContext.of(flags, config)
    check_usage(context.settings)
    selection = read_selection(file, selecting, "plan")
    made_at = time.time()
    prepared = prepare(asyncio.run(survey(selection, context, store="read")), context)
    if out is not None:
        write_file(out, plan_pieces(prepared.view.plan, prepared.views, prepared.site, made_at))
    code = show_plan(prepared.view, context)
    if out is not None:
        command = f"ecsbatch apply {quote(str(out))} --hash {prepared.view.plan.hash}{context.repeat.go_on}"
        print_lines(["", f"Kept in {out}. Next:", f"  {command}"], to_stdout=False)
    return code


def apply(
    file: Annotated[str, Parameter(help="A plan that ecsbatch plan --out wrote.", show_default=False)] = "",
    /,
    *,
    asked: Annotated[
        KeptPlanFlags | None,
        Parameter(name="*", group=GO_AHEAD, show_env_var=False, show_default=False),
    ] = None,
    going: Annotated[
        ConfirmFlags | None,
        Parameter(name="*", group=GO_AHEAD, show_env_var=False, show_default=False),
    ] = None,
    flags: Annotated[ApplyFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Carry out a plan that was kept, exactly as it is.

    Its servers are looked at first: where they are not as the plan saw them, it is refused and the drift is listed.
    """
    going, asked = going or ConfirmFlags(), asked or KeptPlanFlags()
    context = CliContext.of(flags, config, Verbosity(quiet, verbose))
    check_outputs(context.settings)
    end_hook(context)
    oldest, wanted = _age(asked.max_age, time.time()), parse_hash("--hash", asked.hash)
    if not file:
        raise UsageError("apply needs a plan: ecsbatch apply FILE, which ecsbatch plan --out writes.")
    context, consent = agreement(going, context)
    kept = _read(file, wanted)
    refuse_other(kept.plan, context.settings, f"The plan {file}")
    if not going.dry_run and is_known(going.run_id, kept.plan.fleet, context):
        return continue_run(going.run_id, context, consent)
    if not going.dry_run:
        _allow_programs(kept, context)
    prepared = _look(kept, context, count=counts_project(consent))
    drifted = find_drift(kept.plan, kept.views, prepared.views)
    stale = [*asyncio.run(_applied(kept, context)), *_why_stale(kept, drifted, oldest)]
    if stale:
        _refuse_stale(file, kept, stale, drifted, accepted=asked.accept_drift)
    if going.dry_run:
        return show_plan(prepared.view, context)
    if prepared.conflict is not None:
        raise prepared.conflict
    return go_ahead(prepared, context, consent, going.run_id)


def _read(file: str, wanted: str) -> Kept:
    """Return what a plan's file says; ``wanted`` is the hash that the plan must have, "" for any.

    Raises:
        PlanStale: it has another one.
    """
    kept = read_plan(file)
    if wanted not in {"", kept.plan.hash}:
        raise PlanStale(
            f"The plan {file} is not the one with the hash that was given, its own is {kept.plan.hash}: nothing was "
            "sent. Ask whoever gave you the hash for that plan's file."
        )
    return kept


def _allow_programs(kept: Kept, context: CliContext) -> None:
    """Refuse a check or a gate that others may have written into the plan, unless it is given here too.

    Raises:
        ProgramRefused: it is not.
    """
    hooks_of(kept.plan, GivenHooks(programs=given_programs(context.settings)), exposure=kept.exposure)
    if notice := exposure_notice(kept.plan, kept.exposure):
        warn(notice)


def _age(text: str, now: float) -> float:
    try:
        return now - parse_since(text, now)
    except ValueError as e:
        raise UsageError(f"--max-age {text}: give {e}.") from None


def _look(kept: Kept, context: CliContext, *, count: bool) -> PreparedPlan:
    """Look at a plan's servers as they are now.

    Raises:
        ConfigError: the plan is about another place.
        CloudError: not everything could be seen.
        StoreError: the store cannot be opened.
    """
    found = asyncio.run(survey(Selection(kept.plan.fleet), context, count=count))
    if found.site.quota_group != kept.site.quota_group:
        raise ConfigError(
            f"The plan is about {kept.site.quota_group}, and this is {found.site.quota_group}: "
            "give the endpoint and the project that it was made with."
        )
    return prepared_as(kept.plan, found, context)


async def _applied(kept: Kept, context: CliContext) -> list[str]:
    """Say which run has carried this plan out, or has begun to; nothing where none has."""
    async with make_store(context.store_url) as store:
        for record in await store.runs(limit=_RUNS):
            if record.created_at < kept.made_at - _SKEW:
                break
            if record.plan.get("hash") == kept.plan.hash:
                return [f"it was applied already, as run {record.run_id} ({record.status.value})"]
    return []


def _why_stale(kept: Kept, drifted: list[Drifted], oldest: float) -> list[str]:
    """Return why a plan is not to be carried out any more."""
    age = time.time() - kept.made_at
    reasons: list[str] = []
    if age > oldest:
        reasons.append(f"it is {format_span(age)} old, and --max-age is {format_span(oldest)}")
    elif age < -_SKEW:
        reasons.append("it was made in the future: a clock is wrong")
    if drifted:
        reasons.append(f"{counted(len(drifted), 'server')} of {len(kept.plan.fleet):,} drifted")
    return reasons


def _refuse_stale(file: str, kept: Kept, stale: list[str], drifted: list[Drifted], *, accepted: bool) -> None:
    """List the drift, and refuse unless it was accepted.

    Raises:
        PlanStale: the plan is stale, and ``--accept-drift`` was not given.
    """
    if drifted:
        print_lines([f"Since the plan was made ({stamp(kept.made_at)}):", *drift_lines(drifted)], to_stdout=False)
    if not accepted:
        raise PlanStale(
            f"The plan {file} is stale: {'; '.join(stale)}. Nothing was sent: plan again, or give --accept-drift."
        )
    print_lines([f"Accepted: {'; '.join(stale)}."], to_stdout=False)
