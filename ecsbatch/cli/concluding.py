"""What a command that ran something prints on stdout, and the code that it ends with."""

from __future__ import annotations

import sys

import orjson

from ecsbatch.cli.drive import Driven
from ecsbatch.cli.exit_codes import UsageError, code_of_run
from ecsbatch.cli.flags import repeated
from ecsbatch.cli.wiring import say
from ecsbatch.config.sources import Settings
from ecsbatch.views.report import run_json
from ecsbatch.views.summary import Again, next_steps, summary_lines


def check_outputs(settings: Settings) -> None:
    """Refuse two kinds of data on one stream.

    Raises:
        UsageError: so it is.
    """
    events = settings.output.events or ""
    if events.startswith("-") and events != "-":
        raise UsageError(f"--events needs a file, or -: {events} is an option.")
    if events == "-" and settings.output.output == "json":
        raise UsageError("--events - and -o json both want standard output: give --events a file.")


def conclude(driven: Driven, settings: Settings) -> int:
    """Print what a run came to and return its code."""
    state, again = driven.state, Again(repeated(settings), repeated(settings, reading=True))
    if settings.output.output == "json":
        sys.stdout.buffer.write(orjson.dumps(run_json(state)) + b"\n")
        if not state.status.over:
            say(next_steps(state, again)[1:], to_stdout=False)
    else:
        say(["", *summary_lines(state, again)], to_stdout=settings.output.events != "-")
    return code_of_run(state, driven.received)
