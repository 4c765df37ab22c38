"""Who is in the way is told with what can be done about it."""

from __future__ import annotations

import pytest

from ecsbatch.model.conflicts import ServersClaimed
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Holder, RunRecord

STOPPED = RunRecord(
    "night",
    "rollout",
    0.0,
    RunStatus.STOPPED,
    Holder("ann@web", "web", 7, 0.0),
    held=False,
    fence=1,
    seq=1,
    total=20,
    counts={"restarted": 5},
    targets_hash="",
    plan={},
)


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        ({"night": 1}, "1 of these servers belongs to run night (stopped, 5 of 20 done"),
        ({"night": 2, "day": 1}, "2 of these servers belong to run night"),
        ({"night": 2, "day": 1}, "), and 1 other run holds more of them: go on with it, end it"),
        ({"night": 2, "day": 1, "noon": 1}, "), and 2 other runs hold more of them: "),
    ],
)
def test_the_run_with_the_most_of_the_servers_is_named_and_the_others_are_counted(
    runs: dict[str, int], says: str
) -> None:
    assert says in str(ServersClaimed(STOPPED, runs))
