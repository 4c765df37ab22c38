"""How long a run takes, as all views say it."""

from __future__ import annotations

from ecsbatch.model.state import RolloutState


def lasted(state: RolloutState, now: float | None = None) -> float:
    """Return the seconds from a run's start to its end, or to now where it has none; the last event where not known."""
    if now is None or state.ended_at is not None or state.started_at is None:
        return state.elapsed
    return max(state.elapsed, now - state.started_at)
