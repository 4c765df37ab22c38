"""The log on stderr: what happens to a run, as lines for people or as JSON.

For people the lines are few: of events that say the same only the first are written (`RepeatLimiter`), and what nobody
watches is left out of each. `ecsbatch.views.log_lines` has how they are written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, BinaryIO, Final, Literal, Protocol, cast

import orjson

from ecsbatch.model.json_text import json_bytes, stamp
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.recorded import Recorded, encode
from ecsbatch.model.text import without_code
from ecsbatch.policy.progress import Progress
from ecsbatch.policy.standing import Phase

Level = Literal["debug", "info", "warning"]

_NUMBERS: Final[Mapping[Level, int]] = {"debug": 10, "info": 20, "warning": 30}

_LEVELS: Final[Mapping[str, Level]] = {
    "batch.rejected": "warning",
    "batch.unknown": "warning",
    "quota.throttled": "warning",
    "quota.desync": "warning",
    "cloud.unseen": "warning",
    "store.failed_over": "warning",
    "run.frozen": "warning",
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

_ROUTINE: Final = tuple(f'"event":"{name}"'.encode() for name, level in _LEVELS.items() if level == "debug")
_BEFORE_TEXT: Final = 160
"""Bytes of a journal's line within which its event's name stands, before any text of the cloud's."""

_HEAD: Final = frozenset({"v", "event", "plan", "updated", "head"})
"""What a line says in another way, or is too long for one."""

_MANY: Final = frozenset(
    {"batch.rejected", "batch.unknown", "batch.unstarted", "quota.throttled", "quota.desync", "gate.checked"}
    | {"server.failed", "server.timed_out", "server.unknown"}
)
"""Events of which a bad night has thousands."""

_ENDS: Final = frozenset({"run.stopped", "run.finished"})

_OF_SERVERS: Final = frozenset({"batch", "evidence", "job_id", "host", "holds"})
_OF_REQUESTS: Final = frozenset({"request_id", "sent", "answered"})
_DETAILS: Final[Mapping[str, frozenset[str]]] = {
    "holder.changed": frozenset(
        {"fence", "limit", "window", "unknown_grace", "request_timeout", "boot", "ledger_time", "previous", "command"}
    ),
    "server.failed": _OF_SERVERS,
    "server.timed_out": _OF_SERVERS,
    "server.unknown": _OF_SERVERS,
    "batch.unknown": _OF_REQUESTS,
    "run.frozen": frozenset({"since"}),
    "batch.rejected": _OF_REQUESTS,
}
"""What a person who watches does not need of an event; who asks for every event gets it."""

EACH: Final = 10
"""Lines of one event that say the same."""

ALL: Final = 40
"""Lines of one event."""


def level_of(event: str) -> Level:
    """Return the level of an event by its name; those that only who asks for every event gets are ``debug``."""
    return _LEVELS.get(event, "info")


class Stream(Protocol):
    """Where lines go."""

    def write(self, data: bytes, /) -> int:
        """Write, now or soon."""
        ...

    def flush(self) -> None:
        """Let nothing wait for long."""
        ...


class Log:
    """Lines on stderr, each with a level, a name and fields.

    Attributes:
        level: the least of the lines that are written.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        form: Literal["console", "json"],
        level: Level = "info",
        color: bool = False,
        name_of: Callable[[str], str] = lambda _: "",
        run: str = "",
    ) -> None:
        """Write to a stream of bytes.

        Args:
            stream: where lines go.
            form: lines for people, or an object a line.
            level: the least of the lines that are written; with ``debug`` people get every field, too.
            color: warnings are red, on a terminal.
            name_of: returns the name of a server by its id, "" where it has none.
            run: the run that all lines are about, where lines for people are to name it.
        """
        self.level: Level = level
        self._for_people = form == "console" and level != "debug"
        self._name_of = name_of
        self._run = {"run": run} if run and self._for_people else {}
        self._repeats = RepeatLimiter()
        self._last: dict[str, Any] = {}
        self._stream, self._form, self._color = stream, form, color

    def say(self, level: Level, event: str, fields: Mapping[str, Any]) -> None:
        """Write one line."""
        if _NUMBERS[level] >= _NUMBERS[self.level]:
            told = dict(fields)
            if self._run:
                told.pop("run_id", None)
            self._write(level, event, self._run | told)

    @cached_property
    def _write(self) -> Callable[[Level, str, Mapping[str, Any]], None]:
        """What writes a line; it comes with structlog and rich, which a run without a line on stderr goes without.

        A run of hours may have its first line when the package has been replaced, or no file can be opened any more.
        It goes on, and its lines are plain ones.
        """
        stream, least = cast("BinaryIO", self._stream), _NUMBERS[self.level]
        try:
            from ecsbatch.views import log_lines  # noqa: PLC0415 - imported when used

            if self._form == "json":
                return log_lines.for_programs(stream, least)
            return log_lines.for_people(stream, least, color=self._color)
        except Exception:  # noqa: BLE001 - whatever has become of the package
            return self._write_plainly

    def _write_plainly(self, level: Level, event: str, fields: Mapping[str, Any]) -> None:
        """Write an object of JSON, by what is imported already."""
        self._stream.write(json_bytes({"level": level, "event": event, **fields}, str) + b"\n")

    def event(self, recorded: Recorded) -> None:
        """Write one event, where its level is asked for; most events' is not, and none of them becomes a line."""
        if self.level == "debug" or level_of(recorded.event.name) != "debug":
            self.line(encode(recorded))

    def line(self, line: bytes) -> None:
        """Write one event of a journal's line of JSON, where its level is asked for."""
        if self.level != "debug" and _is_routine(line):
            return
        raw = cast("dict[str, Any]", orjson.loads(line))
        event = str(raw["event"])
        level = level_of(event)
        fields = self._fields(raw)
        if isinstance(fields.get("servers"), list):
            fields["servers"] = len(fields["servers"])
        if not self._for_people:
            self.say(level, event, fields)
        elif event == "batch.rejected" and fields.get("kind") == "throttled":
            return  # quota.throttled says it, and how long the wait is
        elif event in _MANY:
            self._one_of_many(level, event, fields)
        else:
            if event in _ENDS:
                self._say_left_out()
            self.say(level, event, _without_details(event, fields))

    def _fields(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a line says beyond its head; a server's name stands behind its id."""
        fields: dict[str, Any] = {}
        for field, value in raw.items():
            if field not in _HEAD:
                fields[field] = value
            if field == "server" and (name := self._name_of(str(value))):
                fields["name"] = name
        return fields

    def _one_of_many(self, level: Level, event: str, fields: Mapping[str, Any]) -> None:
        about = str(fields.get("code") or fields.get("reason") or fields.get("message") or "")
        admitted = self._repeats.admit(event, f"{fields.get('verdict', '')} {about}")
        if admitted != "leave_out":
            self.say(level, event, _without_details(event, fields))
        if admitted == "last":
            self.say(level, "log.shortened", {"of": event, "why": "more that say the same are only counted"})

    def _say_left_out(self) -> None:
        if left_out := self._repeats.left_out:
            self.say("warning", "log.left_out", dict(left_out))
            left_out.clear()

    def progress(self, progress: Progress, notice: str = "", *, anyhow: bool = True) -> bool:
        """Write where a run stands, and tell whether it was written.

        Args:
            progress: how the run goes on.
            notice: a sentence from whoever runs it, where it is ending or sees nothing: no pace is told then.
            anyhow: write it also where nothing has changed since the last line.
        """
        fields = _progress(progress)
        if not anyhow and fields == self._last and not notice:
            return False
        self._last = fields
        fields = {**fields, "standing": progress.standing.text, "elapsed_s": round(progress.elapsed)}
        if notice:
            fields = {**fields, "notice": notice}
        if progress.usage is not None:
            fields = {**fields, "quota_free": progress.usage.free}
        if not notice:
            fields |= _pace(progress)
        self.say("info", "progress", fields)
        return True


def _progress(progress: Progress) -> dict[str, Any]:
    counts = {kind.value: n for kind in OutcomeKind if (n := progress.counts[kind])}
    counts.pop("unknown", None)
    servers = progress.servers
    fields: dict[str, Any] = {"run_id": progress.run_id}
    if (how := progress.standing).phase is not Phase.RUNNING:
        fields["status"] = "held" if how.phase is Phase.HELD else how.phase.value
    fields |= {"wave": f"{progress.wave}/{progress.waves}", "total": servers.total, **counts}
    if servers.left_out:
        fields["left_out"] = servers.left_out
    fields |= {"in_flight": servers.in_flight, "down": servers.down}
    if servers.unknown:
        fields["unknown"] = servers.unknown
    return fields


def _pace(progress: Progress) -> dict[str, int]:
    told = {"per_minute": progress.pace.per_minute, "left_s": progress.pace.left}
    return {name: round(value) for name, value in told.items() if value is not None}


def _without_details(event: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    details = _DETAILS.get(event, frozenset())
    kept = {name: value for name, value in fields.items() if name not in details and (name, value) != ("status", 0)}
    if (until := kept.get("until")) is not None:
        kept["until"] = stamp(float(until))
    if message := without_code(str(kept.pop("message", "")), str(kept.get("code", ""))):
        kept["message"] = message
    return kept


def _is_routine(line: bytes) -> bool:
    """Tell without parsing whether a line's event is one that only who asks for every event gets."""
    head = line[:_BEFORE_TEXT]
    return any(name in head for name in _ROUTINE)


class RepeatLimiter:
    """Counts lines, and tells which of them are written: `EACH` that say the same, `ALL` of an event.

    Attributes:
        left_out: how many were not written, by event.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.left_out: Counter[str] = Counter()
        self._said: Counter[tuple[str, str]] = Counter()
        self._written: Counter[str] = Counter()

    def admit(self, event: str, about: str) -> Literal["write", "last", "leave_out"]:
        """Tell of the next line of an event whether it is written, and whether it is the last of its kind."""
        if self._said[event, about] >= EACH or self._written[event] >= ALL:
            self.left_out[event] += 1
            return "leave_out"
        self._said[event, about] += 1
        self._written[event] += 1
        full = self._said[event, about] == EACH or self._written[event] == ALL
        return "last" if full else "write"
