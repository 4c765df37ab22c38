"""One run's history as the raw journal tells it: lines of JSON, read by a small reader of the checker's own.

A *round* is one server's way from waiting to an outcome: the batches that named it, and how it ended. A retry, or a
caller who asks for the same server once more, begins another round.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from .witnesses import FOREVER, Row, WatchedDatabase

OUTCOMES: Final = {
    "server.restarted": "restarted",
    "server.failed": "failed",
    "server.timed_out": "timed_out",
    "server.unknown": "unknown",
    "server.skipped": "skipped",
}
FAILURES: Final = frozenset({"failed", "timed_out", "unknown"})
ALONE: Final = frozenset({"refused", "denied"})
"""Reasons of servers that fail with their request: the cloud will not hear of them, and nothing is under way."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One event of the journal, and when its commit was durable."""

    tick: int
    at: float
    seq: int
    name: str
    body: dict[str, Any]


@dataclass(slots=True)
class Intent:
    """A ``batch.submitting``."""

    tick: int
    at: float
    run_id: str
    batch: int
    wave: int
    servers: tuple[str, ...]
    updated: tuple[str, ...] = ()
    job_id: str = ""
    answered: bool = False
    rejected: bool = False

    def baseline(self, server: str) -> str:
        """Return what a server's record told before, "" for nothing."""
        return dict(zip(self.servers, self.updated, strict=False)).get(server, "")


@dataclass(slots=True)
class Round:
    """One server's way to one outcome.

    Attributes:
        batches: that named it, or that were found to have started it after all.
        unstarted: how often a request of it was shown not to have begun.
        outcome: "" while there is none; ``fact`` told it.
        forgiven_at: when a resume forgave it.
        found_at: when an earlier round's request was found to be still at work; that round has counted it until then.
    """

    run_id: str
    server: str
    batches: list[int] = field(default_factory=list[int])
    unstarted: int = 0
    outcome: str = ""
    fact: Fact | None = None
    forgiven_at: float = FOREVER
    found_at: float = 0.0

    @property
    def name(self) -> str:
        """Name it in a complaint."""
        return f"{self.server[:8]} of {self.run_id}"


@dataclass(frozen=True, slots=True)
class Release:
    """A place of the budget that was given back: who had it, and since which event."""

    server: str
    held_by: Fact
    fact: Fact


@dataclass
class RunLog:
    """One run.

    Attributes:
        plan: the JSON of ``run.started``; empty for direct restarts.
        targets: the frozen list, in its order.
        domain: of each target.
        wave_of: its wave's number, 0 for none.
        stage: where each server stands at the journal's end: ``waiting``, ``flying``, ``left_out``, or its outcome.
        left_out: domains that somebody had left out.
        taken_up: servers that somebody has retried since.
        kept: how servers had failed that were to be tried again, until their next request has ended.
        held: servers with an outcome that keep their place in the budget at the journal's end, and since when.
        releases: places that were given back.
        broken: what the journal itself contradicts.
    """

    run_id: str
    status: str
    kind: str
    facts: list[Fact]
    targets: Sequence[str] = ()
    domain: dict[str, str] = field(default_factory=dict[str, str])
    wave_of: dict[str, int] = field(default_factory=dict[str, int])
    plan: dict[str, Any] = field(default_factory=dict[str, Any])
    intents: dict[int, Intent] = field(default_factory=dict[int, Intent])
    rounds: list[Round] = field(default_factory=list[Round])
    stage: dict[str, str] = field(default_factory=dict[str, str])
    left_out: set[str] = field(default_factory=set[str])
    taken_up: set[str] = field(default_factory=set[str])
    kept: dict[str, str] = field(default_factory=dict[str, str])
    held: dict[str, Fact] = field(default_factory=dict[str, Fact])
    releases: list[Release] = field(default_factory=list[Release])
    broken: list[str] = field(default_factory=list[str])

    def last(self, server: str) -> Round | None:
        """Return a server's last round."""
        return self._open.get(server)

    def __post_init__(self) -> None:
        self._open: dict[str, Round] = {}
        self._lent: dict[str, Fact] = {}
        self._kept_out: set[str] = set()

    def complain(self, fact: Fact, what: str) -> None:
        """Note a contradiction."""
        self.broken.append(f"{self.run_id} #{fact.seq} {fact.name}: {what}")

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Go through the history once."""
        for number, fact in enumerate(self.facts, 1):
            if fact.seq != number:
                self.complain(fact, f"is number {fact.seq}, {number} was to follow")
            self._read(fact)

    def _read(self, fact: Fact) -> None:
        match fact.name:
            case "run.started":
                self._started(fact)
            case "batch.submitting":
                self._submitting(fact)
            case "batch.accepted":
                self._accepted(fact)
            case "batch.rejected":
                self._rejected(fact)
            case "batch.unstarted":
                self._unstarted(fact)
            case "batch.started":
                self._started_after_all(fact)
            case "server.released":
                self._released(fact)
            case "run.resumed":
                self._resumed(fact)
            case name if name in OUTCOMES:
                self._ended(fact)
            case _:
                pass

    def _started(self, fact: Fact) -> None:
        self.plan = fact.body["plan"]
        self.stage = dict.fromkeys(self.targets, "waiting")
        for wave in self.plan["waves"]:
            for place in range(wave["start"], wave["end"]):
                self.wave_of[self.targets[place]] = wave["number"]

    def _submitting(self, fact: Fact) -> None:
        body = fact.body
        intent = Intent(
            tick=fact.tick,
            at=fact.at,
            run_id=self.run_id,
            batch=body["batch"],
            wave=body.get("wave", 0),
            servers=tuple(body.get("servers", ())),
            updated=tuple(body.get("updated", ())),
        )
        if intent.batch in self.intents:
            self.complain(fact, f"batch {intent.batch} was submitted before")
        self.intents[intent.batch] = intent
        for server in intent.servers:
            stage = self.stage.get(server, "waiting" if not self.plan else "no target")
            if stage not in {"waiting", "left_out"} and not (self.kind == "direct" and stage in OUTCOMES.values()):
                self.complain(fact, f"{server[:8]} is named while it is {stage}")
            self._fly(server, intent.batch)

    def _fly(self, server: str, batch: int) -> None:
        """A server is under way; a place that it holds is lent to its request."""
        self._kept_out.discard(server)
        self.stage[server] = "flying"
        current = self._current(server)
        if batch not in current.batches:
            current.batches.append(batch)
        if server in self.held:
            self._lent[server] = self.held.pop(server)

    def _current(self, server: str) -> Round:
        """Return the round that a server is in, a new one behind an outcome."""
        current = self._open.get(server)
        if current is None or current.outcome:
            current = self._open[server] = Round(self.run_id, server)
            self.rounds.append(current)
        return current

    def _accepted(self, fact: Fact) -> None:
        intent = self.intents.get(fact.body["batch"])
        if intent is None:
            self.complain(fact, "no such request was meant")
            return
        intent.answered, intent.job_id = True, fact.body.get("job_id", "")

    def _rejected(self, fact: Fact) -> None:
        intent = self.intents.get(fact.body["batch"])
        if intent is not None:
            intent.rejected = True
            self._wait_again(fact, intent.servers)

    def _wait_again(self, fact: Fact, servers: Sequence[str]) -> None:
        for server in servers:
            if self.stage.get(server) != "flying":
                self.complain(fact, f"{server[:8]} waits again while it is {self.stage.get(server)}")
            self.stage[server] = "waiting"
            if self._is_left_out(server):
                self._leave_out(server)
            if server in self._lent:
                self.held[server] = self._lent.pop(server)

    def _unstarted(self, fact: Fact) -> None:
        self._wait_again(fact, fact.body.get("servers", ()))
        for server in fact.body.get("servers", ()):
            self._current(server).unstarted += 1

    def _started_after_all(self, fact: Fact) -> None:
        batch = fact.body["batch"]
        named = self.intents[batch].servers if batch in self.intents else ()
        for server in fact.body.get("servers", ()):
            if server not in named:
                self.complain(fact, f"batch {batch} did not name {server[:8]}")
            if server in self._kept_out:
                self.kept[server] = self.stage[server]
            elif self.stage.get(server) not in {"waiting", "left_out"}:
                self.complain(fact, f"{server[:8]} is under way again while it is {self.stage.get(server)}")
            current = self._current(server)
            if not current.batches:
                current.found_at = fact.at
            self._fly(server, batch)

    def _released(self, fact: Fact) -> None:
        server = fact.body["server"]
        held = self.held.pop(server, None) or self._lent.pop(server, None)
        if held is not None:
            self.releases.append(Release(server, held, fact))

    def _ended(self, fact: Fact) -> None:
        server, kind = fact.body["server"], OUTCOMES[fact.name]
        stage = self.stage.get(server, "waiting" if not self.plan else "no target")
        if stage not in {"waiting", "flying", "left_out"} and self.kind != "direct" and server not in self._kept_out:
            self.complain(fact, f"{server[:8]} has its outcome already: {stage}")
        before, alone = self.kept.pop(server, ""), kind == "skipped" or fact.body.get("not_retried", "")
        if stage in {"waiting", "left_out"} and not alone and fact.body.get("reason") not in ALONE:
            self.complain(fact, f"{server[:8]} was never under way")
        if fact.body.get("not_retried") and kind != (before or stage):
            self.complain(fact, f"{server[:8]} was {before or stage} and not retried")
        self.stage[server] = kind
        current = self._current(server)
        current.outcome, current.fact = kind, fact
        down = self.held.pop(server, None) or self._lent.pop(server, None)
        if fact.body.get("holds"):
            self.held[server] = fact
        elif alone and down is not None:
            self.held[server] = down  # it was down before it was tried again, and no look has shown it up

    def _resumed(self, fact: Fact) -> None:
        if fact.body.get("forgive"):
            for each in self.rounds:
                if self.stage[each.server] in FAILURES:
                    each.forgiven_at = min(each.forgiven_at, fact.at)
                    self.held.pop(each.server, None)
        skipped = set(fact.body.get("skip_domains", ()))
        self.left_out |= skipped
        for server, stage in self.stage.items():
            if self.domain.get(server, "") in skipped:
                self.taken_up.discard(server)
            if stage == "waiting" and self._is_left_out(server) and self.wave_of.get(server):
                self._leave_out(server)
            elif can_be_retried(self, server, stage, fact) and self.domain.get(server, "") not in skipped:
                if fact.body.get("keeps_outcomes") and stage in FAILURES and self._was_sent(server):
                    self.kept[server] = stage
                self._kept_out.discard(server)
                self.stage[server] = "waiting"
                self.taken_up.add(server)

    def _was_sent(self, server: str) -> bool:
        return any(server in intent.servers for intent in self.intents.values())

    def _leave_out(self, server: str) -> None:
        """End a server that waits: as left out, or as what it was before it was to be tried again."""
        if server in self.kept:
            self._kept_out.add(server)
        self.stage[server] = self.kept.pop(server, "left_out")

    def _is_left_out(self, server: str) -> bool:
        return self.domain.get(server, "") in self.left_out and server not in self.taken_up


def can_be_retried(tale: RunLog, server: str, stage: str, fact: Fact) -> bool:
    """Tell whether a resume asks for a server at a stage, which must be in a wave."""
    ended = "not_started" if stage == "left_out" else stage
    return ended in fact.body.get("retry", ()) and bool(tale.wave_of.get(server))


def read_run_logs(database: WatchedDatabase) -> dict[str, RunLog]:
    """Return every run of the store by its id, read from the raw tables."""
    if not database.stamps:
        return {}
    facts: dict[str, list[Fact]] = defaultdict(list)
    for row in database.journal():
        facts[row.run_id] += _facts(row)
    tales: dict[str, RunLog] = {}
    query = "SELECT run_id, status, kind FROM runs ORDER BY number"
    for run_id, status, kind in database.connection.execute(query).fetchall():
        tale = RunLog(run_id, status, kind, facts[run_id])
        tale.targets, tale.domain = _targets(database, run_id)
        tale.read()
        tales[run_id] = tale
    return tales


def _facts(row: Row) -> Iterator[Fact]:
    for line in row.lines:
        body = orjson.loads(line)
        yield Fact(row.tick, row.at, body["seq"], body["event"], body)


def _targets(database: WatchedDatabase, run_id: str) -> tuple[list[str], dict[str, str]]:
    ids: list[str] = []
    domains: list[str] = []
    query = "SELECT servers FROM targets WHERE run_id = ? ORDER BY part"
    for (packed,) in database.connection.execute(query, (run_id,)).fetchall():
        columns = orjson.loads(zlib.decompress(packed))
        ids += columns["ids"]
        domains += columns.get("domains") or [""] * len(columns["ids"])
    return ids, dict(zip(ids, domains, strict=True))
