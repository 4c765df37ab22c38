"""`WatchedJobs`: the jobs that are looked at, counted so that no look has to go through all of them.

With batches of one server there are as many jobs as servers: what a look asks of the others is kept up to date instead.
"""

from __future__ import annotations

from typing import TypeVar

from ecsbatch.engine.poll_schedule import Watched
from ecsbatch.engine.resolver import JobWatch
from ecsbatch.engine.server_queue import ServerQueue

T = TypeVar("T")

_Kind = tuple[int, int, int]
"""Of jobs that are alike: the tick at which they were accepted, how many servers run as far as seen, how many began."""


class WatchedJobs:
    """All jobs of a site that are looked at."""

    def __init__(self, tick: float) -> None:
        """Count jobs that were accepted within so many seconds as of the same age."""
        self._tick = tick
        self._kinds: dict[JobWatch, _Kind] = {}
        self._alike: dict[_Kind, int] = {}
        self._pending: dict[ServerQueue, dict[int, int]] = {}

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, watch: JobWatch) -> None:
        """Count a job that is looked at from now on."""
        kind = int(watch.since // self._tick), len(watch.pending), watch.size
        self._kinds[watch] = kind
        _count(self._alike, kind, 1)
        _count(self._pending.setdefault(watch.batch.queue, {}), kind[1], 1)

    def forget(self, watch: JobWatch) -> None:
        """Count a job no more, where it was counted."""
        kind = self._kinds.pop(watch, None)
        if kind is None:
            return
        pending = self._pending[watch.batch.queue]
        _count(self._alike, kind, -1)
        _count(pending, kind[1], -1)
        if not pending:
            del self._pending[watch.batch.queue]

    def seen(self, watch: JobWatch) -> None:
        """Count anew a job that was just looked at."""
        if self._kinds[watch][1] != len(watch.pending):
            self.forget(watch)
            self.add(watch)

    def holds_up(self, watch: JobWatch) -> bool:
        """Tell whether a wave waits for this batch before anything else can be sent.

        Its queue has nothing left to send, and no other batch of it has more servers under way. Of direct restarts more
        may always come, and each caller waits for a server of its own.
        """
        queue = watch.batch.queue
        if queue.more or queue.queued or queue.in_air:
            return False
        return max(self._pending[queue]) <= len(watch.pending)

    def by_age(self, now: float) -> list[Watched]:
        """Return what the schedule asks of all jobs, those alike together."""
        return [
            Watched(now - accepted * self._tick, running, size, jobs)
            for (accepted, running, size), jobs in self._alike.items()
        ]


def _count(counts: dict[T, int], key: T, by: int) -> None:
    """Count one more or less, and nothing any more that is not there; a `Counter` would be twice as slow."""
    count = counts.get(key, 0) + by
    if count:
        counts[key] = count
    else:
        del counts[key]
