"""`Restarter`: the engine, one per store and process. Rollouts run on it, and anybody may ask it for one restart."""

from __future__ import annotations

import asyncio
import getpass
import math
import os
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast

from ecsbatch.clock import Clock, SystemClock
from ecsbatch.config import Engine, Strategy
from ecsbatch.direct import Direct, DirectStore
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped
from ecsbatch.events import Recorded
from ecsbatch.gates import Gate
from ecsbatch.hooks import A_CALLABLE, WITHOUT, Given, Without, hooks_of
from ecsbatch.hosting import Changes, Guest, RolloutStore
from ecsbatch.limiter import Ledger
from ecsbatch.line import Check, Line, Terms
from ecsbatch.models import Fleet, Holder, Outcome, Quota, RestartType, RestartWord, Server, Usage, restart_type
from ecsbatch.pipeline import Cloud, Pipeline
from ecsbatch.plan import Plan
from ecsbatch.records import Command
from ecsbatch.rollout import Rollout
from ecsbatch.selection import as_fleet
from ecsbatch.store import open_store
from ecsbatch.strategy import make_plan

STEER_INTERVAL: Final = 0.5
"""Seconds between two looks at what was asked of a run from elsewhere; it is to be seen within a second."""

_RUN_ID: Final = ("23456789abcdefghjkmnpqrstuvwxyz", 8)
"""Letters of a run id, without those that are easily mistaken, and how many."""


class EngineStore(DirectStore, RolloutStore, Ledger, Protocol):
    """Everything that the engine needs of a store."""

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
            engine: all other settings of the engine.
            clock: stamps, dates and the ledger's time.
            seed: of all chance (jitter, run ids); None: from the system.
            name: what other people read as this process's name; default ``user@host``.
        """
        self.engine = engine or Engine()
        if quota is not None:
            self.engine = replace(self.engine, quota=quota)
        self._clouds: Mapping[str, Cloud] = ecs if isinstance(ecs, Mapping) else {"": ecs}
        if not self._clouds:
            raise ConfigError("A Restarter needs at least one site's client.")
        self._given_store = store
        self._store: EngineStore | None = store
        self.clock = clock or SystemClock()
        self._chance = Random(seed)
        host = socket.gethostname()
        self.holder = Holder(name or f"{_user()}@{host}", host, os.getpid(), self.clock.wall(), self.clock.boot_id())
        self.pipelines: dict[str, Pipeline] = {}
        self._rollouts: list[Guest] = []
        self._direct: Direct | None = None
        self._engine_task: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None
        self._closed = False
        self._landed = asyncio.Event()

    def __repr__(self) -> str:
        waiting = len(self._direct) if self._direct else 0
        state = "closed" if self._closed else "running" if self._engine_task else "not started"
        queued = sum(line.queued for p in self.pipelines.values() for line in p.lines)
        short = [shortage for p in self.pipelines.values() if (shortage := p.bucket.shortage()) is not None]
        tokens = "".join(f", {free} tokens free, more in {math.ceil(seconds)} s" for free, seconds in short)
        return (
            f"<Restarter {state} [{waiting} direct, {len(self._rollouts)} rollouts, {queued} queued, "
            f"{self._in_air} requests in the air{tokens}]>"
        )

    async def __aenter__(self) -> Self:
        """Start the engine."""
        self._store = self._given_store or await self._memory_store()
        for site, cloud in self._clouds.items():
            self.pipelines[site] = Pipeline(cloud, self._store, self.engine, self._chance)
        self._direct = Direct(
            self._store,
            self.holder,
            self.engine,
            self._new_run_id(),
            self._direct_terms,
            self._add_line,
            self._wake,
        )
        # The one task that no group owns: the engine must outlive the caller's own groups and never cancel them.
        self._engine_task = asyncio.get_running_loop().create_task(self._run(), name="ecsbatch-engine")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop: requests in flight get their answer, everybody who still waits hears EngineStopped."""
        if self._closed or self._engine_task is None or self._direct is None:
            return
        self._closed = True
        self._direct.close()
        for rollout in list(self._rollouts):
            rollout.stop("closed", "The Restarter was closed.")
        try:
            await self._land(self._engine_task)
        finally:
            self._engine_task.cancel()
            await asyncio.wait([self._engine_task])
            self._direct.end(self._fault)
            await self._direct.release()

    async def _land(self, engine: asyncio.Task[None]) -> None:
        """Wait for requests in the air: each is bounded by the client's own timeout."""
        engine.add_done_callback(lambda _: self._landed.set())
        while not engine.done() and (self._in_air or self._rollouts):
            self._landed.clear()
            await self._landed.wait()

    @property
    def _in_air(self) -> int:
        return sum(line.in_air for p in self.pipelines.values() for line in p.lines)

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
        return self._running().cursors.events(after)

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
        given = Given(check, gate)
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
        given = Given(check, gate)
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
        sights = [pipeline.sight for pipeline in self.pipelines.values()]
        return max(((sight.blind_for(), sight.why) for sight in sights), default=(0.0, ""))

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

    def _running(self) -> Direct:
        if self._direct is None or self._engine_task is None:
            raise EngineStopped("The Restarter is not running: use it inside `async with`.")
        if self._closed or self._engine_task.done():
            raise EngineStopped(f"The engine has ended{': ' + str(self._fault) if self._fault else ''}.")
        return self._direct

    @staticmethod
    def _plan(servers: Iterable[Server | str], strategy: Strategy, given: Given) -> Plan:
        if given.check is WITHOUT:
            strategy = replace(strategy, check=None)
        brought = given.check is not None and given.check is not WITHOUT
        return make_plan(as_fleet(servers), strategy, check=A_CALLABLE if brought else "")

    def _direct_terms(self, type_: RestartType) -> Terms:
        defaults = Strategy()
        return Terms(
            type=type_,
            batch_size=defaults.batch_size,
            server_timeout=defaults.server_timeout,
            linger=self.engine.linger,
        )

    def _wake(self, site: str) -> None:
        self.pipelines[site].wake()
        self._landed.set()

    def _add_line(self, line: Line) -> None:
        self.pipelines[line.site].add(line)

    def _new_run_id(self) -> str:
        letters, length = _RUN_ID
        return "".join(self._chance.choices(letters, k=length))

    async def _run(self) -> None:
        """Run all parts; a fault of one ends the engine and is told to everybody who waits."""
        try:
            async with asyncio.TaskGroup() as group:
                for site, pipeline in self.pipelines.items():
                    group.create_task(pipeline.run(), name=f"site-{site}")
                group.create_task(self._steer(), name="steer")
        except BaseExceptionGroup as group_fault:
            self._fault = _first(group_fault)
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
                    for command in await self.store.commands(rollout.run_id, rollout.last_command):
                        # Anybody may append a command; one that cannot be followed changes nothing.
                        with suppress(EcsbatchError, TypeError, ValueError):
                            rollout.command(command)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first fault of a nested group."""
    fault = group.exceptions[0]
    if isinstance(fault, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", fault))
    return fault


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
