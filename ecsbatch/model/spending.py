"""Who spends a quota: what runs have in flight and cooling now, and what they spent in the last hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from ecsbatch.lazy_dataclass import dataclass

HOUR: Final = 3600.0
"""Seconds for which it is remembered what was spent."""


@dataclass(frozen=True, slots=True)
class RunSpending:
    """What one run spends of a quota, in servers that requests named.

    Attributes:
        run_id: the run; "" for tokens that are no run's.
        holder: who holds the run, or held it last; "" where that is not known.
        in_flight: tokens of requests without an answer.
        cooling: tokens whose request has ended, and that the cloud may still count.
        last_hour: tokens taken within the last hour, without those that came back unspent.
    """

    run_id: str
    holder: str
    in_flight: int
    cooling: int
    last_hour: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A process that waits for tokens of a quota.

    Attributes:
        holder: what it is called, "" where that is not known.
        wants: tokens that it could use.
    """

    holder: str
    wants: int


@dataclass(frozen=True, slots=True)
class GroupSpending:
    """What of a quota is spent, and by whom.

    Attributes:
        group: the quota group, see `Site.quota_group`.
        limit: servers in a window, as the last one who took tokens had it; None where nobody did within the hour.
        in_flight: tokens of requests without an answer.
        cooling: tokens whose request has ended, and that the cloud may still count.
        free: tokens that may be taken now; None where the limit is not known.
        next_free_in: seconds until more are free, by what is known now; None where none are out.
        waited_out: nobody gets tokens until then, since requests may have been sent of which the store knows nothing.
        last_hour: tokens taken within the last hour, without those that came back unspent.
        runs: who spends it, those with the most in the last hour first.
        waits: who waits for tokens, the next one first.
    """

    group: str
    limit: int | None
    in_flight: int
    cooling: int
    free: int | None
    next_free_in: float | None
    last_hour: int
    runs: Sequence[RunSpending] = ()
    waits: Sequence[Waiting] = ()
    waited_out: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values, by the names of its attributes."""
        told = asdict(self)
        return told | {
            "next_free_in": None if self.next_free_in is None else round(self.next_free_in, 3),
            "runs": [asdict(run) for run in self.runs],
            "waits": [asdict(waiting) for waiting in self.waits],
        }
