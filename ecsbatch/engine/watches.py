"""What a poller watches: jobs, and bare servers where no job tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ecsbatch.engine.server_queue import Batch, Line

LOOKS_WHEN_OVER = 3
"""Looks at an ended job that leaves servers untold, before their own state has to tell: one look may be garbled."""

LOOKS_WHEN_HIDDEN = 8
"""Looks in a row at a job that cannot be shown while all else can, before its servers' own state has to tell."""


class Why(StrEnum):
    """Why a bare server is watched."""

    NO_ANSWER = "no_answer"
    NO_JOB = "no_job"
    HELD = "held"


@dataclass(eq=False, slots=True)
class JobWatch:
    """An accepted batch whose job still has something to tell.

    Attributes:
        since: loop time of the acceptance.
        pending: servers that it has not told the end of.
        size: how many there were.
        age: seconds from the acceptance to the last successful look, as it was asked.
        over: looks at a parent that had ended, or after the deadline, that left servers untold.
        overdue: servers that it showed under way after their deadline: their own state is looked at, and it once more.
        hidden: looks in a row that could not show it although the site could be seen.
        outside_since: sighted clock since which no look of it was let in for want of a good key; None while they are.
    """

    batch: Batch
    since: float
    pending: set[str]
    size: int
    age: float = 0.0
    over: int = 0
    overdue: frozenset[str] = frozenset()
    hidden: int = 0
    failures: int = 0
    outside_since: float | None = None

    def in_vain(self, *, late: bool) -> bool:
        """Tell whether it was hidden for so long that its servers' own state has to tell; ``late``: their deadline."""
        return self.hidden >= (LOOKS_WHEN_OVER if late else LOOKS_WHEN_HIDDEN)


@dataclass(eq=False, slots=True)
class ServerWatch:
    """A server whose own state has to tell: no answer came, the job told nothing, or it may still be down.

    Attributes:
        since: sighted clock from which ``unknown_grace`` counts; of a held server the number of the hold.
        looks: successful ones.
        left_out: looks in a row that left it out, or could not show it although others could be seen.
        under_way: a sign of the restart was seen.
        seen_at: loop time at which the last look was asked that said something of a held server, and its check with it.
        released: it is up, and that is being recorded.
        outside_since: as `JobWatch` has it.
        code, message: the job's own failure, which the server shares unless its state says otherwise.
    """

    line: Line
    batch: Batch | None
    server: str
    why: Why
    since: float
    looks: int = 0
    left_out: int = 0
    under_way: bool = False
    failures: int = 0
    seen_at: float = float("-inf")
    released: bool = False
    outside_since: float | None = None
    code: str = ""
    message: str = ""


def line_of(watch: JobWatch | ServerWatch) -> Line:
    """Return whose server or batch is watched."""
    return watch.line if isinstance(watch, ServerWatch) else watch.batch.line
