"""Plays a world: process after process, life after life, until its runs are over or rightly stopped.

A machine dies by `Killed`, between two steps of its loop or in the step of a transaction; before anything of it is
dropped its senders and stores are severed, so that no ``finally`` of the dead reaches the cloud or the disk. A single
process dies by the same severing while its neighbours live on. The next life opens new stores on the same database.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from types import FrameType
from typing import Any, Final

from ecsbatch.ecs.auth import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Sender
from ecsbatch.errors import ConfigError, EcsbatchError, StoreError
from ecsbatch.hosting import Changes, Result
from ecsbatch.models import Outcome, RunStatus, Server
from ecsbatch.restarter import Restarter
from ecsbatch.rollout import Rollout
from ecsbatch.simulator.clock import EPOCH, Hang, Killed, VirtualLoop, abandon, run
from ecsbatch.simulator.fleet import server_ids
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.store import open_store
from ecsbatch.store.store import Store

from .books import Foreign, Ordered, WatchedCloud, WatchedDatabase, disk_full
from .foreign_code import ForeignCode
from .freezing import PROCESS, FreezingLoop
from .late_store import LateStore
from .troubled_cloud import TroubledCloud
from .troubles import ELSEWHERE
from .world import Ask, Doom, Life, Order, RunSpec, World

LONGEST_LIFE: Final = 6 * 3600.0
"""Virtual seconds after which a life counts as hung."""

MENDINGS: Final = 8
"""Calm lives that may follow the scripted ones until every run is over."""

OPERATOR_EVERY: Final = 20.0
"""Seconds between two looks of the operator, who resumes what nobody else will."""

PATIENCE: Final = 3
"""Looks at a paused run before the operator resumes it, and resumes before its limits are lifted."""

FULL_FOR: Final = 6
"""Transactions that a full disk refuses."""


SPIN: Final = 30.0
"""Seconds of the processor for one life: a task that never yields stops virtual time, and the loop cannot see it."""


class Spun(Killed):
    """A life took far more processor than it could need."""


@contextlib.contextmanager
def watchdog() -> Generator[None, None, None]:
    """Raise `Spun` out of whatever runs once a life has spun for too long."""

    def bark(_number: int, frame: FrameType | None) -> None:
        at = "".join(traceback.format_stack(frame, limit=4))
        raise Spun(f"spun for {SPIN:g} s at\n{at}")

    before = signal.signal(signal.SIGVTALRM, bark)
    signal.setitimer(signal.ITIMER_VIRTUAL, SPIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def _same(part: Any) -> Any:
    return part


def _nothing() -> None:
    """Let a transaction be."""


@dataclass(frozen=True, slots=True)
class Seams:
    """Where a mutation steps between the engine and its world; by default nothing does."""

    sender: Callable[[Sender], Sender] = _same
    client: Callable[[EcsClient], Any] = _same
    store: Callable[[Any], Any] = _same
    rollout: Callable[[Rollout], Rollout] = _same


@dataclass(slots=True)
class End:
    """How a run ended in a life: a `Result`, or what its `run` raised."""

    life: int
    run_id: str
    how: Result | BaseException
    doomed: bool


@dataclass(slots=True)
class Told:
    """What a caller of `Restarter.restart` was told, and the world's time at the question and at the answer.

    Attributes:
        cancelled: the caller gave up waiting.
    """

    life: int
    ask: Ask
    asked: float
    heard: float
    how: Outcome | BaseException
    doomed: bool
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Frozen:
    """A span in which a process stood still while everything else went on."""

    process: int
    begin: float
    end: float


@dataclass
class Record:
    """Everything that the checker may read.

    Attributes:
        cloud: the first site's.
        clouds: each site's, by its key.
        commands: every command that was stored, by whomever.
        foreign: restarts by others.
        hidden: jobs and servers that can never be looked at.
        no_updated: some rows tell no ``updated``.
        dimensions: by which dimensions its world was drawn.
    """

    world: World
    cloud: WatchedCloud
    database: WatchedDatabase
    clouds: dict[str, TroubledCloud] = field(default_factory=dict[str, TroubledCloud])
    commands: list[Ordered] = field(default_factory=list[Ordered])
    freezes: list[Frozen] = field(default_factory=list[Frozen])
    foreign: list[Foreign] = field(default_factory=list[Foreign])
    hidden: set[str] = field(default_factory=set[str])
    no_updated: bool = False
    dimensions: str = "old"
    ends: list[End] = field(default_factory=list[End])
    told: list[Told] = field(default_factory=list[Told])
    complaints: list[str] = field(default_factory=list[str])
    tally: Counter[str] = field(default_factory=Counter[str])
    steps: list[int] = field(default_factory=list[int])
    writes: list[int] = field(default_factory=list[int])
    finished_at: float = 0.0

    def __post_init__(self) -> None:
        other = self.world.elsewhere
        self._elsewhere = frozenset(server_ids(other.seed, other.servers)) if other is not None else frozenset[str]()

    def site_of(self, server: str) -> str:
        """Return the key of a server's site."""
        return ELSEWHERE if server in self._elsewhere else ""

    def note(self, what: str) -> None:
        """Count something that was played."""
        self.tally[what] += 1


class WorldClock:
    """The three readings of a machine's clock: its wall jumps, its monotonic one begins anew with each boot."""

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

    def boot_id(self) -> str:
        """Return the boot's name."""
        return f"boot-{self._boot}"


@dataclass
class Machine:
    """What outlives a life: the cloud, the disk, the time."""

    record: Record
    seams: Seams
    foreign: ForeignCode
    now: float = 0.0
    boot: int = 1
    booted_at: float = 0.0
    wall_offset: float = 0.0
    life: int = 0


class Process:
    """One process of one life, with a store, a client and a Restarter of its own."""

    def __init__(self, machine: Machine, number: int, life: Life, clock: WorldClock) -> None:
        self.number = number
        self.rollouts: list[Rollout] = []
        self.dead = False
        self.main: asyncio.Task[None] | None = None
        self.restarter: Restarter | None = None
        self._machine = machine
        self._life = life
        self._clock = clock
        self._record = machine.record
        self._world = machine.record.world
        self._senders = {site: SimulatedSender(cloud) for site, cloud in machine.record.clouds.items()}
        self._store = self._new_store()
        self._closing = False

    def _new_store(self) -> Store:
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
            store = self._machine.seams.store(self._store)
            restarter = Restarter(
                {site: self._machine.seams.client(client) for site, client in clients.items()},
                store,
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
            sender=self._machine.seams.sender(self._senders[site]),
            clock=self._clock,
            request_timeout=world.engine.request_timeout,
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
            driving = [asyncio.create_task(self._drive(restarter, spec), name=spec.run_id) for spec in runs]
            self._driving = driving
            await asyncio.gather(*driving, return_exceptions=True)
            await asyncio.gather(*asked)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    def _asks(self) -> list[Ask]:
        return [ask for ask in self._life.asks if ask.process == self.number]

    def _orders(self, runs: list[RunSpec]) -> list[Order]:
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
            rollout = self._machine.seams.rollout(await self._rollout(restarter, spec))
            self.rollouts.append(rollout)
            how: Result | BaseException = await rollout.run()
        except (EcsbatchError, asyncio.CancelledError) as error:
            how = error
        if not self.dead:
            self._record.ends.append(End(self._machine.life, spec.run_id, how, self._closing))

    async def _rollout(self, restarter: Restarter, spec: RunSpec) -> Rollout:
        """Begin the run, or go on with it: by resuming it, or by asking for the same servers under its id."""
        check = self._check if self._world.check_delay is not None else None
        gate = self._machine.foreign.gate if self._world.troubles.gates is not None else None
        fresh = self._machine.life == 0 or self._life.by_same_id
        if not fresh:
            life = self._life
            changes = Changes(life.retry, life.forgive, life.skip_domains, life.limits, by="resumer")
            try:
                resumed = await restarter.resume(spec.run_id, check=check, gate=gate, changes=changes)
            except ConfigError:
                pass  # the process was killed before the run was on disk
            else:
                self._record.tally["resumes"] += 1
                return resumed
        servers = [Server(server, zone, site=self._record.site_of(server)) for server, zone in spec.servers]
        if self._machine.life:
            self._record.tally["resumes by the same id"] += 1
        return restarter.rollout(servers, self._world.strategy, check=check, gate=gate, run_id=spec.run_id)

    async def _check(self, server: Server) -> bool:
        await asyncio.sleep(self._world.check_delay or 0.0)
        return await self._machine.foreign.check(
            self._record.clouds[self._record.site_of(server.id)].healthy(server.id)
        )

    # -- what goes on beside them ----------------------------------------------------------------------------------

    async def _ask(self, restarter: Restarter, ask: Ask) -> None:
        await asyncio.sleep(ask.at)
        loop = asyncio.get_running_loop()
        asked = loop.time()
        how: Outcome | BaseException
        try:
            async with asyncio.timeout(ask.patience):
                how = await restarter.restart(Server(ask.server, site=self._record.site_of(ask.server)))
        except TimeoutError as error:
            how = error
        except (EcsbatchError, asyncio.CancelledError) as error:
            how = error
        if not self.dead:
            cancelled = isinstance(how, TimeoutError)
            told = Told(self._machine.life, ask, asked, loop.time(), how, self._closing, cancelled)
            self._record.told.append(told)

    async def _order(self, order: Order) -> None:
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
                since[name] = since[name] + 1 if rollout.state.status is RunStatus.PAUSED else 0
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


class LifeRun:
    """One life: a loop, its processes, and the way it ends."""

    def __init__(self, machine: Machine, life: Life) -> None:
        self._machine = machine
        self._life = life
        self._record = machine.record
        longest = LONGEST_LIFE + max((ask.at for ask in life.asks), default=0.0)
        self.loop = FreezingLoop(start=machine.now, max_time=machine.now + longest)
        self.clock = WorldClock(self.loop, machine.boot, machine.booted_at)
        self.clock.wall_offset = machine.wall_offset
        self.processes: list[Process] = []
        self._killed = False
        self._begun = machine.record.database.writes
        self._full = 0
        self._frozen_since: dict[int, float] = {}

    def play(self, runs: list[RunSpec]) -> None:
        """Live it through; afterwards the machine's time stands where this life ended."""
        machine, record, doom = self._machine, self._record, self._life.doom
        for cloud in record.clouds.values():
            cloud.now = self.loop.time
        record.database.now = self.loop.time
        record.database.before_write = self._before_write
        record.database.after_write = self._after_write
        record.database.life = machine.life
        self.loop.set_exception_handler(self._complain)
        if doom.kind == "step":
            self.loop.kill_after(doom.count)
        self._plan_freezes()
        try:
            with watchdog():
                run(self._live(runs), loop=self.loop)
        except (Spun, Hang) as hang:
            record.complaints.append(f"life {machine.life} hung: {hang}")
            self._drop()
        except Killed:
            record.tally[f"crashes ({doom.kind})"] += 1
            self._drop()
        record.database.before_write = record.database.after_write = _nothing
        self._thaw_all()
        record.steps.append(self.loop.steps)
        record.writes.append(record.database.writes - self._begun)
        machine.wall_offset = self.clock.wall_offset
        machine.now = self.loop.time() + doom.gap
        if self._killed and doom.reboot:
            machine.boot += 1
            machine.booted_at = machine.now - 10.0
            record.tally["reboots"] += 1

    def _drop(self) -> None:
        """Let everything of this life go, as the kernel does."""
        self._killed = True
        self._sever_all()
        if not self.loop.is_closed():
            abandon(self.loop)

    async def _live(self, runs: list[RunSpec]) -> None:
        world = self._record.world
        beside = [asyncio.create_task(self._jump(at, by), name="jump") for at, by in self._life.jumps]
        if self._life.commands:
            beside.append(asyncio.create_task(self._command(), name="terminal"))
        if self._life.doom.kind == "instant":
            beside.append(asyncio.create_task(self._die(self._life.doom.at), name="death"))
        mains: list[asyncio.Task[None]] = []
        for number in range(world.processes):
            process = Process(self._machine, number, self._life, self.clock)
            mine = [spec for spec in runs if spec.process == number]
            process.main = asyncio.create_task(process.live(mine), name=f"process-{number}")
            self.processes.append(process)
            mains.append(process.main)
        ends = await asyncio.gather(*mains, return_exceptions=True)
        for process, end in zip(self.processes, ends, strict=True):
            full = isinstance(end, StoreError) and self._full
            if isinstance(end, BaseException) and not process.dead and not full:
                self._record.complaints.append(f"process {process.number} ended by {end!r}")
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)

    async def _jump(self, at: float, by: float) -> None:
        await asyncio.sleep(at)
        self.clock.wall_offset += by
        self._record.tally["wall clock jumps"] += 1

    async def _command(self) -> None:
        """Ask what somebody at another terminal asks of the runs."""
        async with open_store(self._record.database, clock=self.clock, inline=True) as store:
            began = self.loop.time()
            for order in sorted(self._life.commands, key=lambda order: order.at):
                await asyncio.sleep(max(0.0, began + order.at - self.loop.time()))
                with contextlib.suppress(EcsbatchError):
                    await store.command(order.run_id, order.body, "somebody")
                    self._record.note(f"command {order.body['command']}")

    # -- standing still --------------------------------------------------------------------------------------------

    def _plan_freezes(self) -> None:
        for freeze in self._life.freezes:
            begin = partial(self._freeze, freeze.process, freeze.seconds)
            if freeze.step:
                self.loop.at_step(freeze.step, begin)
            elif not freeze.write:
                self.loop.call_later(freeze.at, self.loop.at_step, 0, begin)

    def _freeze(self, process: int, seconds: float) -> None:
        if not 0 <= process < len(self.processes) or process in self._frozen_since or self.processes[process].over:
            return
        self._frozen_since[process] = self.loop.time()
        self._record.note("freezes")
        self.loop.freeze(process, seconds, partial(self._thawed, process))

    def _thawed(self, process: int) -> None:
        began = self._frozen_since.pop(process)
        self._record.freezes.append(Frozen(process, began, self.loop.time()))

    def _thaw_all(self) -> None:
        """Note the end of what a life's end has cut short."""
        for process in list(self._frozen_since):
            self._thawed(process)

    # -- ends ------------------------------------------------------------------------------------------------------

    async def _die(self, at: float) -> None:
        await asyncio.sleep(at)
        self._kill_machine()

    def _before_write(self) -> None:
        doom, number = self._life.doom, self._record.database.writes - self._begun + 1
        if doom.kind == "full_disk" and self._full < FULL_FOR and number >= doom.count:
            self._full += 1
            self._record.tally["writes that found a full disk"] += 1
            raise disk_full()
        if number == self._life.failing_write and not self._full:
            self._full += 1
            self._record.tally["writes that found a full disk"] += 1
            self._record.note("writes that failed once")
            raise disk_full()
        if self._killed:
            raise disk_full()  # a store that tries again after its process has died writes nothing
        if doom.kind == "before_write" and number == doom.count:
            self._kill_machine()
            raise disk_full()

    def _after_write(self) -> None:
        doom, number = self._life.doom, self._record.database.writes - self._begun
        for freeze in self._life.freezes:
            if freeze.write == number:
                self.loop.at_step(0, partial(self._freeze, PROCESS.get(), freeze.seconds))
        if number != doom.count or self._killed:
            return
        if doom.kind == "after_write":
            self._kill_machine()
        elif doom.kind == "process" and doom.process < len(self.processes):
            self._kill_process(self.processes[doom.process])

    def _kill_machine(self) -> None:
        """Sever everything now; what is left of this step of the loop reaches nothing any more."""
        self._killed = True
        self._sever_all()
        self.loop.kill_after(0)

    def _kill_process(self, process: Process) -> None:
        if not process.dead:
            process.sever()
            if process.number in self._frozen_since:
                self.loop.thaw(process.number)
                self._thawed(process.number)
            self._record.tally["crashes (process)"] += 1
            if process.main is not None:
                process.main.cancel()

    def _sever_all(self) -> None:
        for process in self.processes:
            process.sever()

    def _complain(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Note what nobody fetched; the remains of a dead process complain to nobody."""
        if not self._killed and not any(process.dead for process in self.processes):
            self._record.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")


def play(world: World, seams: Seams | None = None) -> Record:
    """Play a world through and return what is on record."""
    record = _new_record(world)
    machine = Machine(record, seams or Seams(), ForeignCode(world, record.note))
    for number, life in enumerate(world.lives):
        machine.life = number
        LifeRun(machine, life).play(_not_over(record))
    _mend(machine)
    record.finished_at = machine.now
    for cloud in record.clouds.values():
        cloud.now = lambda: machine.now
        cloud.advance()
        record.tally.update(cloud.played)
    return record


def _new_record(world: World) -> Record:
    ticks = itertools.count(1)
    foreign: list[Foreign] = []
    clouds = {"": TroubledCloud(world.cloud, ticks, world.longest, world.troubles.cloud, foreign)}
    if world.elsewhere is not None:
        clouds[ELSEWHERE] = TroubledCloud(world.elsewhere, ticks, world.longest, world.troubles.elsewhere, foreign)
    database = WatchedDatabase(ticks)
    return Record(
        world,
        clouds[""],
        database,
        dict(clouds),
        commands=database.commands,
        foreign=foreign,
        hidden=clouds[""].hidden,
        no_updated=bool(world.troubles.cloud.no_updated or world.troubles.elsewhere.no_updated),
        dimensions=world.dimensions,
    )


def _mend(machine: Machine) -> None:
    """Let the weather clear, and resume until every run is over, or stopped for a reason that stays."""
    record = machine.record
    machine.foreign.calm = True
    for cloud in record.clouds.values():
        cloud.calm = True
    for _ in range(MENDINGS):
        runs = _unfinished(record)
        if not runs:
            return
        machine.life += 1
        machine.now += 1.0
        limits: dict[str, int | str] = {}
        if record.world.finish:
            limits = generous(record.world)
            _repair_all(machine)
        forgive = record.world.finish
        LifeRun(machine, Life(limits=limits, forgive=forgive)).play(runs)
        record.tally["mendings"] += 1
    if left := _unfinished(record):
        record.complaints.append(f"not over after {MENDINGS} calm lives: {[spec.run_id for spec in left]}")


def _unfinished(record: Record) -> list[RunSpec]:
    return [spec for spec in _not_over(record) if not _stays(record, spec.run_id)]


def generous(world: World) -> dict[str, int | str]:
    """Return limits that stop nothing any more."""
    limits: dict[str, int | str] = {"max_failures": "100%", "max_failures_per_wave": "100%", "max_unavailable": "100%"}
    for name in ("max_failures_per_domain", "max_unavailable_per_domain"):
        if getattr(world.strategy, name) is not None:
            limits[name] = "100%"
    return limits


def _repair_all(machine: Machine) -> None:
    """Repair the servers that no restart will bring back by itself."""
    for cloud in machine.record.clouds.values():
        _repair(cloud, machine.now)


def _repair(cloud: WatchedCloud, now: float) -> None:
    cloud.now = lambda: now
    stuck = {begun.server for sent in cloud.sends for begun in sent.begun if begun.ending in {"stuck", "unhealthy"}}
    for server in cloud.ids():
        if server in stuck or cloud.truth(server).status == "ERROR":
            cloud.repair(server)


def _not_over(record: Record) -> list[RunSpec]:
    """Return the runs that want another life: those that are not over and were not refused for good."""
    statuses = dict(_statuses(record))
    over = {"succeeded", "failed", "aborted"}
    return [
        spec
        for spec in record.world.runs
        if statuses.get(spec.run_id) not in over and not _refused(record, spec.run_id, statuses)
    ]


def _statuses(record: Record) -> list[tuple[str, str]]:
    database = record.database
    if not record.database.stamps and not database._has_journal():
        return []
    rows: list[tuple[str, str]] = database.connection.execute("SELECT run_id, status FROM runs").fetchall()
    return rows


def _refused(record: Record, run_id: str, statuses: dict[str, str]) -> bool:
    """Tell whether a run was refused at its start and never existed."""
    refusals = [end for end in record.ends if end.run_id == run_id and isinstance(end.how, EcsbatchError)]
    scripted = len(record.world.lives)
    final = any(end.life >= scripted for end in refusals) or not any(end.doomed for end in refusals)
    return run_id not in statuses and bool(refusals) and final


def _stays(record: Record, run_id: str) -> bool:
    """Tell whether a run's last stop is one that a resume without changes would only repeat."""
    last = [end for end in record.ends if end.run_id == run_id]
    if record.world.finish or not last or not isinstance(last[-1].how, Result):
        return False
    reason = last[-1].how.reason
    return reason.startswith("max_failures") or reason == "budget_exhausted"
