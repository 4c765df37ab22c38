"""A run that stopped on a terminal: the process stays, says how to go on, and does what is typed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ecsbatch.cli.concluding import conclude
from ecsbatch.cli.drive import Driven
from ecsbatch.cli.exit_codes import code_of_run
from ecsbatch.cli.flags import repeated
from ecsbatch.cli.going_on import end, go_on
from ecsbatch.cli.wiring import say, who
from ecsbatch.engine.hosting import Changes
from ecsbatch.model.servers import RunStatus
from ecsbatch.policy.resume_options import Way, ways_on
from ecsbatch.views.summary import Again, next_steps, outcome_lines

if TYPE_CHECKING:
    from ecsbatch.cli.live import Watching
    from ecsbatch.config.sources import Settings


def stay_and_conclude(driven: Driven, settings: Settings, watching: Watching, *, asks: bool = True) -> int:
    """Go on with a run that stopped for as long as somebody at the terminal says how; then print what it came to.

    Args:
        driven: how the run stands.
        settings: of the connection, the engine and the output.
        watching: how much is shown.
        asks: False where all questions were answered beforehand, with ``--yes``.
    """
    while asks and _stays(driven, settings, watching):
        state = driven.state
        ways = list(ways_on(state))
        say(["", *outcome_lines(state), "", *_menu(ways)], to_stdout=False)
        chosen = _typed(len(ways) + 1)
        if not chosen:
            say(next_steps(state, Again(repeated(settings), repeated(settings, reading=True))), to_stdout=True)
            return code_of_run(state)
        if chosen > len(ways):
            driven = asyncio.run(end(state.run_id, settings))
        else:
            driven = asyncio.run(go_on(state.run_id, _changes(ways[chosen - 1]), settings, watching))
    return conclude(driven, settings)


def _stays(driven: Driven, settings: Settings, watching: Watching) -> bool:
    """Tell whether somebody is there to say something: at a terminal, with no program reading what is printed."""
    if driven.state.status is not RunStatus.STOPPED or driven.received or watching.quiet:
        return False
    read_by_program = settings.output.output == "json" or settings.output.events == "-"
    return not read_by_program and all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def _menu(ways: Sequence[Way]) -> list[str]:
    choices = [*(way.why for way in ways), "end it for good"]
    lines = [f"  {number:5}  {why}" for number, why in enumerate(choices, 1)]
    return ["The run has stopped. Type a number:", *lines, "  Enter  leave it as it is; it can be resumed later"]


def _typed(most: int) -> int:
    """Read a number; 0 for leaving."""
    while True:
        sys.stderr.write("> ")
        sys.stderr.flush()
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            line = ""
        if not line.endswith("\n"):
            sys.stderr.write("\n")
        text = line.strip()
        if not text:
            return 0
        if text.isascii() and text.isdigit() and 1 <= int(text) <= most:
            return int(text)
        sys.stderr.write(f"Type a number from 1 to {most}, or only Enter.\n")


def _changes(way: Way) -> Changes:
    return Changes(way.retry, way.forgive, way.skip_domains, way.limits, by=who())
