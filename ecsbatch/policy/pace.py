"""How long a run has taken, how fast it goes on, and how long the rest takes at this pace. Pure.

Pace and rest are of the time in which the run can send: no soak, no hold, no gate and no pause is in them. They come
from the run's record and the time alone, so that two viewers read the same whenever they came.
"""

from __future__ import annotations

from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Tally
from ecsbatch.policy import decide as policy
from ecsbatch.policy.quota_now import quota_now

SPAN: Final = 30.0
"""Seconds that the pace is taken over, at least: a window of the quota that is longer holds one burst of tokens."""

_TOO_SOON: Final = 3.0
"""Seconds that say nothing yet."""

_SHARE: Final = 10
"""A wave's pace says something of all that is left where the wave is a tenth of it, and a tenth of that has ended."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a run goes on.

    Attributes:
        per_minute: servers that ended lately, no more than the quota lets go on; None where that is not known.
        left: seconds of sending that the rest takes at this pace; None where that is not known.
    """

    per_minute: float | None = None
    left: float | None = None


def pace(state: RolloutState, now: float) -> Pace:
    """Return how fast a run goes on.

    Args:
        state: of the run.
        now: seconds since 1970.
    """
    since = state.ends.since
    if since is None or now - since < _TOO_SOON or not can_send(state):
        return Pace()
    quota = quota_now(state, now)
    span = SPAN if quota is None else max(SPAN, quota.window)
    ended = state.ends.within(now - span)
    if not ended:
        return Pace()
    per_minute = ended * 60 / min(now - since, span)
    if quota is not None:
        per_minute = min(per_minute, quota.limit * 60 / quota.window)
    rest = state.run.waiting + state.run.in_flight
    wave = state.waves[state.wave - 1] if 0 < state.wave <= len(state.waves) else Tally()
    known = rest and min(_SHARE * wave.total, _SHARE**2 * wave.ended.total()) >= rest
    left = rest * 60 / per_minute if known else None
    return Pace(per_minute, None if left is None or _only_stragglers(state, wave, left) else left)


def _only_stragglers(state: RolloutState, wave: Tally, left: float) -> bool:
    """Tell whether the last servers of a wave are waited for, so that few end: later ones will not go at that pace."""
    if wave.waiting:
        return False
    return state.run.waiting > 0 or left > state.plan.server_timeout


def lasted(state: RolloutState, now: float | None = None) -> float:
    """Return the seconds for which processes have held a run, up to ``now``, or to the last event for None."""
    if now is None or not state.status.goes_on:
        return state.elapsed
    return state.elapsed + max(0.0, now - state.updated_at)


def can_send(state: RolloutState) -> bool:
    """Tell whether servers are sent now.

    That a process is gone, a limit is exceeded or an abort is asked for ends it before any event says so.
    """
    if state.ends.since is None or state.status is not RunStatus.RUNNING or state.abort_asked_by:
        return False
    return not state.run.waiting or policy.exceeded(state) is None


def barriers_ahead(state: RolloutState) -> tuple[str, ...]:
    """Return what stands between a run's waves and takes time that no pace tells, where there are waves to come."""
    plan = state.plan
    if state.wave >= len(plan.waves):
        return ()
    held = any(number >= state.wave for number in plan.hold_after)
    kinds = (("soaks", plan.soak > 0), ("holds", held), ("gates", bool(plan.gate)))
    return tuple(kind for kind, there in kinds if there)
