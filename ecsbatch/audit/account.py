"""What a run's record has told up to some event, and which promises it was found to break: what all who judge share."""

from __future__ import annotations

from collections import Counter
from typing import Final

from ecsbatch.audit.bookkeeping import Failures, FreezeRecord, LimitRecord, ServerRecord, ServerRecords, Waves
from ecsbatch.audit.quota_windows import Timeline
from ecsbatch.audit.receipt import Finding, Rule
from ecsbatch.model.servers import Fleet

FAILURES: Final = frozenset({"failed", "timed_out", "unknown"})
"""The outcomes that count as failures."""

_KEPT: Final = 100
"""Findings of one rule that are kept."""


class Account:
    """An account of one run of its own, kept event by event.

    Attributes:
        fleet: the run's frozen targets, None for direct restarts.
        seq: number of the latest event.
        timeline: the record's stamps, as seconds that never go back.
        servers, limits, waves, failures, freezes: how these stand.
        left_out: the domains that a person left out.
        status, reason: how the run stands.
        ended_at: when it was paused or came to its end, None while it is running.
        aborting: True once it ends by a person's word.
        findings: broken promises, the first hundred of each rule.
        breaches: how many there are of each rule.
        notes: what the record cannot prove, in sentences.
    """

    def __init__(self, fleet: Fleet | None) -> None:
        self.fleet = fleet
        self.seq = 0
        self.timeline = Timeline()
        self.servers = ServerRecords(fleet)
        self.limits, self.waves = LimitRecord({}), Waves({})
        self.failures = Failures()
        self.freezes = FreezeRecord()
        self.left_out: set[str] = set()
        self.status, self.reason = "running", ""
        self.ended_at: float | None = None
        self.aborting = False
        self.findings: list[Finding] = []
        self.breaches: Counter[Rule] = Counter()
        self.notes: dict[str, None] = {}

    def found(self, rule: Rule, text: str, seq: int | None = None, server: str = "") -> None:
        """Note that a promise is broken, by the latest event where no other one is named."""
        self.breaches[rule] += 1
        if self.breaches[rule] <= _KEPT:
            name = self.fleet.name_of(server) if self.fleet is not None else ""
            self.findings.append(Finding(rule, text, self.seq if seq is None else seq, server, name))

    def note(self, text: str) -> None:
        """Note what the record cannot prove."""
        self.notes[text] = None

    def record_of(self, server: str) -> ServerRecord | None:
        """Return a server's record; one that is none of the run's is found."""
        record = self.servers.get(server)
        if record is None:
            self.found(Rule.TARGETS, f"Server {server} is none of the run's.", server=server)
        return record

    def leave_out(self, record: ServerRecord) -> None:
        """Count a waiting server of a left-out domain as one that is not started, or as what it was before."""
        if record.waits and record.wave and not record.left_out:
            record.left_out = True
            self.waves.ended(record)
            if record.kept:
                self.keep(record)

    def keep(self, record: ServerRecord) -> None:
        """End a server as what it was before it was to be tried again."""
        record.kind, record.kept, record.retried = record.kept, "", False
        if not record.forgiven:
            self.failures.add(record)
            self.judge_failures()

    def judge_failures(self) -> None:
        """Find out whether there are too many failures now."""
        self.failures.judge(self.limits, self.timeline.now)

    def end(self, status: str, reason: str) -> None:
        """Note that the run does not go on."""
        if not (isinstance(status, str) and isinstance(reason, str)):  # pyright: ignore[reportUnnecessaryIsInstance] - from JSON
            raise TypeError("status and reason are no texts")
        self.status, self.reason, self.ended_at = status, reason, self.timeline.now
