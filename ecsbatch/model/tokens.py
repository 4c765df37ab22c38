"""Tokens of the quota, one for each server that a request names, from the request for them to their settlement.

The audit does not use these: it keeps an account of its own.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from ecsbatch.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ecsbatch.model.freeze import Freeze


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Tokens that are wanted of a quota group.

    Attributes:
        group: the quota group, see `Site.quota_group`.
        want: the most that can be used, at least 1.
        at_least: fewer than this are not worth having; never more than ``want``. While other processes wait, too, a
            quarter of a share is always worth having.
        limit: tokens that the group has in all.
        expires_in: seconds after which the grant frees itself if it is never settled, since its process was killed:
            sending, the request's timeout, the grace for a late start, the window and its guard.
        more: tokens that could be used right after these, by which shares are reckoned while other processes wait.
    """

    group: str
    want: int
    at_least: int
    limit: int
    expires_in: float
    more: int = 0

    def __post_init__(self) -> None:
        if self.want < 1:
            raise ValueError(f"A take wants at least one token, unlike {self.want}.")


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens that were granted.

    Attributes:
        id: what a `Settlement` names it by.
        tokens: how many, between ``at_least`` and ``want``.
        granted: when, in seconds on the ledger's clock: `Clock.monotonic` of this machine, or that of the database.
        asked: what `Clock.boottime` showed here just before, by which a suspend since then is told; None: not known,
            since another process took them.
    """

    id: str
    tokens: int
    granted: float
    asked: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why nothing was granted.

    Attributes:
        free: tokens that are free, fewer than ``at_least``.
        next_in: seconds until ``at_least`` are free if nothing is settled meanwhile; None where they never are.
        in_flight: tokens of requests without an answer; settling them frees them sooner than ``next_in`` says.
        shared: other processes spend the same quota, so that more may happen than this one hears of.
        frozen: the freeze of the store while which nobody gets any token; None where that is not why.
    """

    free: int
    next_in: float | None
    in_flight: int
    shared: bool = False
    frozen: Freeze | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of a grant.

    Attributes:
        grant: the grant's id.
        expires_in: seconds from now for which its tokens still count; None frees them at once.
    """

    grant: str
    expires_in: float | None
