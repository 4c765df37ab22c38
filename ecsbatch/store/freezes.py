"""The freezes of a store: who has stopped all new requests of its runs, why and until when.

The last one that somebody began is the only one that can be in force: beginning one ends the one before.
"""

from __future__ import annotations

import math
from typing import Final

from ecsbatch.errors import Invalid
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.text import one_line, truncate
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Database
from ecsbatch.store.ledger_clock import LedgerClock

_LATEST: Final = 253_402_300_799.0
"""The end of the year 9999, behind which no time can be written."""


class FreezeTable:
    """Reads and writes the freezes of one database; call each method inside a transaction."""

    def __init__(self, database: Database, clock: LedgerClock) -> None:
        """Judge ends by ``clock``."""
        self._database = database
        self._clock = clock
        self._known: Freeze | None = None

    def last(self) -> Freeze | None:
        """Return the last freeze, with ``thawed_at`` where it is over by now; None where there never was one."""
        row = self._database.execute(sql.LAST_FREEZE).fetchone()
        if row is None:
            return None
        by, reason, since, until, thawed_by, thawed_at = row
        # Only a freeze that ends by itself has to be compared with the time.
        if thawed_at is None and until is not None and self._clock.stamp() >= until:
            thawed_at = until
        self._known = Freeze(by, reason, since, until, thawed_by, thawed_at)
        return self._known

    def in_force(self) -> Freeze | None:
        """Return the freeze that is in force; None where there is none."""
        last = self.last()
        return last if last is not None and last.thawed_at is None else None

    def write_again(self) -> None:
        """Freeze the store again where the database has forgotten a freeze of which this process knows."""
        known = self._known
        if known is None or known.thawed_at is not None:
            return
        row = {"by": known.by, "reason": known.reason, "since": known.since, "until": known.until}
        ended = known.until is not None and self._clock.stamp() >= known.until
        if not ended and self._database.execute(sql.THAT_FREEZE, row).fetchone() is None:
            self._database.execute(sql.BEGIN_FREEZE, row)

    def begin(self, reason: str, by: str, until: float | None, lasts: float | None) -> Freeze:
        """Freeze the store, in place of the freeze that is in force, if there is one.

        Raises:
            Invalid: there is no reason, or it would be over already.
        """
        now = self._clock.stamp()
        told = truncate(one_line(reason)) if isinstance(reason, str) else ""  # pyright: ignore[reportUnnecessaryIsInstance] - from JSON
        if not told:
            raise Invalid(
                "A freeze needs a reason.", field="reason", value=reason, expected="why nothing is to be sent"
            )
        freeze = Freeze(truncate(one_line(by)), told, now, _end(now, until, lasts))
        self._end_those_before(by, now)
        row = {"by": freeze.by, "reason": freeze.reason, "since": now, "until": freeze.until}
        self._database.execute(sql.BEGIN_FREEZE, row)
        self._known = freeze
        return freeze

    def end(self, by: str) -> Freeze | None:
        """Thaw the store; return the freeze that this ends, None where there was none."""
        now, freeze = self._clock.stamp(), self.in_force()
        if freeze is None:
            return None
        by = truncate(one_line(by))
        self._end_those_before(by, now)
        return Freeze(freeze.by, freeze.reason, freeze.since, freeze.until, by, now)

    def _end_those_before(self, by: str, now: float) -> None:
        self._database.execute(sql.END_FREEZES, {"by": truncate(one_line(by)), "now": now})


def _end(now: float, until: float | None, lasts: float | None) -> float | None:
    """Return when a freeze that begins now ends by itself, None where it does not.

    Raises:
        Invalid: it would be over already, or both an end and a duration are given.
    """
    if until is not None and lasts is not None:
        raise Invalid(
            "A freeze has an end or a duration, not both.", field="until", value=until, expected="one of them"
        )
    name, end = ("until", until) if lasts is None else ("lasts", now + _number("lasts", lasts))
    if end is None:
        return None
    if not now < _number(name, end) <= _LATEST:
        expected = "a time to come" if name == "until" else "seconds, more than 0"
        given = until if name == "until" else lasts
        raise Invalid(f"{name} = {given!r}: give {expected}.", field=name, value=given, expected=expected)
    return float(end)


def _number(name: str, value: object) -> float:
    """Return a number from JSON or from a program.

    Raises:
        Invalid: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        told = value if isinstance(value, str | bool) else None
        raise Invalid(f"{name} = {value!r}: give a number of seconds.", field=name, value=told, expected="seconds")
    return float(value)
