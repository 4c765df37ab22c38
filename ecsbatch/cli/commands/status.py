"""Looking at runs: ``status``, ``report`` and ``runs``. They read the store and need no cloud."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import orjson
from cyclopts import Parameter

from ecsbatch.cli.exit_codes import Exit, UsageError
from ecsbatch.cli.files import write_file
from ecsbatch.cli.flags import GROUPS, AskFlags, ConfigFile, StoreFlags, repeated, settings_of, store_url
from ecsbatch.cli.wiring import columns, make_store, say
from ecsbatch.model.events import stamp
from ecsbatch.model.state import RolloutState
from ecsbatch.store.history import Story, aborts_of, read_story
from ecsbatch.views.report import ALL_KINDS, report_csv, report_json, run_json
from ecsbatch.views.runs import run_lines
from ecsbatch.views.steering import steering_json, steering_lines
from ecsbatch.views.summary import Again, summary_lines
from ecsbatch.views.text import printable

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord

RunName = Annotated[
    str,
    Parameter(help="The run, by its id or a unique beginning of it; the latest where left out.", show_default=False),
]

_RUNS: Final = 20


def status(
    run: RunName = "", /, *, flags: Annotated[AskFlags | None, Parameter(name="*")] = None, config: ConfigFile = None
) -> int:
    """Say where a run stands: its outcomes so far, what failed, and what can be done next."""
    settings = settings_of(flags, config)
    story = asyncio.run(read_story(store_url(settings), run))
    if settings.output.output == "json":
        steering = {"steering": steering_json(story.steering), "aborting": story.aborting}
        _print_json(run_json(story.state, time.time()) | _holding(story.record) | steering)
    else:
        again = Again(*[repeated(settings, reading=True)] * 2)
        say([*summary_lines(story.state, again, time.time()), "", *_standing(story)], to_stdout=True)
    return Exit.OK


def report(
    run: RunName = "",
    /,
    *,
    output: Annotated[
        Literal["json", "csv"],
        Parameter(
            name=["--output", "-o"],
            metavar="json|csv",
            show_choices=False,
            help="The form of the report.",
            group=GROUPS["output"],
        ),
    ] = "json",
    outcome: Annotated[
        str,
        Parameter(
            help="Only servers that ended so: restarted, failed, timed_out, unknown, skipped or not_started, or "
            "several with commas.",
            metavar="OUTCOMES",
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        Parameter(help="Write it into this file instead of standard output.", metavar="FILE", group=GROUPS["output"]),
    ] = None,
    flags: Annotated[StoreFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Write every server of a run with its outcome, its reason and what it rests on."""
    settings = settings_of(flags, config)
    kinds = _kinds(outcome)
    _, state = asyncio.run(read_run(store_url(settings), run))
    pieces = report_csv(state, kinds) if output == "csv" else report_json(state, kinds)
    if out is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    else:
        write_file(out, pieces)
    return Exit.OK


def _kinds(text: str) -> frozenset[str]:
    kinds = frozenset(kind.strip().replace("-", "_") for kind in text.split(",") if kind.strip())
    if unknown := sorted(kinds - ALL_KINDS):
        raise UsageError(f"--outcome {printable(unknown[0])}: give {', '.join(sorted(ALL_KINDS))}.")
    return kinds or ALL_KINDS


def runs(
    *,
    limit: Annotated[int, Parameter(help="How many, the newest first. [20]", metavar="N", show_default=False)] = _RUNS,
    flags: Annotated[AskFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """List the last runs, the newest first."""
    settings = settings_of(flags, config)
    records, aborting = asyncio.run(_read_runs(store_url(settings), max(limit, 1)))
    if settings.output.output == "json":
        _print_json({"runs": [_row(record) | {"aborting": record.run_id in aborting} for record in records]})
    elif records:
        say(run_lines(records, columns(to_stdout=True), aborting), to_stdout=True)
    else:
        say(["No runs yet."], to_stdout=True)
    return Exit.OK


async def read_run(url: str, name: str) -> tuple[RunRecord, RolloutState]:
    """Read a run and fold its history.

    Raises:
        ConfigError: there is no such run, or it is one of single restarts.
        StoreError: the store cannot be read.
    """
    story = await read_story(url, name)
    return story.record, story.state


async def _read_runs(url: str, limit: int) -> tuple[list[RunRecord], set[str]]:
    """Return the last runs, and those of them that somebody has ended for good and that are not over yet."""
    async with make_store(url) as store:
        records = await store.runs(limit)
        open_ = [record.run_id for record in records if not record.status.over]
        return records, {run_id for run_id in open_ if await aborts_of(store, run_id)}


def _standing(story: Story) -> list[str]:
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


def _aborting(story: Story) -> str:
    """Say who has ended the run for good, and what it waits for."""
    asked, who = story.asked_to_abort, printable(story.aborted_by) or "Somebody"
    at = f" at {stamp(asked.ts)}" if asked is not None else ""
    if story.state.aborting or not story.record.held:
        return f"{who} asked to abort{at}: servers under way get their outcome first, and nothing new is sent."
    return f"{who} asked to abort{at}, which its process has not confirmed yet."


def _holding(record: RunRecord) -> dict[str, Any]:
    return {"held": record.held, "holder": record.holder.name, "pid": record.holder.pid}


def _row(record: RunRecord) -> dict[str, Any]:
    return {
        "run_id": record.run_id,
        "kind": record.kind,
        "status": record.status.value,
        "created_at": stamp(record.created_at),
        "total": record.total,
        "counts": dict(record.counts),
    } | _holding(record)


def _print_json(value: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
    sys.stdout.buffer.flush()
