"""`History`: what can be asked of runs by their ids, without holding them and without a cloud.

A replica of a service, or a program that only shows what others do, needs nothing else::

    async with open_store("sqlite:///runs.db") as store:
        history = History(store)
        for record in await history.runs(status="running"):
            if record.kind == "rollout":
                print(record.run_id, (await history.explain(record.run_id)).text)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from ecsbatch.clock import Clock, SystemClock
from ecsbatch.errors import EngineStopped, Invalid
from ecsbatch.host_loop import TimeSlice, aside
from ecsbatch.model.arguments import refuse_no_number
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.text import printable
from ecsbatch.planning.lookup import need_server
from ecsbatch.planning.selection import as_server_id, is_uuid
from ecsbatch.policy.explain import explain
from ecsbatch.policy.explanation import Explanation
from ecsbatch.policy.progress import Progress, progress
from ecsbatch.policy.quota_now import quota_now
from ecsbatch.rollout.followed_runs import FollowedRuns
from ecsbatch.rollout.steering import Looked, Steering
from ecsbatch.rollout.store_switch import StoreSwitch

if TYPE_CHECKING:
    from ecsbatch.engine.ports import Store
    from ecsbatch.model.outcome import Outcome
    from ecsbatch.model.quota import Usage
    from ecsbatch.model.recorded import Recorded
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.servers import Fleet
    from ecsbatch.model.state import RolloutState

_ALL: Final = 1_000_000


class LiveRun(Protocol):
    """A run of this process, as far as it is asked about; a `Rollout` is one."""

    @property
    def state(self) -> RolloutState:
        """The fold over its events so far."""
        ...

    def events(self, after: int = 0) -> AsyncGenerator[Recorded]:
        """Follow its journal from behind event number ``after``, until it ends in this process."""
        ...


class History(StoreSwitch):
    """The runs of a store, whoever holds them: what they are, how they stand, what became of each server, and why.

    A run is named by its id or a unique beginning of it; "" is the latest rollout. The runs last asked about are kept,
    so that the next question reads only what is new. Runs of single restarts are listed, and have nothing else to ask.
    Where there is no store yet, as in a `Restarter` that was not started, whatever is asked raises `EngineStopped`.

        history = History(store)
        progress = await history.progress("kernel-7")
        print(progress.standing.text, progress.servers.ended, progress.servers.total)

    Attributes:
        clock: tells what time it is, for explanations.
    """

    def __init__(self, store: Store | None, *, clock: Clock | None = None) -> None:
        """Ask a store.

        Args:
            store: an open one; None where `store` is there later.
            clock: None for the system's.
        """
        self._store = store
        self.clock = clock or SystemClock()
        self._followed = FollowedRuns(lambda: self.store)

    @property
    def store(self) -> Store:
        """Where the runs are; raises EngineStopped where there is none yet."""
        if self._store is None:
            raise EngineStopped("There is no store yet.")
        return self._store

    def _live(self, run_id: str) -> LiveRun | None:  # noqa: ARG002 - for whoever drives runs itself
        """Return a run that this process drives, by its whole id; None for any other."""
        return None

    # -- asking ----------------------------------------------------------------------------------------------------

    async def runs(self, status: RunStatus | str | None = None, limit: int = 50) -> list[RunRecord]:
        """Return the last runs, the newest first; `RunRecord.kind` tells rollouts from runs of single restarts.

        Args:
            status: only runs that stand so, a word of `RunStatus`; None: all.
            limit: how many at most.

        Raises:
            Invalid: there is no such status, or ``limit`` is no count.
            StoreError: the store cannot be read.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:  # pyright: ignore[reportUnnecessaryIsInstance] - from a query string
            raise Invalid(f"limit = {limit!r}: give a count.", field="limit", value=limit, expected="a count")
        if status is None:
            return await self.store.runs(min(limit, _ALL))
        wanted, read = _status(status), limit
        while True:
            records = await self.store.runs(read)
            found = [record for record in records if record.status is wanted]
            if len(found) >= limit or len(records) < read or read >= _ALL:
                return found[:limit]
            read = min(4 * read, _ALL)

    async def record(self, run_id: str = "") -> RunRecord:
        """Return what the store knows of a run, of whatever kind; quick, for no event is read.

        Args:
            run_id: which run.

        Raises:
            RunNotFound: none has this id, or several begin so.
            StoreError: the store cannot be read.
        """
        return await self.store.run(run_id)

    async def state(self, run_id: str = "") -> RolloutState:
        """Return how a rollout stands: all its events folded.

        It goes on with the next question about the run, as `Rollout.state` does by itself. Do not change it. `progress`
        is the same as a value that stays as it is.

        Args:
            run_id: which run.

        Raises:
            RunNotFound: none has this id, or several begin so.
            Invalid: it is a run of single restarts.
            StoreError: the store cannot be read.
        """
        live = self._live(run_id) if run_id else None
        return live.state if live is not None else (await self._look(run_id))[1]

    def outcomes(self, run_id: str = "", kinds: Iterable[OutcomeKind | str] = ()) -> AsyncGenerator[Outcome]:
        """Yield every server of a rollout with its outcome so far, in the order of the fleet.

        A server under way is ``unknown``, one that waits ``not_started``.

            async for outcome in history.outcomes("kernel-7", kinds=["failed", "timed_out", "unknown"]):
                print(outcome.server, outcome.kind, outcome.reason, outcome.message)

        Args:
            run_id: which run.
            kinds: only servers that ended so, by `OutcomeKind` or its words; (): all.

        Raises:
            Invalid: a kind does not exist, or it is a run of single restarts.
            RunNotFound: none has this id, or several begin so.
            StoreError: the store cannot be read.
        """
        return self._outcomes(run_id, _kinds(kinds))

    async def _outcomes(self, run_id: str, kinds: Collection[OutcomeKind]) -> AsyncGenerator[Outcome]:
        state = await self.state(run_id)
        work = TimeSlice()
        for outcome in state.outcomes():
            if outcome.kind in kinds:
                yield outcome
            await work.give_way()

    async def outcome(self, run_id: str, server: str) -> Outcome:
        """Return how one server of a rollout has ended, as in `outcomes`.

        Args:
            run_id: which run.
            server: the server's id, its name or a unique beginning of its id.

        Raises:
            ServerNotFound: the run has no such server.
            SelectionError: several servers are called so.
            RunNotFound: no run has this id, or several begin so.
            Invalid: it is a run of single restarts.
            StoreError: the store cannot be read.
        """
        record, state = await self._look(run_id)
        fleet = state.plan.fleet
        return state.outcome(await aside(partial(need_server, fleet, server, printable(record.run_id)), len(fleet)))

    async def explain(self, run_id: str = "", server: str = "") -> Explanation:
        """Return why a server is not restarted yet, or what holds the whole rollout now.

            print((await history.explain("kernel-7", "web-08142")).text)

        Args:
            run_id: which run.
            server: the server's id, its name or a unique beginning of its id; "": the whole rollout.

        Raises:
            ServerNotFound: the run has no such server.
            SelectionError: several servers are called so.
            RunNotFound: no run has this id, or several begin so.
            Invalid: it is a run of single restarts.
            StoreError: the store cannot be read.
        """
        record, state = await self._look(run_id)
        fleet = state.plan.fleet
        server_id = await aside(partial(server_of, fleet, server, record.run_id), len(fleet))
        return await explained(self.store, record, state, server_id, now=self.store.wall())

    async def progress(self, run_id: str = "") -> Progress:
        """Return how a rollout goes on now: the counts, the pace, what it waits for and why, the quota.

        `Progress.as_dict` is what a service answers.

        Args:
            run_id: which run.

        Raises:
            RunNotFound: no run has this id, or several begin so.
            Invalid: it is a run of single restarts.
            StoreError: the store cannot be read.
        """
        record, state = await self._look(run_id)
        usage = await usage_of(self.store, record, state)
        return progress(state, self.store.wall(), usage=usage, held=record.held)

    def follow(self, run_id: str = "", after: int = 0) -> AsyncGenerator[Recorded]:
        """Yield a rollout's events as they come, until it ends or nobody holds it; all who follow share the reading.

        For server-sent events ``seq`` is the id: who comes back with the last one that he has seen misses none. Whoever
        may leave before the end closes it: ``async with aclosing(history.follow(run_id)) as events``.

            async for recorded in history.follow("kernel-7", after=last_event_id):
                await send(id=recorded.seq, data=recorded.as_dict())

        Args:
            run_id: which run.
            after: the number of the last event that is known; 0: from the first.

        Raises:
            Invalid: ``after`` is no number of an event, or it is a run of single restarts.
            RunNotFound: none has this id, or several begin so.
            StoreError: the store cannot be read.
        """
        refuse_no_number(after)
        return self._follow(run_id, after)

    async def _follow(self, run_id: str, after: int) -> AsyncGenerator[Recorded]:
        record = need_rollout(await self.record(run_id))
        live = self._live(record.run_id)
        if live is not None:
            async with aclosing(live.events(after)) as events:
                async for recorded in events:
                    yield recorded
                    after = recorded.seq
        # Another process may have gone on with it by now: the store tells.
        async with aclosing(self._followed.events(record.run_id, after)) as events:
            async for recorded in events:
                yield recorded

    def steer(self, run_id: str = "") -> Steering:
        """Return what steers a rollout, whoever holds it; which run is meant is settled with each thing it is asked.

        await history.steer("kernel-7").pause(by="alice")
        """
        return Steering(self.store, partial(self._look, run_id))

    async def _look(self, run_id: str) -> Looked:
        """Return a rollout as the store knows it, and its events folded up to now."""
        record = need_rollout(await self.record(run_id))
        live = self._live(record.run_id)
        if live is not None:
            return record, live.state
        history = await self._followed.history(record)
        return history.record, history.state


async def explained(store: Store, record: RunRecord, state: RolloutState, server: str, *, now: float) -> Explanation:
    """Explain a run, or its server with the id ``server``, with what only the store tells: who has it, the quota.

    Raises:
        StoreError: the store cannot be read.
    """
    return explain(
        state,
        now=now,
        server=server or None,
        usage=await usage_of(store, record, state, server),
        holder_alive=record.held,
        claimed_by=await _claimed_by(store, record, server) if server else "",
    )


def server_of(fleet: Fleet, typed: str, run_id: str) -> str:
    """Return the id of a server; one that the run does not know may be another run's where its whole id was given.

    Raises:
        ServerNotFound: the run has no such server.
        SelectionError: several servers are called so, or their ids begin so.
    """
    if not typed or is_uuid(typed):
        return as_server_id(typed)
    return fleet.ids[need_server(fleet, typed, printable(run_id))]


async def usage_of(store: Store, record: RunRecord, state: RolloutState, server: str = "") -> Usage | None:
    """Ask the ledger about the quota that a server's site spends, else the first one's, as the run keeps to it now.

    Raises:
        StoreError: the store cannot be read.
    """
    groups: dict[str, str] = record.plan.get("sites", {})
    fleet = state.plan.fleet
    index = fleet.index_of(server) if server else 0 if len(fleet) else None
    group = groups.get(fleet.site(index)) if index is not None else None
    quota = quota_now(state, store.wall())
    if group is None or quota is None:
        return None
    return await store.usage(group, quota.limit)


async def _claimed_by(store: Store, record: RunRecord, server: str) -> str:
    """Return the other run that has a server, "" where none has."""
    sites = {"", *record.plan.get("sites", {})}
    owners = (await store.claimed([(site, server) for site in sorted(sites)])).values()
    return next((owner for owner in owners if owner != record.run_id), "")


def need_rollout(record: RunRecord) -> RunRecord:
    """Return the record of a rollout; raises Invalid for a run of single restarts."""
    if record.kind == "direct":
        raise Invalid(
            f"Run {record.run_id} holds single restarts of a program: give the id of a rollout.",
            field="run_id",
            value=record.run_id,
            expected="the id of a rollout",
        )
    return record


def _status(word: RunStatus | str) -> RunStatus:
    try:
        return RunStatus(word)
    except ValueError:
        expected = f"one of {', '.join(RunStatus)}"
        told = f"status = {word!r}: give {expected}."
        raise Invalid(told, field="status", value=word, expected=expected) from None


def _kinds(words: Iterable[OutcomeKind | str]) -> Collection[OutcomeKind]:
    """Return the kinds that are meant; no word means all."""
    given = [words] if isinstance(words, str) else list(words)
    try:
        return {OutcomeKind(word) for word in given} or set(OutcomeKind)
    except ValueError:
        expected = f"of {', '.join(OutcomeKind)}"
        wrong = ", ".join(repr(word) for word in given if word not in set(OutcomeKind))
        told = f"kinds: {wrong} is none {expected}; give a list of them."
        raise Invalid(told, field="kinds", value=[str(word) for word in given], expected=f"a list {expected}") from None
