"""Looking at runs: ``status``, ``report`` and ``runs``. They read the store and need no cloud."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import orjson
from cyclopts import Parameter

from ecsbatch.cli.exits import Exit
from ecsbatch.cli.flags import GROUPS, AskFlags, ConfigFile, StoreFlags, repeated, settings_of, store_url
from ecsbatch.cli.parts import make_store, say
from ecsbatch.errors import ConfigError
from ecsbatch.events import stamp
from ecsbatch.models import RunStatus
from ecsbatch.plan import Plan
from ecsbatch.state import RolloutState
from ecsbatch.views.printable import printable
from ecsbatch.views.report import report_csv, report_json, run_json
from ecsbatch.views.summary import Again, summary_lines

if TYPE_CHECKING:
    from ecsbatch.records import RunRecord
    from ecsbatch.store import Store

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
    record, state = asyncio.run(read_run(store_url(settings), run))
    if settings.output.output == "json":
        _print_json(run_json(state) | _holding(record))
    else:
        say(
            [*summary_lines(state, Again(*[repeated(settings, reading=True)] * 2)), "", *_standing(record, state)],
            to_stdout=True,
        )
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
    out: Annotated[
        Path | None,
        Parameter(help="Write it into this file instead of standard output.", metavar="FILE", group=GROUPS["output"]),
    ] = None,
    flags: Annotated[StoreFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Write every server of a run with its outcome, its reason and what it rests on."""
    settings = settings_of(flags, config)
    _, state = asyncio.run(read_run(store_url(settings), run))
    pieces = report_csv(state) if output == "csv" else report_json(state)
    if out is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    else:
        _write_file(out, pieces)
    return Exit.OK


def runs(
    *,
    limit: Annotated[int, Parameter(help="How many, the newest first. [20]", metavar="N", show_default=False)] = _RUNS,
    flags: Annotated[AskFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """List the last runs, the newest first."""
    settings = settings_of(flags, config)
    records = asyncio.run(_read_runs(store_url(settings), max(limit, 1)))
    if settings.output.output == "json":
        _print_json({"runs": [_row(record) for record in records]})
    elif records:
        say([_HEADER, *(_line(record) for record in records)], to_stdout=True)
    else:
        say(["No runs yet."], to_stdout=True)
    return Exit.OK


async def read_run(url: str, name: str) -> tuple[RunRecord, RolloutState]:
    """Read a run and fold its history.

    Raises:
        ConfigError: there is no such run, or it is one of single restarts.
        StoreError: the store cannot be read.
    """
    async with make_store(url) as store:
        record = await store.run(name)
        return record, await fold(store, record)


async def fold(store: Store, record: RunRecord) -> RolloutState:
    """Fold a run's history into its state."""
    if record.kind == "direct":
        raise ConfigError(f"Run {record.run_id} holds single restarts of a program: only rollouts have a report.")
    plan = Plan.from_json(record.plan, await store.targets(record.run_id))
    state = RolloutState(record.run_id, plan)
    while events := await store.events(record.run_id, state.seq):
        for event in events:
            state.apply(event)
    if record.status is RunStatus.ORPHANED:
        state.status, state.reason = RunStatus.ORPHANED, "its process is gone"
    return state


async def _read_runs(url: str, limit: int) -> list[RunRecord]:
    async with make_store(url) as store:
        return await store.runs(limit)


def _standing(record: RunRecord, state: RolloutState) -> list[str]:
    holder = record.holder
    name = f"{printable(holder.name)}, pid {holder.pid}"
    verb = "Held by" if record.held else "Last held by"
    lines = [f"{verb} {name} since {stamp(holder.since)}."]
    if not state.status.over:
        lines.append(
            f"Wave {state.wave} of {len(state.plan.waves)}, {state.down:,} down now, {state.run.waiting:,} waiting."
        )
    return lines


def _holding(record: RunRecord) -> dict[str, Any]:
    return {"held": record.held, "holder": record.holder.name, "pid": record.holder.pid}


_HEADER: Final = f"{'RUN':16}{'STARTED (UTC)':22}{'STATUS':13}{'DONE':>9} {'OF':>9}  HOLDER"


def _line(record: RunRecord) -> str:
    done = sum(record.counts.values())
    started = stamp(record.created_at)[:19].replace("T", " ")
    run = printable(record.run_id)
    figures = f"{done:>9,} {record.total:>9,}"
    return f"{run:15} {started:22}{record.status.value:13}{figures}  {printable(record.holder.name, 24)}"


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


def _write_file(path: Path, pieces: Iterator[bytes]) -> None:
    """Write a file for its owner only; the old one stays until the new one is whole."""
    part = path.with_name(path.name + ".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
        part.replace(path)
    except OSError as e:
        raise ConfigError(f"--out {path} cannot be written ({e.strerror}): name a file in a folder of yours.") from e
