"""How servers and runs end, in the words that events, reports and exit codes use."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.json_text import stamped


class OutcomeKind(StrEnum):
    """How a server ended. Every target of a run ends with exactly one. Each is a `str`: ``kind == "failed"``."""

    RESTARTED = "restarted"
    """It was restarted, and is healthy where a check is set."""
    FAILED = "failed"
    """The cloud says that its restart failed, or it did not become healthy in time."""
    TIMED_OUT = "timed_out"
    """It had not come back after ``server_timeout``, and a look after that still showed no end."""
    UNKNOWN = "unknown"
    """Whether it was restarted cannot be found out; it is never sent again blindly."""
    SKIPPED = "skipped"
    """It was rightly left alone, for a `SkipReason`."""
    NOT_STARTED = "not_started"
    """Nothing was sent for it, or a request that was shown not to have begun."""

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
    """The cloud has no such server."""
    NOT_ACTIVE = "not_active"
    """It is shut off, in error or on its way to another state."""
    LOCKED = "locked"
    """A lock forbids restarts."""
    ALREADY_RESTARTING = "already_restarting"
    """Somebody else restarts it now."""
    RESTARTED_RECENTLY = "restarted_recently"
    """It has changed, or was restarted, since a time before which nobody wanted it restarted again."""
    EXCLUDED = "excluded"
    """Who asked for the run has left it out."""


class Evidence(StrEnum):
    """What an outcome is known by: the job's own report, the server's state, or a health check."""

    JOB = "job"
    """The cloud's job told it."""
    STATE = "state"
    """A look at the server showed it."""
    CHECK = "check"
    """The health check passed, or did not in time."""


class RunStatus(StrEnum):
    """How a run stands; in the last three states it is over. Each is a `str`: ``status == "running"``."""

    RUNNING = "running"
    """A process holds it and restarts its servers, or waits for what comes before the next wave."""
    PAUSED = "paused"
    """A process holds it, and sends nothing new until somebody resumes it."""
    STOPPED = "stopped"
    """A limit, a gate or a budget has ended it here; a resume goes on."""
    INTERRUPTED = "interrupted"
    """Its process was told to stop or has handed it over, or its task was cancelled; a resume goes on."""
    ORPHANED = "orphaned"
    """It should go on, and its process is gone; a resume goes on."""
    SUCCEEDED = "succeeded"
    """Every server was restarted, or rightly skipped."""
    FAILED = "failed"
    """Every server has its outcome, and at least one is a failure, or was left out."""
    ABORTED = "aborted"
    """Somebody has ended it for good: nothing resumes it."""

    @property
    def goes_on(self) -> bool:
        """True while a process holds it; it may be paused."""
        return self in {RunStatus.RUNNING, RunStatus.PAUSED}

    @property
    def over(self) -> bool:
        """True where nothing more happens by itself; only a resume goes on, and never with an aborted run."""
        return self in {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.ABORTED}


HANDED_OVER: Final = "handed_over"
"""Why a run is ``interrupted`` whose process has left it for another one to go on with."""


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
        name, domain: what it is called and where it is; "" where the run was given neither, as by an id alone.
        host: the physical host on which it failed, else the one that it was on when the plan was made; "" where nobody
            has looked.
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
    name: str = ""
    domain: str = ""
    host: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values, by the names that the report's columns have; times are RFC 3339 in UTC.

        They are ``id``, ``name``, ``outcome``, ``reason``, ``evidence``, ``error_code``, ``message``, ``job_id``,
        ``domain``, ``attempts``, ``submitted_at``, ``ended_at``, ``not_retried`` and ``host``. Texts of the cloud
        are as they came: escape them for a page.
        """
        return {
            "id": self.server,
            "name": self.name,
            "outcome": self.kind.value,
            "reason": self.reason,
            "evidence": self.evidence.value if self.evidence else "",
            "error_code": self.code,
            "message": self.message,
            "job_id": self.job_id,
            "domain": self.domain,
            "attempts": self.attempts,
            "submitted_at": stamped(self.submitted_at),
            "ended_at": stamped(self.ended_at),
            "not_retried": self.not_retried,
            "host": self.host,
        }
