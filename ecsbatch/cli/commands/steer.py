"""``ecsbatch pause``, ``promote`` and ``adjust``: a command is a row in the store that the run's holder follows."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.cli.flags import AdjustFlags, ConfigFile, RunToSteer, StoreFlags, Yes, given_limits, typed_again
from ecsbatch.cli.prompt import agree
from ecsbatch.cli.remote import ask_and_print_events, ask_and_print_status, loosened
from ecsbatch.cli.which_run import run_to_steer
from ecsbatch.cli.wiring import read_run, who
from ecsbatch.model.text import printable


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
    return ask_and_print_status(run, context.store_url, lambda steering: steering.pause(who()))


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
    return ask_and_print_events(run, context.store_url, lambda steering: steering.promote(who()), "promoted already")


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
    # Nobody is asked about what nobody can follow.
    if record.held and (looser := loosened(state, limits)):
        agree(f"Loosen {', '.join(looser)} of run {printable(record.run_id)}?", yes=yes)
    return ask_and_print_events(
        record.run_id,
        context.store_url,
        lambda steering: steering.adjust(who(), **limits),
        "it has these limits already",
    )
