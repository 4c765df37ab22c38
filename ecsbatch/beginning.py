"""How a run comes into this process: it is created, or an earlier one is taken over with its whole history."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from ecsbatch import events as ev
from ecsbatch.conflicts import RunExists
from ecsbatch.course import Course
from ecsbatch.direct import held_by
from ecsbatch.errors import ConfigError
from ecsbatch.hooks import Given, Hooks, hooks_of
from ecsbatch.hosting import Changes
from ecsbatch.models import Holder, RunStatus
from ecsbatch.plan import Plan
from ecsbatch.records import NewRun
from ecsbatch.stages import Stage

_SKIPS_AT_ONCE: Final = 1000


async def begin(course: Course, changes: Changes | None, given: Given) -> Hooks:
    """Create the run, or with ``changes`` take it over; then hand the engine what is under way.

    A new run whose id exists already with the same servers is taken over: the id is an idempotency key, and what is
    asked between waves and of servers is what that run was planned with.

    Raises:
        RunConflict: another run has some of the servers, or another process has the run.
        ConfigError: the run belongs to another project or region, or needs a check or a gate that is not given.
    """
    if changes is None:
        changes = await _create(course)
    hooks = hooks_of(course.plan, given, course.run_id) if changes is None else await _take(course, changes, given)
    if not course.state.status.over:
        course.feeder.open(course.journal, hooks.check, course.host.engine.linger)
        await course.journal.record(course.feeder.take_up())
        await _skip_planned(course)
    return hooks


async def _create(course: Course) -> Changes | None:
    """Store a new run; where it is there already, say how to go on with it."""
    plan = course.plan.to_json() | {"sites": _sites(course)}
    events = [ev.RunStarted(total=len(course.plan.fleet), plan=plan), _holder_changed(course, 1)]
    store = course.host.store
    try:
        hold = await store.create_run(
            NewRun(course.run_id, plan=plan, fleet=course.plan.fleet, events=events), course.host.holder
        )
    except RunExists as e:
        if e.targets_hash != course.plan.targets:
            raise
        course.follow(Plan.from_json(e.record.plan, await store.targets(course.run_id)))
        return Changes(by=course.host.holder.name)
    course.hold(hold)
    course.fold(hold.recorded)
    return None


async def _take(course: Course, changes: Changes, given: Given) -> Hooks:
    """Take over an existing run; one that is over and not to be retried is left as it is."""
    await _same_sites(course)
    await course.read_history()
    if course.state.status.over and not changes.retry:
        return Hooks()
    hooks = hooks_of(course.plan, given, course.run_id)
    store = course.host.store
    hold = await store.hold(course.run_id, course.host.holder)
    await course.read_history()
    # What was asked of earlier holders is theirs.
    course.last_command = max((command.id for command in await store.commands(course.run_id)), default=0)
    course.hold(hold)
    resumed = ev.RunResumed(
        by=changes.by, retry=changes.retry, forgive=changes.forgive, skip_domains=changes.skip_domains
    )
    limits = course.limit_events(changes.limits, changes.by)
    changed = _holder_changed(course, hold.fence, hold.previous)
    # One commit: a process that dies behind it has left the domains out.
    skipped = left_out(course, changes.skip_domains)
    await course.journal.record([changed, resumed, *limits, *skipped], status=RunStatus.RUNNING)
    return hooks


def _holder_changed(course: Course, fence: int, previous: Holder | None = None) -> ev.HolderChanged:
    host = course.host
    return held_by(host.holder, host.engine, fence, previous.name if previous else "", host.clock.monotonic())


def _sites(course: Course) -> dict[str, str]:
    """Name the project and region behind each site of the engine."""
    return {site: pipeline.cloud.site.quota_group for site, pipeline in course.host.pipelines.items()}


async def _same_sites(course: Course) -> None:
    """Refuse to go on with a run in another project or region than it was begun in."""
    record, sites = await course.host.store.run(course.run_id), _sites(course)
    for site, place in record.plan.get("sites", {}).items():
        now = sites.get(site, "nowhere")
        if now != place:
            raise ConfigError(f"Run {course.run_id} belongs to {place}, not to {now}: use its endpoint and project.")


async def _skip_planned(course: Course) -> None:
    """End the servers that the plan knows are to be left alone."""
    for skip in course.plan.skips:
        waiting = (i for i in range(skip.start, skip.end) if course.state.stage[i] == Stage.WAITING)
        while chunk := list(islice(waiting, _SKIPS_AT_ONCE)):
            await course.journal.record([_skipped(course, i, skip.reason, holds=skip.holds) for i in chunk])
            for i in chunk if skip.holds else ():
                course.feeder.watch_held(i)


def left_out(course: Course, domains: Sequence[str]) -> list[ev.Event]:
    """Skip the waiting servers of domains that are not to be restarted any more."""
    fleet, stage = course.plan.fleet, course.state.stage
    places = (i for i in range(len(fleet)) if stage[i] == Stage.WAITING and fleet.domain(i) in domains)
    return [_skipped(course, i, "excluded") for i in places] if domains else []


def _skipped(course: Course, place: int, reason: str, *, holds: bool = False) -> ev.ServerSkipped:
    server = course.plan.fleet.ids[place]
    wave, domain = course.feeder.locate(server)
    return ev.ServerSkipped(server=server, wave=wave, domain=domain, reason=reason, holds=holds)
