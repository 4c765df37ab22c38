"""Steering, watching and asking a run from other terminals: real processes on one store."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typed_commands import Simulator, Terminal, simulate

FAST = (
    *("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s"),
    *("--max-failures", "20%", "--yes"),
)
GATE = """#!/bin/sh
echo "wave $ECSBATCH_WAVE of run $ECSBATCH_RUN_ID"
exit $(cat verdict)
"""


@pytest.fixture(autouse=True)
def gate(terminal: Terminal) -> Path:
    """A command that answers with the code in a file, and that file."""
    script, verdict = terminal.folder / "gate.sh", terminal.folder / "verdict"
    script.write_text(GATE, encoding="utf-8")
    verdict.write_text("0", encoding="utf-8")
    return verdict


def begin(terminal: Terminal, ids: list[str], run_id: str, *arguments: str) -> subprocess.Popen[str]:
    (terminal.folder / f"{run_id}.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    return terminal.begin("restart", f"{run_id}.txt", *FAST, *arguments, "--run-id", run_id)


def until(process: subprocess.Popen[str], words: str) -> None:
    """Read what a command says on stderr up to a line with these words."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"it ended without {words!r}")


def ask(terminal: Terminal, *words: str) -> dict[str, Any]:
    done = terminal.type(*words, "-o", "json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def soon(terminal: Terminal, words: tuple[str, ...], true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask until an answer is as expected."""
    end = time.monotonic() + 20
    while not true(answer := ask(terminal, *words)):
        assert time.monotonic() < end, answer
    return answer


def store(terminal: Terminal) -> sqlite3.Connection:
    return sqlite3.connect(next(terminal.folder.joinpath("state").rglob("*.db")))


def test_steering_is_seen_in_status_and_events_within_a_second(terminal: Terminal, cloud: Simulator) -> None:
    """Each command is asked in one process and followed in another; who and when stand in the record."""
    run = begin(terminal, cloud.ids[:60], "steered", "--waves", "2,100%", "--hold-after", "1", "--max-unavailable", "1")
    until(run, "gate.checked")
    promoted = terminal.type("promote", "steered")
    paused = terminal.type("pause", "steered")
    picture = terminal.type("status", "steered").stdout
    tightened = terminal.type("adjust", "steered", "--max-failures", "3")
    refused = terminal.type("adjust", "steered", "--max-failures", "4")
    wrong = terminal.type("adjust", "steered", "--max-failures", "many", "--yes")
    loosened = terminal.type("adjust", "steered", "--max-failures", "4", "--max-unavailable", "2", "--yes")
    resumed = terminal.type("resume", "steered")
    aborted = terminal.type("abort", "steered", "--yes")
    run.communicate(timeout=30)

    codes = [each.returncode for each in (promoted, paused, tightened, refused, wrong, loosened, resumed, aborted)]
    assert codes == [0, 0, 0, 7, 2, 0, 0, 0]
    assert "max_failures 12 -> 3" in tightened.stdout
    assert "--yes" in refused.stderr
    assert run.returncode == 4
    status = ask(terminal, "status", "steered")
    told = [(each["event"], each.get("limit") or each.get("verdict")) for each in status["steering"]]
    assert told == [
        ("gate.checked", "wait"),
        ("gate.checked", "go"),
        ("run.paused", None),
        ("limit.changed", "max_failures"),
        ("limit.changed", "max_unavailable"),
        ("limit.changed", "max_failures"),
        ("run.resumed", None),
    ]
    assert all("@" in each.get("by", each.get("message", "")) for each in status["steering"][1:])
    for words in ("paused by", "held before wave 2", "let go: promoted by", "ecsbatch resume steered"):
        assert words in picture
    with store(terminal) as database:
        asked = [row[0] for row in database.execute("SELECT ts FROM commands WHERE body NOT LIKE '%abort%' ORDER BY id")]
    events = [each for each in status["steering"][1:] if each.get("limit") != "max_unavailable"]
    for at, event in zip(asked, events, strict=True):
        assert 0 <= datetime.fromisoformat(event["ts"]).timestamp() - at + 0.001 <= 1.0, event


def test_explain_names_what_holds_a_run_and_its_servers(terminal: Terminal, cloud: Simulator, gate: Path) -> None:
    """One run, held up on purpose again and again."""
    gate.write_text("75", encoding="utf-8")
    ids = cloud.ids[60:100]
    run = begin(
        terminal, ids, "held", "--waves", "2,100%", "--hold-after", "1", "--gate", "sh gate.sh", "--order", "input"
    )
    until(run, "gate.checked")
    held = ask(terminal, "explain", "held")
    later = ask(terminal, "explain", ids[-1], "held")
    done = ask(terminal, "explain", ids[0])
    foreign = ask(terminal, "explain", cloud.ids[0])
    second = begin(terminal, cloud.ids[100:110], "other", "--max-unavailable", "1", "--waves", "100%")
    until(second, "wave.started")
    claimed = ask(terminal, "explain", ids[-1], "other")
    full = soon(terminal, ("explain", cloud.ids[109], "other"), lambda told: told["cause"] != "queued")
    second.communicate(timeout=30)
    terminal.type("promote", "held")
    red = soon(terminal, ("explain", "held"), lambda told: "said wait" in told["text"])
    terminal.type("pause", "held")
    paused = ask(terminal, "explain", ids[-1], "held")
    run.send_signal(signal.SIGKILL)
    run.communicate()
    orphaned = ask(terminal, "explain", ids[-1], "held")
    person = terminal.type("explain", "held").stdout

    assert (held["cause"], held["commands"][0]) == ("hold", "ecsbatch promote held")
    assert (later["cause"], "wave 1 comes first" in later["text"] or "wave 2 comes first" in later["text"]) != ("", "")
    assert done["cause"] in {"restarted", "skipped"}
    assert foreign["cause"] == "not_of_run"
    assert (claimed["cause"], "held" in claimed["text"]) == ("claimed", True)
    assert full["cause"] == "budget"
    assert red["cause"] == "gate"
    assert paused["cause"] == "paused"
    assert orphaned["cause"] == "orphaned"
    assert "ecsbatch resume held" in person
    assert max(map(len, person.splitlines())) <= 80
