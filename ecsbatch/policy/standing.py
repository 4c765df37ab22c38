"""How a run stands at a time: in a word for programs, in a few words for people. Pure.

Every view says it by `standing`, so that two who look at the same instant read the same.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from ecsbatch.config.types import format_duration
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import HANDED_OVER, RunStatus
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import counted, printable
from ecsbatch.policy import decide as policy
from ecsbatch.policy.barrier import Barrier, BarrierKind, barrier
from ecsbatch.policy.frozen import freeze_of, freeze_words

_MESSAGE: Final = 60
"""Characters of a gate's message that stand in a line."""


class Phase(StrEnum):
    """How a run stands in a word, for programs: what it does while it goes on, else its status."""

    STARTING = "starting"
    """Nothing is sent yet: its servers are looked at first."""
    RUNNING = RunStatus.RUNNING.value
    """Servers are restarted."""
    CHECKING = "checking"
    """All that are under way have restarted, and their health checks have not passed yet."""
    SOAKING = "soaking"
    """It pauses after a wave."""
    HELD = "held_for_promote"
    """Somebody has to promote it."""
    GATE = "gate"
    """The gate before the next wave is asked."""
    FROZEN = "frozen"
    """Somebody has frozen the store: no run of it sends anything new."""
    BLIND = "blind"
    """Nothing can be seen of the cloud."""
    THROTTLED = "throttled"
    """The cloud has asked for a pause (429)."""
    PAUSED = RunStatus.PAUSED.value
    """It was paused."""
    STOPPING = "stopping"
    """It is about to stop: servers under way are waited for."""
    ABORTING = "aborting"
    """It is being ended for good."""
    STOPPED = RunStatus.STOPPED.value
    """As the status."""
    INTERRUPTED = RunStatus.INTERRUPTED.value
    """As the status."""
    HANDED_OVER = HANDED_OVER
    """Its process has left it for another one to go on with, and none has taken it yet."""
    ORPHANED = RunStatus.ORPHANED.value
    """Its process is gone."""
    SUCCEEDED = RunStatus.SUCCEEDED.value
    """As the status."""
    FAILED = RunStatus.FAILED.value
    """As the status."""
    ABORTED = RunStatus.ABORTED.value
    """As the status."""


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
        barrier: what the next wave waits for; None where that is not what the run waits for.
    """

    phase: Phase
    word: str
    detail: str = ""
    until: float | None = None
    barrier: Barrier | None = None

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
    if not held and state.status.goes_on:
        return Standing(Phase.ORPHANED, "orphaned", "aborting" if state.aborting else "")
    if not state.status.goes_on:
        return _at_rest(state)
    if stopping:
        return Standing(Phase.STOPPING, "stopping")
    if state.aborting or state.abort_asked_by:
        return Standing(Phase.ABORTING, "aborting", "" if state.aborting else "not confirmed yet")
    if state.status is RunStatus.PAUSED:
        return _paused(state)
    return next((found for question in _QUESTIONS if (found := question(state, now))), _RUNNING)


def _at_rest(state: RolloutState) -> Standing:
    """Say how a run stands that no process goes on with."""
    ends = "aborting" if state.aborting and not state.status.over else ""
    if state.status is RunStatus.INTERRUPTED and state.reason == HANDED_OVER:
        return Standing(Phase.HANDED_OVER, "handed over", ends or "not taken yet")
    return Standing(Phase(state.status.value), state.status.value, ends)


_RUNNING: Final = Standing(Phase.RUNNING, "running")


def _paused(state: RolloutState) -> Standing:
    if state.paused_by:
        return Standing(Phase.PAUSED, f"paused by {printable(state.paused_by)}")
    return Standing(Phase.PAUSED, "paused", printable(reason_beyond(state.status, state.reason)))


def reason_beyond(status: RunStatus, reason: str) -> str:
    """Return the reason of a status where it says more than the status, or how the run stands, else ""."""
    return "" if reason in {status.value, HANDED_OVER} else reason


def _stopping(state: RolloutState, _: float) -> Standing | None:
    """Find a failure limit that is exceeded, so that only servers under way are waited for."""
    exceeded = policy.exceeded(state) if state.run.waiting else None
    if exceeded is None:
        return None
    return Standing(Phase.STOPPING, "stopping", printable(str(exceeded)))


def _frozen(state: RolloutState, now: float) -> Standing | None:
    """Find a freeze of the store while servers wait that it keeps from being sent."""
    freeze = freeze_of(state, now)
    if freeze is None or not state.run.waiting:
        return None
    return Standing(Phase.FROZEN, "frozen", freeze_words(freeze, now), freeze.until, barrier(state, now))


def _starting(state: RolloutState, _: float) -> Standing | None:
    """Find a run that has sent nothing yet: its servers are looked at first."""
    return None if state.last_batch or state.wave_over else Standing(Phase.STARTING, "starting")


def _blind(state: RolloutState, now: float) -> Standing | None:
    until = blind_until(state)
    if state.unseen is None or until is None:
        return None
    since, unseen = state.unseen
    # What stops it is a try that fails behind that time, and one may take as long as a request does.
    of = f" of {format_duration(unseen.timeout)}" if now < until else ", stops with the next try that fails"
    return Standing(Phase.BLIND, "blind", f"{_left(now, since)}{of}", until)


def blind_until(state: RolloutState) -> float | None:
    """Return from when on a try that fails stops a run that sees nothing of the cloud, seconds since 1970; or None."""
    if state.unseen is None or not state.status.goes_on:
        return None
    since, unseen = state.unseen
    return since + unseen.timeout


def _throttled(state: RolloutState, now: float) -> Standing | None:
    until = throttled_until(state, now)
    return None if until is None else Standing(Phase.THROTTLED, "throttled", f"{_left(until, now)} more", until)


def throttled_until(state: RolloutState, now: float) -> float | None:
    """Return until when the cloud, by its last 429, wants nothing to be sent, seconds since 1970; None for no wait."""
    if state.throttled is None:
        return None
    until = state.throttled[0] + state.throttled[1].wait
    return until if now < until else None


def _between_waves(state: RolloutState, now: float) -> Standing | None:
    """Find what stands between the wave that is over and the next one; None where nothing does."""
    found = barrier(state, now)
    if found is None or found.kind is BarrierKind.GATE:
        return _gate(found, now) if found else None
    if found.kind is BarrierKind.HOLD:
        return Standing(Phase.HELD, "held for promote", barrier=found)
    return Standing(Phase.SOAKING, "soaking", f"{_left(found.until or now, now)} more", found.until, found)


def _gate(gate: Barrier, now: float) -> Standing:
    """Say what a gate has answered, how often it was asked and how much time it has left."""
    word = _VERDICTS.get(gate.verdict, printable(gate.verdict)) or "being asked"
    parts = [f'"{printable(gate.message.rstrip("."), _MESSAGE)}"'] if gate.message else []
    parts += [f"asked {counted(gate.asked, 'time')}"] if gate.asked else []
    parts += [f"{_left(gate.until, now)} left"] if gate.until is not None else []
    return Standing(Phase.GATE, f"gate: {word}", ", ".join(parts), gate.until, gate)


_VERDICTS: Final = {"wait": "waiting", "go": "open", "stop": "closed"}


def _checking(state: RolloutState, _: float) -> Standing | None:
    """Find a run in which all that is waited for are health checks."""
    waiting = policy.unhealthy_count(state)
    if not waiting or waiting < state.run.in_flight:
        return None
    return Standing(Phase.CHECKING, "checking", f"{waiting:,} not healthy yet")


_QUESTIONS: Final[tuple[Callable[[RolloutState, float], Standing | None], ...]] = (
    *(_stopping, _frozen, _blind, _starting, _between_waves, _throttled, _checking),
)
"""Asked of a run that goes on, those first that hold up the most."""


def _left(until: float, now: float) -> str:
    return format_duration(max(0, round(until - now)))


def awaits_promotion(state: RolloutState) -> bool:
    """Tell whether a run waits between two waves for a person to promote it, be it paused meanwhile or not."""
    gate = state.gate
    waits = gate is not None and gate.gate == "hold" and gate.verdict == "wait" and state.promoted < gate.wave
    return waits and not state.aborting and state.status.goes_on


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
    if state.unseen is None or not state.status.goes_on:
        return ""
    since, unseen = state.unseen
    why = f" The last try: {printable(unseen.message).rstrip('.')}." if unseen.message else ""
    return (
        f"Nothing can be seen of the cloud for {_left(now, since)}.{why} No server is blamed for it; the first try "
        f"that fails after {format_duration(unseen.timeout)} stops the run, and a resume goes on with it."
    )


def failed_over_notice(state: RolloutState, now: float) -> str:
    """Say for how long nothing is sent, since the store's database has failed over; "" where that is not so."""
    at = state.failed_over_at
    would_send = state.status.goes_on and state.run.waiting and not state.aborting
    if at is None or now >= state.waited_out_until or not would_send:
        return ""
    return (
        f"The store's database failed over {_left(now, at)} ago, and may have forgotten what was sent: nothing is sent "
        f"for another {_left(state.waited_out_until, now)}, and every server is looked at again first."
    )


def gate_notice(how: Standing, now: float) -> str:
    """Say since when a gate is waited for, what it said, and what happens when its time is over; "" for no gate."""
    gate = how.barrier
    if gate is None or gate.kind is not BarrierKind.GATE:
        return ""
    since = f" for {_left(now, gate.since)}" if gate.since else ""
    said = f": {how.word.removeprefix('gate: ')}, {how.detail}" if gate.asked else ""
    return (
        f"Wave {gate.wave} waits{since} for the gate {printable(gate.gate, _MESSAGE)} to say go{said}. "
        f"It is asked again until gate_timeout ({format_duration(gate.timeout)}), then the run stops."
    )
