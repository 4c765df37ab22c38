"""What is written down of a played world, for whoever judges it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ecsbatch.model.outcome import Outcome
from ecsbatch.model.run import Result
from ecsbatch.simulator.fleet import server_ids

from .troubled_cloud import TroubledCloud
from .troubles import ELSEWHERE
from .witnesses import FOREVER, Foreign, Ordered, WatchedDatabase
from .world import Ask, World


@dataclass(slots=True)
class End:
    """How a run ended in a life: a `Result`, or what its `run` raised."""

    life: int
    run_id: str
    how: Result | BaseException
    doomed: bool
    at: float = FOREVER


@dataclass(slots=True)
class Told:
    """What a caller of `Restarter.restart` was told, and the world's time at the question and at the answer.

    Attributes:
        cancelled: the caller gave up waiting.
    """

    life: int
    ask: Ask
    asked: float
    heard: float
    how: Outcome | BaseException
    doomed: bool
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Frozen:
    """A span in which a process stood still while everything else went on."""

    process: int
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Claimed:
    """A server that a direct run had when nobody asked its process for anything any more."""

    tick: int
    at: float
    run_id: str
    server: str


@dataclass
class Record:
    """Everything that the checker may read.

    Attributes:
        cloud: the first site's.
        clouds: each site's, by its key.
        commands: every command that was stored, by whomever.
        foreign: restarts by others.
        hidden: jobs and servers that can never be looked at.
        no_updated: some rows tell no ``updated``.
        dimensions: by which dimensions its world was drawn.
        claimed: what direct runs had before they were closed.
        calm_at: when the weather cleared for good.
    """

    world: World
    cloud: TroubledCloud
    database: WatchedDatabase
    clouds: dict[str, TroubledCloud] = field(default_factory=dict[str, TroubledCloud])
    commands: list[Ordered] = field(default_factory=list[Ordered])
    freezes: list[Frozen] = field(default_factory=list[Frozen])
    foreign: list[Foreign] = field(default_factory=list[Foreign])
    hidden: set[str] = field(default_factory=set[str])
    no_updated: bool = False
    dimensions: str = "old"
    ends: list[End] = field(default_factory=list[End])
    told: list[Told] = field(default_factory=list[Told])
    complaints: list[str] = field(default_factory=list[str])
    tally: Counter[str] = field(default_factory=Counter[str])
    steps: list[int] = field(default_factory=list[int])
    writes: list[int] = field(default_factory=list[int])
    claimed: list[Claimed] = field(default_factory=list[Claimed])
    calm_at: float = FOREVER
    finished_at: float = 0.0

    def __post_init__(self) -> None:
        other = self.world.elsewhere
        self._elsewhere = frozenset(server_ids(other.seed, other.servers)) if other is not None else frozenset[str]()

    def site_of(self, server: str) -> str:
        """Return the key of a server's site."""
        return ELSEWHERE if server in self._elsewhere else ""

    def note(self, what: str) -> None:
        """Count something that was played."""
        self.tally[what] += 1
