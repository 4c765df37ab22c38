"""What the engine needs of others, on one page: a site's API, the ledger of tokens, a store, and owners of servers.

Whoever brings a cloud, a store or servers of their own sees here what they must do. The engine imports no concrete one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from ecsbatch.model.events import Recorded
from ecsbatch.model.quota import Usage
from ecsbatch.model.run import Claim, Command, Committed, Holder, Lease, NewRun, RunRecord, Transaction
from ecsbatch.model.servers import Fleet, Job, Look, RestartType, Site
from ecsbatch.model.tally import Attempt
from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest

if TYPE_CHECKING:
    from ecsbatch.engine.server_queue import ServerQueue


class Cloud(Protocol):
    """One site's API. Whatever goes wrong is a `CloudError`, whose class says what may be done next."""

    @property
    def site(self) -> Site:
        """Where requests go."""
        ...

    @property
    def api_rate(self) -> float:
        """Requests per second that all requests together may make."""
        ...

    @property
    def request_timeout(self) -> float:
        """Seconds after which a request is given up."""
        ...

    @property
    def connect_timeout(self) -> float:
        """Seconds of those for the connection."""
        ...

    async def turn(self) -> None:
        """Wait until another request may be made, as `api_rate` allows."""
        ...

    async def submit(self, type_: RestartType, ids: Sequence[str], on_sent: Callable[[], None] | None = None) -> str:
        """Ask once for the restart of up to `MAX_BATCH` servers; return the job's id.

        ``on_sent`` is called just before the first byte leaves; what it raises keeps the request from leaving.
        """
        ...

    async def look(self, ids: Sequence[str]) -> Look:
        """Show the states of up to `MAX_LOOK` servers."""
        ...

    async def look_at_any(self) -> Look:
        """Show the state of a server of the site, whichever: it tells whether anything can be seen."""
        ...

    async def show_job(self, job_id: str, pending: Collection[str], *, running: bool = False) -> Job:
        """Show a job's ended sub-jobs among ``pending``, and with ``running`` those under way; raises JobNotFound."""
        ...


class Ledger(Protocol):
    """Where grants of tokens are kept, shared by all who spend the same quota. Its futures never block the loop."""

    def take(self, take: TokenRequest) -> asyncio.Future[Grant | Shortage]:
        """Grant tokens, or say when there will be enough."""
        ...

    def settle(self, settle: Settlement) -> asyncio.Future[None]:
        """Let a grant's tokens go after some time, or at once."""
        ...

    async def usage(self, group: str, limit: int) -> Usage:
        """Say what is held, cooling and free."""
        ...

    def age(self, grant: Grant) -> float:
        """Say for how many seconds a grant has counted, by the ledger's own clock; rather too many than too few."""
        ...


class Store(Ledger, Protocol):
    """What outlives the process: runs with their leases, journals, claims and commands."""

    async def create_run(self, new: NewRun, holder: Holder) -> Lease:
        """Store a new run, held by ``holder``; raises RunConflict."""
        ...

    async def take_run(self, run_id: str, holder: Holder) -> Lease:
        """Take a run whose holder is gone; raises RunConflict."""
        ...

    async def renew(self, lease: Lease) -> Lease:
        """Take a run anew whose writing failed, without letting it go; raises RunConflict."""
        ...

    async def release(self, lease: Lease) -> None:
        """Let a run go; a lease that is not valid any more is ignored."""
        ...

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Do a transaction durably or not at all, in the order of the calls.

        ``folded`` is the number of the last event that the caller knows of: no tokens are granted where a failure has
        been stored behind it. The future raises RunTaken, ServersClaimed or StoreError.
        """
        ...

    async def run(self, name: str = "") -> RunRecord:
        """Return a run by its id or a unique beginning of it, "" for the latest; raises ConfigError."""
        ...

    async def targets(self, run_id: str) -> Fleet:
        """Return a run's frozen servers, in their order."""
        ...

    async def claimed(self, servers: Sequence[Claim]) -> dict[Claim, str]:
        """Name the run of each of these servers that one has."""
        ...

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Return up to ``limit`` events of a run behind number ``after``."""
        ...

    async def lines(self, run_id: str, after: int = 0, limit: int = 1000) -> list[bytes]:
        """Return the same as lines of JSON."""
        ...

    async def commands(self, run_id: str, after: int = 0) -> list[Command]:
        """Return what was asked of a run's holder behind command number ``after``."""
        ...

    @property
    def waiting(self) -> float:
        """Seconds for which it has waited for another process, 0 where it does not wait."""
        ...

    @property
    def keeper(self) -> int:
        """That process's id, 0 where nobody tells."""
        ...

    def hurry(self) -> None:
        """Wait for other processes no more."""
        ...

    async def aclose(self) -> None:
        """Close it."""
        ...


class QueueOwner(Protocol):
    """Whose servers stand in a queue: a rollout, or those who ask for single restarts.

    The engine keeps no word of its own about a server: what it may do with one is asked of its owner when it is done.
    """

    def locate(self, server: str, /) -> tuple[int, str]:
        """Return a server's wave, 0 where it is in none, and its domain."""
        ...

    def woken(self, queue: ServerQueue, /) -> None:
        """Hear that a queue has changed: servers were put in, a request was answered, the queue was stopped."""
        ...

    async def admit(self, queue: ServerQueue, servers: Sequence[str], /) -> Sequence[str]:
        """Keep those of waiting servers that may be looked at and sent."""
        ...

    def wanted(self, queue: ServerQueue, server: str, /) -> bool:
        """Tell whether a server that stands in a queue is to be sent from there.

        Asked as its intent is given to the store, whatever brought it there; where it is not, its slot is let go.
        """
        ...

    def returned(self, servers: Iterable[str], /) -> None:
        """Take servers back that were recalled while the engine had them in hand."""
        ...

    def earlier(self, server: str, /) -> Attempt | None:
        """Return the last request that named a waiting server and was taken for not carried out, if there was one."""
        ...

    def unstarted(self, server: str, /) -> int:
        """Return how often a server's request was shown not to have begun, since its last outcome."""
        ...

    def still_down(self, server: str, /) -> bool:
        """Tell whether a server keeps its slot in the budget after its outcome, until a look shows it up."""
        ...
