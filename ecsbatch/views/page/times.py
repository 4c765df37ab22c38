"""When each server was sent and had its outcome, and how often it was sent, as columns."""

from __future__ import annotations

from array import array
from typing import Any, Final

from ecsbatch.model.outcome import Outcome
from ecsbatch.views.page.columns import numbers

_NONE: Final = -1
_TENTHS: Final = 10
_LATEST: Final = 2**31 - 1


class Times:
    """Collects them, one outcome after another in the order of the fleet.

    Attributes:
        origin: the second from which all times are told, since 1970.
    """

    def __init__(self, origin: float) -> None:
        """Begin before the first server."""
        self.origin = float(int(origin))
        self._submitted, self._ended, self._attempts = array("i"), array("i"), array("B")

    def add(self, outcome: Outcome) -> None:
        """Take the next server's."""
        self._submitted.append(self._since(outcome.submitted_at))
        self._ended.append(self._since(outcome.ended_at))
        self._attempts.append(min(255, outcome.attempts))

    def table(self) -> dict[str, Any]:
        """Return the columns in base64: ``submitted`` and ``ended`` in tenths of seconds since ``origin``, -1 for none.

        They are little-endian numbers of 32 bits, ``attempts`` of 8.
        """
        return {
            "origin": self.origin,
            "submitted": numbers(self._submitted),
            "ended": numbers(self._ended),
            "attempts": numbers(self._attempts),
        }

    def _since(self, ts: float | None) -> int:
        return _NONE if ts is None else min(_LATEST, max(0, round((ts - self.origin) * _TENTHS)))
