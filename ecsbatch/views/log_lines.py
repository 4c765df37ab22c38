"""How lines of the log are written: by structlog, which is configured for this log alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, BinaryIO, Final, cast

import structlog

from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.text import printable

Write = Callable[[str, str, Mapping[str, Any]], None]
"""Writes a line: its level, its event, its fields."""

_Event = MutableMapping[str, Any]

_now: Callable[[Any, str, _Event], _Event] = cast("Any", structlog.processors.TimeStamper("iso", utc=True, key="ts"))

_FOR_PROGRAMS: Final = frozenset({"event", "ts", "seq", "run_id", "counts", "grant"})
"""What a line for people leaves out, or has at its begin."""

_NAMES_ITS_RUN: Final = frozenset({"run.started", "run.resumed"})


def for_programs(stream: BinaryIO, least: int) -> Write:
    """Return what writes an object a line, from a level of `logging` on."""
    added = structlog.processors.add_log_level
    return _written(stream, least, [added, _stamped, structlog.processors.JSONRenderer(_dumps)])


def for_people(stream: BinaryIO, least: int, *, color: bool) -> Write:
    """Return what writes lines for people, from a level of `logging` on."""

    def encoded(_logger: Any, method: str, event: _Event) -> bytes:
        return _console_line(method, event, color=color).encode(errors="backslashreplace")

    return _written(stream, least, [_stamped, encoded])


def _written(stream: BinaryIO, least: int, processors: Sequence[Any]) -> Write:
    logger: Any = structlog.wrap_logger(
        structlog.BytesLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(least),
        context_class=dict,
        cache_logger_on_first_use=False,
    )

    def write(level: str, event: str, fields: Mapping[str, Any]) -> None:
        getattr(logger, level)(event, **fields)

    return write


def _console_line(level: str, event: Mapping[str, Any], *, color: bool) -> str:
    """Write time, level where it is a warning, name and fields; the day and the run are known to who watches."""
    name = printable(str(event["event"]))
    said = "warning " if level == "warning" else ""
    if color and said:
        said = f"\x1b[31m{said}\x1b[0m"
    known = _FOR_PROGRAMS - ({"run_id"} if name in _NAMES_ITS_RUN else frozenset())
    fields = "".join(f" {key}={_value(value)}" for key, value in event.items() if key not in known)
    return f"{str(event['ts'])[11:19]}Z {said}{name}{fields}"


def _value(value: Any) -> str:
    """Let nothing of the cloud's reach a terminal as it came; what has blanks in it stands in quotes."""
    if not isinstance(value, str):
        return printable(str(value), 1_000)
    text = printable(value)
    return repr(text) if not text or {" ", "=", '"', "'"} & set(text) else text


def _stamped(logger: Any, method: str, event: _Event) -> _Event:
    """Add the time where the event does not bring its own."""
    return event if "ts" in event else _now(logger, method, event)


def _dumps(value: Any, **_: Any) -> bytes:
    return json_bytes(value, str)
