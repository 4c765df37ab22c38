"""`ReportedRun`: all that an HTML report is written of."""

from __future__ import annotations

from collections.abc import Sequence

from ecsbatch.audit.receipt import Receipt
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.state import RolloutState
from ecsbatch.views.page.details import Details
from ecsbatch.views.page.timeline import RunTimeline


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """A run as it was read for a report.

    Attributes:
        state: of the run.
        details, timeline: folded from the same events.
        at: when it is written, seconds since 1970.
        version: of what writes it.
        steering: the events by which the run was steered, oldest first.
        begun_by, begun_at: its first holder, and when that took it; None where that is not on record.
        head: of its record, "" where it has no chain.
        receipt: the audit of its record; None where there is none.
        not_audited: why there is none.
    """

    state: RolloutState
    details: Details
    timeline: RunTimeline
    at: float
    version: str
    steering: Sequence[Recorded] = ()
    begun_by: str = ""
    begun_at: float | None = None
    head: str = ""
    receipt: Receipt | None = None
    not_audited: str = ""
