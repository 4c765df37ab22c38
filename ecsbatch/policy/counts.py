"""`Counts`: how many servers of a run, a wave or a domain are how far, as a value."""

from __future__ import annotations

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.tally import Tally


@dataclass(frozen=True, slots=True)
class Counts:
    """How many servers of a group are how far.

    Each is in exactly one of ``waiting``, ``in_flight``, ``restarted``, ``failed``, ``timed_out``, ``unknown``,
    ``skipped`` and ``left_out``, so that these add up to ``total``.

    Attributes:
        total: servers of the group.
        waiting: nothing is sent for them yet.
        in_flight: they were sent, and have no outcome yet.
        restarted, failed, timed_out, unknown, skipped: they ended so, see `OutcomeKind`.
        left_out: nothing is sent for them any more; their outcome is ``not_started``.
        not_back: servers with an outcome that have not been seen up since; each keeps its slot of the budget.
        failures: of the failed, timed-out and unknown ones those that count, for nobody has forgiven them.
    """

    total: int = 0
    waiting: int = 0
    in_flight: int = 0
    restarted: int = 0
    failed: int = 0
    timed_out: int = 0
    unknown: int = 0
    skipped: int = 0
    left_out: int = 0
    not_back: int = 0
    failures: int = 0

    @classmethod
    def of(cls, tally: Tally) -> Counts:
        """Return what a tally counts now."""
        ended = tally.ended.get
        return cls(
            tally.total,
            tally.waiting,
            tally.in_flight,
            ended(OutcomeKind.RESTARTED, 0),
            ended(OutcomeKind.FAILED, 0),
            ended(OutcomeKind.TIMED_OUT, 0),
            ended(OutcomeKind.UNKNOWN, 0),
            ended(OutcomeKind.SKIPPED, 0),
            ended(OutcomeKind.NOT_STARTED, 0),
            tally.held,
            tally.failures,
        )

    @property
    def ended(self) -> int:
        """How many have their outcome."""
        return self.total - self.waiting - self.in_flight

    @property
    def down(self) -> int:
        """How many take a slot of the budget: they are in flight, or not back."""
        return self.in_flight + self.not_back

    @property
    def forgiven(self) -> int:
        """How many failures do not count any more."""
        return self.failed + self.timed_out + self.unknown - self.failures

    def as_dict(self) -> dict[str, int]:
        """Return the attributes as JSON values, with ``down``."""
        return {
            "total": self.total,
            "waiting": self.waiting,
            "in_flight": self.in_flight,
            "restarted": self.restarted,
            "failed": self.failed,
            "timed_out": self.timed_out,
            "unknown": self.unknown,
            "skipped": self.skipped,
            "left_out": self.left_out,
            "not_back": self.not_back,
            "failures": self.failures,
            "down": self.down,
        }
