"""A run of one process, and a `History` beside it that another process would have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.model.run import Result
from ecsbatch.rollout.history import History
from ecsbatch.rollout.rollout import Rollout

RUN = "nightly"
TWO_WAVES = Strategy(waves="10,100%", max_unavailable=20, max_failures="50%", hold_after="1")


class CountingStore:
    """Counts what is asked of a store."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        """Note the question, and hand it on."""
        self.asked.append(name)
        return getattr(self.inner, name)


class Elsewhere(NamedTuple):
    """What a test has of both processes.

    Attributes:
        rollout: as its own process has it.
        running: the task that runs it.
        history: the other process's.
        store: the other process's.
    """

    rollout: Rollout
    running: asyncio.Task[Result]
    history: History
    store: CountingStore


@asynccontextmanager
async def elsewhere(world: World, strategy: Strategy = TWO_WAVES, run_id: str = RUN) -> AsyncGenerator[Elsewhere]:
    """Run a rollout in one process for as long as the block lasts, with another beside it."""
    async with world.restarter() as restarter, world.store() as store:
        rollout = restarter.rollout(world.ids, strategy, run_id=run_id)
        running = asyncio.create_task(rollout.run())
        counting = CountingStore(store)
        await anext(rollout.events())
        try:
            yield Elsewhere(rollout, running, History(counting, clock=world.clock), counting)  # type: ignore[arg-type]
        finally:
            rollout.stop()
            await asyncio.wait([running])


async def until_held(rollout: Rollout) -> None:
    """Wait until a rollout stands at its hold."""
    async for recorded in rollout.events():
        if recorded.event.name == "gate.checked":
            return
