"""Go, wait or stop: what a rollout does next, decided from its state alone. The loop in `rollout` carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, cast

from ecsbatch.model.outcome import OutcomeKind, RunStatus, SkipReason
from ecsbatch.model.plan import Plan
from ecsbatch.model.run import Halt
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Tally


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers that bind a run now: the plan's, as adjusted since."""

    max_unavailable: int
    max_unavailable_per_domain: Mapping[str, int] | None
    max_failures: int
    max_failures_per_wave: tuple[int, ...] | None
    max_failures_per_domain: Mapping[str, int] | None


def limits_of(plan: Plan, changed: Mapping[str, Any]) -> Limits:
    """Return the plan's limits with the changes of `limit.changed` events folded in."""
    limits = Limits(
        plan.max_unavailable,
        plan.max_unavailable_per_domain,
        plan.max_failures,
        plan.max_failures_per_wave,
        plan.max_failures_per_domain,
    )
    known = {name: _frozen(value) for name, value in changed.items() if name in Limits.__dataclass_fields__}
    return replace(limits, **known) if known else limits


def _frozen(value: Any) -> Any:
    return tuple(cast("list[int]", value)) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Breach:
    """A failure limit that is exceeded. ``limit`` is the setting's name, ``where`` the wave or domain."""

    limit: str
    failures: int
    allowed: int
    where: str = ""

    def __str__(self) -> str:
        at = f" in {self.where}" if self.where else ""
        failures = "1 failure" if self.failures == 1 else f"{self.failures} failures"
        return f"{failures}{at}, {self.allowed} {'is' if self.allowed == 1 else 'are'} allowed ({self.limit})"


def breach(state: RolloutState, limits: Limits) -> Breach | None:
    """Return the first failure limit that is exceeded: 10% of 50 allows 5 and stops at the 6th."""
    if state.run.failures > limits.max_failures:
        return Breach("max_failures", state.run.failures, limits.max_failures)
    if limits.max_failures_per_wave is not None:
        for number, (tally, allowed) in enumerate(zip(state.waves, limits.max_failures_per_wave, strict=True), 1):
            if tally.failures > allowed:
                return Breach("max_failures_per_wave", tally.failures, allowed, f"wave {number}")
    if limits.max_failures_per_domain is not None:
        for domain, allowed in limits.max_failures_per_domain.items():
            failures = state.domains[domain].failures
            if failures > allowed:
                return Breach("max_failures_per_domain", failures, allowed, domain)
    return None


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run ends here. With ``drain`` every server under way gets its outcome first, else only requests theirs."""

    status: RunStatus
    reason: str
    message: str = ""
    drain: bool = False


def ending(state: RolloutState, halt: Halt | None, request: Ending | None, exceeded: Breach | None) -> Ending | None:
    """Return why a run must end here, None where it goes on; asked anew for as long as the ending waits.

    Args:
        state: of the run; an abort stands in it, and outlives whatever else ends the run here.
        halt: why the engine cannot go on; an aborting run follows what it still can.
        request: what somebody asked for, or a gate or the budget.
        exceeded: a failure limit that stops the run.
    """
    if halt is not None and not state.aborting:
        return Ending(RunStatus.STOPPED, halt.reason, halt.message)
    if request is not None and (not state.aborting or request.status is RunStatus.INTERRUPTED):
        return request
    if state.aborting:
        by = f"Aborted by {state.aborted_by}." if state.aborted_by else ""
        return Ending(RunStatus.ABORTED, "aborted", by, drain=True)
    return Ending(RunStatus.STOPPED, exceeded.limit, f"{exceeded}.", drain=True) if exceeded is not None else None


def awaited_until(state: RolloutState) -> float | None:
    """Return until when servers that somebody else restarts may yet give their places back, as events are stamped."""
    ends = [
        ended
        for i in state.held
        if (outcome := state.outcome(i)).reason == SkipReason.ALREADY_RESTARTING
        and (ended := outcome.ended_at) is not None
    ]
    return max(ends) + state.plan.server_timeout if ends else None


class Step(StrEnum):
    """What a rollout does next inside a wave."""

    FEED = "feed"
    WAIT = "wait"
    WAVE_DONE = "wave_done"
    BUDGET_EXHAUSTED = "budget_exhausted"


@dataclass(frozen=True, slots=True)
class Decision:
    """A step; ``room`` is how many servers may be offered where it is FEED."""

    step: Step
    room: int = 0


def decide(state: RolloutState, limits: Limits, wave: Tally, offered: int, ahead: int) -> Decision:
    """Decide how a wave goes on.

    Args:
        state: of the run.
        limits: that bind it now.
        wave: the tally of the wave under way.
        offered: servers of it that the engine has and has not submitted; each holds a place as if it were down.
        ahead: how many the engine should have at hand at the most.
    """
    if not wave.waiting and not wave.in_flight:
        return Decision(Step.WAVE_DONE)
    to_offer = wave.waiting - offered
    room = min(limits.max_unavailable - state.down - offered, ahead - offered, to_offer)
    if room > 0:
        return Decision(Step.FEED, room)
    if to_offer > 0 and not offered and not state.run.in_flight:
        return Decision(Step.BUDGET_EXHAUSTED)
    return Decision(Step.WAIT)


def unhealthy(state: RolloutState) -> list[str]:
    """Return servers whose jobs have ended while their health check has not passed yet."""
    if not state.plan.check:
        return []
    return [server for flight in state.flights.values() if flight.job_status for server in sorted(flight.open)]


def domain_room(state: RolloutState, limits: Limits, domain: str, offered: int) -> int:
    """Return how many more servers of a domain may be offered; ``offered`` are already."""
    if limits.max_unavailable_per_domain is None:
        return limits.max_unavailable
    allowed = limits.max_unavailable_per_domain.get(domain, limits.max_unavailable)
    return allowed - state.domains[domain].down - offered


def left_out_whole(state: RolloutState, wave: int) -> bool:
    """Tell whether nothing of a wave is to be sent, since all of its servers were left out: it is passed over."""
    tally = state.waves[wave - 1]
    return tally.ended[OutcomeKind.NOT_STARTED] == tally.total


def held_before(state: RolloutState, wave: int) -> bool:
    """Tell whether somebody has to promote a run before a wave yet.

    A hold outlives waves that are passed over, and so does the word that has let the run pass it.
    """
    first = wave - 1
    while first > 1 and left_out_whole(state, first):
        first -= 1
    return any(number in state.plan.hold_after and state.promoted <= number for number in range(first, wave))
