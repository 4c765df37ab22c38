"""What goes into the store and comes out of it: frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ecsbatch.model.events import Event, Recorded
from ecsbatch.model.servers import Fleet, Holder, OutcomeKind, RunStatus

RunKind = Literal["rollout", "direct"]

Claim = tuple[str, str]
"""A server as claims name it: its site's key and its id."""


@dataclass(frozen=True, slots=True)
class Take:
    """Tokens that are wanted of a quota group.

    Attributes:
        group: see `Site.quota_group`.
        want: the most that can be used, at least 1.
        at_least: fewer than this are not worth having; never more than ``want``.
        limit: tokens that the group has in all.
        hold: seconds after which the grant frees itself if no answer is ever written, since its process was killed:
            sending, the request's timeout, the grace for a late start, the window and its guard.
    """

    group: str
    want: int
    at_least: int
    limit: int
    hold: float

    def __post_init__(self) -> None:
        if self.want < 1:
            raise ValueError(f"A take wants at least one token, unlike {self.want}.")


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens that were granted.

    Attributes:
        id: by which it is settled.
        tokens: between ``at_least`` and ``want``.
        granted: on the ledger's clock, `Clock.monotonic`.
    """

    id: str
    tokens: int
    granted: float


@dataclass(frozen=True, slots=True)
class Room:
    """Why nothing was granted.

    Attributes:
        free: tokens that could be had, fewer than ``at_least``.
        next_in: seconds until ``at_least`` are free if nothing is settled meanwhile; None where they never are.
        in_flight: tokens of requests without an answer; their settling frees them sooner than ``next_in`` says.
    """

    free: int
    next_in: float | None
    in_flight: int


@dataclass(frozen=True, slots=True)
class Settle:
    """The end of a grant.

    Attributes:
        grant: its id.
        hold: seconds from now that its tokens still count; None refunds them at once.
    """

    grant: str
    hold: float | None


@dataclass(frozen=True, slots=True)
class Commit:
    """What one durable transaction did.

    Attributes:
        recorded: its events, those of the intent last, as the journal has them.
        grant: the tokens it took, if it wanted any and got them.
        room: why it got none, if it wanted any and did not.
    """

    recorded: tuple[Recorded, ...] = ()
    grant: Grant | None = None
    room: Room | None = None


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
class Hold:
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
