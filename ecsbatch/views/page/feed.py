"""What happens to a run, in words: a line for each event that somebody who watches wants to read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.text import MAX_TEXT, counted, printable, with_code, without_code
from ecsbatch.views.log import level_of
from ecsbatch.views.steering import steering_texts
from ecsbatch.views.text import WORDS, format_span

LATEST: Final = 200
"""Lines that are kept."""

_OF_MANY: Final = 120
"""Of these those of servers and requests, of which a bad night has thousands."""


@dataclass(frozen=True, slots=True)
class FeedLine:
    """One line.

    Attributes:
        seq, ts: number and time of its event, seconds since 1970.
        level: how bad it is.
        text: what happened.
    """

    seq: int
    ts: float
    level: Literal["info", "warning", "error"]
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return {"seq": self.seq, "ts": self.ts, "level": self.level, "text": self.text}


class Feed:
    """The latest lines of a run. What happens to many servers does not push out what happened to the run."""

    def __init__(self, plan: Plan) -> None:
        """Begin before the first event."""
        self._fleet = plan.fleet
        self._of_many = deque[FeedLine](maxlen=_OF_MANY)
        self._of_run = deque[FeedLine](maxlen=LATEST - _OF_MANY)
        self._told = 0

    def apply(self, recorded: Recorded) -> None:
        """Take the next event in."""
        event = recorded.event
        write = _WRITERS.get(type(event))
        if write is None:
            level = level_of(event.name)
            if level == "debug":
                return
            for text in steering_texts([event]):
                self._of_run.append(FeedLine(recorded.seq, recorded.ts, level, printable(text, MAX_TEXT)))
        else:
            self._write(recorded, write(event))

    def _write(self, recorded: Recorded, text: str) -> None:
        event, kept = recorded.event, self._of_run
        level: Literal["info", "warning", "error"] = "warning" if level_of(event.name) == "warning" else "info"
        if isinstance(event, ev.ServerEvent):
            level, kept = "error", self._of_many
            text = f"{self._fleet.name_of(event.server) or event.server} {text}"
        elif isinstance(event, ev.BatchRejected | ev.BatchUnknown | ev.BatchUnstarted | ev.BatchStarted):
            kept = self._of_many
        kept.append(FeedLine(recorded.seq, recorded.ts, level, printable(text, MAX_TEXT)))

    def latest(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the lines of events after a number, oldest first."""
        lines = [line for line in (*self._of_many, *self._of_run) if line.seq > after]
        return [line.as_dict() for line in sorted(lines, key=lambda line: line.seq)]

    def fresh(self) -> list[dict[str, Any]]:
        """Return the lines since the last call."""
        news = self.latest(self._told)
        self._told = news[-1]["seq"] if news else self._told
        return news


def ended_text(event: ev.ServerEvent, beyond: str = "") -> str:
    """Return how a server has ended, and why; what is ``beyond`` that stands before the cloud's own words."""
    said = without_code(event.message, event.code)
    why = ", ".join(word for word in (event.reason.replace("_", " "), event.code) if word)
    return WORDS[event.kind] + (f" ({why})" if why else "") + beyond + (f": {said}" if said else "")


def _rejected(event: ev.BatchRejected) -> str:
    return f"request {event.batch} was not carried out ({event.kind.replace('_', ' ')}){_said(event)}"


def _unanswered(event: ev.BatchUnknown) -> str:
    return f"request {event.batch} has no answer, its servers' states have to tell{_said(event)}"


def _said(event: ev.BatchRejected | ev.BatchUnknown) -> str:
    said = with_code(event.message, event.code)
    return f": {said}" if said else ""


def _wave(event: ev.WaveStarted) -> str:
    label = f" ({event.label})" if event.label and event.label != str(event.wave) else ""
    return f"wave {event.wave}{label} begins: {counted(event.servers, 'server')}"


def _wave_over(event: ev.WaveFinished) -> str:
    counts = (("restarted", event.restarted), ("failed", event.failed), ("skipped", event.skipped))
    told = ", ".join(f"{n:,} {word}" for word, n in counts if n)
    return f"wave {event.wave} is done" + (f": {told}" if told else "")


def _holder(event: ev.HolderChanged) -> str:
    [text] = [f"begun by {event.holder}, pid {event.pid}"] if event.fence <= 1 else steering_texts([event])
    return text


def _throttled(event: ev.QuotaThrottled) -> str:
    said = f": {event.message}" if event.message else ""
    return f"the cloud answered 429, nothing is sent for {format_span(event.wait)}{said}"


def _unseen(event: ev.CloudUnseen) -> str:
    said = f": {event.message}" if event.message else ""
    return f"nothing was seen of the cloud for {format_span(event.seconds)}{said}"


def _stopped(event: ev.RunStopped) -> str:
    [text] = steering_texts([event])
    return text + (f": {event.message}" if event.message else "")


def _finished(event: ev.RunFinished) -> str:
    told = ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in event.counts.items() if n)
    return f"{event.status or 'over'} after {format_span(event.elapsed_s)}" + (f": {told}" if told else "")


_WRITERS: Final[Mapping[type[ev.Event], Callable[[Any], str]]] = {
    ev.RunStarted: lambda event: f"run of {counted(event.total, 'server')}",
    ev.WaveStarted: _wave,
    ev.WaveFinished: _wave_over,
    ev.HolderChanged: _holder,
    ev.BatchRejected: _rejected,
    ev.BatchUnknown: _unanswered,
    ev.BatchUnstarted: lambda event: f"request {event.batch} did not restart {counted(len(event.servers), 'server')}",
    ev.BatchStarted: lambda event: f"request {event.batch} did restart {counted(len(event.servers), 'server')}",
    ev.QuotaThrottled: _throttled,
    ev.QuotaDesync: lambda event: f"somebody else uses the quota: {event.limit:,} for {format_span(event.seconds)}",
    ev.StoreFailedOver: lambda event: f"the store is another server, no tokens for {format_span(event.wait)}",
    ev.CloudUnseen: _unseen,
    ev.CloudSeen: lambda _: "the cloud is seen again",
    ev.GateWaiting: lambda event: f"a gate is asked before wave {event.wave}",
    ev.ServerFailed: ended_text,
    ev.ServerTimedOut: ended_text,
    ev.ServerUnknown: ended_text,
    ev.RunStopped: _stopped,
    ev.RunFinished: _finished,
}
"""How those events are told that `ecsbatch.views.steering` has no words for, or not enough."""
