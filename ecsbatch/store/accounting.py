"""The arithmetic of the quota, without a clock or a database.

A grant's tokens count from the moment it is given until ``free_at``. That is all: a request in flight, one that was
answered, one that was given up and one whose process was killed differ only in how ``free_at`` was reckoned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ecsbatch.model.quota import Usage
from ecsbatch.model.tokens import Shortage, TokenRequest

_SHORTEST_WAIT: Final = 0.001
"""A caller that sleeps for less may wake before the instant it waits for, by rounding, and would spin."""


@dataclass(frozen=True, slots=True)
class OutstandingGrant:
    """Tokens that are out until ``free_at``; ``settled`` where their request has ended."""

    tokens: int
    free_at: float
    settled: bool


def tokens_for(take: TokenRequest, held: int) -> int:
    """Return how many tokens a take gets while so many are held: what there is up to ``want``, or 0."""
    tokens = min(take.want, take.limit - held)
    return tokens if tokens >= _enough(take) else 0


def held_at(lent: Iterable[OutstandingGrant], now: float) -> int:
    """Return the tokens that count at an instant."""
    return sum(one.tokens for one in lent if one.free_at > now)


def shortage(take: TokenRequest, lent: Sequence[OutstandingGrant], now: float) -> Shortage:
    """Return why a take gets nothing, and when it could."""
    out = [one for one in lent if one.free_at > now]
    free = max(0, take.limit - held_at(out, now))
    return Shortage(free, _wait(take, out, now), sum(one.tokens for one in out if not one.settled))


def usage(limit: int, lent: Sequence[OutstandingGrant], now: float) -> Usage:
    """Return what a quota group's ledger says at an instant."""
    out = [one for one in lent if one.free_at > now]
    held = sum(one.tokens for one in out if not one.settled)
    # A ledger that is waited out lends out more than there is.
    cooling = min(limit, sum(one.tokens for one in out if one.settled))
    soonest = min((one.free_at for one in out), default=None)
    return Usage(limit, held, cooling, max(0, limit - held - cooling), None if soonest is None else soonest - now)


def _enough(take: TokenRequest) -> int:
    return max(1, min(take.at_least, take.want))


def _wait(take: TokenRequest, out: Sequence[OutstandingGrant], now: float) -> float | None:
    if _enough(take) > take.limit:
        return None
    held = sum(one.tokens for one in out)
    for one in sorted(out, key=lambda one: one.free_at):
        held -= one.tokens
        if take.limit - held >= _enough(take):
            return max(one.free_at - now, _SHORTEST_WAIT)
    return _SHORTEST_WAIT
