"""What people group servers by besides zone and wave: the hosts and the tags that a look showed, kept small."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

MOST_TAGS: Final = 16
"""Tags by which the servers of a plan can be grouped, at most."""

FEW_VALUES: Final = 1_000
"""Values up to which a tag is worth grouping by; with more, two servers must share one on average."""

LONGEST: Final = 255
"""Characters that are kept of a host, a tag's key or its value."""

_Tags = tuple[str, ...]
"""The tags of a server, as the cloud writes them."""


def tag_columns(seen: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    """Return, of each tag that is worth grouping by, its value for each server; those of most servers come first.

    A tag without a value is its own value: "" says that a server has no such tag.
    """
    each = list(map(tuple, seen))
    alike = Counter(each)  # servers bear the same tags by the hundred: what these say is read once
    values = _worth_grouping(alike, len(each))
    rows = {tags: _row(_tags(tags), values) for tags in alike} if values else {}
    return {key: [rows[tags][place] for tags in each] for place, key in enumerate(values)}


def _row(tags: Mapping[str, str], values: Mapping[str, Mapping[str, str]]) -> _Tags:
    """Return what a server has in each column, by the one text of each value."""
    return tuple([of_key[tags[key]] if key in tags else "" for key, of_key in values.items()])


def by_servers(servers: Counter[str]) -> list[str]:
    """Return the tags' keys that have been counted, those of most servers first."""
    return sorted(servers, key=lambda key: (-servers[key], key))


def _worth_grouping(alike: Mapping[_Tags, int], of: int) -> dict[str, dict[str, str]]:
    """Return the tags that are worth grouping by, each with its values: one text for all servers that share it.

    Args:
        alike: how many servers bear the same tags.
        of: how many servers there are.
    """
    enough = max(FEW_VALUES, of // 2)
    servers: Counter[str] = Counter()
    values: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for tags, count in alike.items():
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
