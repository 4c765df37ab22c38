"""What a run keeps when it goes on: its quota; and what a person is told before restarting servers once more."""

from __future__ import annotations

import csv
import io
import json
import signal
from pathlib import Path

from typed_commands import Simulator, Terminal

ONE_WAVE = ("--max-unavailable", "100%", "--waves", "100%", "--typical-restart", "1s")


def quotas(path: Path) -> list[int]:
    """Return the quota of each process that had the run, from its file of events."""
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [event["limit"] for event in events if event["event"] == "holder.changed"]


def interrupted(terminal: Terminal, cloud: Simulator) -> None:
    """Leave run ``quota`` in its middle, begun with a small quota."""
    (terminal.folder / "fleet.txt").write_text("\n".join(cloud.ids[200:240]) + "\n")
    options = ("--quota", "20/5s", "--events", "events.jsonl", "--run-id", "quota", "--yes", "-v")
    begun = terminal.begin("restart", "fleet.txt", *ONE_WAVE, *options)
    assert begun.stderr is not None
    for line in begun.stderr:
        if "batch.accepted" in line:
            break
    begun.send_signal(signal.SIGINT)
    _, err = begun.communicate(timeout=60)
    assert begun.returncode == 130, err


def test_a_run_goes_on_by_its_own_quota_unless_another_is_given(terminal: Terminal, cloud: Simulator) -> None:
    interrupted(terminal, cloud)
    resumed = terminal.type("resume", "quota", "--events", "events.jsonl", "--yes")
    again = terminal.type("resume", "quota", "--retry", "failed", "--quota", "30/2s", "--events", "events.jsonl")

    assert (resumed.returncode, again.returncode) == (0, 0), resumed.stderr + again.stderr
    assert quotas(terminal.folder / "events.jsonl") == [20, 20, 30]


def test_what_was_restarted_lately_is_said_before_it_is_restarted_again(terminal: Terminal, cloud: Simulator) -> None:
    (terminal.folder / "fleet.txt").write_text("\n".join(cloud.ids[240:250]) + "\n")
    (terminal.folder / "more.txt").write_text("\n".join(cloud.ids[245:260]) + "\n")
    first = terminal.type("restart", "fleet.txt", *ONE_WAVE, "--yes")
    second = terminal.type("restart", "more.txt", *ONE_WAVE, "--yes")
    asked = terminal.type("restart", "more.txt", *ONE_WAVE, "--yes", "--skip-restarted-since", "1h")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    said = " ".join(second.stderr.split())
    assert "last hour" not in first.stderr
    assert "5 servers of these were restarted within the last hour: --skip-restarted-since 1h" in said
    assert "last hour" not in asked.stderr


def test_a_report_of_some_outcomes_is_a_fleet_file_of_what_is_left(terminal: Terminal, cloud: Simulator) -> None:
    interrupted(terminal, cloud)
    aborted = terminal.type("abort", "quota", "--yes")
    written = terminal.type("report", "quota", "--outcome", "not_started", "-o", "csv", "--out", "left.csv")
    refused = terminal.type("report", "quota", "--outcome", "rebooted")
    resumed = terminal.type("resume", "quota")
    planned = terminal.type("restart", "left.csv", "--dry-run", "-o", "json")

    rows = list(csv.DictReader(io.StringIO((terminal.folder / "left.csv").read_text())))
    assert (aborted.returncode, written.returncode, refused.returncode, resumed.returncode) == (0, 0, 2, 7)
    assert {row["outcome"] for row in rows} == {"not_started"}
    assert 0 < len(rows) <= 20
    assert json.loads(planned.stdout)["plan"]["to_restart"] == len(rows)
    assert "--outcome not_started" in resumed.stderr.replace("\n", " ")


def test_what_is_asked_of_a_run_that_is_over_is_done_or_refused(terminal: Terminal, cloud: Simulator) -> None:
    (terminal.folder / "few.txt").write_text("\n".join(cloud.ids[:2]) + "\n")
    ended = terminal.type("restart", "few.txt", *ONE_WAVE, "--linger", "0.05s", "--yes", "--run-id", "over")
    refused = [
        terminal.type("resume", "over", "--yes", *asked)
        for asked in (["--forgive"], ["--max-failures", "9"], ["--skip-domain", "az2"])
    ]
    shown = terminal.type("resume", "over", "--yes")

    assert (ended.returncode, shown.returncode) == (0, 0), ended.stderr + shown.stderr
    assert [each.returncode for each in refused] == [7, 7, 7]
    assert "Run over is over (succeeded), so that --max-failures 9 alone would change nothing" in refused[1].stderr
