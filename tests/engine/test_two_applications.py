"""Embedded twice in one process, on the real loop, over real sockets: everything ends, and nothing is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.real
def test_two_applications_with_rollouts_are_cancelled_and_closed_without_a_warning_or_a_task_left(
    tmp_path: Path,
) -> None:
    program = Path(__file__).with_name("two_applications.py")
    command = [sys.executable, "-W", "error", "-X", "dev", str(program), f"sqlite:///{tmp_path / 'shared.db'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603 - our own program

    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    assert seen["left"] == []
    assert seen["cancelled"] == [True, True]
    assert seen["states"] == ["interrupted", "interrupted"]
    assert seen["wrong"] == []
    assert seen["answers"] >= 66
    assert seen["restarted_more_than_once"] == 0
    assert seen["fullest_window"] <= 1000
