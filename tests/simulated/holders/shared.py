"""The database that all machines share, watched: who has which run when, and who has written what."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..witnesses import WatchedDatabase

T = TypeVar("T")

NOBODY = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """How a run's lease stood from a tick on, until the next of the run.

    Attributes:
        nonce: who has it, "" for nobody.
        until: when it ends.
    """

    tick: int
    at: float
    run_id: str
    nonce: str
    until: float


class SharedDatabase(WatchedDatabase):
    """A watched database with leases by its own clock.

    Attributes:
        leases: how they have changed.
        writer: the process that writes now; whoever makes it write says so.
        writers: who has written each row of the journal.
        nonces: which process has each nonce.
    """

    def __init__(self, ticks: itertools.count[int]) -> None:
        super().__init__(ticks, leases=True)
        self.leases: list[Lease] = []
        self.writer = -1
        self.writers: dict[int, int] = {}
        self.nonces: dict[str, int] = {}
        self._known: dict[str, tuple[str, float]] = {}
