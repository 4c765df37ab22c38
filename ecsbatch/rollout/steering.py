"""`Steering`: asks the process that holds a run to pause, resume, promote, adjust or abort it, from anywhere.

What is asked is a row in the store that the holder reads; the run's journal shows that it has followed. Nothing here
writes to the run itself: whoever does not hold it cannot. `Rollout` has the same for a run of this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from ecsbatch.errors import Invalid, NotHolder, RunConflict
from ecsbatch.model import events as ev
from ecsbatch.model.conflicts import NotFollowed, RunOver
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.recorded import Recorded
from ecsbatch.planning.strategy import LIMITS, resolve_limits
from ecsbatch.policy.decide import Limits, limits_of
from ecsbatch.policy.resume_options import validate_resume
from ecsbatch.policy.standing import awaits_promotion, standing

if TYPE_CHECKING:
    from ecsbatch.engine.ports import Store
    from ecsbatch.model.plan import Plan
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState

PATIENCE: Final = 10.0
"""Seconds that a holder has to follow."""

_GLANCE: Final = 0.2
"""Seconds between two looks at the store."""

_RETRIED_WITHIN: Final = 60.0
"""Seconds in which the same asked again by the same is a request that was sent twice."""

Looked: TypeAlias = "tuple[RunRecord, RolloutState]"
"""A run as the store knows it, and its events folded."""

_Body: TypeAlias = Mapping[str, Any]
_Answers: TypeAlias = Callable[[ev.Event], bool]
"""Tells whether an event shows that a command was followed; all that one command does is one transaction."""


class Steering:
    """Steers one run, whoever holds it. Made by `History.steer`.

    Each method returns once the run's journal shows that its process has followed, with the events that say so: none
    where the run does already what is asked. So a request may be sent twice. A process has 10 seconds to follow. A run
    of single restarts cannot be steered: that is `Invalid`.

        steering = history.steer("kernel-7")
        await steering.adjust(by="alice", max_unavailable="5%", max_failures=20)
        await steering.promote(by="alice")
    """

    def __init__(self, store: Store, look: Callable[[], Awaitable[Looked]]) -> None:
        """Steer the run that ``look()`` returns, as it is now."""
        self._store = store
        self._look = look

    async def pause(self, by: str = "") -> tuple[Recorded, ...]:
        """Have nothing new sent until `resume`; servers under way go on.

        Args:
            by: names who asks, for the record.

        Raises:
            NotHolder: no process holds the run, so that there is nothing to pause.
            RunConflict: the run is over or being aborted, or its process did not follow in time.
            RunNotFound: there is no such run.
            StoreError: the store cannot be used.
        """
        record, state = await self._going_on("pause")
        if state.status is RunStatus.PAUSED:
            return ()
        return await self._ask(record, state, {"command": "pause"}, by, _is(ev.RunPaused))

    async def resume(
        self,
        by: str = "",
        *,
        forgive: bool = False,
        retry: Sequence[str] = (),
        skip_domains: Sequence[str] = (),
    ) -> tuple[Recorded, ...]:
        """Have a paused run go on in the process that holds it.

        Args:
            by: names who asks, for the record.
            forgive: failures so far stop counting, and give their slots of the budget back.
            retry: outcomes whose servers are tried again, see `Changes`.
            skip_domains: domains to which nothing is sent any more.

        Raises:
            Invalid: a domain is none of the run's, or an outcome cannot be tried again.
            NotHolder: no process holds the run: `Restarter.resume` goes on with it.
            RunConflict: the run is over or being aborted, runs already and is to change, or its process did not follow
                in time.
            RunNotFound: there is no such run.
            StoreError: the store cannot be used.
        """
        record, state = await self._going_on("resume")
        validate_resume(state.plan, retry, skip_domains)
        asked = {"forgive": forgive, "retry": list(retry), "skip_domains": list(skip_domains)}
        body = {"command": "resume", **asked}
        if state.status is not RunStatus.PAUSED:
            if not any(asked.values()) or await self._is_asked(record, body, by):
                return ()
            raise _conflict(
                record, f"Run {record.run_id} is {self._stands(state)}: only a paused run can be resumed with changes."
            )
        return await self._ask(record, state, body, by, _is(ev.RunResumed))

    async def promote(self, by: str = "") -> tuple[Recorded, ...]:
        """Have a run pass the hold that it stands at.

        Args:
            by: names who asks, for the record.

        Raises:
            NotHolder: no process holds the run, so that there is nothing to promote.
            RunConflict: the run stands at no hold, is over or being aborted, or its process did not follow in time.
            RunNotFound: there is no such run.
            StoreError: the store cannot be used.
        """
        record, state = await self._going_on("promote")
        body = {"command": "promote"}
        if not awaits_promotion(state):
            if state.promoted > state.wave or (state.promoted and await self._is_asked(record, body, by)):
                return ()
            raise _conflict(record, f"Run {record.run_id} stands at no hold: it is {self._stands(state)}.")
        return await self._ask(record, state, body, by, _promoted)

    async def adjust(self, by: str = "", **limits: int | str) -> tuple[Recorded, ...]:
        """Change limits of a run from now on.

        Args:
            by: names who asks, for the record.
            limits: new values, by the names and in the forms that a `Strategy` has them, such as ``max_failures="5%"``.

        Raises:
            Invalid: there is no such limit, or no such value of it.
            NotHolder: no process holds the run, so that there is nothing to adjust.
            RunConflict: the run is over or being aborted, or its process did not follow in time.
            RunNotFound: there is no such run.
            StoreError: the store cannot be used.
        """
        record, state = await self._going_on("adjust")
        new, now = new_limits(state.plan, limits), limits_of(state.plan, state.limits)
        if all(getattr(new, name) == getattr(now, name) for name in limits):
            return ()

        def changed(event: ev.Event) -> bool:
            if not isinstance(event, ev.LimitChanged) or event.limit not in limits:
                return False
            told = limits_of(state.plan, {event.limit: event.new})
            return bool(getattr(told, event.limit) == getattr(new, event.limit))

        return await self._ask(record, state, {"command": "adjust", "limits": dict(limits)}, by, changed)

    async def abort(self, by: str = "") -> bool:
        """End a run for good: nothing new is sent, servers under way get their outcome, and nothing resumes it.

        Args:
            by: names who asks, for the record.

        Returns:
            True once the run's process has recorded it. False: it is asked, and whoever goes on with the run follows;
            until then requests may leave, where a process holds it.

        Raises:
            RunConflict: the run has ended otherwise.
            RunNotFound: there is no such run.
            StoreError: the store cannot be used.
        """
        record, state = await self._look()
        if record.status is RunStatus.ABORTED:
            return True
        if record.status.over:
            raise _conflict(record, f"Run {record.run_id} is over already ({record.status.value}).")
        if state.aborting or (state.abort_asked_by and not record.held):
            return record.held
        try:
            await self._ask(record, state, {"command": "abort"}, by, _aborting)
        except (NotHolder, NotFollowed):
            return False
        return True

    async def _going_on(self, verb: str) -> Looked:
        """Return a run that a process holds and that is not about to end for good; raises RunConflict for another."""
        record, state = await self._look()
        if record.status is RunStatus.ABORTED:
            raise RunOver(record.run_id)
        if record.status.over:
            told = f"Run {record.run_id} is over ({record.status.value}), so that there is nothing to {verb}."
            raise _conflict(record, told)
        if not record.held:
            raise not_held(record, verb)
        if state.aborting or state.abort_asked_by:
            raise _conflict(record, f"Run {record.run_id} is being aborted, which is final: {verb} comes too late.")
        return record, state

    def _stands(self, state: RolloutState) -> str:
        return standing(state, self._store.wall()).text

    async def _is_asked(self, record: RunRecord, body: _Body, by: str) -> bool:
        """Tell whether the last command to a run is this one, a moment ago: a request that was sent twice."""
        last = next(reversed(await self._store.commands(record.run_id)), None)
        if last is None or (last.body, last.who) != (body, by):
            return False
        return self._store.wall() - last.ts < _RETRIED_WITHIN

    async def _ask(
        self, record: RunRecord, state: RolloutState, body: _Body, by: str, answers: _Answers
    ) -> tuple[Recorded, ...]:
        """Ask, and wait until the journal shows that it is done; return the events that show it."""
        run, after, found = record.run_id, state.seq, list[Recorded]()
        number = await self._store.command(run, body, by)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while True:
                    # The record first: where it says that nobody holds the run, no event comes any more.
                    record = await self._store.run(run)
                    passed = False
                    while events := await self._store.events(run, after):
                        after = events[-1].seq
                        found += [each for each in events if answers(each.event)]
                        passed = passed or any(_passes_over(each.event, number) for each in events)
                    if found:
                        return tuple(found)
                    if not record.held:
                        raise _gone(record, str(body["command"]))
                    if passed:
                        number = await self._store.command(run, body, by)
                    await asyncio.sleep(_GLANCE)
        raise NotFollowed(run, record.holder, str(body["command"]), PATIENCE)


def _is(kind: type[ev.Event]) -> _Answers:
    return lambda event: isinstance(event, kind)


def _passes_over(event: ev.Event, number: int) -> bool:
    """Tell whether another process has taken the run since a command, which it leaves to the one that is gone."""
    return isinstance(event, ev.HolderChanged) and event.command >= number


def _promoted(event: ev.Event) -> bool:
    """Tell whether somebody's word let a wave go."""
    return isinstance(event, ev.GateChecked) and (event.gate, event.verdict) == ("hold", "go")


def _aborting(event: ev.Event) -> bool:
    """Tell whether nothing is sent any more, for good."""
    if isinstance(event, ev.RunFinished):
        return event.status == RunStatus.ABORTED
    return isinstance(event, ev.RunAborting)


def _conflict(record: RunRecord, text: str) -> RunConflict:
    return RunConflict(text, run_id=record.run_id, holder=record.holder.name)


def _gone(record: RunRecord, verb: str) -> RunConflict:
    """Return why nobody follows any more: the run has ended, or its process has let it go."""
    if record.status.over:
        return _conflict(record, f"Run {record.run_id} {record.status.value} before it could {verb}.")
    return not_held(record, verb)


def not_held(record: RunRecord, verb: str) -> NotHolder:
    """Return the error about a run that no process holds, so that nobody follows what is asked of it."""
    stands = f"No process is at run {record.run_id} ({record.status.value})"
    on = (
        "`Restarter.resume` goes on with it" if verb == "resume" else f"there is nothing to {verb} before it is resumed"
    )
    return NotHolder(f"{stands}: {on}.", run_id=record.run_id, holder=record.holder.name, status=record.status.value)


def new_limits(plan: Plan, limits: Mapping[str, int | str]) -> Limits:
    """Return a plan's limits with new values for some of them.

    Raises:
        Invalid: there is no such limit, or no such value of it; the holder of a run would ignore it in silence.
    """
    if not limits:
        raise Invalid("No limit is given.", field="limits", expected=f"one of {', '.join(LIMITS)}")
    for name, value in cast("Mapping[str, object]", limits).items():  # from JSON
        if name not in LIMITS:
            break  # that is what is wrong, whatever its value: `resolve_limits` says so
        # What a command cannot carry: see `ecsbatch.model.commands.asked_for`.
        if isinstance(value, bool) or not isinstance(value, int | str):
            expected = "a number of servers or a percentage"
            given = value if isinstance(value, float | bool | None) else repr(value)
            raise Invalid(f"{name} = {value!r}: give {expected}.", field=name, value=given, expected=expected)
    return limits_of(resolve_limits(plan, **limits), {})
