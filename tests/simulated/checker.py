"""The independent judge of a simulated world: what was promised, against the cloud's books and the raw journal.

It shares no code with what it judges. Every broken promise is one sentence; a world without one returns none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ecsbatch.errors import EngineStopped, RunConflict, StoreError
from ecsbatch.models import Outcome, OutcomeKind

from .books import FOREVER, Begun, Sent
from .lives import Record, Told
from .tale import FAILURES, OUTCOMES, Fact, Intent, Round, Tale, read_tales

OVER: Final = frozenset({"succeeded", "failed", "aborted"})
TOLERANCE: Final = 1e-6
LASTING: Final = 3600.0
"""A job that is remembered for so long was there to be asked."""


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
    """All evidence, put together."""

    record: Record
    tales: Mapping[str, Tale]
    sent_by: list[tuple[Sent, Intent]] = field(default_factory=list[tuple[Sent, Intent]])
    restarts: dict[int, list[Restart]] = field(default_factory=dict[int, list[Restart]])
    broken: list[str] = field(default_factory=list[str])

    def restarts_of(self, one: Round) -> list[Restart]:
        """Return the restarts that the cloud began by the requests of a round."""
        return self.restarts.get(id(one), [])


def check(record: Record) -> list[str]:
    """Return every broken promise of a played world."""
    case = Case(record, read_tales(record.database))
    _match_sends(case)
    judges = (_quota, _once, _ownership, _outcomes, _budget, _limits_and_waves, _ends, _callers)
    for judge in judges:
        case.broken += judge(case)
    for tale in case.tales.values():
        case.broken += tale.broken
    return case.broken + record.complaints


# -- who sent what -----------------------------------------------------------------------------------------------------


def _match_sends(case: Case) -> None:
    """Give each request that left its intent: one stored before it left, for the same servers, used by no other."""
    free: dict[tuple[str, ...], list[Intent]] = defaultdict(list)
    for tale in case.tales.values():
        for intent in tale.intents.values():
            free[intent.servers].append(intent)
    for intents in free.values():
        intents.sort(key=lambda intent: -intent.tick)
    for sent in case.record.cloud.sends:
        candidates = [intent for intent in free[sent.servers] if intent.tick < sent.tick]
        if not candidates:
            what = f"a request for {len(sent.servers)} servers left at {sent.at:.2f} s"
            case.broken.append(f"write-ahead: {what} without an intent of its own on disk")
            continue
        intent = candidates[0]
        free[sent.servers].remove(intent)
        case.sent_by.append((sent, intent))
        for begun in sent.begun:
            one = case.tales[intent.run_id].round_of(begun.server, intent.batch)
            if one is not None:
                case.restarts.setdefault(id(one), []).append(Restart(begun, sent, intent, _up_at(case.record, begun)))


def _up_at(record: Record, begun: Begun) -> float:
    """Return when a restarted server is up again by the cloud's books, or was repaired."""
    world = record.world
    repaired = min(
        (at for server, at in record.cloud.heals if server == begun.server and at >= begun.at), default=FOREVER
    )
    checked = world.check_delay is not None
    lasting = {"error", "stuck", "unhealthy"} if checked else {"error", "stuck"}
    if begun.ending in lasting:
        return repaired
    return min(repaired, begun.ends + (world.cloud.boot_time if checked else 0.0))


# -- 1. never over the quota -------------------------------------------------------------------------------------------


def _quota(case: Case) -> Iterator[str]:
    quota = case.record.world.engine.quota
    counted: Sequence[tuple[float, int]] = case.record.cloud.auditor.counted
    inside, left = 0, 0
    for at, size in counted:
        inside += size
        while counted[left][0] < at - quota.window:
            inside -= counted[left][1]
            left += 1
        if inside > quota.limit:
            yield f"quota: the cloud counted {inside} in the {quota.window:g} s before {at:.2f} s, {quota} are allowed"
            return


# -- 3. never twice by accident ----------------------------------------------------------------------------------------


def _once(case: Case) -> Iterator[str]:
    for tale in case.tales.values():
        for one in tale.rounds:
            restarts = case.restarts_of(one)
            if len(restarts) > 1:
                at = ", ".join(f"{restart.begun.at:.2f} (batch {restart.intent.batch})" for restart in restarts)
                yield f"once: {one.name} was restarted {len(restarts)} times in one round: at {at}"


def _ownership(case: Case) -> Iterator[str]:
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


def _owned(tale: Tale) -> Iterator[tuple[str, int, float]]:
    """Yield (server, from, to) in ticks of a rollout's claims; those of direct runs end with their process."""
    if tale.kind != "rollout" or not tale.facts:
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


# -- 2. never lost: one outcome, and the true one ----------------------------------------------------------------------


def _outcomes(case: Case) -> Iterator[str]:
    for tale in case.tales.values():
        if tale.kind == "rollout" and tale.status in OVER:
            yield from _complete(case, tale)
        for one in tale.rounds:
            if one.outcome:
                wrong = _untrue(case, one)
                if wrong:
                    yield f"outcome: {one.name} is {_told(one)}, but {wrong}"


def _told(one: Round) -> str:
    body = one.fact.body if one.fact else {}
    words = [one.outcome, *(str(body.get(key, "")) for key in ("reason", "evidence", "code"))]
    return f"{' '.join(word for word in words if word)} at {one.fact.at if one.fact else 0:.2f}"


def _complete(case: Case, tale: Tale) -> Iterator[str]:
    """A run that is over has an outcome for every target; one that was aborted may have left servers alone."""
    for server in tale.targets:
        stage = tale.stage.get(server, "waiting")
        if stage == "flying" and tale.status != "aborted":
            yield f"lost: {server[:8]} of {tale.run_id} ({tale.status}) has no outcome"
        if stage == "waiting":
            if tale.status != "aborted":
                yield f"lost: {server[:8]} of {tale.run_id} ({tale.status}) was never started"
            last = tale.last(server)
            if last is not None and not last.outcome and case.restarts_of(last):
                yield f"outcome: {server[:8]} of {tale.run_id} is not_started, but was restarted by it"
    finished = [fact for fact in tale.facts if fact.name == "run.finished"]
    if not finished:
        yield f"lost: {tale.run_id} is {tale.status} without run.finished"
        return
    told: Mapping[str, int] = finished[-1].body["counts"]
    for kind in OUTCOMES.values():
        counted = sum(stage == kind for stage in tale.stage.values())
        under_way = sum(stage == "flying" for stage in tale.stage.values()) if kind == "unknown" else 0
        if told.get(kind, 0) != counted + under_way:
            yield f"outcome: {tale.run_id} says {told.get(kind, 0)} {kind}, its servers say {counted + under_way}"


def _untrue(case: Case, one: Round) -> str:
    """Return what contradicts an outcome, "" for nothing."""
    restarts = case.restarts_of(one)
    match one.outcome:
        case "restarted":
            return _untrue_restarted(case, one, restarts)
        case "failed":
            return _untrue_failed(case, one, restarts)
        case "timed_out":
            return _untrue_timed_out(case, one, restarts)
        case "unknown":
            return _untrue_unknown(restarts)
        case _:
            return _untrue_skipped(case, one, restarts)


def _untrue_restarted(case: Case, one: Round, restarts: Sequence[Restart]) -> str:
    assert one.fact is not None
    if any(server == one.server and at <= one.fact.at for server, at in case.record.cloud.heals):
        return ""  # an operator's repair moved its record too, and no look can tell the two apart
    if not restarts:
        return "the cloud never began it"
    last = restarts[-1]
    if last.begun.ends > one.fact.at + TOLERANCE:
        return f"its restart ends at {last.begun.ends:.2f} only"
    if last.begun.ending == "fail" and one.fact.body.get("evidence") == "state" and not _job_told(case, last):
        return ""  # the server is ACTIVE and was changed by our request: its record tells no more
    checked = case.record.world.check_delay is not None and case.tales[one.run_id].kind == "rollout"
    allowed = {"ok"} if checked else {"ok", "unhealthy"}
    if checked and last.begun.ending == "fail" and not _job_told(case, last):
        return ""
    return "" if last.begun.ending in allowed else f"its restart ended as {last.begun.ending}"


def _job_told(case: Case, restart: Restart) -> bool:
    """Tell whether the restart's job was known to us and there to be asked."""
    return restart.intent.answered and case.record.world.cloud.job_retention >= LASTING


def _untrue_failed(case: Case, one: Round, restarts: Sequence[Restart]) -> str:
    assert one.fact is not None
    body = one.fact.body
    if body.get("reason") == "refused":
        return "it was restarted" if restarts else ""
    if not restarts:
        return "" if body.get("reason") == "not_begun" else "the cloud never began it"
    last = restarts[-1]
    if last.begun.ending in {"fail", "error"}:
        return ""
    if body.get("reason") == "unhealthy":
        late = last.begun.ends + case.record.world.cloud.boot_time
        return "" if last.begun.ending == "unhealthy" or late > last.intent.at + 1.0 else "it was healthy"
    return f"its restart ended as {last.begun.ending}"


def _untrue_timed_out(case: Case, one: Round, restarts: Sequence[Restart]) -> str:
    assert one.fact is not None
    if not restarts:
        # One that was sent again while it is stuck in an earlier restart has not come back either.
        return "" if _was_restarting(case, one.server, one.fact) else "the cloud never began it"
    seen = one.fact.at - case.record.world.engine.request_timeout - 1.0
    last = restarts[-1]
    if last.begun.ending == "unhealthy":
        return ""
    return "" if last.begun.ends >= seen else f"its restart ended at {last.begun.ends:.2f} as {last.begun.ending}"


def _untrue_unknown(restarts: Sequence[Restart]) -> str:
    if not restarts:
        return ""
    return f"the cloud began it at {restarts[-1].begun.at:.2f} ({restarts[-1].begun.ending}), as its record shows"


def _was_left_out(case: Case, one: Round) -> bool:
    """Tell whether somebody had its domain left out, in the very commit that skipped it."""
    tale = case.tales[one.run_id]
    resumed = [fact for fact in tale.facts if fact.name == "run.resumed" and fact.tick == (one.fact and one.fact.tick)]
    return any(tale.domain.get(one.server, "") in fact.body.get("skip_domains", ()) for fact in resumed)


def _untrue_skipped(case: Case, one: Round, restarts: Sequence[Restart]) -> str:
    assert one.fact is not None
    if restarts:
        return f"this run restarted it at {restarts[-1].begun.at:.2f}"
    fleet, reason = case.record.cloud.fleet, one.fact.body.get("reason")
    number = fleet.numbers.get(one.server)
    so = {
        "not_found": number is None,
        "locked": number is not None and bool(fleet.locked[number]),
        "not_active": number is not None and _was_inactive(case, one.server, one.fact),
        "excluded": _was_left_out(case, one),
        "already_restarting": number is not None and _was_restarting(case, one.server, one.fact),
    }
    return "" if so.get(str(reason)) else "that is not so"


def _was_inactive(case: Case, server: str, fact: Fact) -> bool:
    """Tell whether a server was in another state by itself, or by a restart that broke or was under way."""
    if case.record.cloud.truth(server).status != "ACTIVE" or server in {one for one, _ in case.record.cloud.heals}:
        return True
    return _was_restarting(case, server, fact)


def _was_restarting(case: Case, server: str, fact: Fact) -> bool:
    """Tell whether a restart of it, begun by whomever, was under way at the time of the look."""
    since = fact.at - 2 * case.record.world.engine.request_timeout - 60.0
    begun = (one for sent in case.record.cloud.sends for one in sent.begun if one.server == server)
    return any(one.at <= fact.at and one.ends >= since for one in begun)


# -- 4. never worse than allowed ---------------------------------------------------------------------------------------


def _budget(case: Case) -> Iterator[str]:
    for tale in case.tales.values():
        if tale.plan:
            yield from _budget_of(case, tale)


def _budget_of(case: Case, tale: Tale) -> Iterator[str]:
    """At each begin of a restart, count the run's servers that are down by it, whole and in the server's domain."""
    spans: list[tuple[float, float, str, int]] = []
    for one in tale.rounds:
        for restart in case.restarts_of(one):
            up = min(_place_free_at(tale, one, restart), one.forgiven_at)
            spans.append((restart.begun.at, up, one.server, restart.intent.tick))
    spans.sort()
    steps = list(_limit_steps(tale))
    open_: list[tuple[float, float, str, int]] = []
    for span in spans:
        at = span[0]
        open_ = [other for other in open_ if other[1] > at + TOLERANCE and other[2] != span[2]]
        open_.append(span)
        oldest = min(other[3] for other in open_)
        until = max((fact.tick for fact in tale.facts if fact.at <= at), default=0)
        whole, per_domain = _most_allowed(steps, oldest, until, tale.domain[span[2]])
        if len(open_) > whole:
            yield f"budget: {len(open_)} servers of {tale.run_id} were down at {at:.2f} s, {whole} are allowed"
            return
        here = sum(tale.domain[other[2]] == tale.domain[span[2]] for other in open_)
        if here > per_domain:
            where = tale.domain[span[2]]
            yield f"budget: {here} of {tale.run_id} in {where} were down at {at:.2f} s, {per_domain:g} are allowed"
            return


def _place_free_at(tale: Tale, one: Round, restart: Restart) -> float:
    """Return until when a server holds its place: until it is up, and for ``min_ready`` where it came back well."""
    ready = tale.plan.get("min_ready", 0.0) if one.outcome == "restarted" else 0.0
    return restart.up_at + ready


_Step = tuple[int, int, Mapping[str, int] | None]


def _limit_steps(tale: Tale) -> Iterator[_Step]:
    """Yield (tick, max_unavailable, per domain) at the start and at each change."""
    whole, per_domain = tale.plan["max_unavailable"], tale.plan.get("max_unavailable_per_domain")
    yield tale.facts[0].tick, whole, per_domain
    for fact in tale.facts:
        if fact.name == "limit.changed":
            if fact.body["limit"] == "max_unavailable":
                whole = fact.body["new"]
            elif fact.body["limit"] == "max_unavailable_per_domain":
                per_domain = fact.body["new"]
            yield fact.tick, whole, per_domain


def _most_allowed(steps: Sequence[_Step], since: int, until: int, domain: str) -> tuple[int, float]:
    """Return the largest limits that were in force at any time from one tick to another."""
    before = [step for step in steps if step[0] <= since][-1:]
    relevant = before + [step for step in steps if since < step[0] <= until]
    whole = max((step[1] for step in relevant), default=steps[0][1])
    per = [step[2].get(domain, FOREVER) if step[2] is not None else FOREVER for step in relevant]
    return whole, max(per, default=FOREVER)


def _limits_and_waves(case: Case) -> Iterator[str]:
    for tale in case.tales.values():
        if tale.plan:
            yield from Strictness(tale).breaches()


class Strictness:
    """Goes through a run's journal and asks, at each intent, whether it was still allowed."""

    def __init__(self, tale: Tale) -> None:
        self._tale = tale
        self._limits: dict[str, Any] = {
            name: tale.plan.get(name) for name in tale.plan if name.startswith("max_failures")
        }
        self._counted: set[str] = set()
        self._stage = dict.fromkeys(tale.targets, "waiting")
        self._left = [0, *(wave["end"] - wave["start"] for wave in tale.plan["waves"])]

    def breaches(self) -> Iterator[str]:
        """Yield every intent that came too late or too early."""
        for fact in self._tale.facts:
            match fact.name:
                case "batch.submitting":
                    yield from self._objections(fact)
                case "limit.changed" if str(fact.body["limit"]).startswith("max_failures"):
                    self._limits[fact.body["limit"]] = fact.body["new"]
                case "run.resumed":
                    self._resume(fact)
                case name if name in OUTCOMES:
                    self._end(fact.body["server"], OUTCOMES[name])
                case _:
                    pass

    def _end(self, server: str, kind: str) -> None:
        if self._stage.get(server) == "waiting":
            self._left[self._tale.wave_of.get(server, 0)] -= 1
        self._stage[server] = kind
        if kind in FAILURES:
            self._counted.add(server)

    def _resume(self, fact: Fact) -> None:
        if fact.body.get("forgive"):
            self._counted.clear()
        for server, stage in self._stage.items():
            left_out = self._tale.domain.get(server, "") in fact.body.get("skip_domains", ())
            if stage in fact.body.get("retry", ()) and not left_out:
                self._stage[server] = "waiting"
                self._counted.discard(server)
                self._left[self._tale.wave_of.get(server, 0)] += 1

    def _objections(self, fact: Fact) -> Iterator[str]:
        name = f"{self._tale.run_id} #{fact.seq}"
        for limit, failures, allowed in self._failures():
            if failures > allowed:
                yield f"failures: {name} submits after {failures} failures, {limit} allows {allowed}"
                return
        for server in fact.body.get("servers", ()):
            wave = self._tale.wave_of.get(server, 0)
            unfinished = [number for number in range(1, wave) if self._left[number]]
            if unfinished:
                yield f"waves: {name} submits {server[:8]} of wave {wave} before wave {unfinished[0]} is over"
                return

    def _failures(self) -> Iterator[tuple[str, int, int]]:
        tale, limits = self._tale, self._limits
        yield "max_failures", len(self._counted), limits["max_failures"]
        for number, allowed in enumerate(limits.get("max_failures_per_wave") or (), 1):
            yield "max_failures_per_wave", sum(tale.wave_of.get(s) == number for s in self._counted), allowed
        for domain, allowed in (limits.get("max_failures_per_domain") or {}).items():
            yield "max_failures_per_domain", sum(tale.domain[s] == domain for s in self._counted), allowed


# -- 5. never stuck; how lives and calls ended -------------------------------------------------------------------------

STOPS: Final = ("max_failures", "budget_exhausted", "cloud_unreachable")


def _ends(case: Case) -> Iterator[str]:
    """Every run that is not over stands there for a reason; nothing but what is documented was raised."""
    record = case.record
    disk_full = record.tally["writes that found a full disk"] > 0
    for end in record.ends:
        how, where = end.how, f"{end.run_id} in life {end.life}"
        if isinstance(how, BaseException):
            excused = (
                end.doomed
                or isinstance(how, RunConflict)
                or (disk_full and isinstance(how, StoreError | EngineStopped))
            )
            if not excused:
                yield f"raised: {where} ended by {how!r}"
        elif how.status.value == "stopped" and not how.reason.startswith(STOPS):
            yield f"stopped: {where} stopped for {how.reason}: {how.message}"
        elif not how.status.over and how.status.value != "stopped" and not end.doomed:
            yield f"stopped: {where} came back {how.status.value} ({how.reason}) though nobody asked it to"


def _callers(case: Case) -> Iterator[str]:
    """What a caller was told of one server is what the cloud did."""
    record = case.record
    disk_full = record.tally["writes that found a full disk"] > 0
    begun: dict[str, list[Begun]] = defaultdict(list)
    for sent in record.cloud.sends:
        for one in sent.begun:
            begun[one.server].append(one)
    for told in record.told:
        how, name = told.how, f"{told.ask.server[:8]} asked for in life {told.life}"
        if isinstance(how, Outcome):
            wrong = _untrue_told(told, how, begun[told.ask.server])
            if wrong:
                yield f"caller: {name} was told {how.kind} {how.reason}, but {wrong}"
        elif isinstance(how, TimeoutError):
            if told.ask.patience is None:
                yield f"caller: {name} timed out without a timeout"
        elif not (told.doomed or isinstance(how, RunConflict | EngineStopped) or disk_full or _typed(how)):
            yield f"caller: {name} heard {how!r}"


def _typed(error: BaseException) -> bool:
    """Tell whether a caller was refused since the server is being restarted with another type."""
    return "HARD" in str(error) or "SOFT" in str(error)


def _untrue_told(told: Told, how: Outcome, begun: Iterable[Begun]) -> str:
    restarts = [one for one in begun if one.at <= told.heard]
    if how.kind is OutcomeKind.RESTARTED:
        return "" if restarts else "it was never restarted"
    if how.reason == "not_begun":
        # What another run began before this caller asked is another matter.
        return "it was begun" if any(one.at >= told.asked for one in restarts) else ""
    if how.kind in {OutcomeKind.FAILED, OutcomeKind.TIMED_OUT} and how.reason != "refused":
        return "" if restarts else "nothing was begun"
    return ""
