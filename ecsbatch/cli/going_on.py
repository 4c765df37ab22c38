"""Going on with a run that nobody holds, in this process: to its end, or only to end it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ecsbatch.cli.drive import Driven, drive
from ecsbatch.cli.flags import store_url
from ecsbatch.cli.live import Watching
from ecsbatch.cli.wiring import engine, make_store, who
from ecsbatch.engine.hosting import Changes
from ecsbatch.rollout.hooks import WITHOUT
from ecsbatch.store.history import story_of

if TYPE_CHECKING:
    from ecsbatch.config.sources import Settings
    from ecsbatch.model.state import RolloutState


async def go_on(
    run_id: str, changes: Changes, settings: Settings, watching: Watching, *, abort: bool = False
) -> Driven:
    """Take a run and drive it; one that is over is left as it is, unless servers of it are to be restarted again.

    Args:
        run_id: which run.
        changes: what is asked for beyond going on.
        settings: of the connection, the engine and the output.
        watching: how much is shown.
        abort: only look after the servers under way, and end it for good; so too where somebody asked for that before.

    Raises:
        RunConflict: another process has it.
    """
    async with make_store(store_url(settings)) as store:
        record = await store.run(run_id)
        story = await story_of(store, record)
        state, ends = story.state, abort or story.aborting
        if state.status.over and record.status.over and not changes.retry:
            return Driven(state, 0)
        settings = _by_its_quota(state, settings)
        if ends:
            # On record before anything else: should this process die, whoever goes on with the run follows it.
            await store.command(run_id, {"command": "abort"}, story.aborted_by or changes.by)
        async with engine(settings, store) as restarter:
            # What is not asked any more where a run only ends must not stand in the way if another program has it.
            gate, check = WITHOUT if ends else None, WITHOUT if ends and not state.run.in_flight else None
            rollout = await restarter.resume(run_id, check=check, gate=gate, changes=changes)
            if ends:
                rollout.abort(story.aborted_by or changes.by)
            return await drive(restarter, rollout, settings, watching, known=record.seq)


def _by_its_quota(state: RolloutState, settings: Settings) -> Settings:
    """Let a run go on by the quota that it was begun with, unless another one is given: others may need the rest."""
    if state.quota is None or "quota" in settings.origins:
        return settings
    return replace(settings, engine=replace(settings.engine, quota=state.quota))


async def end(run_id: str, settings: Settings) -> Driven:
    """Take a run that nobody holds, and end it for good."""
    return await go_on(run_id, Changes(by=who()), settings, Watching(quiet=True), abort=True)
