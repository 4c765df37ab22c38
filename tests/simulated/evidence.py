"""All evidence of a played world, put together: who sent what, what the cloud did by it, who was down when.

The judges of `checker` read it. It shares no code with what is judged.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .play import Record
from .run_log import Fact, Intent, Round, RunLog, read_run_logs
from .witnesses import FOREVER, Begun, Sent, WatchedCloud

OVER: Final = frozenset({"succeeded", "failed", "aborted"})
TOLERANCE: Final = 1e-6
FOLLOWED: Final = 5.0
"""Seconds in which a living holder has heard of a command and followed it, its store late or not."""


Sending = tuple[str, str, int]
"""A run, a server, and the number of the batch that names it."""


@dataclass(frozen=True, slots=True)
class Restart:
    """One restart that the cloud began by one of our requests.

    Attributes:
        up_at: from when on the server is up again by itself; infinity for never.
    """

    begun: Begun
    sent: Sent
    intent: Intent
    up_at: float


@dataclass
class Case:
    """All evidence, put together.

    Attributes:
        sent_by: the intent of each request that left.
        restarts: that the cloud began, by run, server and batch.
        begun: every restart of a server by any request, with the run whose request it was.
        broken: what has been found so far.
    """

    record: Record
    tales: Mapping[str, RunLog]
    sent_by: list[tuple[Sent, Intent]] = field(default_factory=list[tuple[Sent, Intent]])
    restarts: dict[Sending, list[Restart]] = field(default_factory=dict[Sending, list[Restart]])
    begun: dict[str, list[tuple[Begun, str]]] = field(default_factory=dict[str, list[tuple[Begun, str]]])
    broken: list[str] = field(default_factory=list[str])

    def restarts_of(self, one: Round) -> list[Restart]:
        """Return the restarts that the cloud began by the requests of a round."""
        found = (self.restarts.get((one.run_id, one.server, batch), []) for batch in one.batches)
        return sorted((each for each in _flat(found)), key=lambda restart: restart.begun.at)

    def cloud_of(self, server: str) -> WatchedCloud:
        """Return the cloud that has a server; the first for one that none has."""
        known = (cloud for cloud in self.clouds if server in cloud.fleet.numbers)
        return next(known, self.record.cloud)

    @property
    def clouds(self) -> list[WatchedCloud]:
        """Every site's cloud."""
        return list(self.record.clouds.values()) or [self.record.cloud]

    def foreign(self, server: str) -> Iterator[tuple[float, float]]:
        """Yield the spans of a server's restarts by somebody else."""
        return ((each.begin, each.end) for each in self.record.foreign if each.server == server)

    def healed(self, server: str, until: float = FOREVER) -> bool:
        """Tell whether an operator has repaired a server."""
        return any(one == server and at <= until for one, at in self.cloud_of(server).heals)

    def down(self, server: str) -> list[tuple[float, float]]:
        """Return the spans in which a server is known to have been down; some never end."""
        ups = [(one.at, up_at(self, one)) for one, _ in self.begun.get(server, ())]
        # A later restart takes an earlier one's place: the server is up when the later one has ended.
        later = [*ups, *self.foreign(server)]
        ours = [(begin, min(end, *(up for since, up in later if since >= begin))) for begin, end in ups]
        theirs = [
            (begin, min([end, *(at for at, _ in ours if begin < at < end)])) for begin, end in self.foreign(server)
        ]
        return sorted([*ours, *theirs]) or self._down_by_itself(server)

    def _down_by_itself(self, server: str) -> list[tuple[float, float]]:
        """Return the span of a server that was down from the beginning, up to its repair."""
        cloud = self.cloud_of(server)
        repaired = min((at for one, at in cloud.heals if one == server), default=FOREVER)
        unwell = server in cloud.fleet.numbers and cloud.truth(server).status != "ACTIVE"
        return [(0.0, repaired)] if unwell or repaired < FOREVER else []

    def up_since(self, server: str, at: float) -> float:
        """Return since when a server was up at an instant; infinity where it was down then."""
        since = 0.0
        for begin, end in self.down(server):
            if begin <= at:
                since = max(since, end)
        return since if since <= at else FOREVER

    # -- what the world allows for ---------------------------------------------------------------------------------

    def thawed(self, since: float, seconds: float) -> float:
        """Return when so many seconds have passed for every process, the time in which one stood still apart."""
        until = since + seconds
        for each in sorted(self.record.freezes, key=lambda freeze: freeze.begin):
            if each.begin <= until and each.end > since:
                until = max(until, each.end + seconds)
        return until

    def seen_since(self, at: float, seconds: float) -> float:
        """Return the earliest instant of which something said at ``at`` may tell, where it is so many seconds old."""
        since = at - seconds
        for each in sorted(self.record.freezes, key=lambda freeze: -freeze.end):
            if each.end >= since and each.begin <= at:
                since = min(since, each.begin - seconds)
        return since


def gather(record: Record, tales: Mapping[str, RunLog] | None = None) -> Case:
    """Put the evidence together, and give each request that left its intent; the tales are the store's own."""
    case = Case(record, read_run_logs(record.database) if tales is None else tales)
    _match_sends(case)
    return case


def _flat(lists: Iterable[Iterable[Restart]]) -> Iterator[Restart]:
    return (each for one in lists for each in one)


def _match_sends(case: Case) -> None:
    """Give each request that left its intent: one stored before it left, for the same servers, used by no other."""
    free: dict[tuple[str, ...], list[Intent]] = defaultdict(list)
    for tale in case.tales.values():
        for intent in tale.intents.values():
            free[intent.servers].append(intent)
    for intents in free.values():
        intents.sort(key=lambda intent: -intent.tick)
    sends: Iterable[Sent] = heapq.merge(*(cloud.sends for cloud in case.clouds), key=lambda sent: sent.tick)
    for sent in sends:
        candidates = [intent for intent in free[sent.servers] if intent.tick < sent.tick]
        owner = candidates[0].run_id if candidates else ""
        for begun in sent.begun:
            case.begun.setdefault(begun.server, []).append((begun, owner))
        if not candidates:
            what = f"a request for {len(sent.servers)} servers left at {sent.at:.2f} s"
            case.broken.append(f"write-ahead: {what} without an intent of its own on disk")
            continue
        intent = candidates[0]
        free[sent.servers].remove(intent)
        case.sent_by.append((sent, intent))
        for begun in sent.begun:
            restart = Restart(begun, sent, intent, up_at(case, begun))
            case.restarts.setdefault((intent.run_id, begun.server, intent.batch), []).append(restart)


def up_at(case: Case, begun: Begun) -> float:
    """Return when a restarted server is up again by the cloud's books, or was repaired."""
    world = case.record.world
    heals = case.cloud_of(begun.server).heals
    repaired = min((at for server, at in heals if server == begun.server and at >= begun.at), default=FOREVER)
    checked = world.check_delay is not None
    lasting = {"error", "stuck", "unhealthy"} if checked else {"error", "stuck"}
    if begun.ending in lasting:
        return repaired
    return min(repaired, begun.ends + (world.cloud.boot_time if checked else 0.0))


def was_restarting(case: Case, server: str, fact: Fact, but_by: str = "", asked_at: float = FOREVER) -> bool:
    """Tell whether a restart of it was under way at the time of the look, begun by whomever but one run.

    ``asked_at``: a job tells of the time of its request, however late it is heard.
    """
    since = min(asked_at, case.seen_since(fact.at, 2 * case.record.world.request_timeout + 60.0))
    spans = [(one.at, one.ends) for one, owner in case.begun.get(server, ()) if not but_by or owner != but_by]
    return any(begin <= fact.at and end >= since for begin, end in [*spans, *case.foreign(server)])


def last_before(facts: Sequence[Fact], names: frozenset[str], tick: int) -> Fact | None:
    """Return the last event of these names that was stored before a tick."""
    return next((fact for fact in reversed(facts) if fact.tick < tick and fact.name in names), None)
