"""A standby in this process: its engines, its signals, what it writes. Read `stand_by` first.

It has an engine for each quota that it keeps to: a run that was begun with less than the worker's own was so since
others need the rest.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ecsbatch.cli.healthz import WorkerHealth, answering
from ecsbatch.cli.live import make_log
from ecsbatch.cli.on_end import EndHooks, end_hook
from ecsbatch.cli.page import serving_page
from ecsbatch.cli.signals import listening
from ecsbatch.cli.watching import WatchedEngines, watching
from ecsbatch.cli.wiring import make_client, make_store
from ecsbatch.config.settings import Programs
from ecsbatch.errors import EcsbatchError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.policy.standing import standing
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.follower import load_history
from ecsbatch.rollout.history import History
from ecsbatch.rollout.standby import Standby, StandbyNews
from ecsbatch.views.log import Level, Log
from ecsbatch.views.writer import BackgroundWriter

if TYPE_CHECKING:
    from ecsbatch.cli.context import CliContext
    from ecsbatch.ecs.client import EcsClient
    from ecsbatch.model.quota import Quota
    from ecsbatch.model.run import RunRecord
    from ecsbatch.rollout.rollout import Rollout
    from ecsbatch.store import DatabaseStore

_BEYOND: Final = 5.0
"""Seconds that a hand-over gets beyond the longest request."""

_PATIENCE: Final = 5.0
"""Seconds that the end waits for what is still to be written."""

_WARNINGS: Final = frozenset({"left_alone", "lost", "store_away"})


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """What a worker was told.

    Attributes:
        runs: the ids of the only runs that it takes; none: all.
        max_runs: how many it has at once, at most.
        healthz: where it answers its supervisor; "" for nowhere.
        programs: what checks and gates may do here.
    """

    runs: Sequence[str]
    max_runs: int
    healthz: str
    programs: Programs


class WorkLog:
    """What a worker writes on stderr: what it does, and what happens to the runs that it has."""

    def __init__(self, context: CliContext) -> None:
        """Write as the settings ask for."""
        self._context = context
        self._writer = BackgroundWriter(os.dup(2))
        self._log = make_log(self._writer, context)
        self._following: set[asyncio.Task[None]] = set()

    def hear(self, news: StandbyNews) -> None:
        """Write what the standby did."""
        message = news.message
        if news.word == "left_alone" and "allow_programs" in message:
            message += " Its flag is --allow-program."
        self.say("warning" if news.word in _WARNINGS else "info", f"work.{news.word}", message, news.run_id)

    def say(self, level: Level, event: str, message: str, run_id: str = "") -> None:
        """Write a line."""
        self._log.say(level, event, ({"run_id": run_id} if run_id else {}) | {"message": message})

    def follow(self, rollout: Rollout, after: int) -> None:
        """Write what happens to a run from behind an event on, until it ends here."""
        log = make_log(self._writer, self._context, rollout.plan.fleet.name_of, rollout.run_id)
        task = asyncio.get_running_loop().create_task(_follow(rollout, after, log))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def close(self) -> None:
        """Write what is left."""
        if self._following:
            await asyncio.wait(self._following, timeout=_PATIENCE)
        await asyncio.to_thread(self._writer.close, _PATIENCE)


async def _follow(rollout: Rollout, after: int, log: Log) -> None:
    try:
        async for recorded in rollout.events(after):
            log.event(recorded)
    except Exception as e:  # noqa: BLE001 - a view watches, it never stops what it watches
        log.say("warning", "view.failed", {"why": f"{type(e).__name__}: {e}"})


class QuotaEngines:
    """An engine for each quota, over one client and one store; what a `Standby` works with."""

    def __init__(
        self,
        ecs: EcsClient,
        store: DatabaseStore,
        context: CliContext,
        programs: Programs,
        log: WorkLog,
        watched: WatchedEngines,
    ) -> None:
        """Make none yet; `main` is the first."""
        self.store = store
        self._ecs = ecs
        self._settings = context.settings
        self._programs = programs
        self._log = log
        self._watched = watched
        self._hooks = EndHooks(end_hook(context, log.say), store, log.say)
        self._engines: dict[Quota, Restarter] = {}
        self._making = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Start the engine of the settings' own quota."""
        await self._engine(self._settings.engine.quota)

    async def _engine(self, quota: Quota) -> Restarter:
        async with self._making:
            if quota not in self._engines:
                engine = replace(self._settings.engine, quota=quota)
                name = f"work@{socket.gethostname()}"
                watched = self._watched
                restarter = Restarter(
                    self._ecs,
                    self.store,
                    engine=engine,
                    programs=self._programs,
                    name=name,
                    watchers=watched.watchers,
                )
                watched.engines.append(restarter)
                self._engines[quota] = await self._stack.enter_async_context(restarter)
            return self._engines[quota]

    def check(self) -> None:
        """Raise EngineStopped where one of them has ended."""
        for restarter in self._engines.values():
            restarter.standby_worker().check()

    async def lacking(self, record: RunRecord) -> list[str]:
        """Return what they lack to go on with a run."""
        return await self._engines[self._settings.engine.quota].standby_worker().lacking(record)

    async def take_over(self, record: RunRecord) -> Rollout:
        """Go on with a run by the quota that it was begun with where that is the lesser one, unless one is given."""
        quota = self._settings.engine.quota
        if "quota" not in self._settings.origins:
            quota = lesser_quota(quota, (await load_history(self.store, record)).state.quota)
        restarter = await self._engine(quota)
        rollout = await restarter.standby_worker().take_over(record)
        self._log.follow(rollout, record.seq)
        self._hooks.watch(rollout)
        return rollout

    async def hand_over(self) -> None:
        """Let requests in the air get their answers, leave all runs for another worker, and end."""
        within = self._settings.connection.request_timeout + _BEYOND
        engines = self._engines.values()
        await asyncio.gather(*(each.aclose(within, hand_over=True) for each in engines), return_exceptions=True)
        await self._stack.aclose()

    async def settled(self) -> None:
        """Wait for what is done at the end of runs that have ended here."""
        await self._hooks.settled()


class WorkSignals:
    """The first signal asks a worker to hand over, the second one ends it as a kill would.

    Attributes:
        asked: set by the first.
        number: of the first, 0 before it.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """Tell people with ``say``."""
        self.asked = asyncio.Event()
        self.number = 0
        self._say = say

    def installed(self) -> AbstractContextManager[None]:
        """Listen while a block runs; a signal that is ignored (nohup) stays so."""
        return listening(self._receive)

    def _receive(self, number: int) -> None:
        if not self.number:
            self.number = number
            self.asked.set()
            name = signal.Signals(number).name
            self._say(f"{name}: requests in flight get their answer, runs are handed over. Once more ends it at once.")
            return
        # Whoever goes on finds out what was under way, as after a kill; nothing here is better than that.
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(128 + number)  # the first process of a container is not killed by a signal of its own


def lesser_quota(own: Quota, begun_with: Quota | None) -> Quota:
    """Return the quota that a worker keeps to for a run: a record can have it spend less than its own, never more."""
    if begun_with is None or begun_with.limit / begun_with.window >= own.limit / own.window:
        return own
    return begun_with


async def stand_by(context: CliContext, options: WorkOptions) -> None:
    """Stand by until a signal comes, then hand over.

    Raises:
        EcsbatchError: it cannot begin, or its engine has ended.
    """
    log = WorkLog(context)
    try:
        async with (
            watching(context, lambda text: log.say("warning", "work.metrics", text)) as watched,
            make_client(context.settings, watchers=watched.watchers) as ecs,
            make_store(context.store_url) as store,
            serving_page(context, History(store)),
        ):
            engines = QuotaEngines(ecs, store, context, options.programs, log, watched)
            await _stand_by(engines, options, log)
    finally:
        await log.close()


async def _stand_by(engines: QuotaEngines, options: WorkOptions, log: WorkLog) -> None:
    standby = Standby(engines, runs=options.runs, max_runs=options.max_runs, on_news=log.hear)
    signals = WorkSignals(lambda text: log.say("info", "work.ending", text))

    def health() -> WorkerHealth:
        looked, now = standby.looked_at, asyncio.get_running_loop().time()
        runs = {run_id: standing(each.state, time.time()).phase.value for run_id, each in standby.held.items()}
        ago = None if looked is None else now - looked
        return WorkerHealth(ago, standby.away, bool(signals.number), runs, options.max_runs)

    with signals.installed():
        async with answering(options.healthz, health), _handing_over(engines, standby, log):
            log.say("info", "work.standing_by", _introduction(options))
            looking = asyncio.create_task(standby.run(), name="ecsbatch-standby")
            asked = asyncio.create_task(signals.asked.wait())
            try:
                await asyncio.wait((looking, asked), return_when=asyncio.FIRST_COMPLETED)
            finally:
                asked.cancel()
                looking.cancel()
                await asyncio.wait([looking])
            if not looking.cancelled() and (fault := looking.exception()) is not None:
                raise fault


@asynccontextmanager
async def _handing_over(engines: QuotaEngines, standby: Standby, log: WorkLog) -> AsyncGenerator[None]:
    """Have the engines at work, and hand over in the end, whatever has ended the block."""
    try:
        await engines.start()
        yield
    finally:
        try:
            await engines.hand_over()
            await standby.settled(_PATIENCE)
            await engines.settled()
        except EcsbatchError as e:
            log.say("warning", "work.not_handed_over", str(e))
        finally:
            # What could not be written in the time that a hand-over has is found out by whoever has the runs next.
            engines.store.hurry()


def _introduction(options: WorkOptions) -> str:
    which = f"only {', '.join(options.runs)}" if options.runs else "any whose process dies or hands it over"
    return f"Standing by for runs ({which}), {options.max_runs} at once at most."
