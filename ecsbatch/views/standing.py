"""How long a run has taken, and how fast it goes on, as all views say it."""

from __future__ import annotations

from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.pace import Pace, barriers_ahead
from ecsbatch.views.text import format_span


def lasted(state: RolloutState, now: float | None = None) -> float:
    """Return the seconds for which processes have held a run, up to ``now``, or to the last event for None."""
    if now is None or state.status not in {RunStatus.RUNNING, RunStatus.PAUSED}:
        return state.elapsed
    return state.elapsed + max(0.0, now - state.updated_at)


def pace_parts(state: RolloutState, found: Pace) -> list[str]:
    """Write a pace, and the time that is left at it; nothing of what is not known."""
    if found.per_minute is None:
        return []
    parts = [f"{found.per_minute:,.0f} a minute"]
    if found.left is not None:
        without = f", without {' and '.join(barriers)}" if (barriers := barriers_ahead(state)) else ""
        parts.append(f"about {format_span(found.left)} left at this pace{without}")
    return parts
