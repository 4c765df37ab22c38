"""The public names: sorted, true, documented, and quick to import."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ecsbatch

TYPED = Path(__file__).parent / "typing" / "api.py"
PUBLIC = [getattr(ecsbatch, name) for name in ecsbatch.__all__]


def test_the_public_names_are_few_and_sorted() -> None:
    in_order = sorted(ecsbatch.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))

    assert in_order == ecsbatch.__all__
    assert len(ecsbatch.__all__) <= 30


@pytest.mark.parametrize("name", ecsbatch.__all__)
def test_a_public_name_is_what_its_own_module_calls_so(name: str) -> None:
    thing = getattr(ecsbatch, name)

    assert name.isupper() or thing.__name__ == name
    assert getattr(sys.modules[thing.__module__], name) is thing


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("config", "Strategy"),
        ("conflicts", "ServersClaimed"),
        ("ecs.auth", "KeyAuth"),
        ("ecs.credentials", "credentials"),
        ("ecs.sender", "Sender"),
        ("errors", "RunConflict"),
        ("events", "Recorded"),
        ("hosting", "Changes"),
        ("models", "Outcome"),
        ("plan", "Plan"),
        ("rollout", "Rollout"),
        ("state", "RolloutState"),
        ("store", "open_store"),
    ],
)
def test_the_paths_of_the_first_version_import_what_it_is_now(path: str, name: str) -> None:
    program = (
        f"from ecsbatch.{path} import {name}; import ecsbatch; print(getattr(ecsbatch, '{name}', {name}) is {name})"
    )

    assert _python(program) == "True"


def test_what_no_version_had_is_no_module_and_no_name() -> None:
    for program in (
        "import ecsbatch.nothing",
        "from ecsbatch.models import nothing",
        "from ecsbatch.config import __no__",
    ):
        with pytest.raises(subprocess.CalledProcessError) as failed:
            _python(program)
        assert b"ImportError" in failed.value.stderr.encode() or b"ModuleNotFoundError" in failed.value.stderr.encode()


def test_all_of_them_are_used_by_the_program_that_the_type_checkers_read() -> None:
    tree = ast.parse(TYPED.read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    assert set(ecsbatch.__all__) - used == set()


def test_dir_tells_them_before_they_are_imported() -> None:
    program = "import ecsbatch; print(set(ecsbatch.__all__) <= set(dir(ecsbatch)), 'Restarter' in vars(ecsbatch))"

    assert _python(program) == "True False"


def test_a_star_import_brings_exactly_them() -> None:
    program = "from ecsbatch import *; print(sorted(name for name in globals() if name[0] != '_'))"

    assert _python(program) == str(sorted(ecsbatch.__all__))


def test_other_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="no attribute 'restart_everything'"):
        ecsbatch.restart_everything  # noqa: B018


@pytest.mark.parametrize("thing", [each for each in PUBLIC if callable(each)], ids=lambda each: each.__name__)
def test_everything_public_is_documented(thing: type | object) -> None:
    undocumented = [
        name
        for name, member in inspect.getmembers(thing, callable)
        if not name.startswith("_") and inspect.isroutine(member) and not inspect.getdoc(member)
    ]

    assert inspect.getdoc(thing)
    assert undocumented == []


@pytest.mark.parametrize(
    ("module", "unpaid"),
    [
        ("ecsbatch", {"aiohttp", "psycopg", "structlog", "cyclopts", "rich", "asyncio"}),
        ("ecsbatch.restarter", {"cyclopts", "rich", "structlog", "ecsbatch.simulator"}),
        ("ecsbatch.ecs.client", {"cyclopts", "rich", "structlog", "psycopg"}),
    ],
)
def test_importing_one_part_does_not_cost_another(module: str, unpaid: set[str]) -> None:
    loaded = set(_python(f"import sys, {module}; print(*sys.modules)").split())

    assert unpaid & loaded == set()


def _python(program: str) -> str:
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()  # noqa: S603 - ours
