"""Keeps a key from being locked: a cloud that has refused one more than five times in a row locks it for five minutes.

A key that has been refused, or has just taken another's place, signs one request at a time until one is accepted.
After `MOST_REFUSALS` in a row it signs one in `PAUSE` seconds only: by then a lock would be over, and whoever mends the
key at the cloud need not tell us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ecsbatch.errors import AuthError
from ecsbatch.lazy_dataclass import dataclass

MOST_REFUSALS: Final = 4
"""Refusals in a row after which a key is spared; the cloud's own limit is five (API reference, signing)."""

PAUSE: Final = 330.0
"""Seconds until a spared key is tried again: a lock lasts 300."""

_KEPT: Final = 8
"""Keys that are remembered: a service for months may have thousands, one after the other."""


@dataclass(slots=True)
class _Record:
    """What became of a key.

    Attributes:
        doubted: True until a request is accepted.
        refusals: how many there were in a row, and the last one's time and error.
    """

    doubted: bool
    refusals: int = 0
    refused_at: float = 0.0
    error: AuthError | None = None


class KeyGuard:
    """Says when a key may sign; keys are told apart by their ids.

    Args:
        wall: returns the seconds since 1970.

    Attributes:
        alone: held by the only request that a doubted key signs.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self.alone = asyncio.Lock()
        self._wall = wall
        self._records: dict[str, _Record] = {}

    def doubts(self, key: str) -> bool:
        """Tell whether a key is to sign one request at a time."""
        return self._record(key).doubted

    def check(self, key: str) -> None:
        """Refuse what a key must not sign now.

        Raises:
            AuthError: it was refused too often.
        """
        record = self._record(key)
        wait = record.refused_at + PAUSE - self._wall()
        if record.error is not None and record.refusals >= MOST_REFUSALS and 0 < wait <= PAUSE:
            said = record.error
            raise AuthError(
                f"{said.message.rstrip('.')}. It is tried again in {wait:.0f} s, or as soon as there is another: more "
                "refusals in a row would have the cloud lock it.",
                status=said.status,
                code=said.code,
                request_id=said.request_id,
            )

    def accepted(self, key: str) -> None:
        """Note that the cloud has accepted a key's signature, whatever it made of the request."""
        record = self._records.get(key)
        if record is None or record.doubted:
            self._records[key] = _Record(doubted=False)

    def refused(self, key: str, error: AuthError) -> None:
        """Note that the cloud has refused a key."""
        record = self._record(key)
        record.doubted = True
        record.refusals += 1
        record.refused_at, record.error = self._wall(), error

    def _record(self, key: str) -> _Record:
        if key not in self._records:
            while len(self._records) >= _KEPT:
                del self._records[next(iter(self._records))]
            # Whoever begins with a wrong key begins with one request; it is a change that meets many at once.
            self._records[key] = _Record(doubted=bool(self._records))
        return self._records[key]
