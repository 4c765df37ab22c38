"""`Producer`: makes batches that have their tokens of the servers in a site's queues. Read `Producer.pack` first.

Two loops for each site. One looks at waiting servers, up to 100 a look: precheck, and the baseline by which a request
without an answer is judged. The other takes what was looked at, waits for tokens and stores grant and intent in one
transaction; only then does a batch go to the submit workers. Queues take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ecsbatch.engine.intent import Intent, Recalled
from ecsbatch.engine.journal import TRUST_POLL
from ecsbatch.engine.limiter import Frozen, StillShort, TokenBucket
from ecsbatch.engine.observer import Observer
from ecsbatch.engine.poller import Poller
from ecsbatch.engine.server_queue import Batch, Prechecked, ServerQueue
from ecsbatch.engine.triage import triage
from ecsbatch.engine.visibility import Visibility
from ecsbatch.engine.workers import work_together
from ecsbatch.errors import AuthError, CloudError, EcsbatchError, RunConflict
from ecsbatch.model.servers import MAX_LOOK, Look

_ENOUGH = 25
"""Servers that are worth a request of their own."""

_PARTS_OF_LIMIT = 40
"""Requests into which a window's tokens may fall apart. What is left of them for want of a larger part lies idle until
others come back: of a quarter of a batch of 1,000 that was 12% of a quota of 1,000."""

_LOOK_AGAIN = 1.0
"""Seconds until servers are looked at again that could not be shown, where no others are waiting."""


class Producer:
    """The queues of one site, and the two loops that work on them.

    Attributes:
        queues: those that are worked on.
    """

    def __init__(
        self,
        observer: Observer,
        bucket: TokenBucket,
        visibility: Visibility,
        poller: Poller,
        send: Callable[[Batch], None],
        slots: asyncio.Semaphore,
    ) -> None:
        """Hand batches to ``send``; each takes one of ``slots`` here, and whoever sends it gives that back."""
        self.queues: list[ServerQueue] = []
        self._observer = observer
        self._bucket = bucket
        self._visibility = visibility
        self._poller = poller
        self._send = send
        self._slots = slots
        self._to_look = asyncio.Event()
        self._to_pack = asyncio.Event()
        self._turn = 0

    def wake(self) -> None:
        """Look at the queues again: one of them has changed."""
        self._to_look.set()
        self._to_pack.set()

    async def run(self) -> None:
        """Work until cancelled."""
        await work_together({"precheck": self._look_ahead(), "pack": self._pack_all()})

    # -- looking ---------------------------------------------------------------------------------------------------

    async def _look_ahead(self) -> None:
        while True:
            await self.look_at(await self._choose(self._to_look, _look_due))

    async def look_at(self, queue: ServerQueue) -> None:
        """Look at the next servers of a queue: who may be sent is ready then, who must be left alone is skipped."""
        servers = [queue.waiting.popleft() for _ in range(min(MAX_LOOK, len(queue.waiting)))]
        queue.waiting_since = asyncio.get_running_loop().time()
        generation = queue.generation
        taken = len(servers)
        queue.looking += taken
        try:
            servers = list(await queue.owner.admit(queue, servers))
            look = await self._look(queue, servers) if servers else None
        finally:
            queue.looking -= taken
        if queue.generation != generation:
            queue.owner.returned(servers)
        elif look is None:
            queue.requeue(servers)
        else:
            await self._sort(queue, servers, look)

    async def _look(self, queue: ServerQueue, servers: Sequence[str]) -> Look | None:
        """Look once; None, after a pause, where nothing could be seen."""
        try:
            return await self._observer.look(servers)
        except AuthError as e:
            queue.stop("auth", str(e))
        except CloudError as e:
            self._to_pack.set()
            await self._observer.rest(e)
        return None

    async def _sort(self, queue: ServerQueue, servers: Sequence[str], look: Look) -> None:
        """Sort looked-at servers into those to be left alone, those under way as ours already and those to send."""
        found = triage(queue, servers, look, self._visibility.observed_time())
        if found.go:
            queue.ready.append(Prechecked(found.go, look.asked_at))
        self._to_pack.set()
        await found.report(queue, self._poller)
        if found.later:
            queue.put(server for server in found.later if queue.owner.wanted(queue, server))
            if len(queue.waiting) <= len(found.later):
                await asyncio.sleep(_LOOK_AGAIN)

    # -- packing ---------------------------------------------------------------------------------------------------

    async def _pack_all(self) -> None:
        while True:
            await self._slots.acquire()
            taken = False
            try:
                taken = await self.pack(await self._choose(self._to_pack, self._pack_due))
            finally:
                if not taken:
                    self._slots.release()

    async def pack(self, queue: ServerQueue) -> bool:
        """Take tokens for a queue's next batch, store grant and intent, send it; False where nothing was sent."""
        await self._observer.turn()
        prechecked = self._next_prechecked(queue)
        if prechecked is None:
            return False
        intent = Intent(queue, prechecked, self._visibility, self._bucket.group)
        want = len(prechecked.views)
        # What was refused goes as it is: what offends in it is found by halving.
        at_least = want if prechecked.refusals else self._enough(queue, want)
        queue.packing = want
        try:
            grant = await self._bucket.acquire(
                want,
                at_least,
                more=self._sendable,
                until=prechecked.fresh_until,
                take=intent.take,
                give_back=intent.give_back,
            )
        except Frozen as e:
            self._bucket.freeze.learn(e.freeze)
            self._put_back(queue, prechecked, intent.generation)
            return False
        except (Recalled, StillShort):
            self._put_back(queue, prechecked, intent.generation)
            return False
        except RunConflict as e:
            # Who claims servers one by one asks anew who may have them; else the run itself was taken.
            if not queue.journal.claims:
                queue.fail(e)
            queue.requeue(list(prechecked.views))
            return False
        except EcsbatchError as e:
            queue.ready.appendleft(prechecked)
            queue.fail(e)
            return False
        finally:
            queue.packing = 0
        self._send(intent.batch_of(grant))
        if rest := prechecked.views.part(grant.tokens):
            self._put_back(queue, Prechecked(rest, prechecked.looked_at), intent.generation)
        self._to_look.set()
        return True

    def _enough(self, queue: ServerQueue, want: int) -> int:
        """Return for how many tokens a batch goes: fewer make too many requests, more leave too many tokens idle."""
        least = max(_ENOUGH, self._bucket.quota.limit // _PARTS_OF_LIMIT)
        return max(1, min(want, queue.options.batch_size // 4, least))

    def _sendable(self) -> int:
        """Return how many servers could be sent right after those that are being packed."""
        if self._slots.locked():
            return 0
        return sum(len(queue.waiting) + queue.looking + queue.ready_count for queue in self.queues if queue.open)

    @staticmethod
    def _put_back(queue: ServerQueue, prechecked: Prechecked, generation: int) -> None:
        """Put servers back that could not be sent now: to be sent, to be looked at anew, or with their owner."""
        if queue.generation != generation:
            queue.owner.returned(prechecked.views)
        elif prechecked.views:
            queue.ready.appendleft(prechecked)
            queue.freshen(asyncio.get_running_loop().time())

    def _next_prechecked(self, queue: ServerQueue) -> Prechecked | None:
        """Merge ready servers into at most one batch; who was looked at too long ago is looked at again."""
        now = asyncio.get_running_loop().time()
        while queue.ready and queue.ready[0].stale(now):
            queue.requeue(list(queue.ready.popleft().views))
        if not queue.ready or not queue.open:
            return None
        first = queue.ready.popleft()
        if first.refusals:
            return first
        size = queue.options.batch_size
        while queue.ready and len(first.views) < size and not queue.ready[0].refusals:
            first.views.take(queue.ready.popleft().views)
        if len(first.views) > size:
            queue.ready.appendleft(Prechecked(first.views.part(size), first.looked_at))
            first = Prechecked(first.views.part(0, size), first.looked_at)
        return first

    def _pack_due(self, queue: ServerQueue) -> float | None:
        """Return when ready servers should be sent, see `_ready_due`; of a frozen store they stay in their queue."""
        return _ready_due(queue) if self._bucket.freeze.freeze is None else None

    # -- whose turn ------------------------------------------------------------------------------------------------

    async def _choose(self, changed: asyncio.Event, due: Callable[[ServerQueue], float | None]) -> ServerQueue:
        """Wait for a queue that is due; queues take turns."""
        while True:
            changed.clear()
            queue, soonest = self._next_due(due)
            if queue is not None:
                return queue
            await _wait(changed, soonest)

    def _next_due(self, due: Callable[[ServerQueue], float | None]) -> tuple[ServerQueue | None, float | None]:
        """Return the queue whose turn it is, or None and the loop time at which the first will be due."""
        now = asyncio.get_running_loop().time()
        soonest: float | None = None
        for i in range(len(self.queues)):
            queue = self.queues[(self._turn + i) % len(self.queues)]
            at = due(queue)
            if at is not None and at <= now:
                self._turn = (self._turn + i + 1) % len(self.queues)
                return queue, None
            if at is not None:
                soonest = at if soonest is None else min(soonest, at)
        return None, soonest


def _look_due(queue: ServerQueue) -> float | None:
    """Return the loop time at which waiting servers should be looked at: when due, and while no batch is ready."""
    size = queue.options.batch_size
    if not queue.open or not queue.waiting or queue.ready_count >= size:
        return None
    return queue.due_at(size)


def _ready_due(queue: ServerQueue) -> float | None:
    """Return the loop time at which ready servers should be sent: once they fill a batch, or no others are to come."""
    if not queue.open or not queue.ready:
        return None
    now = asyncio.get_running_loop().time()
    if not queue.journal.trusted:
        return now + TRUST_POLL
    size = queue.options.batch_size
    # Who has just come has a linger of its own: these have had theirs, and would wait for ever more of them.
    on_their_way = queue.looking or (queue.waiting and queue.due_at(size) <= now)
    if queue.ready[0].refusals or queue.ready_count >= size or not on_their_way:
        return 0.0
    # Their look will wake us; the linger bounds the wait for it.
    return queue.ready[-1].looked_at + queue.options.linger


async def _wait(changed: asyncio.Event, until: float | None) -> None:
    """Wait until something has changed, at the longest until a loop time."""
    try:
        async with asyncio.timeout_at(until):
            await changed.wait()
    except TimeoutError:
        return
