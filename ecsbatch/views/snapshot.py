"""One look at a run that goes on: its state and what surrounds it. Display and log are drawn from it."""

from __future__ import annotations

from dataclasses import dataclass

from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.pace import Pace, pace
from ecsbatch.policy.standing import Standing, standing


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a picture is about.

    Attributes:
        state: of the run.
        quota: servers per window.
        usage: what the ledger said last, None while it has not been asked.
        elapsed: seconds for which processes have held the run.
        notice: a sentence from whoever runs it, where it is ending or sees nothing: there is no pace then.
        repeat: flags that commands about this run need too.
        now: seconds since 1970.
        stopping: the run's process was told to stop, where this is that process.
    """

    state: RolloutState
    quota: Quota
    usage: Usage | None = None
    elapsed: float = 0.0
    notice: str = ""
    repeat: str = ""
    now: float = 0.0
    stopping: bool = False

    @property
    def standing(self) -> Standing:
        """How the run stands."""
        return standing(self.state, self.now, stopping=self.stopping)

    @property
    def pace(self) -> Pace:
        """How fast it goes on; not known while there is a notice."""
        return Pace() if self.notice else pace(self.state, self.now)
