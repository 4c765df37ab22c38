"""The promises of a killed process, kept by real ones. The long version is ``python tests/cli/chaos.py``."""

from __future__ import annotations

from pathlib import Path

import chaos


def test_a_run_that_is_killed_three_times_restarts_every_server_once(tmp_path: Path) -> None:
    with chaos.cloud(tmp_path, servers=300, speed=20) as simulator:
        story = chaos.run(tmp_path, simulator, kills=3, speed=20, seed=5)

    assert story.complaints() == []
