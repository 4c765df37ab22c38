"""A whole world in virtual time, for the tests of whoever embeds ecsbatch: a simulated cloud, a store, an engine.

It needs no test framework::

    with World(servers=50, seed=7, faults=Faults(reject_503=0.1)) as world:

        async def main() -> Result:
            async with world.restarter() as restarter:
                return await restarter.rollout(world.ids).run()

        result = world.run(main)
        assert world.cloud.restarts(world.ids[0]) == 1

A rollout of hours runs in seconds, the same seed gives the same run, and no socket is opened. `World.run` may be called
again and again: time goes on, cloud and store remember, and what a process had in memory is gone, as after a restart of
it.

A service that makes its own parts gets a client, a store and the clock of the world::

    async with world.client() as ecs, world.store() as store, Restarter(ecs, store, clock=world.clock) as restarter:
        ...

A second process that only reads and steers is a ``History(store, clock=world.clock)``. An engine that idles looks for
commands some times a second, so that a virtual day costs seconds.

With pytest, ``async def`` tests that ask for the fixture ``ecs_world``, a `World`, or ``ecs_restarter``, a started
`Restarter` in it, run in virtual time by themselves; a marker gives the arguments of the world::

    @pytest.mark.ecs_world(servers=50, seed=7)
    async def test_who_is_not_back_is_named(ecs_world: World, ecs_restarter: Restarter) -> None:
        ecs_world.cloud.doom(ecs_world.ids[30], "error")  # its next restart leaves it in ERROR
        result = await ecs_restarter.rollout(ecs_world.ids, Strategy(max_failures="20%")).run()
        assert result.counts[OutcomeKind.FAILED] == 1
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from ecsbatch.config.settings import Engine
from ecsbatch.ecs.auth.schemes import Auth, KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Sender
from ecsbatch.restarter import Restarter
from ecsbatch.simulator.cloud import SimulatedCloud
from ecsbatch.simulator.config import CloudConfig, Faults
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.simulator.virtual_time import Hang, Killed, VirtualClock, VirtualLoop, abandon, run
from ecsbatch.store import DatabaseStore, MemoryDatabase, open_store

__all__ = ["CloudConfig", "Faults", "Hang", "Killed", "World"]

T = TypeVar("T")

ENDPOINT = "https://ecs.example.com"
"""Where the simulated cloud seems to be."""

_PLAIN: dict[str, Any] = {"servers": 100, "seed": 1}

MONTH = 30 * 86_400.0


class World:
    """One simulated cloud and one store in memory, over any number of lives of a process.

    A process that dies half way, and the one that goes on::

        async def first() -> None:
            async with world.restarter() as restarter:
                await restarter.rollout(world.ids, run_id="night").run()

        async def second() -> list[Result]:
            async with world.restarter() as restarter:
                return [await rollout for rollout in await restarter.resume_orphans()]

        try:
            world.run(first, kill_after=300)
        except Killed:
            print(world.run(second))

    Attributes:
        config: the cloud's configuration.
        cloud: tells what really happened (`SimulatedCloud.restarts`, `SimulatedCloud.truth`, `SimulatedCloud.audit`),
            and can be tampered with.
        ids: of all servers.
        clock: the clock of this world's engines.
        database: behind the store.
        steps: rounds of the event loop in the last life.
    """

    def __init__(
        self,
        servers: int | None = None,
        *,
        seed: int | None = None,
        faults: Faults | None = None,
        config: CloudConfig | None = None,
        longest: float = MONTH,
        **cloud: Any,
    ) -> None:
        """Build a world in which nothing has happened.

        Args:
            servers: how many there are; None: 100.
            seed: of all that is random in the cloud and in the engines; None: 1.
            faults: how often submits and looks go wrong, and how; None: never.
            config: the whole configuration of the cloud, instead of the above and of ``cloud``.
            longest: virtual seconds that a life may take; one that takes longer is a `Hang`.
            cloud: other fields of `CloudConfig`, such as ``zones`` or ``restart_median``.

        Raises:
            TypeError: ``config`` stands beside what it is given instead of.
        """
        if faults is not None:
            cloud = {"submit_faults": faults, "look_faults": faults, **cloud}
        cloud |= {name: value for name, value in (("servers", servers), ("seed", seed)) if value is not None}
        if config is not None and cloud:
            raise TypeError(f"World(config=…) says all of the cloud: give {', '.join(sorted(cloud))} in it.")
        self.config = config or CloudConfig(**_PLAIN | cloud)
        self.steps = 0
        self._longest = longest
        self._loop: VirtualLoop | None = None
        self._start = 0.0
        self.clock = VirtualClock(self.now)
        self.cloud = SimulatedCloud(self.config, self.now)
        self.database = MemoryDatabase()
        self.ids = self.cloud.ids()
        self._engines = 0
        self._mortal: list[SimulatedSender | DatabaseStore] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store's database and forget what is in it."""
        self.database.close()

    def now(self) -> float:
        """Return the virtual seconds that all lives so far have taken."""
        return self._start if self._loop is None else self._loop.time()

    def run(self, main: Callable[[], Awaitable[T]], *, kill_after: int | None = None) -> T:
        """Run a life of a process to its end, and return what ``main`` returns.

        Args:
            main: what the process does; it makes its parts by `restarter`, or by `client`, `store` and `clock`.
            kill_after: rounds of the loop after which the process is killed.

        Raises:
            Killed: the process died at that round.
            Hang: the life took longer than ``longest``, or waits for something that will never happen.
            RuntimeError: it is called inside a running event loop.
        """
        if _in_a_loop():
            raise RuntimeError("World.run has an event loop of its own: call it from code that runs in none.")

        async def life() -> T:
            return await main()

        loop = self._loop = VirtualLoop(start=self._start, max_time=self._start + self._longest)
        if kill_after is not None:
            loop.kill_after(kill_after)
        try:
            return run(life(), loop=loop)
        except Killed:
            for part in self._mortal:
                part.sever()
            abandon(loop)
            raise
        except Hang as hang:
            if loop.time() > self._start + self._longest:
                hang.add_note(f"A life may take {self._longest:,.0f} virtual seconds: World(longest=...) allows more.")
            raise
        finally:
            self._mortal.clear()
            self.steps = loop.steps
            self._start, self._loop = loop.time() + 1, None

    # -- the parts -------------------------------------------------------------------------------------------------

    def client(
        self, *, kind: type[EcsClient] = EcsClient, auth: Auth | None = None, sender: Sender | None = None, **more: Any
    ) -> EcsClient:
        """Make a client of the cloud, for ``async with``; `restarter` makes one by itself.

        Args:
            kind: the client's class.
            auth: how it signs; None: with a key that the cloud knows.
            sender: carries its requests; None: to the cloud.
            more: other arguments of `EcsClient`.
        """
        if sender is None:
            sender = SimulatedSender(self.cloud)
            self._mortal.append(sender)
        return kind(
            auth=auth or KeyAuth(self.config.access_key, self.config.secret_key),
            project_id=self.config.project_id,
            endpoint=ENDPOINT,
            sender=sender,
            clock=self.clock,
            **more,
        )

    @asynccontextmanager
    async def store(self) -> AsyncGenerator[DatabaseStore]:
        """Open the world's store, for ``async with``."""
        async with open_store(self.database, inline=True, clock=self.clock) as store:
            self._mortal.append(store)
            yield store

    @asynccontextmanager
    async def restarter(
        self, engine: Engine | None = None, *, seed: int | None = None, name: str = ""
    ) -> AsyncGenerator[Restarter]:
        """Start an engine with a client and the world's store, for ``async with``, inside `run`.

        Args:
            engine: its settings; None: the defaults.
            seed: of all that is random in it; None: by the world's own, for each engine another.
            name: names its process in runs; "": ``user@host``.
        """
        if seed is None:
            seed = self.config.seed + self._engines
        self._engines += 1
        async with (
            self.client() as client,
            self.store() as store,
            Restarter(client, store, engine=engine, clock=self.clock, seed=seed, name=name) as restarter,
        ):
            yield restarter


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
