"""What may go wrong beyond the weather of a cloud: frozen processes, late stores, other people, odd rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

ELSEWHERE: Final = "b"
"""The key of the second site."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """A process that stands still for so long.

    Attributes:
        step: of its life's loop, from which on.
        write: the transaction of its life behind which its writer stands still, whichever process that is.
        at: the instant, where neither is given.
    """

    process: int
    seconds: float
    step: int = 0
    write: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Outsider:
    """Somebody else's restart of a server, if nothing else is under way on it then; or its repair."""

    at: float
    server: str
    seconds: float = 0.0
    hard: bool = False
    repairs: bool = False


@dataclass(frozen=True, slots=True)
class CloudTroubles:
    """What a cloud does to those who look at it.

    Attributes:
        slow_looks, slowest: the share of looks whose answer comes late, and how late at most. What they show was so
            when they reached the cloud.
        holes: the share of rows that a look leaves out.
        left_out: servers that every look leaves out.
        no_updated: servers whose rows never tell ``updated``.
        hidden: servers whose looks are refused with ``hidden_status``, for ever.
        hidden_job: the number of the job whose looks are so; 0 for none.
        outsiders: what others do to its servers.
        heals: what our restarts broke is repaired within so many seconds; 0 for never.
        denials: spans in which nobody is let in.
    """

    slow_looks: float = 0.0
    slowest: float = 0.0
    holes: float = 0.0
    left_out: frozenset[str] = frozenset()
    no_updated: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    hidden_job: int = 0
    hidden_status: int = 500
    outsiders: tuple[Outsider, ...] = ()
    heals: float = 0.0
    denials: tuple[tuple[float, float], ...] = ()

    @property
    def touches_rows(self) -> bool:
        """Whether rows are not what the cloud would show."""
        return bool(self.holes or self.left_out or self.no_updated)


@dataclass(frozen=True, slots=True)
class Troubles:
    """Everything of one world.

    Attributes:
        latest: seconds by which the store tells late, for each process.
        cloud, elsewhere: of the first site and of the second.
        checks: the share of health checks that hang, raise, break off or answer nonsense.
        gates: the same of gates; None: there is no gate.
    """

    latest: tuple[float, ...] = ()
    cloud: CloudTroubles = field(default_factory=CloudTroubles)
    elsewhere: CloudTroubles = field(default_factory=CloudTroubles)
    checks: float = 0.0
    gates: float | None = None
