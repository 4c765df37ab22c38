"""What a service answers with: each value that the library gives says itself as JSON, by the names of the report."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ecsbatch.model.outcome import Evidence, Outcome, OutcomeKind, RunStatus
from ecsbatch.model.plan import Plan, Skip, Wave
from ecsbatch.model.run import Holder, Result, RunRecord
from ecsbatch.model.servers import Fleet
from ecsbatch.policy.explanation import Cause, Explanation
from ecsbatch.views.report import COLUMNS

AT = 1_767_225_600.5
TIME = "2026-01-01T00:00:00.500Z"

OUTCOME = Outcome(
    "a",
    OutcomeKind.FAILED,
    evidence=Evidence.JOB,
    code="Ecs.0227",
    message="No.",
    job_id="j",
    attempts=1,
    ended_at=AT,
    name="web",
    domain="az1",
)
RESULT = Result(
    "night", RunStatus.FAILED, "", "", 2, {OutcomeKind.RESTARTED: 1, OutcomeKind.FAILED: 1}, 7.00049, ("b",), AT
)
RECORD = RunRecord(
    "night",
    "rollout",
    AT,
    RunStatus.RUNNING,
    Holder("ann@web", "web", 7, AT),
    held=True,
    fence=1,
    seq=9,
    total=2,
    counts={"restarted": 1},
    targets_hash="",
    plan={"secret": "of no interest"},
)
EXPLANATION = Explanation(Cause.QUOTA, "It waits.", AT, ("ecsbatch status",), "running", "running")
FLEET = Fleet(["a", "b", "c", "d"], ["az1", "az2", "az1", "az1"])
PLAN = Plan(FLEET, (Wave(1, 0, 1, "1"), Wave(2, 1, 2, "100%")), (Skip("locked", 2, 3), Skip("not_found", 3, 4)))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            RESULT,
            {
                "run_id": "night",
                "status": "failed",
                "reason": "",
                "message": "",
                "total": 2,
                "restarted": 1,
                "failed": 1,
                "elapsed_s": 7.0,
                "began_at": TIME,
                "not_found": ["b"],
            },
        ),
        (
            RECORD,
            {
                "run_id": "night",
                "kind": "rollout",
                "status": "running",
                "created_at": TIME,
                "total": 2,
                "counts": {"restarted": 1},
                "seq": 9,
                "held": True,
                "holder": "ann@web",
                "pid": 7,
                "host": "web",
                "since": TIME,
                "lease_left": None,
            },
        ),
        (
            EXPLANATION,
            {
                "cause": "quota",
                "text": "It waits.",
                "until": TIME,
                "commands": ["ecsbatch status"],
                "standing": "running",
                "standing_text": "running",
                "frozen": None,
            },
        ),
        (replace(OUTCOME, evidence=None, ended_at=None), OUTCOME.as_dict() | {"evidence": "", "ended_at": None}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_says_itself_as_plain_json(value: Any, told: dict[str, Any]) -> None:
    assert value.as_dict() == told
    assert json.loads(json.dumps(value.as_dict())) == told


def test_an_outcome_has_the_names_of_the_reports_columns_and_its_message() -> None:
    told = OUTCOME.as_dict()

    assert set(told) == {*COLUMNS, "message"} - {"wave"}
    assert (told["outcome"], told["error_code"], told["ended_at"], told["name"]) == ("failed", "Ecs.0227", TIME, "web")


def test_a_plan_says_how_large_its_waves_are_and_who_is_left_alone_and_why() -> None:
    told = json.loads(json.dumps(PLAN.as_dict()))

    assert [(wave["label"], wave["servers"]) for wave in told["waves"]] == [("1", 1), ("100%", 1)]
    assert told["skipped"] == {"locked": 1, "not_found": 1}
    assert (told["total"], told["to_restart"], told["not_found"], told["hash"]) == (4, 2, ["d"], PLAN.hash)
    assert told["domains"] == {"az1": 1, "az2": 1}
