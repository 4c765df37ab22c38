"""`Freeze`: the stop switch of a store. While it is on, nobody who uses that store sends anything new."""

from __future__ import annotations

from typing import Any

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.json_text import stamp, stamped


@dataclass(frozen=True, slots=True)
class Freeze:
    """A store is frozen: no run of it, present or future, sends a new request; what is under way goes on.

    Attributes:
        by: who has frozen it.
        reason: why, in the words of whoever did.
        since: from when on, seconds since 1970 on the store's clock.
        until: when it ends by itself, in the same way; None: once somebody thaws it.
        thawed_by: who has ended it before that, "" for nobody.
        thawed_at: when it ended, in the same way; None while it goes on.
    """

    by: str
    reason: str
    since: float
    until: float | None = None
    thawed_by: str = ""
    thawed_at: float | None = None

    def holds(self, now: float) -> bool:
        """Tell whether it goes on at a time, seconds since 1970 on the store's clock."""
        return self.thawed_at is None and (self.until is None or now < self.until)

    def as_dict(self) -> dict[str, Any]:
        """Return who, why, since when and until when as JSON values; times are RFC 3339 in UTC."""
        return {"by": self.by, "reason": self.reason, "since": stamp(self.since), "until": stamped(self.until)}
