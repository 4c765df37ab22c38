"""The arithmetic of the quota, without a clock or a database.

A grant's tokens count from the moment of the grant until ``free_at``. That is all: a request in flight, one that was
answered, one that was given up and one whose process was killed differ only in how ``free_at`` was computed. All times
are seconds on the ledger's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.quota import Usage
from ecsbatch.model.tokens import Shortage, TokenRequest

ALL_TOKENS: Final = 2**40
"""Tokens of a grant that leaves none to anybody, for a ledger that is waited out."""

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
    """A process that wants tokens now.

    Attributes:
        held: tokens that count for it now.
        ticket: grows in the order in which processes began to wait.
        wants: tokens that it can use besides.
        limit: tokens that the group has in all, as this process has it.
    """

    held: int
    ticket: int
    wants: int
    limit: int

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands: who has fewest comes first, and of these who waits longest."""
        return self.held, self.ticket


NO_TICKET: Final = 2**62
"""The ticket of a process that does not wait: it has just begun, or has just been served."""

_LEAST_OF_A_SHARE: Final = 4
"""A request that is smaller than one share by this factor is worth sending while others wait."""


def share(limit: int, held: int, turns: Sequence[Turn]) -> int:
    """Return how many tokens each process may have of those that ``turns`` divide among themselves.

    All get the same, but who can use fewer: what that one leaves the others divide. What is ``held`` by processes that
    want no more is nobody's until it is free again.
    """
    rest = limit - held + sum(turn.held for turn in turns)
    uses = sorted(turn.held + turn.wants for turn in turns)
    for position, use in enumerate(uses):
        even = rest / (len(uses) - position)
        if use >= even:
            return max(0, int(even))
        rest -= use
    return limit


def in_turn(request: TokenRequest, held: int, mine: Turn, others: Sequence[Turn]) -> tuple[int, TokenRequest]:
    """Return how many tokens a request gets while ``held`` are out and ``others`` want some, too.

    So processes get equal shares, whatever the sizes of their batches, and none starves: those before us are left what
    their shares lack. Where processes differ in the limit, the lowest is everybody's as long as its process waits.

    Returns:
        The tokens, and the request as it was judged.
    """
    if not others:
        return tokens_for(request, held), request
    limit = min(request.limit, *(other.limit for other in others))
    fair = share(limit, held, [mine, *others])
    lacks = fair - mine.held
    theirs = [(other.place, min(other.wants, max(0, fair - other.held))) for other in others]
    # What cannot be divided goes with what is; and rather a few above our share than tokens that nobody takes.
    least = min(_enough(request), max(1, fair // _LEAST_OF_A_SHARE))
    most = min(request.want, max(lacks, least, limit - held - sum(lack for _, lack in theirs)))
    request = replace(request, want=most, limit=limit, at_least=min(least, lacks) if lacks > 0 else least)
    before = sum(lack for place, lack in theirs if place < mine.place)
    return tokens_for(request, held + before), request


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
    waited_out = waited_out_until(counting, now)
    soonest = waited_out or _more_at(limit, counting)
    next_free_in = None if soonest is None else soonest - now
    return Usage(limit, held, cooling, max(0, limit - held - cooling), next_free_in, waited_out=bool(waited_out))


def _more_at(limit: int, counting: Sequence[OutstandingGrant]) -> float | None:
    """Return when more is free: of what is beyond a limit that was lowered meanwhile the first are not."""
    held = sum(grant.tokens for grant in counting)
    for grant in sorted(counting, key=lambda grant: grant.free_at):
        held -= grant.tokens
        if held < limit or not limit:
            return grant.free_at
    return None


def waited_out_until(grants: Iterable[OutstandingGrant], now: float) -> float:
    """Return until when nobody gets tokens, whatever else is out; 0 where the ledger is not waited out."""
    return max((grant.free_at for grant in grants if grant.tokens >= ALL_TOKENS and grant.free_at > now), default=0.0)


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
