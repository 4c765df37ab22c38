"""`Runtime`: the engine as a whole, the parts of every site over one store, in one task.

Rollouts and direct restarts run on it. It knows neither: it works on their queues, and tells when it has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Final

from ecsbatch.clock import Clock, boottime_of
from ecsbatch.config.settings import Engine
from ecsbatch.engine.freeze_watch import FreezeWatch
from ecsbatch.engine.pipeline import Pipeline
from ecsbatch.engine.ports import Cloud, Store
from ecsbatch.engine.watching import WatcherList
from ecsbatch.engine.workers import work_together
from ecsbatch.errors import ConfigError, EngineStopped
from ecsbatch.model import events as ev
from ecsbatch.model.run import Holder

_END_WITHIN: Final = 10.0
"""Seconds for the engine's tasks to end; what other people's code does with its cancellation is bounded before."""


class Runtime:
    """What rollouts and direct restarts run on.

    Attributes:
        store: where everything is written.
        pipelines: the parts for each site, by its key.
        freeze: whether the store is frozen.
        holder: this process, as the runs that it has name it.
        engine: the settings.
        clock: stamps, dates and the ledger's time.
        watchers: hear of all that happens.
        fault: why the engine has ended; None while it works, and where it was stopped.
        closed: nothing new is taken in.
    """

    def __init__(
        self, clouds: Mapping[str, Cloud], store: Store, engine: Engine, holder: Holder, clock: Clock, chance: Random
    ) -> None:
        """Put the parts together, one pipeline for each of ``clouds`` by its site's key; `start` has them work."""
        self.store = store
        self.engine = engine
        self.holder = holder
        self.clock = clock
        self.watchers = WatcherList()
        self.freeze = FreezeWatch(store, partial(boottime_of, clock))
        self.freeze.hearers.append(self._freeze_changed)
        self.pipelines = {
            site: Pipeline(cloud, store, engine, chance, self.freeze, len(clouds)) for site, cloud in clouds.items()
        }
        # Of several clients the longest: the ledger has to outlast them all.
        self._request_timeout = max(cloud.request_timeout for cloud in clouds.values())
        self.fault: BaseException | None = None
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._changed = asyncio.Event()

    def holder_now(self) -> Holder:
        """Return who takes a run at this moment: a process that stands by may take one hours after it began."""
        return replace(self.holder, since=self.store.wall())

    def holder_changed(self, fence: int, previous: str = "") -> ev.HolderChanged:
        """Make the event that this process has a run from now on; it names the quota that is kept to.

        And it names the ledger's clock, not this machine's: by that the audit tells which dates of grants, of sends and
        of answers it may compare. Where several machines share a ledger they share its clock, and name it alike.

        Args:
            fence: the number of the lease.
            previous: the name of the holder before, "" for none.
        """
        return ev.HolderChanged(
            holder=self.holder.name,
            host=self.holder.host,
            pid=self.holder.pid,
            fence=fence,
            previous=previous,
            limit=self.engine.quota.limit,
            window=self.engine.quota.window,
            unknown_grace=self.engine.unknown_grace,
            request_timeout=self._request_timeout,
            boot=self.store.clock_name,
            ledger_time=self.store.ledger_time(),
            agreed_by=self.holder.agreed_by,
        )

    @property
    def clouds(self) -> dict[str, Cloud]:
        """The client of each site, by its key."""
        return {site: pipeline.cloud for site, pipeline in self.pipelines.items()}

    @property
    def queued(self) -> int:
        """Servers without an intent in all queues."""
        return sum(queue.queued for pipeline in self.pipelines.values() for queue in pipeline.queues)

    @property
    def in_air(self) -> int:
        """Requests whose intent was given to the store and that have no answer yet."""
        return sum(queue.in_air for pipeline in self.pipelines.values() for queue in pipeline.queues)

    def blindness(self) -> tuple[float, str]:
        """Return for how many seconds a site has shown nothing, 0 for none, and what its last request met."""
        seen = [(pipeline.visibility.blind_for(), pipeline.visibility.why) for pipeline in self.pipelines.values()]
        return max(seen, default=(0.0, ""))

    def wake(self, site: str) -> None:
        """Have a site's queues looked at again."""
        self.pipelines[site].wake()
        self.notice()

    def notice(self) -> None:
        """Have those who wait in `settled` look again."""
        self._changed.set()

    def _freeze_changed(self) -> None:
        for pipeline in self.pipelines.values():
            pipeline.freeze_changed()
        self.notice()

    # -- running ---------------------------------------------------------------------------------------------------

    def start(
        self, beside: Mapping[str, Callable[[], Coroutine[Any, Any, None]]], ended: Callable[[BaseException], None]
    ) -> None:
        """Work in a task of its own; a fault of one part ends the engine.

        No group owns the task: the engine must outlive its caller's own groups and never cancel them.

        Args:
            beside: more parts by the names of their tasks, each a function that makes its coroutine.
            ended: called with what has ended the engine, unless that is `stop`.
        """

        async def work() -> None:
            sites = {f"site-{site}": pipeline.run() for site, pipeline in self.pipelines.items()}
            await work_together({**sites, **{name: part() for name, part in beside.items()}})

        self._task = asyncio.get_running_loop().create_task(work(), name="ecsbatch-engine")
        self._task.add_done_callback(lambda task: self._ended(task, ended))

    def check(self) -> None:
        """Refuse what the engine cannot work on.

        Raises:
            ConfigError: from another thread or event loop, where nothing here can be touched safely.
            EngineStopped: the engine has ended, or is about to.
        """
        self.check_loop()
        if self.closed or not self.working:
            raise EngineStopped(f"The engine has ended{': ' + str(self.fault) if self.fault else ''}.")

    def check_loop(self) -> None:
        """Refuse other threads and event loops than the engine's.

        Raises:
            ConfigError: this is another one.
        """
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is not self._loop:
            raise ConfigError(
                "This Restarter runs in another event loop: call it there, "
                "from other threads with `asyncio.run_coroutine_threadsafe`."
            )

    @property
    def working(self) -> bool:
        """True from `start` until the engine's end."""
        return self._task is not None and not self._task.done()

    async def settled(self, busy: Callable[[], bool], within: float) -> None:
        """Wait until ``busy`` returns False, at the longest ``within`` seconds; asked again after each `notice`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while busy():
                    self._changed.clear()
                    await self._changed.wait()

    async def stop(self) -> None:
        """End the engine's task, and wait until it has ended."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_END_WITHIN)

    def _ended(self, task: asyncio.Task[None], ended: Callable[[BaseException], None]) -> None:
        self.notice()
        fault = None if task.cancelled() else task.exception()
        if self._stopping and (fault is None or isinstance(fault, EngineStopped)):
            return
        self.fault = fault or EngineStopped("its task was cancelled from outside")
        ended(self.fault)
