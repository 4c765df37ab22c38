"""A domain is left out in mid-run: by the process that holds the run, or by the one that takes it over."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from engine_world import World

from ecsbatch import events as ev
from ecsbatch.config import Strategy
from ecsbatch.errors import StoreError
from ecsbatch.hosting import Changes
from ecsbatch.models import OutcomeKind, Server
from ecsbatch.records import Command
from ecsbatch.rollout import Rollout
from ecsbatch.store import MemoryDatabase

ZONE_BY_ZONE = Strategy(
    max_unavailable="100%", waves="domain", soak=60.0, max_failures="100%", max_failures_per_wave="100%"
)
BOTH_ZONES = replace(ZONE_BY_ZONE, waves="20,100%")
ASKED = {"command": "resume", "retry": ["failed"], "skip_domains": ["az1"]}


class Disk(MemoryDatabase):
    """A database with room for so many writes more."""

    room: int | None = None

    @contextmanager
    def writing(self) -> Generator[None, None, None]:
        """Write, or find no room."""
        if self.room is not None:
            self.room -= 1
            if self.room < 0:
                raise StoreError("There is no space left on the disk.")
        with super().writing():
            yield


def fleet(world: World) -> list[Server]:
    return [Server(id_, world.cloud.truth(id_).zone) for id_ in world.ids]


def by_zone(world: World, rollout: Rollout) -> dict[tuple[str, str], int]:
    """Count a run's outcomes by zone."""
    counted: dict[tuple[str, str], int] = {}
    for outcome in rollout.state.outcomes():
        key = (world.cloud.truth(outcome.server).zone, f"{outcome.kind} {outcome.reason}".strip())
        counted[key] = counted.get(key, 0) + 1
    return counted


async def until_the_first_wave_is_over(rollout: Rollout) -> None:
    """Wait for it and pause; the soak keeps the second zone waiting."""
    async for recorded in rollout.events():
        if isinstance(recorded.event, ev.WaveFinished):
            rollout.pause()
        if isinstance(recorded.event, ev.RunPaused):
            return


def test_the_holder_leaves_a_zone_out_and_what_has_failed_there_stays_failed() -> None:
    """Of that zone nothing is tried again, and nothing that failed is called left out."""
    world = World(servers=60, zones=("az1", "az2"), fail_rate=0.4)

    async def main() -> tuple[dict[tuple[str, str], int], Rollout]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(fleet(world), BOTH_ZONES)
            group.create_task(rollout.run())
            await until_the_first_wave_is_over(rollout)
            before = by_zone(world, rollout)
            rollout.command(Command(1, 0.0, "bob@desk", ASKED))
        return before, rollout

    before, rollout = world.live(main)
    after = by_zone(world, rollout)

    assert before["az1", "failed"]
    assert before["az2", "failed"]
    assert rollout.state.status.over
    assert (after["az1", "failed"], after["az1", "restarted"]) == (before["az1", "failed"], before["az1", "restarted"])
    assert after["az1", "skipped excluded"] == 30 - before["az1", "failed"] - before["az1", "restarted"]
    # In the other zone they were in line again, and seen to be off, as this cloud leaves what fails.
    assert after["az2", "skipped not_active"] == before["az2", "failed"]
    assert after["az2", "restarted"] + after["az2", "failed"] + after["az2", "skipped not_active"] == 30


def test_a_process_killed_while_it_leaves_a_zone_out_has_left_out_all_of_it_or_nothing() -> None:
    """The wish and its servers' outcomes are one commit: the next process finds both or neither."""

    async def interrupted(world: World) -> None:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(fleet(world), ZONE_BY_ZONE, run_id="nightly")
            group.create_task(rollout.run())
            await until_the_first_wave_is_over(rollout)
            rollout.stop()

    async def resumed(world: World, changes: Changes) -> tuple[bool, int]:
        async with world.restarter() as restarter:
            rollout = await restarter.resume("nightly", changes=changes)
            await rollout.run()
            events = [recorded.event async for recorded in rollout.events()]
            wished = any(event.skip_domains for event in events if isinstance(event, ev.RunResumed))
            return wished, rollout.state.counts[OutcomeKind.SKIPPED]

    found = []
    for writes in range(8):
        world = World(servers=60, zones=("az1", "az2"))
        world.database = disk = Disk()
        world.live(partial(interrupted, world))
        disk.room = writes
        with suppress(StoreError):
            world.live(partial(resumed, world, Changes(skip_domains=["az2"])))
        disk.room = None
        found.append(world.live(partial(resumed, world, Changes())))
        assert world.cloud.audit()["restarts"] == 60 - found[-1][1]

    assert set(found) == {(False, 0), (True, 30)}
