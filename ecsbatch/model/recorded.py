"""`Recorded`: an event as it stands in a run's history, and the line of JSON that it is there.

One event is one line, which `encode` writes and `decode` reads::

    {"v":1,"ts":"2026-01-01T00:00:00.000Z","seq":7,"run_id":"k7f3q2","event":"batch.accepted","batch":3,"job_id":"…"}

The last line of what was stored together also has a ``head``, by which ``audit --head`` judges the record up to there.
A reader ignores what it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter, index
from typing import Any, Final

import orjson

from ecsbatch.errors import RecordEdited
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.events import EVENTS, Event, ServerEvent
from ecsbatch.model.json_text import harmless, json_bytes, stamp
from ecsbatch.model.text import one_line

VERSION: Final = 1
"""Of what `Recorded.as_dict` returns."""

UNLIKE: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What comes of an event that speaks of servers or batches which its run does not have: somebody has edited it."""


class _Names(dict[type[Event], tuple[str, ...]]):
    """The names of an event's fields, by its class: found when the first event of the class is read or written."""

    def __missing__(self, kind: type[Event]) -> tuple[str, ...]:
        """Find them."""
        names = self[kind] = tuple(f.name for f in fields(kind))
        return names


class _Values(dict[type[Event], Callable[[Any], tuple[Any, ...]]]):
    """What returns the values of an event's fields, in their order, and its name."""

    def __missing__(self, kind: type[Event]) -> Callable[[Any], tuple[Any, ...]]:
        """Make it."""
        # For a single name attrgetter returns the bare value, no tuple: so a second name is always asked for.
        values = self[kind] = attrgetter(*_FIELDS[kind], "name")
        return values


_FIELDS: Final = _Names()
_VALUES: Final = _Values()


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its number and time in a run's history.

    Attributes:
        seq: its number in the run, from 1 without gaps.
        ts: when it was stored, seconds since 1970.
        run_id: the run.
        event: what happened.
    """

    seq: int
    ts: float
    run_id: str
    event: Event

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values, of version 1: what its line in an events' file says.

        - ``v``: 1, the version. Within one, names of events and fields are never renamed and no field changes its
          meaning or its unit. Events and fields are added: ignore those that you do not know.
        - ``ts``: when it was stored, RFC 3339 in UTC to the millisecond.
        - ``seq``: its number in the run, from 1 without gaps: who knows it can go on behind it.
        - ``run_id``: the run.
        - ``event``: the name of what happened, such as ``server.failed``.

        The fields of the event's class follow, by their names. One that is "", empty, ``False`` or ``None`` is left
        out, and so is a time that is 0.0; a number that is 0 is there.
        """
        kind = type(self.event)
        said = zip(_FIELDS[kind], _VALUES[kind](self.event), strict=False)
        return {
            "v": VERSION,
            "ts": stamp(self.ts),
            "seq": self.seq,
            "run_id": self.run_id,
            "event": kind.name,
            **{name: value for name, value in said if value or type(value) is int},
        }


def encode(recorded: Recorded) -> bytes:
    """Return an event as one line of JSON, without its line end."""
    return json_bytes(recorded.as_dict())


def encode_all(recorded: Sequence[Recorded]) -> bytes:
    """Return events that are stored together as lines of JSON, each as `encode` writes it, joined by line ends.

    All are of one run and one time. Most tell outcomes that one look has shown: they differ in number and server alone,
    and what else they say is written once. That takes two fifths of the time.
    """
    forms: dict[tuple[Any, ...], bytes] = {}
    try:
        return harmless(b"\n".join([_line(each, forms) for each in recorded]))
    except orjson.JSONEncodeError:
        return b"\n".join(map(encode, recorded))  # it knows how to write text that is no UTF-8


def _line(recorded: Recorded, forms: dict[tuple[Any, ...], bytes]) -> bytes:
    event = recorded.event
    if not isinstance(event, ServerEvent) or not event.server:
        return orjson.dumps(recorded.as_dict())
    server = orjson.dumps(event.server)
    rest = _VALUES[type(event)](event)[1:]
    form = forms.get(rest)
    if form is None:
        form = forms[rest] = _form(recorded, server)
    return form % (recorded.seq, server)


def _form(recorded: Recorded, server: bytes) -> bytes:
    """Return an outcome's line with places for its number and for its server, which no text comes before."""
    line, server = (text.replace(b"%", b"%%") for text in (orjson.dumps(recorded.as_dict()), server))
    numbered = line.replace(b'"seq":%d,' % recorded.seq, b'"seq":%d,', 1)
    return numbered.replace(b'"server":%b' % server, b'"server":%b', 1)


def decode(line: bytes | str) -> Recorded | None:
    """Return the event that a line of JSON says, None where this version does not know events of that name.

    Raises:
        ValueError: the line is no event.
    """
    raw = orjson.loads(line)
    try:
        kind = EVENTS.get(raw["event"])
        ts = datetime.fromisoformat(raw["ts"]).timestamp()
        if kind is None:
            return None
        return Recorded(index(raw["seq"]), ts, raw["run_id"], kind(**{f: raw[f] for f in _FIELDS[kind] if f in raw}))
    except (KeyError, TypeError) as e:
        raise ValueError(f"This line is no event: {line[:80]!r}.") from e


def unlike_the_run(recorded: Recorded, error: Exception) -> RecordEdited:
    """Return the error of an event that cannot be followed."""
    return RecordEdited(
        f"Event {recorded.seq} of run {recorded.run_id} speaks of what that run does not have "
        f"({type(error).__name__}: {one_line(str(error))}): restore the store from a copy of before.",
        run_id=recorded.run_id,
    )
