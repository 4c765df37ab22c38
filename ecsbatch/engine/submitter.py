"""`Submitter`: sends batches, once each, and acts on what the answer means for tokens and servers.

Read `Submitter._submit` first. What an answer means is decided in `retry`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ecsbatch.engine.limiter import DESYNC_SECONDS, SEND_WITHIN, TokenBucket
from ecsbatch.engine.observer import Observer
from ecsbatch.engine.poller import Poller
from ecsbatch.engine.ports import Cloud
from ecsbatch.engine.retry import AfterSubmit, Backoff, Charge, Next, after_submit
from ecsbatch.engine.server_queue import Batch, Prechecked
from ecsbatch.engine.triage import refused_alone, triage
from ecsbatch.engine.visibility import Visibility
from ecsbatch.engine.workers import work_together
from ecsbatch.errors import CloudError, NotAccepted, NotSent, Throttled
from ecsbatch.model import events as ev
from ecsbatch.model.requests import SENDING
from ecsbatch.model.servers import MAX_LOOK, Look
from ecsbatch.model.tokens import Grant, Settlement
from ecsbatch.model.view_table import ViewTable

THROTTLE_WAIT = 60.0
"""Seconds without submits after a 429 that does not say its period: the API counts by the minute."""

LONGEST_THROTTLE = 300.0
"""Seconds that a 429 keeps submits waiting at the most: one that names an hour or a day is asked again before."""

LONG_AGO = 300.0
"""Seconds after a request that was not accepted in which the next one must follow to count as the same trouble."""

_HALVED_AFTER = 2
"""Refusals of the same servers after which they are halved; the first only makes us look at them."""


class _TooLate(NotSent):
    """We let a request go unsent ourselves; that says nothing of the cloud."""


class Submitter:
    """The submit workers of one site.

    Attributes:
        slots: bound the batches that have tokens; taken by the producer, given back here.
    """

    def __init__(
        self,
        cloud: Cloud,
        observer: Observer,
        bucket: TokenBucket,
        visibility: Visibility,
        backoff: Backoff,
        poller: Poller,
        wake: Callable[[], None],
        workers: int,
    ) -> None:
        """Send with at most ``workers`` requests at once; ``wake`` is called when servers are ready or wait again."""
        self.slots = asyncio.Semaphore(workers)
        self._cloud = cloud
        self._observer = observer
        self._bucket = bucket
        self._visibility = visibility
        self._backoff = backoff
        self._poller = poller
        self._wake = wake
        self._workers = workers
        self._batches: asyncio.Queue[Batch] = asyncio.Queue()

    def send(self, batch: Batch) -> None:
        """Hand a batch that has its tokens to the next free worker."""
        self._batches.put_nowait(batch)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            await work_together({f"submit-{i}": self._work() for i in range(self._workers)})
        finally:
            # Nobody is left to send these: whoever waits until no request is in the air need not wait for them.
            while not self._batches.empty():
                self._let_go(self._batches.get_nowait())

    async def _work(self) -> None:
        while True:
            await self._see_to(await self._batches.get())

    async def _see_to(self, batch: Batch) -> None:
        try:
            await self._submit(batch)
        finally:
            self._let_go(batch)

    def _let_go(self, batch: Batch) -> None:
        batch.queue.in_air -= 1
        self.slots.release()
        batch.queue.wake()

    async def _submit(self, batch: Batch) -> None:
        """Send a batch and write what came of it."""
        try:
            job_id = await self._attempt(batch)
        except CloudError as error:
            await self._not_accepted(batch, error)
            return
        batch.job_id = job_id
        batch.queue.unaccepted = None
        self._backoff.succeeded()
        self._visibility.seen()
        await batch.queue.report(
            [ev.BatchAccepted(batch=batch.number, job_id=job_id, sent=batch.sent, answered=self._bucket.ledger_time())],
            settle=[self._bucket.answered(batch.grant)],
        )
        self._bucket.changed()
        self._poller.watch_job(batch)

    async def _attempt(self, batch: Batch) -> str:
        def leaving() -> None:
            """Stop the request at the last instant, before its first byte, where it must not leave any more."""
            # From the grant itself: this process, or its machine, may have stood still in between.
            age, queue = self._bucket.age(batch.grant), batch.queue
            why = held_back(age, dropped=queue.dropped, trusted=queue.journal.trusted)
            if why := why or self._bucket.freeze.holds_back(age):
                raise _TooLate(f"The request was not sent: {why}.")
            batch.sent = self._bucket.ledger_time()

        sending = SENDING.set((batch.queue.journal.run_id, batch.number))
        try:
            return await self._cloud.submit(batch.queue.options.type, list(batch.views), leaving)
        finally:
            SENDING.reset(sending)

    async def _not_accepted(self, batch: Batch, error: CloudError) -> None:
        after = after_submit(error)
        answer = _event(batch, after, error, self._bucket.ledger_time())
        written = await batch.queue.report([answer], settle=[self._settle(after.charge, batch.grant)])
        self._bucket.changed()
        if not written:
            return
        if after.next is not Next.AGAIN:
            batch.queue.unaccepted = None
        match after.next:
            case Next.STOP:
                batch.queue.requeue(list(batch.views))
                batch.queue.stop("auth", str(error))
            case Next.RECONCILE:
                self._visibility.failed(error)
                self._poller.watch_unknown(batch)
            case Next.LOOK:
                self._visibility.seen()
                await self._refused(batch, error)
            case Next.AGAIN:
                await self._again(batch, error)

    def _settle(self, charge: Charge, grant: Grant) -> Settlement:
        match charge:
            case Charge.REFUND:
                return self._bucket.refund(grant)
            case Charge.ANSWERED:
                return self._bucket.answered(grant)
            case Charge.GIVEN_UP:
                return self._bucket.given_up(grant)

    # -- certainly not accepted ------------------------------------------------------------------------------------

    async def _again(self, batch: Batch, error: CloudError) -> None:
        """Put the servers back at the head of their queue, and pause as long as the answer or the back-off says."""
        if not isinstance(error, _TooLate):
            await self._pause(batch, error)
        # To wait and not among the ready ones: by their next turn the look at them may be too old.
        batch.queue.requeue(list(batch.views))
        self._wake()

    async def _pause(self, batch: Batch, error: CloudError) -> None:
        """Send nothing for as long as the answer or the back-off says; stop where that has not helped for long."""
        queue = batch.queue
        now = asyncio.get_running_loop().time()
        recent = queue.unaccepted is not None and now <= queue.unaccepted[1] + LONG_AGO
        since = queue.unaccepted[0] if queue.unaccepted is not None and recent else now
        # One header must not hold a run for a day: it asks again in time, and stops where that does not help.
        wait = min(self._wait_for(error), queue.options.server_timeout)
        queue.unaccepted = since, now + wait
        if now - since > queue.options.server_timeout:
            queue.stop("cloud_unreachable", f"No request was accepted for {now - since:.0f} s: {error}")
        if isinstance(error, Throttled):
            await self._throttled(batch, error, wait)
            return
        if isinstance(error, NotSent):
            self._visibility.failed(error)
        self._bucket.close_for(wait)

    def _wait_for(self, error: CloudError) -> float:
        """Return for how many seconds nothing is sent after an answer."""
        if isinstance(error, Throttled):
            wait = error.retry_after or error.window or max(THROTTLE_WAIT, self._backoff.next())
            return min(wait, LONGEST_THROTTLE)
        asked = error.retry_after if isinstance(error, NotAccepted) else None
        return self._backoff.next() if asked is None else asked

    async def _throttled(self, batch: Batch, error: Throttled, wait: float) -> None:
        """Obey a 429. Our ledger had granted the tokens, so somebody else spends this quota: lower our own limit."""
        throttled = ev.QuotaThrottled(wait=wait, message=error.message, limit=error.limit, window=error.window)
        lowered = ev.QuotaDesync(limit=self._bucket.lower(), seconds=DESYNC_SECONDS)
        self._bucket.close_for(wait)
        await batch.queue.report([throttled, lowered])

    # -- refused ---------------------------------------------------------------------------------------------------

    async def _refused(self, batch: Batch, error: CloudError) -> None:
        """Find what the cloud refuses: look first, halve what is refused twice, until an offender stands alone."""
        queue, servers = batch.queue, list(batch.views)
        looks = await self._look(servers)
        servers = [server for server in servers if queue.owner.wanted(queue, server)]
        if looks is None:
            queue.requeue(servers)
            return
        rest = ViewTable()
        fewer = False
        for part, look in looks:
            part = [server for server in part if server in servers]  # noqa: PLW2901 - some may be left out meanwhile
            found = triage(queue, part, look, self._visibility.observed_time(), refused=batch)
            await found.report(queue, self._poller)
            queue.requeue(found.later)
            rest.take(found.go)
            fewer |= len(found.go) < len(part)
        # What the cloud has refused named more servers: of several none is to blame, even where one is left by now.
        fewer |= len(servers) < len(batch.views)
        if len(batch.views) == 1 and rest:
            await queue.report([refused_alone(queue, servers[0], error, batch)])
            return
        self._put_back(batch, rest, min(look.asked_at for _, look in looks), fewer=fewer)

    def _put_back(self, batch: Batch, rest: ViewTable, looked_at: float, *, fewer: bool) -> None:
        """Send the rest again: whole after the first refusal or where it has become fewer, else in halves."""
        if not rest:
            return
        refusals = 1 if fewer else batch.refusals + 1
        if refusals < _HALVED_AFTER:
            batch.queue.ready.appendleft(Prechecked(rest, looked_at, refusals))
        else:
            half = (len(rest) + 1) // 2
            for part in (rest.part(half), rest.part(0, half)):
                if part:
                    batch.queue.ready.appendleft(Prechecked(part, looked_at, refusals))
        self._wake()

    async def _look(self, servers: Sequence[str]) -> list[tuple[Sequence[str], Look]] | None:
        """Look at all servers of a batch; None, after a pause, where nothing could be seen."""
        looks: list[tuple[Sequence[str], Look]] = []
        for start in range(0, len(servers), MAX_LOOK):
            part = servers[start : start + MAX_LOOK]
            try:
                looks.append((part, await self._observer.look(part)))
            except CloudError as e:
                await self._observer.rest(e)
                return None
        return looks


def held_back(age: float, *, dropped: bool, trusted: bool) -> str:
    """Say why a request must not leave any more, ``age`` seconds after its grant; "" where it may."""
    if dropped:
        return "its run has ended"
    if not trusted:
        return "another process may have taken its run"
    return "too long had passed since its tokens were granted" if age > SEND_WITHIN else ""


def _event(batch: Batch, after: AfterSubmit, error: CloudError, answered: float) -> ev.Event:
    facts: dict[str, Any] = {"status": error.status, "code": error.code, "request_id": error.request_id}
    facts |= {"sent": batch.sent, "answered": answered}
    if after.next is Next.RECONCILE:
        return ev.BatchUnknown(batch=batch.number, message=error.message, **facts)
    return ev.BatchRejected(batch=batch.number, kind=after.kind, message=error.message, **facts)
