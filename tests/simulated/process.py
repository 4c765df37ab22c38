"""One process of a simulated machine: its clock, its store and clients, and everybody who speaks to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Final

import orjson

from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.engine.server_queue import Check
from ecsbatch.errors import CloudError, ConfigError, EcsbatchError, SelectionError
from ecsbatch.model.conflicts import RunHeld
from ecsbatch.model.outcome import Outcome, RunStatus
from ecsbatch.model.run import Changes, Result
from ecsbatch.model.servers import Server
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.gates import Gate
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.simulator.virtual_time import EPOCH, VirtualLoop
from ecsbatch.store.store import DatabaseStore

from .foreign_code import ForeignCode
from .freezing import PROCESS
from .late_store import LateStore
from .record import Claimed, End, Record, Told
from .world import Ask, Asking, Doom, Life, RunSpec, World

OPERATOR_EVERY: Final = 20.0
"""Seconds between two looks of the operator, who resumes what nobody else will."""

BEGINS: Final = 60
BEGIN_EVERY: Final = 10.0
"""How often a service begins a rollout again of which it could not be seen who is meant, and seconds between."""

BROKEN_OFF: Final = frozenset({"closed", "cancelled", "handed_over"})
"""Why runs have stopped that go on once somebody looks for orphans."""

PATIENCE: Final = 3
"""Looks at a paused run before the operator resumes it, and resumes before its limits are lifted."""


class WorldClock:
    """The readings of a machine's clock: its wall jumps, its monotonic one begins anew with each boot."""

    def __init__(self, loop: VirtualLoop, boot: int, booted_at: float) -> None:
        self.wall_offset = 0.0
        self._loop = loop
        self._boot = boot
        self._booted_at = booted_at

    def wall(self) -> float:
        """Return seconds since 1970."""
        return EPOCH + self._loop.time() + self.wall_offset

    def monotonic(self) -> float:
        """Return seconds since the boot."""
        return self._loop.time() - self._booted_at

    def boottime(self) -> float:
        """Return the same: no machine is suspended."""
        return self.monotonic()

    def boot_id(self) -> str:
        """Return the boot's name."""
        return f"boot-{self._boot}"


@dataclass
class Machine:
    """What outlives a life: the cloud, the disk, the time.

    Attributes:
        hung: a life did not end, which is verdict enough: no other follows.
    """

    record: Record
    foreign: ForeignCode
    now: float = 0.0
    boot: int = 1
    booted_at: float = 0.0
    wall_offset: float = 0.0
    life: int = 0
    hung: bool = False


class Process:
    """One process of one life, with a store, a client and a Restarter of its own."""

    def __init__(self, machine: Machine, number: int, life: Life, clock: WorldClock) -> None:
        self.number = number
        self.rollouts: list[Rollout] = []
        self.dead = False
        self.main: asyncio.Task[None] | None = None
        self.restarter: Restarter | None = None
        self._taken: dict[str, Rollout] = {}
        self._machine = machine
        self._life = life
        self._clock = clock
        self._record = machine.record
        self._world = machine.record.world
        self._senders = {site: SimulatedSender(cloud) for site, cloud in machine.record.clouds.items()}
        self._store = self._new_store()
        self._closing = False

    def _new_store(self) -> DatabaseStore:
        latest, unreadable = self._world.troubles.latest, self._life.unreadable
        return LateStore(
            self._record.database,
            self._clock,
            latest=latest[self.number] if latest else 0.0,
            unreadable=unreadable,
            chance=Random(f"store-{self._world.seed}-{self._machine.life}-{self.number}"),
            note=self._record.note,
        )

    def sever(self) -> None:
        """Die: nothing leaves and nothing is written any more."""
        self.dead = True
        for sender in self._senders.values():
            sender.sever()
        self._store.sever()

    async def live(self, runs: list[RunSpec]) -> None:
        """Open everything, drive the runs to their ends, close everything."""
        PROCESS.set(self.number)
        world, number = self._world, self.number
        async with contextlib.AsyncExitStack() as opened:
            clients = {site: await opened.enter_async_context(self._client(site)) for site in self._senders}
            await opened.enter_async_context(self._store)
            restarter = Restarter(
                clients,
                self._store,
                engine=world.engine,
                clock=self._clock,
                seed=world.seed * 1000 + self._machine.life * 10 + number,
                name=f"life-{self._machine.life}-{number}",
            )
            self.restarter = restarter
            async with restarter:
                await self._work(restarter, runs)

    def _client(self, site: str) -> EcsClient:
        world, cloud = self._world, self._record.clouds[site].config
        return EcsClient(
            auth=KeyAuth(cloud.access_key, cloud.secret_key),
            project_id=cloud.project_id,
            endpoint="https://ecs.example.com",
            sender=self._senders[site],
            clock=self._clock,
            request_timeout=world.request_timeout,
            api_rate=world.api_rate,
        )

    async def _work(self, restarter: Restarter, runs: list[RunSpec]) -> None:
        beside = [asyncio.create_task(self._operate(), name="operator")]
        asked = [asyncio.create_task(self._ask(restarter, ask), name="caller") for ask in self._asks()]
        beside += [asyncio.create_task(self._order(order), name="order") for order in self._orders(runs)]
        doom = self._life.doom
        if doom.kind in {"stop", "cancel", "close"} and doom.process == self.number:
            beside.append(asyncio.create_task(self._end_early(restarter, doom), name="doom"))
        try:
            await self._take_orphans(restarter)
            mine = [*runs, *(spec for spec in self._world.runs if spec.run_id in self._taken and spec not in runs)]
            driving = [asyncio.create_task(self._drive(restarter, spec), name=spec.run_id) for spec in mine]
            self._driving = driving
            await asyncio.gather(*driving, return_exceptions=True)
            await asyncio.gather(*asked)
            self._note_claims()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    def _note_claims(self) -> None:
        """Note which servers direct runs have; those of a living process are not yet freed with its end."""
        record, database = self._record, self._record.database
        if self.dead or not database.stamps:
            return
        query = "SELECT server_id, claims.run_id FROM claims JOIN runs USING (run_id) WHERE kind = 'direct'"
        tick, now = next(database._ticks), asyncio.get_running_loop().time()
        rows = database.connection.execute(query).fetchall()
        record.claimed += [Claimed(tick, now, run_id, server) for server, run_id in rows]

    def _asks(self) -> list[Ask]:
        return [ask for ask in self._life.asks if ask.process == self.number]

    def _orders(self, runs: list[RunSpec]) -> list[Asking]:
        mine = {spec.run_id for spec in runs}
        return [order for order in self._life.orders if order.run_id in mine]

    @property
    def over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.dead or self.main is None or self.main.done()

    # -- runs ------------------------------------------------------------------------------------------------------

    async def _drive(self, restarter: Restarter, spec: RunSpec) -> None:
        await asyncio.sleep(spec.start if self._machine.life == 0 else 0.0)
        try:
            rollout = self._taken.get(spec.run_id) or await self._rollout(restarter, spec)
            self.rollouts.append(rollout)
            how: Result | BaseException = await self._see_through(rollout)
        except (EcsbatchError, asyncio.CancelledError) as error:
            how = error
        elsewhere = self._world.as_service and (isinstance(how, RunHeld) or self._gave_up_before(how, spec.run_id))
        if not (self.dead or elsewhere):
            now = asyncio.get_running_loop().time()
            self._record.ends.append(End(self._machine.life, spec.run_id, how, self._closing, now))

    def _gave_up_before(self, how: Result | BaseException, run_id: str) -> bool:
        """Tell whether somebody was cancelled before this process had a run: another one may have it."""
        drafted = (each for each in self.rollouts if each.run_id == run_id and each._parts is not None)
        return isinstance(how, asyncio.CancelledError) and not any(each._session.begun for each in drafted)

    async def _take_orphans(self, restarter: Restarter) -> None:
        """Go on with what nobody has, as a service does that starts; where a resume asks for more, leave it to that."""
        life = self._life
        asks = life.retry or life.forgive or life.limits or life.skip_domains or life.by_same_id
        if self._world.as_service and self._machine.life and not asks:
            before = await self._orphans()
            try:
                taken = await restarter.resume_orphans(check=self._given_check, gate=self._given_gate)
            except (EcsbatchError, ExceptionGroup) as error:
                self._record.note(f"orphans: {error!r}")
                taken = list(restarter.rollouts)
            else:
                left = before & await self._orphans()
                self._record.complaints += [f"orphans: nobody has gone on with {run_id}" for run_id, *_ in left]
            self._taken = {rollout.run_id: rollout for rollout in taken}
            self._record.tally["orphans taken"] += len(taken)

    async def _orphans(self) -> set[tuple[str, int, int]]:
        """Return the runs that were broken off with their process and that nobody has, each with its last event.

        And with how many have had it: another process may have taken one and died, before it wrote an event.
        """
        found, runs = set[tuple[str, int, int]](), await self._store.open_rollouts()
        rows = self._record.database.journal() if runs else []  # before the first run the file has no tables
        for run in runs:
            events = [orjson.loads(line) for row in rows if row.run_id == run.run_id for line in row.lines]
            ends = [event.get("reason") for event in events if event["event"] in {"run.stopped", "run.finished"}]
            broken_off = run.status == "interrupted" and ends and ends[-1] in BROKEN_OFF
            if not run.held and (broken_off or run.status == "orphaned"):
                found.add((run.run_id, run.seq, run.fence))
        return found

    async def _see_through(self, rollout: Rollout) -> Result:
        if not self._world.as_service:
            return await rollout.run()
        if rollout.run_id not in self._taken:
            await self._start(rollout)
        try:
            return await rollout
        except asyncio.CancelledError:
            if self.dead:
                raise  # nobody of a process that was killed waits for anything
            return await rollout  # the waiting alone has ended: somebody else waits

    async def _start(self, rollout: Rollout) -> None:
        """Begin it, once more where it could not be seen who is meant."""
        for _ in range(BEGINS):
            try:
                await rollout.start()
            except (CloudError, SelectionError):
                self._record.tally["begins again"] += 1
                await asyncio.sleep(BEGIN_EVERY)
            else:
                return
        await rollout.start()

    @property
    def _given_check(self) -> Check | None:
        return self._check if self._world.check_delay is not None else None

    @property
    def _given_gate(self) -> Gate | None:
        return self._machine.foreign.gate if self._world.troubles.gates is not None else None

    async def _rollout(self, restarter: Restarter, spec: RunSpec) -> Rollout:
        """Begin the run, or go on with it: by resuming it, or by asking for the same servers under its id."""
        check, gate = self._given_check, self._given_gate
        fresh = self._machine.life == 0 or self._life.by_same_id
        if not fresh:
            life = self._life
            # A domain that is none of the run's would be refused.
            left_out = tuple(set(life.skip_domains) & {zone for _, zone in spec.servers})
            changes = Changes(life.retry, life.forgive, left_out, life.limits, by="resumer")
            try:
                resumed = await restarter.resume(spec.run_id, check=check, gate=gate, changes=changes)
            except ConfigError:
                pass  # the process was killed before the run was on disk
            else:
                self._record.tally["resumes"] += 1
                return resumed
        servers = [self._target(server, zone) for server, zone in spec.servers]
        if self._machine.life:
            self._record.tally["resumes by the same id"] += 1
        return restarter.rollout(servers, self._world.strategy, check=check, gate=gate, run_id=spec.run_id)

    def _target(self, server: str, zone: str = "") -> Server:
        """Return a server as it is asked for: by its id, or by its name where it has one."""
        site = self._record.site_of(server)
        fleet = self._record.clouds[site].fleet
        if not self._world.named or server not in fleet.numbers:
            return Server(server, zone, site=site)
        self._record.tally["servers given by name"] += 1
        return Server("", zone, fleet.name(fleet.numbers[server]), site)

    async def _check(self, server: Server) -> bool:
        await asyncio.sleep(self._world.check_delay or 0.0)
        healthy = self._record.clouds[self._record.site_of(server.id)].healthy(server.id)
        answer: bool = await self._machine.foreign.check(healthy)
        return answer

    # -- what goes on beside them ----------------------------------------------------------------------------------

    async def _ask(self, restarter: Restarter, ask: Ask) -> None:
        await asyncio.sleep(ask.at)
        loop = asyncio.get_running_loop()
        asked = loop.time()
        how: Outcome | BaseException
        try:
            async with asyncio.timeout(ask.patience):
                how = await self._restart(restarter, ask.server)
        except TimeoutError as error:
            how = error
        except (EcsbatchError, asyncio.CancelledError) as error:
            how = error
        if not self.dead:
            cancelled = isinstance(how, TimeoutError)
            told = Told(self._machine.life, ask, asked, loop.time(), how, self._closing, cancelled)
            self._record.told.append(told)

    async def _restart(self, restarter: Restarter, server: str) -> Outcome:
        """Restart it by its name; by its id where the cloud does not show who is called so."""
        with contextlib.suppress(CloudError, SelectionError):
            return await restarter.restart(self._target(server))
        return await restarter.restart(Server(server, site=self._record.site_of(server)))

    async def _order(self, order: Asking) -> None:
        await asyncio.sleep(order.at)
        with contextlib.suppress(EcsbatchError):
            await self._store.command(order.run_id, order.body, "someone")

    async def _operate(self) -> None:
        """Resume what stays paused, and let it go on for good once that has happened often: nobody else would."""
        since: Counter[str] = Counter()
        often: Counter[str] = Counter()
        while True:
            await asyncio.sleep(OPERATOR_EVERY)
            for rollout in self.rollouts:
                name = rollout.run_id
                paused = rollout.held and rollout.state.status is RunStatus.PAUSED
                since[name] = since[name] + 1 if paused else 0
                if since[name] > PATIENCE:
                    since[name] = 0
                    often[name] += 1
                    await self._resume(name, generously=often[name] > PATIENCE)

    async def _resume(self, run_id: str, *, generously: bool) -> None:
        self._record.tally["resumes of a pause"] += 1
        with contextlib.suppress(EcsbatchError):
            if generously:
                adjust = {"command": "adjust", "limits": generous(self._world)}
                await self._store.command(run_id, adjust, "operator")
            await self._store.command(run_id, {"command": "resume", "forgive": True}, "operator")

    async def _end_early(self, restarter: Restarter, doom: Doom) -> None:
        await asyncio.sleep(doom.at)
        self._closing = True
        self._record.tally[doom.kind] += 1
        if doom.kind == "close":
            await asyncio.shield(asyncio.create_task(restarter.aclose()))
        for rollout, task in zip(self.rollouts, self._driving, strict=False):
            if doom.kind == "stop":
                rollout.stop()
            elif doom.kind == "cancel":
                task.cancel()


def generous(world: World) -> dict[str, int | str]:
    """Return limits that stop nothing any more."""
    limits: dict[str, int | str] = {"max_failures": "100%", "max_failures_per_wave": "100%", "max_unavailable": "100%"}
    for name in ("max_failures_per_domain", "max_unavailable_per_domain"):
        if getattr(world.strategy, name) is not None:
            limits[name] = "100%"
    return limits
