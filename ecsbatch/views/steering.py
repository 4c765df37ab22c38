"""Who has steered a run, and when: its pauses, holds, gates and changed limits, a line each. For people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any, Final, cast

from ecsbatch.model import events as ev
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.text import printable
from ecsbatch.views.text import utc_text

_LAST: Final = 6
_NAMED: Final = 4
"""Waves or domains whose limits are written out."""

_WIDTH: Final = 80


def steering_lines(steering: Sequence[Recorded], last: int = _LAST) -> list[str]:
    """Write the ``last`` of a run's steering, oldest first; what does not fit beside its time stands below."""
    told = [(recorded.ts, text) for recorded in steering if (text := _text(recorded.event))]
    return [line for ts, text in told[-last:] for line in _lines(f"  {_time(ts)}  ", printable(text))]


def _lines(label: str, text: str) -> list[str]:
    lines = wrap(text, _WIDTH - len(label), break_on_hyphens=False)
    return [(" " * len(label) if number else label) + line for number, line in enumerate(lines)]


def steering_json(steering: Iterable[Recorded]) -> list[dict[str, Any]]:
    """Return a run's steering as its events, without the run's own end."""
    return [recorded.as_dict() for recorded in steering if not isinstance(recorded.event, ev.RunFinished)]


def steering_texts(events: Iterable[ev.Event]) -> list[str]:
    """Write single events, without their time."""
    return [printable(text) for event in events if (text := _text(event))]


def _time(ts: float) -> str:
    return f"{utc_text(ts)}Z"


def _text(event: ev.Event) -> str:
    write = _WRITERS.get(type(event))
    return write(event) if write is not None else ""


def _paused(event: ev.RunPaused) -> str:
    return "paused" + _by(event.by) + _why(event.reason, "paused")


def _frozen(event: ev.RunFrozen) -> str:
    until = f" until {_time(event.until)}" if event.until is not None else ""
    return f"frozen{_by(event.by)}{until}: {event.reason}"


def _thawed(event: ev.RunThawed) -> str:
    return f"thawed{_by(event.by)}" if event.by else "thawed, its time was over"


def _aborting(event: ev.RunAborting) -> str:
    return "aborting" + _by(event.by)


def _resumed(event: ev.RunResumed) -> str:
    parts = ["resumed" + _by(event.by)]
    if event.forgive:
        parts.append("failures forgiven")
    if event.retry:
        parts.append(f"{', '.join(event.retry)} again")
    if event.skip_domains:
        parts.append(f"without {', '.join(event.skip_domains)}")
    return ", ".join(parts)


def _stopped(event: ev.RunStopped) -> str:
    return (event.status or "stopped") + _why(event.reason, event.status)


def _finished(event: ev.RunFinished) -> str:
    return event.status if event.status == "aborted" else ""


def _limit(event: ev.LimitChanged) -> str:
    return f"{event.limit} {limit_text(event.old)} -> {limit_text(event.new)}" + _by(event.by)


def _gate(event: ev.GateChecked) -> str:
    said = f": {event.message}" if event.message else ""
    if event.gate != "hold":
        verdict = "gave no verdict" if event.verdict == "inconclusive" else f"said {event.verdict}"
        return f"gate {verdict} for wave {event.wave}{said}"
    return f"held before wave {event.wave}" if event.verdict == "wait" else f"wave {event.wave} let go{said}"


def _holder(event: ev.HolderChanged) -> str:
    agreed = f", agreed by {event.agreed_by}" if event.agreed_by else ""
    return f"taken over by {event.holder}, pid {event.pid}{agreed}"


def _by(name: str) -> str:
    return f" by {name}" if name else ""


def _why(reason: str, known: str) -> str:
    return f" ({reason})" if reason not in {"", known} else ""


def limit_text(value: Any) -> str:
    """Write a limit: one number, one for each wave, or one for each domain."""
    if value is None:
        return "none"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        each = [f"{name} {number:,}" for name, number in cast("Mapping[str, int]", value).items()]
    else:
        each = [f"{number:,}" for number in cast("Sequence[int]", value)]
    return ", ".join(each[:_NAMED]) + (", …" if len(each) > _NAMED else "")


_WRITERS: Final[Mapping[type[ev.Event], Callable[[Any], str]]] = {
    ev.RunPaused: _paused,
    ev.RunFrozen: _frozen,
    ev.RunThawed: _thawed,
    ev.RunAborting: _aborting,
    ev.RunResumed: _resumed,
    ev.RunStopped: _stopped,
    ev.RunFinished: _finished,
    ev.LimitChanged: _limit,
    ev.GateChecked: _gate,
    ev.HolderChanged: _holder,
}
