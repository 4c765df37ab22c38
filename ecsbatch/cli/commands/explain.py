"""``ecsbatch explain``: why is this server not restarted yet, what holds the run now? From the store alone."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import orjson
from cyclopts import Parameter

from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import AskFlags, ConfigFile, repeated, settings_of, store_url
from ecsbatch.cli.output import columns, print_lines
from ecsbatch.cli.wiring import make_store
from ecsbatch.model.text import printable
from ecsbatch.planning.selection import is_uuid, server_id
from ecsbatch.policy.explain import explain as explain_state
from ecsbatch.policy.resume_options import STANDING_STILL, resume_options
from ecsbatch.store.history import load_history
from ecsbatch.views.explanation import explained_json, explained_lines
from ecsbatch.views.summary import RepeatFlags

if TYPE_CHECKING:
    from ecsbatch.model.quota import Usage
    from ecsbatch.model.state import RolloutState
    from ecsbatch.policy.explain import Explanation
    from ecsbatch.store import DatabaseStore
    from ecsbatch.store.history import RunHistory

_Server = Annotated[
    str, Parameter(help="The server, by its id; left out: what holds the whole run now.", show_default=False)
]
_Run = Annotated[
    str,
    Parameter(
        help="The run, by its id or a unique beginning of it; the latest where left out. Alone it needs no server.",
        show_default=False,
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
    settings = settings_of(flags, config)
    if server and not run and not is_uuid(server):
        server, run = "", server
    elif is_uuid(run) and not is_uuid(server):
        server, run = run, server
    server = server_id(server) if server else ""
    story, answer = asyncio.run(_ask(store_url(settings), server, run))
    again = RepeatFlags(*[repeated(settings, reading=True)] * 2)
    run_id = story.record.run_id
    if settings.output.output == "json":
        sys.stdout.buffer.write(orjson.dumps(explained_json(answer, run_id, server, again)) + b"\n")
        sys.stdout.buffer.flush()
    else:
        width = columns(to_stdout=True)
        print_lines(explained_lines(answer, run_id, server, now=time.time(), again=again, width=width), to_stdout=True)
    return Exit.OK


async def _ask(url: str, server: str, run: str) -> tuple[RunHistory, Explanation]:
    async with make_store(url) as store:
        story = await load_history(store, await store.run(run))
        claimed_by = await _claimed_by(store, story, server) if server else ""
        answer = explain_state(
            story.state,
            now=time.time(),
            server=server or None,
            usage=await _usage(store, story, server),
            holder_alive=story.record.held,
            claimed_by=claimed_by,
        )
        return story, _kept(_with_ways_on(answer, story.state), await store.kept_by())


def _kept(answer: Explanation, keeper: int | None) -> Explanation:
    """Say that some process keeps all others from writing, if one does: no run's record can tell that."""
    if keeper is None:
        return answer
    process = f"Process {keeper}" if keeper else "A process"
    text = f"{answer.text} {process} is in the middle of a write to the store: no run goes on until it lets go."
    return replace(answer, text=text, commands=(*answer.commands, *([f"kill -CONT {keeper}"] if keeper else [])))


def _with_ways_on(answer: Explanation, state: RolloutState) -> Explanation:
    """Name the commands that lead on from a run that stands still: a plain resume would only stop once more."""
    run = printable(state.run_id)
    if state.status not in STANDING_STILL or not any(" resume " in command for command in answer.commands):
        return answer
    ways = [f"ecsbatch resume {run}{way.flags}" for way in resume_options(state)]
    return replace(answer, commands=(*ways, f"ecsbatch abort {run}"))


async def _usage(store: DatabaseStore, story: RunHistory, server: str) -> Usage | None:
    """Ask the ledger about the quota that the server's site spends; the record says which, and how much it is."""
    groups: dict[str, str] = story.record.plan.get("sites", {})
    fleet = story.state.plan.fleet
    place = fleet.place(server) if server else 0 if len(fleet) else None
    group = groups.get(fleet.site(place)) if place is not None else None
    if group is None or story.holders is None or not story.holders.limit:
        return None
    return await store.usage(group, story.holders.limit)


async def _claimed_by(store: DatabaseStore, story: RunHistory, server: str) -> str:
    """Return the other run that has a server, "" where none has."""
    sites = {"", *story.record.plan.get("sites", {})}
    owners = (await store.claimed([(site, server) for site in sorted(sites)])).values()
    return next((owner for owner in owners if owner != story.record.run_id), "")
