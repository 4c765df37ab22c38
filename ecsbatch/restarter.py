"""`Restarter`: the engine, one per store and process. Rollouts run on it, and anybody may ask it for one restart."""

from __future__ import annotations

import asyncio
import getpass
import math
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Any, Final, Protocol, Self

from ecsbatch.clock import Clock, SystemClock
from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.engine.direct import DirectRestarts, DirectStore
from ecsbatch.engine.limiter import Ledger
from ecsbatch.engine.pipeline import Cloud, Pipeline
from ecsbatch.engine.runtime import Guest, RolloutStore
from ecsbatch.engine.server_queue import Check, RestartOptions
from ecsbatch.engine.workers import work_together
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped
from ecsbatch.model.events import Recorded
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.plan import Plan
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.run import Changes, Command, Holder
from ecsbatch.model.servers import Fleet, RestartType, RestartWord, Server, restart_type
from ecsbatch.planning.selection import as_fleet
from ecsbatch.planning.strategy import make_plan
from ecsbatch.rollout.gates import Gate
from ecsbatch.rollout.hooks import A_CALLABLE, WITHOUT, GivenHooks, Without, hooks_of
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.store import open_store

STEER_INTERVAL: Final = 0.5
"""Seconds between two looks at what was asked of a run from elsewhere; it is to be seen within a second."""

CLOSE_WITHIN: Final = 5.0
"""Seconds that requests in the air get for their answers when an engine is closed."""

_END_WITHIN: Final = 10.0
"""Seconds for the engine's tasks to end; what other people's code does with its cancellation is bounded before."""

_PLAIN: Final = Engine()

MEND_INTERVAL: Final = 5.0
"""Seconds between two tries to write again what a failed write has broken off."""

_RUN_ID: Final = ("23456789abcdefghjkmnpqrstuvwxyz", 8)
"""Letters of a run id, without those that are easily mistaken, and how many."""


class EngineStore(DirectStore, RolloutStore, Ledger, Protocol):
    """Everything that the engine needs of a store."""

    @property
    def waiting(self) -> float:
        """Seconds for which it has waited for another process, 0 where it does not."""
        ...

    @property
    def keeper(self) -> int:
        """That process's id, 0 where nobody tells."""
        ...

    def hurry(self) -> None:
        """Wait for other processes no more."""
        ...

    async def targets(self, run_id: str) -> Fleet:
        """Return a run's frozen servers."""
        ...

    async def commands(self, run_id: str, after: int = 0) -> list[Command]:
        """Return what was asked of a run's holder."""
        ...

    async def aclose(self) -> None:
        """Close it."""
        ...


class Restarter:
    """The engine: producer queue, token bucket, submit workers and pollers, shared by all who restart servers.

    ``async with`` starts it. It has no global state, installs no signal handler and configures no logging.

    Attributes:
        store: where everything is written; in memory where none was given.
        pipelines: by the key of the site.
        clock: stamps and dates.
    """

    def __init__(
        self,
        ecs: Cloud | Mapping[str, Cloud],
        store: EngineStore | None = None,
        *,
        quota: Quota | None = None,
        engine: Engine | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
        name: str = "",
    ) -> None:
        """Put an engine together.

        Args:
            ecs: the client of the only site, or one for each key that servers name as their ``site``.
            store: remembers everything; None: this process's memory, kept with the client.
            quota: servers per window; default ``engine.quota``.
            engine: all other settings of the engine; a request's timeouts are set in its client.
            clock: stamps, dates and the ledger's time.
            seed: of all chance (jitter, run ids); None: from the system.
            name: what other people read as this process's name; default ``user@host``.

        Raises:
            ConfigError: no client, or a timeout of the engine that differs from its client's.
        """
        self._clouds: Mapping[str, Cloud] = ecs if isinstance(ecs, Mapping) else {"": ecs}
        if not self._clouds:
            raise ConfigError("A Restarter needs at least one site's client.")
        self.engine = _timed(engine or Engine(), list(self._clouds.values()))
        if quota is not None:
            self.engine = replace(self.engine, quota=quota)
        self._given_store = store
        self._store: EngineStore | None = store
        self.clock = clock or SystemClock()
        self._chance = Random(seed)
        host = socket.gethostname()
        self.holder = Holder(name or f"{_user()}@{host}", host, os.getpid(), self.clock.wall(), self.clock.boot_id())
        self.pipelines: dict[str, Pipeline] = {}
        self._rollouts: list[Guest] = []
        self._direct: DirectRestarts | None = None
        self._engine_task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fault: BaseException | None = None
        self._closed = False
        self._broken_off = False
        self._landed = asyncio.Event()
        self._gone = asyncio.Event()

    def __repr__(self) -> str:
        waiting = len(self._direct) if self._direct else 0
        state = "closed" if self._closed else "running" if self._engine_task else "not started"
        queued = sum(queue.queued for p in self.pipelines.values() for queue in p.queues)
        short = [shortage for p in self.pipelines.values() if (shortage := p.bucket.shortage()) is not None]
        tokens = "".join(f", {free} tokens free, more in {math.ceil(seconds)} s" for free, seconds in short)
        return (
            f"<Restarter {state} [{waiting} direct, {len(self._rollouts)} rollouts, {queued} queued, "
            f"{self._in_air} requests in the air{tokens}]>"
        )

    async def __aenter__(self) -> Self:
        """Start the engine.

        Raises:
            ConfigError: it was started before.
            StoreError: there is no store, and none can be opened in memory.
        """
        if self._loop is not None:
            raise ConfigError("This Restarter was started before: make another for another `async with`.")
        self._loop = asyncio.get_running_loop()
        try:
            await self._start()
        except BaseException:
            self._loop = None
            raise
        return self

    async def _start(self) -> None:
        self._store = self._given_store or await self._memory_store()
        for site, cloud in self._clouds.items():
            self.pipelines[site] = Pipeline(cloud, self._store, self.engine, self._chance)
        self._direct = DirectRestarts(
            self._store,
            self.holder,
            self.engine,
            self._new_run_id(),
            self._direct_terms,
            self.pipelines,
            self._wake,
        )
        # The one task that no group owns: the engine must outlive the caller's own groups and never cancel them.
        self._engine_task = asyncio.get_running_loop().create_task(self._run(), name="ecsbatch-engine")
        self._engine_task.add_done_callback(self._ended)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        except EcsbatchError as e:
            if error is None:
                raise
            # What has ended the block is what its caller must hear of.
            error.add_note(f"And the Restarter could not be closed in order: {e}")

    async def aclose(self, within: float = CLOSE_WITHIN) -> None:
        """Stop: nothing new is sent, and everybody who still waits hears EngineStopped.

        Requests in the air get ``within`` seconds for their answers; those that come later are resume's to find out.
        Whoever closes it again meanwhile waits for the same end.

        Raises:
            ConfigError: it runs in another event loop.
            StoreError: the record of direct restarts cannot be ended.
        """
        if self._engine_task is None or self._direct is None:
            return
        self._be_at_home()
        if self._closed:
            await self._gone.wait()
            return
        self._closed = True
        self._direct.close()
        for rollout in list(self._rollouts):
            rollout.stop("closed", "The Restarter was closed.")
        try:
            await self._land(lambda: not self._ran_out and bool(self._in_air or self._rollouts), within)
        finally:
            await self._break_off(self._engine_task, self._direct, within)

    async def _break_off(self, engine: asyncio.Task[None], direct: DirectRestarts, within: float) -> None:
        """End the engine's task; the rollouts, which are their callers', write their end while the store is open."""
        self._broken_off = True
        try:
            engine.cancel()
            await asyncio.wait([engine], timeout=_END_WITHIN)
            direct.end(self._fault)
            await self._land(lambda: bool(self._rollouts), within)
            for rollout in list(self._rollouts):
                rollout.engine_stopped(EngineStopped("the Restarter was closed"))
            await direct.release()
        finally:
            direct.end(self._fault)
            self._gone.set()

    async def _land(self, flying: Callable[[], bool], within: float) -> None:
        """Wait until nothing flies any more, at the longest ``within`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while flying():
                    self._landed.clear()
                    await self._landed.wait()

    @property
    def _ran_out(self) -> bool:
        return self._engine_task is None or self._engine_task.done()

    @property
    def _in_air(self) -> int:
        return sum(queue.in_air for p in self.pipelines.values() for queue in p.queues)

    async def _memory_store(self) -> EngineStore:
        """Use the store in memory that the client keeps for its restarters: they share the client's quota."""
        cloud: Any = next(iter(self._clouds.values()))
        if cloud.fallback_store is None:
            store = open_store("memory:", clock=self.clock, inline=True)
            await store.__aenter__()
            cloud.fallback_store = store
        kept: EngineStore = cloud.fallback_store
        return kept

    # -- restarting ------------------------------------------------------------------------------------------------

    def submit(self, server: str | Server, *, type: RestartWord = "SOFT") -> asyncio.Future[Outcome]:  # noqa: A002 - the API's word
        """Ask for a restart; the future gives its outcome. A server that is being restarted is joined.

        Cancelling the future stops the waiting; a server that nobody waits for and that was not sent is left alone.

        Raises:
            ConfigError: there is no such type, the server is being restarted with another one, or its site is none of
                ours.
            SelectionError: no server id.
            EngineStopped: the engine is not running.
        """
        direct = self._running()
        wanted = restart_type(type)
        target = as_fleet([server])[0]
        if target.site not in self.pipelines:
            raise ConfigError(f"The site {target.site!r} is none of this Restarter's.")
        for rollout in self._rollouts:
            joined = rollout.join(target.id)
            if joined is not None:
                if rollout.plan.type != wanted:
                    raise ConfigError(
                        f"Server {target.id} is part of run {rollout.run_id}, which is {rollout.plan.type}."
                    )
                return joined
        return direct.submit(target.id, target.site, wanted)

    async def restart(self, server: str | Server, *, type: RestartWord = "SOFT") -> Outcome:  # noqa: A002 - the API's word
        """Restart one server and return its outcome; see `submit`."""
        return await self.submit(server, type=type)

    def events(self, after: int = 0) -> AsyncIterator[Recorded]:
        """Follow what happens to servers that were asked for one by one, until this engine is closed.

        A rollout has its own: `Rollout.events`.
        """
        return self._running().feed.events(after)

    def rollout(
        self,
        servers: Plan | Iterable[Server | str],
        strategy: Strategy | None = None,
        *,
        check: Check | Without | None = None,
        gate: Gate | Without | None = None,
        run_id: str = "",
    ) -> Rollout:
        """Make a rollout; `Rollout.run` runs it.

        Args:
            servers: a plan, which is run as it is, or servers that a plan is made of.
            strategy: how; ignored for a plan.
            check: asks a restarted server whether it is healthy; None: as the strategy says, `hooks.WITHOUT`: nobody.
            gate: asked between waves; None and `hooks.WITHOUT` alike.
            run_id: names the run; the same id with the same servers continues it, with the check and the gate that it
                was planned with.

        Raises:
            ConfigError, SelectionError: see `make_plan`; a check or a gate that cannot be asked.
        """
        self._be_at_home()
        given = GivenHooks(check, gate)
        plan = servers if isinstance(servers, Plan) else self._plan(servers, strategy or Strategy(), given)
        plan = given.name_in(plan)
        hooks_of(plan, given)  # what cannot be asked is refused before anything is stored
        return Rollout(self, plan, run_id or self._new_run_id(), given=given)

    async def resume(
        self,
        run_id: str = "",
        *,
        check: Check | Without | None = None,
        gate: Gate | Without | None = None,
        changes: Changes | None = None,
    ) -> Rollout:
        """Make a rollout that goes on with a run from the store; "" is the latest.

        Args:
            run_id: which run.
            check: None: as the run was planned, where a callable has to be given again; `hooks.WITHOUT`: none.
            gate: the same.
            changes: what is asked for beyond going on.

        Raises:
            ConfigError: there is no such run, or it needs a check or a gate that is not given.
        """
        given = GivenHooks(check, gate)
        self._running()
        record = await self.store.run(run_id)
        plan = Plan.from_json(record.plan, await self.store.targets(record.run_id))
        changes = changes or Changes(by=self.holder.name)
        if not record.status.over or changes.retry:
            hooks_of(plan, given, record.run_id)
        return Rollout(self, plan, record.run_id, given=given, changes=changes)

    async def usage(self, site: str = "") -> Usage:
        """Say what of a site's quota is free, held and cooling, and when the next is free."""
        self._running()
        return await self.pipelines[site].bucket.usage()

    def blindness(self) -> tuple[float, str]:
        """Say for how many seconds nothing was seen of a site, and what the last request met; 0 where all are seen.

        After ``blind_timeout`` of it a rollout stops, resumable: ``cloud_unreachable``.
        """
        sights = [pipeline.visibility for pipeline in self.pipelines.values()]
        return max(((visibility.blind_for(), visibility.why) for visibility in sights), default=(0.0, ""))

    # -- being a host to rollouts ----------------------------------------------------------------------------------

    @property
    def store(self) -> EngineStore:
        """Where everything is written."""
        if self._store is None:
            raise EngineStopped("The Restarter was not started: use it inside `async with`.")
        return self._store

    def enter(self, guest: Guest) -> None:
        """Take a rollout in."""
        self._running()
        self._rollouts.append(guest)

    def leave(self, guest: Guest) -> None:
        """Let a rollout go."""
        if guest in self._rollouts:
            self._rollouts.remove(guest)
        self._landed.set()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _be_at_home(self) -> None:
        """Refuse other threads and event loops, from which nothing here can be touched safely."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if self._loop is not None and here is not self._loop:
            raise ConfigError(
                "This Restarter runs in another event loop: call it there, "
                "from other threads with `asyncio.run_coroutine_threadsafe`."
            )

    def _running(self) -> DirectRestarts:
        self._be_at_home()
        if self._direct is None or self._engine_task is None:
            raise EngineStopped("The Restarter is not running: use it inside `async with`.")
        if self._closed or self._engine_task.done():
            raise EngineStopped(f"The engine has ended{': ' + str(self._fault) if self._fault else ''}.")
        return self._direct

    @staticmethod
    def _plan(servers: Iterable[Server | str], strategy: Strategy, given: GivenHooks) -> Plan:
        if given.check is WITHOUT:
            strategy = replace(strategy, check=None)
        brought = given.check is not None and given.check is not WITHOUT
        return make_plan(as_fleet(servers), strategy, check=A_CALLABLE if brought else "")

    def _direct_terms(self, type_: RestartType) -> RestartOptions:
        defaults = Strategy()
        return RestartOptions(
            type=type_,
            batch_size=defaults.batch_size,
            server_timeout=defaults.server_timeout,
            linger=self.engine.linger,
        )

    def _wake(self, site: str) -> None:
        self.pipelines[site].wake()
        self._landed.set()

    def _new_run_id(self) -> str:
        letters, length = _RUN_ID
        return "".join(self._chance.choices(letters, k=length))

    async def _run(self) -> None:
        """Run all parts; a fault of one ends the engine."""
        sites = {f"site-{site}": pipeline.run() for site, pipeline in self.pipelines.items()}
        await work_together({**sites, "steer": self._steer(), "mend": self._mend()})

    def _ended(self, engine: asyncio.Task[None]) -> None:
        """Tell everybody who waits, however the engine has come to its end, unless it was closed."""
        self._landed.set()
        fault = None if engine.cancelled() else engine.exception()
        if self._broken_off and (fault is None or isinstance(fault, EngineStopped)):
            return
        self._fault = fault or EngineStopped("its task was cancelled from outside")
        if self._direct is not None:
            self._direct.end(self._fault)
        for rollout in list(self._rollouts):
            rollout.engine_stopped(self._fault)

    async def _steer(self) -> None:
        """Hand the rollouts what was asked of them through the store."""
        while True:
            await asyncio.sleep(STEER_INTERVAL)
            for rollout in list(self._rollouts):
                if rollout.held:
                    await self._hand_over(rollout)

    async def _mend(self) -> None:
        """Go on with single restarts behind a failed write, whether or not somebody asks for one."""
        while self._direct is not None:
            await asyncio.sleep(MEND_INTERVAL)
            await self._direct.mend()

    async def _hand_over(self, rollout: Guest) -> None:
        # A read that fails now may not in a moment: it is not the run's end, as a failed write is.
        with suppress(Exception):
            for command in await self.store.commands(rollout.run_id, rollout.last_command):
                # Anybody may append a command; one that cannot be followed changes nothing.
                with suppress(Exception):
                    rollout.command(command)


def _timed(engine: Engine, clouds: Sequence[Cloud]) -> Engine:
    """Return the engine with its clients' timeouts, of several the largest: the ledger must outwait them all."""
    for name, default in (("request_timeout", _PLAIN.request_timeout), ("connect_timeout", _PLAIN.connect_timeout)):
        wanted: float = getattr(engine, name)
        other = next((has for cloud in clouds if (has := getattr(cloud, name)) != wanted), wanted)
        if wanted not in {default, other}:
            raise ConfigError(
                f"Engine({name}={wanted:g}) beside EcsClient({name}={other:g}): set it in the EcsClient, the engine "
                "takes it from there."
            )
    longest = {name: max(getattr(cloud, name) for cloud in clouds) for name in ("request_timeout", "connect_timeout")}
    return replace(engine, **longest)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
