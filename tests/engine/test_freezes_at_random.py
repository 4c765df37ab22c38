"""Freezes at any instant, beside faults, outages and kills: judged by the cloud's own count and by the audit."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from world import World

from ecsbatch.audit.replay import audit
from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.model import events as ev
from ecsbatch.model.quota import Quota
from ecsbatch.rollout.history import History
from ecsbatch.simulator.config import Faults
from ecsbatch.simulator.virtual_time import Killed
from ecsbatch.store.sql import Statement

SERVERS = 50
FAULTS = Faults(reject_503=0.1, throttle=0.05, reset_before=0.05, lost_reply=0.05)
ENGINE = Engine(quota=Quota(15, 60.0), typical_restart=20.0, linger=0.2)
STRATEGY = Strategy(max_unavailable=12, waves=["5", "100%"], batch_size=5, max_failures="100%", soak="5s")
BEHIND = 2.5
"""Seconds behind a freeze in which the cloud may still count a request: one to stop, the rest in the air."""

END = (ev.RunFinished, ev.RunStopped)
FREEZES = Statement("SELECT since, coalesce(thawed_at, ends_at, 1e12) FROM freezes ORDER BY number")


async def somebody(world: World, chance: Random, done: asyncio.Event) -> None:
    """Freeze and thaw until the others are done, and thaw at last."""
    async with world.store() as store:
        history = History(store, clock=world.clock)
        for _ in range(6):
            await asyncio.sleep(chance.uniform(0.0, 30.0))
            if chance.random() < 0.7:
                lasts = chance.uniform(0.1, 60.0) if chance.random() < 0.4 else None
                await history.freeze("at random", by="ann", lasts=lasts)
            else:
                await history.thaw(by="bob")
        await history.thaw(by="bob")
        await done.wait()


async def one_life(world: World, chance: Random) -> None:
    """Go on with what an earlier life has left, or begin; two processes and single restarts."""
    done = asyncio.Event()

    async def process(name: str, ids: list[str]) -> None:
        async with world.restarter(ENGINE, name=name) as restarter:
            rollouts = await restarter.resume_orphans()
            if name not in {each.run_id for each in await restarter.runs()}:
                rollouts.append(await restarter.rollout(ids, STRATEGY, run_id=name).start())
            for rollout in rollouts:
                await rollout

    async def service() -> None:
        async with world.restarter(ENGINE, name="service") as restarter:
            await asyncio.sleep(chance.uniform(0.0, 60.0))
            await asyncio.gather(*(restarter.restart(server) for server in world.ids[40:]))

    async with asyncio.TaskGroup() as group:
        person = group.create_task(somebody(world, chance, done))
        work = [group.create_task(process("a", world.ids[:20])), group.create_task(process("b", world.ids[20:40]))]
        work.append(group.create_task(service()))
        await asyncio.gather(*work)
        done.set()
        await person


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_counted_while_the_store_is_frozen_whatever_else_happens(seed: int) -> None:
    chance = Random(seed)
    outages = ((chance.uniform(20, 60), chance.uniform(60, 90)),) if chance.random() < 0.4 else ()
    world = World(SERVERS, seed=seed, faults=FAULTS, restart_median=15.0, outages=outages)
    offset = world.clock.wall() - world.now()
    if chance.random() < 0.6:
        with suppress(Killed):
            world.live(lambda: one_life(world, chance), kill_after=chance.randrange(500, 6000))
    world.live(lambda: one_life(world, chance))

    async def read() -> list[tuple[Any, Any]]:
        async with world.store() as store:
            records = await store.runs(50)
            fleets = [await store.targets(each.run_id) if each.kind == "rollout" else None for each in records]
            return [
                (await store.events(each.run_id, limit=100_000), fleet)
                for each, fleet in zip(records, fleets, strict=True)
            ]

    runs = world.live(read)
    spans = world.database.read(lambda: [tuple(row) for row in world.database.execute(FREEZES)])
    counted = [at + offset for at, _ in world.cloud.auditor.counted]

    assert [(at, span) for at in counted for span in spans if span[0] + BEHIND < at < span[1]] == []
    assert [(finding.rule, finding.text) for events, fleet in runs for finding in audit(events, fleet).findings] == []
    assert any(isinstance(each.event, ev.RunFrozen) for events, _ in runs for each in events)
    assert max(world.cloud.restarts(server) for server in world.ids[:40]) == 1
    ends = {each.event.reason for events, _ in runs for each in events[-1:] if isinstance(each.event, END)}
    assert ends <= {"", "closed", "max_failures", "max_failures_per_wave"}
