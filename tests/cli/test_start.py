"""What a command imports before it answers: whoever only reads a run does not wait for what restarts servers."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from imported import Imported, imported
from typed_commands import Simulator, Terminal

from ecsbatch.cli.app import main
from ecsbatch.cli.catalog import COMMANDS, installed_version
from ecsbatch.cli.parser import build_app

ROOT = Path(__file__).parent.parent.parent
OLD = """
import runpy, sys

sys.version_info = (3, 10, 13, "final", 0)
runpy.run_module("ecsbatch", run_name="__main__")
"""

CLOUD = ("aiohttp", "ecsbatch.ecs")
READS = {
    "engine": ("__init__",),
    "rollout": ("__init__", "followed_journal", "followed_runs", "follower", "history", "steering", "store_switch"),
}
"""Modules of the rooms that restart servers which whoever only reads may need: they bring nothing of the rest."""

ENGINE = (
    "ecsbatch.restarter",
    *(
        f"ecsbatch.{room}.{path.stem}"
        for room, reads in READS.items()
        for path in (ROOT / "ecsbatch" / room).glob("*.py")
        if path.stem not in reads
    ),
)
DISPLAY = ("rich", "structlog")
STORE = ("sqlite3", "psycopg")
SIMULATOR = ("ecsbatch.simulator",)
PAGE = ("aiohttp.web", "ecsbatch.cli.dashboard", "ecsbatch.views.page")
PARSER = ("cyclopts",)


class Row(NamedTuple):
    """What is typed, the code, the modules in `ecsbatch.cli.commands` that it takes, and what it must not import."""

    words: str
    code: int
    commands: set[str]
    never: tuple[str, ...]


WATCHED = (
    *("prometheus_client", "opentelemetry", "ecsbatch.cli.exporting", "ecsbatch.cli.tracing"),
    *("ecsbatch.cli.cpu_profile", "ecsbatch.cli.cpu_report", "ecsbatch.cli.cpu_sampler"),
    *(f"ecsbatch.views.{name}" for name in ("metrics", "measured", "exposition", "traces")),
)
"""What metrics, traces and CPU profiles need; no call here asks for any."""
FAST = ("--quota", "1000/1s", "--typical-restart", "1s", "--max-unavailable", "100%", "--linger", "0.05s")
READING = (*CLOUD, *ENGINE, *DISPLAY, *SIMULATOR, *PAGE, "psycopg")
SELDOM = ("configparser", "csv", "difflib", "fractions", "importlib.resources", "tempfile", "tomllib")
"""Of the standard library what only a file, a slip of the pen, or a store that is made asks for."""
TABLE = [
    Row("", 0, set(), (*PARSER, *READING, *STORE, "asyncio", "ecsbatch.config", "ecsbatch.model.events")),
    Row("--help", 0, set(), (*PARSER, *READING, *STORE, "asyncio", "ecsbatch.config", "ecsbatch.model.events")),
    Row("--version", 0, set(), (*PARSER, *READING, *STORE, "asyncio", "ecsbatch.config", "ecsbatch.model.events")),
    Row("-V", 0, set(), (*PARSER, *READING, *STORE, "asyncio", "ecsbatch.config", "ecsbatch.model.events")),
    Row("help", 0, set(), (*PARSER, *READING, *STORE, "asyncio", "ecsbatch.config", "ecsbatch.model.events")),
    Row("version", 0, set(), (*PARSER, *READING, *STORE, "asyncio", "ecsbatch.config", "ecsbatch.model.events")),
    Row("help status", 0, {"help", "status"}, (*CLOUD, *ENGINE, *STORE, *SIMULATOR, "structlog")),
    Row("statsu", 2, set(), (*CLOUD, *ENGINE, *STORE, *SIMULATOR, "structlog", "asyncio")),
    Row("status --help", 0, {"status"}, (*CLOUD, *ENGINE, *STORE, *SIMULATOR, "structlog")),
    Row("status", 0, {"status"}, (*READING, *SELDOM)),
    Row("runs", 0, {"runs"}, (*READING, *SELDOM)),
    Row("report", 0, {"report"}, READING),
    Row(
        "report -o html --out report.html", 0, {"report"}, (*CLOUD, *ENGINE, *DISPLAY, *SIMULATOR, *PAGE[:2], "psycopg")
    ),
    Row("explain", 0, {"explain"}, (*READING, *SELDOM)),
    Row("audit", 0, {"audit"}, READING),
    Row("watch", 0, {"watch"}, READING),
    Row("wait", 0, {"wait", "status"}, READING),
    Row("pause", 7, {"steer"}, READING),
    Row("promote", 7, {"steer"}, READING),
    Row("adjust --max-failures 1", 7, {"steer"}, READING),
    Row("abort --yes", 7, {"abort"}, READING),
    Row("quota", 0, {"quota"}, (*READING, *SELDOM)),
    Row("freeze", 2, {"freeze"}, (*READING, *STORE)),
    Row("freeze --reason incident", 0, {"freeze"}, READING),
    Row("thaw", 0, {"freeze"}, READING),
    Row("resume", 0, {"resume"}, (*CLOUD, *DISPLAY, *SIMULATOR, "ecsbatch.restarter", "ecsbatch.rollout.rollout")),
    Row("dashboard --dashboard nowhere", 2, {"dashboard"}, (*READING, *STORE)),
    Row("dashboard --dashboard 10.0.0.1:80", 2, {"dashboard"}, (*ENGINE, *SIMULATOR, "ecsbatch.ecs", "psycopg")),
    Row("work --healthz nowhere", 2, {"work"}, (*CLOUD, *ENGINE, *DISPLAY, *STORE, *SIMULATOR)),
    Row("servers ids.txt", 0, {"servers"}, (*ENGINE, *DISPLAY, *STORE, *SIMULATOR)),
    Row("check", 0, {"check"}, (*ENGINE, *DISPLAY, *SIMULATOR)),
    Row("plan ids.txt", 0, {"plan", "restart", "resume"}, (*DISPLAY, *SIMULATOR, "ecsbatch.restarter")),
    Row("restart ids.txt --dry-run", 0, {"restart", "resume"}, (*DISPLAY, *SIMULATOR, "ecsbatch.restarter")),
    Row(f"restart ids.txt {' '.join(FAST)} --yes --quiet", 0, {"restart", "resume"}, (*DISPLAY, *SIMULATOR, *PAGE)),
    Row("apply", 2, {"plan", "restart", "resume"}, (*CLOUD, *DISPLAY, *STORE, *SIMULATOR, "ecsbatch.restarter")),
    Row("rehearse", 2, {"rehearse", "simulate"}, (*CLOUD, *ENGINE, *DISPLAY, *STORE, *SIMULATOR)),
    Row("simulate --port 65536", 2, {"simulate"}, (*CLOUD, *ENGINE, *DISPLAY, *STORE, *SIMULATOR)),
    Row("demo --help", 0, {"demo", "restart", "resume"}, (*CLOUD, *STORE, *SIMULATOR, "structlog")),
    Row("store check", 0, {"store"}, READING),
    Row("store prune --older-than 90d", 0, {"store"}, READING),
    Row("schema", 0, {"schema"}, (*READING, *STORE, "asyncio", "ecsbatch.model.events")),
    Row("schema events", 0, {"schema"}, (*READING, *STORE, "asyncio")),
    Row("config show", 0, {"config"}, (*READING, *STORE, "asyncio")),
    Row("completion bash", 0, {command.module for command in COMMANDS}, (*DISPLAY, *STORE, *SIMULATOR)),
]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory, cloud: Simulator) -> Mapping[str, Imported]:
    """What each row of the table came to; the store has a run that is over."""
    terminal = Terminal(tmp_path_factory.mktemp("start"), dict(cloud.environment))
    (terminal.folder / "ids.txt").write_text("\n".join(cloud.ids[:2]) + "\n", encoding="utf-8")
    run = terminal.type("restart", "ids.txt", *FAST, "--yes", "--quiet")
    assert run.returncode == 0, run.stderr
    environment = {**os.environ, **terminal.environment, "XDG_STATE_HOME": str(terminal.folder / "state")}
    found = imported([row.words.split() for row in TABLE], [sys.executable], terminal.folder, environment)
    terminal.end()
    return {row.words: each for row, each in zip(TABLE, found, strict=True)}


def test_every_command_is_in_the_table() -> None:
    typed = {row.words.partition(" ")[0] for row in TABLE}

    assert {command.name for command in COMMANDS} <= typed


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.words or "(nothing)")
def test_a_command_imports_only_what_it_needs(row: Row, calls: Mapping[str, Imported]) -> None:
    call = calls[row.words]

    assert call.code == row.code
    never = (*row.never, *WATCHED)
    needless = [name for name in call.modules for room in never if name == room or name.startswith(f"{room}.")]
    assert needless == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.words or "(nothing)")
def test_only_the_module_of_the_command_that_was_called_is_imported(row: Row, calls: Mapping[str, Imported]) -> None:
    home = "ecsbatch.cli.commands."
    commands = {name.removeprefix(home) for name in calls[row.words].modules if name.startswith(home)}

    assert commands == row.commands


@pytest.mark.parametrize(
    ("typed", "parsed"), [([], ["--help"]), (["--help"], ["--help"]), (["-h"], ["-h"]), (["help"], ["--help"])]
)
def test_the_overview_is_what_the_parser_would_print(
    typed: list[str], parsed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is printed without the parser, which knows the same commands."""
    build_app()(parsed)
    expected = capsys.readouterr().out

    assert main(typed) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("typed", ["--version", "-V", "version"])
def test_the_version_is_what_the_parser_would_print(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    build_app()([typed])
    expected = capsys.readouterr().out

    assert main([typed]) == 0
    assert capsys.readouterr().out == expected == f"{installed_version()}\n"


@pytest.mark.parametrize("typed", ["nonsense", "statsu", "Restart", "pauze"])
def test_an_unknown_command_is_told_of_as_the_parser_would(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The parser itself would import every command to name one that is spelt alike."""
    from cyclopts.exceptions import UnknownCommandError  # noqa: PLC0415 - only here

    with pytest.raises(UnknownCommandError) as raised:
        build_app()([typed])
    raised.value.verbose = False
    expected = str(raised.value).partition(" Available commands:")[0]

    assert main([typed]) == 2
    complaint = capsys.readouterr().err.removeprefix("ecsbatch: ")
    assert complaint.startswith(expected.rstrip("."))


def test_the_overview_fits_a_screen_of_80(tmp_path: Path) -> None:
    """Typed alone, as by somebody who does not know what there is."""
    done = Terminal(tmp_path).type()

    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("typed", ["", "version", "help status"])
def test_standard_output_that_takes_nothing_or_is_closed_is_no_bug(typed: str, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    script = f"{sys.executable} -m ecsbatch {typed} >/dev/full; {sys.executable} -m ecsbatch {typed} >&- && echo closed"
    done = subprocess.run(  # noqa: S602 - our own program, with a shell's own redirections
        script, shell=True, env=environment, check=False, capture_output=True, text=True
    )

    full = "ecsbatch: standard output cannot be written (No space left on device): make room, or write it elsewhere.\n"
    assert (done.stdout, done.stderr) == ("closed\n", full)
    assert list(tmp_path.iterdir()) == []


def test_a_python_that_is_too_old_is_told_of_in_a_line(tmp_path: Path) -> None:
    for name in ("__init__.py", "__main__.py"):
        ast.parse((ROOT / "ecsbatch" / name).read_text(encoding="utf-8"), feature_version=(3, 7))
    done = subprocess.run([sys.executable, "-c", OLD], cwd=tmp_path, check=False, capture_output=True, text=True)  # noqa: S603 - our own

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "ecsbatch needs Python 3.11 or newer, and this is 3.10: "
        "make its environment with a newer one, such as python3.11 -m venv .venv\n"
    )
