"""Never worse than allowed: budgets, failure limits, the order of waves, and what stands between two of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from .evidence import TOLERANCE, Case, Restart
from .run_log import FAILURES, OUTCOMES, Fact, Round, RunLog, can_be_retried
from .sight import taken_for_ours
from .witnesses import FOREVER

HOLD: Final = "hold"
"""The name under which `gate.checked` tells of holds."""


def judge_budget(case: Case) -> Iterator[str]:
    for tale in case.tales.values():
        if tale.plan:
            yield from _budget_of(case, tale)


def _budget_of(case: Case, tale: RunLog) -> Iterator[str]:
    """At each begin of a restart, count the run's servers that are down by it, whole and in the server's domain.

    Nobody can count one that began late, behind somebody else's that was taken for it.
    """
    spans: list[tuple[float, float, str, int]] = []
    for one in tale.rounds:
        for restart in case.restarts_of(one):
            if one.fact is not None and one.fact.at < restart.begun.at and taken_for_ours(case, one.fact, restart):
                continue
            up = min(_place_free_at(case, tale, one, restart), one.forgiven_at)
            spans.append((max(restart.begun.at, one.found_at), up, one.server, restart.intent.tick))
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


def _place_free_at(case: Case, tale: RunLog, one: Round, restart: Restart) -> float:
    """Return until when a server holds its place: until it is up, and for ``min_ready`` where it came back well.

    Somebody else's restart behind ours takes its place, and may put a server right that came back unwell.
    """
    ready = tale.plan.get("min_ready", 0.0) if one.outcome == "restarted" else 0.0
    others = (end for begin, end in case.foreign(one.server) if begin >= restart.begun.at)
    return min(restart.up_at, *others, FOREVER) + ready


_Step = tuple[int, int, Mapping[str, int] | None]


def _limit_steps(tale: RunLog) -> Iterator[_Step]:
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


def judge_course(case: Case) -> Iterator[str]:
    """Every intent was allowed when it was stored, and every wave began when it might."""
    for tale in case.tales.values():
        if tale.plan:
            yield from Strictness(tale).breaches()
            yield from _between(tale)


def judge_gates(case: Case) -> Iterator[str]:
    """No gate is told to have said go oftener than gates have."""
    told = [
        fact.at
        for tale in case.tales.values()
        for fact in tale.facts
        if fact.name == "gate.checked" and fact.body.get("gate") != HOLD and fact.body.get("verdict") == "go"
    ]
    said = case.record.tally["gates that said go"]
    if len(told) > said:
        yield f"gates: {len(told)} are told to have said go, the last at {max(told):.2f} s, and {said} have"


def _asks(tale: RunLog, wave: int, since: float) -> bool:
    """Tell whether something is sent between a wave's start and its end; one that is left out by then only passes."""
    ends = (fact.at for fact in tale.facts if fact.name == "wave.finished" and fact.body.get("wave") == wave)
    until = min((end for end in ends if end >= since), default=FOREVER)
    return any(intent.wave == wave and since <= intent.at <= until for intent in tale.intents.values())


def _between(tale: RunLog) -> Iterator[str]:
    """A wave begins once the one before has soaked, somebody has promoted the run, and its gate has said go."""
    asked = {intent.wave for intent in tale.intents.values()}
    kept = {tale.wave_of.get(server, 0) for server in tale.targets if tale.domain.get(server) not in tale.left_out}
    sent = asked | kept
    over: dict[int, float] = {}
    verdicts: dict[tuple[bool, int], str] = {}
    for fact in tale.facts:
        wave = fact.body.get("wave", 0)
        match fact.name:
            case "wave.finished":
                over[wave] = fact.at
            case "gate.checked":
                verdicts[fact.body.get("gate") == HOLD, wave] = fact.body.get("verdict", "")
            case "wave.started" if wave > 1 and (wave in kept or _asks(tale, wave, fact.at)):
                soaked = fact.at - over.get(wave - 1, FOREVER)
                if soaked < tale.plan.get("soak", 0.0) - TOLERANCE:
                    soak = tale.plan["soak"]
                    yield f"waves: {tale.run_id} begins wave {wave} after {soaked:.1f} s, it is to soak for {soak:g} s"
                first = max((number for number in sent if number < wave), default=1)
                holds = set(tale.plan.get("hold_after") or ()) & set(range(first, wave))
                if any(all(verdicts.get((True, n)) != "go" for n in range(held + 1, wave + 1)) for held in holds):
                    yield f"waves: {tale.run_id} begins wave {wave}, and nobody had promoted it"
                if tale.plan.get("gate") and verdicts.get((False, wave)) != "go":
                    yield f"waves: {tale.run_id} begins wave {wave}, and its gate had not said go"
            case _:
                pass


class Strictness:
    """Goes through a run's journal and asks, at each intent, whether it was still allowed."""

    def __init__(self, tale: RunLog) -> None:
        self._tale = tale
        self._limits: dict[str, Any] = {
            name: tale.plan.get(name) for name in tale.plan if name.startswith("max_failures")
        }
        self._counted: set[str] = set()
        self._stage = dict.fromkeys(tale.targets, "waiting")
        self._domains: set[str] = set()
        self._out: set[str] = set()
        self._taken_up: set[str] = set()
        self._sent: set[str] = set()
        self._kept: dict[str, str] = {}
        self._forgiven: set[str] = set()
        self._left = [0, *(wave["end"] - wave["start"] for wave in tale.plan["waves"])]

    def breaches(self) -> Iterator[str]:
        """Yield every intent that came too late or too early."""
        for fact in self._tale.facts:
            match fact.name:
                case "batch.submitting":
                    yield from self._objections(fact)
                    self._stage |= dict.fromkeys(fact.body.get("servers", ()), "flying")
                    self._sent.update(fact.body.get("servers", ()))
                case "batch.rejected" if fact.body["batch"] in self._tale.intents:
                    self._wait(self._tale.intents[fact.body["batch"]].servers)
                case "batch.unstarted":
                    self._wait(fact.body.get("servers", ()))
                case "batch.started":
                    self._stage |= dict.fromkeys(fact.body.get("servers", ()), "flying")
                case "limit.changed" if str(fact.body["limit"]).startswith("max_failures"):
                    self._limits[fact.body["limit"]] = fact.body["new"]
                case "run.resumed":
                    self._resume(fact)
                case name if name in OUTCOMES:
                    self._end(fact.body["server"], OUTCOMES[name], retried=not fact.body.get("not_retried"))
                case _:
                    pass

    def _end(self, server: str, kind: str, *, retried: bool) -> None:
        if self._stage.get(server) in {"waiting", "flying"}:
            self._count(server, -1)
        self._stage[server] = kind
        self._kept.pop(server, None)
        if retried:
            self._forgiven.discard(server)
        if kind in FAILURES and server not in self._forgiven:
            self._counted.add(server)

    def _count(self, server: str, by: int) -> None:
        """Count a server among those that its wave waits for; one that was left out is waited for no more."""
        if server not in self._out:
            self._left[self._tale.wave_of.get(server, 0)] += by

    def _resume(self, fact: Fact) -> None:
        if fact.body.get("forgive"):
            self._counted.clear()
            self._forgiven.update(self._kept, [each for each, stage in self._stage.items() if stage in FAILURES])
        skipped = set(fact.body.get("skip_domains", ()))
        self._domains |= skipped
        self._taken_up -= {server for server in self._taken_up if self._tale.domain.get(server, "") in skipped}
        self._leave_out(self._stage)
        for server, stage in self._stage.items():
            ended = "left_out" if stage == "waiting" and server in self._out else stage
            if can_be_retried(self._tale, server, ended, fact) and self._tale.domain.get(server, "") not in skipped:
                if fact.body.get("keeps_outcomes") and stage in FAILURES and server in self._sent:
                    self._kept[server] = stage
                self._stage[server] = "waiting"
                self._taken_up.add(server)
                self._counted.discard(server)
                self._out.discard(server)
                self._count(server, 1)

    def _wait(self, servers: Iterable[str]) -> None:
        self._stage |= {server: "waiting" for server in servers if self._stage.get(server) == "flying"}
        self._leave_out(servers)

    def _leave_out(self, servers: Iterable[str]) -> None:
        for server in servers if self._domains else ():
            out = self._stage.get(server) == "waiting" and self._tale.domain.get(server, "") in self._domains
            if out and server not in self._out | self._taken_up:
                self._count(server, -1)
                self._out.add(server)
                if server in self._kept:
                    self._stage[server] = self._kept.pop(server)
                    self._counted |= {server} - self._forgiven

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
