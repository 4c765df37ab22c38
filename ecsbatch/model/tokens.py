"""Tokens of the quota, from their request to their settlement. The audit does not see these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Tokens that are wanted of a quota group.

    Attributes:
        group: see `Site.quota_group`.
        want: the most that can be used, at least 1.
        at_least: fewer than this are not worth having; never more than ``want``.
        limit: tokens that the group has in all.
        hold: seconds after which the grant frees itself if no answer is ever written, since its process was killed:
            sending, the request's timeout, the grace for a late start, the window and its guard.
    """

    group: str
    want: int
    at_least: int
    limit: int
    expires_in: float

    def __post_init__(self) -> None:
        if self.want < 1:
            raise ValueError(f"A take wants at least one token, unlike {self.want}.")


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens that were granted.

    Attributes:
        id: by which it is settled.
        tokens: between ``at_least`` and ``want``.
        granted: on the ledger's clock, `Clock.monotonic`.
    """

    id: str
    tokens: int
    granted: float


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why nothing was granted.

    Attributes:
        free: tokens that could be had, fewer than ``at_least``.
        next_in: seconds until ``at_least`` are free if nothing is settled meanwhile; None where they never are.
        in_flight: tokens of requests without an answer; their settling frees them sooner than ``next_in`` says.
    """

    free: int
    next_in: float | None
    in_flight: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of a grant.

    Attributes:
        grant: its id.
        hold: seconds from now that its tokens still count; None refunds them at once.
    """

    grant: str
    expires_in: float | None
