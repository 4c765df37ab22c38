"""``ecsbatch resume``: go on with a run, here or in the process that holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecsbatch.cli import candidates
from ecsbatch.cli.context import CliContext, Verbosity
from ecsbatch.cli.drive import DriveResult, offer_resume, print_result, resume_here
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.cli.flags import (
    GO_AHEAD,
    ConfigFile,
    Quiet,
    ResumeFlags,
    RunToSteer,
    Verbose,
    Yes,
    given_limits,
    typed_again,
)
from ecsbatch.cli.on_end import end_hook
from ecsbatch.cli.output import check_outputs, print_lines
from ecsbatch.cli.prompt import Consent, agree, agreed_lines, confirm
from ecsbatch.cli.remote import ask_and_print_events, ask_and_print_status
from ecsbatch.cli.which_run import run_to_steer
from ecsbatch.cli.wiring import read_history, who
from ecsbatch.errors import RunConflict
from ecsbatch.model.outcome import RETRIED, OutcomeKind, RunStatus
from ecsbatch.model.run import Changes
from ecsbatch.model.text import counted, printable
from ecsbatch.policy.resume_options import forgive_question
from ecsbatch.policy.standing import standing
from ecsbatch.views.summary import left_command

if TYPE_CHECKING:
    from ecsbatch.model.plan import Skip
    from ecsbatch.model.recorded import Recorded
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState
    from ecsbatch.rollout.follower import RunHistory
    from ecsbatch.rollout.steering import Steering


def resume(  # noqa: PLR0913 - one parameter for each thing that can be said
    run: RunToSteer = "",
    /,
    *,
    retry: Annotated[
        str,
        Parameter(
            group=GO_AHEAD,
            metavar="KINDS",
            completer=candidates.offered(
                "failed", "timed_out", "unknown", "not_started", "skipped", "failed,timed_out"
            ),
            show_default=False,
            help="Restart servers again that ended so: failed, timed_out, unknown, not_started (left out), skipped, or "
            "several with commas.",
        ),
    ] = "",
    forgive: Annotated[
        bool,
        Parameter(
            group=GO_AHEAD,
            negative="",
            show_default=False,
            help="Failures so far stop counting and give their places back; asks first.",
        ),
    ] = False,
    skip_domain: Annotated[
        list[str] | None,
        Parameter(
            group=GO_AHEAD,
            metavar="NAME",
            negative="",
            completer=candidates.domains,
            show_default=False,
            help="Leave the waiting servers of this domain alone; can be given several times.",
        ),
    ] = None,
    yes: Yes = False,
    flags: Annotated[ResumeFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Go on with a run that was stopped, interrupted or paused, exactly as it was planned.

    Servers under way are looked at first, and nothing is sent twice.
    """
    context = CliContext.of(flags, config, Verbosity(quiet, verbose))
    check_outputs(context.settings)
    end_hook(context)
    changes = Changes(
        retry=_kinds(retry), forgive=forgive, skip_domains=skip_domain or [], limits=given_limits(flags), by=who()
    )
    options = typed_again({"retry": retry, "forgive": forgive, "skip_domain": skip_domain, **changes.limits})
    run = run_to_steer(run, "resume", context.store_url, options + context.repeat.go_on)
    history = asyncio.run(read_history(context.store_url, run))
    record, state = history.record, history.state
    if state.status is RunStatus.ABORTED:
        left = left_command(state, context.repeat.read)
        rest = f": start a new run for what is left, which `{left}` writes down" if left else ""
        raise RunConflict(f"Run {record.run_id} was aborted, which is final{rest}.")
    if history.aborting and (changes.retry or changes.forgive or changes.skip_domains):
        raise RunConflict(
            f"Run {record.run_id} is being aborted, which is final: --retry, --forgive and --skip-domain come too "
            f"late. `ecsbatch resume {record.run_id}` alone looks after its servers under way and ends it."
        )
    if state.status.over and not changes.retry and (changes.forgive or changes.skip_domains or changes.limits):
        raise RunConflict(
            f"Run {record.run_id} is over ({state.status.value}), so that{options} alone would change nothing: "
            f"--retry says who is to be restarted again, see ecsbatch status {record.run_id}."
        )
    _check_domains(changes.skip_domains, state)
    if OutcomeKind.SKIPPED in changes.retry and (skips := state.plan.skips):
        print_lines([_plan_skips(skips)], to_stdout=False)
    if forgive:
        agree(forgive_question(state, changes.skip_domains), yes=yes)
    if record.held:
        return _resume_there(record, state, changes, context, history.read_at)
    if history.aborting and not quiet:
        print_lines([_only_ends(history)], to_stdout=False)
    result = asyncio.run(resume_here(record.run_id, changes, context))
    return offer_resume(result, context, asks=not yes)


def _plan_skips(skips: Sequence[Skip]) -> str:
    """Say whom a retry of skipped servers does not reach."""
    alone = sum(skip.end - skip.start for skip in skips)
    reasons = ", ".join(dict.fromkeys(printable(skip.reason).replace("_", " ") for skip in skips))
    return f"{counted(alone, 'server')} that the plan leaves alone ({reasons}) stay so: a new run takes them."


def _only_ends(history: RunHistory) -> str:
    """Say what is left to do for a run that is being aborted."""
    flying = history.state.run.in_flight
    under_way = f"{counted(flying, 'server')} under way {'is' if flying == 1 else 'are'} looked after, nothing is sent"
    return f"Run {printable(history.record.run_id)} is being aborted: {under_way}."


def continue_run(run_id: str, context: CliContext, consent: Consent) -> int:
    """Go on with a run that was named again with the same servers; one that is over only shows its result.

    Raises:
        Declined: nobody agreed to it.
        RunConflict: another process has it.
    """
    history = asyncio.run(read_history(context.store_url, run_id))
    state = history.state
    if state.status.over:
        return print_result(DriveResult(state, head=history.head), context)
    left = state.run.in_flight + (0 if history.aborting else state.run.waiting)
    exists = f"Run {run_id} exists with these servers: {counted(left, 'server')} left of it."

    def show() -> None:
        if not context.verbosity.quiet:
            print_lines(
                [_only_ends(history) if history.aborting else exists, *agreed_lines(context.agreed_by)], to_stdout=False
            )

    confirm(left, consent, show)
    result = asyncio.run(resume_here(run_id, Changes(by=who()), context))
    return offer_resume(result, context, asks=not consent.yes)


def _resume_there(record: RunRecord, state: RolloutState, changes: Changes, context: CliContext, now: float) -> int:
    """Let a paused run go on in the process that holds it.

    Raises:
        RunConflict: it is not paused.
    """
    if state.status is not RunStatus.PAUSED:
        holder = record.holder
        raise RunConflict(
            f"Run {record.run_id} stands as {standing(state, now).text} and is held by {holder.name}, pid "
            f"{holder.pid} on {holder.host}: watch it there, or stop that process first."
        )
    run, url = record.run_id, context.store_url
    if limits := changes.limits:
        same = "it has these limits already"
        ask_and_print_events(run, url, lambda steering: steering.adjust(changes.by, **limits), same)

    def go_on(steering: Steering) -> Awaitable[Sequence[Recorded]]:
        return steering.resume(
            changes.by, forgive=changes.forgive, retry=changes.retry, skip_domains=changes.skip_domains
        )

    return ask_and_print_status(run, url, go_on)


def _kinds(text: str) -> list[str]:
    kinds = [kind.strip().replace("-", "_") for kind in text.split(",") if kind.strip()]
    for kind in kinds:
        if kind not in RETRIED:
            raise UsageError(f"--retry {kind}: give {', '.join(RETRIED[:-1])} or {RETRIED[-1]}.")
    return kinds


def _check_domains(names: Sequence[str], state: RolloutState) -> None:
    for name in names:
        if name not in state.domains:
            known = ", ".join(printable(each) for each in sorted(state.domains) if each) or "none"
            raise UsageError(f"--skip-domain {printable(name)}: the run has no such domain; it has {known}.")
