"""Looking at runs: ``status``, ``report`` and ``runs``. They read the store and need no cloud."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from cyclopts import Parameter

from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import AskFlags, ConfigFile, RunName, repeated, settings_of, store_url
from ecsbatch.cli.output import print_json, print_lines
from ecsbatch.cli.wiring import read_history
from ecsbatch.model.events import stamp
from ecsbatch.model.text import printable
from ecsbatch.store.history import RunHistory
from ecsbatch.views.report import holder_json, run_json
from ecsbatch.views.steering import steering_json, steering_lines
from ecsbatch.views.summary import RepeatFlags, summary_lines


def status(
    run: RunName = "", /, *, flags: Annotated[AskFlags | None, Parameter(name="*")] = None, config: ConfigFile = None
) -> int:
    """Say where a run stands: its outcomes so far, what failed, and what can be done next."""
    settings = settings_of(flags, config)
    story = asyncio.run(read_history(store_url(settings), run))
    if settings.output.output == "json":
        steering = {"steering": steering_json(story.steering), "aborting": story.aborting}
        print_json(run_json(story.state, time.time()) | holder_json(story.record) | steering)
    else:
        again = RepeatFlags(*[repeated(settings, reading=True)] * 2)
        print_lines([*summary_lines(story.state, again, time.time()), "", *_standing(story)], to_stdout=True)
    return Exit.OK


def _standing(story: RunHistory) -> list[str]:
    record, state, holder = story.record, story.state, story.record.holder
    name = f"{printable(holder.name)}, pid {holder.pid}"
    verb = "Held by" if record.held else "Last held by"
    lines = [f"{verb} {name} since {stamp(holder.since)}."]
    if not state.status.over:
        lines.append(
            f"Wave {state.wave} of {len(state.plan.waves)}, {state.down:,} down now, {state.run.waiting:,} waiting."
        )
    if story.aborting:
        lines.append(_aborting(story))
    steered = steering_lines(story.steering)
    return [*lines, "", "Steering (UTC):", *steered] if steered else lines


def _aborting(story: RunHistory) -> str:
    """Say who has ended the run for good, and what it waits for."""
    asked, who = story.asked_to_abort, printable(story.aborted_by) or "Somebody"
    at = f" at {stamp(asked.ts)}" if asked is not None else ""
    if story.state.aborting or not story.record.held:
        return f"{who} asked to abort{at}: servers under way get their outcome first, and nothing new is sent."
    return f"{who} asked to abort{at}, which its process has not confirmed yet."
