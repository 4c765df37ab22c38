"""`Cursors`: any number of readers that follow one run's journal; a slow one delays nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol, TypeAlias, TypeVar

from ecsbatch.model.events import Recorded

T = TypeVar("T")
_Read: TypeAlias = Callable[[str, int, int], Awaitable[list[T]]]
_READ_AT_ONCE: Final = 1000


class ReadStore(Protocol):
    """What a reader needs of a store."""

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Return events behind a number."""
        ...

    async def lines(self, run_id: str, after: int = 0, limit: int = 1000) -> list[bytes]:
        """Return the same as lines of JSON."""
        ...


class Cursors:
    """Follows a run as this process writes it; no reader is ahead of what is folded."""

    def __init__(self, store: Callable[[], ReadStore], run_id: str, folded: Callable[[], int]) -> None:
        """``folded`` gives the number of the last event that is folded, 0 while the run is not stored."""
        self._store = store
        self._run_id = run_id
        self._folded = folded
        self._news = asyncio.Event()
        self._live = True

    def notice(self) -> None:
        """Say that there may be news."""
        self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """Nothing more is written by this process: readers end where the journal does."""
        self._live = False
        self.notice()

    def events(self, after: int = 0) -> AsyncIterator[Recorded]:
        """Yield the events behind a number, and those to come."""
        return self._follow(lambda store: store.events, lambda found, _: found[-1].seq, after)

    def lines(self, after: int = 0) -> AsyncIterator[bytes]:
        """Yield the same as lines of JSON, without line ends."""
        return self._follow(lambda store: store.lines, lambda found, after: after + len(found), after)

    async def _follow(
        self, read: Callable[[ReadStore], _Read[T]], behind: Callable[[list[T], int], int], after: int
    ) -> AsyncIterator[T]:
        while True:
            news, live = self._news, self._live
            untold = max(0, min(_READ_AT_ONCE, self._folded() - after))
            found = await read(self._store())(self._run_id, after, untold) if untold else []
            for each in found:
                yield each
            if found:
                after = behind(found, after)
            elif live:
                await news.wait()
            else:
                return
