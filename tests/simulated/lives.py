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
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
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
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.store import open_store

from .books import FOREVER, Foreign, Ordered, WatchedCloud, WatchedDatabase, disk_full
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
    at: float = FOREVER


@dataclass(slots=True)
class Told:
    """What a caller of `Restarter.restart` was told, and the world's time at the question and at the answer."""

    life: int
    ask: Ask
    asked: float
    heard: float
    how: Outcome | BaseException
    doomed: bool
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Frozen:
    """A process that stood still."""

    process: int
    begin: float
    end: float


@dataclass
class Record:
    """Everything that the checker may read."""

    world: World
    cloud: WatchedCloud
    database: WatchedDatabase
    ends: list[End] = field(default_factory=list[End])
    told: list[Told] = field(default_factory=list[Told])
    complaints: list[str] = field(default_factory=list[str])
    tally: Counter[str] = field(default_factory=Counter[str])
    steps: list[int] = field(default_factory=list[int])
    writes: list[int] = field(default_factory=list[int])
    finished_at: float = 0.0
    commands: list[Ordered] = field(default_factory=list[Ordered])
    freezes: list[Frozen] = field(default_factory=list[Frozen])
    foreign: list[Foreign] = field(default_factory=list[Foreign])
    clouds: dict[str, WatchedCloud] = field(default_factory=dict[str, WatchedCloud])
    hidden: set[str] = field(default_factory=set[str])
    no_updated: bool = False
    dimensions: str = ""
    ticks: Iterator[int] = field(default_factory=itertools.count)


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
        self._sender = SimulatedSender(machine.record.cloud)
        self._store = open_store(machine.record.database, clock=clock, inline=True)
        self._closing = False

    def sever(self) -> None:
        """Die: nothing leaves and nothing is written any more."""
        self.dead = True
        self._sender.sever()
        self._store.sever()

    async def live(self, runs: list[RunSpec]) -> None:
        """Open everything, drive the runs to their ends, close everything."""
        world, number = self._world, self.number
        key = KeyAuth(world.cloud.access_key, world.cloud.secret_key)
        client = EcsClient(
            auth=key,
            project_id=world.cloud.project_id,
            endpoint="https://ecs.example.com",
            sender=self._machine.seams.sender(self._sender),
            clock=self._clock,
            request_timeout=world.engine.request_timeout,
            api_rate=world.api_rate,
        )
        async with client, self._store:
            store = self._machine.seams.store(self._store)
            restarter = Restarter(
                self._machine.seams.client(client),
                store,
                engine=world.engine,
                clock=self._clock,
                seed=world.seed * 1000 + self._machine.life * 10 + number,
                name=f"life-{self._machine.life}-{number}",
            )
            self.restarter = restarter
            async with restarter:
                await self._work(restarter, runs)

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
            now = asyncio.get_running_loop().time()
            self._record.ends.append(End(self._machine.life, spec.run_id, how, self._closing, now))

    async def _rollout(self, restarter: Restarter, spec: RunSpec) -> Rollout:
        """Begin the run, or go on with it: by resuming it, or by asking for the same servers under its id."""
        check = self._check if self._world.check_delay is not None else None
        fresh = self._machine.life == 0 or self._life.by_same_id
        if not fresh:
            life = self._life
            changes = Changes(retry=life.retry, forgive=life.forgive, limits=life.limits, by="resumer")
            try:
                resumed = await restarter.resume(spec.run_id, check=check, changes=changes)
            except ConfigError:
                pass  # the process was killed before the run was on disk
            else:
                self._record.tally["resumes"] += 1
                return resumed
        servers = [Server(server, zone) for server, zone in spec.servers]
        if self._machine.life:
            self._record.tally["resumes by the same id"] += 1
        return restarter.rollout(servers, self._world.strategy, check=check, run_id=spec.run_id)

    async def _check(self, server: Server) -> bool:
        await asyncio.sleep(self._world.check_delay or 0.0)
        return self._record.cloud.healthy(server.id)

    # -- what goes on beside them ----------------------------------------------------------------------------------

    async def _ask(self, restarter: Restarter, ask: Ask) -> None:
        await asyncio.sleep(ask.at)
        loop = asyncio.get_running_loop()
        asked = loop.time()
        how: Outcome | BaseException
        try:
            async with asyncio.timeout(ask.patience):
                how = await restarter.restart(ask.server)
        except TimeoutError as error:
            how = error
        except (EcsbatchError, asyncio.CancelledError) as error:
            how = error
        if not self.dead:
            cancelled = isinstance(how, TimeoutError)
            self._record.told.append(Told(self._machine.life, ask, asked, loop.time(), how, self._closing, cancelled))

    async def _order(self, order: Order) -> None:
        await asyncio.sleep(order.at)
        await self._command(order.run_id, order.body, "someone")

    async def _command(self, run_id: str, body: Mapping[str, Any], who: str) -> None:
        """Ask something of a run's holder, and note that it was stored."""
        with contextlib.suppress(EcsbatchError):
            number = await self._store.command(run_id, body, who)
            now = asyncio.get_running_loop().time()
            ordered = Ordered(next(self._record.ticks), now, self._machine.life, run_id, body, number)
            self._record.commands.append(ordered)

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
        if generously:
            await self._command(run_id, {"command": "adjust", "limits": generous(self._world)}, "operator")
        await self._command(run_id, {"command": "resume", "forgive": True}, "operator")

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
        self.loop = VirtualLoop(start=machine.now, max_time=machine.now + LONGEST_LIFE)
        self.clock = WorldClock(self.loop, machine.boot, machine.booted_at)
        self.clock.wall_offset = machine.wall_offset
        self.processes: list[Process] = []
        self._killed = False
        self._begun = machine.record.database.writes
        self._full = 0

    def play(self, runs: list[RunSpec]) -> None:
        """Live it through; afterwards the machine's time stands where this life ended."""
        machine, record, doom = self._machine, self._record, self._life.doom
        record.cloud.now = self.loop.time
        record.database.now = self.loop.time
        record.database.before_write = self._before_write
        record.database.after_write = self._after_write
        self.loop.set_exception_handler(self._complain)
        if doom.kind == "step":
            self.loop.kill_after(doom.count)
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
        jumps = [asyncio.create_task(self._jump(at, by), name="jump") for at, by in self._life.jumps]
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
        for jump in jumps:
            jump.cancel()
        await asyncio.gather(*jumps, return_exceptions=True)

    async def _jump(self, at: float, by: float) -> None:
        await asyncio.sleep(at)
        self.clock.wall_offset += by
        self._record.tally["wall clock jumps"] += 1

    # -- ends ------------------------------------------------------------------------------------------------------

    def _before_write(self) -> None:
        doom, number = self._life.doom, self._record.database.writes - self._begun + 1
        if doom.kind == "full_disk" and self._full < FULL_FOR and number >= doom.count:
            self._full += 1
            self._record.tally["writes that found a full disk"] += 1
            raise disk_full()
        if self._killed:
            raise disk_full()  # a store that tries again after its process has died writes nothing
        if doom.kind == "before_write" and number == doom.count:
            self._kill_machine()
            raise disk_full()

    def _after_write(self) -> None:
        doom, number = self._life.doom, self._record.database.writes - self._begun
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
    ticks = itertools.count(1)
    cloud = WatchedCloud(world.cloud, ticks, world.longest)
    record = Record(world, cloud, WatchedDatabase(ticks), clouds={"": cloud}, ticks=ticks)
    machine = Machine(record, seams or Seams())
    for number, life in enumerate(world.lives):
        machine.life = number
        LifeRun(machine, life).play(_not_over(record))
    _mend(machine)
    record.finished_at = machine.now
    cloud.now = lambda: machine.now
    cloud.advance()
    return record


def _mend(machine: Machine) -> None:
    """Let the weather clear, and resume until every run is over, or stopped for a reason that stays."""
    record = machine.record
    record.cloud.calm = True
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
    cloud = machine.record.cloud
    now = machine.now
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
