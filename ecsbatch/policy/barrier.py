"""What stands between the wave that is over and the next one: a soak, a hold, a gate. Pure."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.state import RolloutState
from ecsbatch.policy import decide as policy


class BarrierKind(StrEnum):
    """What the next wave waits for: time, a person, or a gate that says go."""

    SOAK = "soak"
    HOLD = "hold"
    GATE = "gate"


@dataclass(frozen=True, slots=True)
class Barrier:
    """What the next wave waits for.

    Attributes:
        kind: of the barrier; it is a soak first, then a hold, then a gate.
        wave: the number of the wave that waits.
        since: since when it waits for this one, seconds since 1970; None where the record does not say.
        until: when a soak ends, or the gate's time is over and the run stops, seconds since 1970; None for a hold, and
            where the record does not say.
        gate: the gate in words; "" for a soak or a hold, and so are the rest.
        timeout: seconds that the gate has in all.
        asked: how often it has answered.
        verdict: its last answer: ``go``, ``wait``, ``stop`` or ``inconclusive``; "" while there is none.
        message: what it said with that. As it came: escape it for a terminal.
        answered_at: when it said that, seconds since 1970.
    """

    kind: BarrierKind
    wave: int
    since: float | None = None
    until: float | None = None
    gate: str = ""
    timeout: float = 0.0
    asked: int = 0
    verdict: str = ""
    message: str = ""
    answered_at: float = 0.0


def barrier(state: RolloutState, now: float) -> Barrier | None:
    """Return what the next wave waits for, None where no wave waits or nothing stands before it.

    Args:
        state: of a run that goes on.
        now: seconds since 1970.
    """
    over, wave = state.wave_over, state.wave_over + 1
    if not over or state.wave > over or wave > len(state.waves) or policy.left_out_whole(state, wave):
        return None
    # Whoever takes the run soaks anew.
    soaks_since = max(state.wave_over_at, state.taken_at)
    soaks_until = soaks_since + state.plan.soak
    if now < soaks_until:
        return Barrier(BarrierKind.SOAK, wave, soaks_since, soaks_until)
    if policy.held_before(state, wave):
        return Barrier(BarrierKind.HOLD, wave, soaks_until)
    return _gate(state, wave) if state.plan.gate else None


def _gate(state: RolloutState, wave: int) -> Barrier:
    """Return the gate before a wave; what it said to an earlier holder does not count."""
    wait, plan = state.gate_wait, state.plan
    waits = Barrier(BarrierKind.GATE, wave, wait.since, wait.until, plan.gate, plan.gate_timeout, wait.asked)
    gate = state.gate
    if gate is None or gate.wave != wave or gate.gate == "hold" or not wait.asked:
        return waits
    return replace(waits, verdict=gate.verdict, message=gate.message, answered_at=state.gate_at)
