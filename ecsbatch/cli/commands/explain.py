"""``ecsbatch explain``: why is this server not restarted yet, what holds the run now? From the store alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ecsbatch.cli import candidates
from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import AskFlags, ConfigFile
from ecsbatch.cli.output import columns, print_json, print_lines
from ecsbatch.cli.wiring import make_store
from ecsbatch.errors import ConfigError, SelectionError
from ecsbatch.model.text import printable
from ecsbatch.planning.lookup import find_server
from ecsbatch.policy.resume_options import STANDING_STILL, resume_options
from ecsbatch.rollout.follower import load_history
from ecsbatch.rollout.history import explained, server_of
from ecsbatch.views.explanation import explanation_json, explanation_lines

if TYPE_CHECKING:
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState
    from ecsbatch.policy.explanation import Explanation
    from ecsbatch.store import DatabaseStore

_Server = Annotated[
    str,
    Parameter(
        help="The server, by its id, its name or a unique beginning of its id; left out: what holds the whole run now.",
        show_default=False,
        completer=candidates.runs,
    ),
]
_Run = Annotated[
    str,
    Parameter(
        help="The run, by its id or a unique beginning of it; the latest where left out. Alone it needs no server.",
        show_default=False,
        completer=candidates.runs,
    ),
]


def explain(
    server: _Server = "",
    run: _Run = "",
    /,
    *,
    flags: Annotated[AskFlags | None, Parameter(name="*")] = None,
    config: ConfigFile = None,
) -> int:
    """Say why a server is not restarted yet, or what holds the run now, and what can be done about it."""
    context = CliContext.of(flags, config)
    run_id, server, name, answer, now = asyncio.run(_ask(context.store_url, server, run))
    if context.wants_json:
        print_json(explanation_json(answer, run_id, server, context.repeat, name=name))
    else:
        width = columns(to_stdout=True)
        lines = explanation_lines(answer, run_id, server, now=now, name=name, repeat=context.repeat, width=width)
        print_lines(lines, to_stdout=True)
    return Exit.OK


async def _ask(url: str, typed: str, run: str) -> tuple[str, str, str, Explanation, float]:
    """Return the run's id, the server's id and name ("" for the whole run), the answer, and when it was given."""
    async with make_store(url, read_only=True) as store:
        record, server = await _meant(store, typed, run)
        history = await load_history(store, record)
        answer = await explained(store, history.record, history.state, server, now=history.read_at)
        answer = _with_resume_options(answer, history.state)
        name = history.state.plan.fleet.name_of(server)
        return history.record.run_id, server, name, _with_keeper(answer, await store.kept_by()), history.read_at


async def _meant(store: DatabaseStore, first: str, second: str) -> tuple[RunRecord, str]:
    """Return the run and the id of the server that were typed, in whatever order; "" for the whole run.

    Raises:
        ConfigError: there is no such run, or what was typed may be a run and a server.
        SelectionError: there is no such server, or there are several.
    """
    if second:
        run, server = await _run(store, second), first
        if run is None:
            run, server = await _run(store, first), second
        run = run or await store.run(second)
        return run, server_of(await store.targets(run.run_id), server, run.run_id)
    latest = await store.run("")
    if not first:
        return latest, ""
    fleet, run = await store.targets(latest.run_id), await _run(store, first)
    if run is None:
        return latest, server_of(fleet, first, latest.run_id)
    index: int | None = None
    with suppress(SelectionError):  # what may be several servers means none of them
        index = find_server(fleet, first)
    if index is None:
        return run, ""
    this, that = printable(run.run_id), printable(latest.run_id)
    raise ConfigError(
        f"{printable(first)!r} may be run {this} or server {printable(fleet.label(index))} of run {that}: "
        f"give ecsbatch explain {fleet.ids[index]} {that} for the server, ecsbatch explain '' {this} for the run."
    )


async def _run(store: DatabaseStore, name: str) -> RunRecord | None:
    """Return a run, None where none or several are meant."""
    with suppress(ConfigError):
        return await store.run(name)
    return None


def _with_keeper(answer: Explanation, keeper: int | None) -> Explanation:
    """Say that some process keeps all others from writing, if one does: no run's record can tell that."""
    if keeper is None:
        return answer
    process = f"Process {keeper}" if keeper else "A process"
    text = f"{answer.text} {process} is in the middle of a write to the store: no run goes on until it lets go."
    return replace(answer, text=text, commands=(*answer.commands, *([f"kill -CONT {keeper}"] if keeper else [])))


def _with_resume_options(answer: Explanation, state: RolloutState) -> Explanation:
    """Name the commands that lead on from a run that stands still: a plain resume would only stop once more."""
    run = printable(state.run_id)
    if state.status not in STANDING_STILL or not any(" resume " in command for command in answer.commands):
        return answer
    resume = [f"ecsbatch resume {run}{option.flags}" for option in resume_options(state)]
    return replace(answer, commands=(*resume, f"ecsbatch abort {run}"))
