"""A holder that is killed with standbys beside it. The long version is ``python tests/cli/takeovers.py``."""

from __future__ import annotations

from pathlib import Path

import takeovers
from typed_commands import simulate


def test_a_run_has_its_next_process_within_six_seconds_of_a_kill(tmp_path: Path, database_url: str) -> None:
    """Nobody types anything; by the simulator's books no server twice."""
    [told] = [
        takeovers.play(tmp_path, cloud, database_url, kills=1, every=1.0, speed=60, down="8")
        for cloud in simulate(tmp_path, ["--servers", "60", "--speed", "60"])
    ]

    assert len(told.seconds) == 1
    assert max(told.seconds) <= 6
    assert (told.status, told.receipt) == ("succeeded", 0)
    assert (told.audit["restarted_servers"], told.audit["restarted_more_than_once"]) == (60, 0)
