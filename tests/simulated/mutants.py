"""Engines that break one promise each, made at the seams between the engine and its world.

They are what the checker is measured by: a judge that lets one of them pass for long would let the like pass for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ecsbatch.errors import UnknownAnswer
from ecsbatch.events import Event, Recorded
from ecsbatch.models import Holder, Job, RestartType
from ecsbatch.records import Claim, Commit, Grant, Hold, NewRun, Settle, Take
from ecsbatch.rollout import Rollout
from ecsbatch.stages import Stage
from ecsbatch.state import RolloutState

from .lives import Seams
from .world import World

GUARD: Final = 0.05


class Wrapper:
    """Hands everything on that a mutation leaves alone."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        """Hand on."""
        return getattr(self._inner, name)


class ChargedAtSend(Wrapper):
    """A ledger whose window runs from the send, as a sliding log's does: an answer changes nothing."""

    def __init__(self, inner: Any, window: float) -> None:
        super().__init__(inner)
        self._window = window

    def commit(self, hold: Hold, events: Sequence[Event] = (), **more: Any) -> asyncio.Future[Commit]:
        """Let a grant free itself a window after it was given."""
        take: Take | None = more.pop("take", None)
        settle: Sequence[Settle] = more.pop("settle", ())
        if take is not None:
            take = replace(take, hold=self._window + GUARD)
        refunds = [each for each in settle if each.hold is None]
        future: asyncio.Future[Commit] = self._inner.commit(hold, events, take=take, settle=refunds, **more)
        return future


class NoWriteAhead(Wrapper):
    """A store that acknowledges an intent and writes it with the next commit: after the request has left."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._late: dict[str, list[Event]] = {}

    def commit(
        self,
        hold: Hold,
        events: Sequence[Event] = (),
        *,
        intent: Callable[[Grant], Sequence[Event]] | None = None,
        **more: Any,
    ) -> asyncio.Future[Commit]:
        """Write what was acknowledged before, and acknowledge the intent."""
        late = self._late.pop(hold.run_id, [])
        done: Commit = self._inner.commit(hold, [*late, *events], **more).result()
        recorded = done.recorded[len(late) :]
        if intent is not None and done.grant is not None:
            promised = list(intent(done.grant))
            self._late[hold.run_id] = promised
            recorded += tuple(Recorded(0, 0.0, hold.run_id, event) for event in promised)
        future: asyncio.Future[Commit] = asyncio.get_running_loop().create_future()
        future.set_result(replace(done, recorded=recorded))
        return future


class ClaimsIgnored(Wrapper):
    """A store that refuses nobody's servers."""

    async def create_run(self, new: NewRun, holder: Holder) -> Hold:
        """Create a run whatever others hold."""
        everybody = frozenset(record.run_id for record in await self._inner.runs())
        hold: Hold = await self._inner.create_run(replace(new, ignore=everybody), holder)
        return hold

    async def claimed(self, _servers: Sequence[Claim]) -> Mapping[Claim, str]:
        """Say that nobody has them."""
        return {}

    def commit(self, hold: Hold, events: Sequence[Event] = (), **more: Any) -> asyncio.Future[Commit]:
        """Claim nothing."""
        future: asyncio.Future[Commit] = self._inner.commit(hold, events, **{**more, "claim": ()})
        return future


class Resends(Wrapper):
    """A client that sends again what was not answered."""

    async def submit(self, type_: RestartType, ids: Sequence[str], on_sent: Callable[[], None] | None = None) -> str:
        """Send, and once more."""
        try:
            return str(await self._inner.submit(type_, ids, on_sent))
        except UnknownAnswer:
            return str(await self._inner.submit(type_, ids, on_sent))


class TrustsParent(Wrapper):
    """A client that takes a FAIL job's word for each of its servers."""

    async def show_job(self, job_id: str, pending: Any, *, running: bool = False) -> Job:
        """Show a job."""
        job: Job = await self._inner.show_job(job_id, pending, running=running)
        if job.status != "FAIL":
            return job
        return replace(job, ended=tuple(replace(sub, succeeded=False, code="Ecs.0227") for sub in job.ended))


class FreeAtAnswer(RolloutState):
    """A state whose budget forgets a server as soon as the cloud has accepted its request."""

    @property
    def down(self) -> int:
        """Count the requests without an answer only."""
        return sum(stage in {Stage.SUBMITTING, Stage.UNSETTLED} for stage in self.stage) + len(self.held)


def free_at_answer(rollout: Rollout) -> Rollout:
    """Give a rollout's budget places back at the answer."""
    rollout.state.__class__ = FreeAtAnswer
    return rollout


class FailuresForgotten(RolloutState):
    """A state that counts no failure."""

    def apply(self, recorded: Recorded) -> None:
        """Fold an event in, and forget what failed."""
        super().apply(recorded)
        for tally in (self.run, *self.waves, *self.domains.values()):
            tally.failures = 0


def failures_forgotten(rollout: Rollout) -> Rollout:
    """Let a rollout go on whatever fails."""
    rollout.state.__class__ = FailuresForgotten
    return rollout


MUTANTS: Final[Mapping[str, Callable[[World], Seams]]] = {
    "tokens run from the send": lambda world: Seams(
        store=lambda inner: ChargedAtSend(inner, world.engine.quota.window)
    ),
    "no write-ahead": lambda _: Seams(store=NoWriteAhead),
    "resend on a timeout": lambda _: Seams(client=Resends),
    "trusting the parent's FAIL": lambda _: Seams(client=TrustsParent),
    "claims ignored": lambda _: Seams(store=ClaimsIgnored),
    "a budget place freed at the answer": lambda _: Seams(rollout=free_at_answer),
    "failures not counted": lambda _: Seams(rollout=failures_forgotten),
    "tokens freed at the send": lambda _: Seams(store=lambda inner: ChargedAtSend(inner, -GUARD + 0.001)),
}
"""Every mutation by its name."""
