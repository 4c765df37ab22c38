"""The pieces of a run's state: the stage of one server, the tally of many, batches in flight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import field
from enum import IntEnum
from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.events import BatchSubmitting
from ecsbatch.model.outcome import OutcomeKind


class Stage(IntEnum):
    """How far one server is; from ``RESTARTED`` on it has its outcome."""

    WAITING = 0
    SUBMITTING = 1
    ACCEPTED = 2
    UNSETTLED = 3
    RESTARTED = 4
    FAILED = 5
    TIMED_OUT = 6
    UNKNOWN = 7
    SKIPPED = 8
    LEFT_OUT = 9


KIND: Final = {
    Stage.RESTARTED: OutcomeKind.RESTARTED,
    Stage.FAILED: OutcomeKind.FAILED,
    Stage.TIMED_OUT: OutcomeKind.TIMED_OUT,
    Stage.UNKNOWN: OutcomeKind.UNKNOWN,
    Stage.SKIPPED: OutcomeKind.SKIPPED,
    Stage.LEFT_OUT: OutcomeKind.NOT_STARTED,
}
"""The outcome of each stage that is an end."""
ENDED: Final = {kind.value: stage for stage, kind in KIND.items()}
"""The stage of each outcome that can be tried again, by its word."""
_KINDS: Final = {int(stage): kind for stage, kind in KIND.items()}
_WAITING, _RESTARTED = int(Stage.WAITING), int(Stage.RESTARTED)
FAILURES: Final = frozenset(stage for stage, kind in KIND.items() if kind.is_failure)
"""The stages that count against ``max_failures``."""


@dataclass(slots=True)
class InFlightBatch:
    """A batch between its intent and its last server's outcome.

    Attributes:
        batch: its number in the run.
        servers: the ids that the request named.
        updated: their ``updated`` before the request, in the same order.
        open: those of them that have no outcome yet.
        type, site, grant, granted: the restart's type, the site's key, the quota grant's id and the time of the grant
            on the ledger's clock, as in the intent.
        submitted_at: when the intent was stored, seconds since 1970.
        cloud_time: the cloud's clock at the intent, seconds since 1970; 0 where it was not known.
        job_id: "" until the cloud answered with one.
        job_status: the job's last status, "" while the job may still tell something.
        unknown_at: when the answer was given up, seconds since 1970; None where it was not.
        begun: servers that the request does restart, as the cloud showed after it was taken for over or not carried
            out.
        by_state: those of ``begun`` of which the job says nothing new: there is none, or it has told of them before.
    """

    batch: int
    servers: Sequence[str]
    updated: Sequence[str]
    open: set[str]
    type: str
    site: str
    grant: str = ""
    submitted_at: float = 0.0
    cloud_time: float = 0.0
    job_id: str = ""
    job_status: str = ""
    unknown_at: float | None = None
    begun: set[str] = field(default_factory=set[str])
    by_state: set[str] = field(default_factory=set[str])
    granted: float = 0.0

    @classmethod
    def of(cls, event: BatchSubmitting, submitted_at: float) -> InFlightBatch:
        """Return the batch of an intent that was stored at a time in seconds since 1970."""
        return cls(
            event.batch,
            event.servers,
            event.updated,
            set(event.servers),
            event.type,
            event.site,
            event.grant,
            submitted_at,
            event.cloud_time,
            granted=event.granted,
        )

    def baselines(self) -> dict[str, str]:
        """Return each server's ``updated`` before the request, "" where it is not known."""
        return dict(zip(self.servers, self.updated, strict=False))


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request for one server that was taken for not carried out; a look may yet show that it was.

    Attributes:
        batch: its number in the run.
        updated: the server's ``updated`` before it, "" where not known.
        cloud_time: the cloud's clock at the intent, seconds since 1970; 0 where it was not known.
        job_id: of its job, where that has not told the server's end; "" where it has, or where there is none.
        refused: True where the cloud has answered that nothing was begun.
    """

    batch: int
    updated: str
    cloud_time: float
    job_id: str = ""
    refused: bool = False


@dataclass(slots=True)
class GateWait:
    """How long a gate is asked already. Records of 0.1.0 tell ``asked`` alone.

    Attributes:
        since, until: when it began to be asked, and when its time is over, seconds since 1970; None where not known.
        asked: how often it has answered since.
    """

    since: float | None = None
    until: float | None = None
    asked: int = 0


@dataclass(slots=True)
class KeptOutcome:
    """How a server failed that is to be tried again: what it ends as where it is not.

    Attributes:
        stage: how it ended.
        forgiven: true where that does not count any more.
    """

    stage: Stage
    forgiven: bool


@dataclass(slots=True)
class Tally:
    """Counts servers of one wave, one domain or the whole run.

    Attributes:
        total: servers.
        waiting, in_flight: servers without an outcome.
        held: servers with an outcome that may still be down.
        ended: servers by outcome.
        failures: failures that nobody has forgiven.
    """

    total: int = 0
    waiting: int = 0
    in_flight: int = 0
    held: int = 0
    ended: Counter[OutcomeKind] = field(default_factory=Counter[OutcomeKind])
    failures: int = 0

    @property
    def down(self) -> int:
        """How many servers take a slot of the budget."""
        return self.in_flight + self.held

    def move(self, was: int, to: int, n: int) -> None:
        """Count ``n`` servers at another stage than before."""
        if was == _WAITING:
            self.waiting -= n
        elif was < _RESTARTED:
            self.in_flight -= n
        else:
            self.ended[_KINDS[was]] -= n
        if to == _WAITING:
            self.waiting += n
        elif to < _RESTARTED:
            self.in_flight += n
        else:
            self.ended[_KINDS[to]] += n
