"""Steering, watching and asking a run from other terminals: real processes on one store."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pytest
from typed_commands import ECSBATCH, PAUSE, Simulator, Terminal, simulate

from ecsbatch.store.packing import unpacked

FAST = (
    *("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s"),
    *("--max-failures", "20%", "--yes"),
)
SLOW_QUOTA = ("--quota", "400/30s", *FAST[2:])
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


def begin(
    terminal: Terminal, ids: list[str], run_id: str, *arguments: str, fast: tuple[str, ...] = FAST
) -> subprocess.Popen[str]:
    (terminal.folder / f"{run_id}.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    return terminal.begin("restart", f"{run_id}.txt", *fast, *arguments, "--run-id", run_id)


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
        time.sleep(PAUSE)
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
        ("run.aborting", None),
    ]
    assert all("@" in each.get("by", each.get("message", "")) for each in status["steering"][1:])
    for words in ("paused by", "held before wave 2", "let go: promoted by", "ecsbatch resume steered"):
        assert words in picture
    with store(terminal) as database:
        asked = [
            row[0] for row in database.execute("SELECT ts FROM commands WHERE body NOT LIKE '%abort%' ORDER BY id")
        ]
    events = [each for each in status["steering"][1:-1] if each.get("limit") != "max_unavailable"]
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
    turned = ask(terminal, "explain", "held", ids[-1])
    person = terminal.type("explain", "held").stdout

    assert (turned["server"], turned["cause"]) == (ids[-1], "orphaned"), "the other order is as good"
    assert (held["cause"], held["commands"][0]) == ("hold", "ecsbatch promote held")
    assert later["cause"] == "hold"
    assert done["cause"] in {"restarted", "skipped"}
    assert foreign["cause"] == "not_of_run"
    assert (claimed["cause"], "held" in claimed["text"]) == ("claimed", True)
    assert full["cause"] == "budget"
    assert red["cause"] == "gate"
    assert paused["cause"] == "paused"
    assert orphaned["cause"] == "orphaned"
    assert "ecsbatch resume held" in person
    assert max(map(len, person.splitlines())) <= 80


def test_a_gate_stops_a_run_and_is_asked_again_by_resume(terminal: Terminal, cloud: Simulator, gate: Path) -> None:
    gate.write_text("1", encoding="utf-8")
    run = begin(terminal, cloud.ids[110:130], "gated", "--waves", "2,100%", "--gate", "sh gate.sh", "-q")
    out, _ = run.communicate(timeout=30)
    stopped = ask(terminal, "explain", "gated")
    gate.write_text("0", encoding="utf-8")
    resumed = terminal.type("resume", "gated", *FAST[:8], "-q", "-o", "json")

    assert run.returncode == 4
    assert "wave 2 of run gated" in out
    assert "the gate is asked again" in out
    assert stopped["cause"] == "gate"
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["not_started"] == 0


def test_a_run_is_watched_from_another_terminal_to_its_end(terminal: Terminal, cloud: Simulator) -> None:
    """The watcher's events, its summary and its code are the run's own."""
    run = begin(terminal, cloud.ids[130:230], "seen", "--waves", "20%,100%", "--max-unavailable", "10", "-o", "json")
    until(run, "wave.started")
    watcher = terminal.begin("watch", "seen", "-o", "json", "--events", "watched.jsonl")
    leaving = terminal.begin("watch", "seen")
    until(leaving, "server" if run.poll() is None else "")
    leaving.send_signal(signal.SIGINT)
    _, left = leaving.communicate(timeout=30)
    out, _ = run.communicate(timeout=30)
    watched, err = watcher.communicate(timeout=30)
    late = terminal.type("watch", "seen", "-o", "json")

    assert run.returncode == watcher.returncode == late.returncode == 0, err
    assert json.loads(out) == json.loads(watched) == json.loads(late.stdout)
    events = [json.loads(line)["event"] for line in (terminal.folder / "watched.jsonl").read_text().splitlines()]
    assert events[-1] == "run.finished"
    assert "wave.finished" in err
    assert (leaving.returncode, "goes on; watch it again" in left) == (130, True), left


def test_an_audit_proves_a_good_run_and_finds_what_was_tampered_with(terminal: Terminal, cloud: Simulator) -> None:
    wide = ("-q", "--waves", "100%", "--max-unavailable", "50%")
    begun = [
        begin(terminal, ids, run_id, *wide, fast=SLOW_QUOTA)
        for run_id, ids in (("beside", cloud.ids[230:240]), ("good", cloud.ids[240:290]))
    ]
    assert [each.wait(timeout=30) for each in begun] == [0, 0]
    good = terminal.type("audit", "good")
    told = terminal.type("audit", "good", "-o", "json")
    with store(terminal) as database:
        lines = [
            (row, unpacked(stored))
            for row, stored in database.execute("SELECT rowid, lines FROM journal WHERE run_id = 'good'")
        ]
        (row, twice) = next(each for each in lines if b"server.restarted" in each[1])
        edited = twice.replace(b"server.restarted", b"server.skipped", 1)
        database.execute("UPDATE journal SET lines = ? WHERE rowid = ?", (edited, row))
        (end,) = (
            row
            for row, stored in database.execute("SELECT rowid, lines FROM journal WHERE run_id = 'beside'").fetchall()
            if b"run.finished" in unpacked(stored)
        )
        database.execute("DELETE FROM journal WHERE rowid = ?", (end,))
    tampered = terminal.type("audit", "good")
    shortened = terminal.type("audit", "beside")

    assert (good.returncode, told.returncode, json.loads(told.stdout)["ok"]) == (0, 0, True), good.stdout
    assert "no promise is broken" in good.stdout
    assert max(map(len, good.stdout.splitlines())) <= 80
    assert json.loads(told.stdout)["windows"][0]["servers"] > 50, "the run beside it spends the same quota"
    assert (tampered.returncode, "outcome" in tampered.stdout) == (1, True), tampered.stdout
    assert (shortened.returncode, "are not there" in shortened.stdout) == (1, True), shortened.stdout


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    arguments = ["--servers", "2000", "--speed", "60", "--faults", "unhealthy=100%"]
    yield from simulate(tmp_path_factory.mktemp("sick"), arguments)


def test_a_kernel_that_does_not_come_up_stops_at_the_canary(terminal: Terminal, sick: Simulator) -> None:
    """Jobs succeed, checks fail: the summary says where, and how to go on."""
    terminal.environment.update(sick.environment)
    check = f"url:{sick.url}/_simulator/health/{{id}}"
    (terminal.folder / "all.txt").write_text("\n".join(sick.ids), encoding="utf-8")
    done = terminal.type(
        *("restart", "all.txt", *FAST[:8], "--yes", "-q", "--run-id", "kernel"),
        *("--check", check, "--check-interval", "0.5s", "--server-timeout", "10s"),
    )
    after_canary = sick.audit()["restarts"]
    again = terminal.type("resume", "kernel", *FAST[:8], "--retry", "failed", "-q", "-o", "json")

    aborted = terminal.type("abort", "kernel", "--yes")
    late = terminal.type("resume", "kernel")

    assert done.returncode == 4, done.stderr
    assert (aborted.returncode, late.returncode) == (0, 7), "nobody held it: the one who aborts ends it"
    assert "Run kernel aborted" in aborted.stdout
    assert "  not started " in aborted.stdout
    left = "ecsbatch report kernel --outcome failed,not_started -o csv --out left.csv"
    assert left in aborted.stdout, "the one that failed is left, too"
    assert left in " ".join(late.stderr.split())
    assert ask(terminal, "status", "kernel")["status"] == "aborted"
    assert (after_canary, sick.audit()["restarts"]) == (1, 2)
    for words in (
        "by reason   unhealthy 1",
        "it answered 503",
        "ecsbatch resume kernel --max-failures-per-wave 2",
        "--forgive --skip-domain az1",
        "ecsbatch resume kernel --retry failed",
        "ecsbatch abort kernel",
    ):
        assert words in done.stdout
    assert (again.returncode, json.loads(again.stdout)["failed"]) == (4, 1), "a resumed run asks the same check"


AT_A_TERMINAL = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"


def begin_at_a_terminal(
    terminal: Terminal, cloud: Simulator, run_id: str, fast: tuple[str, ...]
) -> subprocess.Popen[str]:
    words = ["restart", "stay.txt", *fast, "--waves", "2,100%", "--gate", "sh gate.sh", "--run-id", run_id]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", AT_A_TERMINAL, *ECSBATCH, *words],
        cwd=terminal.folder,
        env={**os.environ, "XDG_STATE_HOME": str(terminal.folder / "state"), **cloud.environment, "TERM": "dumb"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    terminal.processes.append(process)
    return process


def test_a_run_that_was_agreed_to_with_yes_asks_nothing_when_it_stops(
    terminal: Terminal, cloud: Simulator, gate: Path
) -> None:
    """What stands in a script must not wait for somebody, even at a terminal."""
    gate.write_text("1", encoding="utf-8")
    (terminal.folder / "stay.txt").write_text("\n".join(cloud.ids[280:290]), encoding="utf-8")
    process = begin_at_a_terminal(terminal, cloud, "script", FAST)
    assert process.stdout is not None
    shown = process.stdout.read()

    assert process.wait(timeout=30) == 4, shown
    assert "ecsbatch resume script" in shown
    assert "Type a number" not in shown


def test_a_stopped_run_stays_at_a_terminal_and_goes_on_by_a_number(
    terminal: Terminal, cloud: Simulator, gate: Path
) -> None:
    """Elsewhere it exits with 4; here the same process goes on once it is told how."""
    gate.write_text("1", encoding="utf-8")
    (terminal.folder / "stay.txt").write_text("\n".join(cloud.ids[290:300]), encoding="utf-8")
    process = begin_at_a_terminal(terminal, cloud, "stay", FAST[:-1])
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdin.write("y\n")
    process.stdin.flush()
    shown = ""
    while "end it for good" not in shown:
        line = process.stdout.readline()
        assert line, shown
        shown += line
    gate.write_text("0", encoding="utf-8")
    process.stdin.write("7\n1\n")
    process.stdin.flush()
    rest = process.stdout.read()

    assert "go on, the gate is asked again" in shown
    assert "Type a number from 1 to 2" in rest
    assert "Run stay succeeded" in rest
    assert process.wait(timeout=30) == 0


@pytest.fixture
def broken_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A cloud in which every restart fails."""
    folder = tmp_path_factory.mktemp("broken")
    yield from simulate(folder, ["--servers", "12", "--speed", "60", "--faults", "fail=100%"])


def test_forgiveness_is_asked_for_once_more_in_the_menu_after_a_stop(
    terminal: Terminal, broken_cloud: Simulator
) -> None:
    (terminal.folder / "stay.txt").write_text("\n".join(broken_cloud.ids), encoding="utf-8")
    process = begin_at_a_terminal(terminal, broken_cloud, "sick", (*FAST[:-3], "--max-failures", "0"))
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdin.write("y\n")
    process.stdin.flush()
    shown = shown_until(process.stdout, "end it for good")
    number = re.search(r"(\d) go on, the failures so far stop counting", plain(shown))
    assert number is not None, shown
    process.stdin.write(f"{number[1]}\nn\n\n")
    process.stdin.flush()
    rest = plain(process.stdout.read())

    assert "[y/N]" in rest
    assert rest.count("end it for good") >= 2, "the menu comes again, and the commands behind it"
    assert "Record head " in rest, "who leaves it as it is has the head, too"
    assert process.wait(timeout=30) == 4


def test_who_holds_a_run_sees_that_somebody_else_aborts_it(terminal: Terminal, cloud: Simulator) -> None:
    """Servers under way may take minutes; meanwhile nothing new is sent, and there is no pace."""
    (terminal.folder / "ending.txt").write_text("\n".join(cloud.ids[:2]), encoding="utf-8")
    check = ("--check", "cmd:test -e up", "--check-interval", "0.2s", "--server-timeout", "60s", "--min-ready", "0s")
    words = ["restart", "ending.txt", *FAST, *check, "--max-unavailable", "1", "--waves", "100%", "--run-id", "ending"]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", AT_A_TERMINAL, *ECSBATCH, *words],
        cwd=terminal.folder,
        env={**os.environ, "XDG_STATE_HOME": str(terminal.folder / "state"), **cloud.environment, "TERM": "xterm"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    terminal.processes.append(process)
    assert process.stdout is not None
    shown_until(process.stdout, "1 restarting")
    aborted = terminal.type("abort", "ending", "--yes")
    shown = shown_until(process.stdout, "Aborting")
    (terminal.folder / "up").touch()
    rest = plain(shown + process.stdout.read())

    assert aborted.returncode == 0, aborted.stderr
    assert re.search(r"Aborting \(asked by \S+@\S+\): nothing new is sent, 1 server under way gets its outcome\.", rest)
    assert "Run ending aborted" in rest
    assert process.wait(timeout=30) == 4


def shown_until(stream: IO[str], words: str) -> str:
    """Read what a command shows up to a line with these words."""
    shown = ""
    for line in stream:
        shown += line
        if words in line:
            return shown
    raise AssertionError(f"it ended without {words!r}: {shown}")


def plain(written: str) -> str:
    """Leave out what moves the cursor and what colours."""
    return " ".join(re.sub(r"\x1b\[[\d;?]*[A-Za-z]", " ", written).split())
