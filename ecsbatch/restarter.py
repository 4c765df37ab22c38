"""`Restarter`: the engine as its users have it. Rollouts run on it, and anybody may ask it for one restart.

Read `Restarter.submit` and `Restarter.rollout` first; what works behind them is in `ecsbatch.rollout.live_engine`.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from random import Random
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from ecsbatch.clock import Clock
from ecsbatch.config.settings import Engine, Programs, Strategy
from ecsbatch.engine.journal import seen
from ecsbatch.engine.pipeline import Pipeline
from ecsbatch.engine.ports import Cloud, Store, Watcher
from ecsbatch.engine.runtime import Runtime
from ecsbatch.engine.server_queue import Check
from ecsbatch.engine.watching import WatcherList
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped, RunConflict
from ecsbatch.model.outcome import HANDED_OVER, Outcome
from ecsbatch.model.plan import Plan
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Changes, Holder, RunRecord
from ecsbatch.model.run_ids import RunIds
from ecsbatch.model.servers import RestartWord, Server, restart_type
from ecsbatch.model.text import counted
from ecsbatch.rollout.check_addresses import is_this_machine
from ecsbatch.rollout.draft import Draft, listed
from ecsbatch.rollout.gates import Gate
from ecsbatch.rollout.history import History, need_rollout
from ecsbatch.rollout.hooks import GivenHooks, Without, hooks_of
from ecsbatch.rollout.live_engine import LiveEngine
from ecsbatch.rollout.orphans import CLOSED, orphans
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.rollout.session import OnEvent, RunSession, checked_hearer
from ecsbatch.rollout.standby import MAX_RUNS, OnNews, Standby
from ecsbatch.rollout.standby_worker import StandbyWorker
from ecsbatch.store import open_store

CLOSE_WITHIN: Final = 5.0
"""Seconds for which closing waits for the answers of requests in the air."""


class Restarter(History):
    """The engine: queues, token bucket, submit workers and pollers, shared by all who restart servers.

    ``async with`` starts it, in the event loop that it is used in, once. It has no global state, installs no signal
    handler and configures no logging. A program has one for as long as it lives. Whatever can be asked of a `History`
    can be asked of it too, about the runs of all processes that share its store::

        async with EcsClient(region="eu-west-101", auth=credentials()) as ecs, Restarter(ecs, store) as restarter:
            outcome = await restarter.restart("web-1")
            rollout = await restarter.rollout(ids, Strategy(waves=["1", "10%"])).start()
            await restarter.steer("another-run").pause()
            result = await rollout

    Attributes:
        engine: the settings.
        clock: stamps, dates and the ledger's time.
        holder: this process, as the runs that it has name it.
    """

    def __init__(  # noqa: PLR0913 - settings, by keyword only, each with a default but two
        self,
        ecs: Cloud | Mapping[str, Cloud],
        store: Store | None = None,
        *,
        quota: Quota | None = None,
        engine: Engine | None = None,
        programs: Programs | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
        name: str = "",
        watchers: Sequence[Watcher] = (),
    ) -> None:
        """Put an engine together; ``async with`` starts it.

        Args:
            ecs: the client of the only site, or one for each key that servers name as their ``site``.
            store: keeps runs, claims and the quota ledger, see `open_store`; None: one in memory, kept with the client.
            quota: servers per window; None: that of ``engine``, by default 1,000 in 60 seconds.
            engine: the other settings of the engine; how long requests may take is set in their client.
            programs: what the commands of planned checks and gates may do; None: nothing beyond the default.
            clock: stamps, dates and the ledger's time; None: the system's.
            seed: of all that is random (jitter, run ids); None: from the system.
            name: names this process in runs, for whoever asks who holds them; "": ``user@host``.
            watchers: hear of all that happens here, such as `ecsbatch.views.metrics.Metrics`.

        Raises:
            ConfigError: no client.
        """
        self._clouds: Mapping[str, Cloud] = ecs if isinstance(ecs, Mapping) else {"": ecs}
        if not self._clouds:
            raise ConfigError("A Restarter needs at least one site's client.")
        self.engine = engine or Engine()
        if quota is not None:
            self.engine = replace(self.engine, quota=quota)
        super().__init__(store, clock=clock)
        self._programs = programs or Programs()
        self._watchers = WatcherList(watchers)
        self._chance = Random(seed)
        host = socket.gethostname()
        self.holder = Holder(name or f"{_user()}@{host}", host, os.getpid(), self.clock.wall(), self.clock.boot_id())
        self._run_ids = RunIds(self._chance, self.holder.since)
        self._working: LiveEngine | None = None
        self._taking: set[asyncio.Task[Rollout]] = set()
        self._started = False

    def __repr__(self) -> str:
        return f"<Restarter {self._working or 'not started'}>"

    async def __aenter__(self) -> Self:
        """Start the engine.

        Raises:
            ConfigError: it was started before.
            StoreError: there is no store, and none can be opened in memory.
        """
        if self._started:
            raise ConfigError("This Restarter was started before: make another for another `async with`.")
        self._started = True
        try:
            await self._start()
        except BaseException:
            self._started = False
            raise
        return self

    async def _start(self) -> None:
        store = self._store = self._store or await self._memory_store()
        runtime = Runtime(self._clouds, store, self.engine, self.holder, self.clock, self._chance)
        runtime.watchers = self._watchers
        self._working = LiveEngine(runtime, self._run_ids.draw)
        self._working.start()

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

    async def aclose(
        self,
        timeout: float = CLOSE_WITHIN,  # noqa: ASYNC109 - how long others get, not this call
        *,
        hand_over: bool = False,
    ) -> None:
        """Stop: nothing new is sent, and whoever still waits for a server gets EngineStopped.

        Rollouts stop, resumable; whoever waits for a single restart that a rollout has, since it was joined, gets it as
        it stands: ``unknown``, ``in_flight``. A second call meanwhile waits for the same end.

        Args:
            timeout: seconds that requests in the air get for their answers, and rollouts for writing their end, 5 by
                default and at the end of ``async with``; what comes later is for a resume to find out.
            hand_over: leave the rollouts for another process: one that stands by takes them at once (`stand_by`).

        Raises:
            ConfigError: it runs in another event loop.
            RunConflict: another process has taken the run of the direct restarts.
        """
        if self._working is not None:
            await self._working.aclose(timeout, HANDED_OVER if hand_over else CLOSED)

    async def _memory_store(self) -> Store:
        """Return the store in memory that the client keeps for all its Restarters: they share the client's quota."""
        cloud: Any = next(iter(self._clouds.values()))
        if cloud.fallback_store is None:
            store = open_store("memory:", clock=self.clock, inline=True)
            await store.__aenter__()
            cloud.fallback_store = store
        kept: Store = cloud.fallback_store
        return kept

    # -- restarting ------------------------------------------------------------------------------------------------

    def submit(self, server: str | Server, *, type: RestartWord = "SOFT") -> asyncio.Future[Outcome]:  # noqa: A002 - the API's word
        """Ask for a restart; the future gives its outcome. Where the server is being restarted, that one is joined.

        What is asked for in the same half second (`Engine` has it as ``linger``) goes out together, 100 servers in a
        request. Cancelling the future only ends the waiting; a server that nobody waits for any more is not sent.

            futures = [restarter.submit(server) for server in ids]
            for outcome in await asyncio.gather(*futures):
                print(outcome.server, outcome.kind, outcome.reason)

        Args:
            server: its id; its name, where no other server of the project is called so, which is looked for first; or
                a `Server` where that has to name its site.
            type: ``SOFT`` asks the system to restart, ``HARD`` cuts the power.

        Raises:
            Invalid: there is no such type.
            ConfigError: the server is being restarted with another type, the Restarter does not have its site, or this
                is another event loop.
            SelectionError: this is no server id and no name.
            EngineStopped: the engine is not running.

        The future raises:
            ServerNotFound: no server is called so.
            SelectionError: several are.
            CloudError: the cloud does not show who is called so.
            RunConflict: another process's run has the server.
            StoreError: what happens cannot be written.
            EngineStopped: the engine ended before the server did.
        """
        return self._engine().submit(server, restart_type(type))

    async def restart(self, server: str | Server, *, type: RestartWord = "SOFT") -> Outcome:  # noqa: A002 - the API's word
        """Restart one server and return its outcome, whatever it is; arguments and errors are those of `submit`.

            outcome = await restarter.restart("web-1")
            if outcome.kind.is_failure:
                print(outcome.server, outcome.kind, outcome.reason, outcome.message)

        Cancelling it ends the waiting: a server that was sent already is restarted all the same. Ten thousand calls at
        once are taken in by the hundred, so that the event loop goes on meanwhile.
        """
        await self._engine().turnstile.turn()
        return await self.submit(server, type=type)

    def events(self, after: int = 0, run_id: str = "") -> AsyncGenerator[Recorded]:
        """Follow the events of single restarts from behind event number ``after``, until this engine is closed.

        They are recorded in one run after another, each of some hundred thousand events or a day; the last events of
        one may come among the first of the next. A store in memory forgets a run that is over and that nobody is
        reading: who has stood still for a whole run misses those after it. A rollout has its own: `Rollout.events`.

            async for recorded in restarter.events():
                log.info("%s", recorded.as_dict())

        Args:
            after: the event's number in its run.
            run_id: that run, as the event names it; "": the present one.

        Raises:
            RunNotFound: the run is none of the last ones of this Restarter's single restarts.
            EngineStopped: the engine is not running.
            StoreError: the store cannot be read; raised by the iteration.
        """
        return self._engine().direct.events(after, run_id)

    def rollout(
        self,
        servers: Plan | Iterable[Server | str],
        strategy: Strategy | None = None,
        *,
        check: Check | Without | None = None,
        gate: Gate | Without | None = None,
        run_id: str = "",
        on_event: OnEvent | None = None,
    ) -> Rollout:
        """Make a rollout; `Rollout.start` begins it, `Rollout.run` sees it to its end.

        What is wrong with the servers, or with a strategy for them, is raised where the rollout begins.

        Ids that do not exist are skipped, and `Result.not_found` names them. At servers that are given without a plan
        nobody has looked yet: percentages are of all of them, and an id alone has neither zone nor name, in the record
        either. `plan` looks first.

            async def answers(server: Server) -> bool:
                return await ping(server.address)  # False, or an exception, means not yet

            async def calm(state: RolloutState) -> GateVerdict:
                return "stop" if await alarms() else "go"

            rollout = restarter.rollout(ids, Strategy(waves=["1", "10%"], min_ready="30s"), check=answers, gate=calm)
            result = await rollout.run()

        Args:
            servers: a plan, which is run as it is, or servers to make one of: ids, unique names, or a `Server` each.
            strategy: how to restart them; None: ``Strategy()``; ignored for a plan.
            check: an async function that tells of a restarted `Server` whether it is healthy. It is asked again, every
                ``check_interval``, until ``server_timeout`` is over. None: as planned; `WITHOUT`: no check.
            gate: an async function that is given the `RolloutState` before each wave but the first, and returns ``go``,
                ``wait`` (ask again later) or ``stop``, see `ecsbatch.rollout.gates`. None: as planned; `WITHOUT`: no
                gate.
            run_id: names the run, in up to 64 letters, digits, dots, dashes and underscores; "": a new id. The same id
                with the same servers continues the run, with the check and the gate that it was planned with.
            on_event: a plain function that is called with each event of the run that this process records, once it is
                stored; it must return at once. What it raises is told to the event loop's exception handler, and stops
                nothing. `Rollout.events` is for those who take their time.

        Raises:
            SelectionError: ``servers`` is no list.
            ConfigError: the check, the gate or ``on_event`` is none, or this is another event loop.
            EngineStopped: the engine was not started.
        """
        working = self._engine(running=False)
        draft = Draft(listed(servers), strategy or Strategy(), self._given(check, gate))
        return Rollout(
            working.runtime,
            run_id or self._run_ids.draw(),
            draft,
            running=working.rollouts.running,
            on_event=checked_hearer(on_event),
        )

    async def plan(
        self,
        servers: Iterable[Server | str],
        strategy: Strategy | None = None,
        *,
        check: Check | Without | None = None,
        gate: Gate | Without | None = None,
    ) -> Plan:
        """Look at the servers, and return the plan of those that can be restarted, in numbers; nothing is sent.

        Percentages are of the servers that exist. `rollout` takes the plan; one that is begun later than some minutes
        after it was made is compared with the fleet once more, and refused as `PlanStale` where that has changed.

            plan = await restarter.plan(["web-1", "web-2"], Strategy(max_unavailable=1))
            print(len(plan.waves), plan.not_found)
            rollout = await restarter.rollout(plan).start()

        Args:
            servers: ids, unique names, or a `Server` each.
            strategy: how to restart them.
            check: the check that `rollout` will be given; None: that of the strategy; `WITHOUT`: none.
            gate: the same of the gate.

        Raises:
            ServerNotFound: no server has a name that is given.
            SelectionError: it is not clear which servers are meant.
            SelectionRefused: there are none, too many do not exist, or those that are down already fill the budget.
            ConfigError: a server is at a site that this Restarter does not have, the check or the gate is none, or this
                is a plan already.
            CloudError: not everything could be seen.
            EngineStopped: the engine is not running.
        """
        runtime = self._engine().runtime
        draft = Draft(listed(servers), strategy or Strategy(), self._given(check, gate))
        return await draft.looked_at(runtime.clouds, self.clock.wall())

    async def resume(
        self,
        run_id: str = "",
        *,
        check: Check | Without | None = None,
        gate: Gate | Without | None = None,
        changes: Changes | None = None,
        on_event: OnEvent | None = None,
    ) -> Rollout:
        """Make a rollout that goes on with a run from the store; begun as that of `rollout`.

            rollout = await (await restarter.resume("kernel-7")).start()
            result = await rollout

        Servers that have their outcome keep it; those under way are looked at before anything is sent again. To have a
        paused run go on that a process holds, `History.steer` it.

        Args:
            run_id: the run's id or a unique beginning of it; "": the latest rollout.
            check: as in `rollout`; a run that was planned with a callable needs one again.
            gate: the same.
            changes: what is asked for beyond going on, such as which servers are tried again.
            on_event: as in `rollout`.

        Raises:
            RunNotFound: no run has this id, or several begin so.
            Invalid: it is a run of single restarts.
            ConfigError: it needs a check or a gate that is not given, or ``on_event`` is no plain function.
            ProgramRefused: the store may be written by others, and the run's command is none of those of `Programs`.
            StoreError: the store cannot be read.
            EngineStopped: the engine is not running.
        """
        given = self._given(check, gate)
        return await self._resumed(run_id, given, changes or Changes(by=self.holder.name), on_event)

    async def _resumed(self, run_id: str, given: GivenHooks, changes: Changes, on_event: OnEvent | None) -> Rollout:
        working = self._engine()
        runtime = working.runtime
        record = need_rollout(await runtime.store.run(run_id))
        plan = record.plan_of(await runtime.store.targets(record.run_id))
        if not record.status.over or changes.retry:
            hooks_of(plan, given, record.run_id, runtime.store.exposure)
        session = await RunSession.of(runtime, record.run_id, plan)
        hearer = checked_hearer(on_event)
        return Rollout(
            runtime,
            record.run_id,
            session,
            given=given,
            changes=changes,
            running=working.rollouts.running,
            on_event=hearer,
        )

    async def resume_orphans(
        self,
        *,
        check: Check | Without | None = None,
        gate: Gate | Without | None = None,
        on_event: OnEvent | None = None,
    ) -> list[Rollout]:
        """Go on with every rollout of the store whose process is gone: what a service does first when it starts.

        These are the rollouts of processes that have died, and those that were broken off with their process: by
        `aclose`, whether or not they were handed over, or because the task that ran them was cancelled. One that
        somebody has stopped, or that a limit, a gate or a budget has, stays as it is; one that was paused is held
        again, and stays paused. Several processes may call this at once: each rollout is taken by one of them.
        Cancelled, it takes no more; what it has, or is just taking, goes on.

            for rollout in await restarter.resume_orphans():
                print(rollout.run_id, rollout.progress.standing.text)

        Args:
            check: of those that were planned with a callable as their check.
            gate: of those that were planned with a callable as their gate.
            on_event: as in `rollout`, for each of them.

        Returns:
            The rollouts, begun: each goes on by itself.

        Raises:
            ExceptionGroup: some could not be taken, such as for want of a callable: an `EcsbatchError` for each, with
                the run in a note; `rollouts` has all others, which go on.
            StoreError: the store cannot be read.
            EngineStopped: the engine is not running.
        """
        store = self._engine().runtime.store
        taken: list[Rollout] = []
        failed: list[EcsbatchError] = []
        for record in await orphans(store):
            try:
                taken.append(await self._take_orphan(record, check, gate, on_event))
            except RunConflict:
                continue  # another process was quicker, or has some of its servers
            except EcsbatchError as e:
                e.add_note(f"Run {record.run_id} is left as it was.")
                failed.append(e)
        if failed:
            raise ExceptionGroup(f"{counted(len(failed), 'orphan')} could not be resumed", failed)
        return taken

    async def _take_orphan(
        self, record: RunRecord, check: Check | Without | None, gate: Gate | Without | None, on_event: OnEvent | None
    ) -> Rollout:
        given, run_id = self._given(check, gate).for_callables(record.plan), record.run_id
        changes = Changes(by=self.holder.name, stays_paused=True, as_of=record.seq)
        rollout = await self._resumed(run_id, given, changes, on_event)
        # In a task of its own: a run that is left in mid-taking would be one that somebody has cancelled.
        taking = asyncio.get_running_loop().create_task(rollout.start(), name=f"ecsbatch-orphan-{run_id}")
        self._taking.add(taking)
        taking.add_done_callback(self._taking.discard)
        taking.add_done_callback(seen)
        return await asyncio.shield(taking)

    async def stand_by(
        self,
        *,
        runs: Collection[str] = (),
        max_runs: int = MAX_RUNS,
        check: Check | Without | None = None,
        gate: Gate | Without | None = None,
        on_event: OnEvent | None = None,
        on_news: OnNews | None = None,
    ) -> None:
        """Take over rollouts whose process dies, or hands them over, for as long as this is awaited.

        For services with several processes on one store: `aclose` with ``hand_over`` leaves the rollouts of one that
        ends, and another one has them a moment later. Cancelling it ends the looking; what was taken goes on.

            standing_by = asyncio.create_task(restarter.stand_by(on_news=print))

        Unlike `resume_orphans` it leaves alone what somebody's own program has closed or cancelled. What was paused
        stays paused, and one that is being aborted is only looked after until it ends. Several may stand by: each
        rollout is taken by one of them. It runs no program for the sole reason that a record names it: checks ``cmd:``
        and ``url:``, gates and files of certificates have to stand in `Programs.allow_programs`.

        Args:
            runs: ids of the only rollouts that are taken; none: all are.
            max_runs: how many of those that were taken go on here at once, at most.
            check: of those that were planned with a callable as their check.
            gate: of those that were planned with a callable as their gate.
            on_event: as in `rollout`, for each of them.
            on_news: a plain function that hears what is taken, what is left alone and why, and how it ended.

        Raises:
            EngineStopped: the engine is not running, or has ended.
        """
        self._engine()
        worker = self.standby_worker(check=check, gate=gate, on_event=on_event)
        await Standby(worker, runs=runs, max_runs=max_runs, on_news=on_news).run()

    def standby_worker(
        self,
        *,
        check: Check | Without | None = None,
        gate: Gate | Without | None = None,
        on_event: OnEvent | None = None,
    ) -> StandbyWorker:
        """Return what a `Standby` works with; arguments are those of `stand_by`."""
        working = self._engine()
        return StandbyWorker(
            working.runtime, replace(self._given(check, gate), unattended=True), self._resumed, on_event
        )

    @property
    def rollouts(self) -> tuple[Rollout, ...]:
        """The rollouts of this process that are stored and held: by `rollout`, `resume`, `stand_by` and the like."""
        return tuple(filter(attrgetter("held"), self._working.rollouts)) if self._working is not None else ()

    async def usage(self, site: str = "") -> Usage:
        """Return what of a site's quota is free, in flight and cooling, and when more is free.

            usage = await restarter.usage()
            print(f"{usage.free} of {usage.limit} free, more in {usage.next_free_in} s")

        Args:
            site: the key of the site in a Restarter of several; "": the only one.

        Raises:
            ConfigError: the Restarter does not have the site.
            StoreError: the store cannot be read.
            EngineStopped: the engine is not running.
        """
        return await self._engine().pipeline(site).bucket.usage()

    def blindness(self) -> tuple[float, str]:
        """Return for how many seconds a site has shown nothing, 0.0 for none, and what its last request met.

        For a service's own health. After ``blind_timeout`` seconds rollouts with servers at the site stop, resumable:
        ``cloud_unreachable``.
        """
        return self._working.runtime.blindness() if self._working is not None else (0.0, "")

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """The engine's parts for each site, by its key; none before the start."""
        return self._working.runtime.pipelines if self._working is not None else {}

    # -- inside ----------------------------------------------------------------------------------------------------

    def _live(self, run_id: str) -> Rollout | None:
        return self._working.rollouts.find(run_id) if self._working is not None else None

    def _engine(self, *, running: bool = True) -> LiveEngine:
        """Return the engine at work; refuse to be used before the start, in another event loop, or behind its end.

        With ``running=False`` one that has ended will do.
        """
        if self._working is None:
            raise EngineStopped("The Restarter is not running: use it inside `async with`.")
        if running:
            self._working.runtime.check()
        self._working.runtime.check_loop()
        return self._working

    def _given(self, check: Check | Without | None, gate: Gate | Without | None) -> GivenHooks:
        hosts = (urlsplit(cloud.site.endpoint).hostname or "" for cloud in self._clouds.values())
        return GivenHooks(check, gate, self._programs, on_this_machine=all(map(is_this_machine, hosts)))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
