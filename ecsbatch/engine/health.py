"""`HealthChecker`: asks restarted servers themselves whether they are healthy, for ``min_ready`` seconds.

SUCCESS of a job is the hypervisor's word. Read `HealthChecker._step` first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass

from ecsbatch.engine.delay_queue import DelayQueue
from ecsbatch.engine.observer import Observer
from ecsbatch.engine.server_queue import Batch, Check, ServerQueue, restarted
from ecsbatch.engine.visibility import Visibility
from ecsbatch.engine.workers import work_together
from ecsbatch.errors import CloudError
from ecsbatch.foreign import Broke, asked, unlike
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Evidence
from ecsbatch.model.servers import Server

CHECK_TIMEOUT = 10.0
"""Seconds that one check may take; longer, it has not passed."""


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

    def __init__(self, observer: Observer, visibility: Visibility, workers: int) -> None:
        """Run at most ``workers`` checks at once of servers just restarted, and as many of held servers.

        The latter may all hang for long: they must not keep the former waiting.
        """
        self._observer = observer
        self._visibility = visibility
        self._workers = workers
        self._delayed: DelayQueue[Recovery] = DelayQueue()
        self._due: asyncio.Queue[Recovery] = asyncio.Queue()
        self._visits: asyncio.Queue[Visit] = asyncio.Queue()

    def watch(self, batch: Batch, server: str, evidence: Evidence) -> None:
        """Follow a server that the cloud says is restarted to its outcome."""
        self._delayed.put(asyncio.get_running_loop().time(), Recovery(batch, server, evidence))

    def visit(self, queue: ServerQueue, server: Server, heard: Callable[[bool], None]) -> None:
        """Check a held server once; ``heard`` is told whether it passed."""
        self._visits.put_nowait(Visit(queue, server, heard))

    async def run(self) -> None:
        """Work until cancelled."""
        workers = {f"check-{i}": self._work() for i in range(self._workers)}
        workers |= {f"visit-{i}": self._visit_all() for i in range(self._workers)}
        await work_together({"health": self._hand_out(), **workers})

    async def _hand_out(self) -> None:
        while True:
            for recovery in await self._delayed.due():
                self._due.put_nowait(recovery)

    async def _work(self) -> None:
        while True:
            await self._step(await self._due.get())

    async def _visit_all(self) -> None:
        while True:
            visit = await self._visits.get()
            check = None if visit.queue.dropped else visit.queue.options.check
            context = visit.queue.options.context
            visit.heard(check is not None and not await failed_check(check, visit.server, context))

    async def _step(self, recovery: Recovery) -> None:
        """Check once; report the server's end, or check again later."""
        queue = recovery.batch.queue
        if queue.dropped or recovery.server not in recovery.batch.open:
            return
        asked, observed = asyncio.get_running_loop().time(), self._visibility.observed_time()
        if queue.options.check is not None:
            server, context = await self._server(recovery), queue.options.context
            recovery.failure = await failed_check(queue.options.check, server, context)
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
            await batch.queue.report([restarted(batch, server, evidence)])
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


async def failed_check(check: Check, server: Server, context: Context | None) -> str:
    """Ask a check once, with the variables of ``context``; return why the server is not healthy yet, "" where it is."""
    try:
        healthy = await asked(lambda: check(server), _yes_or_no, CHECK_TIMEOUT, context=context)
    except Broke as e:
        return f"the check took longer than {CHECK_TIMEOUT:.0f} s" if e.late else str(e)
    return "" if healthy else "the check says no"


def _yes_or_no(answer: object) -> bool:
    if not isinstance(answer, bool):
        raise unlike(answer, "True or False")
    return answer
