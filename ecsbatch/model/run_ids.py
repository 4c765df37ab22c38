"""`RunIds`: ids of runs that nobody has named."""

from __future__ import annotations

from random import Random
from typing import Final

_LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"
"""Those that are not easily mistaken for others."""

_LENGTH: Final = 8


class RunIds:
    """Draws ids; the time of the start is in them, for another life with the same seed must draw other ones."""

    def __init__(self, chance: Random, since: float) -> None:
        """Draw by ``chance``, in a process that began at ``since`` (seconds since 1970)."""
        self._chance = chance
        self._since = round(since * 1000)

    def draw(self) -> str:
        """Return a new id."""
        base = len(_LETTERS)
        drawn = self._chance.choices(range(base), k=_LENGTH)
        number = sum(digit * base**place for place, digit in enumerate(drawn)) + self._since
        return "".join(_LETTERS[number // base**place % base] for place in range(_LENGTH))
