"""What a run keeps to now: its quota, or less of it for a while after a 429 that its ledger did not expect. Pure."""

from __future__ import annotations

from ecsbatch.config.types import format_duration
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.quota import Quota
from ecsbatch.model.state import RolloutState


@dataclass(frozen=True, slots=True)
class Lowered:
    """What a run keeps to for a while instead of its whole quota.

    Attributes:
        limit: servers in a window.
        until: seconds since 1970.
    """

    limit: int
    until: float


def lowered(state: RolloutState, now: float) -> Lowered | None:
    """Return what a run keeps to instead of its whole quota; None where it has all of it."""
    if state.lowered is None or state.quota is None or not state.status.goes_on:
        return None
    at, told = state.lowered
    until = at + told.seconds
    return Lowered(told.limit, until) if now < until and told.limit < state.quota.limit else None


def quota_now(state: RolloutState, now: float) -> Quota | None:
    """Return the quota that a run keeps to now; None where its record does not say."""
    less = lowered(state, now)
    return state.quota if state.quota is None or less is None else Quota(less.limit, state.quota.window)


def lowered_notice(state: RolloutState, now: float) -> str:
    """Say for how long a run keeps to less than its quota, and why; "" where it has all of it."""
    less = lowered(state, now)
    if less is None or state.quota is None:
        return ""
    left = format_duration(max(0, round(less.until - now)))
    return (
        f"The cloud said too many requests (429) although tokens were free: for another {left} no more than "
        f"{less.limit:,} servers are sent in {state.quota.window:g} s, of {state.quota.limit:,} by the quota."
    )
