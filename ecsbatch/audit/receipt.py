"""The receipt that `audit` writes: what a run's record proves, and where it breaks a promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from ecsbatch.model.quota import Quota


class Rule(StrEnum):
    """What a finding is about; the first four are the promises by name."""

    QUOTA = "quota"
    BUDGET = "budget"
    TWICE = "twice"
    FAILURES = "failures"
    OUTCOME = "outcome"
    WAVES = "waves"
    HELD_BACK = "held_back"
    LEFT_OUT = "left_out"
    RESENT_EARLY = "resent_early"
    TARGETS = "targets"
    HOLDER = "holder"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken promise.

    Attributes:
        rule: which one.
        text: one sentence.
        seq: the event that shows it, 0 where the whole record does.
        server: whom it is about, "" where about none alone.
    """

    rule: Rule
    text: str
    seq: int = 0
    server: str = ""


@dataclass(frozen=True, slots=True)
class FullestWindow:
    """The most servers that one window can have held.

    Attributes:
        servers: as the cloud may have counted them, each at the worst instant that the record leaves open.
        certain: as it has counted them in one window whatever the instants were.
        quota: that the run was under.
        site: whose quota, as the run names its sites.
        at: when that window's last request was sent, seconds since 1970.
    """

    servers: int
    certain: int
    quota: Quota
    site: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Peak:
    """The most servers that were down at once because of us, counted at every intent.

    Attributes:
        servers: how many.
        allowed: the limit then; None for none.
        at: seconds since 1970.
    """

    servers: int = 0
    allowed: int | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the record of one run proves.

    Attributes:
        status, reason: where the run stands by its last event.
        events, holders, requests: how many.
        total: targeted servers, None where anybody may ask for any.
        findings: broken promises, each rule's first hundred.
        breaches: how many there are of each rule.
        windows: the fullest window of each quota.
        down, down_by_domain: most servers down at once.
        submitted: servers named by requests, repetitions included.
        repeated: of these, again after a request that certainly or by the cloud's record did nothing.
        retried: of these, again because a person asked for it.
        failures, allowed_failures: that count at the end, and their limit.
        outcomes: servers by how they ended.
        notes: what the record cannot prove.
    """

    run_id: str
    status: str
    reason: str
    events: int
    holders: int
    requests: int
    total: int | None
    findings: tuple[Finding, ...]
    breaches: Mapping[Rule, int]
    windows: tuple[FullestWindow, ...]
    down: Peak
    down_by_domain: Mapping[str, Peak]
    submitted: int
    repeated: int
    retried: int
    failures: int
    allowed_failures: int | None
    outcomes: Mapping[str, int]
    notes: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """True where nothing in the record breaks a promise."""
        return not self.breaches

    @property
    def fullest_window(self) -> FullestWindow | None:
        """The window nearest to its quota, None where nothing was sent."""
        return max(self.windows, key=lambda window: window.servers / window.quota.limit, default=None)

    def to_json(self) -> dict[str, Any]:
        """Write it for machines."""
        written = {"ok": self.ok, **asdict(self)}
        return written | {"breaches": {rule.value: count for rule, count in self.breaches.items()}}


def collect(findings: Sequence[Finding], counts: Counter[Rule]) -> tuple[tuple[Finding, ...], dict[Rule, int]]:
    """Order findings and their counts as `Rule` names them."""
    order = list(Rule)
    return (
        tuple(sorted(findings, key=lambda finding: (order.index(finding.rule), finding.seq))),
        {rule: counts[rule] for rule in order if counts[rule]},
    )
