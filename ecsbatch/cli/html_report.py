"""The HTML report of a run in a store: read with its audit, and written into a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from ecsbatch.cli.auditing import audit_run
from ecsbatch.cli.catalog import installed_version
from ecsbatch.cli.output import write_file
from ecsbatch.errors import EcsbatchError
from ecsbatch.model.events import HolderChanged
from ecsbatch.model.recorded import Recorded
from ecsbatch.rollout.follower import RunFollower, head_at, new_history
from ecsbatch.views.page.details import Details
from ecsbatch.views.page.html_report import report_html
from ecsbatch.views.page.reported_run import ReportedRun
from ecsbatch.views.page.timeline import RunTimeline

if TYPE_CHECKING:
    from ecsbatch.store import DatabaseStore


async def write_html_report(store: DatabaseStore, name: str, path: Path) -> None:
    """Write the report of a run into a file for its owner only; nothing of it is read or steered meanwhile.

    Args:
        store: has the run; it may be open for others, too.
        name: of the run, "" for the latest.
        path: of the file; an old one stays until the new one is whole.

    Raises:
        ConfigError: there is no such run, it is one of single restarts, or the file cannot be written.
        StoreError: the store cannot be read.
    """
    told = await read_report(store, name)
    await asyncio.to_thread(write_file, path, report_html(told))


async def read_report(store: DatabaseStore, name: str) -> ReportedRun:
    """Read a run for its report, and audit it; where that cannot be done, the report says why.

    Raises:
        ConfigError: there is no such run, or it is one of single restarts.
        StoreError: the store cannot be read.
    """
    history = await new_history(store, await store.run(name))
    state, first = history.state, list[Recorded]()
    details, timeline = Details(state), RunTimeline(state)

    def note_first_holder(recorded: Recorded) -> None:
        if not first and isinstance(recorded.event, HolderChanged):
            first.append(recorded)

    history.watchers += [details.apply, timeline.apply, note_first_holder]
    await RunFollower(store, history).refresh()
    receipt, not_audited = None, ""
    try:
        receipt = await audit_run(store, state.run_id)
    except EcsbatchError as e:
        not_audited = str(e)
    begun = first[0] if first else None
    return ReportedRun(
        state,
        details,
        timeline,
        at=history.read_at,
        version=installed_version(),
        steering=tuple(history.steering),
        begun_by=begun.event.holder if begun is not None and isinstance(begun.event, HolderChanged) else "",
        begun_at=begun.ts if begun is not None else None,
        head=await head_at(store.lines, state.run_id, state.seq),
        receipt=receipt,
        not_audited=not_audited,
    )
