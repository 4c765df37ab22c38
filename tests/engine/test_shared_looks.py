"""Servers that wait for a look worker share its next look, whenever each of them fell due."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from world import World, Wrapper

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.errors import UnknownAnswer
from ecsbatch.model.quota import Quota
from ecsbatch.model.servers import Look

HANGS_AT, HANGS_FOR = 8.0, 30.0


class Hanging(Wrapper):
    """A cloud that starts restarts without saying so, and one of whose looks hangs.

    Attributes:
        looks: how many servers each look named that came when the one that hung was over.
    """

    def __init__(self, inner: object) -> None:
        super().__init__(inner)
        self.looks: list[int] = []
        self._sent: set[str] = set()
        self._hung = False

    async def submit(self, type_: str, ids: Sequence[str], *more: object) -> str:
        """Send, and hear nothing."""
        self._sent.update(ids)
        await self.inner.submit(type_, ids, *more)
        raise UnknownAnswer("no answer", status=502, answered=True)

    async def look(self, ids: Sequence[str]) -> Look:
        """Look; the first look at HANGS_AT that no request waits for hangs."""
        now = asyncio.get_running_loop().time()
        if now >= HANGS_AT + HANGS_FOR:
            self.looks.append(len(ids))
        elif now >= HANGS_AT and not self._hung and self._sent.issuperset(ids):
            self._hung = True
            await asyncio.sleep(HANGS_FOR)
        look: Look = await self.inner.look(ids)
        return look


def test_what_fell_due_behind_a_look_that_hangs_is_looked_at_together() -> None:
    world = World(servers=20, zones=("az1",), restart_median=1.0, restart_sigma=0.0)
    engine = Engine(quota=Quota(1, 1.0), linger=0.0, look_workers=1)
    all_at_once = Strategy(waves="100%", max_unavailable="100%", batch_size=1, order="input")

    async def main() -> list[int]:
        async with world.client() as client, world.store() as store:
            cloud = Hanging(client)
            async with world.engine(cloud, store, engine) as restarter:
                rollout = restarter.rollout(world.ids, all_at_once, run_id="r")
                await rollout.run()
                assert rollout.state.counts["restarted"] == len(world.ids)  # type: ignore[index]
            return cloud.looks

    looks = world.live(main)

    # They were sent one a second, so that each fell due at an instant of its own.
    assert looks[0] >= len(world.ids) - HANGS_AT
    assert len(looks) <= 3
