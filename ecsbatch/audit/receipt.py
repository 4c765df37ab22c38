"""The receipt that `audit` writes: what a run's record proves, and where it breaks a promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from ecsbatch.model.chain import ChainCheck
from ecsbatch.model.quota import Quota


class Rule(StrEnum):
    """The promise that a finding is about; the first four are those that the README makes."""

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
    CHAIN = "chain"
    CLAIMS = "claims"


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken promise.

    Attributes:
        rule: which promise.
        text: what was found, one sentence.
        seq: number of the event that shows it, 0 where the whole record does.
        server: id of the server that it is about, "" where it is about more than one.
        name: the server's name, "" where it has none.
    """

    rule: Rule
    text: str
    seq: int = 0
    server: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class FullestWindow:
    """The most servers that one window of the quota can have had.

    Attributes:
        servers: the most that the cloud may have counted, each at the worst instant that the record leaves open.
        certain: the most that it has certainly counted in one window.
        quota: the quota that the run was under.
        site: the site whose quota it is, as the run names its sites.
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
        allowed: the limit at that time, None for none.
        at: when, seconds since 1970.
    """

    servers: int = 0
    allowed: int | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the record of one run proves.

    Attributes:
        run_id: the run.
        status, reason: how the run stands by its last event.
        events, holders, requests: how many the record has.
        total: how many targets the run has, None for direct restarts, where any server may be asked for.
        findings: broken promises, the first hundred of each rule.
        breaches: how many there are of each rule.
        windows: the fullest window of each quota.
        down, down_by_domain: the most servers down at once.
        submitted: how many servers requests have named, repetitions included.
        repeated: how many of these were sent again after a request that did nothing.
        retried: how many of these were sent again because a person asked for it.
        failures, allowed_failures: failures that count at the end, and their limit.
        outcomes: servers by outcome.
        notes: what the record cannot prove, in sentences.
        chain: what the chain of its hashes shows, None where only the events were read.
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
    chain: ChainCheck | None = None

    @property
    def ok(self) -> bool:
        """True where nothing in the record breaks a promise."""
        return not self.breaches

    @property
    def fullest_window(self) -> FullestWindow | None:
        """The window nearest to its quota, None where nothing was sent."""
        return max(self.windows, key=lambda window: window.servers / window.quota.limit, default=None)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        written = {"ok": self.ok, **asdict(self)}
        return written | {"breaches": {rule.value: count for rule, count in self.breaches.items()}}


def collect(findings: Sequence[Finding], counts: Counter[Rule]) -> tuple[tuple[Finding, ...], dict[Rule, int]]:
    """Return findings and their counts in the order of `Rule`."""
    order = list(Rule)
    return (
        tuple(sorted(findings, key=lambda finding: (order.index(finding.rule), finding.seq))),
        {rule: counts[rule] for rule in order if counts[rule]},
    )
