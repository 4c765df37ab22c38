"""The plan: one rollout with everything resolved to numbers.

A plan is what the person confirms, what is frozen in the store, and what every later step reads. Its fleet lists
first the servers to restart, wave by wave, and after them those that are to be skipped, reason by reason.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, field, fields
from functools import cached_property
from typing import Any, Final, Literal, cast

import orjson

from ecsbatch.errors import ConfigError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.in_parts import counted
from ecsbatch.model.outcome import SkipReason
from ecsbatch.model.servers import Fleet, RestartType, ServerView, restart_type

OUTSIDE_PERCENTAGES: Final = frozenset(SkipReason) - {SkipReason.ALREADY_RESTARTING}
"""Reasons for which a skipped server does not count where percentages are taken: it is not there, or may not go."""

_NO_NUMBERS: Final = frozenset({"fleet", "basis"})
"""Fields of a plan that stand in neither its JSON nor its hash: the servers have both of their own."""


@dataclass(frozen=True, slots=True)
class Wave:
    """A barrier group: the servers ``start`` to ``end`` (exclusive) of the plan's fleet.

    Attributes:
        number: from 1.
        start, end: indexes in the fleet.
        label: as the strategy named it: ``1``, ``10%``, ``az2``.
    """

    number: int
    start: int
    end: int
    label: str = ""

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Skip:
    """The servers ``start`` to ``end`` (exclusive) of the plan's fleet, left alone for one reason.

    Attributes:
        reason: a `SkipReason`.
        start, end: indexes in the fleet.
        holds: True where these servers are down or changing, so that each takes a slot of the budget.
    """

    reason: str
    start: int
    end: int
    holds: bool = False

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class PlanBasis:
    """What the servers of a plan were like when it was made; it is kept with the plan in memory, and nowhere else.

    Attributes:
        at: when they were looked at, seconds since 1970.
        views: what was seen, by id.
    """

    at: float
    views: Mapping[str, ServerView] = field(repr=False)


@dataclass(frozen=True)
class Plan:
    """A rollout in numbers, as `Restarter.plan` makes it; all durations are seconds.

        plan = await restarter.plan(ids, Strategy(waves=["1", "10%"]))
        for wave in plan.waves:
            print(wave.number, wave.label, len(wave))
        print(plan.not_found, plan.hash)

    Attributes:
        fleet: the servers to restart, wave by wave, then the ones to be skipped.
        waves: without gaps, from 0 to `to_restart`; empty where every server is skipped.
        skips: without gaps, from `to_restart` to the fleet's end.
        type: how the servers are restarted.
        batch_size: servers per request, at most.
        max_unavailable: servers down at once because of us, at most; skipped servers with ``holds`` are among them.
        max_unavailable_per_domain: the same for each domain, or None.
        max_failures: failures of the run that are still allowed; one more stops it.
        max_failures_per_wave: the same for each wave, in their order, or None.
        max_failures_per_domain: the same for each domain, or None.
        on_failure: what exceeding one of these limits does.
        max_not_found: targets that may not exist where a run begins and nobody is asked; more are refused then.
        soak: pause after each wave but the last.
        hold_after: numbers of the waves after which a person must promote the run.
        min_ready: how long a restarted server keeps its slot of the budget.
        check: the health check in words, "" for none.
        check_ca: the file of certificates by which an HTTPS check is verified, "" for none of one's own.
        check_interval: between two checks of one server.
        gate: the command between waves, or what the embedding program calls its gate; "" for none.
        gate_timeout: until a gate that keeps saying "wait" stops the run.
        server_timeout: from the accepted request until a server counts as timed out.
        on_unknown: what happens to servers whose request left no trace.
        precheck: False where servers in the wrong state are restarted as well.
        skip_updated_since: seconds since 1970; a server that the cloud says has changed since then, other than by this
            run, is left alone even where it changes after the plan was made.
        basis: what was seen of the servers, where the plan is to be begun only while they are still so; None: as it is.
    """

    fleet: Fleet = field(repr=False)
    waves: tuple[Wave, ...]
    skips: tuple[Skip, ...] = ()
    type: RestartType = "SOFT"
    batch_size: int = 100
    max_unavailable: int = 1
    max_unavailable_per_domain: Mapping[str, int] | None = None
    max_failures: int = 0
    max_failures_per_wave: tuple[int, ...] | None = None
    max_failures_per_domain: Mapping[str, int] | None = None
    on_failure: Literal["stop", "pause"] = "stop"
    soak: float = 0.0
    hold_after: tuple[int, ...] = ()
    min_ready: float = 0.0
    check: str = ""
    check_ca: str = ""
    check_interval: float = 5.0
    gate: str = ""
    gate_timeout: float = 600.0
    server_timeout: float = 600.0
    on_unknown: Literal["verify", "leave"] = "verify"
    precheck: bool = True
    skip_updated_since: float | None = None
    max_not_found: int = 0
    basis: PlanBasis | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Write the type in capitals.

        Raises:
            ConfigError: there is no such type.
        """
        object.__setattr__(self, "type", restart_type(self.type))

    @property
    def to_restart(self) -> int:
        """How many servers are in waves: those with the indexes 0 to this (exclusive)."""
        return self.waves[-1].end if self.waves else 0

    @property
    def held(self) -> int:
        """How many slots of the budget skipped servers take."""
        return sum(len(skip) for skip in self.skips if skip.holds)

    @property
    def not_found(self) -> list[str]:
        """The targets that did not exist when the plan was made; none where nobody has looked."""
        gone = (skip for skip in self.skips if skip.reason == SkipReason.NOT_FOUND)
        return [id_ for skip in gone for id_ in self.fleet.ids[skip.start : skip.end]]

    @property
    def base(self) -> int:
        """How many servers percentages are taken of."""
        return self.to_restart + sum(len(skip) for skip in self.skips if skip.reason not in OUTSIDE_PERCENTAGES)

    def wave_of(self, i: int) -> Wave | None:
        """Return the wave of the server with index ``i``, None where it is skipped.

        Raises:
            IndexError: there is no such server.
        """
        if not 0 <= i < len(self.fleet):
            raise IndexError(i)
        return self.waves[bisect_right(self._starts, i) - 1] if i < self.to_restart else None

    def skip_of(self, i: int) -> Skip | None:
        """Return the skip of the server with index ``i``, None where it is to be restarted."""
        return next((skip for skip in self.skips if skip.start <= i < skip.end), None)

    def domains(self) -> Mapping[str, int]:
        """Count the servers to restart by domain."""
        return self._domains

    def domain_bases(self) -> Mapping[str, int]:
        """Count the servers that each domain's percentages are taken of.

        Domains in which a skipped server takes a slot of the budget are listed, be it with 0.
        """
        counts = Counter(self._domains)
        for skip in self.skips:
            named = self._count(skip.start, skip.end)
            if skip.reason not in OUTSIDE_PERCENTAGES:
                counts.update(named)
            elif skip.holds:
                counts.update(dict.fromkeys(named, 0))
        return dict(sorted(counts.items()))

    def held_by_domain(self) -> Mapping[str, int]:
        """Count the slots of the budget that skipped servers take, by domain."""
        counts: Counter[str] = Counter()
        for skip in self.skips:
            if skip.holds:
                counts.update(self._count(skip.start, skip.end))
        return dict(sorted(counts.items()))

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of targets, order and numbers, in 64 hex digits."""
        return self.fleet.order_hash(orjson.dumps(self._changed(), option=orjson.OPT_SORT_KEYS))

    @cached_property
    def targets(self) -> str:
        """The SHA-256 of the servers in whatever order, in 64 hex digits."""
        return self.fleet.targets_hash()

    def to_json(self) -> dict[str, Any]:
        """Return everything but the servers as JSON values, with ``total``, ``domains``, ``hash`` and ``targets``."""
        numbers = {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name not in _NO_NUMBERS}
        summary = {"total": len(self.fleet), "to_restart": self.to_restart, "domains": dict(self._domains)}
        return numbers | summary | {"hash": self.hash, "targets": self.targets}

    def as_dict(self) -> dict[str, Any]:
        """Return its numbers as JSON values, for a service's answer: the fields, and what they come to.

        These are ``total``, ``to_restart``, ``domains``, the ``servers`` of each of ``waves``, how many are ``skipped``
        for which reason, ids that are ``not_found``, and the plan's ``hash``.
        """
        skipped: Counter[str] = Counter()
        for skip in self.skips:
            skipped[str(skip.reason)] += len(skip)
        waves = [{**asdict(wave), "servers": len(wave)} for wave in self.waves]
        return self.to_json() | {"waves": waves, "skipped": dict(skipped), "not_found": self.not_found}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], fleet: Fleet) -> Plan:
        """Read what `to_json` wrote; a field that this version does not know is ignored.

        Compare `hash` with ``raw["hash"]`` where the fleet comes from elsewhere than the plan.

        Raises:
            ValueError: ``raw`` is no plan, or not of this fleet.
        """
        if raw.get("total", len(fleet)) != len(fleet):
            raise ValueError(f"The plan is about {raw['total']} servers, the list holds {len(fleet)}.")
        known = {f.name for f in fields(cls)} - _NO_NUMBERS
        numbers = {name: value for name, value in raw.items() if name in known}
        try:
            numbers["waves"] = tuple(Wave(**wave) for wave in raw["waves"])
            numbers["skips"] = tuple(Skip(**skip) for skip in raw.get("skips", ()))
            for name in ("max_failures_per_wave", "hold_after"):
                if numbers.get(name) is not None:
                    numbers[name] = tuple(numbers[name])
            return cls(fleet=fleet, **numbers)
        except (KeyError, TypeError, ConfigError) as e:
            raise ValueError(f"This is no plan: {e}.") from e

    def _changed(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults: a field added later changes no old plan's hash."""
        return {
            f.name: _plain(value)
            for f in fields(self)
            if f.name not in _NO_NUMBERS and (value := getattr(self, f.name)) != f.default
        }

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        return tuple(wave.start for wave in self.waves)

    @cached_property
    def _domains(self) -> Mapping[str, int]:
        return dict(sorted(self._count(0, self.to_restart).items()))

    def _count(self, start: int, end: int) -> Counter[str]:
        column = self.fleet.domains
        if column is None:
            return Counter({"": end - start} if end > start else {})
        return counted(column[start:end])


def _plain(value: Any) -> Any:
    """Return a field as JSON knows it: tuples as lists, waves and skips as objects."""
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return [asdict(item) if isinstance(item, Wave | Skip) else item for item in items]
    return value
