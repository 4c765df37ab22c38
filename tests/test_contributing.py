"""What CONTRIBUTING.md and the files beside it say of the project is so: floors, rooms, commands, tools, Pythons."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ecsbatch.cli.catalog import COMMANDS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ecsbatch"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
RUN = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def block(mark: str) -> list[str]:
    """Return the lines of the block that stands behind ``<!-- mark -->``."""
    [found] = re.findall(rf"<!-- {mark} -->\n```\w*\n(.*?)\n```", PAGE, re.DOTALL)
    lines: list[str] = found.splitlines()
    return lines


def typed() -> list[list[str]]:
    """Return the words of each command of a day."""
    commands = [part for line in block("loop") for part in line.partition("  #")[0].split("&&")]
    return [shlex.split(command) for command in commands]


def rooms() -> dict[str, str]:
    """Return what the page says of each room."""
    return dict(re.findall(r"^\| `(\S+)` \| (.+) \|$", PAGE, re.MULTILINE))


def code_in(text: str) -> list[str]:
    """Return what stands in a text as code."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


# -- the floors --------------------------------------------------------------------------------------------------------


def test_the_floors_are_those_that_imports_are_held_to() -> None:
    [layers] = [c["layers"] for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    drawn = [re.split(r"\s{2,}", line)[0] for line in block("floors")]

    assert drawn == layers
    assert len(drawn) == 10
    assert "## The ten floors" in PAGE


def test_every_floor_is_told_of_in_a_line_of_words() -> None:
    assert all(re.fullmatch(r"\S.*?\s{2,}\S.*", line) for line in block("floors"))


# -- the rooms ---------------------------------------------------------------------------------------------------------


def test_every_room_has_its_line_and_no_other() -> None:
    folders = {f"{init.parent.relative_to(PACKAGE)}/" for init in PACKAGE.glob("*/**/__init__.py")}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}

    assert set(rooms()) == folders | modules


@pytest.mark.parametrize("room", [name for name in rooms() if name.endswith("/")])
def test_the_files_that_a_room_names_are_in_it(room: str) -> None:
    named = [name for name in code_in(rooms()[room]) if name.endswith(".py")]

    assert [name for name in named if not (PACKAGE / room / name).is_file()] == []


def test_every_path_that_the_page_names_exists() -> None:
    paths = {
        name for name in code_in(PAGE) if re.fullmatch(r"\.?[\w-]+(/[\w.-]+)*/[\w.-]*", name) if "NAME" not in name
    }
    places = [ROOT, PACKAGE, ROOT / "tests"]

    assert len(paths) > 20
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []


def test_every_file_that_it_links_exists() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", PAGE)

    assert [name for name in linked if not (ROOT / name).exists()] == []


def test_every_name_of_code_that_the_page_uses_is_in_the_package() -> None:
    """A class or constant that is renamed takes its word on the page along."""
    named = {name for name in code_in(PAGE) if re.fullmatch(r"_?[A-Z][A-Za-z_]+|\w+_\w+|_[a-z]+", name)} - {"NAME"}
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]

    assert {"CliContext", "NotHealthy", "_FORMS", "_folds", "print_json", "make_plan"} <= named
    assert [name for name in named if not any(re.search(rf"\b{name}\b", source) for source in sources)] == []


def test_it_stays_one_page() -> None:
    assert len(PAGE.splitlines()) <= 140
    assert max(len(line) for line in PAGE.splitlines() if not line.startswith("|")) <= 125


# -- the commands ------------------------------------------------------------------------------------------------------


def test_every_command_of_a_day_is_installed_by_the_line_before_it() -> None:
    programs = {words[0] for words in typed()} - {"python", ".ci/run"}

    assert '-e ".[dev]"' in block("setup")[0]
    assert programs == _pinned()
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


def _pinned() -> set[str]:
    """Return the programs of the tools that the project pins for whoever develops it."""
    tools = [line.partition("==")[0] for line in PROJECT["project"]["optional-dependencies"]["dev"] if "==" in line]
    return {"lint-imports" if tool == "import-linter" else tool for tool in tools} - {
        "pdoc"
    }  # tests.reference calls it


def test_the_modules_and_files_that_are_run_exist() -> None:
    modules = [words[2].replace(".", "/") for words in typed() if words[:2] == ["python", "-m"] if words[2] != "pytest"]
    files = [word for words in typed() for word in words if word.startswith("tests/")]

    assert modules == ["tests/simulated", "tests/simulated", "tests/simulated", "tests/reference", "benchmarks"]
    assert [
        name for name in modules if not any((ROOT / f"{name}{end}").is_file() for end in (".py", "/__main__.py"))
    ] == []
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_the_night_that_is_picked_out_is_one() -> None:
    [night] = [words[words.index("-k") + 1] for words in typed() if "-k" in words]
    nights = [path.stem for path in (ROOT / "tests" / "acceptance" / "nights").glob("*.md")]

    assert [name for name in nights if night in name] == ["1-first-restart"]


def test_the_options_of_the_simulation_are_its_own() -> None:
    source = (ROOT / "tests" / "simulated" / "__main__.py").read_text(encoding="utf-8")
    options = {word for words in typed() if "tests.simulated" in words for word in words if word.startswith("--")}

    assert options == {"--seed", "--seeds", "--holders"}
    assert [option for option in options if f'"{option}"' not in source] == []


def test_the_quick_part_has_its_marker() -> None:
    markers = {line.partition(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"].get("markers", [])}

    assert ["python", "-m", "pytest", "-n", "2", "-m", "quick"] in typed()
    assert "quick" in markers


@pytest.mark.parametrize("text", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_command_of_ours_that_is_named_exists(text: str) -> None:
    named = set(re.findall(r"`ecsbatch (\w+)", (ROOT / text).read_text(encoding="utf-8"))) - {"NAME"}

    assert named <= {command.name for command in COMMANDS}


# -- before a commit, and CI -------------------------------------------------------------------------------------------


def test_hooks_run_what_ci_runs_and_fetch_nothing() -> None:
    entries = re.findall(r"^ +entry: (.+)$", HOOKS, re.MULTILINE)
    in_ci = re.sub(r'"\$bin/([\w-]+)"', r"\1", re.sub(r' --cache-dir "\S+"', "", RUN))

    assert {entry.split()[0] for entry in entries} == _pinned() - {"pyright"}
    assert [set(entry.split()) for entry in entries if not _is_run(entry, in_ci)] == []
    assert set(re.findall(r"repo: (\S+)", HOOKS)) == {"local"}
    assert set(re.findall(r"language: (\S+)", HOOKS)) == {"system"}
    assert HOOKS.count("language: system") == HOOKS.count("- id:") == len(entries)


def _is_run(entry: str, script: str) -> bool:
    steps = re.findall(r'^\s*step "[^"]+" (.+)$', script, re.MULTILINE)
    return any(sorted(entry.split()) == sorted(step.split()) for step in steps)


def test_ci_runs_on_every_python_that_the_project_names() -> None:
    prefix = "Programming Language :: Python :: "
    promised = [name.removeprefix(prefix) for name in PROJECT["project"]["classifiers"] if name.startswith(prefix)]
    [matrix] = re.findall(r"python: \[(.+)\]", WORKFLOW)

    assert re.findall(r'"([\d.]+)"', matrix) == promised
    assert PROJECT["project"]["requires-python"] == f">={promised[0]}"


def test_ci_runs_the_one_script_with_the_python_of_its_row() -> None:
    assert re.findall(r"- run: (.+)", WORKFLOW) == [".ci/run"]
    assert re.search(r"PYTHON: python3\b", WORKFLOW)
    assert "${PYTHON:-python3}" in RUN
    assert sorted(re.findall(r"uses: (\S+)@v\d+$", WORKFLOW, re.MULTILINE)) == [
        "actions/checkout",
        "actions/setup-python",
    ]
