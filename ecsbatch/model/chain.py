"""What the chain of a run's record shows: whether the record is as it was written."""

from __future__ import annotations

from ecsbatch.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """A run's chain of hashes, made anew and compared with the hashes that the record carries.

    Attributes:
        head: the hash behind the last event: it stands for the whole record, plan and servers included.
        events: the number of the last event.
        since: the number of the first event from which on the record carries hashes, None where it carries none.
        breach: where the chain breaks first, as a sentence; "" where it is whole.
        breach_at: the number of the first event that the break is about, 0 where it is before all events.
        anchored: the number of the last event that a head stands for, None where it is no head of this record.
    """

    head: str
    events: int
    since: int | None
    breach: str = ""
    breach_at: int = 0
    anchored: int | None = None
