"""`triage`: what a look before a request means for each server: sent, left alone, or under way by one of ours already.

The producer looks before it asks for tokens, the submitter after a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Final

from ecsbatch.engine.poller import Poller
from ecsbatch.engine.reconcile import was_begun
from ecsbatch.engine.retry import skip_of
from ecsbatch.engine.server_queue import Batch, ServerQueue
from ecsbatch.errors import CloudError, Denied, Refused
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model import events as ev
from ecsbatch.model.servers import Look, ServerView
from ecsbatch.model.tally import Attempt
from ecsbatch.model.tokens import Grant
from ecsbatch.model.view_table import ViewTable
from ecsbatch.planning.precheck import precheck

UNSEEN_AFTER: Final = 3
"""Looks in a row that show others and not a server, after which it is sent unseen: a single one may be chance."""

CLOCKS_APART: Final = 60.0
"""Seconds by which the cloud's clock and the store's may differ, where only a change of a server tells of a request."""

_NO_GRANT: Final = Grant("", 0, 0.0)


@dataclass(slots=True)
class Triage:
    """The servers of one look, sorted.

    Attributes:
        go: those to be sent, with their baselines; one that was not shown has a view without a status.
        later: those that could not be shown this time, to be looked at again.
        begun: those that an earlier request did start, as the batches of those requests, by number and job.
        ended: the outcomes of those that are left alone.
    """

    go: ViewTable = field(default_factory=ViewTable)
    later: list[str] = field(default_factory=list[str])
    begun: dict[tuple[int, str], Batch] = field(default_factory=dict[tuple[int, str], Batch])
    ended: list[ev.ServerEvent] = field(default_factory=list[ev.ServerEvent])

    async def report(self, queue: ServerQueue, poller: Poller) -> bool:
        """Report who has ended or is under way, and have the latter watched; False where it cannot be written."""
        started = [ev.BatchStarted(batch=batch.number, servers=list(batch.views)) for batch in self.begun.values()]
        events: list[ev.Event] = [*started, *self.ended]
        if events and not await queue.report(events):
            return False
        for batch in self.begun.values():
            if batch.job_id:
                poller.watch_job(batch)
            else:
                poller.watch_unknown(batch)
        return True


def triage(queue: ServerQueue, servers: Iterable[str], look: Look, now: float, refused: Batch | None = None) -> Triage:
    """Sort the servers of a look.

    Args:
        queue: which they are in.
        servers: those looked at, in order.
        look: what it showed.
        now: observed time.
        refused: the batch that the cloud has just refused, where that is why they are looked at.
    """
    found = Triage()
    options = queue.options
    for server in servers:
        view = look.servers.get(server)
        attempt = queue.owner.earlier(server)
        if view is None:
            _unshown(found, queue, server, look, refused)
        elif attempt is not None and _is_ours(view, attempt):
            _begun(found, queue, view, attempt, now)
        else:
            # What one of this run's own requests has changed is no sign of somebody else's.
            recent = options.skip_updated_since if attempt is None else None
            sent = _maybe_sent_since(queue, server, attempt)
            since = recent if sent is None else sent if recent is None else min(recent, sent)
            careful = options.precheck or sent is not None or (attempt is not None and attempt.refused)
            reason = precheck(view, precheck=careful, updated_since=since)
            if reason is None:
                found.go[server] = view
            else:
                found.ended.append(queue.left_alone(server, reason[0].value, refused, view, holds=reason[1]))
    return found


def _maybe_sent_since(queue: ServerQueue, server: str, attempt: Attempt | None) -> float | None:
    """Return from when on a change of a server may be by a request that was forgotten; None: by none."""
    if attempt is not None and attempt.updated:
        return None  # it is as it was before an earlier request
    sent = queue.owner.maybe_sent_since(server)
    return None if sent is None else sent - CLOCKS_APART


def _is_ours(view: ServerView, attempt: Attempt) -> bool:
    """Tell whether an earlier request did start a server."""
    return was_begun(view, attempt.updated, attempt.cloud_time, refused=attempt.refused)


def _unshown(found: Triage, queue: ServerQueue, server: str, look: Look, refused: Batch | None) -> None:
    """Sort a server that the look did not show; one that it left out is sent, for the request itself will tell.

    What is known of it from before a refusal is its baseline.
    """
    error = look.refused.get(server)
    if error is not None:
        found.ended.append(refused_alone(queue, server, error, refused))
    elif look.unseen.get(server, UNSEEN_AFTER) < UNSEEN_AFTER:
        found.later.append(server)
    else:
        attempt = queue.owner.earlier(server)
        before = attempt.updated if attempt is not None and attempt.refused else ""
        found.go[server] = ServerView(server, updated=before)


def _begun(found: Triage, queue: ServerQueue, view: ServerView, attempt: Attempt, now: float) -> None:
    """Count a server that is restarting, or was restarted, by an earlier request of this run as that request's."""
    key = attempt.batch, attempt.job_id
    batch = found.begun.get(key)
    if batch is None:
        views = ViewTable()
        batch = found.begun[key] = Batch(
            number=attempt.batch,
            queue=queue,
            views=views,
            grant=_NO_GRANT,
            cloud_time=attempt.cloud_time,
            deadline=now + queue.options.server_timeout,
            open=set(),
            job_id=attempt.job_id,
            begun=views,
        )
    batch.views[view.id] = view._replace(updated=attempt.updated)
    batch.open.add(view.id)


def refused_alone(queue: ServerQueue, server: str, error: CloudError, batch: Batch | None = None) -> ev.ServerEvent:
    """Return the end of a server that the cloud refuses where it stands alone; the code tells whether it is skipped."""
    skip = skip_of(error.code) if isinstance(error, Refused) else None
    if skip is not None:
        return queue.left_alone(server, skip.value, batch, code=error.code)
    reason = "denied" if isinstance(error, Denied) else "refused"
    return queue.server_event(
        ev.ServerFailed, server, batch, reason=reason, code=error.code, message=error.message, evidence="job"
    )
