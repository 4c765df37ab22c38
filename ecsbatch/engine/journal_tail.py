"""`JournalTail`: the last entries of a journal in memory, which all who follow it share.

Who has fallen behind it reads the store instead, and finds the tail again: a slow reader costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

T = TypeVar("T")

KEPT: Final = 1000
"""Entries that are kept for readers, and at the most twice as many."""


class JournalTail(Generic[T]):
    """The last entries of a journal, without gaps; it keeps none while nobody reads.

    Attributes:
        last: the number of the last entry that it was given.
        readers: how many read it now.
    """

    def __init__(self, kept: int = KEPT) -> None:
        """Begin before the first entry; keep so many for readers, and at the most twice as many."""
        self.last = self.readers = 0
        self._kept = kept
        self._entries: list[T] = []

    def join(self) -> None:
        """Keep entries for one reader more, until it leaves."""
        self.readers += 1

    def leave(self) -> None:
        """Keep entries for one reader less."""
        self.readers -= 1
        if not self.readers:
            self._entries = []

    @contextmanager
    def reading(self) -> Generator[None]:
        """Keep entries for as long as the block runs."""
        self.join()
        try:
            yield
        finally:
            self.leave()

    def add(self, entries: Sequence[T], after: int, last: int) -> None:
        """Take the entries behind number ``after`` up to ``last``; behind a gap in the numbers it begins anew."""
        if after != self.last or last - after != len(entries):
            self._entries = []
        self.last = last
        if self.readers and last - after == len(entries):
            self._entries += entries
            if len(self._entries) > 2 * self._kept:
                del self._entries[: -self._kept]

    def behind(self, number: int, most: int) -> list[T] | None:
        """Return the next entries behind a number, so many at the most; None where the first of them is not here."""
        missing = self.last - number
        if missing > len(self._entries):
            return None
        start = len(self._entries) - missing
        return self._entries[start : start + most] if missing > 0 else []
