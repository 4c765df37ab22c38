"""What is said about runs: to the store, by the store, and by whoever resumes one. Frozen values.

Read `Transaction` first: everything that is ever written about a run goes through one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, cast

from ecsbatch.errors import Invalid, RecordEdited
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.arguments import refuses_unknown
from ecsbatch.model.events import Event
from ecsbatch.model.json_text import stamp, stamped
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.plan import Plan
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.text import printable
from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest

RunKind = Literal["rollout", "direct"]

Claim = tuple[str, str]
"""A server as claims name it: its site's key and its id."""


# What the store takes and gives back


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a run: the only one that may write to it.

    Attributes:
        name: user@host, or what the embedding service calls itself.
        host, pid: where the process runs.
        since: when it took the run, seconds since 1970.
        boot: the boot of the host, whose monotonic clock all its processes share; "" where not known.
        agreed_by: the variable that has agreed to restarts in place of a person, "" for none.
    """

    name: str
    host: str
    pid: int
    since: float
    boot: str = ""
    agreed_by: str = ""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be created.

    Attributes:
        run_id: up to 64 letters, digits, dots, dashes and underscores.
        kind: a ``direct`` run has no targets of its own; it claims servers while they are in flight.
        plan: the plan's JSON, without the servers.
        fleet: the frozen targets, all of which are claimed; None for a direct run.
        events: the first events of its journal.
        ignore: ids of runs whose claims are no conflict; those servers stay with them.
    """

    run_id: str
    kind: RunKind = "rollout"
    plan: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fleet: Fleet | None = None
    events: Sequence[Event] = ()
    ignore: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a run, until another holder takes the run.

    Attributes:
        run_id: the run.
        holder: the process that may write.
        fence: counts the holders of this run; whoever has a lower number can write nothing any more.
        previous: the holder before, None for the first.
        recorded: the events that were stored when the run was created.
    """

    run_id: str
    holder: Holder
    fence: int
    previous: Holder | None = None
    recorded: tuple[Recorded, ...] = ()


@dataclass(frozen=True, slots=True)
class Transaction:
    """What is written about a run in one go: all of it, durably, or nothing.

    Attributes:
        events: what has happened.
        take: tokens wanted. What ``settle`` frees can be taken at once; where there are not enough, all the rest is
            written nevertheless.
        wanted: tells whether the tokens are of use still, asked when they are about to be taken: the database may have
            been away for a while. Called on the store's thread, so it must only compare; None: they are.
        intent: returns the events that say what the grant is for; they are stored with it. Called on the store's
            thread, so it must only compute.
        settle: grants that have ended.
        status: the run's status from now on; a run that is over frees its servers.
        claim: servers that the run takes; with ``take`` the first of them, as many as it got tokens.
        unclaim: servers that the run frees.
    """

    events: Sequence[Event] = ()
    take: TokenRequest | None = None
    wanted: Callable[[], bool] | None = None
    intent: Callable[[Grant], Sequence[Event]] | None = None
    settle: Sequence[Settlement] = ()
    status: RunStatus | None = None
    claim: Sequence[Claim] = ()
    unclaim: Sequence[Claim] = ()

    @property
    def urgent(self) -> bool:
        """True where the caller waits for it before it goes on."""
        return self.take is not None or bool(self.settle) or self.status is not None

    @property
    def only_tells(self) -> bool:
        """True where it writes nothing but events: it can only be refused before anything is written."""
        return not (self.urgent or self.claim or self.unclaim)


@dataclass(frozen=True, slots=True)
class Committed:
    """What one durable transaction did.

    Attributes:
        recorded: its events as the journal has them, those of the intent last.
        grant: the tokens that it got, None where it wanted or got none.
        shortage: why it got none, None where it wanted none or got some.
    """

    recorded: tuple[Recorded, ...] = ()
    grant: Grant | None = None
    shortage: Shortage | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the store knows it.

    Attributes:
        run_id: its id.
        kind: ``rollout``, or ``direct`` for a run of single restarts.
        created_at: seconds since 1970.
        status: `RunStatus.ORPHANED` where it should be running or paused and no living process holds it.
        holder: the last one.
        held: True while that holder lives and has not released the run.
        fence: how many holders it has had.
        seq: the number of its last event.
        total: how many targets it has.
        counts: outcomes so far, by the words of `OutcomeKind`.
        targets_hash: the SHA-256 of its servers in whatever order, see `Plan.targets`.
        plan: the plan's JSON without the servers, see `Plan.to_json`.
        lease_left: seconds until the holder's lease ends unless it is renewed before; negative: it has run out; None
            where no lease by time says who lives, as in a store that is a file.
    """

    run_id: str
    kind: RunKind
    created_at: float
    status: RunStatus
    holder: Holder
    held: bool
    fence: int
    seq: int
    total: int
    counts: Mapping[str, int]
    targets_hash: str
    plan: Mapping[str, Any]
    lease_left: float | None = None

    @property
    def ended(self) -> int:
        """How many targets have their outcome, without those that an aborted run never started."""
        return sum(number for kind, number in self.counts.items() if kind != OutcomeKind.NOT_STARTED)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values, without its plan; times are RFC 3339 in UTC.

        ``holder``, ``pid``, ``host`` and ``since`` are the last holder's.
        """
        return {
            "run_id": self.run_id,
            "kind": self.kind,
            "status": self.status.value,
            "created_at": stamp(self.created_at),
            "total": self.total,
            "counts": dict(self.counts),
            "seq": self.seq,
            "held": self.held,
            "holder": self.holder.name,
            "pid": self.holder.pid,
            "host": self.holder.host,
            "since": stamp(self.holder.since),
            "lease_left": None if self.lease_left is None else round(self.lease_left, 3),
        }

    def plan_of(self, fleet: Fleet) -> Plan:
        """Return the run's plan; ``fleet`` is its targets.

        Raises:
            RecordEdited: somebody has edited it, and it is no plan any more.
        """
        try:
            return Plan.from_json(self.plan, fleet)
        except ValueError as e:
            raise RecordEdited(
                f"The plan of run {self.run_id} was not written by ecsbatch and cannot be read "
                f"({printable(str(e).rstrip('.'))}): restore the store from a copy of before.",
                run_id=self.run_id,
            ) from e


@dataclass(frozen=True, slots=True)
class Command:
    """What somebody asks of a run's holder, such as to pause.

    Attributes:
        id: grows from command to command; the holder remembers the last one that it has followed.
        ts: when it was asked, seconds since 1970.
        who: who asked.
        body: what is asked for, as `ecsbatch.model.commands.asked_for` reads it.
    """

    id: int
    ts: float
    who: str
    body: Mapping[str, Any]


# What a rollout is asked for, and how it ends


def _is(kind: type[Any]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind)


def _is_number_or_none(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _are_texts(value: object) -> bool:
    listed = isinstance(value, Collection) and not isinstance(value, str | bytes)
    return listed and all(isinstance(each, str) for each in cast("Collection[object]", value))


@refuses_unknown()
@dataclass(frozen=True, slots=True)
class Changes:
    """What a resume asks for beyond going on; see `Restarter.resume`.

        rollout = await restarter.resume(run_id, changes=Changes(retry=["failed", "timed_out"], by="alice"))
        result = await rollout.run()

    Attributes:
        retry: outcome kinds whose servers are to be tried again: ``failed``, ``timed_out``, ``unknown``,
            ``not_started`` (those that were left out), ``skipped`` (but those that the plan itself leaves alone).
        forgive: failures so far stop counting and give their slots of the budget back.
        skip_domains: domains to whose servers nothing is sent any more; those that wait, now or later, are not started.
        limits: limits and their new values, by the names and in the forms that a `Strategy` has them, such as
            ``{"max_failures": "5%"}``.
        by: who asks, for the record.
        stays_paused: a run that was paused when its last process ended stays so, and is only held again.
        as_of: the number of the run's last event, by which it was decided to go on; where others have come since, such
            as that somebody has stopped it, `RunConflict` is raised. None: however far it is.

    Raises:
        Invalid: a value is of the wrong type, or there is no such argument.
    """

    retry: Sequence[str] = ()
    forgive: bool = False
    skip_domains: Sequence[str] = ()
    limits: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    by: str = ""
    stays_paused: bool = False
    as_of: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is of another type: a text in place of a list would be taken for its letters."""
        for name, is_good, expected in (
            ("retry", _are_texts, "a list of outcomes"),
            ("forgive", _is(bool), "True or False"),
            ("skip_domains", _are_texts, "a list of domains"),
            ("limits", _is(Mapping), "limits by their names"),
            ("by", _is(str), "a name"),
            ("stays_paused", _is(bool), "True or False"),
            ("as_of", _is_number_or_none, "the number of an event, or None"),
        ):
            if not is_good(getattr(self, name)):
                given = printable(repr(getattr(self, name)))
                raise Invalid(f"{name} = {given}: give {expected}.", field=name, value=given, expected=expected)


@dataclass(frozen=True, slots=True)
class Result:
    """How a run stands when `Rollout.run` or `Rollout.result` returns: it is over, or has stopped and can be resumed.

    Attributes:
        run_id: the run.
        status: how it stands; ``status.over`` tells whether anything is left to resume.
        reason, message: why, in a word such as ``max_failures`` and in a sentence; "" where the status says it all.
        total: how many targets it has.
        counts: servers by outcome; ``unknown`` includes those still under way, ``not_started`` the waiting.
        elapsed_s: seconds for which processes have held the run.
        not_found: targets that do not exist; they are skipped, and the status does not tell of them.
        began_at: when it began, seconds since 1970; None where it has not.
    """

    run_id: str
    status: RunStatus
    reason: str
    message: str
    total: int
    counts: Mapping[OutcomeKind, int]
    elapsed_s: float
    not_found: Sequence[str] = ()
    began_at: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values, by the names of `Progress.as_dict`: each outcome has its count beside the rest."""
        return {
            "run_id": self.run_id,
            "status": self.status.value,
            "reason": self.reason,
            "message": self.message,
            "total": self.total,
            **{kind.value: number for kind, number in self.counts.items()},
            "elapsed_s": round(self.elapsed_s, 3),
            "began_at": stamped(self.began_at),
            "not_found": list(self.not_found),
        }


@dataclass(frozen=True, slots=True)
class Halt:
    """Why no more servers of a queue can be restarted: ``cloud_unreachable``, ``auth`` or ``store``."""

    reason: str
    message: str
