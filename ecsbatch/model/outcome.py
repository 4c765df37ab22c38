"""How servers and runs end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OutcomeKind(StrEnum):
    """How a server ended. Every targeted server ends with exactly one."""

    RESTARTED = "restarted"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    NOT_STARTED = "not_started"

    @property
    def is_failure(self) -> bool:
        """True where it counts against ``max_failures``."""
        return self in {OutcomeKind.FAILED, OutcomeKind.TIMED_OUT, OutcomeKind.UNKNOWN}


class SkipReason(StrEnum):
    """Why a server was left alone, rightly."""

    NOT_FOUND = "not_found"
    NOT_ACTIVE = "not_active"
    LOCKED = "locked"
    ALREADY_RESTARTING = "already_restarting"
    RESTARTED_RECENTLY = "restarted_recently"
    EXCLUDED = "excluded"


class Evidence(StrEnum):
    """What an outcome rests on: the job's word, the server's state, or a health check."""

    JOB = "job"
    STATE = "state"
    CHECK = "check"


class RunStatus(StrEnum):
    """Where a run stands; the last three are over."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    ORPHANED = "orphaned"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def over(self) -> bool:
        """True where nothing more can happen to the run."""
        return self in {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.ABORTED}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one server ended.

    Attributes:
        server: its id.
        kind: see `OutcomeKind`.
        reason: a word of ours such as ``not_found`` or ``unhealthy``; "" where the kind says it all.
        evidence: what this rests on; None where nothing was sent.
        code, message: the cloud's own, "" where it gave none.
        job_id: the job that restarted it or failed to; "" where there was none.
        attempts: requests that named this server.
        submitted_at, ended_at: seconds since 1970, None where it never was.
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
