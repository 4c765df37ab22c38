"""`Direct`: restarts that callers ask for one by one, packed into batches together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ecsbatch import events as ev
from ecsbatch.config import Engine
from ecsbatch.cursors import Cursors, ReadStore
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped, RunConflict
from ecsbatch.journal import Journal, JournalStore
from ecsbatch.line import Line, Terms
from ecsbatch.models import Evidence, Holder, Outcome, OutcomeKind, RestartType, RunStatus
from ecsbatch.records import Hold, NewRun


class DirectStore(JournalStore, ReadStore, Protocol):
    """What direct restarts need of a store."""

    async def create_run(self, new: NewRun, holder: Holder) -> Hold:
        """Store a new run."""
        ...

    async def claimed(self, servers: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Name the run of each of these servers that one has."""
        ...


@dataclass(slots=True)
class Ticket:
    """One server that was asked for, and everybody who waits for it."""

    type: RestartType
    waiters: list[asyncio.Future[Outcome]] = field(default_factory=list[asyncio.Future[Outcome]])
    attempts: int = 0
    submitted_at: float | None = None


_KINDS: Mapping[type[ev.ServerEvent], OutcomeKind] = {
    ev.ServerRestarted: OutcomeKind.RESTARTED,
    ev.ServerFailed: OutcomeKind.FAILED,
    ev.ServerTimedOut: OutcomeKind.TIMED_OUT,
    ev.ServerUnknown: OutcomeKind.UNKNOWN,
    ev.ServerSkipped: OutcomeKind.SKIPPED,
}


def outcome_of(event: ev.ServerEvent, ended_at: float, attempts: int, submitted_at: float | None) -> Outcome:
    """Turn a server's last event into its outcome."""
    return Outcome(
        server=event.server,
        kind=_KINDS[type(event)],
        reason=event.reason,
        evidence=Evidence(event.evidence) if event.evidence else None,
        code=event.code,
        message=event.message,
        job_id=event.job_id,
        attempts=attempts,
        submitted_at=submitted_at,
        ended_at=ended_at,
    )


def held_by(
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


class Direct:
    """The tickets of all callers, and one line for each site and type that was asked for.

    Attributes:
        cursors: readers of the journal of these restarts.
    """

    def __init__(
        self,
        store: DirectStore,
        holder: Holder,
        engine: Engine,
        run_id: str,
        terms: Callable[[RestartType], Terms],
        add: Callable[[Line], None],
        wake: Callable[[str], None],
    ) -> None:
        """``add`` has a new line worked on; ``wake`` tells a site's pipeline of new servers."""
        self._store = store
        self._holder = holder
        self._engine = engine
        self._run_id = run_id
        self._terms = terms
        self._add = add
        self._wake = wake
        self._tickets: dict[str, Ticket] = {}
        self._lines: dict[tuple[str, RestartType], Line] = {}
        self._journal: Journal | None = None
        self._opening = asyncio.Lock()
        self._hold: Hold | None = None
        self._folded = 0
        self.cursors = Cursors(lambda: store, run_id, lambda: self._folded)

    def __len__(self) -> int:
        return len(self._tickets)

    @property
    def in_air(self) -> int:
        """Requests that are sent and not answered."""
        return sum(line.in_air for line in self._lines.values())

    def submit(self, server: str, site: str, type_: RestartType) -> asyncio.Future[Outcome]:
        """Ask for a server's restart; one that is asked for already is joined.

        Raises:
            ConfigError: it is being restarted with another type.
        """
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        ticket = self._tickets.get(server)
        if ticket is None:
            ticket = self._tickets[server] = Ticket(type_)
            self._line(site, type_).offer([server])
        elif ticket.type != type_:
            raise ConfigError(
                f"Server {server} is being restarted {ticket.type} already: wait for it before asking for {type_}."
            )
        ticket.waiters.append(waiter)
        return waiter

    def _line(self, site: str, type_: RestartType) -> Line:
        line = self._lines.get((site, type_))
        if line is None:
            line = Line(
                site=site,
                terms=self._terms(type_),
                journal=Journal(self._store, _NOBODY, self._fold),
                locate=lambda _: (0, ""),
                wake=lambda: self._woken(site, type_),
                claims=True,
                more=True,
            )
            line.admit = lambda servers: self._admit(line, servers)
            self._lines[site, type_] = line
            self._add(line)
        return line

    def _woken(self, site: str, type_: RestartType) -> None:
        line = self._lines.get((site, type_))
        if line is not None and line.halt is not None:
            self._halted(line)
        self._wake(site)

    # -- letting servers in ----------------------------------------------------------------------------------------

    async def _admit(self, line: Line, servers: Sequence[str]) -> Sequence[str]:
        """Keep the servers that somebody still waits for and no other run has."""
        try:
            line.journal = await self._open_journal()
            claimed = await self._store.claimed([(line.site, server) for server in servers])
        except EcsbatchError as e:
            self._fail(servers, e)
            return []
        admitted: list[str] = []
        for server in servers:
            owner = claimed.get((line.site, server), self._run_id)
            ticket = self._tickets.get(server)
            if ticket is None or all(waiter.cancelled() for waiter in ticket.waiters):
                self._tickets.pop(server, None)
            elif owner != self._run_id:
                self._fail(
                    [server],
                    RunConflict(
                        f"Server {server} belongs to run {owner}: ask again once that run is over, or abort it."
                    ),
                )
            else:
                admitted.append(server)
        return admitted

    async def _open_journal(self) -> Journal:
        async with self._opening:
            if self._journal is None:
                self._hold = await self._store.create_run(
                    NewRun(self._run_id, kind="direct", events=[held_by(self._holder, self._engine, 1)]), self._holder
                )
                self._journal = Journal(self._store, self._hold, self._fold)
            return self._journal

    # -- outcomes --------------------------------------------------------------------------------------------------

    def _fold(self, commit: Sequence[ev.Recorded]) -> None:
        for recorded in commit:
            self._fold_one(recorded)
            self._folded = recorded.seq
        self.cursors.notice()

    def _fold_one(self, recorded: ev.Recorded) -> None:
        event = recorded.event
        if isinstance(event, ev.ServerEvent):
            ticket = self._tickets.pop(event.server, None)
            if ticket is not None:
                _resolve(ticket, outcome_of(event, recorded.ts, ticket.attempts, ticket.submitted_at))
        elif isinstance(event, ev.BatchSubmitting):
            for server in event.servers:
                if (ticket := self._tickets.get(server)) is not None:
                    ticket.attempts += 1
                    ticket.submitted_at = recorded.ts

    def _halted(self, line: Line) -> None:
        """The cloud cannot be reached or does not know us: everybody hears it now, later callers try anew."""
        halt, fault = line.halt, line.fault
        line.halt = line.fault = None
        line.unaccepted_since = None
        waiting = line.recall()
        mine = [s for s, t in self._tickets.items() if t.type == line.terms.type]
        if fault is not None:
            self._fail(mine, fault)
        for server in mine:
            ticket = self._tickets.pop(server, None)
            if ticket is not None and halt is not None:
                kind = OutcomeKind.UNKNOWN if ticket.submitted_at and server not in waiting else OutcomeKind.NOT_STARTED
                _resolve(ticket, Outcome(server, kind, halt.reason, message=halt.message, attempts=ticket.attempts))
        line.open = True

    def _fail(self, servers: Sequence[str], fault: BaseException) -> None:
        for server in servers:
            ticket = self._tickets.pop(server, None)
            for waiter in ticket.waiters if ticket else ():
                if not waiter.done():
                    waiter.set_exception(fault)

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let nothing more be sent."""
        for line in self._lines.values():
            line.open = False

    def end(self, fault: BaseException | None) -> None:
        """The engine has ended: whoever still waits hears why."""
        stopped = EngineStopped(
            f"The engine ended before this server did: {fault}"
            if fault
            else "The Restarter was closed before this server had an outcome."
        )
        stopped.__cause__ = fault
        self._fail(list(self._tickets), stopped)

    async def release(self) -> None:
        """Close the run of direct restarts; its claims are free."""
        try:
            if self._journal is not None:
                done = ev.RunFinished(status=RunStatus.SUCCEEDED.value, reason="closed")
                await self._journal.record([done], status=RunStatus.SUCCEEDED)
        finally:
            self.cursors.close()


def _resolve(ticket: Ticket, outcome: Outcome) -> None:
    for waiter in ticket.waiters:
        if not waiter.done():
            waiter.set_result(outcome)


_NOBODY = Hold("", Holder("", "", 0, 0.0), 0)
