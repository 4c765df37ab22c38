"""The lines of a run where there is no terminal: few enough to be read, none that matters left out."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pytest
from scenes import HOSTILE, history, plan, shown

import ecsbatch.views
from ecsbatch.cli.live import until_next_line, wants_ascii
from ecsbatch.model import events as ev
from ecsbatch.model.recorded import Recorded, encode
from ecsbatch.views.log import ALL, EACH, Level, Log, RepeatLimiter

SERVER = "00000004-0000-4000-8000-000000000000"


def written(
    events: Sequence[ev.Event],
    form: Literal["console", "json"] = "console",
    level: Level = "info",
    *,
    color: bool = False,
) -> list[str]:
    out = io.BytesIO()
    log = Log(out, form=form, level=level, color=color)
    for seq, event in enumerate(events, 1):
        log.line(encode(Recorded(seq, 0.0, "k7f", event)))
    return out.getvalue().decode().splitlines()


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("level", ["debug", "info", "warning"])
def test_what_happens_here_is_logged_as_what_is_read(form: Literal["console", "json"], level: Level) -> None:
    told: list[ev.Event] = [
        ev.RunStarted(total=40),
        ev.BatchSubmitting(batch=1, servers=[SERVER], updated=[""]),
        ev.ServerRestarted(server=SERVER, batch=1, evidence="job"),
        ev.ServerFailed(server=SERVER, batch=1, code="Ecs.1", message=HOSTILE),
        ev.RunFinished(),
    ]
    recorded = [Recorded(seq, 0.0, "k7f", event) for seq, event in enumerate(told, 1)]
    outs = io.BytesIO(), io.BytesIO()
    read, heard = (Log(out, form=form, level=level) for out in outs)
    for each in recorded:
        read.line(encode(each))
        heard.event(each)
    one, other = (re.sub(r'"ts":"[^"]*"', "", out.getvalue().decode()) for out in outs)
    assert one == other != ""


def test_a_person_reads_what_happened_and_no_more() -> None:
    events = [
        ev.RunStarted(total=40),
        ev.HolderChanged(
            holder="ann@web", host="web", pid=7, fence=1, limit=1000, window=60.0, boot="b", ledger_time=1.0
        ),
        ev.WaveStarted(wave=1, servers=4, label="10%"),
        ev.BatchSubmitting(batch=1, servers=[SERVER], updated=[""]),
        ev.ServerFailed(
            server=SERVER, wave=1, domain="az1", batch=1, evidence="job", code="Ecs.1", message="Ecs.1: No.", job_id="j"
        ),
        ev.BatchUnknown(batch=2, sent=1348.25, answered=1350.25, message="No answer within 2 s."),
        ev.BatchRejected(batch=2, kind="not_accepted", sent=1351.25, answered=1351.5, message="Come back later."),
        ev.BatchRejected(batch=3, kind="throttled", message="Too many."),
        ev.QuotaThrottled(wait=60.0, message="Too many."),
        ev.WaveFinished(wave=1, restarted=3, failed=1),
        ev.RunPaused(reason="paused", by="ann@web"),
        ev.RunFrozen(by="ann@web", reason="disk full", since=1.0, until=3_600.0),
        ev.RunThawed(by="bob@web"),
        ev.RunStopped(status="stopped", reason="max_failures", message="1 failure, 0 are allowed."),
    ]

    assert written(events) == [
        "00:00:00Z run.started run_id=k7f total=40",
        "00:00:00Z holder.changed holder=ann@web host=web pid=7",
        "00:00:00Z wave.started wave=1 servers=4 label=10%",
        f"00:00:00Z warning server.failed server={SERVER} wave=1 domain=az1 code=Ecs.1 message=No.",
        "00:00:00Z warning batch.unknown batch=2 message='No answer within 2 s.'",
        "00:00:00Z warning batch.rejected batch=2 kind=not_accepted message='Come back later.'",
        "00:00:00Z warning quota.throttled wait=60.0 message='Too many.'",
        "00:00:00Z wave.finished wave=1 restarted=3 failed=1 skipped=0",
        "00:00:00Z run.paused reason=paused by=ann@web",
        "00:00:00Z warning run.frozen by=ann@web reason='disk full' until=1970-01-01T01:00:00.000Z",
        "00:00:00Z run.thawed by=bob@web",
        "00:00:00Z warning run.stopped status=stopped reason=max_failures message='1 failure, 0 are allowed.'",
    ]


@pytest.mark.parametrize(("form", "level"), [("json", "info"), ("json", "debug"), ("console", "debug")])
def test_programs_and_who_asks_for_all_get_all(form: Literal["console", "json"], level: Level) -> None:
    failures = [ev.ServerFailed(server=SERVER, code="Ecs.1", job_id="j", batch=3) for _ in range(500)]
    lines = written([*failures, ev.BatchAccepted(batch=1, job_id="j")], form, level)

    assert len(lines) == (500 if level == "info" else 501)
    assert all("job_id" in line and "Ecs.1" in line for line in lines[:500])


def test_a_bad_night_is_told_in_dozens_of_lines_and_a_number() -> None:
    """A new reason is told, though there were many of another one."""
    codes = ["Ecs.1"] * 700 + ["Ecs.2"] * 3 + [f"Ecs.{n}" for n in range(10, 100)]
    unknown = [ev.BatchUnknown(batch=n, message="No answer.") for n in range(300)]
    lines = written(
        [*(ev.ServerFailed(server=SERVER, code=code) for code in codes), *unknown, ev.RunFinished(status="failed")]
    )
    failed = [line for line in lines if " server.failed " in line]

    assert len(failed) == ALL
    assert sum("code=Ecs.1 " in f"{line} " for line in failed) == EACH
    assert sum("code=Ecs.2 " in f"{line} " for line in failed) == 3
    assert sum("log.shortened" in line for line in lines) == 3, "twice of failures, once of unknown answers"
    assert f"log.left_out server.failed={len(codes) - ALL} batch.unknown={300 - EACH}" in lines[-2]
    assert "run.finished" in lines[-1]


def test_waves_pauses_and_gates_answers_are_never_left_out() -> None:
    waves = [event for n in range(200) for event in (ev.WaveStarted(wave=n), ev.WaveFinished(wave=n))]
    waits = [ev.GateChecked(gate="./go", verdict="wait", wave=2) for _ in range(300)]
    lines = written([*waves, *waits, ev.GateChecked(gate="./go", verdict="go", wave=2)])

    assert sum(" wave." in line for line in lines) == 400
    assert sum("verdict=wait" in line for line in lines) == EACH
    assert "verdict=go" in lines[-1]


def test_a_flood_says_which_line_is_the_last_of_its_kind() -> None:
    flood = RepeatLimiter()

    assert [flood.admit("x", "a") for _ in range(EACH + 1)] == ["write"] * (EACH - 1) + ["last", "leave_out"]
    assert flood.left_out == {"x": 1}


def test_a_line_of_json_is_an_object_and_routine_is_left_out() -> None:
    events = [
        ev.WaveStarted(wave=1, servers=4),
        ev.BatchSubmitting(batch=1, servers=["a", "b"], updated=["", ""]),
        ev.ServerFailed(server="a", code="Ecs.1", message=HOSTILE),
    ]
    told = [json.loads(line) for line in written(events, "json")]

    assert [(each["event"], each["level"]) for each in told] == [("wave.started", "info"), ("server.failed", "warning")]
    assert told[1]["message"] == HOSTILE
    assert json.loads(written(events, "json", "debug")[1])["servers"] == 2


def test_nothing_of_the_clouds_moves_a_cursor_and_colours_are_for_terminals() -> None:
    failure = ev.ServerFailed(server="a", code="Ecs.1", message=HOSTILE)

    assert "\x1b" not in "".join(written([failure]))
    assert written([failure], color=True)[0].count("\x1b") == 2, "one colour, and its end"


def test_quiet_is_warnings_only() -> None:
    events = [ev.RunStarted(total=1), ev.ServerFailed(server="a"), ev.RunFinished(status="failed")]

    assert [line.split()[2] for line in written(events, level="warning")] == ["server.failed"]


def test_progress_is_told_where_something_has_changed() -> None:
    out = io.BytesIO()
    log = Log(out, form="console")
    running = shown(history(plan()))
    paused = shown(history(plan(), ev.RunPaused(reason="paused")))

    assert [
        log.progress(running, anyhow=False),
        log.progress(replace(running, elapsed=99.0, at=running.at + 9.0), anyhow=False),
        log.progress(running),
        log.progress(paused, anyhow=False),
    ] == [True, False, True, True]
    lines = [line.split(" ", 1)[1] for line in out.getvalue().decode().splitlines()]
    assert lines[0] == (
        "progress wave=2/2 total=40 restarted=4 failed=1 skipped=2 not_started=28 in_flight=5 down=6 "
        "standing=running elapsed_s=75 quota_free=990 per_minute=20 left_s=99"
    )
    assert lines[2].startswith("progress status=paused wave=2/2 ")


def test_three_hours_are_some_seventy_lines_of_progress() -> None:
    watched, lines = 0.0, 0
    while watched < 3 * 3_600.0:
        watched += until_next_line(watched)
        lines += 1

    assert 60 <= lines <= 80


@pytest.mark.parametrize(
    ("environment", "ascii_only"),
    [
        ({}, False),
        ({"LANG": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),  # what Python itself makes of the one before
        ({"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}, True),
        ({"LANG": "C.UTF-8"}, False),
    ],
)
def test_a_locale_without_letters_gets_ascii(environment: dict[str, str], ascii_only: bool) -> None:  # noqa: FBT001 - a table's column
    assert wants_ascii(environment) is ascii_only


def test_a_line_is_written_also_where_its_writer_cannot_be_imported_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is replaced below a run of hours, which has had nothing to say until now."""
    monkeypatch.setitem(sys.modules, "ecsbatch.views.log_lines", None)
    monkeypatch.delattr(ecsbatch.views, "log_lines", raising=False)

    (line,) = written([ev.QuotaThrottled(wait=60.0, message=HOSTILE)])

    told = json.loads(line)
    assert (told["level"], told["event"], told["wait"]) == ("warning", "quota.throttled", 60.0)
    assert line.isprintable()
