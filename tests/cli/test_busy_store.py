"""A process that stands still in the middle of a write: whoever looks is told, and by name."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typed_commands import Simulator, Terminal

from ecsbatch.cli.live import store_notice


@pytest.mark.parametrize(
    ("seconds", "waits_for", "keeper", "expected"),
    [
        (0.0, "another process", 0, ""),
        (2.9, "process 4711", 4711, ""),
        (12.0, "another process", 0, "The store has waited 12s for another process: nothing is sent meanwhile."),
        (
            12.0,
            "process 4711",
            4711,
            "The store has waited 12s for process 4711: nothing is sent meanwhile (end it, or kill -CONT 4711).",
        ),
        (
            75.0,
            "the database (connection refused)",
            0,
            "The store has waited 1m15s for the database (connection refused): nothing is sent meanwhile.",
        ),
    ],
)
def test_a_run_that_waits_for_the_store_says_what_it_waits_for(
    seconds: float, waits_for: str, keeper: int, expected: str
) -> None:
    assert store_notice(seconds, waits_for, keeper) == expected


def test_explain_answers_beside_a_write_that_stands_still_and_names_the_writer(
    terminal: Terminal, cloud: Simulator, tmp_path: Path
) -> None:
    store = tmp_path / "busy.db"
    url = f"sqlite:///{store}"
    (tmp_path / "fleet.txt").write_text("\n".join(cloud.ids[:2]) + "\n")
    restarted = terminal.type("restart", "fleet.txt", "--yes", "--store", url, "--typical-restart", "1s")
    assert restarted.returncode == 0, restarted.stderr
    with closing(sqlite3.connect(store, isolation_level=None)) as frozen:
        frozen.execute("BEGIN IMMEDIATE")
        busy = terminal.type("explain", "--store", url)
        status = terminal.type("status", "--store", url)
    free = terminal.type("explain", "--store", url)

    assert (busy.returncode, status.returncode, free.returncode) == (0, 0, 0), busy.stderr + status.stderr
    assert "is in the middle of a write to the store: no run goes on until it lets go." in " ".join(busy.stdout.split())
    assert "in the middle of a write" not in free.stdout
    if sys.platform == "linux":
        assert f"kill -CONT {os.getpid()}" in busy.stdout
