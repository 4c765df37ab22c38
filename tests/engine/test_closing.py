"""A Restarter closes in time whatever hangs: the cloud, the store, a check, a gate, and whoever watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from world import World, Wrapper

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.errors import EcsbatchError, StoreError
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.servers import Server
from ecsbatch.restarter import Restarter

WITHIN = 6.0
"""Seconds that closing may take with ``timeout=1``: its parts have a moment each."""


class Hanging:
    """Something that hangs until the test is over, whatever is done to it."""

    def __init__(self) -> None:
        self.over = False

    async def __call__(self, *_: object) -> bool:
        """Hang, and swallow cancellations."""
        while not self.over:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                continue
        return False


class DeadCloud(Wrapper):
    """A cloud that answers nothing once it is dead."""

    dead = False

    async def _asked(self, name: str, *given: Any, **more: Any) -> Any:
        while self.dead:  # noqa: ASYNC110 - it hangs
            await asyncio.sleep(3600)
        return await getattr(self.inner, name)(*given, **more)

    async def submit(self, *given: Any, **more: Any) -> Any:
        """Send, or hang."""
        return await self._asked("submit", *given, **more)

    async def look(self, *given: Any, **more: Any) -> Any:
        """Look, or hang."""
        return await self._asked("look", *given, **more)

    async def show_job(self, *given: Any, **more: Any) -> Any:
        """Show a job, or hang."""
        return await self._asked("show_job", *given, **more)


class BusyStore(Wrapper):
    """A store that another process keeps from the moment on at which it is busy; in the end it says so.

    Attributes:
        busy: it is.
        asked: the answers that it owes.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.busy = False
        self.asked: list[asyncio.Future[Any]] = []

    def __getattr__(self, name: str) -> Any:
        """Hand on, or hang."""
        found = getattr(self.inner, name)
        return self._owe if self.busy and callable(found) and name != "age" else found

    def _owe(self, *_: object, **__: object) -> asyncio.Future[Any]:
        self.asked.append(asyncio.get_running_loop().create_future())
        return self.asked[-1]

    def give_up(self) -> None:
        """Say that nothing was written."""
        self.busy = False
        for answer in self.asked:
            if not answer.done():
                answer.set_exception(StoreError("Another process has kept the store."))
                answer.exception()


async def closed_in(restarter: Restarter) -> float:
    """Close it with a second's patience; return how long that took."""
    began = asyncio.get_running_loop().time()
    await restarter.aclose(timeout=1.0)
    return asyncio.get_running_loop().time() - began


async def watched(restarter: Restarter) -> None:
    """Watch, and stand still at the first event."""
    async for _ in restarter.events():
        await asyncio.sleep(3600)


HANGS: dict[str, Callable[[DeadCloud, BusyStore], None]] = {
    "nothing": lambda _, __: None,
    "cloud": lambda cloud, _: setattr(cloud, "dead", True),
    "store": lambda _, store: setattr(store, "busy", True),
    "all": lambda cloud, store: (setattr(cloud, "dead", True), setattr(store, "busy", True))[0],
}


@pytest.mark.parametrize("after", [0.0, 0.6, 1.0, 6.0, 45.0])
@pytest.mark.parametrize("what", HANGS)
def test_closing_has_an_end_whatever_hangs_and_the_run_can_be_resumed(what: str, after: float) -> None:
    world = World(servers=40)
    hanging = Hanging()

    async def check(_: Server) -> bool:
        return await hanging()

    async def gate(_: object) -> str:
        await hanging()
        return "go"

    async def main() -> tuple[float, set[str]]:
        async with world.client() as client, world.store() as store:
            cloud, busy = DeadCloud(client), BusyStore(store)
            restarter = await world.engine(cloud, busy, Engine(check_timeout=600.0)).__aenter__()
            watcher = asyncio.create_task(watched(restarter))
            strategy = Strategy(max_unavailable="100%", waves=["1", "100%"])
            checked = asyncio.create_task(
                restarter.rollout(world.ids[:10], strategy, check=check, run_id="checked").run()
            )
            gated = asyncio.create_task(restarter.rollout(world.ids[10:20], strategy, gate=gate, run_id="gated").run())
            single = [asyncio.create_task(restarter.restart(server)) for server in world.ids[20:]]
            await asyncio.sleep(after)
            HANGS[what](cloud, busy)
            await asyncio.sleep(3 if after else 0)
            took = await closed_in(restarter)
            hanging.over, cloud.dead = True, False
            busy.give_up()
            told = await asyncio.wait_for(asyncio.gather(checked, gated, *single, return_exceptions=True), 30)
            watcher.cancel()
            return took, {type(each).__name__ for each in told}

    async def later() -> list[RunStatus]:
        async with world.restarter() as restarter:
            known = {run.run_id for run in await restarter.store.runs(10)}
            ended: list[RunStatus] = []
            for run_id in {"checked", "gated"} & known:
                rollout = await restarter.resume(run_id, check=healthy, gate=go)
                ended.append((await rollout.run()).status)
            return ended

    async def healthy(_: Server) -> bool:
        return True

    async def go(_: object) -> str:
        return "go"

    took, told = world.live(main)
    assert took <= WITHIN
    assert told <= {"Result", "Outcome", "EngineStopped", "StoreError", "RunConflict"}
    assert set(world.live(later)) <= {RunStatus.SUCCEEDED}
    assert all(world.cloud.restarts(id_) <= 1 for id_ in world.ids)


def test_who_closes_a_second_time_waits_no_longer_than_the_first() -> None:
    world = World(servers=5)

    async def main() -> list[float]:
        async with world.client() as client, world.store() as store:
            busy = BusyStore(store)
            restarter = await world.engine(client, busy).__aenter__()
            waiting = restarter.submit(world.ids[0])
            await asyncio.sleep(10)
            busy.busy = True
            took = await asyncio.gather(closed_in(restarter), closed_in(restarter))
            with pytest.raises(EcsbatchError):
                await waiting
            busy.give_up()
            return list(took)

    assert max(world.live(main)) <= WITHIN
