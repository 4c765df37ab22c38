"""Takes over the rollouts of a store whose process is gone, for as long as it runs.

``Standby._look`` is where to begin: what it takes is decided by ``ecsbatch.policy.takeover``, what it lacks by
``ecsbatch.rollout.needs``; here both are carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, Protocol, TypeAlias

from ecsbatch.engine.ports import Store
from ecsbatch.errors import EcsbatchError, EngineStopped, RecordEdited, RunConflict, StoreError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.conflicts import RunTaken
from ecsbatch.model.outcome import HANDED_OVER, RunStatus
from ecsbatch.model.run import RunRecord
from ecsbatch.policy.takeover import LOOK_EVERY, may_be_taken, takeover, tried_again_in
from ecsbatch.rollout.orphans import why_interrupted
from ecsbatch.rollout.rollout import Rollout

MAX_RUNS: Final = 4
"""Runs that a standby has at once, by default."""

_A_MOMENT: Final = 3.0
"""Seconds without an answer of the store that are not worth a word."""

NewsWord: TypeAlias = Literal["taken", "left_alone", "ended", "handed_over", "lost", "store_away", "store_back"]
"""What has happened, for programs."""


@dataclass(frozen=True, slots=True)
class StandbyNews:
    """Something that a standby did or noticed.

    Attributes:
        word: ``taken``: it goes on with a run. ``left_alone``: it lacks something for it, told once. ``ended``: the run
            is over, or stands still, here. ``handed_over``: it was left for another process. ``lost``: another process
            has taken it. ``store_away`` and ``store_back``: the runs cannot be looked at, and can be again.
        run_id: of the run; "" for the store.
        message: a sentence for people.
    """

    word: NewsWord
    run_id: str
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"word": self.word, "run_id": self.run_id, "message": self.message}


OnNews: TypeAlias = Callable[[StandbyNews], None]
"""Hears what a standby does. It is called on the event loop, and must only take note."""


class RunTaker(Protocol):
    """What a standby works with; a `Restarter` is one."""

    @property
    def store(self) -> Store:
        """Where the runs are."""
        ...

    def check(self) -> None:
        """Raise EngineStopped where it can take nothing any more."""
        ...

    async def lacking(self, record: RunRecord) -> Sequence[str]:
        """Return what it lacks to go on with a run, a clause each."""
        ...

    async def take_over(self, record: RunRecord) -> Rollout:
        """Go on with a run, and return it once it is held; raises EcsbatchError where it cannot."""
        ...


class Standby:
    """Looks for runs whose process is gone, and goes on with them.

    Attributes:
        held: the runs that it has taken and that go on here, by their ids.
        looked_at: the loop's time of the last look at the store that succeeded; None before the first.
        away: why the store could not be looked at the last time; "" where it could.
    """

    def __init__(
        self, worker: RunTaker, *, runs: Collection[str] = (), max_runs: int = MAX_RUNS, on_news: OnNews | None = None
    ) -> None:
        """Prepare it; `run` has it work.

        Args:
            worker: goes on with what is taken.
            runs: the ids of the only runs that are taken; none: all are.
            max_runs: how many it has at once, at most.
            on_news: hears what it does.
        """
        self.held: dict[str, Rollout] = {}
        self.looked_at: float | None = None
        self.away = ""
        self._worker = worker
        self._wanted = frozenset(runs)
        self._max_runs = max_runs
        self._tell: OnNews = on_news or (lambda _: None)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._told: dict[str, set[str]] = {}
        self._failures: dict[str, tuple[int, float]] = {}
        self._interrupted: dict[str, tuple[int, str]] = {}
        self._lacked: dict[str, tuple[int, bool]] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Take what is to be taken, for ever. Cancelled, it looks no more; what it has, or is just taking, goes on.

        Raises:
            EngineStopped: the worker's engine has ended.
        """
        while True:
            self._worker.check()
            self._changed.clear()
            wait = await self._look_or_say_why()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    async def settled(self, within: float) -> None:
        """Wait until nothing of what it has goes on here any more, for so many seconds at most."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=within)

    # -- looking ---------------------------------------------------------------------------------------------------

    async def _look_or_say_why(self) -> float:
        """Look, and return the seconds until the next look; what fails now may not in a moment."""
        look = asyncio.ensure_future(self._look())
        try:
            # A store that waits says nothing for as long as it does.
            await asyncio.wait([look], timeout=_A_MOMENT)
            if not look.done() and self._worker.store.waiting:
                self._is_away(f"The store waits for {self._worker.store.waits_for}.")
            wait = await look
        except StoreError as e:
            self._is_away(str(e))
            return LOOK_EVERY
        finally:
            look.cancel()
        if self.away:
            self._say("store_back", "", "The store answers again.")
        self.away = ""
        self.looked_at = self._now
        return wait

    def _is_away(self, why: str) -> None:
        if not self.away:
            self._say("store_away", "", f"The runs cannot be looked at until the store answers. {why}")
        self.away = why

    async def _look(self) -> float:
        """Take what is to be taken now; return the seconds until the next look."""
        records = await self._worker.store.open_rollouts()
        handed_over = await self._handed_over(records)
        self._forget_all_but({record.run_id for record in records})
        not_now = {*self._tasks, *self._waits()}
        for record in records:
            if record.run_id not in not_now and may_be_taken(record, handed_over, self._wanted):
                not_now |= await self._lacks(record)
        room = self._max_runs - len(self._tasks)
        decided = takeover(records, handed_over=handed_over, wanted=self._wanted, not_now=not_now, room=room)
        for record in decided.take:
            task = asyncio.get_running_loop().create_task(self._have(record), name=f"ecsbatch-standby-{record.run_id}")
            self._tasks[record.run_id] = task
        return decided.look_in

    async def _handed_over(self, records: Sequence[RunRecord]) -> set[str]:
        """Return those of interrupted runs that were left for another process; why one has stopped is read once."""
        found: set[str] = set()
        for record in records:
            if record.status is not RunStatus.INTERRUPTED or record.held:
                continue
            seq, why = self._interrupted.get(record.run_id, (-1, ""))
            if seq != record.seq:
                why = await self._why_interrupted(record)
                self._interrupted[record.run_id] = record.seq, why
            if why == HANDED_OVER:
                found.add(record.run_id)
        return found

    async def _why_interrupted(self, record: RunRecord) -> str:
        try:
            return await why_interrupted(self._worker.store, record)
        except RecordEdited as e:  # it keeps nobody from the other runs
            self._say_once(record.run_id, str(e))
            return ""

    async def _lacks(self, record: RunRecord) -> set[str]:
        """Return the run's id where something is lacking for it, and say what; asked anew once its record has grown."""
        run_id = record.run_id
        seq, lacking = self._lacked.get(run_id, (-1, False))
        if seq != record.seq:
            try:
                why = await self._worker.lacking(record)
            except RecordEdited as e:
                why = [str(e)]
            lacking = bool(why)
            self._lacked[run_id] = record.seq, lacking
            if why:
                self._say_once(run_id, "; ".join(why))
        return {run_id} if lacking else set()

    def _waits(self) -> set[str]:
        """Return the runs that could not be taken a moment ago."""
        return {run_id for run_id, (_, until) in self._failures.items() if self._now < until}

    def _forget_all_but(self, known: set[str]) -> None:
        """Forget what was told and noted of runs that are over."""
        for kept in (self._told, self._failures, self._interrupted, self._lacked):
            for run_id in [each for each in kept if each not in known]:
                del kept[run_id]

    # -- taking ----------------------------------------------------------------------------------------------------

    async def _have(self, record: RunRecord) -> None:
        """Take a run, and have it until it ends here."""
        run_id = record.run_id
        try:
            rollout = await self._take(record)
            if rollout is not None:
                self.held[run_id] = rollout
                await self._to_its_end(rollout)
        finally:
            self.held.pop(run_id, None)
            self._tasks.pop(run_id, None)
            self._changed.set()

    async def _take(self, record: RunRecord) -> Rollout | None:
        """Take a run; None where that cannot be."""
        run_id = record.run_id
        try:
            rollout = await self._worker.take_over(record)
        except (RunConflict, EngineStopped):
            self._leave_for_a_moment(run_id)  # another one was quicker, or nothing is taken here any more
            return None
        except Exception as e:  # noqa: BLE001 - whatever keeps it from this run, the others go on
            self._failed(run_id)
            self._say_once(run_id, str(e) if isinstance(e, EcsbatchError) else f"{type(e).__name__}: {e}")
            return None
        self._told.pop(run_id, None)
        whose = f", which {record.holder.name} has handed over" if record.status is RunStatus.INTERRUPTED else ""
        was = (
            whose or f", whose process ({record.holder.name}, pid {record.holder.pid} on {record.holder.host}) is gone"
        )
        self._say("taken", run_id, f"Goes on with run {run_id}{was}.")
        return rollout

    async def _to_its_end(self, rollout: Rollout) -> None:
        """Wait for a run's end here, and tell it."""
        run_id = rollout.run_id
        try:
            result = await rollout
        except RunTaken as e:
            self._leave_for_a_moment(run_id)
            self._say("lost", run_id, str(e))
        except Exception as e:  # noqa: BLE001 - whatever has ended it here, the others go on
            self._failed(run_id)
            self._say("ended", run_id, f"Run {run_id} has ended here by an error: {e}")
        else:
            self._failures.pop(run_id, None)
            if result.reason == HANDED_OVER:
                self._say("handed_over", run_id, f"Run {run_id} is handed over to the next process that stands by.")
                return
            why = f" ({result.reason})" if result.reason else ""
            self._say("ended", run_id, f"Run {run_id} is {result.status.value}{why}.")

    def _leave_for_a_moment(self, run_id: str) -> None:
        """Look again before a run is tried again."""
        self._failures[run_id] = self._failures.get(run_id, (0, 0.0))[0], self._now + LOOK_EVERY

    def _failed(self, run_id: str) -> None:
        """Let some time pass before a run is tried again."""
        failures = self._failures.get(run_id, (0, 0.0))[0] + 1
        self._failures[run_id] = failures, self._now + tried_again_in(failures)

    # -- telling ---------------------------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _say_once(self, run_id: str, why: str) -> None:
        told = self._told.setdefault(run_id, set())
        if why not in told:
            told.add(why)
            self._say("left_alone", run_id, f"Run {run_id} is left alone: {why.rstrip('.')}.")

    def _say(self, word: NewsWord, run_id: str, message: str) -> None:
        self._tell(StandbyNews(word, run_id, message))
