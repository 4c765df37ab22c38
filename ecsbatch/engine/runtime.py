"""What a rollout runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from ecsbatch.clock import Clock
from ecsbatch.config.settings import Engine
from ecsbatch.engine.journal import JournalStore, ReadStore
from ecsbatch.engine.pipeline import Pipeline
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.plan import Plan
from ecsbatch.model.run import Command, Holder, Lease, NewRun, RunRecord
from ecsbatch.model.servers import Fleet


def holder_changed(
    holder: Holder, engine: Engine, fence: int, previous: str = "", ledger_time: float = 0.0
) -> ev.HolderChanged:
    """Say who has a run from now on, and by which quota it spends."""
    return ev.HolderChanged(
        holder=holder.name,
        host=holder.host,
        pid=holder.pid,
        fence=fence,
        previous=previous,
        limit=engine.quota.limit,
        window=engine.quota.window,
        unknown_grace=engine.unknown_grace,
        request_timeout=engine.request_timeout,
        boot=holder.boot,
        ledger_time=ledger_time,
    )


class RolloutStore(JournalStore, ReadStore, Protocol):
    """What a rollout needs of a store."""

    async def create_run(self, new: NewRun, holder: Holder) -> Lease:
        """Store a new run; raises RunConflict."""
        ...

    async def take_run(self, run_id: str, holder: Holder) -> Lease:
        """Take a run whose holder is gone; raises RunConflict."""
        ...

    async def release(self, hold: Lease) -> None:
        """Let a run go."""
        ...

    async def run(self, name: str = "") -> RunRecord:
        """Return a run by its id."""
        ...

    async def targets(self, run_id: str) -> Fleet:
        """Return a run's frozen servers."""
        ...

    async def commands(self, run_id: str, after: int = 0) -> list[Command]:
        """Return what was asked of a run's holder."""
        ...


class Guest(Protocol):
    """A rollout, as its engine sees it."""

    @property
    def run_id(self) -> str:
        """Which run."""
        ...

    @property
    def plan(self) -> Plan:
        """What it was planned as."""
        ...

    @property
    def last_command(self) -> int:
        """The number of the last command from elsewhere that was followed."""
        ...

    @property
    def held(self) -> bool:
        """True while this process holds the run."""
        ...

    def stop(self, reason: str = "interrupted", message: str = "") -> None:
        """End here, resumable."""
        ...

    def command(self, command: Command) -> None:
        """Follow what was asked of the run's holder from elsewhere; raises ConfigError."""
        ...

    def join(self, server: str) -> asyncio.Future[Outcome] | None:
        """Wait for a server's outcome with this run; None where it is not of this run or has ended."""
        ...

    def engine_stopped(self, fault: BaseException) -> None:
        """The engine ended under this rollout."""
        ...


class Host(Protocol):
    """The engine that a rollout runs on."""

    @property
    def store(self) -> RolloutStore:
        """Where everything is written."""
        ...

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """The parts for each site, by its key."""
        ...

    @property
    def holder(self) -> Holder:
        """This process."""
        ...

    @property
    def clock(self) -> Clock:
        """Stamps and dates."""
        ...

    @property
    def engine(self) -> Engine:
        """The settings."""
        ...

    def enter(self, guest: Guest) -> None:
        """Take a rollout in; raises EngineStopped."""
        ...

    def leave(self, guest: Guest) -> None:
        """Let a rollout go."""
        ...
