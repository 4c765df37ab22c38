"""What is done with a column of a million texts, in parts: each call of C code is short.

Such work is done in a thread beside a host's event loop. Python lets the loop go on within 5 ms there, but not in the
middle of one call: to sort a million ids takes a second for which the loop would stand still.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

PART: Final = 10_000
"""Texts that one call goes through."""

_SAMPLES: Final = 8
"""Texts for each part by which a column is divided: parts come out alike to about a half."""


def parts(column: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield a column part by part."""
    return (column[start : start + PART] for start in range(0, len(column), PART))


def counted(column: Sequence[str]) -> Counter[str]:
    """Count the texts of a column."""
    counts: Counter[str] = Counter()
    for part in parts(column):
        counts.update(part)
    return counts


def in_order(texts: Sequence[str], places: Sequence[int]) -> array[int]:
    """Return places of different texts in the order of the texts.

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
