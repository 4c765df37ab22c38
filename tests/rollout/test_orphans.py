"""Why an interrupted run has stopped, as its record tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Holder, RunRecord
from ecsbatch.rollout.orphans import why_interrupted

TAKEN = ev.HolderChanged(holder="ann@web", fence=2)
CLOSED = ev.RunStopped(status="interrupted", reason="closed")
HANDED_OVER = ev.RunStopped(status="interrupted", reason="handed_over")
FINISHED = ev.RunFinished(status="failed")
SEEN = ev.CloudSeen()


class Stored:
    """A store of one run."""

    def __init__(self, events: Sequence[ev.Event]) -> None:
        self._events = [Recorded(seq, float(seq), "night", event) for seq, event in enumerate(events, 1)]
        self.read = 0

    async def events(self, _run_id: str, after: int, limit: int) -> list[Recorded]:
        """Return some."""
        found = self._events[after : after + limit]
        self.read += len(found)
        return found


def asked(store: Stored, seq: int) -> str:
    """Ask about the run, as it was at an event."""
    holder = Holder("ann@web", "web", 7, 0.0)
    record = RunRecord("night", "rollout", 0.0, RunStatus.INTERRUPTED, holder, False, 1, seq, 5, {}, "", {})  # noqa: FBT003 - as it stands
    stored: Any = store
    return asyncio.run(why_interrupted(stored, record))


@pytest.mark.parametrize("behind", [0, 1, 250, 251, 1000])
def test_the_last_stop_counts_however_much_was_written_behind_it(behind: int) -> None:
    events = [CLOSED, TAKEN, *[SEEN] * 400, HANDED_OVER, *[SEEN] * behind]

    assert asked(Stored(events), len(events)) == "handed_over"


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([], ""),
        ([SEEN], ""),
        ([CLOSED, TAKEN, FINISHED], ""),
        ([CLOSED, TAKEN, FINISHED, SEEN], ""),
        ([CLOSED, TAKEN, HANDED_OVER, SEEN], "handed_over"),
    ],
)
def test_a_run_that_was_over_since_has_no_stop(events: Sequence[ev.Event], why: str) -> None:
    assert asked(Stored(events), len(events)) == why


def test_what_is_written_meanwhile_by_who_has_taken_it_does_not_count() -> None:
    assert asked(Stored([HANDED_OVER, TAKEN, CLOSED]), 1) == "handed_over"


def test_of_a_long_record_whose_stop_is_its_last_event_no_more_is_read() -> None:
    store = Stored([*[SEEN] * 5000, CLOSED])

    assert (asked(store, 5001), store.read) == ("closed", 1)
