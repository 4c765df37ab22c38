"""The answer to why a server is not restarted yet, or what a run waits for: a cause in a word, and sentences."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Any

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.json_text import stamped


class Cause(StrEnum):
    """The cause in a word, for programs. Each is a `str`: ``cause == "soak"``."""

    NOT_OF_RUN = "not_of_run"
    """The run has no such server."""
    CLAIMED = "claimed"
    """Another run has the server."""
    RESTARTED = "restarted"
    """The server was restarted."""
    SKIPPED = "skipped"
    """The server is left alone, for a `SkipReason`."""
    FAILED = "failed"
    """The server ended as a failure."""
    OVER = "over"
    """The run is over."""
    LEFT_OUT = "left_out"
    """The run goes on, or has ended, without the server's domain."""
    STOPPING = "stopping"
    """The run's process was told to stop, and waits for answers."""
    ABORTING = "aborting"
    """Somebody ends the run for good; servers under way finish."""
    STOPPED = "stopped"
    """The run has stopped and can be resumed; where a limit, a gate or the cloud was the reason, that is the cause."""
    INTERRUPTED = "interrupted"
    """The run was broken off with its process and can be resumed."""
    ORPHANED = "orphaned"
    """The process that held the run is gone."""
    PAUSED = "paused"
    """Somebody has paused the run."""
    SUBMITTING = "submitting"
    """The server was sent, and the request's answer is awaited."""
    RESTARTING = "restarting"
    """The server is being restarted."""
    NOT_HEALTHY = "not_healthy"
    """The server has restarted, and its health check has not passed for long enough."""
    UNSETTLED = "unsettled"
    """The server's request got no answer; what it did is looked for before anything is sent again."""
    WAVE = "wave"
    """An earlier wave comes first."""
    SOAK = "soak"
    """The pause after a wave."""
    HOLD = "hold"
    """Somebody has to promote the run."""
    GATE = "gate"
    """The gate has not said go."""
    FROZEN = "frozen"
    """Somebody has frozen the store: no run of it sends anything new."""
    FAILURE_LIMIT = "failure_limit"
    """More servers have failed than are allowed."""
    CLOUD_UNREACHABLE = "cloud_unreachable"
    """Nothing can be seen of the cloud, or it did not take the last request."""
    REFUSED = "refused"
    """The cloud refused the last request, and the reason is looked for."""
    THROTTLED = "throttled"
    """The cloud has asked for a pause (429)."""
    DOMAIN_BUDGET = "domain_budget"
    """As many servers of the domain are down as may be."""
    BUDGET = "budget"
    """As many servers of the run are down as may be."""
    QUOTA = "quota"
    """No token of the quota is free."""
    QUEUED = "queued"
    """Nothing holds it: it is in line."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a server or a rollout waits for.

    Attributes:
        cause: in a word.
        text: in sentences. Ids and messages of the cloud are in it as they came: escape them for a terminal.
        until: when it is expected to change, seconds since 1970; None where that is not known.
        commands: commands of the command line that a person can run about it.
        standing: how the run stands, a word of `Phase`; "" where it was not asked about.
        standing_text: the same for people.
        frozen: the freeze of the store, whether or not that is the cause; None where there is none.
    """

    cause: Cause
    text: str
    until: float | None = None
    commands: tuple[str, ...] = ()
    standing: str = ""
    standing_text: str = ""
    frozen: Freeze | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values: the attributes by their names, ``until`` in seconds since 1970."""
        return asdict(self)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values, by the names of its attributes; ``until`` is RFC 3339 in UTC."""
        frozen = self.frozen.as_dict() if self.frozen is not None else None
        told = {"cause": self.cause.value, "until": stamped(self.until), "commands": list(self.commands)}
        return asdict(self) | told | {"frozen": frozen}
