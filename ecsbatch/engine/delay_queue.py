"""`DelayQueue`: gives items out once they are due. One heap and one timer, however many items."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class DelayQueue(Generic[T]):
    """Items by the loop time at which they are due; equal times keep the order in which they were put."""

    def __init__(self) -> None:
        """Begin empty."""
        self._heap: list[tuple[float, int, T]] = []
        self._count = 0
        self._sooner = asyncio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, due: float, item: T) -> None:
        """Add an item that is due at a loop time."""
        if not self._heap or due < self._heap[0][0]:
            self._sooner.set()
        self._count += 1
        heappush(self._heap, (due, self._count, item))

    async def due(self) -> list[T]:
        """Wait until an item is due, and take it with all others that are due by then."""
        loop = asyncio.get_running_loop()
        while not self._heap or self._heap[0][0] > loop.time():
            self._sooner.clear()
            timer = loop.call_at(self._heap[0][0], self._sooner.set) if self._heap else None
            try:
                await self._sooner.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        now = loop.time()
        items: list[T] = []
        while self._heap and self._heap[0][0] <= now:
            items.append(heappop(self._heap)[2])
        return items
