"""``ecsbatch abort``: end a run for good."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit, code_of_run
from ecsbatch.cli.flags import AbortFlags, ConfigFile, RunToSteer, Yes
from ecsbatch.cli.output import print_lines
from ecsbatch.cli.prompt import agree
from ecsbatch.cli.remote import ask_to_abort
from ecsbatch.cli.which_run import run_to_steer
from ecsbatch.cli.wiring import read_run
from ecsbatch.errors import RunConflict
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.text import counted, printable
from ecsbatch.policy.standing import aborting_notice
from ecsbatch.views.summary import left_command, outcome_lines, summary_lines

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState


def abort(
    run: RunToSteer = "",
    /,
    *,
    yes: Yes = False,
    flags: Annotated[AbortFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """End a run for good: nothing new is sent, servers under way get their outcome, and nothing resumes it.

    A restart that was sent is not undone. Where no process holds the run, this one ends it and needs the cloud.
    The code is 0 once the run is aborted or its process has recorded that it follows.
    """
    context = CliContext.of(flags, config)
    run = run_to_steer(run, "abort", context.store_url, context.repeat.go_on)
    record, state = asyncio.run(read_run(context.store_url, run))
    if record.status.over:
        raise RunConflict(f"Run {record.run_id} is over already ({record.status.value}).")
    left = counted(state.run.waiting, "server")
    agree(f"Abort run {printable(record.run_id)}? {left} of it will not be restarted.", yes=yes)
    if record.held and state.aborting:
        print_lines([aborting_notice(state)], to_stdout=True)
        return Exit.OK
    if record.held:
        return ask_to_abort(record, context)
    return _end(record, state, context)


def _end(record: RunRecord, state: RolloutState, context: CliContext) -> int:
    """End a run that nobody holds.

    Raises:
        RunConflict: it ended otherwise before.
    """
    from ecsbatch.cli.drive import abort_here  # noqa: PLC0415 - with the rollout: asking another process needs none

    if flying := state.run.in_flight:
        wait = f"Looking after {counted(flying, 'server')} under way, which may take minutes. Nothing new is sent."
        print_lines([wait], to_stdout=False)
    result = asyncio.run(abort_here(record.run_id, context))
    ended = result.state
    if ended.status is RunStatus.ABORTED:
        print_lines([*outcome_lines(ended), *_left(ended, context.repeat.read)], to_stdout=True)
        return Exit.OK
    if ended.status.over:
        raise RunConflict(f"Run {record.run_id} {ended.status.value} before it could abort.")
    print_lines(summary_lines(ended, context.repeat), to_stdout=True)
    return code_of_run(ended, result.received)


def _left(state: RolloutState, repeat: str) -> list[str]:
    """Name the command that lists whom an aborted run has not restarted."""
    command = left_command(state, repeat)
    return ["", "What is left, as a list for another run:", f"  {command}"] if command else []
