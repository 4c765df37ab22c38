"""`FollowedJournal`: the end of a run's journal, read from the store once for all who follow it.

Whoever is behind reads for itself until it has caught up. Then one of those who wait reads for all of them: the one
whose turn it is. No task of its own is needed, so that nothing goes on once nobody follows any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from ecsbatch.model.recorded import Recorded

if TYPE_CHECKING:
    from ecsbatch.engine.ports import Store

_EVERY: Final = 0.5
"""Seconds between two looks at the store."""

_AT_ONCE: Final = 250
"""Events that are read in one go."""

_KEPT: Final = 2000
"""Events that are kept for those who follow and are a little behind."""


class FollowedJournal:
    """Follows the run of whatever process, for any number of readers.

    Attributes:
        readers: how many follow it now.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self.readers = 0
        self._store = store
        self._run_id = run_id
        self._turn = asyncio.Lock()
        self._kept: deque[Recorded] = deque()
        # All events behind number `_begin` and up to `_end` are in `_kept`.
        self._begin = self._end = 0
        self._reads = 0
        self._ended_with = 0
        self._next_at = 0.0

    async def events(self, after: int) -> AsyncGenerator[Recorded]:
        """Yield the events behind number ``after``, and those to come until the run ends or nobody holds it.

        Raises:
            RunNotFound: there is no such run any more.
            StoreError: the store cannot be read.
        """
        self.readers += 1
        began_with = self._reads
        try:
            while True:
                begin = self._begin
                found = self._since(after) if after >= begin else await self._read(after)
                for each in found:
                    yield each
                    after = each.seq
                if not found and after < begin:
                    after = begin  # what lies between is known to later versions only
                elif not found and self._ended_with > began_with:
                    return
                elif not found:
                    await self._look(after)
        finally:
            self.readers -= 1

    def _since(self, after: int) -> Sequence[Recorded]:
        """Return the kept events behind a number that is not before `_begin`."""
        found = list(takewhile(lambda each: each.seq > after, reversed(self._kept)))
        found.reverse()
        return found

    async def _read(self, after: int) -> Sequence[Recorded]:
        return await self._store.events(self._run_id, after, _AT_ONCE)

    async def _look(self, after: int) -> None:
        """Wait until somebody has looked whether there are events behind a number: we do where it is our turn."""
        known = self._reads
        async with self._turn:
            if self._reads > known or self._end > after:
                return
            await asyncio.sleep(max(0.0, self._next_at - asyncio.get_running_loop().time()))
            await self._look_now()

    async def _look_now(self) -> None:
        # Counted before it is read: who comes meanwhile is not told by this look that the run has ended.
        self._reads = number = self._reads + 1
        record = await self._store.run(self._run_id)
        if not self._end:
            self._begin = self._end = record.seq
        while found := await self._read(self._end):
            self._keep(found)
        # The record was read before the events: none comes behind them where nobody held the run by then.
        self._ended_with = 0 if record.held else number
        self._next_at = asyncio.get_running_loop().time() + _EVERY

    def _keep(self, found: Sequence[Recorded]) -> None:
        self._kept.extend(found)
        self._end = found[-1].seq
        while len(self._kept) > _KEPT:
            self._begin = self._kept.popleft().seq
