"""What the library says names no flag and no command of the command line: a service's users have neither."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecsbatch.cli.catalog import COMMANDS
from ecsbatch.cli.remedies import remedy, with_remedy
from ecsbatch.errors import (
    ConfigError,
    EcsbatchError,
    NotHolder,
    RecordEdited,
    RunConflict,
    RunNotFound,
    SelectionRefused,
    ServerNotFound,
)
from ecsbatch.model.conflicts import NotFollowed, RunExists, RunHeld, RunOver, RunTaken, ServersClaimed, ServersWanted
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Holder, RunRecord
from ecsbatch.planning.plan_file import PlanFileUnreadable

PACKAGE = Path(__file__).parent.parent / "ecsbatch"
LIBRARY = ("model", "planning", "policy", "rollout", "engine", "store", "ecs", "restarter.py", "foreign.py", "config")
LIBRARY += ("errors.py", "audit")

TYPED = re.compile(rf"(?<![\w-])--[a-z]|ecsbatch ({'|'.join(command.name for command in COMMANDS)})\b|ecsbatch $")
"""A flag, or a command of ours."""

COMMAND = r"ecsbatch [a-z]+ |ecsbatch thaw| --(forgive|retry |max-unavailable(-per-domain)? N)"
NO_ERRORS = {
    "policy/explain.py": COMMAND,
    "policy/hold_ups.py": COMMAND,
    "policy/resume_options.py": r" --(forgive|skip-domain |retry )?",
    "rollout/placeholders.py": r"-\[A-Za-z\].*",
    "config/settings.py": r"Given ids .* as with --yes; .*|What a restarted server must pass: .*",
}
"""Literals that are no texts of errors, by file: commands for a person to run, patterns of other programs' flags, and
the help of the command line's own flags."""


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each literal text of a module that is no docstring, and its line."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_no_text_of_the_library_names_a_flag_or_a_command() -> None:
    found: list[str] = []
    for room in LIBRARY:
        for path in sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / room]:
            file = str(path.relative_to(PACKAGE))
            for line, text in literals(ast.parse(path.read_text(encoding="utf-8"))):
                allowed = file in NO_ERRORS and re.fullmatch(NO_ERRORS[file], text)
                found += [f"{file}:{line}: {text!r}"] if TYPED.search(text) and not allowed else []

    assert found == []


ANN = Holder("ann@web", "web", 7, 0.0)
HELD = RunRecord("r", "rollout", 0.0, RunStatus.RUNNING, ANN, True, 1, 1, 20, {}, "", {})  # noqa: FBT003 - as it stands
LEFT = RunRecord("r", "rollout", 0.0, RunStatus.STOPPED, ANN, False, 1, 1, 20, {}, "", {})  # noqa: FBT003 - the same


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            ServersClaimed(HELD, {"r": 3}),
            "That is `ecsbatch watch r`, `ecsbatch abort r` or --exclude-claimed.",
        ),
        (
            ServersClaimed(LEFT, {"r": 3}),
            "That is `ecsbatch resume r`, `ecsbatch abort r` or --exclude-claimed.",
        ),
        (ServersWanted("r", {"r": 3}), ""),
        (RunNotFound("There is no run 'x' here.", run_id="x"), "`ecsbatch runs` lists what there is."),
        (RunNotFound("There are no runs yet.", run_id=""), ""),
        (RunNotFound("Several runs begin with 'x'.", run_id="x", candidates=["x1", "x2"]), ""),
        (
            ServerNotFound("No server.", server="x", run_id="r"),
            "`ecsbatch report r` lists its servers, `ecsbatch runs` the runs.",
        ),
        (ServerNotFound("No server.", server="x").about("exclude"), "Its flag is --exclude."),
        (RecordEdited("Edited.", run_id="r"), "`ecsbatch audit r` says what else was edited."),
        (PlanFileUnreadable("No plan.", file="x"), "`ecsbatch plan --out FILE` writes one."),
        (NotHolder("No process.", run_id="r"), "`ecsbatch resume r` goes on with it."),
        (NotFollowed("r", ANN, "pause", 10), "`ecsbatch status r` tells what becomes of it."),
        (RunTaken("r", ANN), "`ecsbatch watch r` shows it."),
        (
            RunOver("r"),
            (
                "`ecsbatch report r --outcome failed,timed_out,unknown,not_started -o csv --out left.csv` writes down "
                "what is left."
            ),
        ),
        (RunExists(LEFT), ""),
        (RunHeld("r", ANN), ""),
        (RunConflict("It stands at no hold."), ""),
        (SelectionRefused("Empty."), ""),
        (ConfigError("Give another.").about("check"), "Its flag is --check."),
        (ConfigError("Check it.").about("region", "project_id"), "The flags are --region and --project-id."),
        (NotHolder("No process.", run_id="a b"), "`ecsbatch resume 'a b'` goes on with it."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, EcsbatchError) else "",
)
def test_the_command_line_adds_what_can_be_typed_about_an_error(error: EcsbatchError, says: str) -> None:
    assert remedy(error) == says
    assert with_remedy(error) == f"{error} {says}".strip()


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (
            ServersClaimed(HELD, {"r": 3, "s": 1}),
            {"run_id": "r", "holder": "ann@web", "held": True, "servers": 3, "runs": {"r": 3, "s": 1}},
        ),
        (ServersWanted("r", {"r": 3}), {"run_id": "r", "holder": "", "held": True, "servers": 3, "runs": {"r": 3}}),
        (RunExists(LEFT), {"run_id": "r", "holder": "ann@web", "status": "stopped"}),
        (RunHeld("r", ANN), {"run_id": "r", "holder": "ann@web"}),
        (
            RunTaken("r", ANN),
            {"run_id": "r", "holder": "ann@web", "host": "web", "pid": 7, "since": "1970-01-01T00:00:00.000Z"},
        ),
        (RunOver("r"), {"run_id": "r", "holder": ""}),
        (NotFollowed("r", ANN, "pause", 10), {"run_id": "r", "holder": "ann@web", "command": "pause"}),
        (NotHolder("x", run_id="r", status="stopped"), {"run_id": "r", "holder": "", "status": "stopped"}),
        (RunNotFound("x", run_id="k", candidates=("k1", "k2")), {"run_id": "k", "candidates": ["k1", "k2"]}),
        (ServerNotFound("x", server="web", run_id="r"), {"server": "web", "run_id": "r", "names": ["web"]}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, EcsbatchError) else "",
)
def test_an_error_carries_what_a_json_answer_wants(error: EcsbatchError, fields: dict[str, object]) -> None:
    assert error.as_dict() == {"error": type(error).__name__, "message": str(error), **fields}
