"""One life of a simulated machine: a loop, its processes, what happens beside them, and the way it ends.

A machine dies by `Killed`, between two steps of its loop or in the step of a transaction; before anything of it is
dropped its senders and stores are severed, so that no ``finally`` of the dead reaches the cloud or the disk. A single
process dies by the same severing while its neighbours live on. The next life opens new stores on the same database.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import traceback
from collections.abc import Generator
from functools import partial
from types import FrameType
from typing import Any, Final

from ecsbatch.errors import EcsbatchError, StoreError
from ecsbatch.simulator.virtual_time import Hang, Killed, abandon, run
from ecsbatch.store import open_store

from .freezing import PROCESS, FreezingLoop
from .process import Machine, Process, WorldClock
from .record import Frozen
from .witnesses import disk_full
from .world import Life, RunSpec

LONGEST_LIFE: Final = 6 * 3600.0
"""Virtual seconds after which a life counts as hung."""

SLOWEST: Final = 120.0
"""Seconds more for each server of a cloud, which orders may have restarted one by one."""

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


def _nothing() -> None:
    """Let a transaction be."""


class LifeRun:
    """One life: a loop, its processes, and the way it ends."""

    def __init__(self, machine: Machine, life: Life) -> None:
        self._machine = machine
        self._life = life
        self._record = machine.record
        one_by_one = SLOWEST * machine.record.world.cloud.servers
        asleep = sum(freeze.seconds for freeze in life.freezes)
        longest = LONGEST_LIFE + one_by_one + asleep + max((ask.at for ask in life.asks), default=0.0)
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
            machine.hung = True
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
