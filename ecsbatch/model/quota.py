"""The quota: servers that the cloud lets through in a window, and what is left of them."""

from __future__ import annotations

from dataclasses import dataclass, field


def quota_group(key: str) -> str:
    """Read the key of a quota group; older versions wrote the endpoint into it."""
    return key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Quota:
    """Servers that the cloud lets through in any window of so many seconds."""

    limit: int = 1000
    window: float = 60.0

    def __str__(self) -> str:
        return f"{self.limit}/{self.window:g}s"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the quota ledger says now.

    Attributes:
        limit: servers per window.
        held: tokens of requests in flight.
        cooling: tokens whose request was answered less than a window ago.
        free: what may be taken now.
        next_free_in: seconds until more is free, by what is known now; None where nothing is held.
    """

    limit: int
    held: int
    cooling: int
    free: int
    next_free_in: float | None = field(default=None)
