"""Servers that keep a slot in the budget after their outcome: watched whoever ended them, in nobody's way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Server
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.simulator.virtual_time import Killed

ALL = Strategy(waves="100%", max_unavailable="100%", max_failures="100%", max_failures_per_wave="100%")


def busy(world: World, index: int, begin: float, end: float) -> None:
    """Have somebody else restart a server between two instants."""
    fleet = world.cloud.fleet
    fleet.begin(fleet.numbers[world.ids[index]], "SOFT", "ok", begin, end)


def played(world: World, strategy: Strategy) -> tuple[Rollout, list[ev.Event]]:
    async def main() -> tuple[Rollout, list[ev.Event]]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, strategy, run_id="r")
            await rollout.run()
            return rollout, [recorded.event async for recorded in rollout.events()]

    return world.live(main)


def test_slots_of_servers_that_somebody_else_restarts_are_given_back() -> None:
    """Four at the begin, four one after another: each is skipped, and free once it is up."""
    for spans in (dict.fromkeys(range(4), (0.0, 30.0)), {0: (0.0, 20.0), 8: (20.0, 200.0), 14: (40.0, 160.0)}):
        world = World(servers=40, zones=("az1",))
        for index, (begin, end) in spans.items():
            busy(world, index, begin, end)
        strategy = Strategy(waves="100%", max_unavailable=8, order="input", batch_size=10)
        rollout, journal = played(world, strategy)
        released = [event.server for event in journal if isinstance(event, ev.ServerReleased)]
        skipped = [event.server for event in journal if isinstance(event, ev.ServerSkipped)]

        assert rollout.state.status is RunStatus.SUCCEEDED
        assert sorted(released) == sorted(skipped)
        assert not rollout.state.held
        assert world.now() < 400


def test_servers_whose_checks_hang_keep_no_stop_waiting() -> None:
    world = World(servers=400, zones=("az1",), unhealthy_rate=1.0, boot_time=1.0)

    async def check(server: Server) -> bool:
        if not world.cloud.healthy(server.id):
            await asyncio.sleep(60)
        return True

    async def main() -> tuple[float, RunStatus]:
        async with world.restarter() as restarter:
            now = asyncio.get_running_loop().time
            strategy = Strategy(
                waves="100%",
                max_unavailable=100,
                max_failures="100%",
                max_failures_per_wave=None,
                server_timeout=60.0,
                min_ready=0.0,
            )
            rollout = restarter.rollout(world.ids, strategy, check=check)
            running = asyncio.create_task(rollout.run())
            async for recorded in rollout.events():
                if isinstance(recorded.event, ev.ServerFailed) and rollout.state.run.failures == 100:
                    break
            asked = now()
            rollout.stop()
            await running
            return now() - asked, rollout.state.status

    took, status = world.live(main)

    assert took < 1.0
    assert status is RunStatus.INTERRUPTED


def waves_took(journal: Sequence[Recorded]) -> list[float]:
    begun = {r.event.wave: r.ts for r in journal if isinstance(r.event, ev.WaveStarted)}
    return [r.ts - begun[r.event.wave] for r in journal if isinstance(r.event, ev.WaveFinished)]


def test_a_zone_that_does_not_come_back_keeps_no_other_zone_waiting() -> None:
    """Its 200 servers are asked for their health again and again, each for 10 s; the next zone's are asked at once."""
    took = {}
    for rate in (0.0, 1.0):
        world = World(servers=400, zones=("az1", "az2"), unhealthy_zones={"az1": rate}, boot_time=1.0)

        async def check(server: Server, world: World = world) -> bool:
            if not world.cloud.healthy(server.id):
                await asyncio.sleep(60)
            return True

        async def main(world: World = world, check: object = check) -> list[Recorded]:
            async with world.restarter() as restarter:
                fleet = [Server(id_, world.cloud.truth(id_).zone) for id_ in world.ids]
                strategy = Strategy(
                    waves="domain",
                    max_unavailable=400,
                    max_failures="100%",
                    max_failures_per_wave=None,
                    server_timeout=200.0,
                    min_ready=0.0,
                )
                rollout = restarter.rollout(fleet, strategy, check=check)  # type: ignore[arg-type]
                await rollout.run()
                return [recorded async for recorded in rollout.events()]

        took[rate] = waves_took(world.live(main))

    assert took[1.0][0] > 200
    assert took[1.0][1] < 1.5 * took[0.0][1]


@pytest.mark.parametrize("checked", [False, True])
def test_whoever_takes_a_run_over_watches_the_servers_that_keep_a_slot(*, checked: bool) -> None:
    """They fill the budget when the holder dies; each comes back later, and the run with it."""
    world = World(servers=30, zones=("az1",))
    strategy = Strategy(
        waves="100%", max_unavailable=5, max_failures="100%", max_failures_per_wave="100%", order="input"
    )
    ill = set(world.ids[:5])
    for id_ in ill:
        world.cloud.doom(id_, "ok" if checked else "error")

    async def check(server: Server) -> bool:
        return server.id not in ill

    async def first() -> None:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(
                world.ids, replace(strategy, server_timeout=60.0), check=check if checked else None, run_id="r"
            )
            running = asyncio.create_task(rollout.run())
            async for _ in rollout.events():
                if len(rollout.state.held) == 5:
                    asyncio.get_running_loop().kill_after(0)  # type: ignore[attr-defined]  # the virtual loop's
            await running

    async def second() -> tuple[Rollout, int]:
        async with world.restarter() as restarter:
            rollout = await restarter.resume("r", check=check if checked else None)
            for id_ in ill:
                world.cloud.heal(id_)
            ill.clear()
            await rollout.run()
            released = [r for r in [r async for r in rollout.events()] if isinstance(r.event, ev.ServerReleased)]
            return rollout, len(released)

    with pytest.raises(Killed):
        world.live(first)
    rollout, released = world.live(second)

    assert (released, len(rollout.state.held)) == (5, 0)
    assert Counter(o.kind.value for o in rollout.state.outcomes()) == {"restarted": 25, "failed": 5}
