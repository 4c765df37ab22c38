"""Strategies over real HTTP, judged by the simulator's own books."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from ecsbatch import EcsClient, Engine, Outcome, Quota, Restarter, Rollout, Server, Strategy
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.model.outcome import RunStatus
from ecsbatch.simulator.cloud import CloudConfig
from ecsbatch.simulator.server import Running, serve

SPEED = 100.0
ENGINE = Engine(quota=Quota(1000, 60 / SPEED + 0.5), typical_restart=1.0, linger=0.05, unknown_grace=2.0)


@dataclass
class Trial:
    """One strategy on a cloud of its own."""

    rollout: Rollout
    running: Running
    restarter: Restarter

    def most_down(self) -> tuple[int, dict[str, int]]:
        """Return the simulator's count: at once, and by zone."""
        books = self.running.audit()
        return books["most_down"], books["most_down_by_zone"]


async def trial(strategy: Strategy, servers: int, *, seed: int, act: Any = None, gate: Any = None) -> Trial:
    """Run a strategy to its end, with ``act`` beside it."""
    config = CloudConfig(seed=seed, servers=servers, zones=("az1", "az2", "az3"), latency=0.005, parent_lag=1.0)
    async with serve(config, speed=SPEED) as running:
        auth = KeyAuth(config.access_key, config.secret_key)
        fleet = [Server(id_, running.cloud.truth(id_).zone) for id_ in running.cloud.ids()]
        async with (
            EcsClient(auth=auth, project_id=config.project_id, endpoint=running.url, api_rate=200.0) as ecs,
            Restarter(ecs, engine=ENGINE, seed=seed) as restarter,
        ):
            rollout = restarter.rollout(fleet, strategy, gate=gate)
            async with asyncio.TaskGroup() as group:
                group.create_task(rollout.run())
                if act is not None:
                    group.create_task(act(rollout, running))
            return Trial(rollout, running, restarter)


def drawn(seed: int) -> tuple[Strategy, int]:
    """Draw a strategy and a fleet's size."""
    chance = Random(seed)
    waves = chance.choice(["auto", "100%", "5,25%", "2,domain", "1,10%,50%", "domain"])
    return Strategy(
        waves=waves,
        order=chance.choice(["spread", "domain", "input"]),
        batch_size=chance.choice([1, 7, 20, 100]),
        max_unavailable=chance.choice([4, 7, "20%", "35%"]),
        max_unavailable_per_domain=chance.choice([None, 2, "25%"]),
        soak=chance.choice([0.0, 0.1]),
    ), chance.randint(12, 30)


async def test_twenty_random_strategies_never_have_more_servers_down_than_they_may() -> None:
    for start in range(0, 20, 10):
        trials = await asyncio.gather(*(trial(*drawn(seed), seed=seed) for seed in range(start, start + 10)))
        for one in trials:
            plan = one.rollout.plan
            at_once, by_zone = one.most_down()
            per_zone = plan.max_unavailable_per_domain or {}

            assert one.rollout.state.status is RunStatus.SUCCEEDED
            assert at_once <= plan.max_unavailable
            assert all(down <= per_zone.get(zone, down) for zone, down in by_zone.items())


async def test_a_canary_and_then_zone_by_zone() -> None:
    one = await trial(Strategy(waves="20,domain", max_unavailable="50%"), 90, seed=1)

    began: dict[str, list[float]] = {}
    canary: set[str] = set()
    plan = one.rollout.plan
    for i, outcome in enumerate(one.rollout.state.outcomes()):
        assert isinstance(outcome, Outcome)
        wave = plan.wave_of(i)
        assert wave is not None
        if wave.number == 1:
            canary.add(plan.fleet.domain(i))
        else:
            began.setdefault(plan.fleet.domain(i), []).append(outcome.submitted_at or 0.0)
    zones = sorted(began, key=lambda zone: min(began[zone]))

    assert canary == {"az1", "az2", "az3"}
    assert all(max(began[a]) <= min(began[b]) for a, b in pairwise(zones))


@pytest.mark.parametrize("what", ["gate", "hold", "pause"])
async def test_nothing_starts_while_a_gate_is_red_a_hold_stands_or_the_run_is_paused(what: str) -> None:
    submits: list[int] = []

    async def act(rollout: Rollout, running: Running) -> None:
        async for recorded in rollout.events():
            name = recorded.event.name
            if name == ("wave.started" if what == "pause" else "wave.finished"):
                break
        if what == "pause":
            rollout.pause("a test")
            while rollout.state.status is not RunStatus.PAUSED or rollout.state.run.in_flight:  # noqa: ASYNC110 - a test's patience
                await asyncio.sleep(0.01)
        submits.append(running.audit()["accepted_requests"])
        await asyncio.sleep(0.5)
        submits.append(running.audit()["accepted_requests"])
        if what == "pause":
            rollout.resume("a test")
        elif what == "hold":
            rollout.promote("a test")
        else:
            green.append(True)

    green: list[bool] = []

    async def gate(_: object) -> Any:
        while not green:  # noqa: ASYNC110 - a test's patience
            await asyncio.sleep(0.01)
        return "go"

    strategy = Strategy(waves="3,100%", max_unavailable=3, hold_after="1" if what == "hold" else None)
    one = await trial(strategy, 20, seed=2, act=act, gate=gate if what == "gate" else None)

    assert submits[0] == submits[1]
    assert one.running.audit()["restarted_servers"] == 20
