"""Why a server is not restarted yet, and what a rollout waits for now. Pure functions of a run's state.

It asks a chain of questions, those first that hold up the most; the first one with an answer is the cause. What is not
in a run's record (is its holder alive, how much of the quota is used) is passed in by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from ecsbatch.config.types import format_duration
from ecsbatch.model.events import BatchRejected, QuotaThrottled, stamp
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.quota import Usage
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import FAILURES, InFlightBatch, Stage
from ecsbatch.model.text import counted, without_code
from ecsbatch.policy import decide as policy
from ecsbatch.policy.decide import Limits
from ecsbatch.policy.resume_options import ends_for_good, resume_options
from ecsbatch.policy.standing import aborting_notice, blind_notice, soaks_until, standing

_NAMED: Final = 5
"""Servers or domains that a sentence names."""


class Cause(StrEnum):
    """The cause in a word, for programs."""

    NOT_OF_RUN = "not_of_run"
    CLAIMED = "claimed"
    RESTARTED = "restarted"
    SKIPPED = "skipped"
    FAILED = "failed"
    OVER = "over"
    LEFT_OUT = "left_out"
    ABORTING = "aborting"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    ORPHANED = "orphaned"
    PAUSED = "paused"
    SUBMITTING = "submitting"
    RESTARTING = "restarting"
    NOT_HEALTHY = "not_healthy"
    UNSETTLED = "unsettled"
    WAVE = "wave"
    SOAK = "soak"
    HOLD = "hold"
    GATE = "gate"
    FAILURE_LIMIT = "failure_limit"
    CLOUD_UNREACHABLE = "cloud_unreachable"
    REFUSED = "refused"
    THROTTLED = "throttled"
    DOMAIN_BUDGET = "domain_budget"
    BUDGET = "budget"
    QUOTA = "quota"
    QUEUED = "queued"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a server or a rollout waits for.

    Attributes:
        cause: in a word.
        text: in sentences. Ids and messages of the cloud are in it as they came: escape them for a terminal.
        until: when it is expected to change, seconds since 1970; None where that is not known.
        commands: commands that a person can run about it.
        standing, standing_text: how the run stands, see `ecsbatch.policy.standing`; "" where it was not asked about.
    """

    cause: Cause
    text: str
    until: float | None = None
    commands: tuple[str, ...] = ()
    standing: str = ""
    standing_text: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def _said(event: BatchRejected | QuotaThrottled) -> str:
    """Return the end of a sentence about what the cloud has said; it may have said nothing."""
    return f": {event.message}" if event.message else "."


_STOPS: Final = {
    "cloud_unreachable": Cause.CLOUD_UNREACHABLE,
    "budget_exhausted": Cause.BUDGET,
    "gate": Cause.GATE,
    "gate_timeout": Cause.GATE,
    "gate_inconclusive": Cause.GATE,
    "max_failures": Cause.FAILURE_LIMIT,
    "max_failures_per_wave": Cause.FAILURE_LIMIT,
    "max_failures_per_domain": Cause.FAILURE_LIMIT,
}
"""The cause of a stop or a pause, by its reason."""


def explain(
    state: RolloutState,
    *,
    now: float,
    server: str | None = None,
    usage: Usage | None = None,
    holder_alive: bool = True,
    claimed_by: str = "",
) -> Explanation:
    """Return why a server is not restarted yet, or what the rollout waits for.

    Args:
        state: the run's state.
        now: seconds since 1970.
        server: a server's id; None to ask about the rollout.
        usage: how much of the quota is used at the server's site, None where not known.
        holder_alive: False where no living process holds the run.
        claimed_by: the other run that has the server, "" for none.
    """
    how = standing(state, now, held=holder_alive)
    answer = _answer(state, now, server, usage, holder_alive=holder_alive, claimed_by=claimed_by)
    return replace(answer, standing=how.phase.value, standing_text=how.text)


def _answer(
    state: RolloutState, now: float, server: str | None, usage: Usage | None, *, holder_alive: bool, claimed_by: str
) -> Explanation:
    question = _Question(state, now, policy.limits_of(state.plan, state.limits), usage, holder_alive)
    if server is None:
        return question.about_run()
    index = state.plan.fleet.index_of(server)
    if index is not None:
        return question.about_server(index)
    if claimed_by:
        return Explanation(
            Cause.CLAIMED,
            f"Server {server} is claimed by run {claimed_by} until that is over.",
            commands=(f"ecsbatch explain {server} {claimed_by}", f"ecsbatch status {claimed_by}"),
        )
    return Explanation(Cause.NOT_OF_RUN, f"Server {server} is none of run {state.run_id}'s {state.run.total:,}.")


@dataclass(frozen=True, slots=True)
class _Question:
    """Answers questions about one run, from everything that is known of it."""

    state: RolloutState
    now: float
    limits: Limits
    usage: Usage | None
    holder_alive: bool

    # -- one server ------------------------------------------------------------------------------------------------

    def about_server(self, index: int) -> Explanation:
        """Explain the server with an index."""
        stage = Stage(self.state.stage[index])
        if stage >= Stage.RESTARTED:
            return self._ended(index, stage)
        skip = self.state.plan.skip_of(index)
        if skip is not None:
            return Explanation(Cause.SKIPPED, f"The plan leaves it out: {skip.reason}.")
        flight = self._batch_of(index)
        if flight is not None:
            return self._no_holder() or self._in_the_dark(flight) or self._in_flight(flight)
        return self._standing_still() or self._waiting(index)

    def _ended(self, index: int, stage: Stage) -> Explanation:
        state, outcome = self.state, self.state.outcome(index)
        at = f" at {stamp(outcome.ended_at)}" if outcome.ended_at else ""
        words = (outcome.reason, outcome.code, without_code(outcome.message, outcome.code).rstrip("."))
        why = "".join(f", {word}" for word in words if word)
        if stage == Stage.RESTARTED:
            return Explanation(Cause.RESTARTED, f"It was restarted{at}, by the word of its {outcome.evidence}.")
        held = " It keeps its place in the budget until it is seen up." if index in state.held else ""
        if stage == Stage.LEFT_OUT:
            domain = state.plan.fleet.domain(index) or "servers without a domain"
            goes = "has ended" if state.status.over else "goes on"
            text = f"The run {goes} without {domain}: it is left out, and nothing is sent for it any more.{held}"
            return self._with_retry(Cause.LEFT_OUT, text, OutcomeKind.NOT_STARTED)
        if stage == Stage.SKIPPED:
            return Explanation(Cause.SKIPPED, f"It was left alone{at}{why}.{held}")
        kind, again = outcome.kind.value, outcome.not_retried.replace("_", " ")
        again = f" It was to be tried again, and was not: {again}." if again else ""
        return self._with_retry(
            Cause.FAILED, f"It ended as {kind.replace('_', ' ')}{at}{why}.{again}{held}", outcome.kind
        )

    def _with_retry(self, cause: Cause, text: str, kind: OutcomeKind) -> Explanation:
        """Add what tries a server again that ended so: nothing where the run is ended for good."""
        state, run = self.state, self.state.run_id
        if ends_for_good(state):
            return Explanation(cause, text)
        ways = [way.flags for way in resume_options(state) if kind.value in way.retry]
        if not ways:
            ways = [f" --retry {kind.value}"]
            text += " Once the run is over, it can be tried again." if state.status is RunStatus.RUNNING else ""
        return Explanation(cause, text, commands=tuple(f"ecsbatch resume {run}{flags}" for flags in ways))

    def _batch_of(self, index: int) -> InFlightBatch | None:
        server = self.state.plan.fleet.ids[index]
        return next((flight for flight in self.state.flights.values() if server in flight.open), None)

    def _in_flight(self, flight: InFlightBatch) -> Explanation:
        plan, sent = self.state.plan, self._ago(flight.submitted_at)
        late = flight.submitted_at + plan.server_timeout
        if flight.unknown_at is not None:
            text = f"Batch {flight.batch}, sent {sent}, got no answer. For {self._for(flight.unknown_at)} its servers' "
            text += "own states are looked at for a sign of it; nothing is sent again before that is settled."
            return Explanation(Cause.UNSETTLED, text)
        if not flight.job_id:
            return Explanation(Cause.SUBMITTING, f"Batch {flight.batch} was sent {sent}; its answer is awaited.")
        job = f"job {flight.job_id} (batch {flight.batch}, sent {sent})"
        if not flight.job_status:
            return Explanation(Cause.RESTARTING, f"It is being restarted by {job}.", late)
        if plan.check:
            row = f" ({plan.min_ready:g} s in a row are wanted)" if plan.min_ready else ""
            text = f"{job} has ended, and the health check {plan.check} has not passed yet{row}."
        elif plan.min_ready:
            text = f"{job} has ended; it keeps its place for another {plan.min_ready:g} s at most."
        else:
            text = f"{job} has ended without a word about it; its own state is looked at."
        cause = Cause.NOT_HEALTHY if plan.check or plan.min_ready else Cause.RESTARTING
        return Explanation(cause, text[0].upper() + text[1:], late)

    def _waiting(self, index: int) -> Explanation:
        """Explain a server for which nothing was sent yet, in a run that goes on."""
        state, wave = self.state, self.state.plan.wave_of(index)
        current = state.wave_over + 1
        if wave is not None and wave.number > current:
            held = self._held_up() or self._under_way(current)
            return Explanation(
                Cause.WAVE,
                f"It is in wave {wave.number} of {len(state.waves)}; wave {current} comes first. {held.text}",
                commands=held.commands,
            )
        hindrance = self._held_up(state.plan.fleet.domain(index))
        if hindrance is not None:
            return hindrance
        left = state.waves[current - 1].waiting if current <= len(state.waves) else 0
        return Explanation(Cause.QUEUED, f"Nothing holds it: it is in line with {left:,} servers of wave {current}.")

    # -- the rollout -----------------------------------------------------------------------------------------------

    def about_run(self) -> Explanation:
        """Explain the rollout."""
        still = self._standing_still() or self._blind()
        if still is not None:
            return still
        current = self.state.wave_over + 1
        if current > len(self.state.waves):
            return Explanation(Cause.QUEUED, "All waves are over; the run is about to end.")
        if not self.state.waves[current - 1].waiting:
            return self._under_way(current)
        return self._held_up() or self._under_way(current)

    def _under_way(self, wave: int) -> Explanation:
        """Explain a wave that nothing holds up: its servers are under way."""
        tally = self.state.waves[wave - 1]
        text = f"Wave {wave}: {tally.waiting:,} servers wait, {tally.in_flight:,} are under way."
        oldest = min(self.state.flights.values(), key=lambda flight: flight.submitted_at, default=None)
        if tally.waiting or oldest is None:
            return Explanation(Cause.QUEUED, text)
        flying = self._in_flight(oldest)
        return Explanation(flying.cause, f"{text} The oldest: {flying.text}", flying.until)

    def _standing_still(self) -> Explanation | None:
        """Explain a run that is over, has no holder, is being aborted or is paused; None where it is none of these."""
        state, run = self.state, self.state.run_id
        if state.status.over:
            return Explanation(Cause.OVER, f"Run {run} is over: {state.status.value}{self._reason()}.")
        gone = self._no_holder()
        if gone is not None:
            return gone
        if state.abort_asked_by and not state.aborting:
            return Explanation(Cause.ABORTING, aborting_notice(state), None, (f"ecsbatch watch {run}",))
        if state.aborting:
            text = f"Run {run} is being aborted{self._by_whom()}, for {self._for(state.status_at)} so far: nothing new "
            text += f"is sent, and it ends once {self._under_way_now()} an outcome."
            return Explanation(Cause.ABORTING, text, None, (f"ecsbatch watch {run}",))
        if state.status is RunStatus.PAUSED:
            by = f" by {state.paused_by}" if state.paused_by else ""
            asked = state.gate if state.reason == "gate_inconclusive" else None
            message = f" It said: {asked.message}" if asked is not None and asked.message else ""
            return Explanation(
                _STOPS.get(state.reason, Cause.PAUSED),
                f"Run {run} was paused{by} {self._ago(state.status_at)}{self._reason()}.{message}",
                commands=(f"ecsbatch resume {run}", f"ecsbatch abort {run}"),
            )
        return None

    def _no_holder(self) -> Explanation | None:
        """Explain a run without a holder, whose servers under way nobody looks at; None where it has one or is over."""
        state, run = self.state, self.state.run_id
        under_way = "1 server is" if state.run.in_flight == 1 else f"{state.run.in_flight:,} servers are"
        flying = f" {under_way} under way and nobody looks." if state.run.in_flight else ""
        commands = (f"ecsbatch resume {run}", f"ecsbatch abort {run}")
        if state.aborting:
            flying += f" It is being aborted{self._by_whom()}: whoever goes on with it sends nothing any more."
        if state.status in {RunStatus.STOPPED, RunStatus.INTERRUPTED}:
            cause = Cause.STOPPED if state.status is RunStatus.STOPPED else Cause.INTERRUPTED
            text = f"Run {run} was {state.status.value} {self._ago(state.status_at)}{self._reason()}.{flying}"
            return Explanation(_STOPS.get(state.reason, cause), text, None, commands)
        if not state.status.over and (not self.holder_alive or state.status is RunStatus.ORPHANED):
            holder = f", {state.holder}," if state.holder else ""
            text = f"The process that held run {run}{holder} is gone.{flying}"
            return Explanation(Cause.ORPHANED, text, None, commands)
        return None

    def _by_whom(self) -> str:
        return f" by {self.state.aborted_by}" if self.state.aborted_by else ""

    def _under_way_now(self) -> str:
        flying = self.state.run.in_flight
        return "the server under way has" if flying == 1 else f"the {flying:,} servers under way have"

    def _reason(self) -> str:
        state = self.state
        reason = "" if state.reason == state.status.value else state.reason
        return "".join(f": {word}" for word in (reason, state.message.rstrip(".")) if word)

    # -- what holds a wave up --------------------------------------------------------------------------------------

    def _held_up(self, domain: str | None = None) -> Explanation | None:
        """Return what keeps waiting servers, of one domain or any, from being sent; None where nothing does."""
        if self.state.wave <= self.state.wave_over:
            return self._failures() or self._barrier(self.state.wave_over + 1)
        return self._failures() or self._cloud() or self._budgets(domain) or self._quota()

    def _failures(self) -> Explanation | None:
        breach = policy.breach(self.state, self.limits)
        if breach is None:
            return None
        after = f" The {self.state.run.in_flight:,} under way finish first." if self.state.run.in_flight else ""
        run = self.state.run_id
        commands = (f"ecsbatch resume {run} --forgive", f"ecsbatch abort {run}")
        return Explanation(Cause.FAILURE_LIMIT, f"Nothing new is sent: {breach}.{after}", None, commands)

    def _barrier(self, wave: int) -> Explanation | None:
        """Explain the soak, the hold or the gate before a wave; None where there is none."""
        state, plan = self.state, self.state.plan
        if wave == 1 or wave > len(state.waves):
            return None
        soaked = soaks_until(state)
        if self.now < soaked:
            text = f"Wave {wave - 1} soaks for another {self._left(soaked)} before wave {wave} starts."
            return Explanation(Cause.SOAK, text, soaked)
        if policy.held_before(state, wave):
            text = f"Wave {wave} waits until somebody promotes the run, for {self._for(soaked)} so far."
            commands = (f"ecsbatch promote {state.run_id}", f"ecsbatch abort {state.run_id}")
            return Explanation(Cause.HOLD, text, None, commands)
        return self._gate(wave) if plan.gate else None

    def _gate(self, wave: int) -> Explanation:
        gate = self.state.gate
        if gate is None or gate.wave != wave or gate.gate == "hold":
            return Explanation(
                Cause.GATE, f"The gate {self.state.plan.gate} is being asked whether wave {wave} may start."
            )
        said = f": {gate.message.rstrip('.')}" if gate.message else ""
        verdict = "gave no verdict" if gate.verdict == "inconclusive" else f"said {gate.verdict}"
        wait, timeout = self.state.gate_wait, format_duration(self.state.plan.gate_timeout)
        asked = f", and was asked {counted(wait.asked, 'time')} in {self._for(wait.since)}" if wait.since else ""
        left = f", for another {self._left(wait.until)}" if wait.until is not None else ""
        return Explanation(
            Cause.GATE,
            f"The gate {gate.gate} {verdict} for wave {wave} {self._ago(self.state.gate_at)}{said}. "
            f"It is asked again{left}{asked}: after gate_timeout, {timeout} in all, the run stops.",
            wait.until,
            (f"ecsbatch abort {self.state.run_id}",),
        )

    def _blind(self) -> Explanation | None:
        """Explain that nothing can be seen of the cloud; None where it can."""
        notice, until = blind_notice(self.state, self.now), standing(self.state, self.now).until
        return Explanation(Cause.CLOUD_UNREACHABLE, notice, until) if notice else None

    def _in_the_dark(self, flight: InFlightBatch) -> Explanation | None:
        """Explain a server under way of which nothing can be seen; None where it can."""
        blind = self._blind()
        return replace(blind, text=f"{self._in_flight(flight).text} {blind.text}") if blind else None

    def _cloud(self) -> Explanation | None:
        """Explain that the cloud does not answer, asked for a pause or refuses; None where it does none of it."""
        state = self.state
        if blind := self._blind():
            return blind
        if state.throttled is not None and self.now < state.throttled[0] + state.throttled[1].wait:
            until = state.throttled[0] + state.throttled[1].wait
            text = f"The cloud said too many requests (429) {self._ago(state.throttled[0])} and is asked again in "
            return Explanation(Cause.THROTTLED, f"{text}{self._left(until)}{_said(state.throttled[1])}", until)
        if state.rejected is None:
            return None
        at, rejected = state.rejected
        if rejected.kind in {"not_sent", "not_accepted"}:
            text = f"The last request, {self._ago(at)}, was not accepted and is sent again{_said(rejected)}"
            return Explanation(Cause.CLOUD_UNREACHABLE, text)
        if rejected.kind != "refused":
            return None
        text = f"The cloud refused the last request, {self._ago(at)}, and the reason is looked for{_said(rejected)}"
        return Explanation(Cause.REFUSED, text)

    def _budgets(self, domain: str | None) -> Explanation | None:
        full, run = list(self._full_domains(domain)), self.state.run_id
        if full:
            text = " ".join(self._full_budget(name) for name in full[:_NAMED])
            return Explanation(
                Cause.DOMAIN_BUDGET, text, None, (f"ecsbatch adjust {run} --max-unavailable-per-domain N",)
            )
        down, allowed = self.state.down, self.limits.max_unavailable
        if down < allowed:
            return None
        text = f"The budget is full: {down:,} of {allowed:,} servers are down at once (max_unavailable). "
        text += self._slot_takers(None)
        if unhealthy := policy.unhealthy(self.state):
            text += f" {len(unhealthy):,} have restarted and not passed {self.state.plan.check} yet."
            return Explanation(
                Cause.BUDGET, text, None, (f"ecsbatch explain {unhealthy[0]} {run}", f"ecsbatch pause {run}")
            )
        return Explanation(Cause.BUDGET, text, None, (f"ecsbatch adjust {run} --max-unavailable N",))

    def _full_domains(self, domain: str | None) -> Iterator[str]:
        """Yield the domain, or all with waiting servers where none is given; nothing where one of them has room."""
        per_domain = self.limits.max_unavailable_per_domain
        if per_domain is None:
            return
        waiting = [domain] if domain is not None else [name for name, t in self.state.domains.items() if t.waiting]
        if all(name in per_domain and self.state.domains[name].down >= per_domain[name] for name in waiting):
            yield from waiting

    def _full_budget(self, domain: str) -> str:
        allowed = (self.limits.max_unavailable_per_domain or {}).get(domain, 0)
        down, name = self.state.domains[domain].down, domain or "the servers without a domain"
        return f"The budget of {name} is full: {down:,} of {allowed:,} are down at once. {self._slot_takers(domain)}"

    def _slot_takers(self, domain: str | None) -> str:
        """Return who takes the slots of the budget, of one domain or all."""
        state, fleet = self.state, self.state.plan.fleet
        tally = state.run if domain is None else state.domains[domain]
        held = [i for i in sorted(state.held) if domain is None or fleet.domain(i) == domain]
        failed = sum(state.stage[i] in FAILURES for i in held)
        text = f"{tally.in_flight:,} are under way" + (f", {failed:,} failed and are not back" if failed else "")
        if len(held) > failed:
            text += f", {len(held) - failed:,} were left alone and are not up"
        named = ", ".join(fleet.label(i) for i in held[:_NAMED])
        more = f" and {len(held) - _NAMED:,} more" if len(held) > _NAMED else ""
        return f"{text}{f': {named}{more}' if named else ''}."

    def _quota(self) -> Explanation | None:
        usage = self.usage
        if usage is None or usage.free > 0:
            return None
        text = f"The quota of {usage.limit:,} servers is spent: {usage.held:,} in requests, {usage.cooling:,} cooling. "
        if usage.next_free_in is None:
            return Explanation(Cause.QUOTA, text + "Other requests have it.")
        until = self.now + usage.next_free_in
        return Explanation(Cause.QUOTA, f"{text}Tokens are free again in {self._left(until)}.", until)

    # -- times -----------------------------------------------------------------------------------------------------

    def _for(self, since: float) -> str:
        return format_duration(max(0, round(self.now - since)))

    def _ago(self, at: float) -> str:
        return f"{self._for(at)} ago"

    def _left(self, until: float) -> str:
        return format_duration(max(0, round(until - self.now)))
