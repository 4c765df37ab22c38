"""`Observer`: makes all looks at one site, and tells whether the site cannot be seen or only one thing of it.

A look or a job's query that fails says one of two things: nothing can be seen of the cloud, so that nobody is to
blame and clocks stand still; or this one thing cannot be shown, while all else can. So a failure is told apart by a
probe: a look at a server that was shown before, or at whichever the site lists first where no other is known. Where
that fails too the site is blind. Where it works the site is seen and the failure is the thing's own: a look at several
servers is halved until the offender stands alone, and a job is its poller's to give up. An answer that says no needs no
probe: who answers can be seen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import field
from typing import TypeVar

from ecsbatch.engine.pacing import RequestPacer
from ecsbatch.engine.ports import Cloud
from ecsbatch.engine.retry import Backoff
from ecsbatch.engine.visibility import LONGEST_PAUSE, Visibility
from ecsbatch.errors import AuthError, CloudError, JobNotFound, Refused, Throttled
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.servers import Job, Look, ServerView

T = TypeVar("T")

PROBE_APART = 15.0
"""Seconds after a probe in vain in which no other is made: an outage must not multiply the requests."""

_KNOWN = 8
"""Servers that are remembered for probes."""

_REMEMBERED = 10_000
"""Servers that could not be shown and are remembered; of one that was forgotten the next look tells it anew."""


class JobHidden(CloudError):
    """A job cannot be shown although the site can be seen."""


@dataclass(slots=True)
class _Found:
    """What the requests of one look have shown so far; its fields are those of `Look`."""

    asked_at: float | None = None
    observed_at: float = 0.0
    servers: dict[str, ServerView] = field(default_factory=dict[str, ServerView])
    refused: dict[str, Refused] = field(default_factory=dict[str, Refused])
    unseen: dict[str, int] = field(default_factory=dict[str, int])
    cloud_time: float | None = None

    def look(self) -> Look:
        asked_at = self.asked_at or 0.0
        return Look(self.servers, self.cloud_time, asked_at, self.observed_at, self.refused, self.unseen)


class Observer:
    """Asks for the states of servers and for jobs of one site."""

    def __init__(self, cloud: Cloud, visibility: Visibility, pace: RequestPacer, backoff: Backoff) -> None:
        """Make requests at the speed of ``pace``; ``backoff`` gives the pauses after looks that showed nothing."""
        self._cloud = cloud
        self._visibility = visibility
        self._pace = pace
        self._backoff = backoff
        self._now = asyncio.get_running_loop().time
        self._in_turn = asyncio.Lock()
        self._probing = asyncio.Lock()
        self._answered_at = float("-inf")
        self._in_vain_at = float("-inf")
        self._shown: deque[str] = deque(maxlen=_KNOWN)
        self._met: deque[str] = deque(maxlen=_KNOWN)
        self._alone: dict[str, int] = {}

    @property
    def rate(self) -> float:
        """Requests a second that the site lets through now."""
        return self._pace.rate(self._now())

    @property
    def answered_at(self) -> float:
        """Loop time at which the last query was asked that had an answer."""
        return self._answered_at

    def meet(self, servers: Iterable[str]) -> None:
        """Remember servers that exist: a probe may ask about one of them until others have been shown."""
        self._met.extend(servers)

    async def turn(self) -> None:
        """Wait until another request may be made; looks do so themselves."""
        await self._paced()
        await self._cloud.turn()

    async def rest(self, error: CloudError) -> None:
        """Pause after a look that failed: as long as the back-off says, or a 429 asks for."""
        asked = error.retry_after or 0.0 if isinstance(error, Throttled) else 0.0
        await asyncio.sleep(min(LONGEST_PAUSE, max(self._backoff.next(), asked)))

    # -- servers ---------------------------------------------------------------------------------------------------

    async def look(self, ids: Sequence[str]) -> Look:
        """Show up to `MAX_LOOK` servers; those that could not be shown before are asked about one by one.

        Raises:
            AuthError: the key or token is not accepted.
            CloudError: nothing can be seen of the site.
        """
        found = _Found()
        alone = [server for server in ids if server in self._alone]
        if together := [server for server in ids if server not in alone]:
            await self._look(found, together)
        for server in alone:
            await self._look(found, [server], known=True)
        self._backoff.succeeded()
        return found.look()

    async def _look(self, found: _Found, ids: Sequence[str], *, halved: bool = False, known: bool = False) -> None:
        """Look at servers; where they cannot be shown although the site can be seen, look at each half of them.

        Args:
            found: takes what is shown.
            ids: the servers.
            halved: they are half of a look that failed.
            known: they could not be shown before, so that any answer since this look's begin shows the site.
        """
        await self._paced()
        asked = self._now()
        if found.asked_at is None:
            found.asked_at, found.observed_at = asked, self._visibility.observed_time()
        try:
            look = await self._answer(asked, lambda: self._cloud.look(ids))
        except (AuthError, Throttled):
            raise
        except Refused as e:
            error: CloudError = e
        except CloudError as e:
            error = e
            # Halves tell by themselves what their failure is; only that of a single server has to be told apart.
            if not halved or len(ids) == 1 or not e.answered:
                await self._tell_apart(e, found.asked_at if known else asked, ids)
        else:
            self._note(found, ids, look)
            return
        if len(ids) == 1:
            self._cannot_show(found, ids[0], error)
            return
        half = len(ids) // 2
        await self._look(found, ids[:half], halved=True)
        await self._look(found, ids[half:], halved=True)

    def _note(self, found: _Found, ids: Sequence[str], look: Look) -> None:
        found.servers.update(look.servers)
        found.cloud_time = look.cloud_time if look.cloud_time is not None else found.cloud_time
        self._visibility.seen(look.cloud_time)
        for server in ids:
            self._alone.pop(server, None)
        self._shown.extend(server for server in list(look.servers)[-_KNOWN:] if server not in self._shown)

    def _cannot_show(self, found: _Found, server: str, error: CloudError) -> None:
        """Remember a server that cannot be shown: it is looked at alone until it can."""
        times = self._alone[server] = self._alone.get(server, 0) + 1
        if len(self._alone) > _REMEMBERED:
            del self._alone[next(iter(self._alone))]
        if isinstance(error, Refused):
            found.refused[server] = error
        else:
            found.unseen[server] = times

    # -- jobs ------------------------------------------------------------------------------------------------------

    async def show_job(self, job_id: str, pending: Collection[str], *, running: bool = False) -> Job:
        """Show a job's ended sub-jobs among ``pending``.

        Raises:
            JobNotFound: the cloud does not know the job.
            JobHidden: the job cannot be shown, and the site can be seen.
            AuthError: the key or token is not accepted.
            CloudError: nothing can be seen of the site.
        """
        await self._paced()
        asked = self._now()
        try:
            return await self._answer(asked, lambda: self._cloud.show_job(job_id, pending, running=running))
        except (AuthError, Throttled, JobNotFound):
            raise
        except CloudError as e:
            if not isinstance(e, Refused):
                await self._tell_apart(e, asked, (), pending)
            raise JobHidden(
                e.message, status=e.status, code=e.code, request_id=e.request_id, answered=e.answered
            ) from e

    # -- telling apart ---------------------------------------------------------------------------------------------

    async def _answer(self, asked: float, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, and note whether the site can be seen; a failure that has to be told apart says nothing yet."""
        with self._visibility.trying():
            try:
                answer = await ask()
            except Throttled as e:
                self._pace.throttled(e, self._now())
                self._visibility.failed(e)
                raise
            except Refused:
                self._seen(asked)
                raise
        self._seen(asked)
        return answer

    def _seen(self, asked: float) -> None:
        self._answered_at = max(self._answered_at, asked)
        self._visibility.seen()

    async def _tell_apart(
        self, error: CloudError, asked: float, ids: Sequence[str], others: Collection[str] = ()
    ) -> None:
        """Return where the site can be seen, so that the failure is the thing's own; else raise the failure."""
        async with self._probing:
            # Something that was asked later, of whatever kind, is as good as a probe.
            if self._answered_at >= asked or await self._probe(ids, others):
                return
        self._visibility.failed(error)
        raise error

    async def _probe(self, ids: Sequence[str], others: Collection[str]) -> bool:
        """Look at a server that was shown before, or else at one that may be; tell whether there was an answer."""
        if self._now() < self._in_vain_at + PROBE_APART:
            return False
        server = self._witness(ids, others)
        await self._paced()
        try:
            look = await self._answer(self._now(), lambda: self._look_at(server))
        except AuthError:
            if server is not None:
                raise
            self._in_vain_at = self._now()  # the key may be for some servers only
            return False
        except Refused:
            return True
        except CloudError:
            self._in_vain_at = self._now()
            # It may be the witness that cannot be shown any more: another one next time.
            if server is not None and server in self._shown:
                self._shown.remove(server)
            self._met.rotate(1)
            return False
        self._visibility.seen(look.cloud_time)
        self._shown.extend(shown for shown in look.servers if shown not in self._shown)
        return True

    async def _look_at(self, server: str | None) -> Look:
        return await (self._cloud.look_at_any() if server is None else self._cloud.look([server]))

    def _witness(self, ids: Sequence[str], others: Collection[str]) -> str | None:
        """Choose the server of a probe: one that was shown, one that exists, or one of those asked about; None: any."""
        for known in (reversed(self._shown), reversed(self._met), others):
            for server in known:
                if server not in ids and server not in self._alone:
                    return server
        return ids[int(self._now()) % len(ids)] if len(ids) > 1 else None

    # -- pace ------------------------------------------------------------------------------------------------------

    async def _paced(self) -> None:
        """Wait until the limit that a 429 named lets one more request through; first come first served.

        Whoever waits here tries to see the site: the time counts as blind where it is blind already.
        """
        with self._visibility.trying():
            await self._wait_for_turn()

    async def _wait_for_turn(self) -> None:
        async with self._in_turn:
            while (wait := self._pace.wait(self._now())) > 0:  # noqa: ASYNC110 - a later 429 may move the end
                await asyncio.sleep(wait)
            self._pace.sent(self._now())
