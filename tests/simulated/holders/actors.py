"""The processes: one begins a run, others take what nobody has, somebody resumes a run by hand."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, Self

from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.errors import EcsbatchError, EngineStopped, StoreError
from ecsbatch.model.run import Changes, Result
from ecsbatch.model.servers import Server
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.standby import Standby, StandbyNews
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.store.heart import TaskHeart
from ecsbatch.store.lease_keeper import Beat, Renewed
from ecsbatch.store.leases import LeaseLocks
from ecsbatch.store.store import DatabaseStore
from tests.simulated.freezing import PROCESS
from tests.simulated.record import End, Record
from tests.simulated.world import RunSpec

from .lines import PATIENCE, Flights, Remote, Wire, true_time
from .machines import MachineClock
from .scene import Scene
from .shared import SharedDatabase, away

AGAIN: Final = 1.0
"""Seconds after which a process tries again what the store or a conflict has kept it from."""


class RemoteStore(DatabaseStore):
    """A store on the other end of a line, by which its leases are renewed on another one."""

    def __init__(
        self,
        database: SharedDatabase,
        clock: MachineClock,
        process: int,
        ways: tuple[Wire, Wire],
        flights: Flights,
        note: Callable[[str], None],
    ) -> None:
        super().__init__(database, clock, 0.0, inline=True)
        self._shared = database
        self._process = process
        self._way, self._beside = ways
        self._flights = flights
        self._note = note

    async def __aenter__(self) -> Self:
        """Open the database at once: its way is long from then on."""
        self._writes()
        await super().__aenter__()
        handle = self._handle
        self._shared.nonces[handle.parts()[1]._nonce] = self._process
        handle.worker = Remote(handle.worker_now(), self._way, self._writes, self._flights)
        handle.heart = TaskHeart(self._beat, lambda: self._leases.keeper.idle)
        # A lease is taken where its database is, as it were; what renews it belongs to this process.
        context = contextvars.copy_context()
        self._leases.on_lease = lambda: context.copy().run(self._begin_heart)
        return self

    @property
    def _leases(self) -> LeaseLocks:
        leases = self._handle.leases
        assert leases is not None
        return leases

    def _writes(self, refused: bool = False) -> None:  # noqa: FBT001, FBT002 - of a request
        self._shared.writer = self._process
        self._shared.refusing = refused
        self._shared.begun = False
        if refused:
            self._note("requests that were refused")

    def _begin_heart(self) -> None:
        if self._handle.heart is not None and self._handle.state == "open":
            self._handle.heart.begin()

    async def _beat(self) -> None:
        """Renew all leases by the other line; without an answer in time it has failed."""
        keeper = self._leases.keeper
        beat = keeper.begin()
        try:
            found = await self._renewed(beat)
        except StoreError:
            self._note("renewals that failed")
            keeper.failed(beat)
            return
        stray = keeper.renewed(beat, found)
        if stray:
            self._writes()
            self._shared.write(lambda: self._leases._delete(stray))

    async def _renewed(self, beat: Beat) -> Renewed:
        loop = asyncio.get_running_loop()
        trip = self._beside.renewal(now := true_time(loop))
        if trip is None:
            return self._renew(beat)
        if trip.refused or trip.arrives > now + PATIENCE:
            await asyncio.sleep(min(trip.answers - now, PATIENCE))
            raise away()
        # It is on its way, and is carried out even where this process stands still.
        found: list[Renewed] = []
        self._flights.start(trip.arrives, lambda: found.append(self._renew(beat)))
        await asyncio.sleep(min(trip.answers - now, PATIENCE))
        if not found or trip.answers > now + PATIENCE:
            raise away()
        return found[0]

    def _renew(self, beat: Beat) -> Renewed:
        self._writes()
        return self._leases.renew(beat, self._shared)


def _server(server: str, zone: str) -> Server:
    return Server(server, zone)


class Actor:
    """One process on one machine: it may stand still, and be killed.

    Attributes:
        dead: it was killed.
        closing: it is to end, since all runs are over.
    """

    def __init__(
        self, record: Record, scene: Scene, clock: MachineClock, number: int, machine: int, flights: Flights
    ) -> None:
        self.number = number
        self.dead = False
        self.closing = False
        self.main: asyncio.Task[None] | None = None
        self._record = record
        self._scene = scene
        self._clock = clock
        self._senders = {site: SimulatedSender(cloud) for site, cloud in record.clouds.items()}
        database = record.database
        assert isinstance(database, SharedDatabase)
        chance = Random(f"line-{scene.world.seed}-{number}")
        ways = Wire(scene, machine, chance), Wire(scene, machine, chance)
        self._store = RemoteStore(database, clock, number, ways, flights, record.note)

    def sever(self) -> None:
        """Die: nothing leaves any more, and what is renewed no more runs out."""
        self.dead = True
        for sender in self._senders.values():
            sender.sever()
        self._store.sever()

    @property
    def over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.dead or self.main is None or self.main.done()

    def start(self, does: Callable[[Restarter], Awaitable[None]]) -> None:
        """Begin to live."""

        async def live() -> None:
            PROCESS.set(self.number)
            try:
                await self._live(does)
            except Exception as e:  # noqa: BLE001 - whatever it is, no process ends so
                if not (self.dead or self.closing):
                    self._record.complaints.append(f"process {self.number} ended by {e!r}")

        self.main = asyncio.get_running_loop().create_task(live(), name=f"process-{self.number}")

    async def _live(self, does: Callable[[Restarter], Awaitable[None]]) -> None:
        world = self._scene.world
        async with contextlib.AsyncExitStack() as opened:
            clients = {site: await opened.enter_async_context(self._client(site)) for site in self._senders}
            await opened.enter_async_context(self._store)
            restarter = Restarter(
                clients,
                self._store,
                engine=world.engine,
                clock=self._clock,
                seed=world.seed * 1000 + self.number,
                name=f"process-{self.number}",
            )
            async with restarter:
                await does(restarter)

    def _client(self, site: str) -> EcsClient:
        world, cloud = self._scene.world, self._record.clouds[site].config
        return EcsClient(
            auth=KeyAuth(cloud.access_key, cloud.secret_key),
            project_id=cloud.project_id,
            endpoint="https://ecs.example.com",
            sender=self._senders[site],
            clock=self._clock,
            request_timeout=world.request_timeout,
            api_rate=world.api_rate,
        )

    # -- what they do ----------------------------------------------------------------------------------------------

    async def begin(self, restarter: Restarter, spec: RunSpec) -> None:
        """Begin a run, or go on with it where it exists and nobody has it, and see it through."""
        await asyncio.sleep(spec.start)
        servers = list(spec.servers)
        while True:
            rollout = restarter.rollout(
                [_server(*each) for each in servers], self._scene.world.strategy, run_id=spec.run_id
            )
            try:
                how: Result | BaseException = await rollout.run()
            except (EcsbatchError, asyncio.CancelledError) as error:
                how = error
            self._ended(spec.run_id, how)
            if self.dead or not isinstance(how, StoreError) or isinstance(how, EngineStopped):
                return
            await asyncio.sleep(AGAIN)

    async def stand_by(self, restarter: Restarter) -> None:
        """Take what nobody has, as it comes."""
        await Standby(restarter.standby_worker(), on_news=self._heard).run()

    def _heard(self, news: StandbyNews) -> None:
        self._record.note(f"standby: {news.word}")
        # Who looks at a run may find the store away, or see that a failover has forgotten the run.
        gone = any(told in news.message for told in ("There is no run", "has forgotten more of run"))
        excused = str(away()) in f"{news.message}." or (bool(self._scene.failovers) and gone)
        if news.word == "left_alone" and not (self.dead or self.closing or excused):
            self._record.complaints.append(f"standby: {news.message}")

    async def resume(self, restarter: Restarter, run_id: str) -> None:
        """Resume a run by hand."""
        try:
            rollout = await restarter.resume(run_id, changes=Changes(by="somebody"))
            how: Result | BaseException = await rollout.run()
        except (EcsbatchError, asyncio.CancelledError) as error:
            how = error
        self._ended(run_id, how)

    def _ended(self, run_id: str, how: Result | BaseException) -> None:
        if not (self.dead or self.closing):
            self._record.note(f"end: {type(how).__name__}")
            self._record.ends.append(
                End(self.number, run_id, how, doomed=False, at=true_time(asyncio.get_running_loop()))
            )
