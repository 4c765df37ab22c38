"""The arithmetic of the quota, without a clock or a database.

A grant's tokens count from the moment of the grant until ``free_at``. That is all: a request in flight, one that was
answered, one that was given up and one whose process was killed differ only in how ``free_at`` was computed. All times
are seconds on the ledger's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ecsbatch.model.quota import Usage
from ecsbatch.model.tokens import Shortage, TokenRequest

_SHORTEST_WAIT: Final = 0.001
"""Seconds. A caller that sleeps for less may wake too early, by rounding, and would try again and again."""


@dataclass(frozen=True, slots=True)
class OutstandingGrant:
    """Tokens that count until ``free_at``; ``settled`` is True where their request has ended."""

    tokens: int
    free_at: float
    settled: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """A process that waits for tokens.

    Attributes:
        held: tokens that count for it now.
        ticket: grows in the order in which processes began to wait.
        wants: tokens that it can use.
    """

    held: int
    ticket: int
    wants: int


NO_TICKET: Final = 2**62
"""The ticket of a process that has not waited yet."""


def wanted_before(mine: Turn, others: Iterable[Turn]) -> int:
    """Return how many tokens those want whose turn is before ours: who has fewest, and of these who waits longest.

    So processes get equal shares, whatever the sizes of their batches, and none starves.
    """
    return sum(other.wants for other in others if (other.held, other.ticket) < (mine.held, mine.ticket))


def tokens_for(request: TokenRequest, held: int) -> int:
    """Return how many tokens a request gets while ``held`` are out: up to ``want``, or 0 where that is too few."""
    tokens = min(request.want, request.limit - held)
    return tokens if tokens >= _enough(request) else 0


def held_at(grants: Iterable[OutstandingGrant], now: float) -> int:
    """Return how many tokens count at an instant."""
    return sum(grant.tokens for grant in grants if grant.free_at > now)


def shortage(request: TokenRequest, grants: Sequence[OutstandingGrant], now: float) -> Shortage:
    """Return why a request gets no tokens, and when it can get some."""
    counting = [grant for grant in grants if grant.free_at > now]
    free = max(0, request.limit - held_at(counting, now))
    return Shortage(free, _wait(request, counting, now), sum(grant.tokens for grant in counting if not grant.settled))


def usage(limit: int, grants: Sequence[OutstandingGrant], now: float) -> Usage:
    """Return how much of a quota group's ``limit`` is used at an instant."""
    counting = [grant for grant in grants if grant.free_at > now]
    held = sum(grant.tokens for grant in counting if not grant.settled)
    # The row of a ledger that is waited out has more tokens than there are.
    cooling = min(limit, sum(grant.tokens for grant in counting if grant.settled))
    soonest = min((grant.free_at for grant in counting), default=None)
    return Usage(limit, held, cooling, max(0, limit - held - cooling), None if soonest is None else soonest - now)


def _enough(request: TokenRequest) -> int:
    return max(1, min(request.at_least, request.want))


def _wait(request: TokenRequest, counting: Sequence[OutstandingGrant], now: float) -> float | None:
    if _enough(request) > request.limit:
        return None
    held = sum(grant.tokens for grant in counting)
    for grant in sorted(counting, key=lambda grant: grant.free_at):
        held -= grant.tokens
        if request.limit - held >= _enough(request):
            return max(grant.free_at - now, _SHORTEST_WAIT)
    return _SHORTEST_WAIT
