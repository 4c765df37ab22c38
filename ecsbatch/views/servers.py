"""Servers as they were found: a table for people, and lists that are read again as fleets."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.servers import ServerView
from ecsbatch.model.text import printable
from ecsbatch.planning.precheck import skip_reason
from ecsbatch.views.table import chunks, table
from ecsbatch.views.text import cell

COLUMNS: Final = (
    "id",
    "az",
    "name",
    "status",
    "task_state",
    "skip",
    "updated",
    "host_id",
    "enterprise_project_id",
    "address",
    "tags",
)
"""What is told of each server; a contract: columns are added, never renamed."""

_LONGEST: Final = 256
_SHOWN: Final = (("ID", 36), ("ZONE", 10), ("STATUS", 10), ("SKIP", 10), ("NAME", 64))

Writer = Callable[[Sequence[ServerView]], Iterator[bytes]]


def would_skip(view: ServerView) -> str:
    """Say why a restart would leave a server alone now, "" where it would not."""
    verdict = skip_reason(view)
    return verdict[0].value if verdict is not None else ""


def servers_csv(views: Sequence[ServerView]) -> Iterator[bytes]:
    """Yield the pieces of a fleet file; no cell begins as a formula of a spreadsheet."""
    rows = chain([COLUMNS], (_row(view) for view in views))
    for chunk in chunks(rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([cell(value) for value in row] for row in chunk)
        yield text.getvalue().encode()


def servers_jsonl(views: Sequence[ServerView]) -> Iterator[bytes]:
    """Yield the pieces of a fleet file with an object a line."""
    for chunk in chunks(views):
        yield b"".join(json_bytes(_object(view)) + b"\n" for view in chunk)


def servers_json(views: Sequence[ServerView]) -> Iterator[bytes]:
    """Yield the pieces of ``{"total": N, "servers": [...]}``."""
    yield b'{"total":%d,"servers":[' % len(views)
    between = b"\n"
    for chunk in chunks(views):
        yield between + b",\n".join(json_bytes(_object(view)) for view in chunk)
        between = b",\n"
    yield b"\n]}\n"


def servers_table(views: Sequence[ServerView], width: int = 0) -> Iterator[bytes]:
    """Return the pieces of a table for people, cut from the right to a screen's width where there is one."""
    return table(_SHOWN, map(_shown, views), width)


def _shown(view: ServerView) -> tuple[str, ...]:
    state = view.status or ("" if view.found else "not found")
    state += f"/{view.task_state}" if view.task_state else ""
    return (view.id, view.az, state, would_skip(view).replace("_", " ") if view.found else "", view.name)


def _row(view: ServerView) -> tuple[str, ...]:
    return tuple(printable(text, _LONGEST) for text in (*_texts(view), " ".join(view.tags)))


def _object(view: ServerView) -> dict[str, Any]:
    named = dict(zip(COLUMNS, _texts(view), strict=False))
    return named | {"locked": view.locked, "tags": list(view.tags)}


def _texts(view: ServerView) -> tuple[str, ...]:
    place = (view.id, view.az, view.name, view.status, view.task_state, would_skip(view), view.updated)
    return (*place, view.host_id, view.enterprise_project_id, view.address)
