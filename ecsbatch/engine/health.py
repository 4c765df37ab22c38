"""`HealthChecker`: asks restarted servers themselves whether they are healthy, for ``min_ready`` seconds.

SUCCESS of a job is the hypervisor's word. Read `HealthChecker._step` first.

A server keeps its place in the budget while it waits for its check, so as many are asked at once as wait: where 32 at
once ask 5,000 servers with a check of 8 s, the checks take seven times as long as the restarts. A check has a
connection open, so what the process may have open bounds them. One that starts a program costs its memory as well.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context
from typing import Final

from ecsbatch.engine.delay_queue import DelayQueue
from ecsbatch.engine.journal import TRUST_POLL
from ecsbatch.engine.observer import Observer
from ecsbatch.engine.server_queue import Batch, Check, ServerQueue, restarted
from ecsbatch.engine.visibility import Visibility
from ecsbatch.engine.workers import WorkersOnDemand, work_together
from ecsbatch.errors import CloudError
from ecsbatch.foreign import Broke, asked, unlike
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Evidence
from ecsbatch.model.servers import Server

MOST_CHECKS: Final = 1_000
"""Checks at once where ``check_workers`` is left out, however many files the process may open."""

_FILES_SHARE: Final = 0.5
"""The share of the files that the process may open for checks; the rest is for the cloud, the store and the program."""

_PROGRAMS: Final = 32
"""Checks at once that start a program, where ``check_workers`` is left out."""

_VISITS: Final = 32
"""Checks of held servers at once, at most."""


def checks_at_once(workers: int | None, open_files: int, sites: int) -> int:
    """Return how many checks may run at once at each site.

    Args:
        workers: as it is set; None: as many as there may be.
        open_files: how many files this process may have open; negative for no limit.
        sites: how many share them.
    """
    if workers is not None:
        return workers
    most = MOST_CHECKS if open_files < 0 else min(MOST_CHECKS, int(open_files * _FILES_SHARE))
    return max(1, most // sites)


def most_open_files() -> int:
    """Return how many files this process may have open, connections among them."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@dataclass(slots=True)
class Recovery:
    """A server that the cloud says is restarted, until it has been healthy for long enough.

    Attributes:
        batch, server: which.
        evidence: by which the cloud says so.
        healthy_since: loop time of the first check that passed after the last that did not; None: none has.
        failure: why the last check did not pass, "" where it did.
    """

    batch: Batch
    server: str
    evidence: Evidence
    healthy_since: float | None = None
    failure: str = ""


@dataclass(slots=True)
class Visit:
    """One check of a held server that was seen up.

    Attributes:
        queue, server: which.
        heard: told whether it passed.
    """

    queue: ServerQueue
    server: Server
    heard: Callable[[bool], None]


class HealthChecker:
    """Checks the restarted servers of all queues of a site."""

    def __init__(
        self, observer: Observer, visibility: Visibility, *, workers: int | None, timeout: float, sites: int = 1
    ) -> None:
        """Put it together; `run` has it work.

        Args:
            observer: looks at a server whose address is not known.
            visibility: whether the site can be reached.
            workers: checks at once of servers just restarted; None: see `checks_at_once`. Held servers are checked by
                workers of their own: their checks may all hang for long, and must not keep the others waiting.
            timeout: seconds that one check may take; longer, it has not passed.
            sites: how many sites this process works on.
        """
        self._observer = observer
        self._visibility = visibility
        self._timeout = timeout
        self._delayed: DelayQueue[Recovery] = DelayQueue()
        most = checks_at_once(workers, most_open_files(), sites)
        self._checks = WorkersOnDemand("check", most, self._step)
        self._programs = self._checks
        if workers is None:
            self._programs = WorkersOnDemand("check-program", min(most, _PROGRAMS), self._step)
        self._visits = WorkersOnDemand("visit", min(most, _VISITS), self._visit)

    def watch(self, batch: Batch, server: str, evidence: Evidence) -> None:
        """Follow a server that the cloud says is restarted to its outcome."""
        self._delayed.put(asyncio.get_running_loop().time(), Recovery(batch, server, evidence))

    def visit(self, queue: ServerQueue, server: Server, heard: Callable[[bool], None]) -> None:
        """Check a held server once; ``heard`` is told whether it passed."""
        self._visits.put(Visit(queue, server, heard))

    async def run(self) -> None:
        """Work until cancelled."""
        workers = {each.name: each for each in (self._checks, self._programs, self._visits)}
        await work_together({"health": self._hand_out(), **{name: each.run() for name, each in workers.items()}})

    async def _hand_out(self) -> None:
        while True:
            self._hand_over(await self._delayed.due())

    def _hand_over(self, due: Iterable[Recovery]) -> None:
        for recovery in due:
            workers = self._programs if recovery.batch.queue.options.check_is_program else self._checks
            workers.put(recovery)

    async def _visit(self, visit: Visit) -> None:
        options = visit.queue.options
        check = None if visit.queue.dropped or not visit.queue.journal.trusted else options.check
        passed = check is not None and not await failed_check(check, visit.server, self._timeout, options.context)
        visit.heard(passed)

    async def _step(self, recovery: Recovery) -> None:
        """Check once; report the server's end, or check again later."""
        queue = recovery.batch.queue
        if queue.dropped or recovery.server not in recovery.batch.open:
            return
        asked, observed = asyncio.get_running_loop().time(), self._visibility.observed_time()
        if queue.options.check is not None and not queue.journal.trusted:
            self._delayed.put(asked + TRUST_POLL, recovery)  # another process may have the run by now, and check
            return
        if queue.options.check is not None:
            check, server = queue.options.check, await self._server(recovery)
            recovery.failure = await failed_check(check, server, self._timeout, queue.options.context)
        now = asyncio.get_running_loop().time()
        if recovery.failure:
            recovery.healthy_since = None
            if observed > recovery.batch.deadline:
                await self._end(recovery, healthy=False)
                return
        elif recovery.healthy_since is None:
            # Healthy from this answer to the asking of a later check that passes: only that span is certain.
            recovery.healthy_since = now
            asked = now
        since = recovery.healthy_since
        if since is not None and asked - since >= queue.options.min_ready:
            await self._end(recovery, healthy=True)
            return
        wait = queue.options.check_interval
        if since is not None:
            left = since + queue.options.min_ready - now
            wait = left if queue.options.check is None else min(wait, left)
        self._delayed.put(now + wait, recovery)

    async def _server(self, recovery: Recovery) -> Server:
        """Return the server as checks take it; one taken over from an earlier process is looked at for its address."""
        views = recovery.batch.views
        view = views.get(recovery.server)
        # While the cloud cannot be seen the deadline stands still, and a check alone would never learn that it can.
        if view is None or not view.status or self._visibility.blind_for() > 0:
            with suppress(CloudError):
                look = await self._observer.look([recovery.server])
                view = look.servers.get(recovery.server, view)
                if view is not None:
                    views[recovery.server] = view
        return recovery.batch.queue.server(recovery.server, view)

    async def _end(self, recovery: Recovery, *, healthy: bool) -> None:
        batch, server = recovery.batch, recovery.server
        if batch.queue.dropped:
            return
        batch.open.discard(server)
        evidence = recovery.evidence if batch.queue.options.check is None else Evidence.CHECK
        if healthy:
            await batch.queue.report(restarted(batch, [server], evidence))
            return
        failed = batch.queue.server_event(
            ev.ServerFailed,
            server,
            batch,
            reason="unhealthy",
            evidence=evidence.value,
            message=f"Restarted, but its health check did not pass in time: {recovery.failure}.",
            holds=True,
        )
        await batch.queue.report([failed])


async def failed_check(
    check: Check,
    server: Server,
    timeout: float,  # noqa: ASYNC109 - what is asked may go on
    context: Context | None,
) -> str:
    """Ask a check once, with the variables of ``context``; return why the server is not healthy yet, "" where it is."""
    try:
        healthy = await asked(lambda: check(server), _yes_or_no, timeout, context=context)
    except Broke as e:
        return f"the check took longer than {timeout:g} s" if e.late else str(e)
    return "" if healthy else "the check says no"


def _yes_or_no(answer: object) -> bool:
    if not isinstance(answer, bool):
        raise unlike(answer, "True or False")
    return answer
