"""The log on stderr: what happens to a run, as lines for people or as JSON. structlog, configured for itself alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, BinaryIO, Final, Literal, Protocol, cast

import orjson
import structlog

from ecsbatch.models import OutcomeKind
from ecsbatch.views.moment import Moment
from ecsbatch.views.printable import printable

Level = Literal["debug", "info", "warning"]

_NUMBERS: Final[Mapping[Level, int]] = {"debug": 10, "info": 20, "warning": 30}

_LEVELS: Final[Mapping[str, Level]] = {
    "batch.rejected": "warning",
    "batch.unknown": "warning",
    "quota.throttled": "warning",
    "quota.desync": "warning",
    "server.failed": "warning",
    "server.timed_out": "warning",
    "server.unknown": "warning",
    "run.stopped": "warning",
    "batch.submitting": "debug",
    "batch.accepted": "debug",
    "job.progress": "debug",
    "job.finished": "debug",
    "server.restarted": "debug",
    "server.skipped": "debug",
    "server.released": "debug",
}
"""All other events are of interest to everybody who watches."""

_HEAD: Final = frozenset({"v", "event", "plan", "updated"})


class Stream(Protocol):
    """Where lines go."""

    def write(self, data: bytes, /) -> int:
        """Write, now or soon."""
        ...

    def flush(self) -> None:
        """Let nothing wait for long."""
        ...


class Log:
    """Lines on stderr, each with a level, a name and fields."""

    def __init__(
        self, stream: Stream, *, form: Literal["console", "json"], level: Level = "info", color: bool = False
    ) -> None:
        """Write to a stream of bytes; ``color`` is for terminals."""
        self.level: Level = level
        self._log = _json_log(stream, level) if form == "json" else _console_log(stream, level, color=color)

    def say(self, level: Level, event: str, fields: Mapping[str, Any]) -> None:
        """Write one line."""
        if _NUMBERS[level] >= _NUMBERS[self.level]:
            getattr(self._log, level)(event, **fields)

    def line(self, line: bytes) -> None:
        """Write one event of a journal's line of JSON, where its level is asked for."""
        if self.level != "debug" and _is_routine(line):
            return
        raw = cast("dict[str, Any]", orjson.loads(line))
        event = str(raw["event"])
        fields = {name: value for name, value in raw.items() if name not in _HEAD}
        if isinstance(fields.get("servers"), list):
            fields["servers"] = len(fields["servers"])
        self.say(_LEVELS.get(event, "info"), event, fields)

    def progress(self, moment: Moment) -> None:
        """Write where a run stands."""
        state, usage, per_minute = moment.state, moment.usage, moment.per_minute
        counts = {kind.value: n for kind in OutcomeKind if (n := state.counts[kind])}
        counts.pop("unknown", None)
        fields: dict[str, Any] = {"run_id": state.run_id, "wave": f"{state.wave}/{len(state.plan.waves)}", **counts}
        fields |= {"in_flight": state.run.in_flight, "down": state.down}
        if unknown := state.run.ended[OutcomeKind.UNKNOWN]:
            fields["unknown"] = unknown
        if usage is not None:
            fields["quota_free"] = usage.free
        if per_minute is not None:
            fields["per_minute"] = round(per_minute)
        self.say("info", "progress", fields)


_FOR_PROGRAMS: Final = frozenset({"seq", "run_id", "counts", "grant"})

_ROUTINE: Final = tuple(f'"event":"{name}"'.encode() for name, level in _LEVELS.items() if level == "debug")


def _is_routine(line: bytes) -> bool:
    """Tell without parsing; the event's name stands near the line's begin, before any text of the cloud's."""
    head = line[:160]
    return any(name in head for name in _ROUTINE)


def _json_log(stream: Stream, level: Level) -> Any:
    return structlog.wrap_logger(
        structlog.BytesLogger(cast("BinaryIO", stream)),
        processors=[structlog.processors.add_log_level, _stamped, structlog.processors.JSONRenderer(_dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(_NUMBERS[level]),
        context_class=dict,
        cache_logger_on_first_use=False,
    )


def _console_log(stream: Stream, level: Level, *, color: bool) -> Any:
    renderer = structlog.dev.ConsoleRenderer(
        colors=color,
        sort_keys=False,
        pad_event_to=0,
        timestamp_key="ts",
        exception_formatter=structlog.dev.plain_traceback,
    )

    def encoded(*given: Any) -> bytes:
        return str(renderer(*given)).encode(errors="backslashreplace")

    return structlog.wrap_logger(
        structlog.BytesLogger(cast("BinaryIO", stream)),
        processors=[structlog.processors.add_log_level, _stamped, _short_time, _shown, encoded],
        wrapper_class=structlog.make_filtering_bound_logger(_NUMBERS[level]),
        context_class=dict,
        cache_logger_on_first_use=False,
    )


_Event = MutableMapping[str, Any]
_now: Callable[[Any, str, _Event], _Event] = cast("Any", structlog.processors.TimeStamper("iso", utc=True, key="ts"))


def _stamped(logger: Any, method: str, event: _Event) -> _Event:
    """Add the time where the event does not bring its own."""
    return event if "ts" in event else _now(logger, method, event)


def _short_time(_logger: Any, _method: str, event: _Event) -> _Event:
    """Leave out what a person who watches knows: the day, and the run that it is about."""
    event["ts"] = str(event["ts"])[11:19]
    return {name: value for name, value in event.items() if name not in _FOR_PROGRAMS}


def _shown(_logger: Any, _method: str, event: _Event) -> _Event:
    """Let nothing of the cloud's reach a terminal as it came."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}


def _dumps(value: Any, **_: Any) -> bytes:
    return orjson.dumps(value, default=str)
