"""A domain is left out in mid-run: by the process that holds the run, or by the one that takes it over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import pytest
from world import World, Wrapper

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import ConfigError, NotAccepted, StoreError, UnknownAnswer
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Changes, Command, Result
from ecsbatch.model.servers import Server
from ecsbatch.model.state import RolloutState
from ecsbatch.planning.strategy import make_plan
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.store import MemoryDatabase

T = TypeVar("T")

ZONE_BY_ZONE = Strategy(
    max_unavailable="100%", waves="domain", soak=60.0, max_failures="100%", max_failures_per_wave="100%"
)
BOTH_ZONES = replace(ZONE_BY_ZONE, waves="20,100%")
ASKED = {"command": "resume", "retry": ["failed"], "skip_domains": ["az1"]}


class Disk(MemoryDatabase):
    """A database with room for so many writes more."""

    room: int | None = None

    def write(self, do: Callable[[], T], *, claims: bool = False) -> T:
        """Write, or find no room."""
        if self.room is not None:
            self.room -= 1
            if self.room < 0:
                raise StoreError("There is no space left on the disk.")
        return super().write(do, claims=claims)


def fleet(world: World) -> list[Server]:
    return [Server(id_, world.cloud.truth(id_).zone) for id_ in world.ids]


def by_zone(world: World, rollout: Rollout) -> dict[tuple[str, str], int]:
    """Count a run's outcomes by zone."""
    counted: dict[tuple[str, str], int] = {}
    for outcome in rollout.state.outcomes():
        why = outcome.reason or (outcome.not_retried and f"not retried: {outcome.not_retried}")
        key = (world.cloud.truth(outcome.server).zone, f"{outcome.kind} {why}".strip())
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
    assert after["az1", "not_started left_out"] == 30 - before["az1", "failed"] - before["az1", "restarted"]
    # In the other zone they were queued again, and seen to be off, as this cloud leaves what fails.
    assert after["az2", "failed not retried: not_active"] == before["az2", "failed"]
    assert after["az2", "restarted"] + after["az2", "failed"] + after["az2", "failed not retried: not_active"] == 30


def test_a_process_killed_while_it_leaves_a_zone_out_has_left_out_all_of_it_or_nothing() -> None:
    """The wish and what it means for servers are one event: the next process finds both or neither."""

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
            return wished, rollout.state.counts[OutcomeKind.NOT_STARTED]

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


class Lossy(Wrapper):
    """A client whose requests are given up and never reach the cloud."""

    async def submit(self, *_: Any) -> str:
        """Lose it."""
        await asyncio.sleep(30)
        raise UnknownAnswer("no answer within 30 s")


class TurnsAway(Wrapper):
    """A client whose cloud takes no request for a while."""

    until = 0.0

    async def submit(self, *request: Any) -> str:
        """Turn it away, or send it."""
        if asyncio.get_running_loop().time() < self.until:
            raise NotAccepted("busy", status=501, code="Ecs.0603", answered=True)
        return str(await self.inner.submit(*request))


def test_what_was_under_way_in_a_zone_as_it_was_left_out_and_did_not_begin_is_not_sent_again() -> None:
    world = World(servers=40, zones=("az1", "az2"))
    strategy = Strategy(waves="100%", max_unavailable=20, order="domain")

    async def lost() -> None:
        async with world.client() as client, world.store() as store, world.engine(Lossy(client), store) as restarter:
            rollout = restarter.rollout(fleet(world), strategy, run_id="r")
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(35)
            rollout.stop()
            await running

    async def resumed() -> tuple[Result, dict[tuple[str, str], int]]:
        async with world.restarter() as restarter:
            rollout = await restarter.resume("r", changes=Changes(skip_domains=("az1",)))
            result = await rollout.run()
            return result, by_zone(world, rollout)

    world.live(lost)
    result, ended = world.live(resumed)

    assert ended == {("az1", "not_started left_out"): 20, ("az2", "restarted"): 20}
    assert result.status is RunStatus.FAILED
    assert sum(world.cloud.restarts(id_) for id_ in world.ids if world.cloud.truth(id_).zone == "az1") == 0


def test_what_the_cloud_turns_away_while_its_zone_is_left_out_is_not_sent_again() -> None:
    """Pause, leave out, go on in one process, while a request is on its way that will come back."""
    world = World(servers=40, zones=("az1", "az2"))

    async def main() -> dict[tuple[str, str], int]:
        async with world.client() as client, world.store() as store:
            busy = TurnsAway(client)
            busy.until = 20.0
            async with world.engine(busy, store) as restarter:
                rollout = restarter.rollout(fleet(world), Strategy(waves="100%", max_unavailable=20, order="domain"))
                running = asyncio.create_task(rollout.run())
                await asyncio.sleep(8)
                rollout.pause()
                rollout.resume(skip_domains=["az1"])
                await running
                return by_zone(world, rollout)

    assert world.live(main) == {("az1", "not_started left_out"): 20, ("az2", "restarted"): 20}


def test_a_caller_who_joined_a_server_hears_that_it_was_left_out() -> None:
    world = World(servers=40, zones=("az1", "az2"))

    async def main() -> Outcome:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(fleet(world), Strategy(waves="1,100%", soak=600.0))
            running = group.create_task(rollout.run())
            await asyncio.sleep(100)
            last = next(id_ for id_ in reversed(rollout.plan.fleet.ids) if world.cloud.truth(id_).zone == "az2")
            joined = restarter.submit(last)
            rollout.pause()
            rollout.resume(skip_domains=["az2"])
            outcome = await joined
            running.cancel()
            return outcome

    outcome = world.live(main)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.NOT_STARTED, "left_out")


def test_a_domain_that_is_none_of_the_fleets_cannot_be_left_out() -> None:
    world = World(servers=10, zones=("az1", "az2"))

    async def main() -> None:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(fleet(world), Strategy(), run_id="r")
            with pytest.raises(ConfigError, match="az3"):
                rollout.resume(skip_domains=["az3"])
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(5)
            rollout.stop()
            await running
            with pytest.raises(ConfigError, match="az3"):
                await (await restarter.resume("r", changes=Changes(skip_domains=["az3"]))).run()

    world.live(main)


def test_a_journal_of_an_older_version_folds_as_it_did() -> None:
    """There each left-out server had an event of its own."""
    plan = make_plan([Server("a", "az1"), Server("b", "az2")], Strategy(waves="100%"))
    state = RolloutState("old", plan)
    told: list[ev.Event] = [
        ev.RunStarted(total=2),
        ev.WaveStarted(wave=1, servers=2),
        ev.RunResumed(skip_domains=["az1"]),
        ev.ServerSkipped(server="a", wave=1, domain="az1", reason="excluded"),
    ]
    for seq, event in enumerate(told, 1):
        state.apply(Recorded(seq, float(seq), "old", event))

    outcome = state.outcome(plan.fleet.find("a"))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.SKIPPED, "excluded")
    assert (state.run.waiting, state.run.ended[OutcomeKind.NOT_STARTED], state.failed) == (1, 0, False)
