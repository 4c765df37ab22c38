"""What is done with a column of a million texts, in parts: each call of C code is short.

Such work is done in a thread beside a host's event loop. Python lets the loop go on within 5 ms there, but not in the
middle of one call: to sort a million ids takes a second for which the loop would stand still.
"""

from __future__ import annotations

import gc
from array import array
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, Generic, TypeVar

T = TypeVar("T")

PART: Final = 10_000
"""Texts that one call goes through."""

_MOST_SHARED: Final = 10_000
"""Different texts of a column of which each is made one."""

_LONG: Final = 100_000
"""Values of a column that a collection takes more than a millisecond for."""

_SAMPLES: Final = 8
"""Texts for each part by which a column is divided: parts come out alike to about a half."""


def parts(column: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield a column part by part."""
    return (column[start : start + PART] for start in range(0, len(column), PART))


def counted(column: Sequence[str]) -> Counter[str]:
    """Count the texts of a column."""
    counts: Counter[str] = Counter()
    for part in parts(column):
        counts.update(part)
    return counts


def kept(column: Iterable[T]) -> tuple[T, ...]:
    """Return a column as a tuple, of values that are no containers, that no later collection goes through.

    The collector goes through a tuple once, while it is young, and leaves it alone then. Where many columns of a
    million are made one after another that would be all of them at once: 145 ms on a busy machine.
    """
    made = tuple(column)
    if len(made) >= _LONG and gc.isenabled():
        gc.collect(0)
    return made


class Sharing(Generic[T]):
    """Makes one text of equal ones, from one part of a column to the next, while there are few different ones.

    Zones and hosts are shared by many servers; of a million names, each would be looked for in vain.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._known: dict[T, T] = {}

    def of(self, texts: Iterable[T]) -> Iterator[T]:
        """Yield the texts."""
        known = self._known
        return (known.setdefault(text, text) if len(known) < _MOST_SHARED else known.get(text, text) for text in texts)


class Gathered(Generic[T]):
    """A column of texts, or of other values that are no containers of what changes, that is made part by part.

    Nothing of it is a list of a million, which every collection of the garbage would go through, at worst of several
    columns at once, and which holds the interpreter once more when it is let go.
    """

    def __init__(self, sharing: Sharing[T] | None = None) -> None:
        """Begin without any; with ``sharing``, equal values become one as they come."""
        self._parts: deque[tuple[T, ...]] = deque()
        self._sharing = sharing
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, part: Iterable[T]) -> None:
        """Put in the values that come next: no more than some `PART`."""
        values = tuple(part if self._sharing is None else self._sharing.of(part))
        self._parts.append(values)
        self._size += len(values)

    def kept(self) -> tuple[T, ...]:
        """Return the column as `kept` does; nothing of it is left here."""
        self._size = 0
        return kept(chain.from_iterable(self._drained()))

    def _drained(self) -> Iterator[tuple[T, ...]]:
        # Other threads go on between two parts: that is where Python code runs.
        while self._parts:
            yield self._parts.popleft()


def in_order(texts: Sequence[str], places: Sequence[int]) -> array[int]:
    """Return places of texts in the order of the texts; those of equal ones stay in the order in which they are.

    Places and no texts: a list of these is one that the garbage collector goes through.
    """
    if len(places) <= PART:
        return array("i", sorted(places, key=texts.__getitem__))
    sample = sorted(texts[place] for place in places[:: PART // _SAMPLES])
    cuts = sample[_SAMPLES::_SAMPLES]
    found = [array("i") for _ in range(len(cuts) + 1)]
    for place in places:
        found[bisect_left(cuts, texts[place])].append(place)
    ordered = array("i")
    for part in found:
        ordered.extend(sorted(part, key=texts.__getitem__))
    return ordered
