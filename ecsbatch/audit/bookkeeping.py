"""What `audit` counts by itself of servers, limits, failures and waves, without any code of the engine's."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ecsbatch.model.servers import Fleet

_ROUNDING: Final = 0.01
_OF_ALL: Final = ("max_unavailable", "max_failures")

HOLD: Final = "hold"
"""The gate's name in `gate.checked` events about holds and promotions."""


@dataclass(slots=True, eq=False)
class ServerRecord:
    """One server.

    Attributes:
        server, domain, wave: its id, its domain, and its wave's number, 0 for none.
        flight: number of the batch that it is under way with, 0 for none.
        sent: how many requests have named it.
        unstarted: how many requests for it were shown not to have begun, since its last outcome.
        kind: its outcome, "" for none.
        kept: the outcome that it had before it was to be tried again, where it keeps that until a request has ended.
        forgiven: True where the failure that it keeps does not count any more.
        holds: True where it has its outcome and may be down.
        retried: True where a person has asked to try it again, and that was not done yet.
        left_out: True where it waited in a domain that a person left out: its wave does not wait for it any more, and
            the outcome that it may have is that from before.
        taken_up: True where a person has asked to try it again after its domain was left out.
    """

    server: str
    domain: str
    wave: int
    flight: int = 0
    sent: int = 0
    unstarted: int = 0
    kind: str = ""
    kept: str = ""
    forgiven: bool = False
    holds: bool = False
    retried: bool = False
    left_out: bool = False
    taken_up: bool = False
    _down: bool = False
    _in_flight: bool = False

    @property
    def waits(self) -> bool:
        """True while it is neither under way nor has its outcome."""
        return not self.flight and not self.kind

    @property
    def ended_as(self) -> str:
        """Its outcome, "" for none; one that is left out is not started."""
        return "not_started" if self.left_out and self.waits else self.kind

    @property
    def keeps(self) -> str:
        """The outcome that it has while it waits to be tried again, "" for none."""
        return self.kept if self.waits else ""

    def changed(self) -> tuple[int, int]:
        """Return by how much this server changes the numbers of those down and in flight since the last call."""
        in_flight = self.flight > 0
        down = in_flight or self.holds
        change = (down - self._down, in_flight - self._in_flight)
        self._down, self._in_flight = down, in_flight
        return change


class ServerRecords:
    """All servers that the record has named so far.

    Attributes:
        down, down_in: how many are down because of us, in all and by domain.
        in_flight: how many are under way.
    """

    def __init__(self, fleet: Fleet | None) -> None:
        self.down = self.in_flight = 0
        self.down_in: Counter[str] = Counter()
        self._fleet = fleet
        self._starts: list[int] = []
        self._end = 0
        self._records: dict[str, ServerRecord] = {}

    def divide(self, waves: Sequence[Mapping[str, Any]]) -> None:
        """Take the plan's waves, with the indexes at which each starts and ends."""
        self._starts = [wave["start"] for wave in waves]
        self._end = waves[-1]["end"] if waves else 0

    def get(self, server: str) -> ServerRecord | None:
        """Return a server's record, None where it is none of the run's."""
        record = self._records.get(server)
        if record is None and self._fleet is None:
            record = self._records[server] = ServerRecord(server, "", 0)
        elif record is None and self._fleet is not None and (index := self._fleet.index_of(server)) is not None:
            wave = bisect_right(self._starts, index) if index < self._end else 0
            record = self._records[server] = ServerRecord(self._fleet.ids[index], self._fleet.domain(index), wave)
        return record

    def all(self) -> Iterable[ServerRecord]:
        """Return the records of all servers that were named."""
        return self._records.values()

    def of_domains(self, domains: Container[str]) -> Iterator[ServerRecord]:
        """Yield the records of all servers of some domains, named or not."""
        fleet = self._fleet
        for index in range(len(fleet)) if fleet is not None else ():
            if fleet is not None and fleet.domain(index) in domains and (record := self.get(fleet.ids[index])):
                yield record

    def count(self, record: ServerRecord) -> None:
        """Count a server again after its record has changed."""
        down, in_flight = record.changed()
        self.down += down
        self.down_in[record.domain] += down
        self.in_flight += in_flight


class LimitRecord:
    """The limits in force, by their names in the plan."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        for name in _OF_ALL:
            _refuse_odd(name, plan.get(name))
        self._plan = plan
        self._before: dict[str, Any] = {}
        self._changed: dict[str, tuple[float, Any]] = {}

    def change(self, name: str, new: Any, now: float) -> None:
        """Change a limit from now on."""
        _refuse_odd(name, new)
        self._before[name] = self._now(name)
        self._changed[name] = (now, new)

    def _now(self, name: str) -> Any:
        return self._changed[name][1] if name in self._changed else self._plan.get(name)

    def _in_force(self, name: str, now: float, slack: float) -> Iterator[Any]:
        yield self._now(name)
        if name in self._changed and now <= self._changed[name][0] + slack:
            yield self._before[name]

    def of(self, name: str, key: str | int, now: float, slack: float) -> int | None:
        """Return the loosest limit of a domain or a wave within the last ``slack`` seconds, None for no limit."""
        return _loosest(_member(limit, key) for limit in self._in_force(name, now, slack))

    def number(self, name: str, now: float, slack: float) -> int | None:
        """Return the same for a limit of the whole run."""
        return _loosest(self._in_force(name, now, slack))


def _refuse_odd(name: str, limit: Any) -> None:
    """Refuse a limit of the whole run that cannot be one, since somebody has edited it."""
    if name in _OF_ALL and not isinstance(limit, int | float | None):
        raise TypeError(f"{name} is {limit!r}")


def _member(limit: Any, key: str | int) -> int | None:
    if isinstance(limit, Mapping):
        return cast("Mapping[str, int]", limit).get(str(key))
    if isinstance(limit, Sequence) and isinstance(key, int) and key <= len(cast("Sequence[int]", limit)):
        return cast("Sequence[int]", limit)[key - 1]
    return None


def _loosest(limits: Iterable[int | None]) -> int | None:
    most = 0
    for limit in limits:
        if limit is None:
            return None
        most = max(most, limit)
    return most


class Failures:
    """The failures that count, and since when there are too many.

    Attributes:
        exceeded: the limit that is exceeded, in words; "" where none is.
        since: when a limit was first exceeded.
    """

    def __init__(self) -> None:
        self.exceeded = ""
        self.since = 0.0
        self._records: set[ServerRecord] = set()
        self._by: Counter[tuple[str, str | int]] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, record: ServerRecord) -> bool:
        return record in self._records

    def add(self, record: ServerRecord) -> None:
        """Count a failure."""
        if record not in self._records:
            self._records.add(record)
            self._by.update(_scopes(record))

    def discard(self, record: ServerRecord) -> None:
        """Do not count a failure any more."""
        if record in self._records:
            self._records.discard(record)
            self._by.subtract(_scopes(record))

    def forgive(self) -> None:
        """Do not count any failure so far."""
        self._records.clear()
        self._by.clear()

    def judge(self, limits: LimitRecord, now: float) -> None:
        """Find out whether there are too many now."""
        text = self._excess(limits, now)
        if text and not self.exceeded:
            self.since = now
        self.exceeded = text

    def _excess(self, limits: LimitRecord, now: float) -> str:
        allowed = limits.number("max_failures", now, 0.0)
        if allowed is not None and len(self) > allowed:
            return f"{len(self)} failures, {allowed} are allowed"
        for (name, key), count in self._by.items():
            allowed = limits.of(name, key, now, 0.0)
            if allowed is not None and count > allowed:
                return f"{count} failures in {key if isinstance(key, str) else f'wave {key}'}, {allowed} are allowed"
        return ""


def _scopes(record: ServerRecord) -> tuple[tuple[str, str | int], ...]:
    return ("max_failures_per_wave", record.wave), ("max_failures_per_domain", record.domain)


class Waves:
    """Which waves may be sent."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self._hold_after: Sequence[int] = plan.get("hold_after") or ()
        self._gated = bool(plan.get("gate"))
        self._soak: float = plan.get("soak") or 0.0
        self._soaking_since: dict[int, float] = {}
        self._unfinished = [wave["end"] - wave["start"] for wave in plan.get("waves") or ()]
        self._started: set[int] = set()
        self._passed: set[int] = set()
        self._verdicts: dict[tuple[bool, int], str] = {}
        self._current = 1

    def ended(self, record: ServerRecord) -> None:
        """Note that a server has its outcome."""
        if record.wave:
            self._unfinished[record.wave - 1] -= 1

    def again(self, record: ServerRecord) -> None:
        """Note that a server has no outcome any more."""
        if record.wave:
            self._unfinished[record.wave - 1] += 1
            self._current = min(self._current, record.wave)

    def over(self, wave: int, now: float) -> None:
        """Note that a wave has ended, and soaks from now on."""
        self._soaking_since[wave] = now

    def taken(self, now: float) -> None:
        """Note a new holder, which begins every soak from its start."""
        self._soaking_since = dict.fromkeys(self._soaking_since, now)

    def asked(self, gate: str, wave: int, verdict: str) -> None:
        """Note what a gate or a hold has answered about a wave."""
        self._verdicts[gate == HOLD, wave] = verdict

    def start(self, wave: int, now: float) -> str:
        """Note that a wave starts; return why it should not have started yet, "" where it may."""
        self._started.add(wave)
        if not self._unfinished[wave - 1]:
            self._passed.add(wave)  # nothing of it is to be sent
            return ""
        self._passed.discard(wave)
        first = wave - 1
        while first in self._passed:
            first -= 1
        soaked = now - self._soaking_since.get(wave - 1, -math.inf)
        if soaked < self._soak - _ROUNDING:
            return f"Wave {wave} began {soaked:.1f} s after the one before, which was to soak for {self._soak:g} s."
        holds = [number for number in range(first, wave) if number in self._hold_after]
        # A promotion to a wave that was passed over since then was for the hold before that wave.
        if any(all(self._verdicts.get((True, n)) != "go" for n in range(held + 1, wave + 1)) for held in holds):
            return f"Wave {wave} began although nobody had promoted the run."
        if wave > 1 and self._gated and self._verdicts.get((False, wave)) != "go":
            return f"Wave {wave} began although its gate had not said go."
        return ""

    def too_early(self, record: ServerRecord, claimed: int) -> bool:
        """Return True where a server is sent before its wave's turn, or under another wave's number."""
        while self._current <= len(self._unfinished) and not self._unfinished[self._current - 1]:
            self._current += 1
        return claimed != record.wave or record.wave not in self._started or record.wave > self._current


class FreezeRecord:
    """The freezes of the store that a record tells of, by the seconds of `Timeline`."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float, str, str]] = []

    @property
    def going_on(self) -> bool:
        """True while the last one has not ended."""
        return bool(self._spans) and math.isinf(self._spans[-1][1])

    def begin(self, by: str, reason: str, at: float) -> None:
        """Note that the store is frozen from a time on; where it is already, for another reason."""
        self.end(at)
        self._spans.append((at, math.inf, by, reason.rstrip(".")))

    def end(self, at: float) -> None:
        """Note that it is not frozen any more."""
        if self.going_on:
            since, _, by, reason = self._spans[-1]
            self._spans[-1] = since, at, by, reason

    def since_begin(self, at: float) -> float:
        """Return for how long the store had been frozen at a time, 0 where it was not."""
        return max((at - since for since, until, *_ in self._spans if since < at < until), default=0.0)

    def notes(self) -> Iterator[str]:
        """Yield a sentence for each."""
        for since, until, by, reason in self._spans:
            lasted = "until the record's end" if math.isinf(until) else f"for {until - since:.0f} s"
            yield f"The store was frozen {lasted}, by {by or 'somebody'}: {reason}."
