"""How a run stands, in a word, in seconds and in a sentence, as all views say it."""

from __future__ import annotations

from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import counted, printable


def awaits_promotion(state: RolloutState) -> bool:
    """Tell whether a run waits between two waves for a person to promote it."""
    gate = state.gate
    waits = gate is not None and gate.gate == "hold" and gate.verdict == "wait" and state.promoted < gate.wave
    return waits and not state.aborting and state.status in {RunStatus.RUNNING, RunStatus.PAUSED}


def standing(state: RolloutState) -> str:
    """Return the word for how a run stands: its status, or what it waits for."""
    if awaits_promotion(state):
        return "held"
    return "aborting" if state.aborting and state.status is RunStatus.RUNNING else state.status.value


def lasted(state: RolloutState, now: float | None = None) -> float:
    """Return the seconds from a run's start to its end, or to now where it has none; the last event where not known."""
    if now is None or state.ended_at is not None or state.started_at is None:
        return state.elapsed
    return max(state.elapsed, now - state.started_at)


def aborting_notice(state: RolloutState) -> str:
    """Say that a run is being ended for good, and what it waits for; "" where it is not."""
    if not state.aborting or state.status.over:
        return ""
    asked = f" (asked by {printable(state.aborted_by)})" if state.aborted_by else ""
    under_way = state.run.in_flight
    outcomes = "gets its outcome" if under_way == 1 else "get their outcome"
    return f"Aborting{asked}: nothing new is sent, {counted(under_way, 'server')} under way {outcomes}."
