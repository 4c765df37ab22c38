"""What a script may conclude from the way a command ended: the exit code of every kind of run."""

from __future__ import annotations

import signal

import pytest

from ecsbatch.cli.exit_codes import code_of_error, code_of_run
from ecsbatch.errors import ConfigError, EcsbatchError, RunConflict, StoreError
from ecsbatch.model import events as ev
from ecsbatch.model.conflicts import RunHeld, RunTaken
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Holder
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState

RESTARTED = ev.ServerRestarted(server="a")
FAILED = ev.ServerFailed(server="b", code="Ecs.0227")
TIMED_OUT = ev.ServerTimedOut(server="b")
UNKNOWN = ev.ServerUnknown(server="b")
LEFT_OUT = ev.RunResumed(skip_domains=["az2"])
ABORTING = ev.RunAborting(by="ann")
SKIPPED = ev.ServerSkipped(server="b", reason="locked")
NOT_FOUND = ev.ServerSkipped(server="b", reason="not_found")


def over(status: str, reason: str = "") -> ev.RunFinished:
    return ev.RunFinished(status=status, reason=reason)


def stopped(reason: str, status: str = "stopped", message: str = "") -> ev.RunStopped:
    return ev.RunStopped(status=status, reason=reason, message=message)


@pytest.mark.parametrize(
    ("events", "received", "code"),
    [
        ([RESTARTED, SKIPPED, over("succeeded")], 0, 0),
        ([RESTARTED, NOT_FOUND, over("succeeded")], 0, 3),
        ([RESTARTED, NOT_FOUND, over("aborted", "aborted")], 0, 4),
        ([RESTARTED, FAILED, over("failed")], 0, 3),
        ([RESTARTED, TIMED_OUT, over("failed")], 0, 3),
        ([RESTARTED, LEFT_OUT, over("failed")], 0, 3),
        ([FAILED, LEFT_OUT, over("failed")], 0, 3),
        ([RESTARTED, LEFT_OUT, over("aborted", "aborted")], 0, 4),
        ([RESTARTED, ABORTING, stopped("interrupted", "interrupted")], signal.SIGTERM, 143),
        ([RESTARTED, FAILED, over("failed", "max_failures")], 0, 4),
        ([RESTARTED, UNKNOWN, over("failed", "max_failures_per_wave")], 0, 4),
        ([RESTARTED, UNKNOWN, over("failed")], 0, 6),
        ([FAILED, stopped("max_failures")], 0, 4),
        ([RESTARTED, stopped("budget_exhausted")], 0, 4),
        ([RESTARTED, stopped("gate")], 0, 4),
        ([RESTARTED, over("aborted", "aborted")], 0, 4),
        ([RESTARTED, stopped("cloud_unreachable")], 0, 1),
        ([RESTARTED, stopped("auth")], 0, 1),
        ([RESTARTED, stopped("interrupted", "interrupted")], signal.SIGINT, 130),
        ([RESTARTED, stopped("interrupted", "interrupted")], signal.SIGTERM, 143),
        ([RESTARTED, stopped("interrupted", "interrupted")], signal.SIGHUP, 143),
        ([RESTARTED, stopped("cloud_unreachable")], signal.SIGINT, 1),
        # Who watches a run of another process got no signal.
        ([RESTARTED, stopped("interrupted", "interrupted", "Stopped by SIGINT.")], 0, 130),
        ([RESTARTED, stopped("interrupted", "interrupted", "Stopped by SIGTERM.")], 0, 143),
        ([RESTARTED, stopped("handed_over", "interrupted")], 0, 143),
        ([RESTARTED, stopped("closed", "interrupted")], 0, 1),
        ([RESTARTED, SKIPPED, over("succeeded")], signal.SIGINT, 0),
    ],
)
def test_every_way_to_end_has_its_code(events: list[ev.Event], received: int, code: int) -> None:
    plan = Plan(
        fleet=Fleet(["a", "b"], ["az1", "az2"]), waves=(Wave(1, 0, 2, "100%"),), max_unavailable=2, max_failures=1
    )
    state = RolloutState("k7f", plan)
    for seq, event in enumerate([ev.RunStarted(total=2), *events], 1):
        state.apply(Recorded(seq, 1000.0 + seq, "k7f", event))

    assert code_of_run(state, received) == code


BOB = Holder("bob@lab", "lab", 22, 1000.0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreError("x"), 1),
        (ConfigError("x"), 2),
        (RunConflict("x"), 7),
        (RunHeld("k7f", BOB), 7),
        (RunTaken("k7f", BOB), 8),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_code_and_one_whose_run_was_taken_over_a_code_of_its_own(
    error: EcsbatchError, code: int
) -> None:
    assert code_of_error(error) == code
