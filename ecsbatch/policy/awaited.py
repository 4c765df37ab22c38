"""What a script waits for of a run, and whether that has come. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.standing import Phase, standing

_WAVE: Final = re.compile(r"wave:([1-9][0-9]{0,8})")

_NEEDS_SOMEBODY: Final = frozenset({Phase.PAUSED, Phase.HELD, Phase.FROZEN})
"""How a run stands that a process holds, and that goes on once somebody has done something."""


class AwaitedKind(StrEnum):
    """What is waited for."""

    FINISHED = "finished"
    """The run is over for good."""
    STOPPED = "stopped"
    """It stands still: it is over or was stopped, or nothing is under way or sent until somebody does something."""
    WAVE = "wave"
    """One of its waves is over."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """What is waited for, by its text such as ``wave:2``.

    Attributes:
        kind: finished, stopped or a wave.
        wave: the number of the wave, 0 where none is waited for.
    """

    kind: AwaitedKind
    wave: int = 0

    @classmethod
    def parse(cls, text: str) -> Awaited:
        """Read it.

        Raises:
            ValueError: it is nothing that can be waited for.
        """
        if match := _WAVE.fullmatch(text):
            return cls(AwaitedKind.WAVE, int(match[1]))
        if text in {AwaitedKind.FINISHED, AwaitedKind.STOPPED}:
            return cls(AwaitedKind(text))
        raise ValueError(text)

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.wave}" if self.wave else self.kind.value


def has_come(awaited: Awaited, state: RolloutState, now: float) -> bool:
    """Tell whether a run that may go on is where it was waited for; one that has come to rest goes no further.

    Args:
        awaited: what is waited for.
        state: of the run.
        now: seconds since 1970.
    """
    if awaited.kind is AwaitedKind.WAVE:
        return state.wave_over >= awaited.wave
    if awaited.kind is AwaitedKind.FINISHED:
        return state.status.over
    return standing(state, now).phase in _NEEDS_SOMEBODY and not state.run.in_flight
