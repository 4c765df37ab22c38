"""How long a run has taken, even where the wall clock was set meanwhile."""

from __future__ import annotations


class Stopwatch:
    """Counts the seconds since a run's first holder took it.

    Where two holders are of one boot the time between them is taken from the ledger's clock, else from event stamps.
    """

    def __init__(self) -> None:
        """Show 0 until somebody takes the run."""
        self._before = 0.0
        self._taken: tuple[float, str, float] | None = None

    def taken(self, ts: float, boot: str, ledger_time: float) -> None:
        """Note that a holder took the run.

        Args:
            ts: when, seconds since 1970.
            boot: the boot whose monotonic clock is the ledger's, "" where not known.
            ledger_time: what that clock showed then, in seconds; 0 where not known.
        """
        if self._taken is not None:
            _, last_boot, _ = self._taken
            same = boot == last_boot != "" and ledger_time > 0
            self._before = self.by_ledger(ledger_time) if same else self.by_stamp(ts)
        self._taken = ts, boot, ledger_time

    def by_stamp(self, ts: float) -> float:
        """Return the seconds up to a time (seconds since 1970) at which the present holder stored an event."""
        return self._before + (max(0.0, ts - self._taken[0]) if self._taken else 0.0)

    def by_ledger(self, ledger_time: float) -> float:
        """Return the seconds up to a time on the ledger's clock, in the present holder's boot."""
        return self._before + (max(0.0, ledger_time - self._taken[2]) if self._taken else 0.0)
