"""How servers and runs end, in the words that events, reports and exit codes use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class OutcomeKind(StrEnum):
    """How a server ended. Every target of a run ends with exactly one."""

    RESTARTED = "restarted"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    NOT_STARTED = "not_started"

    @property
    def is_failure(self) -> bool:
        """True where it counts as a failure, for ``max_failures`` and the like."""
        return self in {OutcomeKind.FAILED, OutcomeKind.TIMED_OUT, OutcomeKind.UNKNOWN}


RETRIED: Final = (
    *(kind.value for kind in OutcomeKind if kind.is_failure),
    OutcomeKind.NOT_STARTED.value,
    OutcomeKind.SKIPPED.value,
)
"""The outcomes whose servers can be tried again. Of the skipped those that the plan itself leaves alone cannot."""


class SkipReason(StrEnum):
    """Why a server was rightly left alone."""

    NOT_FOUND = "not_found"
    NOT_ACTIVE = "not_active"
    LOCKED = "locked"
    ALREADY_RESTARTING = "already_restarting"
    RESTARTED_RECENTLY = "restarted_recently"
    EXCLUDED = "excluded"


class Evidence(StrEnum):
    """What an outcome is known by: the job's own report, the server's state, or a health check."""

    JOB = "job"
    STATE = "state"
    CHECK = "check"


class RunStatus(StrEnum):
    """How a run stands; in the last three states it is over."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    ORPHANED = "orphaned"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def goes_on(self) -> bool:
        """True while a process holds it; it may be paused."""
        return self in {RunStatus.RUNNING, RunStatus.PAUSED}

    @property
    def over(self) -> bool:
        """True where nothing more happens by itself; only a resume goes on, and never with an aborted run."""
        return self in {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.ABORTED}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one server ended.

    Attributes:
        server: its id.
        kind: see `OutcomeKind`.
        reason: a word such as ``not_found`` or ``unhealthy``; "" where the kind says it all.
        evidence: what it is known by; None where nothing was sent.
        code, message: as the cloud gave them, "" where it gave none.
        job_id: the job that restarted it or failed to; "" where there was none.
        attempts: requests that named this server.
        submitted_at: when the last request's intent was stored, seconds since 1970; None where there was none.
        ended_at: when the outcome was stored, seconds since 1970; None where there is none yet.
        not_retried: why a server that failed has kept this outcome although it was to be tried again: a `SkipReason`,
            ``left_out``, ``aborted``, or ``waiting`` while that is still to come; "" where nobody has asked for it.
    """

    server: str
    kind: OutcomeKind
    reason: str = ""
    evidence: Evidence | None = None
    code: str = ""
    message: str = ""
    job_id: str = ""
    attempts: int = 0
    submitted_at: float | None = None
    ended_at: float | None = None
    not_retried: str = ""
