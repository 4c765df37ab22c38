"""`StandbyWorker`: one engine as a `Standby` works with it: what it lacks for a run, and how it goes on with one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from ecsbatch.engine.ports import Store
from ecsbatch.engine.runtime import Runtime
from ecsbatch.model.run import Changes, RunRecord
from ecsbatch.rollout.follower import load_history
from ecsbatch.rollout.hooks import WITHOUT, GivenHooks
from ecsbatch.rollout.needs import lacking, only_to_end
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.rollout.session import OnEvent

Resume: TypeAlias = Callable[[str, GivenHooks, Changes, OnEvent | None], Awaitable[Rollout]]
"""Makes a rollout that goes on with a run, by its id."""


class StandbyWorker:
    """Goes on with runs on one engine, and brings a check and a gate for those that were planned with a callable."""

    def __init__(self, runtime: Runtime, given: GivenHooks, resume: Resume, on_event: OnEvent | None = None) -> None:
        """Work on ``runtime`` by ``resume``, with what is ``given`` to each run."""
        self._runtime = runtime
        self._given = given
        self._resume = resume
        self._on_event = on_event

    @property
    def store(self) -> Store:
        """Where the runs are."""
        return self._runtime.store

    def check(self) -> None:
        """Raise EngineStopped where the engine has ended."""
        self._runtime.check()

    async def lacking(self, record: RunRecord) -> list[str]:
        """Return what it lacks to go on with a run; of one that is only to end, what is still asked."""
        return self._lacks(record.plan) and self._lacks(await self._asked(record))

    async def take_over(self, record: RunRecord) -> Rollout:
        """Go on with a run, and return it once it is held.

        It is taken as it was looked at only: its holder may have let it go between then and the look at its lock, and
        have written before that somebody has stopped it.

        Raises:
            EcsbatchError: as `ecsbatch.Restarter.resume` and `Rollout.start`.
        """
        given = self._given.for_callables(record.plan)
        if self._lacks(record.plan):
            asked = await self._asked(record)
            if record.plan.get("gate") and not asked.get("gate"):
                given = replace(given, gate=WITHOUT)
            if record.plan.get("check") and not asked.get("check"):
                given = replace(given, check=WITHOUT)
        changes = Changes(by=self._runtime.holder.name, stays_paused=True, as_of=record.seq)
        return await (await self._resume(record.run_id, given, changes, self._on_event)).start()

    async def _asked(self, record: RunRecord) -> Mapping[str, Any]:
        """Return a run's plan without what it does not ask any more, since it is being aborted."""
        history = await load_history(self.store, record)
        return (
            only_to_end(record.plan, under_way=bool(history.state.run.in_flight)) if history.aborting else record.plan
        )

    def _lacks(self, plan: Mapping[str, Any]) -> list[str]:
        sites = {site: pipeline.cloud.site.quota_group for site, pipeline in self._runtime.pipelines.items()}
        given = {"check": self._given.check, "gate": self._given.gate}
        brought = [name for name, hook in given.items() if hook is not None]
        return lacking(plan, sites, self._given.programs.allow_programs, brought)
