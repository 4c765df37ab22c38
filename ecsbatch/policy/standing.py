"""How a run stands at a time: in a word for programs, in a few words for people. Pure.

Every view says it by `standing`, so that two who look at the same instant read the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ecsbatch.config.types import format_duration
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import counted, printable
from ecsbatch.policy import decide as policy

_GOING_ON: Final = frozenset({RunStatus.RUNNING, RunStatus.PAUSED})
_MESSAGE: Final = 60
"""Characters of a gate's message that stand in a line."""


class Phase(StrEnum):
    """How a run stands in a word, for programs."""

    STARTING = "starting"
    RUNNING = "running"
    CHECKING = "checking"
    SOAKING = "soaking"
    HELD = "held_for_promote"
    GATE = "gate"
    BLIND = "blind"
    THROTTLED = "throttled"
    PAUSED = "paused"
    STOPPING = "stopping"
    ABORTING = "aborting"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    ORPHANED = "orphaned"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"


CALM: Final = frozenset({Phase.STARTING, Phase.RUNNING, Phase.CHECKING, Phase.SOAKING, Phase.SUCCEEDED})
"""Nobody has to do anything about a run that stands like this."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands.

    Attributes:
        phase: for programs.
        word: for people, such as ``gate: waiting``.
        detail: what goes with it, such as ``asked 4 times, 6m left``; "" for nothing.
        until: when it is expected to change, seconds since 1970; None where that is not known.
    """

    phase: Phase
    word: str
    detail: str = ""
    until: float | None = None

    @property
    def text(self) -> str:
        """All of it, for people."""
        return f"{self.word} ({self.detail})" if self.detail else self.word


def standing(state: RolloutState, now: float, *, stopping: bool = False, held: bool = True) -> Standing:
    """Return how a run stands.

    Args:
        state: of the run.
        now: seconds since 1970.
        stopping: its process was told to stop, and waits for answers of the cloud.
        held: False where no living process holds the run.
    """
    if not held and state.status in _GOING_ON:
        return Standing(Phase.ORPHANED, "orphaned", "aborting" if state.aborting else "")
    if state.status not in _GOING_ON:
        ends = state.aborting and not state.status.over
        return Standing(Phase(state.status.value), state.status.value, "aborting" if ends else "")
    if stopping:
        return Standing(Phase.STOPPING, "stopping")
    if state.aborting or state.abort_asked_by:
        return Standing(Phase.ABORTING, "aborting", "" if state.aborting else "not confirmed yet")
    if state.status is RunStatus.PAUSED:
        return _paused(state)
    return next((found for question in _QUESTIONS if (found := question(state, now))), _RUNNING)


_RUNNING: Final = Standing(Phase.RUNNING, "running")


def _paused(state: RolloutState) -> Standing:
    if state.paused_by:
        return Standing(Phase.PAUSED, f"paused by {printable(state.paused_by)}")
    why = "" if state.reason in {"", RunStatus.PAUSED.value} else printable(state.reason)
    return Standing(Phase.PAUSED, "paused", why)


def _stopping(state: RolloutState, _: float) -> Standing | None:
    """Find a failure limit that is exceeded, so that only servers under way are waited for."""
    exceeded = policy.breach(state, policy.limits_of(state.plan, state.limits)) if state.run.waiting else None
    if exceeded is None:
        return None
    return Standing(Phase.STOPPING, "stopping", printable(str(exceeded)))


def _starting(state: RolloutState, _: float) -> Standing | None:
    """Find a run that has sent nothing yet: its servers are looked at first."""
    return None if state.last_batch or state.wave_over else Standing(Phase.STARTING, "starting")


def _blind(state: RolloutState, now: float) -> Standing | None:
    if state.unseen is None:
        return None
    since, unseen = state.unseen
    until = since + unseen.timeout
    # What stops it is a try that fails behind that time, and one may take as long as a request does.
    of = f" of {format_duration(unseen.timeout)}" if now < until else ", stops with the next try that fails"
    return Standing(Phase.BLIND, "blind", f"{_left(now, since)}{of}", until)


def _throttled(state: RolloutState, now: float) -> Standing | None:
    if state.throttled is None or (until := state.throttled[0] + state.throttled[1].wait) <= now:
        return None
    return Standing(Phase.THROTTLED, "throttled", f"{_left(until, now)} more", until)


def _barrier(state: RolloutState, now: float) -> Standing | None:
    """Find what stands between the wave that is over and the next one: soak, hold, gate; None where nothing does."""
    if not is_between_waves(state):
        return None
    until = soaks_until(state)
    if now < until:
        return Standing(Phase.SOAKING, "soaking", f"{_left(until, now)} more", until)
    if policy.held_before(state, state.wave_over + 1):
        return Standing(Phase.HELD, "held for promote")
    return _gate(state, now) if state.plan.gate else None


def is_between_waves(state: RolloutState) -> bool:
    """Tell whether a wave is over and the next one, which is not left out whole, has not begun."""
    over = state.wave_over
    return bool(over) and state.wave <= over < len(state.waves) and not policy.left_out_whole(state, over + 1)


def soaks_until(state: RolloutState) -> float:
    """Return when the soak behind the last finished wave ends, seconds since 1970; whoever takes the run soaks anew."""
    return max(state.wave_over_at, state.taken_at) + state.plan.soak


def _gate(state: RolloutState, now: float) -> Standing:
    """Say what the gate before the next wave has answered, how often it was asked and how much time it has left."""
    wait = state.gate_wait
    gate = state.gate if state.gate is not None and wait.asked and state.gate.wave == state.wave_over + 1 else None
    word = "being asked" if gate is None else _VERDICTS.get(gate.verdict, printable(gate.verdict))
    parts = [f'"{printable(gate.message.rstrip("."), _MESSAGE)}"'] if gate is not None and gate.message else []
    parts += [f"asked {counted(wait.asked, 'time')}"] if wait.asked else []
    parts += [f"{_left(wait.until, now)} left"] if wait.until is not None else []
    return Standing(Phase.GATE, f"gate: {word}", ", ".join(parts), wait.until)


_VERDICTS: Final = {"wait": "waiting", "go": "open", "stop": "closed"}


def _checking(state: RolloutState, _: float) -> Standing | None:
    """Find a run in which all that is waited for are health checks."""
    waiting = len(policy.unhealthy(state))
    if not waiting or waiting < state.run.in_flight:
        return None
    return Standing(Phase.CHECKING, "checking", f"{waiting:,} not healthy yet")


_QUESTIONS: Final[tuple[Callable[[RolloutState, float], Standing | None], ...]] = (
    *(_stopping, _blind, _starting, _barrier, _throttled, _checking),
)
"""Asked of a run that goes on, those first that hold up the most."""


def _left(until: float, now: float) -> str:
    return format_duration(max(0, round(until - now)))


def awaits_promotion(state: RolloutState) -> bool:
    """Tell whether a run waits between two waves for a person to promote it."""
    gate = state.gate
    waits = gate is not None and gate.gate == "hold" and gate.verdict == "wait" and state.promoted < gate.wave
    return waits and not state.aborting and state.status in _GOING_ON


def aborting_notice(state: RolloutState) -> str:
    """Say that a run is being ended for good, and what it waits for; "" where it is not."""
    if state.abort_asked_by and not state.aborting and not state.status.over:
        return (
            f"{printable(state.abort_asked_by)} asked to abort, which its process has not confirmed yet: "
            "until it does, requests may leave."
        )
    if not state.aborting or state.status.over:
        return ""
    asked = f" (asked by {printable(state.aborted_by)})" if state.aborted_by else ""
    under_way = state.run.in_flight
    outcomes = "gets its outcome" if under_way == 1 else "get their outcome"
    return f"Aborting{asked}: nothing new is sent, {counted(under_way, 'server')} under way {outcomes}."


def blind_notice(state: RolloutState, now: float) -> str:
    """Say for how long nothing can be seen of the cloud, and what comes of it; "" where it can, or the run is over."""
    if state.unseen is None or state.status not in _GOING_ON:
        return ""
    since, unseen = state.unseen
    why = f" The last try: {printable(unseen.message).rstrip('.')}." if unseen.message else ""
    return (
        f"Nothing can be seen of the cloud for {_left(now, since)}.{why} No server is blamed for it; the first try "
        f"that fails after {format_duration(unseen.timeout)} stops the run, and a resume goes on with it."
    )


def gate_notice(state: RolloutState, now: float) -> str:
    """Say since when a gate is waited for, what it said, and what happens when its time is over; "" for no gate."""
    how = standing(state, now)
    if how.phase is not Phase.GATE:
        return ""
    wait, plan = state.gate_wait, state.plan
    since = f" for {_left(now, wait.since)}" if wait.since else ""
    said = f": {how.word.removeprefix('gate: ')}, {how.detail}" if wait.asked else ""
    return (
        f"Wave {state.wave_over + 1} waits{since} for the gate {printable(plan.gate, _MESSAGE)} to say go{said}. "
        f"It is asked again until gate_timeout ({format_duration(plan.gate_timeout)}), then the run stops."
    )
