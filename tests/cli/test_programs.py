"""A gate or a check runs by the word of whoever types: not since it stands where others could write it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typed_commands import Simulator, Terminal

from ecsbatch.store.packing import unpacked

FAST = ("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s")
STRATEGY = ("--waves", "1,100%", "--max-unavailable", "100%")
GATE = ("--gate", "sh gate.sh")
STORE = ("--store", "sqlite:///shared/r.db")
CHECK = ("--check", "cmd:sh -c true", "--min-ready", "0s", "--check-interval", "1s")


@pytest.fixture
def ran(terminal: Terminal) -> Path:
    """A gate that writes down that it ran and stops, and a folder for a store; returns what it writes."""
    said = terminal.folder / "ran"
    (terminal.folder / "gate.sh").write_text("echo x >> ran\nexit 1\n", encoding="utf-8")
    (terminal.folder / "shared").mkdir(mode=0o700)
    return said


def begun(terminal: Terminal, ids: list[str], *words: str) -> int:
    (terminal.folder / "few.txt").write_text("\n".join(ids), encoding="utf-8")
    return terminal.type("restart", "few.txt", "--yes", "-q", *FAST, *STRATEGY, *words).returncode


def recorded_before(store: Path, text: str, before: str) -> None:
    """Put a check on record as an earlier version would have."""
    with closing(sqlite3.connect(store)) as database, database:
        for table, column in (("runs", "plan"), ("journal", "lines")):
            for row, value in database.execute(f"SELECT rowid, {column} FROM {table}").fetchall():  # noqa: S608 - our own names
                written = unpacked(value) if isinstance(value, bytes) else value.encode()
                changed = written.replace(json.dumps(text).encode(), json.dumps(before).encode())
                changed = changed if isinstance(value, bytes) else changed.decode()
                database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, row))  # noqa: S608 - the same


def test_the_gate_of_a_store_that_others_may_write_runs_only_where_it_is_typed_again(
    terminal: Terminal, cloud: Simulator, ran: Path
) -> None:
    assert begun(terminal, cloud.ids[:3], *STORE, *GATE, "--run-id", "shared") == 4
    private = terminal.type("resume", "shared", *STORE, *FAST, "-q")
    (terminal.folder / "shared").chmod(0o707)
    sent = cloud.audit()["restarts"]
    refused = [
        terminal.type("resume", "shared", *STORE, *FAST),
        terminal.type("resume", "shared", *STORE, *FAST, ECSBATCH_GATE="sh other.sh"),
        terminal.type("restart", "few.txt", "--yes", *STORE, *FAST, "--run-id", "shared"),
    ]
    other = terminal.type("resume", "shared", *STORE, *FAST, "--gate", "sh other.sh")
    assert len(ran.read_text().split()) == 2, "of the begin and of the resume while the store was private"
    (terminal.folder / "mine.toml").write_text('[programs]\nallow_programs = ["sh gate.sh"]\n', encoding="utf-8")
    (terminal.folder / "mine.toml").chmod(0o600)
    allowed = [
        terminal.type("resume", "shared", *STORE, *FAST, *GATE),
        terminal.type("resume", "shared", *STORE, *FAST, "--config", "mine.toml"),
        terminal.type("restart", "few.txt", "--yes", *STORE, *FAST, *GATE, "--run-id", "shared"),
    ]
    read = terminal.type("report", "shared", *STORE[:2], "-o", "csv")
    aborted = terminal.type("abort", "shared", *STORE, "--yes")

    assert private.returncode == 4
    assert "may be written" not in private.stderr
    for each in refused:
        assert (each.returncode, each.stdout) == (7, ""), each.stderr
        assert "Run shared names the gate 'sh gate.sh'" in each.stderr
        assert "shared may be written by everybody (`chmod go-w " in each.stderr
        assert "give --gate with the same text" in each.stderr
    assert other.returncode == 7
    assert "has the gate 'sh gate.sh', not --gate 'sh other.sh'" in other.stderr
    assert cloud.audit()["restarts"] == sent
    for each in allowed:
        assert each.returncode == 4, each.stderr
        assert f"ecsbatch resume shared {' '.join(STORE)} --gate 'sh gate.sh'\n" in each.stdout, "as it has to be typed"
        assert each.stderr.index("may be written by everybody") < each.stderr.index("holder.changed")
    assert len(ran.read_text().split()) == 5
    assert read.returncode == 0
    assert aborted.returncode == 0, aborted.stderr


def test_the_gate_of_a_plan_that_others_may_write_runs_only_where_it_is_typed_again(
    terminal: Terminal, cloud: Simulator, ran: Path
) -> None:
    (terminal.folder / "few.txt").write_text("\n".join(cloud.ids[10:13]), encoding="utf-8")
    terminal.type("plan", "few.txt", *STRATEGY, *GATE, "--out", "a.plan")
    (terminal.folder / "a.plan").chmod(0o606)
    sent = cloud.audit()["restarts"]
    shown = terminal.type("apply", "a.plan", *FAST, "--dry-run")
    refused = terminal.type("apply", "a.plan", *FAST, "--yes")
    other = terminal.type("apply", "a.plan", *FAST, "--yes", "--gate", "sh other.sh")
    assert (cloud.audit()["restarts"], ran.exists()) == (sent, False)
    allowed = terminal.type("apply", "a.plan", *FAST, "--yes", *GATE)

    assert shown.returncode == 0, shown.stderr
    assert (refused.returncode, other.returncode) == (7, 7)
    assert "The plan names the gate 'sh gate.sh'" in refused.stderr
    assert (
        "a.plan may be written by everybody (`chmod go-w a.plan` makes it private, with what stands in it by then)"
        in refused.stderr
    )
    assert "The plan a.plan has the gate 'sh gate.sh', not --gate 'sh other.sh'" in other.stderr
    assert allowed.returncode == 4, allowed.stderr
    assert allowed.stderr.index("a.plan may be written") < allowed.stderr.index("run.started")
    assert len(ran.read_text().split()) == 1


def test_a_check_that_is_refused_by_now_is_replaced_at_resume(terminal: Terminal, cloud: Simulator, ran: Path) -> None:
    """A run of an earlier version may have a server's name in a shell's words: it says what to give instead."""
    check = "cmd:sh -c 'true || {name}'"
    assert begun(terminal, cloud.ids[20:23], *STORE, *GATE, *CHECK, "--run-id", "older") == 4
    recorded_before(terminal.folder / "shared" / "r.db", "cmd:sh -c true", check)
    refused = terminal.type("resume", "older", *STORE, *FAST)
    (terminal.folder / "gate.sh").write_text("exit 0\n", encoding="utf-8")
    good = "cmd:sh -c 'true || \"$ECSBATCH_SERVER_NAME\"'"
    replaced = terminal.type("resume", "older", *STORE, *FAST, "-q", "--check", good)

    assert refused.returncode == 2
    assert "Run older cannot go on with its check; give another one." in refused.stderr
    assert refused.stderr.endswith("Its flag is --check.\n")
    assert "write $ECSBATCH_SERVER_NAME (in double quotes) in place of {name}" in refused.stderr
    assert replaced.returncode == 0, replaced.stderr
    assert not ran.exists() or len(ran.read_text().split()) == 1


def test_credentials_are_given_back_to_a_gate_by_name(terminal: Terminal, cloud: Simulator, ran: Path) -> None:
    (terminal.folder / "gate.sh").write_text('echo "${HUAWEICLOUD_SDK_AK:-no}" "${HUAWEICLOUD_SDK_SK:-no}" >> ran\n')
    codes = [
        begun(terminal, cloud.ids[30:32], *STORE, *GATE),
        begun(terminal, cloud.ids[32:34], *STORE, *GATE, "--pass-env", "HUAWEICLOUD_SDK_AK"),
        begun(terminal, cloud.ids[34:36], *STORE, *GATE, "--pass-env", "PATH"),
    ]
    (terminal.folder / "gate.sh").write_text("exit 1\n", encoding="utf-8")
    passed = ("--pass-env", "HUAWEICLOUD_SDK_AK", "--pass-env", "HUAWEICLOUD_SDK_SK")
    stopped = terminal.type("restart", "few.txt", "--yes", "-q", *FAST, *STRATEGY, *STORE, *GATE, *passed)
    key = terminal.environment["HUAWEICLOUD_SDK_AK"]

    assert codes == [0, 0, 2]
    assert f"{' '.join(STORE)} --pass-env HUAWEICLOUD_SDK_AK,HUAWEICLOUD_SDK_SK\n" in stopped.stdout
    assert ran.read_text().splitlines() == ["no no", f"{key} no"]
