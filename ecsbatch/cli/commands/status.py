"""``ecsbatch status``: where a run stands, who holds it and who has steered it. It reads the store alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import AskFlags, ConfigFile, RunName
from ecsbatch.cli.output import columns, print_json, print_lines
from ecsbatch.cli.which_run import others_going_on, others_json, others_lines, standings_of
from ecsbatch.cli.wiring import read_history
from ecsbatch.model.json_text import stamp
from ecsbatch.model.text import printable
from ecsbatch.policy.progress import progress
from ecsbatch.rollout.follower import RunHistory
from ecsbatch.views.report import holder_json, run_json
from ecsbatch.views.standing import pace_parts
from ecsbatch.views.steering import steering_json, steering_lines
from ecsbatch.views.summary import summary_lines
from ecsbatch.views.text import wrap_line

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord


def status(
    run: RunName = "", /, *, flags: Annotated[AskFlags | None, Parameter(name="*")] = None, config: ConfigFile = None
) -> int:
    """Say where a run stands: its outcomes so far, what failed, and what can be done next."""
    context = CliContext.of(flags, config)
    history = asyncio.run(read_history(context.store_url, run))
    others = others_going_on(context.store_url, history.record.run_id)
    standings = standings_of(others, context.store_url)
    if context.wants_json:
        print_json(status_json(history) | {"others": others_json(others, standings)})
    else:
        lines = summary_lines(history.state, context.repeat, history.read_at)
        print_lines(
            [*lines, "", *_standing(history), *others_lines(others, context.repeat.read, standings)], to_stdout=True
        )
    return Exit.OK


def status_json(history: RunHistory) -> dict[str, Any]:
    """Return what ``-o json`` prints of where a run stands, who holds it and who has steered it."""
    steering = {"steering": steering_json(history.steering), "aborting": history.aborting}
    return run_json(history.state, history.read_at) | {"head": history.head} | holder_json(history.record) | steering


def _standing(history: RunHistory) -> list[str]:
    record, state, holder = history.record, history.state, history.record.holder
    where = "" if holder.name.endswith(f"@{holder.host}") else f" on {printable(holder.host)}"
    name = f"{printable(holder.name)}, pid {holder.pid}{where}"
    verb = "Held by" if record.held else "Last held by"
    lines = wrap_line(f"{verb} {name} since {stamp(holder.since)}{_lease(record)}.", columns(to_stdout=True))
    if not state.status.over:
        lines.append(
            f"Wave {state.wave_under_way} of {len(state.plan.waves)}, {state.down:,} down now, "
            f"{state.run.waiting:,} waiting."
        )
    if goes := pace_parts(progress(state, history.read_at, held=record.held)):
        lines.append(f"Pace {', '.join(goes)}.")
    if history.aborting:
        lines.append(_aborting(history))
    steered = steering_lines(history.steering)
    return [*lines, "", "Steering (UTC):", *steered] if steered else lines


def _lease(record: RunRecord) -> str:
    """Say how long the holder's lease lasts, where there is one that ends by itself."""
    left = record.lease_left
    if left is None:
        return ""
    return f"; its lease ends in {left:.1f}s unless it is renewed" if left > 0 else "; its lease has run out"


def _aborting(history: RunHistory) -> str:
    """Say who has ended the run for good, and what it waits for."""
    asked, who = history.asked_to_abort, printable(history.aborted_by) or "Somebody"
    at = f" at {stamp(asked.ts)}" if asked is not None else ""
    if history.state.aborting or not history.record.held:
        return f"{who} asked to abort{at}: servers under way get their outcome first, and nothing new is sent."
    return f"{who} asked to abort{at}, which its process has not confirmed yet."
