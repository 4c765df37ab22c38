"""What goes into the store and comes out of it: frozen values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ecsbatch.model.events import Event, Recorded
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.servers import Fleet
from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest

RunKind = Literal["rollout", "direct"]

Claim = tuple[str, str]
"""A server as claims name it: its site's key and its id."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a run.

    Attributes:
        name: who: user@host, or what the embedding service calls itself.
        host, pid: where.
        since: seconds since 1970.
        boot: in which boot of the host; "" where not known.
    """

    name: str
    host: str
    pid: int
    since: float
    boot: str = ""


@dataclass(frozen=True, slots=True)
class Transaction:
    """What is written about a run in one go: all of it, durably, or nothing.

    Attributes:
        events: happened.
        take: tokens wanted; what is settled here is free for it. Where they are not to be had, the rest is done all
            the same.
        intent: what is about to be done with the grant: its events are stored with it. Called on the store's thread,
            so it must only compute.
        settle: grants that have ended.
        status: the run's from now on; one that is over frees its servers.
        claim: servers that the run takes; with a ``take``, as many of them as it got tokens, from the first on.
        unclaim: servers that it lets go.
    """

    events: Sequence[Event] = ()
    take: TokenRequest | None = None
    intent: Callable[[Grant], Sequence[Event]] | None = None
    settle: Sequence[Settlement] = ()
    status: RunStatus | None = None
    claim: Sequence[Claim] = ()
    unclaim: Sequence[Claim] = ()

    @property
    def urgent(self) -> bool:
        """True where somebody's next step waits for it."""
        return self.take is not None or bool(self.settle) or self.status is not None

    @property
    def only_tells(self) -> bool:
        """True where it writes nothing but events: what refuses it does so before anything is written."""
        return not (self.urgent or self.claim or self.unclaim)


@dataclass(frozen=True, slots=True)
class Committed:
    """What one durable transaction did.

    Attributes:
        recorded: its events, those of the intent last, as the journal has them.
        grant: the tokens it took, if it wanted any and got them.
        shortage: why it got none, if it wanted any and did not.
    """

    recorded: tuple[Recorded, ...] = ()
    grant: Grant | None = None
    shortage: Shortage | None = None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be created.

    Attributes:
        run_id: letters, digits, dot, dash and underscore, at most 64.
        kind: a ``direct`` run has no targets of its own; it claims servers while they are in flight.
        plan: the plan's JSON, without the servers.
        fleet: the frozen targets, all claimed; None for a direct run.
        events: the first of its journal.
        ignore: runs whose claims are no conflict; they keep them.
    """

    run_id: str
    kind: RunKind = "rollout"
    plan: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fleet: Fleet | None = None
    events: Sequence[Event] = ()
    ignore: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write a run's history, until another holder takes it.

    Attributes:
        run_id: whose history.
        holder: who has it.
        fence: counts the holders of this run; a lower number can write nothing any more.
        previous: the holder before, None for the first.
        recorded: the events that were stored with it.
    """

    run_id: str
    holder: Holder
    fence: int
    previous: Holder | None = None
    recorded: tuple[Recorded, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the store knows it.

    Attributes:
        run_id, kind, plan: as it was created.
        created_at: seconds since 1970.
        status: `RunStatus.ORPHANED` where it should be running or paused and no living process holds it.
        holder: the last one.
        held: True while that holder lives and has not released it.
        fence: holders so far.
        seq: the last event's number.
        total: its targets.
        counts: outcomes so far, by the words of `OutcomeKind`.
        targets_hash: see `targets_hash`.
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

    @property
    def ended(self) -> int:
        """How many targets the run is done with; what an aborted run never started is not among them."""
        return sum(number for kind, number in self.counts.items() if kind != OutcomeKind.NOT_STARTED)


@dataclass(frozen=True, slots=True)
class Command:
    """What somebody wants of a run's holder.

    Attributes:
        id: grows; the holder remembers the last it has followed.
        ts: seconds since 1970.
        who: asked for it.
        body: what is wanted.
    """

    id: int
    ts: float
    who: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """What a resume asks for beyond going on.

    Attributes:
        retry: outcome kinds whose servers wait again: ``failed``, ``timed_out``, ``unknown``.
        forgive: failures so far stop counting and give their places back.
        skip_domains: domains to whose servers nothing is sent any more; those that wait, now or later, are not started.
        limits: settings and their new values, as in a strategy.
        by: who asks.
    """

    retry: Sequence[str] = ()
    forgive: bool = False
    skip_domains: Sequence[str] = ()
    limits: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    by: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run stands when `Rollout.run` returns.

    Attributes:
        counts: servers by outcome; ``unknown`` includes those still under way, ``not_started`` the waiting.
        elapsed_s: seconds since the run's start.
    """

    run_id: str
    status: RunStatus
    reason: str
    message: str
    total: int
    counts: Mapping[OutcomeKind, int]
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a line's servers get no further: ``cloud_unreachable``, ``auth`` or ``store``."""

    reason: str
    message: str
