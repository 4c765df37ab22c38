"""`FreezeWatch`: whether the store is frozen, as far as this process knows, for all that it sends.

Tokens are granted in a transaction that looks for a freeze, so that nobody has to be told of one. What was granted just
before is still on its way to the cloud: it must not leave unless it is known that there was no freeze a moment ago.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ecsbatch.model import events as ev

if TYPE_CHECKING:
    from ecsbatch.engine.ports import Ledger
    from ecsbatch.model.freeze import Freeze

LOOK_EVERY: Final = 0.5
"""Seconds between two looks while something is in hand."""

KNOWN_FOR: Final = 1.0
"""Seconds for which it is known that there is no freeze, from when the store was asked; more by what it took."""

LONGEST_LOOK: Final = 2.0
"""Seconds that a look may have taken, at the most, for what it told to count: a database far away answers late."""


class FreezeWatch:
    """What is known of a freeze; `look` every `LOOK_EVERY` seconds while there is something that one would hold up.

    Attributes:
        freeze: the one that is in force; None where there is none, or it is not known.
        last: the last one, with who has ended it; None where this process has seen none.
        known: False before the first look.
        hearers: are called when the store is frozen or thawed, or frozen anew, before anything is sent by that.
    """

    def __init__(self, store: Ledger, now: Callable[[], float] | None = None) -> None:
        """Look at ``store``; ``now`` goes on while the machine is suspended, the loop's time, for None, does not."""
        self.freeze: Freeze | None = None
        self.last: Freeze | None = None
        self.known = False
        self._store = store
        self.hearers: list[Callable[[], None]] = []
        self._now = now or asyncio.get_running_loop().time
        self._asked_at = self._heard_at = -math.inf
        self._took = 0.0

    async def look(self) -> None:
        """Ask the store.

        Raises:
            StoreError: it cannot be read.
        """
        asked_at = self._now()
        last = await self._store.last_freeze()
        if asked_at >= self._heard_at:  # else something newer was heard meanwhile
            self._asked_at = self._heard_at = asked_at
            self._took = self._now() - asked_at
            self._learn(last)

    def learn(self, freeze: Freeze) -> None:
        """Note a freeze that the store has told of in place of tokens."""
        self._heard_at = self._now()
        self._learn(freeze)

    def _learn(self, last: Freeze | None) -> None:
        before, self.last, self.known = self.freeze, last, True
        self.freeze = last if last is not None and last.thawed_at is None else None
        if self.freeze != before:
            for hearer in self.hearers:
                hearer()

    def news(self, told: Freeze | None) -> ev.Event | None:
        """Return the event that a record lacks which tells of a freeze, or of none; None where it lacks none."""
        if not self.known or self.freeze == told:
            return None
        if self.freeze is None:
            return ev.RunThawed(by=self.last.thawed_by if self.last is not None else "")
        freeze = self.freeze
        return ev.RunFrozen(by=freeze.by, reason=freeze.reason, since=freeze.since, until=freeze.until)

    def holds_back(self, granted: float) -> str:
        """Say why a request with tokens must not leave, "" where it may; they were granted ``granted`` seconds ago."""
        if self.freeze is not None:
            return f"{self.freeze.by or 'somebody'} has frozen the store: {self.freeze.reason}"
        unknown_for = min(granted, self._now() - self._asked_at)
        known_for = KNOWN_FOR + min(self._took, LONGEST_LOOK)
        return "it is not known whether the store was frozen meanwhile" if unknown_for > known_for else ""
