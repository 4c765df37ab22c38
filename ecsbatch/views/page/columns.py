"""What does not change of a fleet while it is restarted: ids, names, groups and waves, as columns in little room."""

from __future__ import annotations

import re
import sys
from array import array
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from ecsbatch.model.plan import Plan
from ecsbatch.model.servers import Fleet
from ecsbatch.model.text import printable

VERSION: Final = 1
"""Of all that a page reads: fields are added, never renamed."""

LONGEST: Final = 256
"""Characters of a name, a zone, a host or a tag that are told."""

_WIDTHS: Final = ((1, "B"), (2, "H"), (4, "I"))
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_AT_ONCE: Final = 10_000


def fleet_object(run_id: str, plan: Plan) -> dict[str, Any]:
    """Return what a page is told of a run's fleet once, as JSON values.

    - ``v``: the version of all messages of the run.
    - ``run_id``, ``n``: the run, and how many servers it has.
    - ``ids``: ``uuids``, 16 bytes each in base64, or ``texts`` where they are no UUIDs.
    - ``names``: a text each; null where no server has one.
    - ``groups``: what servers can be grouped by, a `dictionary_column` each: ``zone``, ``host``, ``tag:KEY``.
    - ``waves``: ``number``, ``label``, ``start`` and ``end`` (indexes), ``hold`` where it is held behind it, ``soak``.
    - ``to_restart``: how many servers are in waves; those behind them are skipped.
    """
    fleet = plan.fleet
    return {
        "v": VERSION,
        "run_id": run_id,
        "n": len(fleet),
        "ids": _ids(fleet.ids),
        "names": [printable(name, LONGEST) for name in fleet.names] if fleet.names else None,
        "groups": dict(_groups(fleet)),
        "waves": [
            {
                "number": wave.number,
                "label": printable(wave.label, LONGEST),
                "start": wave.start,
                "end": wave.end,
                "hold": wave.number in plan.hold_after,
                "soak": plan.soak,
            }
            for wave in plan.waves
        ],
        "to_restart": plan.to_restart,
    }


def dictionary_column(texts: Iterable[str]) -> dict[str, Any]:
    """Return texts that repeat: the different ``values``, and an ``index`` into them for each.

    The index is little-endian numbers of ``width`` bytes in base64.
    """
    known: dict[str, int] = {}
    indexes = array("I", (known.setdefault(text, len(known)) for text in texts))
    width, kind = next(each for each in _WIDTHS if len(known) <= 1 << (8 * each[0]))
    values = [printable(text, LONGEST) for text in known]
    return {"values": values, "index": numbers(array(kind, indexes)), "width": width}


def numbers(column: array[Any]) -> str:
    """Return numbers little-endian in base64."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return b64encode(column).decode()


def _groups(fleet: Fleet) -> Iterator[tuple[str, dict[str, Any]]]:
    if fleet.domains:
        yield "zone", dictionary_column(fleet.domains)
    if fleet.hosts:
        yield "host", dictionary_column(fleet.hosts)
    for key, values in fleet.tags.items():
        yield f"tag:{printable(key, LONGEST)}", dictionary_column(values)


def _ids(ids: Sequence[str]) -> dict[str, Any]:
    if not all(_UUID.fullmatch(each) for each in ids):  # `map` would let no other thread go on meanwhile
        return {"texts": [printable(id_, LONGEST) for id_ in ids]}
    left, raw = iter(ids), bytearray()
    while part := "".join(islice(left, _AT_ONCE)):
        raw += bytes.fromhex(part.replace("-", ""))
    return {"uuids": b64encode(raw).decode()}
