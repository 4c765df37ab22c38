"""What is done with a column of a million texts, in parts: each call of C code is short.

Such work is done in a thread beside a host's event loop. Python lets the loop go on within 5 ms there, but not in the
middle of one call: to sort a million ids takes a second for which the loop would stand still.
"""

from __future__ import annotations

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


def in_order(texts: Sequence[str]) -> Sequence[list[str]]:
    """Return different texts in their order, part by part."""
    if len(texts) <= PART:
        return [sorted(texts)]
    sample = sorted(texts[:: max(1, PART // _SAMPLES)])
    cuts = sample[_SAMPLES::_SAMPLES]
    found: list[list[str]] = [[] for _ in range(len(cuts) + 1)]
    for text in texts:
        found[bisect_left(cuts, text)].append(text)
    for part in found:
        part.sort()
    return found
