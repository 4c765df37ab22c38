"""``ecsbatch pause``, ``promote`` and ``adjust``: a command is a row in the store that the run's holder follows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.cli.flags import AdjustFlags, ConfigFile, RunToSteer, StoreFlags, Yes, given_limits, typed_again
from ecsbatch.cli.prompt import agree
from ecsbatch.cli.remote import changed, loosened, promoted, send_and_wait, send_command
from ecsbatch.cli.which_run import run_to_steer
from ecsbatch.cli.wiring import read_run
from ecsbatch.errors import RunConflict
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.text import printable
from ecsbatch.policy.standing import awaits_promotion, standing

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord


def pause(
    run: RunToSteer = "",
    /,
    *,
    flags: Annotated[StoreFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Send nothing new until the run is resumed; servers under way go on, and the run's process stays."""
    context = CliContext.of(flags, config)
    run = run_to_steer(run, "pause", context.store_url, context.repeat.read)
    record, _ = asyncio.run(read_run(context.store_url, run))
    _need_holder(record, "pause")
    return send_command(record.run_id, {"command": "pause"}, context.store_url, until={RunStatus.PAUSED})


def promote(
    run: RunToSteer = "",
    /,
    *,
    flags: Annotated[StoreFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Let a run pass the hold that it stands at (--hold-after), so that its next wave begins."""
    context = CliContext.of(flags, config)
    run = run_to_steer(run, "promote", context.store_url, context.repeat.read)
    record, state = asyncio.run(read_run(context.store_url, run))
    _need_holder(record, "promote")
    if not awaits_promotion(state):
        raise RunConflict(f"Run {record.run_id} stands at no hold: it is {standing(state, time.time()).text}.")
    return send_and_wait(record, {"command": "promote"}, context.store_url, promoted)


def adjust(
    run: RunToSteer = "",
    /,
    *,
    yes: Yes = False,
    flags: Annotated[AdjustFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Change the limits of a run while it goes on: a tighter one at once, a looser one is confirmed first.

    A run that stands still takes them with resume.
    """
    context = CliContext.of(flags, config)
    limits = given_limits(flags)
    if not limits:
        raise UsageError("adjust needs a limit: see ecsbatch adjust --help.")
    run = run_to_steer(run, "adjust", context.store_url, typed_again(limits) + context.repeat.read)
    record, state = asyncio.run(read_run(context.store_url, run))
    _need_holder(record, "adjust")
    # A value that cannot be meant is refused here: the holder ignores what it cannot follow.
    if looser := loosened(state, limits):
        agree(f"Loosen {', '.join(looser)} of run {printable(record.run_id)}?", yes=yes)
    return send_and_wait(record, {"command": "adjust", "limits": limits}, context.store_url, changed(limits))


def _need_holder(record: RunRecord, verb: str) -> None:
    if not record.held:
        raise RunConflict(
            f"No process is at run {record.run_id} ({record.status.value}), so that there is nothing to {verb}: "
            f"go on with ecsbatch resume {record.run_id}."
        )
