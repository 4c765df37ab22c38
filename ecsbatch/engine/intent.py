"""`Intent`: the intent to send a batch, stored in the transaction that takes its tokens, before a byte leaves.

A request is in the air from the instant at which the store is asked: what is decided meanwhile has to count it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from ecsbatch.engine.journal import JournalWriter, seen
from ecsbatch.engine.server_queue import Batch, Prechecked, ServerQueue
from ecsbatch.engine.visibility import Visibility
from ecsbatch.errors import EngineStopped
from ecsbatch.model import events as ev
from ecsbatch.model.run import Committed, Transaction
from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest
from ecsbatch.model.view_table import ViewTable


class Recalled(Exception):
    """The servers of a batch were recalled, or their look has become too old, while it waited for tokens."""


class Intent:
    """Takes tokens for one batch, and stores with them which servers they are for.

    Attributes:
        generation: of the queue when the servers were taken from it; another one means that they were recalled.
        batch: the batch's number in the run, 0 before the store is asked.
    """

    def __init__(self, queue: ServerQueue, prechecked: Prechecked, visibility: Visibility, group: str) -> None:
        """Intend to send ``prechecked`` servers of a queue; ``group`` is the key of the quota that is spent."""
        self.generation = queue.generation
        self.batch = 0
        self._cloud_time = 0.0
        self._group = group
        self._journal: JournalWriter | None = None
        self._queue = queue
        self._prechecked = prechecked
        self._visibility = visibility
        self._time = asyncio.get_running_loop().time

    def take(self, request: TokenRequest) -> asyncio.Future[Grant | Shortage]:
        """Store grant and intent; it names as many servers as there are tokens, the first ones.

        Raises:
            Recalled: nobody wants these servers sent any more, they have to be looked at again, or another process may
                have the run by now. Nothing is stored.
        """
        queue, prechecked = self._queue, self._prechecked
        if not self._wanted():
            raise Recalled
        for server in [server for server in prechecked.views if not queue.owner.wanted(queue, server)]:
            del prechecked.views[server]
        if not prechecked.views:
            raise Recalled
        want = min(request.want, len(prechecked.views))
        return self._store(replace(request, want=want, at_least=min(request.at_least, want)))

    def give_back(self, settle: Settlement) -> asyncio.Future[None]:
        """Give back the tokens of an intent that nobody is left to send."""
        gave_up = ev.BatchRejected(batch=self.batch, kind="not_sent", message="Stopped before it was sent.")
        written = self._queue.journal.record(Transaction([gave_up], settle=[settle]))
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def given_back(done: asyncio.Future[Committed]) -> None:
            seen(done)
            self._land()
            if not answer.done():
                answer.set_result(None)

        written.add_done_callback(given_back)
        return answer

    def batch_of(self, grant: Grant) -> Batch:
        """Return the batch of the servers that the intent names."""
        queue, views = self._queue, self._named(grant)
        return Batch(
            number=self.batch,
            queue=queue,
            views=views,
            grant=grant,
            cloud_time=self._cloud_time,
            deadline=self._visibility.observed_time() + queue.options.server_timeout,
            open=set(views),
            refusals=self._prechecked.refusals,
        )

    def _store(self, request: TokenRequest) -> asyncio.Future[Grant | Shortage]:
        """Hand token request and intent to the store; its queue counts both until they are answered."""
        queue, servers = self._queue, list(self._prechecked.views)
        if self._journal is not queue.journal:
            self._journal, self.batch = queue.journal, queue.journal.next_batch()
        self._cloud_time = self._visibility.cloud_time()
        queue.in_air += 1
        queue.given.update(servers)
        claim = [(queue.site, server) for server in servers] if queue.journal.claims else []
        wants = Transaction(take=request, wanted=self._wanted, intent=self._events, claim=claim)
        written = queue.journal.record(wants)
        answer: asyncio.Future[Grant | Shortage] = asyncio.get_running_loop().create_future()

        def heard(done: asyncio.Future[Committed]) -> None:
            queue.given.difference_update(servers)
            if done.cancelled() or done.exception() is not None or done.result().grant is None:
                self._land()
            _pass_on(done, answer)

        written.add_done_callback(heard)
        return answer

    def _wanted(self) -> bool:
        """Tell whether the servers are to be sent still, and by their look; safe from any thread."""
        queue = self._queue
        recalled = queue.generation != self.generation or not queue.open or queue.dropped or not queue.journal.trusted
        return not recalled and not self._prechecked.stale(self._time())

    def _land(self) -> None:
        self._queue.in_air -= 1
        self._queue.wake()

    def _named(self, grant: Grant) -> ViewTable:
        return self._prechecked.views.part(0, grant.tokens)

    def _events(self, grant: Grant) -> Sequence[ev.Event]:
        named = self._named(grant)
        return [
            ev.BatchSubmitting(
                batch=self.batch,
                servers=list(named),
                wave=self._queue.wave,
                type=self._queue.options.type,
                site=self._queue.site,
                grant=grant.id,
                updated=named.baselines(),
                cloud_time=self._cloud_time,
                granted=grant.granted,
                group=self._group,
            )
        ]


def _pass_on(done: asyncio.Future[Committed], answer: asyncio.Future[Grant | Shortage]) -> None:
    if answer.done():
        return
    failure = EngineStopped("Nobody said whether tokens were granted.") if done.cancelled() else done.exception()
    if failure is not None:
        answer.set_exception(failure)
        return
    commit = done.result()
    if commit.grant is not None:
        answer.set_result(commit.grant)
    elif commit.shortage is not None:
        answer.set_result(commit.shortage)
    else:
        answer.set_exception(EngineStopped("The store granted nothing and did not say why."))
