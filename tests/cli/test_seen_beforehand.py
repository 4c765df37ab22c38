"""What restart would refuse or be surprised by is told before anything is sent, and by plan already."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typed_commands import Simulator, Terminal, simulate

FAST = ("--quota", "1000/1s", "--typical-restart", "1s", "--linger", "0.05s", "--api-rate", "100/s")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    yield from simulate(tmp_path_factory.mktemp("cloud"), ["--servers", "60", "--speed", "400"])


@pytest.fixture
def gate(terminal: Terminal, cloud: Simulator) -> Path:
    """A gate that says go, in a folder with a list of 30 servers and one of 5 others."""
    (terminal.folder / "fleet.txt").write_text("\n".join(cloud.ids[:30]), encoding="utf-8")
    (terminal.folder / "rest.txt").write_text("\n".join(cloud.ids[30:35]), encoding="utf-8")
    script = terminal.folder / "go"
    script.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    script.chmod(0o755)
    return script


def test_a_gate_or_check_that_cannot_be_started_is_refused_before_anything_is_sent(
    terminal: Terminal, cloud: Simulator, gate: Path
) -> None:
    waves = ("--waves", "1,100%", "--gate", "./go")
    terminal.type("plan", "fleet.txt", *waves, "--out", "night.plan")
    held = terminal.type("restart", "rest.txt", *FAST, "--waves", "1", "--gate", "false", "--yes", "--run-id", "stops")
    gate.unlink()
    before = cloud.audit()["restarts"]
    restart = terminal.type("restart", "fleet.txt", *FAST, *waves, "--yes")
    check = terminal.type("restart", "fleet.txt", *FAST, "--check", "cmd:./go {id}", "--yes")
    apply = terminal.type("apply", "night.plan", *FAST, "--yes", "--accept-drift")
    resume = terminal.type("resume", "stops", *FAST, "--yes", PATH="/nowhere")

    assert held.returncode == 4, held.stderr
    for refused, name in ((restart, "gate"), (check, "check"), (apply, "gate")):
        assert refused.returncode == 2, refused.stderr
        assert f"The {name} " in refused.stderr
        assert "there is no file ./go: put it there, or give its path. Nothing was sent.\n" in refused.stderr
    assert resume.returncode == 2, resume.stderr
    assert "there is no program false in PATH" in resume.stderr
    assert cloud.audit()["restarts"] == before


def test_plan_and_dry_run_warn_of_a_gate_that_is_not_here_and_of_a_hold_that_never_comes(
    terminal: Terminal, gate: Path
) -> None:
    gate.chmod(0o644)
    asked = ("fleet.txt", "--waves", "10", "--gate", "./go", "--hold-after", "3")
    shown = [terminal.type("plan", *asked), terminal.type("restart", *asked, "--dry-run")]
    fine = terminal.type("plan", "fleet.txt", "--waves", "10", "--hold-after", "2", "-o", "json")

    for each in shown:
        text = " ".join(each.stdout.split())
        assert each.returncode == 0, each.stderr
        assert "Warning The gate ./go cannot be started: ./go may not be executed: chmod +x it. restart, apply" in text
        assert "Warning --hold-after 3 holds nothing: with 3 waves nothing is left after wave 3." in text
    assert json.loads(fine.stdout)["warnings"] == []
    assert not (terminal.folder / "state" / "ecsbatch" / "restarts.db").exists(), "a plan makes no store"


def test_plan_and_dry_run_say_which_runs_have_which_servers_and_count_only_their_own(
    terminal: Terminal, cloud: Simulator, gate: Path
) -> None:
    """5 servers are another run's, and what was restarted lately is told of the servers that would restart."""
    lists = {"some.txt": cloud.ids[40:50], "both.txt": cloud.ids[30:50], "not.txt": [*cloud.ids[42:50], cloud.ids[0]]}
    for name, ids in lists.items():
        (terminal.folder / name).write_text("\n".join(ids), encoding="utf-8")
    gate.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    stopped = terminal.type(
        "restart", "rest.txt", *FAST, "--waves", "1", "--gate", "./go", "--yes", "--run-id", "stops"
    )
    restarted = terminal.type("restart", "some.txt", *FAST, "--waves", "100%", "--yes")
    plan, dry = (terminal.type(*words, "both.txt") for words in (("plan",), ("restart", "--dry-run")))
    less = terminal.type("plan", "both.txt", "--exclude", "not.txt", "--out", "less.plan", "-o", "json")
    kept = terminal.type("apply", "less.plan", "--dry-run", "-o", "json")
    refused = terminal.type("apply", "less.plan", *FAST, "--yes")

    assert (stopped.returncode, restarted.returncode) == (4, 0), stopped.stderr + restarted.stderr
    for each in (plan, dry):
        text = " ".join(each.stdout.split())
        assert "Claimed 5 that other runs have (run stops: 5): restart refuses them, --exclude-claimed leaves" in text
        assert "Warning 11 servers of these were restarted within the last hour: --skip-restarted-since 1h" in text
    for each in (less, kept):
        told = json.loads(each.stdout)
        assert told["conflicts"] == {"stops": 5}
        assert told["warnings"][0].startswith("3 servers of these were restarted")
    idle = "1 id of --exclude is none of the servers given: a misspelt id leaves nobody out."
    assert [json.loads(each.stdout)["warnings"][1:] for each in (less, kept)] == [[idle], []]
    assert (refused.returncode, refused.stdout) == (7, "")
    assert "5 of these servers belong to run stops" in refused.stderr
