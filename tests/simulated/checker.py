"""The independent judge of a simulated world: what was promised, against the cloud's books and the raw journal.

It shares no code with what it judges. Every broken promise is one sentence; a world without one returns none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from .allowed import judge_budget, judge_course, judge_gates
from .callers import judge_callers
from .evidence import Case, gather
from .looked import judge_baselines, judge_deadlines
from .outcomes import judge_outcomes
from .play import Record
from .remains import judge_chain, judge_claims, judge_ends, judge_kept_claims, judge_places
from .run_log import Round, RunLog
from .witnesses import FOREVER, WatchedCloud
from .words import judge_words

SENDS: Final = 3
"""Requests that may have named a server in one round and were not certainly for nothing."""


def check(record: Record) -> list[str]:
    """Return every broken promise of a played world."""
    case = gather(record)
    for judge in JUDGES:
        case.broken += judge(case)
    for tale in case.tales.values():
        case.broken += tale.broken
    return case.broken + record.complaints


# -- never over the quota ----------------------------------------------------------------------------------------------


def judge_quota(case: Case) -> Iterator[str]:
    """No window holds more than the quota, at any cloud."""
    for cloud in case.clouds:
        yield from _fullest(case, cloud)


def _fullest(case: Case, cloud: WatchedCloud) -> Iterator[str]:
    quota = case.record.world.engine.quota
    counted: Sequence[tuple[float, int]] = cloud.auditor.counted
    inside, left = 0, 0
    for at, size in counted:
        inside += size
        while counted[left][0] < at - quota.window:
            inside -= counted[left][1]
            left += 1
        if inside > quota.limit:
            yield f"quota: the cloud counted {inside} in the {quota.window:g} s before {at:.2f} s, {quota} are allowed"
            return


# -- never twice by accident -------------------------------------------------------------------------------------------


def judge_once(case: Case) -> Iterator[str]:
    """No server is restarted twice in one round, and none is sent again for ever."""
    for tale in case.tales.values():
        for one in tale.rounds:
            restarts = case.restarts_of(one)
            if len(restarts) > 1:
                at = ", ".join(f"{restart.begun.at:.2f} (batch {restart.intent.batch})" for restart in restarts)
                yield f"once: {one.name} was restarted {len(restarts)} times in one round: at {at}"
            sends = _sends(tale, one)
            allowed = 1 if tale.plan.get("on_unknown") == "leave" else SENDS
            if tale.plan and sends > allowed:
                yield f"once: {one.name} was sent {sends} times in one round, {allowed} are allowed"


def _sends(tale: RunLog, one: Round) -> int:
    """Count the requests of a round that may have been carried out."""
    return sum(batch in tale.intents and not tale.intents[batch].rejected for batch in one.batches)


def judge_unstarted(case: Case) -> Iterator[str]:
    """A request that is taken for not begun was not: neither before nor, by the one assumption, afterwards."""
    for tale in case.tales.values():
        for fact in tale.facts:
            if fact.name != "batch.unstarted":
                continue
            for server in fact.body.get("servers", ()):
                for restart in case.restarts.get((tale.run_id, server, fact.body["batch"]), ()):
                    name = f"{server[:8]} of {tale.run_id}"
                    yield f"unstarted: {name} is at {fact.at:.2f} s, but was begun at {restart.begun.at:.2f} s"


def judge_ownership(case: Case) -> Iterator[str]:
    """No request names a server that another run has."""
    spans: dict[str, list[tuple[int, float, str]]] = defaultdict(list)
    for tale in case.tales.values():
        for server, begin, end in _owned(tale):
            spans[server].append((begin, end, tale.run_id))
    for tale in case.tales.values():
        for intent in tale.intents.values():
            for server in intent.servers:
                others = [
                    owner for begin, end, owner in spans[server] if owner != intent.run_id and begin < intent.tick < end
                ]
                if others:
                    yield f"claims: {server[:8]} was submitted by {intent.run_id} while {others[0]} had it"
                    return


def _owned(tale: RunLog) -> Iterator[tuple[str, int, float]]:
    """Yield (server, from, to) in ticks of a run's claims."""
    if tale.kind != "rollout":
        yield from _in_flight(tale)
        return
    begin: float | None = None
    for fact in tale.facts:
        if fact.name in {"run.started", "holder.changed"} and begin is None:
            begin = fact.tick
        if fact.name == "run.finished" and begin is not None:
            yield from ((server, int(begin), fact.tick) for server in tale.targets)
            begin = None
    if begin is not None:
        yield from ((server, int(begin), FOREVER) for server in tale.targets)


def _in_flight(tale: RunLog) -> Iterator[tuple[str, int, float]]:
    """Yield the claims of direct restarts: each request's, to its end; what its process did not live to see is void."""
    since: dict[str, int] = {}
    for fact in tale.facts:
        if fact.name == "batch.submitting":
            since |= dict.fromkeys(fact.body.get("servers", ()), fact.tick)
            continue
        servers = [*fact.body.get("servers", ()), fact.body.get("server", "")]
        if fact.name == "batch.rejected" and fact.body["batch"] in tale.intents:
            servers += tale.intents[fact.body["batch"]].servers
        yield from ((server, since.pop(server), fact.tick) for server in servers if server in since)


JUDGES: Final[Sequence[Callable[[Case], Iterator[str]]]] = (
    judge_quota,
    judge_once,
    judge_unstarted,
    judge_baselines,
    judge_deadlines,
    judge_ownership,
    judge_outcomes,
    judge_budget,
    judge_course,
    judge_gates,
    judge_words,
    judge_callers,
    judge_ends,
    judge_claims,
    judge_kept_claims,
    judge_places,
    judge_chain,
)
"""Each asks after some promises, and yields a sentence for each that was broken."""
