"""For how long a process may trust that it still has its runs, where others take the runs of those who seem dead.

A process renews all its leases each second. One that was not renewed for `TTL` seconds, by the database's clock, is
anybody's to take: its holder is dead, or stands still. So a living holder must know by itself that it may be taken for
dead. It trusts itself only until `TRUST` seconds after it *sent* its last successful renewal, by a clock that goes on
while the machine is suspended, and not at all once a renewal has failed. Without trust nothing is sent.

There is no thread, no database and no clock here but the one that is given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Final

from ecsbatch.lazy_dataclass import dataclass

TTL: Final = 4.0
"""Seconds after its last renewal in which a lease ends, by the database's clock."""

BEAT: Final = 1.0
"""Seconds between two renewals."""

MARGIN: Final = 1.0
"""Seconds by which a holder ceases to trust itself before its lease may end: clocks run at different rates, and a
request that is about to leave takes its time."""

TRUST: Final = TTL - MARGIN
"""Seconds from when a renewal was sent for which a holder trusts itself."""

_NEVER: Final = float("-inf")


@dataclass(eq=False, slots=True)
class _Hold:
    """One run that this process has; a later hold of the same run is another one.

    Attributes:
        until: for how long it trusts that it has it, by its own clock.
        begun: false while it is still being taken.
        lost: another process has it.
    """

    until: float = _NEVER
    begun: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Beat:
    """One renewal of all leases: when it was sent, and what this process had then."""

    sent: float
    holds: Mapping[str, _Hold]


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a renewal has shown.

    Attributes:
        ours: runs whose rows have our nonce.
        others: those of the renewal's runs that another process has.
    """

    ours: Collection[str] = ()
    others: Collection[str] = ()


class LeaseKeeper:
    """Reckons for how long this process may trust that it still has its runs. Every method is safe from any thread."""

    def __init__(self, boottime: Callable[[], float]) -> None:
        """``boottime`` returns seconds that go on while the machine is suspended."""
        self._boottime = boottime
        self._mutex = threading.Lock()
        self._holds: dict[str, _Hold] = {}
        self._failing: tuple[float, str] | None = None

    def take(self, run_id: str, take: Callable[[], bool]) -> bool:
        """Call what takes a run's lease, and return what it returns; the run is trusted from the call on."""
        hold, sent = _Hold(), self._boottime()
        with self._mutex:
            # Before it is in the database: a renewal must not find a row there that nobody here knows of.
            self._holds[run_id] = hold
        try:
            hold.begun = take()
        finally:
            with self._mutex:
                if hold.begun:
                    hold.until = sent + TRUST
                elif self._holds.get(run_id) is hold:
                    del self._holds[run_id]
        return hold.begun

    def take_anew(self, run_id: str) -> None:
        """Note that a transaction takes a run anew which this process has; it is trusted once it was renewed.

        It is another hold: a renewal that is still on its way may tell of somebody who had the run in between.
        """
        with self._mutex:
            self._holds[run_id] = _Hold(begun=True)

    def drop(self, run_id: str) -> None:
        """Forget a run."""
        with self._mutex:
            self._holds.pop(run_id, None)

    def lose(self, run_id: str) -> None:
        """Note that another process has had a run: it is never trusted again."""
        with self._mutex:
            if (hold := self._holds.get(run_id)) is not None:
                hold.lost, hold.until = True, _NEVER

    def drop_all(self) -> None:
        """Forget all runs."""
        with self._mutex:
            self._holds.clear()

    def has(self, run_id: str) -> bool:
        """Return True where this process has a run, trusted or not, and knows of nobody who has taken it."""
        hold = self._holds.get(run_id)
        return hold is not None and not hold.lost

    def knows(self, run_id: str) -> bool:
        """Return True where this process has a run, takes it, or had it and has not let it go."""
        return run_id in self._holds

    def trusted(self, run_id: str) -> bool:
        """Return True while nobody else can have a run; this never waits."""
        hold = self._holds.get(run_id)
        return hold is not None and self._boottime() < hold.until

    def trust_left(self) -> float | None:
        """Return for how many seconds all runs are still trusted, 0 where one is not any more; None without runs."""
        with self._mutex:
            until = min((hold.until for hold in self._holds.values() if hold.begun), default=None)
        return None if until is None else max(0.0, until - self._boottime())

    @property
    def idle(self) -> bool:
        """True where there is nothing to renew."""
        return not self._holds

    @property
    def failing(self) -> tuple[float, str]:
        """For how many seconds no renewal has succeeded, and why; 0 and "" where the last one has."""
        if self._failing is None or self.idle:
            return 0.0, ""
        since, why = self._failing
        return self._boottime() - since, why

    def beat(self, renew: Callable[[Beat], Renewed]) -> Collection[str]:
        """Renew all leases by calling ``renew``; return what `renewed` returns.

        Raises:
            StoreError: it has failed, and nothing is trusted until the next one that does not.
        """
        beat = self.begin()
        try:
            found = renew(beat)
        except BaseException as e:
            self.failed(beat)
            since = self._failing[0] if self._failing else beat.sent
            self._failing = since, str(e).rstrip(".")
            raise
        return self.renewed(beat, found)

    def begin(self) -> Beat:
        """Begin a renewal, before it is sent."""
        with self._mutex:
            # The clock is read now and not at the answer, which may come late: the lease runs from somewhere between.
            return Beat(self._boottime(), {run_id: hold for run_id, hold in self._holds.items() if hold.begun})

    def failed(self, beat: Beat) -> None:
        """Trust nothing that was to be renewed: what others see is not known any more."""
        with self._mutex:
            for hold in beat.holds.values():
                hold.until = _NEVER

    def renewed(self, beat: Beat, found: Renewed) -> Collection[str]:
        """Trust what was renewed, and nothing else; return the runs with our nonce that nobody here knows of."""
        self._failing = None
        with self._mutex:
            for run_id, hold in beat.holds.items():
                hold.lost = hold.lost or run_id in found.others
                ours = run_id in found.ours and not hold.lost
                hold.until = max(hold.until, beat.sent + TRUST) if ours else _NEVER
            return [run_id for run_id in found.ours if run_id not in self._holds]
