"""Errors as programs get them: by type, by attribute, and as a dict for a JSON answer."""

from __future__ import annotations

import ast
import json
import pickle
from pathlib import Path

import pytest

import ecsbatch
from ecsbatch import errors
from ecsbatch.errors import EcsbatchError, Invalid, RunConflict, Throttled
from ecsbatch.model import conflicts

TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EcsbatchError)]
CONFLICTS = [
    kind
    for kind in vars(conflicts).values()
    if isinstance(kind, type) and issubclass(kind, RunConflict) and kind.__module__ == conflicts.__name__
]


def test_an_error_is_told_with_its_class_its_text_and_its_own_fields() -> None:
    throttled = Throttled("Too many.", status=429, code="APIGW.0308", request_id="r1", answered=True)
    throttled.limit = 200

    assert EcsbatchError("No.").as_dict() == {"error": "EcsbatchError", "message": "No."}
    assert Invalid("soak = -1: give more.", field="soak", value=-1, expected="more").as_dict() == {
        "error": "Invalid",
        "message": "soak = -1: give more.",
        "field": "soak",
        "value": -1,
        "expected": "more",
    }
    assert throttled.as_dict() == {
        "error": "Throttled",
        "message": "Too many. (HTTP 429, APIGW.0308, request r1)",
        "status": 429,
        "code": "APIGW.0308",
        "request_id": "r1",
        "answered": True,
        "retry_after": None,
        "limit": 200,
        "window": None,
    }


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_is_json_survives_a_process_and_stands_in_the_drawing(
    kind: type[EcsbatchError],
) -> None:
    error = kind("Something.")

    assert json.loads(json.dumps(error.as_dict()))["error"] == kind.__name__
    assert pickle.loads(pickle.dumps(error)).as_dict() == error.as_dict()  # noqa: S301 - what was dumped here
    assert f"{kind.__name__} " in str(errors.__doc__) or kind is EcsbatchError


@pytest.mark.parametrize("kind", CONFLICTS, ids=lambda kind: kind.__name__)
def test_the_drawing_has_every_word_that_a_conflict_is_told_by(kind: type[EcsbatchError]) -> None:
    assert f"{kind.__name__} *" in str(errors.__doc__)


def test_no_error_becomes_a_group_of_one() -> None:
    """What `except*` raises is wrapped in a group by some versions of Python, 3.11.2 among them."""
    raised = [
        f"{path.name}:{handler.lineno}"
        for path in Path(ecsbatch.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.TryStar)
        for handler in node.handlers
        if any(isinstance(each, ast.Raise) for each in ast.walk(handler))
    ]

    assert raised == []
