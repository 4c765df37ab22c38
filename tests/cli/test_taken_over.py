"""A run that another process has taken over: the one that had it says by whom, and ends with a code of its own."""

from __future__ import annotations

import json

import pytest
from typed_commands import Simulator, Terminal

HELD = ("--waves", "1,100%", "--soak", "100h", "--max-unavailable", "100%", "--typical-restart", "1s", "--linger", "0")


@pytest.mark.parametrize("form", ["text", "json"])
def test_who_has_lost_its_run_says_to_whom_and_ends_with_8(terminal: Terminal, cloud: Simulator, form: str) -> None:
    """Where the lock beside the store is lost the fence in it stops whoever had the run, at its next write."""
    (terminal.folder / "fleet.txt").write_text("\n".join(cloud.ids[100:110]) + "\n")
    begun = terminal.begin(
        "restart", "fleet.txt", *HELD, "--run-id", form, "--yes", "-v", *(["-o", "json"] if form == "json" else [])
    )
    for line in begun.stderr:
        if "wave.finished" in line:
            break
    for lock in terminal.folder.rglob("*.lock"):
        lock.unlink()
    taken = terminal.begin("resume", form, "--yes", "-v")
    for line in taken.stderr:
        if "run.resumed" in line:
            break
    # Both hear of it, and both write that they follow; nothing else makes the first one write in a hundred hours.
    terminal.type("pause", form)
    out, err = begun.communicate(timeout=60)

    assert begun.returncode == 8, err
    assert len(list(terminal.folder.rglob("*.lock"))) == 1, "it has let go of another's lock"
    assert f"Run {form} was taken over by " in err
    assert f", pid {taken.pid} " in err
    assert f"`ecsbatch watch {form}` shows it." in err
    if form == "json":
        told = json.loads(out)
        assert (told["run_id"], told["status"], told["reason"]) == ("json", "running", "taken_over")
        assert (told["pid"], told["held"], told["total"], told["restarted"]) == (taken.pid, True, 10, 1)
        assert told["message"] in err
