"""How a run comes into this process: it is created, or an earlier one is taken over with its history.

Read `start` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from ecsbatch.engine.workers import to_the_end
from ecsbatch.errors import ConfigError
from ecsbatch.host_loop import aside
from ecsbatch.model import events as ev
from ecsbatch.model.commands import is_abort
from ecsbatch.model.conflicts import RunExists, RunOver, gone_on
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.ownership import Exposure
from ecsbatch.model.quota import quota_group
from ecsbatch.model.run import Changes, Command, Holder, Lease, NewRun
from ecsbatch.model.tally import Stage
from ecsbatch.policy.resume_options import validate_resume
from ecsbatch.rollout.hooks import GivenHooks, Hooks, hooks_of
from ecsbatch.rollout.session import RunSession

_SKIPS_AT_ONCE: Final = 250


async def start(session: RunSession, changes: Changes | None, given: GivenHooks) -> Hooks:
    """Create the run, or take it over with ``changes``; then hand the engine what is under way.

    A new run whose id exists already with the same servers is taken over: the id is an idempotency key, and its check
    and gate are those that it was planned with.

    Args:
        session: the run.
        changes: what is asked for beyond going on; None for a new run.
        given: the check and gate that the program brings.

    Returns:
        The run's check and gate.

    Raises:
        RunConflict: another run has some of the servers, or another process has the run.
        ConfigError: the run belongs to another project or region, or needs a check or a gate that is not given.
        ProgramRefused: others may have written its check or gate.
    """
    if changes is None:
        changes = await _create(session)
    hooks = _hooks(session, given) if changes is None else await _take_over(session, changes, given)
    if not session.state.status.over:
        session.dispatcher.open(session.journal, hooks.check, session.runtime.engine.linger, session.context)
        await session.record(session.dispatcher.adopt_in_flight())
        await _skip_planned(session)
    return hooks


async def _create(session: RunSession) -> Changes | None:
    """Store a new run and return None; where it exists already, return how to go on with it."""
    written = await aside(session.plan.to_json, len(session.plan.fleet))
    plan = written | {"sites": _sites(session)}
    events = [ev.RunStarted(total=len(session.plan.fleet), plan=plan), _holder_changed(session, 1)]
    store = session.runtime.store
    new = NewRun(session.run_id, plan=plan, fleet=session.plan.fleet, events=events)

    async def created() -> None:
        lease = await store.create_run(new, session.runtime.holder_now())
        session.take(lease)
        session.fold_news(lease.recorded)

    try:
        # Whoever is cancelled here must know which lease to release.
        await to_the_end(created())
    except RunExists as e:
        if e.targets_hash != session.plan.targets:
            raise
        await session.follow(e.record.plan_of(await store.targets(session.run_id)))
        return Changes(by=session.runtime.holder.name)
    return None


async def _take_over(session: RunSession, changes: Changes, given: GivenHooks) -> Hooks:
    """Take over an existing run; one that is over and not to be retried is left as it is."""
    session.stored = True
    await _same_sites(session)
    await session.read_history()
    over = session.state.status.over
    if over and changes.as_of is not None and session.state.seq > changes.as_of:
        raise gone_on(await session.runtime.store.run(session.run_id))
    lease = await _end_again(session, changes.as_of) if over and not changes.retry else None
    if over and not changes.retry and lease is None:
        return Hooks()
    over = session.state.status.over
    validate_resume(session.plan, changes.retry, changes.skip_domains)
    if changes.retry and not over and (session.state.aborting or _abort(await _commands(session))):
        raise RunOver(session.run_id)
    hooks = _hooks(session, given, session.runtime.store.exposure)
    if lease is None:
        lease = await to_the_end(_taken(session, changes.as_of))
    await session.read_history()
    asked = await _commands(session)  # read once: what comes later is this holder's, and is heard by it
    session.last_command = max((command.id for command in asked), default=session.state.last_command)
    abort = None if over or session.state.aborting else _abort(asked)
    session.take(lease)
    events: list[ev.Event] = [_holder_changed(session, lease.fence, lease.previous)]
    aborting = session.state.aborting or abort is not None
    pause = session.state.pause if changes.stays_paused and not aborting else None
    if aborting:
        events.append(ev.RunAborting(by=abort.who if abort is not None else session.state.aborted_by))
    elif pause is not None:
        events.append(pause)
    else:
        events.append(resumption(changes))
        events += session.limit_events(changes.limits, changes.by)
    await session.record(events, RunStatus.RUNNING if pause is None else RunStatus.PAUSED)
    return hooks


def _hooks(session: RunSession, given: GivenHooks, exposure: Exposure | None = None) -> Hooks:
    timeout = session.runtime.engine.check_timeout
    return hooks_of(session.plan, given, session.run_id, exposure, check_timeout=timeout)


def resumption(changes: Changes) -> ev.RunResumed:
    """Make the event of a run that goes on, without what it says of limits."""
    return ev.RunResumed(
        by=changes.by,
        retry=list(changes.retry) or (),
        forgive=changes.forgive,
        skip_domains=list(changes.skip_domains) or (),
        keeps_outcomes=bool(changes.retry),
    )


async def _end_again(session: RunSession, as_of: int | None) -> Lease | None:
    """Write once more that a run is over whose holder died just as it took it to try servers again.

    The store then says that it is interrupted, with its claims, and its journal says that it is over. Return a lease
    where the journal, read again, says that it goes on.
    """
    record = await session.runtime.store.run(session.run_id)
    if record.status.over or record.held:
        return None
    lease = await to_the_end(_taken(session, as_of))
    await session.read_history()
    if not session.state.status.over:
        return lease
    session.take(lease)
    changed = _holder_changed(session, lease.fence, lease.previous)
    await session.note(changed, session.state.status)
    return None


async def _commands(session: RunSession) -> list[Command]:
    """Return the commands that the last holder has not followed."""
    return await session.runtime.store.commands(session.run_id, session.state.last_command)


def _abort(asked: Sequence[Command]) -> Command | None:
    """Return an abort among them: it outlives the holder that it was asked of, other commands do not."""
    return next((command for command in asked if is_abort(command.body)), None)


async def _taken(session: RunSession, as_of: int | None) -> Lease:
    lease = await session.runtime.store.take_run(session.run_id, session.runtime.holder_now(), as_of=as_of)
    session.owe(lease)
    return lease


def _holder_changed(session: RunSession, fence: int, previous: Holder | None = None) -> ev.HolderChanged:
    changed = session.runtime.holder_changed(fence, previous.name if previous else "")
    return replace(changed, command=session.last_command)


def _sites(session: RunSession) -> dict[str, str]:
    """Return the project and region of each site, which make up its quota group."""
    return {site: pipeline.cloud.site.quota_group for site, pipeline in session.runtime.pipelines.items()}


async def _same_sites(session: RunSession) -> None:
    """Refuse to go on with a run in another project or region than it was begun in."""
    record, sites = await session.runtime.store.run(session.run_id), _sites(session)
    for site, group in record.plan.get("sites", {}).items():
        now = sites.get(site, "nowhere")
        if now != quota_group(group):
            raise ConfigError(f"Run {session.run_id} belongs to {group}, not to {now}: use its endpoint and project.")


async def _skip_planned(session: RunSession) -> None:
    """Skip the servers that by the plan are to be left alone."""
    for skip in session.plan.skips:
        waiting = (i for i in range(skip.start, skip.end) if session.state.stage[i] == Stage.WAITING)
        while chunk := list(islice(waiting, _SKIPS_AT_ONCE)):
            await session.record([_skipped(session, i, skip.reason, holds=skip.holds) for i in chunk])


def _skipped(session: RunSession, index: int, reason: str, *, holds: bool = False) -> ev.ServerSkipped:
    server = session.plan.fleet.ids[index]
    wave, domain = session.dispatcher.locate(server)
    return ev.ServerSkipped(server=server, wave=wave, domain=domain, reason=reason, holds=holds)
