"""Lists with ids that do not exist: nobody agrees to them unasked, and no run passes over them in silence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from typed_commands import ECSBATCH, Simulator, Terminal, simulate

TYPOS = [f"{number:08x}-dead-4000-8000-000000000000" for number in range(5)]
FAST = ("--quota", "1000/1s", "--typical-restart", "1s", "--linger", "0.05s", "--api-rate", "100/s", "--waves", "100%")
AT_A_TERMINAL = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    yield from simulate(tmp_path_factory.mktemp("cloud"), ["--servers", "60", "--speed", "400"])


@pytest.fixture
def typed(terminal: Terminal, cloud: Simulator) -> Terminal:
    """A terminal with a list of 60 servers and 5 slips of the pen."""
    (terminal.folder / "fleet.txt").write_text("\n".join([*cloud.ids, *TYPOS]), encoding="utf-8")
    return terminal


@pytest.mark.parametrize("said", [["--yes"], [], ["--confirm-count", "60"], ["--yes", "--max-not-found", "4"]])
def test_what_nobody_reads_is_refused_where_too_much_of_it_does_not_exist(
    typed: Terminal, cloud: Simulator, said: list[str]
) -> None:
    before = cloud.audit()["restarts"]
    refused = typed.type("restart", "fleet.txt", *FAST, *said)

    assert (refused.returncode, refused.stdout) == (7, "")
    assert refused.stderr.startswith("ecsbatch: 5 of the 65 ids given do not exist, and --max-not-found allows ")
    assert f"{TYPOS[0]}, {TYPOS[1]}, {TYPOS[2]} and 2 more. Nothing was sent: correct the list" in refused.stderr
    assert "--max-not-found 5.\n" in refused.stderr
    assert cloud.audit()["restarts"] == before


def test_a_script_that_allows_them_is_told_by_its_exit_code_and_may_go_on_with_its_run(typed: Terminal) -> None:
    command = ("restart", "fleet.txt", *FAST, "--yes", "-q", "--run-id", "typos")
    allowed = typed.type(*command, ECSBATCH_MAX_NOT_FOUND="8%")
    again = typed.type(*command)

    assert (allowed.returncode, again.returncode) == (3, 3), allowed.stderr + again.stderr
    assert "5 ids that do not exist:" in allowed.stdout
    assert again.stdout == allowed.stdout


def test_a_plan_that_is_applied_allows_what_it_was_made_with(typed: Terminal) -> None:
    for name, share in (("strict", "1%"), ("lax", "10%")):
        planned = typed.type("plan", "fleet.txt", *FAST, "--max-not-found", share, "--out", f"{name}.plan")
        assert "5 of 65 ids given" in " ".join(planned.stdout.split())
    engine = [*FAST[:-2], "--yes", "-q"]
    strict, lax = (typed.type("apply", f"{name}.plan", *engine) for name in ("strict", "lax"))

    assert (strict.returncode, lax.returncode) == (7, 3), strict.stderr + lax.stderr


def test_a_person_who_says_yes_to_the_plan_has_agreed(typed: Terminal, cloud: Simulator) -> None:
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", AT_A_TERMINAL, *ECSBATCH, "restart", "fleet.txt", *FAST],
        cwd=typed.folder,
        env={**os.environ, "XDG_STATE_HOME": str(typed.folder / "state"), **cloud.environment, "TERM": "dumb"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        typed.processes.append(process)
        shown, _ = process.communicate("y\n")

    assert process.returncode == 3, shown
    assert "Not found   5 of 65 ids given: " in shown
    assert "Restart 60 servers?" in shown
    assert "5 ids that do not exist:" in shown


def test_json_names_every_one_of_them(typed: Terminal) -> None:
    planned = typed.type("plan", "fleet.txt", "-o", "json")
    ended = typed.type("restart", "fleet.txt", *FAST, "--yes", "-q", "-o", "json", "--max-not-found", "5")

    assert json.loads(planned.stdout)["not_found"] == TYPOS
    assert json.loads(ended.stdout)["not_found"] == TYPOS
