"""`Stopwatch`: how long a run has taken, whatever was done to the wall clock meanwhile."""

from __future__ import annotations


class Stopwatch:
    """Counts from the first holder on; where the ledger's clock goes on from one holder to the next, by that clock."""

    def __init__(self) -> None:
        """Stand still until somebody takes the run."""
        self._before = 0.0
        self._taken: tuple[float, str, float] | None = None

    def taken(self, ts: float, boot: str, ledger_time: float) -> None:
        """A holder took the run at a stamp, when the ledger's clock of a boot read so much."""
        if self._taken is not None:
            _, last_boot, _ = self._taken
            same = boot == last_boot != "" and ledger_time > 0
            self._before = self.by_ledger(ledger_time) if same else self.by_stamp(ts)
        self._taken = ts, boot, ledger_time

    def by_stamp(self, ts: float) -> float:
        """Return the seconds up to a stamp of the present holder's."""
        return self._before + (max(0.0, ts - self._taken[0]) if self._taken else 0.0)

    def by_ledger(self, ledger_time: float) -> float:
        """Return the seconds up to what the ledger's clock reads in the present holder's boot."""
        return self._before + (max(0.0, ledger_time - self._taken[2]) if self._taken else 0.0)
