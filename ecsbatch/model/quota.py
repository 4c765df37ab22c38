"""The quota: how many servers the cloud lets through in a window of time, and how many are left."""

from __future__ import annotations

from dataclasses import field

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.arguments import refuses_unknown


def quota_group(key: str) -> str:
    """Return the key of a quota group without the endpoint that older versions wrote before it."""
    return key.rpartition("/")[2]


@refuses_unknown()
@dataclass(frozen=True, slots=True)
class Quota:
    """How many servers the cloud lets through in any window; by default 1,000 in 60 seconds, as the API has it.

    Give less where others restart servers of the same project, too: ``Engine(quota=Quota(500, 60.0))``. Of processes
    that share a store the lowest limit holds for all, as long as the one that has it wants tokens.

    Attributes:
        limit: servers.
        window: seconds.

    Raises:
        Invalid: there is no such argument.
    """

    limit: int = 1000
    window: float = 60.0

    def __str__(self) -> str:
        return f"{self.limit}/{self.window:g}s"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the quota ledger says now.

    Attributes:
        limit: servers per window.
        held: tokens of requests without an answer.
        cooling: tokens whose request was answered less than a window ago.
        free: tokens that may be taken now.
        next_free_in: seconds until more are free, by what is known now; None where none are out.
        waited_out: nobody gets tokens until then, since requests may have been sent of which the store knows nothing.
    """

    limit: int
    held: int
    cooling: int
    free: int
    next_free_in: float | None = field(default=None)
    waited_out: bool = False
