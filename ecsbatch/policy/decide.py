"""Go, wait or stop: what a rollout does next, decided from its state alone.

`decide` and `ending` are the two decisions; `ecsbatch.rollout` carries them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final, cast

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import OutcomeKind, RunStatus, SkipReason
from ecsbatch.model.plan import Plan
from ecsbatch.model.run import Halt
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Tally


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a run now: those of its plan, as changed since.

    Attributes:
        max_unavailable: servers down at once because of the run, at most.
        max_unavailable_per_domain: the same for each domain by its name; None for no such limit.
        max_failures: failures that are allowed; one more stops or pauses the run.
        max_failures_per_wave: the same for each wave, in their order; None for no such limit.
        max_failures_per_domain: the same for each domain by its name; None for no such limit.
    """

    max_unavailable: int
    max_unavailable_per_domain: Mapping[str, int] | None
    max_failures: int
    max_failures_per_wave: tuple[int, ...] | None
    max_failures_per_domain: Mapping[str, int] | None


def limits_of(plan: Plan, changed: Mapping[str, Any]) -> Limits:
    """Return a run's limits: the plan's, replaced by ``changed`` (`RolloutState.limits`)."""
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
    """A failure limit that is exceeded.

    Attributes:
        limit: the setting's name.
        failures: how many there are.
        allowed: how many are allowed.
        where: the wave or domain, "" for the whole run.
    """

    limit: str
    failures: int
    allowed: int
    where: str = ""

    def __str__(self) -> str:
        at = f" in {self.where}" if self.where else ""
        failures = "1 failure" if self.failures == 1 else f"{self.failures} failures"
        return f"{failures}{at}, {self.allowed} {'is' if self.allowed == 1 else 'are'} allowed ({self.limit})"


def breach(state: RolloutState, limits: Limits) -> Breach | None:
    """Return the first failure limit that is exceeded, None where none is: 10% of 50 allows 5, the 6th exceeds it."""
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


def exceeded(state: RolloutState) -> Breach | None:
    """Return the first failure limit of a run that is exceeded as it is now, None where none is."""
    return breach(state, limits_of(state.plan, state.limits))


@dataclass(frozen=True, slots=True)
class Ending:
    """How and why a run ends, or is stopped for now.

    Attributes:
        status, reason, message: as in `run.stopped` or `run.finished`.
        drain: True where every server under way gets its outcome first, False where only requests get their answers.
    """

    status: RunStatus
    reason: str
    message: str = ""
    drain: bool = False


def ending(state: RolloutState, halt: Halt | None, request: Ending | None, exceeded: Breach | None) -> Ending | None:
    """Return how a run must end now, None where it goes on; asked again for as long as servers are under way.

    Args:
        state: the run's state. An abort in it goes before all but an interruption.
        halt: why the engine cannot go on, None where it can; a run that is being aborted goes on all the same.
        request: the ending that somebody, a gate or the budget asks for, if any.
        exceeded: a failure limit that stops the run, if any.
    """
    if halt is not None and not state.aborting:
        return Ending(RunStatus.STOPPED, halt.reason, halt.message)
    if request is not None and (not state.aborting or request.status is RunStatus.INTERRUPTED):
        return request
    if state.aborting:
        by = f"Aborted by {state.aborted_by}." if state.aborted_by else ""
        return Ending(RunStatus.ABORTED, "aborted", by, drain=True)
    return Ending(RunStatus.STOPPED, exceeded.limit, f"{exceeded}.", drain=True) if exceeded is not None else None


_ON_THEIR_WAY: Final = frozenset({SkipReason.ALREADY_RESTARTING, SkipReason.RESTARTED_RECENTLY})
"""Reasons of servers that were left alone and, where they are down, come back by themselves."""


def awaited_until(state: RolloutState) -> float | None:
    """Return until when servers that somebody else restarts may yet free their slots, None where there are none.

    The time is in seconds since 1970, as events are stamped.
    """
    ends = [
        ended
        for i in state.held
        if (outcome := state.outcome(i)).reason in _ON_THEIR_WAY and (ended := outcome.ended_at) is not None
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
    """What a rollout does next; for ``FEED`` ``room`` is how many more servers may be offered to the engine."""

    step: Step
    room: int = 0


def decide(state: RolloutState, limits: Limits, wave: Tally, offered: int, ahead: int) -> Decision:
    """Decide how a wave goes on.

    Args:
        state: the run's state.
        limits: the run's limits now.
        wave: the tally of the wave under way.
        offered: servers that the engine has and has not submitted; each takes a slot as if it were down.
        ahead: how many of these the engine should have at most.
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
    """Return the ids of servers whose job has ended and whose health check has not passed yet."""
    if not state.plan.check:
        return []
    return [server for flight in state.flights.values() if flight.job_status for server in sorted(flight.open)]


def unhealthy_count(state: RolloutState) -> int:
    """Return how many these are, without looking at each: pictures ask for it several times a second."""
    if not state.plan.check:
        return 0
    return sum(len(flight.open) for flight in state.flights.values() if flight.job_status)


def first_unhealthy(state: RolloutState) -> str | None:
    """Return the first of them, None where there is none."""
    flights = state.flights.values() if state.plan.check else ()
    return next((min(flight.open) for flight in flights if flight.job_status and flight.open), None)


def domain_room(state: RolloutState, limits: Limits, domain: str, offered: int) -> int:
    """Return how many more servers of a domain may be offered to the engine, beside those that ``offered`` counts."""
    if limits.max_unavailable_per_domain is None:
        return limits.max_unavailable
    allowed = limits.max_unavailable_per_domain.get(domain, limits.max_unavailable)
    return allowed - state.domains[domain].down - offered


def left_out_whole(state: RolloutState, wave: int) -> bool:
    """Return True where all servers of a wave are left out, so that it is passed over."""
    tally = state.waves[wave - 1]
    return tally.ended[OutcomeKind.NOT_STARTED] == tally.total


def held_before(state: RolloutState, wave: int) -> bool:
    """Return True where somebody still has to promote a run before a wave may start.

    A hold still counts behind waves that are passed over, and so does the promotion that has let the run pass it.
    """
    first = wave - 1
    while first > 1 and left_out_whole(state, first):
        first -= 1
    return any(number in state.plan.hold_after and state.promoted <= number for number in range(first, wave))
