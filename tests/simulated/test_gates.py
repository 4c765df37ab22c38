"""Holds, gates and left-out zones from seeds: no wave begins without its word, whatever dies in between."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import ConfigError
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Changes, Result
from ecsbatch.model.servers import Server
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.simulator.virtual_time import Killed

RUN = "gated"


class Night:
    """One rollout with a hold and a moody gate, killed now and then."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.world = World(servers=30, seed=seed)
        self.leaves_out = seed % 5 == 0
        self.fleet = [Server(id_, self.world.cloud.truth(id_).zone) for id_ in self.world.ids]
        self.strategy = Strategy(
            waves="3,10",
            max_unavailable=self.chance.choice([2, 5, "50%"]),
            hold_after="1",
            soak=self.chance.choice([0.0, 7.0]),
        )

    async def gate(self, _: object) -> Any:
        """Say go, wait or nothing at all."""
        if self.chance.random() < 0.2:
            raise RuntimeError("no answer")
        return self.chance.choice(["go", "wait", "wait"])

    async def rollout(self, restarter: Restarter) -> Rollout:
        """Begin the run, or go on with it."""
        try:
            zones = ("az3",) if self.leaves_out else ()
            return await restarter.resume(RUN, gate=self.gate, changes=Changes(skip_domains=zones))
        except ConfigError:
            return restarter.rollout(self.fleet, self.strategy, gate=self.gate, run_id=RUN)

    async def life(self) -> Result:
        """Run with somebody at another terminal who promotes and resumes now and then."""
        async with self.world.restarter() as restarter:
            somebody = asyncio.get_running_loop().create_task(self.steer(restarter))
            result = await (await self.rollout(restarter)).run()
            somebody.cancel()
            return result

    async def steer(self, restarter: Restarter) -> None:
        """Append commands, as another process does."""
        while True:
            await asyncio.sleep(self.chance.uniform(20, 90))
            if await restarter.store.runs():  # type: ignore[attr-defined]  # the real store has more than the engine needs
                for word in ("promote", "resume"):
                    await restarter.store.command(RUN, {"command": word}, "somebody")  # type: ignore[attr-defined]

    def play(self) -> tuple[Result, list[ev.Event]]:
        """Live until the run is over; return how it ended and its whole history."""
        for _ in range(60):
            kill = self.chance.randrange(50, 1500) if self.chance.random() < 0.6 else None
            try:
                result = self.world.live(self.life, kill_after=kill)
            except Killed:
                continue
            if result.status.over:
                return result, self.world.live(self.history)
        raise AssertionError("the run is never over")

    async def history(self) -> list[ev.Event]:
        """Read the record."""
        async with self.world.store() as store:
            return [recorded.event for recorded in await store.events(RUN, limit=100_000)]


def words_kept(history: list[ev.Event]) -> bool:
    """Walk the record: every wave had its words, nothing was sent before its wave or during a pause."""
    promoted, gated, began, paused = 0, 0, 0, False
    for event in history:
        match event:
            case ev.GateChecked(gate="hold", verdict="go"):
                promoted = event.wave
            case ev.GateChecked(verdict="go"):
                gated = event.wave
            case ev.WaveStarted():
                if event.wave > 1 and (gated != event.wave or (event.wave == 2 and promoted < 2)):
                    return False
                began = event.wave
            case ev.RunPaused():
                paused = True
            case ev.RunResumed():
                paused = False
            case ev.BatchSubmitting() if paused or event.wave > began:
                return False
            case _:
                continue
    return True


@pytest.mark.parametrize("first", [0, 12])
def test_no_wave_begins_without_its_word(first: int) -> None:
    for seed in range(first, first + 12):
        night = Night(seed)
        result, history = night.play()
        books = night.world.cloud.audit()

        assert result.status in {RunStatus.SUCCEEDED, RunStatus.FAILED}, seed
        assert words_kept(history), seed
        assert books["restarted_more_than_once"] == 0, seed
        assert books["most_down"] <= max(5, 15), seed


def test_the_walk_sees_a_wave_without_its_word() -> None:
    assert not words_kept([ev.WaveStarted(wave=1), ev.WaveStarted(wave=2)])
    assert not words_kept([ev.WaveStarted(wave=1), ev.RunPaused(), ev.BatchSubmitting(wave=1)])
