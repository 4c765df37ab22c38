"""What people group servers by besides zone and wave: the hosts and the tags that a look showed, kept small."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

from ecsbatch.model.in_parts import kept

MOST_TAGS: Final = 16
"""Tags by which the servers of a plan can be grouped, at most."""

FEW_VALUES: Final = 1_000
"""Values up to which a tag is worth grouping by; with more, two servers must share one on average."""

LONGEST: Final = 255
"""Characters that are kept of a host, a tag's key or its value."""

_Tags = tuple[str, ...]
"""The tags of a server, as the cloud writes them."""


class SeenTags:
    """The tags that servers have been seen to bear.

    Servers bear the same ones by the hundred: these are kept, and read, once, and of each server only their number.
    """

    def __init__(self) -> None:
        """Begin without any server."""
        self._numbers: dict[_Tags, int] = {}
        self._of_each = array("i")

    def add(self, tags: Sequence[str]) -> None:
        """Put in what the next server bears."""
        self._of_each.append(self._numbers.setdefault(tuple(tags), len(self._numbers)))

    def columns(self) -> dict[str, tuple[str, ...]]:
        """Return, of each tag that is worth grouping by, its value for each server; those of most servers come first.

        A tag without a value is its own value: "" says that a server has no such tag.
        """
        servers = array("i", bytes(4 * len(self._numbers)))
        for number in self._of_each:
            servers[number] += 1
        values = _worth_grouping(zip(self._numbers, servers, strict=True), len(self._of_each))
        rows = [_row(_tags(tags), values) for tags in self._numbers] if values else []
        return {key: kept(rows[number][place] for number in self._of_each) for place, key in enumerate(values)}


def _row(tags: Mapping[str, str], values: Mapping[str, Mapping[str, str]]) -> _Tags:
    """Return what a server has in each column, by the one text of each value."""
    return tuple([of_key[tags[key]] if key in tags else "" for key, of_key in values.items()])


def by_servers(servers: Counter[str]) -> list[str]:
    """Return the tags' keys that have been counted, those of most servers first."""
    return sorted(servers, key=lambda key: (-servers[key], key))


def _worth_grouping(alike: Iterable[tuple[_Tags, int]], of: int) -> dict[str, dict[str, str]]:
    """Return the tags that are worth grouping by, each with its values: one text for all servers that share it.

    Args:
        alike: the same tags, and how many servers bear them.
        of: how many servers there are.
    """
    enough = max(FEW_VALUES, of // 2)
    servers: Counter[str] = Counter()
    values: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for tags, count in alike:
        for key, value in _tags(tags).items():
            servers[key] += count
            if len(values[key]) <= enough:  # what has more values, an id of each server's own, is not kept at all
                values[key].setdefault(value, value)
    worth = (key for key in by_servers(servers) if len(values[key]) <= max(FEW_VALUES, servers[key] // 2))
    return {key: values[key] for key in islice(worth, MOST_TAGS)}


def _tags(tags: Sequence[str]) -> dict[str, str]:
    """Return the tags of a server by their keys; the cloud writes ``key=value`` or ``key``."""
    parts = (text.partition("=") for text in tags)
    return {key[:LONGEST]: (value or key)[:LONGEST] for key, _, value in parts if key}
