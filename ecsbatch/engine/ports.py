"""What the engine needs of others, on one page: a site's API, a ledger of tokens, a store, and owners of servers.

Whoever brings one of their own sees here what it must do. The engine imports no concrete one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.ownership import Exposure
from ecsbatch.model.quota import Usage
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Claim, Command, Committed, Holder, Lease, NewRun, RunRecord, Transaction
from ecsbatch.model.servers import Fleet, Job, Look, RestartType, ServerView, Site
from ecsbatch.model.spending import GroupSpending
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Attempt
from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest

if TYPE_CHECKING:
    from ecsbatch.engine.server_queue import ServerQueue


class Cloud(Protocol):
    """One site's API. Whatever goes wrong is a `CloudError`, whose class says what may be done next."""

    @property
    def site(self) -> Site:
        """The site that requests go to."""
        ...

    @property
    def api_rate(self) -> float:
        """Requests per second, of all kinds together."""
        ...

    @property
    def request_timeout(self) -> float:
        """Seconds after which a request is given up."""
        ...

    async def turn(self) -> None:
        """Wait until another request may be made, as `api_rate` allows."""
        ...

    async def submit(self, type_: RestartType, ids: Sequence[str], on_sent: Callable[[], None] | None = None) -> str:
        """Ask once for the restart of up to `MAX_BATCH` servers; return the job's id.

        ``on_sent`` is called just before the first byte leaves; what it raises keeps the request from leaving.

        Raises:
            CloudError: there is no job id; its class says whether the request may have been carried out.
        """
        ...

    async def look(self, ids: Sequence[str]) -> Look:
        """Show the states of up to `MAX_LOOK` servers; some may be left out. Raises CloudError."""
        ...

    async def look_at_any(self) -> Look:
        """Show the state of any server of the site: it tells whether anything can be seen. Raises CloudError."""
        ...

    async def look_at_all(self, ids: Sequence[str]) -> Mapping[str, ServerView]:
        """Show any number of servers; ``found`` is False only of one that does not exist. The mapping is the caller's.

        Raises:
            CloudError: not everything could be seen.
            SelectionRefused: it cannot be found out whether some of them exist.
        """
        ...

    async def look_for(self, names: Collection[str]) -> Sequence[ServerView]:
        """Show the servers with exactly these names; of a name that none has, none. Raises CloudError."""
        ...

    async def show_job(self, job_id: str, pending: Collection[str], *, running: bool = False) -> Job:
        """Show a job's ended sub-jobs among the servers ``pending``, and with ``running`` those under way.

        Raises:
            JobNotFound: the cloud does not know the job, or not any more.
            CloudError: it cannot be shown.
        """
        ...


class Ledger(Protocol):
    """Grants of tokens, shared by all who spend the same quota. What returns a future never blocks the loop."""

    def take(self, take: TokenRequest) -> asyncio.Future[Grant | Shortage]:
        """Grant tokens, or say how many seconds it takes until there are enough."""
        ...

    def settle(self, settle: Settlement) -> asyncio.Future[None]:
        """Have a grant's tokens free after some seconds, or at once."""
        ...

    async def usage(self, group: str, limit: int) -> Usage:
        """Return what of a group's quota is in flight, cooling and free, where ``limit`` is all of it."""
        ...

    def age(self, grant: Grant) -> float:
        """Return the seconds since a grant, those of a suspend among them; rather too many than too few."""
        ...

    def least_age(self, grant: Grant) -> float:
        """Return the seconds since a grant by the ledger's clock, rather too few than too many."""
        ...

    def ledger_time(self) -> float:
        """Return what the clock shows now by which grants are dated; rather too late than too early. Never blocks."""
        ...

    def wall(self) -> float:
        """Return the seconds since 1970 by the clock that stamps events, perhaps another machine's. Never blocks."""
        ...

    @property
    def clock_name(self) -> str:
        """The name of that clock: readings of processes that name the same one can be compared."""
        ...

    async def last_freeze(self) -> Freeze | None:
        """Return the last freeze: with ``thawed_at``, where it is over by now; None where there never was one."""
        ...


class Store(Ledger, Protocol):
    """What outlives the process: runs with their leases, journals, claims and commands."""

    async def create_run(self, new: NewRun, holder: Holder) -> Lease:
        """Store a new run, held by ``holder``; raises RunConflict where another run has its id or its servers."""
        ...

    async def take_run(self, run_id: str, holder: Holder, *, as_of: int | None = None) -> Lease:
        """Take a run whose holder is gone; raises RunConflict where it is not, or its last event not this one."""
        ...

    async def renew(self, lease: Lease) -> Lease:
        """Replace a lease after a failed write, without letting the run go; raises RunConflict where it is taken."""
        ...

    async def release(self, lease: Lease) -> None:
        """Let a run go; a lease that is not valid any more changes nothing."""
        ...

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Do a transaction durably or not at all, in the order of the calls.

        ``folded`` is the number of the last event that the caller has folded: no tokens are granted where a later one
        is a failure.

        Raises (by the future):
            RunTaken: the lease is not valid any more.
            ServersClaimed: another run has some of the servers.
            StoreError: nothing of it was written.
        """
        ...

    def trusted(self, lease: Lease) -> bool:
        """Tell whether this process may still send by a lease: nobody can have taken the run yet. Never blocks.

        False may become True again, where a lease that ran out is renewed and nobody has taken the run meanwhile.
        """
        ...

    async def run(self, name: str = "") -> RunRecord:
        """Return a run by its id or a unique beginning of it, "" for the latest; raises RunNotFound for none."""
        ...

    async def open_rollouts(self) -> list[RunRecord]:
        """Return the rollouts that go on, have no process any more, or were interrupted, the newest first."""
        ...

    async def runs(self, limit: int = 50) -> list[RunRecord]:
        """Return the last runs, the newest first."""
        ...

    async def targets(self, run_id: str) -> Fleet:
        """Return a run's frozen servers, in their order."""
        ...

    async def claimed(self, servers: Sequence[Claim]) -> dict[Claim, str]:
        """Return the id of the run that has each of these servers; those that no run has are left out."""
        ...

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Return up to ``limit`` events of a run, in order, from behind number ``after``."""
        ...

    async def lines(self, run_id: str, after: int = 0, limit: int = 1000) -> list[bytes]:
        """Return the same as lines of JSON."""
        ...

    async def command(self, run_id: str, command: Mapping[str, Any], who: str) -> int:
        """Store what somebody asks of a run's holder; return the command's number. Raises RunNotFound for no run."""
        ...

    async def commands(self, run_id: str, after: int = 0) -> list[Command]:
        """Return the commands to a run's holder behind number ``after``."""
        ...

    async def freeze(
        self, reason: str, *, by: str = "", until: float | None = None, lasts: float | None = None
    ) -> Freeze:
        """Grant no tokens to anybody from now on, until ``until`` or for ``lasts`` seconds where one is given."""
        ...

    async def thaw(self, *, by: str = "") -> Freeze | None:
        """Grant tokens again; return the freeze that this ends, None where there was none."""
        ...

    async def frozen(self) -> Freeze | None:
        """Return the freeze that is in force, None where there is none."""
        ...

    async def spending(self) -> Sequence[GroupSpending]:
        """Return who spends which quota, now and in the last hour."""
        ...

    @property
    def waiting(self) -> float:
        """Seconds for which it has waited for another process, 0 where it does not wait."""
        ...

    @property
    def waits_for(self) -> str:
        """What it waits for, worded to follow "waits for", such as ``process 123`` or ``the database (…)``."""
        ...

    @property
    def keeper(self) -> int:
        """The id of the process that it waits for, 0 where that is not known, or where it is no process here."""
        ...

    @property
    def exposure(self) -> Exposure | None:
        """Why others than this user and root may have written what it keeps; None: nobody else may."""
        ...

    @property
    def trust_left(self) -> float | None:
        """Seconds for which this process may still trust that it has its runs; None where that does not run out."""
        ...

    def hurry(self) -> None:
        """Wait for other processes no longer: what would have to wait fails."""
        ...

    async def aclose(self) -> None:
        """Close it."""
        ...


class Watcher(Protocol):
    """Hears of all that happens in an engine, such as metrics or traces; it must take note and return at once.

    It is called on the event loop. What it raises is told to the event loop's exception handler, and stops nothing.
    """

    def heard(self, recorded: Recorded, state: RolloutState | None, /) -> None:
        """Hear of an event that this process has stored, with the context variables of whoever has begun its run.

        Args:
            recorded: the event.
            state: of its rollout, in which all that was stored with it is folded; None for single restarts.
        """
        ...

    def asked(self, server: str, answer: asyncio.Future[Outcome], /) -> None:
        """Hear that somebody asks for a server's restart by itself, with that somebody's context variables.

        Args:
            server: its id.
            answer: what the asker waits for; several may wait for one server.
        """
        ...

    def left(self, run_id: str, /) -> None:
        """Hear that this process has let a rollout go: it is over, stopped, or another process has it."""
        ...


class QueueOwner(Protocol):
    """Has the servers of a queue: a rollout's dispatcher, or the direct restarts.

    The engine remembers nothing of a server: what it may do with one it asks the owner at the instant at which it
    would.
    """

    def locate(self, server: str, /) -> tuple[int, str]:
        """Return the number of a server's wave, 0 where it is in none, and its domain."""
        ...

    def woken(self, queue: ServerQueue, /) -> None:
        """Act on a change of a queue (servers were put in, a request was answered, it was stopped); wake the engine."""
        ...

    async def admit(self, queue: ServerQueue, servers: Sequence[str], /) -> Sequence[str]:
        """Return those of waiting servers that may be looked at and sent."""
        ...

    def wanted(self, queue: ServerQueue, server: str, /) -> bool:
        """Tell whether a server in a queue is still to be sent; where not, the engine lets go of it.

        Asked at the latest as its intent is given to the store.
        """
        ...

    def returned(self, servers: Iterable[str], /) -> None:
        """Take back servers that the engine had in hand when the queue was recalled."""
        ...

    def earlier(self, server: str, /) -> Attempt | None:
        """Return the last request that named a waiting server and was taken for not carried out, if there was one."""
        ...

    def unstarted(self, server: str, /) -> int:
        """Return how many requests that named a server were shown not to have begun, since its last outcome."""
        ...

    def maybe_sent_since(self, server: str, /) -> float | None:
        """Return from when on (seconds since 1970) a server may have been sent that the record does not know of.

        None: what it has is all.
        """
        ...

    def kept(self, server: str, /) -> Outcome | None:
        """Return how a server had failed that is to be tried again, None where it is none of these."""
        ...

    def still_down(self, server: str, /) -> bool:
        """Tell whether a server keeps its slot in the budget after its outcome, until a look shows it up."""
        ...
