"""What a run waits for now, and what keeps its waiting servers from being sent. Pure functions of a run's state.

It asks a chain of questions, those first that hold up the most; the first one with an answer is the cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from heapq import nsmallest
from typing import Final

from ecsbatch.config.types import format_duration
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.events import BatchRejected, QuotaThrottled
from ecsbatch.model.outcome import HANDED_OVER, RunStatus
from ecsbatch.model.quota import Usage
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import FAILURES, InFlightBatch
from ecsbatch.model.text import counted
from ecsbatch.policy import decide as policy
from ecsbatch.policy.barrier import Barrier, BarrierKind, barrier
from ecsbatch.policy.decide import Limits
from ecsbatch.policy.explanation import Cause, Explanation
from ecsbatch.policy.frozen import freeze_notice, freeze_of
from ecsbatch.policy.quota_now import lowered_notice
from ecsbatch.policy.standing import aborting_notice, blind_notice, blind_until, reason_beyond, throttled_until

_NAMED: Final = 5
"""Servers or domains that a sentence names."""

THAW: Final = ("ecsbatch thaw",)
"""What ends a freeze."""

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


def _said(event: BatchRejected | QuotaThrottled) -> str:
    """Return the end of a sentence about what the cloud has said; it may have said nothing."""
    return f": {event.message}" if event.message else "."


@dataclass(frozen=True, slots=True)
class HoldUps:
    """Finds what holds one run up, from everything that is known of it.

    Attributes:
        state, now, usage, holder_alive, stopping: see `ecsbatch.policy.explain.explain`.
        limits: of the run, as they are now.
    """

    state: RolloutState
    now: float
    limits: Limits
    usage: Usage | None
    holder_alive: bool = True
    stopping: bool = False

    def about_run(self) -> Explanation:
        """Explain the rollout."""
        still = self.standing_still() or self.blind()
        if still is not None:
            return still
        current = self.state.wave_over + 1
        if current > len(self.state.waves):
            return Explanation(Cause.QUEUED, "All waves are over; the run is about to end.")
        if not self.state.waves[current - 1].waiting:
            return self.under_way(current)
        return self.held_up() or self.under_way(current)

    def under_way(self, wave: int) -> Explanation:
        """Explain a wave that nothing holds up: its servers are under way."""
        tally = self.state.waves[wave - 1]
        text = f"Wave {wave}: {tally.waiting:,} servers wait, {tally.in_flight:,} are under way."
        oldest = min(self.state.flights.values(), key=lambda flight: flight.submitted_at, default=None)
        if tally.waiting or oldest is None:
            return Explanation(Cause.QUEUED, text)
        flying = self.in_flight(oldest)
        return Explanation(flying.cause, f"{text} The oldest: {flying.text}", flying.until)

    def standing_still(self) -> Explanation | None:
        """Explain a run that is over, has no holder, is ending or is paused; None where it is none of these."""
        state, run = self.state, self.state.run_id
        if state.status.over:
            return Explanation(Cause.OVER, f"Run {run} is over: {state.status.value}{self._reason()}.")
        return self.no_holder() or self._ending() or self._paused()

    def _ending(self) -> Explanation | None:
        """Explain a run whose process was told to stop, or to end it for good; None where it was not."""
        state, run = self.state, self.state.run_id
        cause, text = Cause.ABORTING, ""
        if self.stopping:
            cause, text = Cause.STOPPING, f"The process of run {run} was told to stop: nothing new is sent, "
            text += "requests in flight get their answer."
        elif state.aborting:
            text = f"Run {run} is being aborted{self._by_whom()}, for {self._for(state.status_at)} so far: nothing new "
            text += f"is sent, and it ends once {self._under_way_now()} an outcome."
        elif state.abort_asked_by:
            text = aborting_notice(state)
        return Explanation(cause, text, None, (f"ecsbatch watch {run}",)) if text else None

    def _paused(self) -> Explanation | None:
        state, run = self.state, self.state.run_id
        if state.status is not RunStatus.PAUSED:
            return None
        by = f" by {state.paused_by}" if state.paused_by else ""
        asked = state.gate if state.reason == "gate_inconclusive" else None
        message = f" It said: {asked.message}" if asked is not None and asked.message else ""
        return Explanation(
            _STOPS.get(state.reason, Cause.PAUSED),
            f"Run {run} was paused{by} {self._ago(state.status_at)}{self._reason()}.{message}",
            commands=(f"ecsbatch resume {run}", f"ecsbatch abort {run}"),
        )

    def no_holder(self) -> Explanation | None:
        """Explain a run without a holder, whose servers under way nobody looks at; None where it has one or is over."""
        state, run = self.state, self.state.run_id
        under_way = "1 server is" if state.run.in_flight == 1 else f"{state.run.in_flight:,} servers are"
        flying = f" {under_way} under way and nobody looks." if state.run.in_flight else ""
        commands = (f"ecsbatch resume {run}", f"ecsbatch abort {run}")
        if state.aborting:
            flying += f" It is being aborted{self._by_whom()}: whoever goes on with it sends nothing any more."
        if state.status in {RunStatus.STOPPED, RunStatus.INTERRUPTED}:
            cause = Cause.STOPPED if state.status is RunStatus.STOPPED else Cause.INTERRUPTED
            was = "handed over" if state.reason == HANDED_OVER else state.status.value
            text = f"Run {run} was {was} {self._ago(state.status_at)}{self._reason()}.{flying}"
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
        words = (reason_beyond(self.state.status, self.state.reason), self.state.message.rstrip("."))
        return "".join(f": {word}" for word in words if word)

    def in_flight(self, flight: InFlightBatch) -> Explanation:
        """Explain the servers of a batch under way."""
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

    # -- what keeps waiting servers from being sent ---------------------------------------------------------------

    def held_up(self, domain: str | None = None) -> Explanation | None:
        """Return what keeps waiting servers, of one domain or any, from being sent; None where nothing does."""
        if self.state.wave <= self.state.wave_over:
            found = self._barrier()
            return self._failures() or (self._frozen(found) if found else self._frozen()) or found
        return self._failures() or self._frozen() or self._cloud() or self._budgets(domain) or self._quota()

    def _frozen(self, behind: Explanation | None = None) -> Explanation | None:
        """Explain a freeze of the store; None where there is none. ``behind`` it the run would wait all the same."""
        freeze = freeze_of(self.state, self.now)
        if freeze is None:
            return None
        found = Explanation(Cause.FROZEN, freeze_notice(freeze, self.now), freeze.until, THAW)
        if behind is None:
            return found
        return replace(found, text=f"{found.text} {behind.text}", commands=(*found.commands, *behind.commands))

    def _failures(self) -> Explanation | None:
        breach = policy.breach(self.state, self.limits)
        if breach is None:
            return None
        after = f" The {self.state.run.in_flight:,} under way finish first." if self.state.run.in_flight else ""
        run = self.state.run_id
        commands = (f"ecsbatch resume {run} --forgive", f"ecsbatch abort {run}")
        return Explanation(Cause.FAILURE_LIMIT, f"Nothing new is sent: {breach}.{after}", None, commands)

    def _barrier(self) -> Explanation | None:
        """Explain the soak, the hold or the gate before the next wave; None where there is none."""
        found, run = barrier(self.state, self.now), self.state.run_id
        if found is None:
            return None
        if found.kind is BarrierKind.SOAK:
            left = self._left(found.until or self.now)
            text = f"Wave {found.wave - 1} soaks for another {left} before wave {found.wave} starts."
            return Explanation(Cause.SOAK, text, found.until)
        if found.kind is BarrierKind.HOLD:
            so_far = self._for(found.since or self.now)
            text = f"Wave {found.wave} waits until somebody promotes the run, for {so_far} so far."
            return Explanation(Cause.HOLD, text, None, (f"ecsbatch promote {run}", f"ecsbatch abort {run}"))
        return self._gate(found)

    def _gate(self, gate: Barrier) -> Explanation:
        if not gate.verdict:
            return Explanation(Cause.GATE, f"The gate {gate.gate} is being asked whether wave {gate.wave} may start.")
        said = f": {gate.message.rstrip('.')}" if gate.message else ""
        verdict = "gave no verdict" if gate.verdict == "inconclusive" else f"said {gate.verdict}"
        asked = f", and was asked {counted(gate.asked, 'time')} in {self._for(gate.since)}" if gate.since else ""
        answer = f"The gate {gate.gate} {verdict} for wave {gate.wave} {self._ago(gate.answered_at)}{said}."
        abort, timeout = (f"ecsbatch abort {self.state.run_id}",), format_duration(gate.timeout)
        if freeze_of(self.state, self.now) is not None:
            rest = f"It is not asked again before the store is thawed, and has all of gate_timeout, {timeout}, then."
            return Explanation(Cause.GATE, f"{answer} {rest}", None, abort)
        left = f", for another {self._left(gate.until)}" if gate.until is not None else ""
        rest = f"It is asked again{left}{asked}: after gate_timeout, {timeout} in all, the run stops."
        return Explanation(Cause.GATE, f"{answer} {rest}", gate.until, abort)

    def blind(self) -> Explanation | None:
        """Explain that nothing can be seen of the cloud; None where it can."""
        notice = blind_notice(self.state, self.now)
        return Explanation(Cause.CLOUD_UNREACHABLE, notice, blind_until(self.state)) if notice else None

    def _cloud(self) -> Explanation | None:
        """Explain that the cloud does not answer, asked for a pause or refuses; None where it does none of it."""
        state = self.state
        if blind := self.blind():
            return blind
        if state.throttled is not None and (until := throttled_until(state, self.now)) is not None:
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
        if (unhealthy := policy.first_unhealthy(self.state)) is not None:
            count = policy.unhealthy_count(self.state)
            text += f" {count:,} have restarted and not passed {self.state.plan.check} yet."
            return Explanation(
                Cause.BUDGET, text, None, (f"ecsbatch explain {unhealthy} {run}", f"ecsbatch pause {run}")
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
        held = state.held if domain is None else [i for i in state.held if fleet.domain(i) == domain]
        failed = sum(state.stage[i] in FAILURES for i in held)
        text = f"{tally.in_flight:,} are under way" + (f", {failed:,} failed and are not back" if failed else "")
        if len(held) > failed:
            text += f", {len(held) - failed:,} were left alone and are not up"
        named = ", ".join(fleet.label(i) for i in nsmallest(_NAMED, held))
        more = f" and {len(held) - _NAMED:,} more" if len(held) > _NAMED else ""
        return f"{text}{f': {named}{more}' if named else ''}."

    def _quota(self) -> Explanation | None:
        usage = self.usage
        if usage is None or usage.free > 0:
            return None
        if usage.waited_out and usage.next_free_in is not None:
            until = self.now + usage.next_free_in
            return Explanation(
                Cause.QUOTA,
                "Requests may have been sent of which the store knows nothing, as behind a failover of its database: "
                f"nobody gets tokens until these cannot count any more, for another {self._left(until)}.",
                until,
            )
        text = f"The quota of {usage.limit:,} servers is spent: {usage.held:,} in requests, {usage.cooling:,} cooling. "
        less = f" {notice}" if (notice := lowered_notice(self.state, self.now)) else ""
        if usage.next_free_in is None:
            return Explanation(Cause.QUOTA, f"{text}Other requests have it.{less}")
        until = self.now + usage.next_free_in
        return Explanation(Cause.QUOTA, f"{text}Tokens are free again in {self._left(until)}.{less}", until)

    # -- times -----------------------------------------------------------------------------------------------------

    def _for(self, since: float) -> str:
        return format_duration(max(0, round(self.now - since)))

    def _ago(self, at: float) -> str:
        return f"{self._for(at)} ago"

    def _left(self, until: float) -> str:
        return format_duration(max(0, round(until - self.now)))
