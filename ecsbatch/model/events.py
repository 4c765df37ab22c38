"""What can happen in a run: one frozen dataclass for each kind of event.

The journal is the stored events; state, log, display, report, ``explain``, ``audit`` and ``resume`` all read them.
One event is one line of JSON, which `encode` writes and `decode` reads::

    {"v":1,"ts":"2026-01-01T00:00:00.000Z","seq":7,"run_id":"k7f3q2","event":"batch.accepted","batch":3,"job_id":"…"}

The last line of what was stored together also has a ``head``, by which ``audit --head`` judges the record up to there.
Names and fields are a contract: fields are added, never renamed, and a reader ignores what it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter, index
from typing import Any, ClassVar

import orjson

from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.outcome import Evidence, Outcome, OutcomeKind

VERSION = 1


@dataclass(frozen=True, slots=True)
class Event:
    """A fact about a run. Lists of servers are lists of their ids; a field that a line of JSON leaves out is empty."""

    name: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """The run exists; its targets are frozen in the store. ``plan`` is the plan's JSON without the servers."""

    name: ClassVar[str] = "run.started"
    total: int = 0
    plan: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class WaveStarted(Event):
    """A wave's servers may be submitted from now on."""

    name: ClassVar[str] = "wave.started"
    wave: int = 0
    servers: int = 0
    label: str = ""


@dataclass(frozen=True, slots=True)
class BatchSubmitting(Event):
    """The intent: stored with its quota grant before the first byte of the request leaves.

    ``updated`` is each server's ``updated`` as precheck saw it, in the order of ``servers``: the baseline by which
    a request without an answer is judged. ``cloud_time`` is the cloud's clock at the intent, seconds since 1970, 0
    where not known. ``granted`` is when the tokens were granted, in seconds on the ledger's clock, which does not
    jump, and ``group`` is the quota group that they are of.
    """

    name: ClassVar[str] = "batch.submitting"
    batch: int = 0
    servers: Sequence[str] = ()
    wave: int = 0
    type: str = ""
    site: str = ""
    grant: str = ""
    updated: Sequence[str] = ()
    cloud_time: float = 0.0
    granted: float = 0.0
    group: str = ""


@dataclass(frozen=True, slots=True)
class BatchAccepted(Event):
    """The cloud answered with a job.

    ``sent`` is when the first byte left and ``answered`` when the answer came, in seconds on the ledger's clock, as
    ``granted``; 0 where the record does not say.
    """

    name: ClassVar[str] = "batch.accepted"
    batch: int = 0
    job_id: str = ""
    sent: float = 0.0
    answered: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchRejected(Event):
    """The cloud certainly did not carry the request out; its servers wait again.

    ``kind`` is ``not_sent``, ``throttled``, ``not_accepted``, ``refused`` or ``auth``; ``sent`` (0 where no byte has
    left) and ``answered`` as in `BatchAccepted`.
    """

    name: ClassVar[str] = "batch.rejected"
    batch: int = 0
    kind: str = ""
    message: str = ""
    status: int = 0
    code: str = ""
    request_id: str = ""
    sent: float = 0.0
    answered: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchUnknown(Event):
    """The request may or may not have been carried out: the servers' own states will show it.

    ``sent`` and ``answered`` (or given up) as in `BatchAccepted`.
    """

    name: ClassVar[str] = "batch.unknown"
    batch: int = 0
    message: str = ""
    status: int = 0
    code: str = ""
    request_id: str = ""
    sent: float = 0.0
    answered: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchUnstarted(Event):
    """The cloud shows that a request without an answer did not restart these servers; they wait again."""

    name: ClassVar[str] = "batch.unstarted"
    batch: int = 0
    servers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class BatchStarted(Event):
    """The cloud shows that a request which was taken for not carried out did restart these servers."""

    name: ClassVar[str] = "batch.started"
    batch: int = 0
    servers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class QuotaThrottled(Event):
    """The cloud answered 429; for ``wait`` seconds nothing is sent. Its message named ``limit`` and ``window``."""

    name: ClassVar[str] = "quota.throttled"
    wait: float = 0.0
    message: str = ""
    limit: int | None = None
    window: float | None = None


@dataclass(frozen=True, slots=True)
class QuotaDesync(Event):
    """A 429 came although tokens were free: somebody else uses the quota. For ``seconds`` our limit is lower."""

    name: ClassVar[str] = "quota.desync"
    limit: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CloudUnseen(Event):
    """Nothing can be seen of the cloud, for ``seconds`` so far; after ``timeout`` seconds of it the run stops."""

    name: ClassVar[str] = "cloud.unseen"
    seconds: float = 0.0
    timeout: float = 0.0
    message: str = ""


@dataclass(frozen=True, slots=True)
class CloudSeen(Event):
    """The cloud can be seen again, or nothing is asked of it any more."""

    name: ClassVar[str] = "cloud.seen"


@dataclass(frozen=True, slots=True)
class JobProgress(Event):
    """A look showed that more servers of a job have ended."""

    name: ClassVar[str] = "job.progress"
    batch: int = 0
    job_id: str = ""
    ended: int = 0
    running: int = 0


@dataclass(frozen=True, slots=True)
class JobFinished(Event):
    """Nothing more is to be learned from a job: all its servers have ended, or it is over or gone.

    ``status`` is the job's last status as seen, ``GONE`` where the cloud does not know the job (any more), ``UNSEEN``
    where the cloud does not show it although it shows all else.
    """

    name: ClassVar[str] = "job.finished"
    batch: int = 0
    job_id: str = ""
    status: str = ""
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ServerEvent(Event):
    """A server's outcome, of the ``kind`` that the class names.

    ``holds`` is True where the server may still be down and keeps its slot of the budget. ``not_retried`` is the
    `SkipReason` for which a server that was to be tried again was not: it has the outcome that it had before.
    """

    kind: ClassVar[OutcomeKind]
    server: str = ""
    wave: int = 0
    domain: str = ""
    batch: int = 0
    reason: str = ""
    evidence: str = ""
    code: str = ""
    message: str = ""
    job_id: str = ""
    host: str = ""
    holds: bool = False
    not_retried: str = ""

    def outcome(self, ended_at: float, attempts: int, submitted_at: float | None) -> Outcome:
        """Return the server's outcome.

        Args:
            ended_at: when this was recorded, seconds since 1970.
            attempts: requests that named the server.
            submitted_at: when the last one's intent was recorded, seconds since 1970; None where there was none.
        """
        return Outcome(
            server=self.server,
            kind=self.kind,
            reason=self.reason,
            evidence=Evidence(self.evidence) if self.evidence else None,
            code=self.code,
            message=self.message,
            job_id=self.job_id,
            attempts=attempts,
            submitted_at=submitted_at,
            ended_at=ended_at,
            not_retried=self.not_retried,
        )


@dataclass(frozen=True, slots=True)
class ServerRestarted(ServerEvent):
    """The server was restarted, and is healthy where a check is set."""

    name: ClassVar[str] = "server.restarted"
    kind: ClassVar[OutcomeKind] = OutcomeKind.RESTARTED


@dataclass(frozen=True, slots=True)
class ServerFailed(ServerEvent):
    """The cloud said that the restart failed, or the server did not become healthy in time."""

    name: ClassVar[str] = "server.failed"
    kind: ClassVar[OutcomeKind] = OutcomeKind.FAILED


@dataclass(frozen=True, slots=True)
class ServerTimedOut(ServerEvent):
    """A look after the deadline still showed no end."""

    name: ClassVar[str] = "server.timed_out"
    kind: ClassVar[OutcomeKind] = OutcomeKind.TIMED_OUT


@dataclass(frozen=True, slots=True)
class ServerUnknown(ServerEvent):
    """Whether the server was restarted cannot be found out."""

    name: ClassVar[str] = "server.unknown"
    kind: ClassVar[OutcomeKind] = OutcomeKind.UNKNOWN


@dataclass(frozen=True, slots=True)
class ServerSkipped(ServerEvent):
    """The server was rightly left alone; ``reason`` is a `SkipReason`."""

    name: ClassVar[str] = "server.skipped"
    kind: ClassVar[OutcomeKind] = OutcomeKind.SKIPPED


@dataclass(frozen=True, slots=True)
class ServerReleased(Event):
    """A look showed a server up that had kept its slot of the budget after its outcome; the outcome stays."""

    name: ClassVar[str] = "server.released"
    server: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class GateWaiting(Event):
    """From now on a gate is asked until it says go or stop; after ``timeout`` seconds the run stops."""

    name: ClassVar[str] = "gate.waiting"
    gate: str = ""
    wave: int = 0
    timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class GateChecked(Event):
    """A gate has answered: ``verdict`` is ``go``, ``wait`` or ``stop``, or ``inconclusive`` where it gave none."""

    name: ClassVar[str] = "gate.checked"
    gate: str = ""
    verdict: str = ""
    wave: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class LimitChanged(Event):
    """A limit of the run was changed while it ran, or by a resume."""

    name: ClassVar[str] = "limit.changed"
    limit: str = ""
    old: Any = None
    new: Any = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class HolderChanged(Event):
    """A process took the run; ``fence`` counts the holders so far, ``previous`` names the one before it.

    ``limit`` and ``window`` are the quota that it keeps to; with ``unknown_grace`` and ``request_timeout``, in seconds,
    ``audit`` can recompute what it did. ``boot`` names the boot within which times on the ledger's clock can be
    compared, ``ledger_time`` is what that clock showed when the run was taken, 0 where not known. ``command`` is the id
    of the last command that was given to an earlier holder, ``agreed_by`` the variable that has agreed to restarts in
    place of a person, "" for none.
    """

    name: ClassVar[str] = "holder.changed"
    holder: str = ""
    host: str = ""
    pid: int = 0
    fence: int = 0
    previous: str = ""
    limit: int = 0
    window: float = 0.0
    unknown_grace: float = 0.0
    request_timeout: float = 0.0
    boot: str = ""
    ledger_time: float = 0.0
    command: int = 0
    agreed_by: str = ""


@dataclass(frozen=True, slots=True)
class WaveFinished(Event):
    """All servers of a wave have their outcome."""

    name: ClassVar[str] = "wave.finished"
    wave: int = 0
    restarted: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class RunPaused(Event):
    """Nothing new is sent until somebody resumes the run; the holder stays."""

    name: ClassVar[str] = "run.paused"
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class RunAborting(Event):
    """Somebody ends the run for good: no holder sends anything more; servers under way still get their outcome."""

    name: ClassVar[str] = "run.aborting"
    by: str = ""


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """The run goes on. Servers whose outcome is in ``retry`` wait again, except those of ``skip_domains``.

    With ``forgive`` the failures so far no longer count and give their slots of the budget back. Nothing is sent any
    more to servers of ``skip_domains``: those that wait, now or later, are not started.

    With ``keeps_outcomes`` a server that this run has sent, and that failed, has this outcome until its next request
    has ended: where it is left alone, left out or never sent again it is what it was before. Without it, as older
    versions have it, such a server is skipped or not started.
    """

    name: ClassVar[str] = "run.resumed"
    by: str = ""
    retry: Sequence[str] = ()
    forgive: bool = False
    skip_domains: Sequence[str] = ()
    keeps_outcomes: bool = False


@dataclass(frozen=True, slots=True)
class RunStopped(Event):
    """The run stands still before its servers have their outcome: ``status`` is ``stopped`` or ``interrupted``."""

    name: ClassVar[str] = "run.stopped"
    status: str = ""
    reason: str = ""
    message: str = ""
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """The run is over: ``status`` is ``succeeded``, ``failed`` or ``aborted``."""

    name: ClassVar[str] = "run.finished"
    status: str = ""
    reason: str = ""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    elapsed_s: float = 0.0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its number and time in a run's history.

    Attributes:
        seq: its number in the run, from 1 without gaps.
        ts: when it was stored, seconds since 1970.
        run_id: the run.
        event: what happened.
    """

    seq: int
    ts: float
    run_id: str
    event: Event

    def as_dict(self) -> dict[str, Any]:
        """Return what its line of JSON says: ``v ts seq run_id event``, then the fields that are not empty."""
        kind = type(self.event)
        said = zip(_FIELDS[kind], _VALUES[kind](self.event), strict=False)
        return {
            "v": VERSION,
            "ts": stamp(self.ts),
            "seq": self.seq,
            "run_id": self.run_id,
            "event": kind.name,
            **{name: value for name, value in said if value or type(value) is int},
        }


def _known(base: type[Event]) -> dict[str, type[Event]]:
    found: dict[str, type[Event]] = {}
    for kind in base.__subclasses__():
        if kind.name:
            found[kind.name] = kind
        found |= _known(kind)
    return found


EVENTS: Mapping[str, type[Event]] = _known(Event)
"""Every class of events by the name of its events."""

_FIELDS: Mapping[type[Event], tuple[str, ...]] = {kind: tuple(f.name for f in fields(kind)) for kind in EVENTS.values()}
# For a single name attrgetter returns the bare value, no tuple: so a second name is always asked for.
_VALUES: Mapping[type[Event], Callable[[Any], tuple[Any, ...]]] = {
    kind: attrgetter(*names, "name") for kind, names in _FIELDS.items()
}


@lru_cache(maxsize=64)  # the events of one transaction share their time
def stamp(ts: float) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(ts, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(recorded: Recorded) -> bytes:
    """Return an event as one line of JSON, without its line end."""
    return json_bytes(recorded.as_dict())


def decode(line: bytes | str) -> Recorded | None:
    """Return the event that a line of JSON says, None where this version does not know events of that name.

    Raises:
        ValueError: the line is no event.
    """
    raw = orjson.loads(line)
    try:
        kind = EVENTS.get(raw["event"])
        ts = datetime.fromisoformat(raw["ts"]).timestamp()
        if kind is None:
            return None
        return Recorded(index(raw["seq"]), ts, raw["run_id"], kind(**{f: raw[f] for f in _FIELDS[kind] if f in raw}))
    except (KeyError, TypeError) as e:
        raise ValueError(f"This line is no event: {line[:80]!r}.") from e
