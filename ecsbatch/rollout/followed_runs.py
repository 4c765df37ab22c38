"""`FollowedRuns`: what is kept of the runs that somebody has asked about, so that the next question reads only news."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from ecsbatch.rollout.followed_journal import FollowedJournal
from ecsbatch.rollout.follower import RunFollower, new_history

if TYPE_CHECKING:
    from ecsbatch.engine.ports import Store
    from ecsbatch.model.recorded import Recorded
    from ecsbatch.model.run import RunRecord
    from ecsbatch.rollout.follower import RunHistory

_RUNS: Final = 16
"""Runs that are kept at most, those last asked about."""

KEPT_SERVERS: Final = 200_000
"""Servers that they have together at most; the run last asked about is kept however many it has."""


class FollowedRuns:
    """The followers of the runs last asked about, and the tails of the journals that are being followed."""

    def __init__(self, store: Callable[[], Store], *, servers: int = KEPT_SERVERS) -> None:
        """Read from ``store()``; keep runs that have no more ``servers`` together."""
        self._store = store
        self._servers = servers
        self._kept: OrderedDict[str, RunFollower] = OrderedDict()
        self._tails: dict[str, FollowedJournal] = {}
        self._making = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    async def history(self, record: RunRecord) -> RunHistory:
        """Return a rollout's history up to now.

        Raises:
            ConfigError: it is a run of single restarts.
            StoreError: the store cannot be read.
        """
        follower = self._follower(record)
        if follower is None:
            async with self._making:
                follower = self._follower(record) or await self._make(record)
        await follower.refresh()
        return follower.history

    def _follower(self, record: RunRecord) -> RunFollower | None:
        """Return the follower of a run; None where it is not kept, or is that of an earlier run with the same id."""
        follower = self._kept.get(record.run_id)
        if follower is None or follower.history.record.created_at != record.created_at:
            return None
        self._kept.move_to_end(record.run_id)
        return follower

    async def _make(self, record: RunRecord) -> RunFollower:
        store = self._store()
        follower = self._kept[record.run_id] = RunFollower(store, await new_history(store, record))
        self._kept.move_to_end(record.run_id)
        self._drop_old()
        return follower

    def _drop_old(self) -> None:
        """Forget the runs that nobody has asked about for the longest time."""
        servers = sum(len(follower.state.plan.fleet) for follower in self._kept.values())
        while len(self._kept) > _RUNS or (servers > self._servers and len(self._kept) > 1):
            _, oldest = self._kept.popitem(last=False)
            servers -= len(oldest.state.plan.fleet)

    async def events(self, run_id: str, after: int) -> AsyncGenerator[Recorded]:
        """Yield a run's events behind number ``after``, until it ends or nobody holds it; all readers share a tail."""
        tail = self._tails.setdefault(run_id, FollowedJournal(self._store(), run_id))
        try:
            async with aclosing(tail.events(after)) as events:
                async for recorded in events:
                    yield recorded
        finally:
            if not tail.readers and self._tails.get(run_id) is tail:
                del self._tails[run_id]
