"""How many lines of one kind a person is sent: enough to see what is wrong, then only their number."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

EACH: Final = 10
"""Lines of one event that say the same."""

ALL: Final = 40
"""Lines of one event."""


class Flood:
    """Counts lines, and tells which of them are written."""

    def __init__(self) -> None:
        """Begin with none."""
        self.left_out: Counter[str] = Counter()
        self._said: Counter[tuple[str, str]] = Counter()
        self._written: Counter[str] = Counter()

    def admit(self, event: str, about: str) -> Literal["write", "last", "leave_out"]:
        """Tell of the next line of an event whether it is written, and whether it is the last of its kind."""
        if self._said[event, about] >= EACH or self._written[event] >= ALL:
            self.left_out[event] += 1
            return "leave_out"
        self._said[event, about] += 1
        self._written[event] += 1
        full = self._said[event, about] == EACH or self._written[event] == ALL
        return "last" if full else "write"
