"""The answer to why a server is not restarted yet, or what a run waits for: a cause in a word, and sentences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Cause(StrEnum):
    """The cause in a word, for programs."""

    NOT_OF_RUN = "not_of_run"
    CLAIMED = "claimed"
    RESTARTED = "restarted"
    SKIPPED = "skipped"
    FAILED = "failed"
    OVER = "over"
    LEFT_OUT = "left_out"
    STOPPING = "stopping"
    ABORTING = "aborting"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    ORPHANED = "orphaned"
    PAUSED = "paused"
    SUBMITTING = "submitting"
    RESTARTING = "restarting"
    NOT_HEALTHY = "not_healthy"
    UNSETTLED = "unsettled"
    WAVE = "wave"
    SOAK = "soak"
    HOLD = "hold"
    GATE = "gate"
    FAILURE_LIMIT = "failure_limit"
    CLOUD_UNREACHABLE = "cloud_unreachable"
    REFUSED = "refused"
    THROTTLED = "throttled"
    DOMAIN_BUDGET = "domain_budget"
    BUDGET = "budget"
    QUOTA = "quota"
    QUEUED = "queued"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a server or a rollout waits for.

    Attributes:
        cause: in a word.
        text: in sentences. Ids and messages of the cloud are in it as they came: escape them for a terminal.
        until: when it is expected to change, seconds since 1970; None where that is not known.
        commands: commands that a person can run about it.
        standing, standing_text: how the run stands, see `ecsbatch.policy.standing`; "" where it was not asked about.
    """

    cause: Cause
    text: str
    until: float | None = None
    commands: tuple[str, ...] = ()
    standing: str = ""
    standing_text: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)
