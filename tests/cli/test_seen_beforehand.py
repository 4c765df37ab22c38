"""What restart would refuse or be surprised by is told before anything is sent, and by plan already."""

from __future__ import annotations

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
