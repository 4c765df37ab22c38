"""Steering a run from another terminal: a command is a row in the store that the run's holder follows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecsbatch.cli.commands.status import RunName, read_run
from ecsbatch.cli.exit_codes import Exit, UsageError, code_of_run
from ecsbatch.cli.flags import (
    GO_AHEAD,
    AbortFlags,
    AdjustFlags,
    ConfigFile,
    StoreFlags,
    given_limits,
    repeated,
    settings_of,
    store_url,
)
from ecsbatch.cli.going_on import end
from ecsbatch.cli.prompt import agree
from ecsbatch.cli.remote import ask_and_see, ask_holder, ask_to_abort, changed, loosened, promoted
from ecsbatch.cli.wiring import say
from ecsbatch.errors import RunConflict
from ecsbatch.model.servers import OutcomeKind, RunStatus
from ecsbatch.views.standing import aborting_notice, is_held
from ecsbatch.views.summary import Again, outcome_lines, summary_lines
from ecsbatch.views.text import counted, printable

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState

_Yes = Annotated[
    bool, Parameter(name=["--yes", "-y"], group=GO_AHEAD, negative="", show_default=False, help="Do not ask.")
]


def pause(
    run: RunName = "", /, *, flags: Annotated[StoreFlags | None, Parameter(name="*")] = None, config: ConfigFile = None
) -> int:
    """Send nothing new until the run is resumed; servers under way go on, and the run's process stays."""
    settings = settings_of(flags, config)
    record, _ = asyncio.run(read_run(store_url(settings), run))
    _need_holder(record, "pause")
    return ask_holder(record.run_id, {"command": "pause"}, store_url(settings), until={RunStatus.PAUSED})


def promote(
    run: RunName = "", /, *, flags: Annotated[StoreFlags | None, Parameter(name="*")] = None, config: ConfigFile = None
) -> int:
    """Let a run pass the hold that it stands at (--hold-after), so that its next wave begins."""
    settings = settings_of(flags, config)
    record, state = asyncio.run(read_run(store_url(settings), run))
    _need_holder(record, "promote")
    if not is_held(state):
        raise RunConflict(f"Run {record.run_id} stands at no hold: it is {state.status.value} in wave {state.wave}.")
    return ask_and_see(record, {"command": "promote"}, store_url(settings), promoted)


def adjust(
    run: RunName = "",
    /,
    *,
    yes: _Yes = False,
    flags: Annotated[AdjustFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Change the limits of a run while it goes on: a tighter one at once, a looser one is confirmed first.

    A run that stands still takes them with resume.
    """
    settings = settings_of(flags, config)
    limits = given_limits(flags)
    if not limits:
        raise UsageError("adjust needs a limit: see ecsbatch adjust --help.")
    record, state = asyncio.run(read_run(store_url(settings), run))
    _need_holder(record, "adjust")
    # A value that cannot be meant is refused here: the holder ignores what it cannot follow.
    if looser := loosened(state, limits):
        agree(f"Loosen {', '.join(looser)} of run {printable(record.run_id)}?", yes=yes)
    return ask_and_see(record, {"command": "adjust", "limits": limits}, store_url(settings), changed(limits))


def abort(
    run: RunName = "",
    /,
    *,
    yes: _Yes = False,
    flags: Annotated[AbortFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """End a run for good: nothing new is sent, servers under way get their outcome, and nothing resumes it.

    A restart that was sent is not undone. Where no process holds the run, this one ends it and needs the cloud.
    The code is 0 once the run is aborted or its process has recorded that it follows.
    """
    settings = settings_of(flags, config)
    record, state = asyncio.run(read_run(store_url(settings), run))
    if record.status.over:
        raise RunConflict(f"Run {record.run_id} is over already ({record.status.value}).")
    left = counted(state.run.waiting, "server")
    agree(f"Abort run {printable(record.run_id)}? {left} of it will not be restarted.", yes=yes)
    reading = repeated(settings, reading=True)
    if record.held and state.aborting:
        say([aborting_notice(state)], to_stdout=True)
        return Exit.OK
    if record.held:
        return ask_to_abort(record, store_url(settings), reading)
    if flying := state.run.in_flight:
        wait = f"Looking after {counted(flying, 'server')} under way, which may take minutes. Nothing new is sent."
        say([wait], to_stdout=False)
    driven = asyncio.run(end(record.run_id, settings))
    ended = driven.state
    if ended.status is RunStatus.ABORTED:
        say([*outcome_lines(ended), *_left(ended, reading)], to_stdout=True)
        return Exit.OK
    if ended.status.over:
        raise RunConflict(f"Run {record.run_id} {ended.status.value} before it could abort.")
    say(summary_lines(ended, Again(repeated(settings), reading)), to_stdout=True)
    return code_of_run(ended, driven.received)


def _left(state: RolloutState, again: str) -> list[str]:
    """Name the command that lists what an aborted run never started."""
    if not state.counts[OutcomeKind.NOT_STARTED]:
        return []
    run = printable(state.run_id)
    command = f"ecsbatch report {run}{again} --outcome not_started -o csv --out left.csv"
    return ["", "What is left, as a list for another run:", f"  {command}"]


def _need_holder(record: RunRecord, verb: str) -> None:
    if not record.held:
        raise RunConflict(
            f"No process is at run {record.run_id} ({record.status.value}), so that there is nothing to {verb}: "
            f"go on with ecsbatch resume {record.run_id}."
        )
