"""For how long processes have held a run: what lies between two of them is nobody's time."""

from __future__ import annotations


class Stopwatch:
    """Sums up the lives of a run's holders, in seconds.

    A life goes from when a process took the run to when it stopped or ended it; of one that died, to its last event.
    """

    def __init__(self) -> None:
        """Show 0 until somebody takes the run."""
        self._before = 0.0
        self._taken: tuple[float, float] | None = None

    def taken(self, ts: float, ledger_time: float, heard: float) -> None:
        """Note that a process took the run.

        Args:
            ts: when, seconds since 1970.
            ledger_time: what the clock of its ledger showed then, in seconds; 0 where not known.
            heard: when the process before it stored its last event, seconds since 1970.
        """
        self._before = self.by_stamp(heard)
        self._taken = ts, ledger_time

    def left(self, ts: float, told: float) -> None:
        """Note that the holder stopped or ended the run.

        Args:
            ts: when, seconds since 1970.
            told: what `by_ledger` was for it then; older versions told the time since the run's begin, 0 for none.
        """
        self._before = min(self.by_stamp(ts), told or self.by_stamp(ts))
        self._taken = None

    def by_stamp(self, ts: float) -> float:
        """Return the seconds up to a time (seconds since 1970) at which the present holder, if any, stored an event."""
        return self._before + (max(0.0, ts - self._taken[0]) if self._taken else 0.0)

    def by_ledger(self, ledger_time: float) -> float:
        """Return the seconds up to a time on the present holder's ledger's clock, which nobody sets."""
        return self._before + (max(0.0, ledger_time - self._taken[1]) if self._taken else 0.0)
