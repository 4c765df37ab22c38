"""What a standby takes, and when it looks again: decided from records alone."""

from __future__ import annotations

from typing import Any

import pytest

from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Holder, RunRecord
from ecsbatch.policy.takeover import takeover, tried_again_in

ORPHAN, STOPPED = RunStatus.ORPHANED, RunStatus.STOPPED
INTERRUPTED, RUNNING = RunStatus.INTERRUPTED, RunStatus.RUNNING


def run(name: str, status: RunStatus, left: float | None = None) -> RunRecord:
    """Return a run; one that goes on is held."""
    holder, held = Holder("ann@web", "web", 7, 0.0), status.goes_on
    return RunRecord(name, "rollout", 0.0, status, holder, held, 1, 1, 20, {}, "", {}, left)


def taken(*records: RunRecord, room: int = 4, **given: Any) -> tuple[list[str], float]:
    """Return the ids of what is taken, and when it looks again; the records are the newest first."""
    sets: dict[str, Any] = {"handed_over": (), "wanted": (), "not_now": ()} | given
    decided = takeover(records, room=room, **sets)
    return [each.run_id for each in decided.take], decided.look_in


@pytest.mark.parametrize(
    ("status", "handed_over", "takes"),
    [
        (ORPHAN, set(), ["a"]),
        (INTERRUPTED, {"a"}, ["a"]),
        (INTERRUPTED, {"b"}, []),
        (STOPPED, {"a"}, []),
        (RUNNING, {"a"}, []),
        (RunStatus.PAUSED, {"a"}, []),
    ],
)
def test_an_orphan_and_what_was_handed_over_are_taken_and_nothing_else(
    status: RunStatus,
    handed_over: set[str],
    takes: list[str],
) -> None:
    assert taken(run("a", status), handed_over=handed_over)[0] == takes


def test_the_oldest_are_taken_first_and_no_more_than_there_is_room_for() -> None:
    runs = [run(name, ORPHAN) for name in "edcba"]

    assert taken(*runs)[0] == ["a", "b", "c", "d"]
    assert taken(*runs, room=1)[0] == ["a"]
    assert taken(*runs, room=0)[0] == taken(*runs, room=-1)[0] == []


def test_only_those_that_are_wanted_are_taken_and_none_that_is_not_to_be_taken_now() -> None:
    runs = [run(name, ORPHAN) for name in "cba"]

    assert taken(*runs, wanted={"b", "x"})[0] == ["b"]
    assert taken(*runs, not_now={"a", "c"})[0] == ["b"]


@pytest.mark.parametrize(
    ("leases", "look_in"),
    [
        ([], 1.0),
        ([None], 1.0),
        ([3.7, 2.2], 1.0),
        ([3.7, 0.4], 0.4),
        ([0.001], 0.05),
        ([-3.0], 1.0),
    ],
)
def test_it_looks_again_at_a_leases_own_end_and_each_second_at_the_longest(
    leases: list[float | None], look_in: float
) -> None:
    runs = [run(str(n), RUNNING, left) for n, left in enumerate(leases)]

    assert taken(*runs) == ([], look_in)


def test_a_lease_of_its_own_run_is_not_waited_for() -> None:
    assert taken(run("mine", RUNNING, 0.2), not_now={"mine"}) == ([], 1.0)


def test_what_could_not_be_taken_is_tried_ever_more_seldom() -> None:
    assert [tried_again_in(n) for n in (1, 2, 3, 4, 5, 50)] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
