"""A process whose wall clock is ten minutes off, on a store that many machines share: nothing is otherwise by that."""

from __future__ import annotations

import asyncio

import pytest
from world import World

from ecsbatch import History
from ecsbatch.clock import Clock
from ecsbatch.config.settings import Strategy
from ecsbatch.store import MemoryDatabase, open_store

OFF = 600.0
SLOW = Strategy(waves="3,100%", soak=120.0, hold_after="1", max_unavailable=2, max_failures="100%")


class Skewed:
    """A machine's clock whose wall clock is off."""

    def __init__(self, inner: Clock, off: float) -> None:
        self._inner = inner
        self._off = off

    def wall(self) -> float:
        """Return the time, and that much more."""
        return self._inner.wall() + self._off

    def monotonic(self) -> float:
        """Return the seconds of this boot."""
        return self._inner.monotonic()

    def boot_id(self) -> str:
        """Return which boot that is."""
        return self._inner.boot_id()


def played(off: float) -> tuple[list[bytes], list[object]]:
    """Play a rollout that soaks, is held, paused and promoted; return its record, and what was seen of it."""
    world = World(servers=10)
    world.database = MemoryDatabase(leases=True, clock=world.clock.wall)
    truth, world.clock = world.clock, Skewed(world.clock, off)  # type: ignore[assignment]

    async def main() -> tuple[list[bytes], list[object]]:
        seen: list[object] = []
        async with (
            world.restarter(name="skewed") as restarter,
            open_store(world.database, inline=True, clock=truth) as store,
        ):
            rollout = await restarter.rollout(world.ids, SLOW, run_id="k").start()
            here, there = History(restarter.store, clock=world.clock), History(store, clock=truth)
            for _ in range(40):
                await asyncio.sleep(20.0)
                told = [(await each.explain("k")).to_json() for each in (here, there)]
                assert told[0] == told[1]
                seen += [told[0], (await here.progress("k")).as_dict()]
                if rollout.state.wave_over and "hold" in str(told[0]):
                    await here.steer("k").promote(by="ann")
                    assert await here.steer("k").promote(by="ann") == ()  # the same asked twice is one request
            result = await rollout
            seen += [
                result.status,
                (await store.run("k")).holder.since - world.now(),
                await store.prune(60.0, dry=True),
                await restarter.store.prune(60.0, dry=True),
            ]
            return await store.lines("k"), seen

    return world.live(main)


@pytest.mark.parametrize("off", [OFF, -OFF])
def test_soaks_holds_deadlines_and_what_is_told_are_the_same(off: float) -> None:
    assert played(off) == played(0.0)
