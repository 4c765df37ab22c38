"""What can happen in a run: one frozen dataclass for each kind of event.

The journal is the stored events; state, log, display, report, ``explain``, ``audit`` and ``resume`` all read them.
The module `ecsbatch.model.recorded` says how one is stored and written. Names and fields are a contract: fields are
added, never renamed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import Evidence, Outcome, OutcomeKind


@dataclass(frozen=True, slots=True)
class Event:
    """A fact about a run.

    In all of them a server is its id, and a list of servers a list of ids. Requests of a run are numbered (``batch``)
    and so are its waves, each from 1. Times are seconds, since 1970 where that is said, else on the ledger's clock: it
    does not jump, and can be compared within one boot (see `HolderChanged`). Texts of the cloud, of gates and of people
    are as they came: escape them for a terminal or a page. A field that a line of JSON leaves out is empty.

    Attributes:
        name: what a line of JSON calls it, as its ``event``; one for each class.
    """

    name: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """The run exists; its targets are frozen in the store.

    Attributes:
        total: servers of the run.
        plan: the plan's JSON, without the servers (`Plan.to_json`).
    """

    name: ClassVar[str] = "run.started"
    total: int = 0
    plan: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class WaveStarted(Event):
    """A wave's servers may be submitted from now on.

    Attributes:
        wave: its number, from 1.
        servers: how many it has.
        label: as the strategy named it, such as ``10%``.
    """

    name: ClassVar[str] = "wave.started"
    wave: int = 0
    servers: int = 0
    label: str = ""


@dataclass(frozen=True, slots=True)
class BatchSubmitting(Event):
    """The intent: stored with its quota grant before the first byte of the request leaves.

    Attributes:
        batch: the request's number.
        servers: the ids that it names.
        wave: their wave; 0 where there are no waves.
        type: ``SOFT`` or ``HARD``.
        site: the key of the site that they are at.
        grant: the id of the quota grant.
        updated: each server's ``updated`` as precheck saw it, in the order of ``servers``: the baseline by which a
            request without an answer is judged.
        cloud_time: the cloud's clock at the intent, seconds since 1970; 0 where not known.
        granted: when the tokens were granted, seconds on the ledger's clock.
        group: the quota group that they are of.
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

    Attributes:
        batch: the request's number.
        job_id: of that job.
        sent: when the first byte left, seconds on the ledger's clock; 0 where the record does not say.
        answered: when the answer came, in the same way.
    """

    name: ClassVar[str] = "batch.accepted"
    batch: int = 0
    job_id: str = ""
    sent: float = 0.0
    answered: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchRejected(Event):
    """The cloud certainly did not carry the request out; its servers wait again.

    Attributes:
        batch: the request's number.
        kind: ``not_sent``, ``throttled``, ``not_accepted``, ``refused`` or ``auth``.
        message: what went wrong.
        status: of HTTP, 0 where there was no answer.
        code: the cloud's code of the error, such as ``Ecs.0013``; "" where there was none.
        request_id: by which the cloud's operators find the request; "" where there was no answer.
        sent: when the first byte left, seconds on the ledger's clock; 0 where none has.
        answered: when the answer came, in the same way.
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

    Attributes:
        batch: the request's number.
        message: what went wrong.
        status: of HTTP, 0 where there was no answer.
        code: the cloud's code of the error, such as ``Ecs.0013``; "" where there was none.
        request_id: by which the cloud's operators find the request; "" where there was no answer.
        sent: when the first byte left, seconds on the ledger's clock; 0 where the record does not say.
        answered: when the answer came or was given up, in the same way.
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
    """The cloud shows that a request without an answer did not restart these servers; they wait again.

    Attributes:
        batch: the request's number.
        servers: the ids of those that it did not restart.
    """

    name: ClassVar[str] = "batch.unstarted"
    batch: int = 0
    servers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class BatchStarted(Event):
    """The cloud shows that a request which was taken for not carried out did restart these servers.

    Attributes:
        batch: the request's number.
        servers: the ids of those that it did restart; they are under way again.
    """

    name: ClassVar[str] = "batch.started"
    batch: int = 0
    servers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class QuotaThrottled(Event):
    """The cloud answered 429: too many requests.

    Attributes:
        wait: seconds for which nothing is sent.
        message: what the cloud said.
        limit: servers in a window, where that message named it; else None.
        window: seconds, where it named it; else None.
    """

    name: ClassVar[str] = "quota.throttled"
    wait: float = 0.0
    message: str = ""
    limit: int | None = None
    window: float | None = None


@dataclass(frozen=True, slots=True)
class QuotaDesync(Event):
    """A 429 came although tokens were free: somebody else uses the quota, and we keep to less for a while.

    Attributes:
        limit: servers in a window that we keep to meanwhile.
        seconds: for how long.
    """

    name: ClassVar[str] = "quota.desync"
    limit: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StoreFailedOver(Event):
    """The store's database is another server from now on, which may have forgotten what was written last.

    What the holder remembers is written again before this. What nobody remembers may be a request: waiting servers of
    which the cloud says that they have changed since the run began are skipped from now on, as restarted recently.

    Attributes:
        timeline: counts the failovers, as the server names it.
        wait: seconds for which nobody gets tokens from then on, until what was forgotten cannot count any more.
    """

    name: ClassVar[str] = "store.failed_over"
    timeline: str = ""
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class CloudUnseen(Event):
    """Nothing can be seen of the cloud.

    Attributes:
        seconds: for how long so far.
        timeout: seconds of it after which the run stops.
        message: what the last try came to.
    """

    name: ClassVar[str] = "cloud.unseen"
    seconds: float = 0.0
    timeout: float = 0.0
    message: str = ""


@dataclass(frozen=True, slots=True)
class CloudSeen(Event):
    """The cloud can be seen again, or nothing is asked of it any more. It has no fields."""

    name: ClassVar[str] = "cloud.seen"


@dataclass(frozen=True, slots=True)
class JobProgress(Event):
    """A look showed that more servers of a job have ended.

    Attributes:
        batch: the request's number.
        job_id: the job.
        ended: how many of its servers have ended.
        running: how many have not.
    """

    name: ClassVar[str] = "job.progress"
    batch: int = 0
    job_id: str = ""
    ended: int = 0
    running: int = 0


@dataclass(frozen=True, slots=True)
class JobFinished(Event):
    """Nothing more is to be learned from a job: all its servers have ended, or it is over or gone.

    Attributes:
        batch: the request's number.
        job_id: the job.
        status: the job's last status as seen, ``GONE`` where the cloud does not know the job (any more), ``UNSEEN``
            where the cloud does not show it although it shows all else.
        code, message: as the cloud gave them for the whole job; "" where it gave none.
    """

    name: ClassVar[str] = "job.finished"
    batch: int = 0
    job_id: str = ""
    status: str = ""
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ServerEvent(Event):
    """A server's outcome, of the ``kind`` that the class names. Its five kinds have the same fields.

    Attributes:
        server: its id.
        wave: its wave; 0 where it is in none.
        domain: where it is; "" where not known.
        batch: the number of the request that the outcome is of; 0 where there was none.
        reason: a word such as ``unhealthy`` or a `SkipReason`; "" where the kind says it all.
        evidence: what it is known by: ``job``, ``state`` or ``check``; "" where nothing was sent.
        code, message: as the cloud gave them; "" where it gave none.
        job_id: the job that restarted it or failed to; "" where there was none.
        host: the physical host that it is on, as the cloud names it; "" where not known, and where it was restarted.
        holds: True where it may still be down and keeps its slot of the budget.
        not_retried: the `SkipReason` for which a server that was to be tried again was not: it has the outcome that it
            had before. "" where that is not so.
    """

    kind: ClassVar[OutcomeKind]
    """How the server ended."""
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
            host=self.host,
        )


@dataclass(frozen=True, slots=True)
class ServerRestarted(ServerEvent):
    """The server was restarted, and is healthy where a check is set.

    Its fields are those of `ServerEvent`.
    """

    name: ClassVar[str] = "server.restarted"
    kind: ClassVar[OutcomeKind] = OutcomeKind.RESTARTED


@dataclass(frozen=True, slots=True)
class ServerFailed(ServerEvent):
    """The cloud said that the restart failed, or the server did not become healthy in time.

    Its fields are those of `ServerEvent`.
    """

    name: ClassVar[str] = "server.failed"
    kind: ClassVar[OutcomeKind] = OutcomeKind.FAILED


@dataclass(frozen=True, slots=True)
class ServerTimedOut(ServerEvent):
    """A look after the deadline still showed no end.

    Its fields are those of `ServerEvent`.
    """

    name: ClassVar[str] = "server.timed_out"
    kind: ClassVar[OutcomeKind] = OutcomeKind.TIMED_OUT


@dataclass(frozen=True, slots=True)
class ServerUnknown(ServerEvent):
    """Whether the server was restarted cannot be found out.

    Its fields are those of `ServerEvent`.
    """

    name: ClassVar[str] = "server.unknown"
    kind: ClassVar[OutcomeKind] = OutcomeKind.UNKNOWN


@dataclass(frozen=True, slots=True)
class ServerSkipped(ServerEvent):
    """The server was rightly left alone; ``reason`` is a `SkipReason`.

    Its fields are those of `ServerEvent`.
    """

    name: ClassVar[str] = "server.skipped"
    kind: ClassVar[OutcomeKind] = OutcomeKind.SKIPPED


@dataclass(frozen=True, slots=True)
class ServerReleased(Event):
    """A server that had kept its slot of the budget after its outcome gives it back; the outcome stays.

    Attributes:
        server: its id.
        why: what a look showed: ``up``, or ``not_found`` where it does not exist any more.
    """

    name: ClassVar[str] = "server.released"
    server: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class GateWaiting(Event):
    """From now on a gate is asked until it says go or stop.

    Attributes:
        gate: the gate in words.
        wave: the number of the wave that waits for it.
        timeout: seconds after which the run stops.
    """

    name: ClassVar[str] = "gate.waiting"
    gate: str = ""
    wave: int = 0
    timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class GateChecked(Event):
    """A gate has answered, or a run waits at a hold, or somebody has promoted it.

    Attributes:
        gate: the gate in words; ``hold`` for a hold, which a person answers.
        verdict: ``go``, ``wait`` or ``stop``; ``inconclusive`` where the gate gave none of these.
        wave: the number of the wave that waits for it.
        message: what it said with that; "" for nothing.
    """

    name: ClassVar[str] = "gate.checked"
    gate: str = ""
    verdict: str = ""
    wave: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class LimitChanged(Event):
    """A limit of the run was changed while it ran, or by a resume.

    Attributes:
        limit: the name of the setting, such as ``max_unavailable``.
        old, new: its value before and from now on, in numbers of servers: one, or one for each wave (a list) or domain
            (an object by their names); None for no limit.
        by: who changed it, "" where not known.
    """

    name: ClassVar[str] = "limit.changed"
    limit: str = ""
    old: Any = None
    new: Any = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class HolderChanged(Event):
    """A process took the run.

    Attributes:
        holder: what it is called: user@host, or what the embedding service calls itself.
        host, pid: where it runs.
        fence: how many holders the run has had, with this one.
        previous: what the one before it was called, "" for the first.
        limit, window: the quota that it keeps to: servers in so many seconds.
        unknown_grace: seconds for which a request that was given up may still start a restart.
        request_timeout: seconds that it gives a request; with these ``audit`` can recompute what it did.
        boot: names the boot within which times on the ledger's clock can be compared; "" where not known.
        ledger_time: what that clock showed when the run was taken, seconds; 0 where not known.
        command: the id of the last command that was given to an earlier holder.
        agreed_by: the variable that has agreed to restarts in place of a person, "" for none.
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
    """All servers of a wave have their outcome.

    Attributes:
        wave: its number.
        restarted: how many of its servers were.
        failed: how many failures of it count: whatever their kind, but none that somebody has forgiven.
        skipped: how many of its servers were.
    """

    name: ClassVar[str] = "wave.finished"
    wave: int = 0
    restarted: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class RunPaused(Event):
    """Nothing new is sent until somebody resumes the run; the holder stays.

    Attributes:
        reason: ``paused`` where somebody has asked for it, else why, such as ``max_failures``.
        by: who has asked for it, "" for nobody.
    """

    name: ClassVar[str] = "run.paused"
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class RunFrozen(Event):
    """The run's store is frozen: no run of it sends anything new, until `RunThawed`; servers under way go on.

    The holder records it once it has noticed; another one while the first is in force replaces it.

    Attributes:
        by: who has frozen it.
        reason: why, as they said it.
        since: from when on, seconds since 1970 on the store's clock.
        until: when it ends by itself, in the same way; None: once somebody thaws it.
    """

    name: ClassVar[str] = "run.frozen"
    by: str = ""
    reason: str = ""
    since: float = 0.0
    until: float | None = None


@dataclass(frozen=True, slots=True)
class RunThawed(Event):
    """The run's store is not frozen any more.

    Attributes:
        by: who has thawed it, "" where its time was over.
    """

    name: ClassVar[str] = "run.thawed"
    by: str = ""


@dataclass(frozen=True, slots=True)
class RunAborting(Event):
    """Somebody ends the run for good: no holder sends anything more; servers under way still get their outcome.

    Attributes:
        by: who does, "" where not known.
    """

    name: ClassVar[str] = "run.aborting"
    by: str = ""


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """The run goes on.

    Attributes:
        by: who resumed it, "" where not known.
        retry: the outcomes whose servers wait again, except those of ``skip_domains``.
        forgive: True where the failures so far no longer count and give their slots of the budget back.
        skip_domains: domains to whose servers nothing is sent any more: those that wait, now or later, are not started.
        keeps_outcomes: True where a server that this run has sent, and that failed, has this outcome until its next
            request has ended: where it is left alone, left out or never sent again it is what it was before. Without
            it, as older versions have it, such a server is skipped or not started.
    """

    name: ClassVar[str] = "run.resumed"
    by: str = ""
    retry: Sequence[str] = ()
    forgive: bool = False
    skip_domains: Sequence[str] = ()
    keeps_outcomes: bool = False


@dataclass(frozen=True, slots=True)
class RunStopped(Event):
    """The run stands still before its servers have their outcome; what was seen of them meanwhile may follow it.

    Attributes:
        status: ``stopped`` or ``interrupted``.
        reason: why, in a word such as ``max_failures``.
        message: why, in a sentence.
        elapsed_s: seconds for which processes have held the run.
    """

    name: ClassVar[str] = "run.stopped"
    status: str = ""
    reason: str = ""
    message: str = ""
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """The run is over.

    Attributes:
        status: ``succeeded``, ``failed`` or ``aborted``.
        reason: why, in a word; "" where the status says it all.
        counts: servers by outcome; they add up to all servers of the run.
        elapsed_s: seconds for which processes have held the run.
        message: why, in a sentence; "" where there is nothing to say.
    """

    name: ClassVar[str] = "run.finished"
    status: str = ""
    reason: str = ""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    elapsed_s: float = 0.0
    message: str = ""


def _known(base: type[Event]) -> dict[str, type[Event]]:
    found: dict[str, type[Event]] = {}
    for kind in base.__subclasses__():
        if kind.name:
            found[kind.name] = kind
        found |= _known(kind)
    return found


EVENTS: Mapping[str, type[Event]] = _known(Event)
"""Every class of events by the name of its events."""
