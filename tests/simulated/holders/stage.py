"""Plays a scene: one loop, all machines in it, until every run is over."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

from ecsbatch.restarter import Restarter
from ecsbatch.simulator.virtual_time import Hang, abandon, run
from tests.simulated.life import Spun, watchdog
from tests.simulated.record import Frozen, Record
from tests.simulated.witnesses import Foreign

from .actors import Actor
from .lines import Flights
from .machines import MachineClock, MachinesLoop
from .scene import CALM, Death, Scene, Stall
from .shared import SharedCloud, SharedDatabase

LONGEST: Final = 1800.0
"""Seconds after which a world counts as stuck."""

LOOK_EVERY: Final = 2.0

OVER: Final = frozenset({"succeeded", "failed", "aborted"})


def play(scene: Scene) -> Record:
    """Play a scene through and return what is on record."""
    ticks = itertools.count(1)
    foreign: list[Foreign] = []
    cloud = SharedCloud(scene.world.cloud, ticks, scene.world.longest, foreign)
    database = SharedDatabase(ticks)
    record = Record(
        scene.world, cloud, database, {"": cloud}, commands=database.commands, foreign=foreign, hidden=cloud.hidden
    )
    loop = MachinesLoop(max_time=CALM + LONGEST)
    cloud.now = database.now = loop.true_time
    stage = Stage(record, scene, loop)
    loop.set_exception_handler(stage.complain)
    try:
        with watchdog():
            run(stage.live(), loop=loop)
    except (Spun, Hang) as hang:
        stage.sever_all()
        if not loop.is_closed():
            abandon(loop)
        record.complaints[:] = [f"stuck: {stage.standing()} {hang}"]  # what an abandoned loop does is nobody's fault
    record.steps.append(loop.steps)
    record.finished_at = loop.true_time()
    cloud.now = lambda: record.finished_at
    cloud.advance()
    return record


class Stage:
    """Who is there, and what happens to them."""

    def __init__(self, record: Record, scene: Scene, loop: MachinesLoop) -> None:
        self._record = record
        self._scene = scene
        self._loop = loop
        self._actors: dict[int, Actor] = {}
        self._numbers = itertools.count(scene.processes)
        self._standing: dict[int, float] = {}
        self._over = asyncio.Event()
        assert isinstance(record.database, SharedDatabase)
        self._database = record.database
        self._database.after_write = self._after_write
        self._flights = Flights(loop, Random(f"flights-{scene.world.seed}"))
        self._database.between = self._flights.land_some

    async def live(self) -> None:
        """Let everybody live until every run is over, then end."""
        for number in range(self._scene.processes):
            self._enter(number, number, partial(self._work, number))
        for stall in self._scene.stalls:
            if not stall.write:
                self._loop.call_at(stall.at, self._loop.at_step, 0, partial(self._stall, stall.process, stall))
        for death in self._scene.deaths:
            if not death.write:
                self._loop.call_at(death.at, partial(self._kill, death.process, death))
        for at, run_id, machine in self._scene.resumes:
            self._loop.call_at(at, partial(self._by_hand, run_id, machine))
        for failover in self._scene.failovers:
            self._loop.call_at(failover.at, self._database.lag)
            self._loop.call_at(failover.at + failover.forgets, self._promote)
        self._loop.call_at(CALM, self._calm)
        self._look()
        await self._over.wait()
        await self._end()

    def _look(self) -> None:
        """See whether all is over, again and again."""
        over = {run_id for run_id, status in self._statuses().items() if status in OVER}
        if over.issuperset(spec.run_id for spec in self._scene.world.runs):
            self._over.set()
        else:
            self._loop.call_later(LOOK_EVERY, self._look)

    def _enter(self, number: int, machine: int, does: Callable[[Actor, Restarter], Any]) -> None:
        clock = MachineClock(self._loop, number, self._scene.machines[machine])
        actor = self._actors[number] = Actor(self._record, self._scene, clock, number, machine, self._flights)
        actor.start(partial(does, actor))

    async def _work(self, number: int, actor: Actor, restarter: Restarter) -> None:
        """Do what a process of the first hour does."""
        doing = [actor.begin(restarter, spec) for spec in self._scene.world.runs if spec.process == number]
        if number in self._scene.standbys:
            doing.append(actor.stand_by(restarter))
        await asyncio.gather(*doing)

    async def _work_for_all(self, actor: Actor, restarter: Restarter) -> None:
        """Begin what a killed process has not begun, and take what nobody has."""
        known = self._statuses()
        missing = [spec for spec in self._scene.world.runs if spec.run_id not in known]
        await asyncio.gather(*(actor.begin(restarter, spec) for spec in missing), actor.stand_by(restarter))

    def _by_hand(self, run_id: str, machine: int) -> None:
        if not self._over.is_set():
            self._enter(next(self._numbers), machine, lambda actor, restarter: actor.resume(restarter, run_id))

    def _calm(self) -> None:
        """Let nothing go wrong any more, and have somebody take what nobody has."""
        self._record.cloud.calm = True
        self._record.calm_at = CALM
        if not self._over.is_set():
            self._enter(next(self._numbers), 0, self._work_for_all)

    def _statuses(self) -> dict[str, str]:
        if not self._database.stamps:
            return {}
        return dict(self._database.connection.execute("SELECT run_id, status FROM runs").fetchall())

    async def _end(self) -> None:
        mains = [actor.main for actor in self._actors.values() if actor.main is not None and not actor.dead]
        for actor in self._actors.values():
            actor.closing = True
        for main in mains:
            main.cancel()
        await asyncio.gather(*mains, return_exceptions=True)

    def _promote(self) -> None:
        if not self._over.is_set():
            self._database.promote()
            self._record.note("failovers")

    # -- standing still, dying -------------------------------------------------------------------------------------

    def _stall(self, number: int, stall: Stall) -> None:
        actor = self._actors.get(number)
        if actor is None or actor.over or number in self._standing or self._loop.true_time() > CALM:
            return
        self._standing[number] = self._loop.true_time()
        self._record.note("suspends" if stall.suspends else "stalls")
        begin = self._loop.suspend if stall.suspends else self._loop.freeze
        begin(number, stall.seconds, partial(self._woken, number))

    def _woken(self, number: int) -> None:
        self._record.freezes.append(Frozen(number, self._standing.pop(number), self._loop.true_time()))

    def _kill(self, number: int, death: Death) -> None:
        """Kill a process; somebody starts another one in its place, which takes what nobody has."""
        actor = self._actors.get(number)
        if actor is None or actor.over or self._loop.true_time() >= CALM:
            return
        self._record.note("deaths")
        actor.sever()
        if number in self._standing:
            self._loop.thaw(number)
            self._woken(number)
        if actor.main is not None:
            actor.main.cancel()
        if number in self._scene.standbys:
            self._loop.call_later(death.gap, self._again, number)

    def _again(self, machine: int) -> None:
        if not self._over.is_set():
            self._enter(next(self._numbers), machine, lambda actor, restarter: actor.stand_by(restarter))

    def _after_write(self) -> None:
        count, writer = self._database.writes, self._database.writer
        for stall in self._scene.stalls:
            if stall.write == count:
                self._loop.at_step(0, partial(self._stall, writer, stall))
        for death in self._scene.deaths:
            if death.write == count:
                self._loop.at_step(0, partial(self._kill, writer, death))

    def standing(self) -> str:
        """Say how the runs stand."""
        return ", ".join(f"{run_id} is {status}" for run_id, status in self._statuses().items())

    def sever_all(self) -> None:
        """Let everything go."""
        for actor in self._actors.values():
            actor.closing = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                actor.sever()

    def complain(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Note what nobody fetched; the remains of a dead process complain to nobody."""
        if not any(actor.dead for actor in self._actors.values()):
            self._record.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")
