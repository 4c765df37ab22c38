"""What follows a submit without a job id, and how long to pause: pure decisions. Read `after_submit` first."""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import Final

from ecsbatch.errors import AuthError, CloudError, NotAccepted, NotSent, Refused, Throttled
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import SkipReason


class Charge(StrEnum):
    """What becomes of a request's tokens.

    Attributes:
        REFUND: they are free at once: nothing was sent.
        ANSWERED: they are free a window from now.
        GIVEN_UP: they are free a window after the grace in which the cloud may still count the request.
    """

    REFUND = "refund"
    ANSWERED = "answered"
    GIVEN_UP = "given_up"


class Next(StrEnum):
    """What becomes of a request's servers.

    Attributes:
        AGAIN: they are sent again, for nothing was accepted.
        LOOK: they are looked at, to find which of them the cloud refuses.
        STOP: their queue stops: the key is not accepted.
        RECONCILE: their own states have to tell what became of them; they are not sent again before.
    """

    AGAIN = "again"
    LOOK = "look"
    STOP = "stop"
    RECONCILE = "reconcile"


@dataclass(frozen=True, slots=True)
class AfterSubmit:
    """What follows a submit without a job id.

    Attributes:
        charge: what becomes of the tokens.
        next: what becomes of the servers.
        kind: names the rejection in its event; "" where the request may have been carried out.
    """

    charge: Charge
    next: Next
    kind: str


PARTIAL: Final = frozenset({"Ecs.0611"})
"""Codes that say that a batch failed, and not that none of it was begun (API reference, error codes)."""


def after_submit(error: CloudError) -> AfterSubmit:
    """Decide what a failed submit means for its tokens and its servers."""
    match error:
        case NotSent():
            return AfterSubmit(Charge.REFUND, Next.AGAIN, "not_sent")
        case Throttled():
            return AfterSubmit(Charge.ANSWERED, Next.AGAIN, "throttled")
        case NotAccepted():
            return AfterSubmit(Charge.ANSWERED, Next.AGAIN, "not_accepted")
        case AuthError():
            return AfterSubmit(Charge.ANSWERED, Next.STOP, "auth")
        case Refused() if error.code not in PARTIAL:
            return AfterSubmit(Charge.ANSWERED, Next.LOOK, "refused")
        case _:
            charge = Charge.ANSWERED if error.answered else Charge.GIVEN_UP
            return AfterSubmit(charge, Next.RECONCILE, "")


_SKIPS: Final = {
    "Ecs.0114": SkipReason.NOT_FOUND,
    "Ecs.0614": SkipReason.NOT_FOUND,
    "Ecs.0605": SkipReason.LOCKED,
    "Ecs.0100": SkipReason.NOT_ACTIVE,
}


def skip_of(code: str) -> SkipReason | None:
    """Return why a server is rightly left alone where the cloud's code says so, else None: it failed."""
    return _SKIPS.get(code)


class Backoff:
    """Pauses that double, with jitter, until something succeeds."""

    def __init__(self, chance: Random, *, first: float = 1.0, most: float = 60.0) -> None:
        """Start at ``first`` seconds, never pause longer than ``most``."""
        self._chance = chance
        self._first = first
        self._most = most
        self._failures = 0

    def succeeded(self) -> None:
        """Begin anew: the next pause is the first."""
        self._failures = 0

    def next(self) -> float:
        """Return the pause after one more failure, in seconds: half of it certain, half by chance."""
        pause = min(self._most, self._first * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return pause * (0.5 + self._chance.random() / 2)
