"""What people see of a run, drawn from fixed states."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import orjson
import pytest
from rich.console import Console

from ecsbatch import events as ev
from ecsbatch.models import Fleet, OutcomeKind, Quota, RunStatus, SkipReason, Usage, Wave
from ecsbatch.plan import Plan, Skip, time_model
from ecsbatch.state import RolloutState
from ecsbatch.views.log import Log
from ecsbatch.views.moment import Moment, Pace
from ecsbatch.views.planned import Planned, planned_json, planned_lines
from ecsbatch.views.printable import counted, lasting, printable
from ecsbatch.views.report import COLUMNS, report_csv, report_json, run_json
from ecsbatch.views.summary import summary_lines
from ecsbatch.views.terminal import picture
from ecsbatch.views.verdict import is_clean, verdict_lines

HOSTILE = "\x1b[2J[red]az\u202e2[/red]\r"


def plan(servers: int = 40, domains: Sequence[str] = ("az1", "az2")) -> Plan:
    ids = [f"{i:08x}-0000-4000-8000-000000000000" for i in range(servers)]
    fleet = Fleet(ids, [domains[i % len(domains)] for i in range(servers)])
    return Plan(
        fleet=fleet,
        waves=(Wave(1, 0, 4, "10%"), Wave(2, 4, servers - 2, "100%")),
        skips=(Skip(SkipReason.NOT_ACTIVE.value, servers - 2, servers),),
        max_unavailable=10,
        max_failures=3,
    )


def history(of: Plan, *more: ev.Event) -> RolloutState:
    """A run in its second wave: 4 restarted, 1 failed, 5 on their way, 2 skipped."""
    state = RolloutState("k7f3q2", of)
    ids = of.fleet.ids
    told: list[ev.Event] = [
        ev.RunStarted(total=len(ids)),
        *(ev.ServerSkipped(server=each, reason="not_active") for each in ids[-2:]),
        ev.WaveStarted(wave=1, servers=4),
        ev.BatchSubmitting(batch=1, servers=ids[:4], updated=[""] * 4, wave=1),
        ev.BatchAccepted(batch=1, job_id="job-1"),
        *(ev.ServerRestarted(server=each, batch=1, evidence="job", job_id="job-1") for each in ids[:4]),
        ev.WaveFinished(wave=1, restarted=4),
        ev.WaveStarted(wave=2, servers=34),
        ev.BatchSubmitting(batch=2, servers=ids[4:10], updated=[""] * 6, wave=2),
        ev.BatchAccepted(batch=2, job_id="=cmd()"),
        ev.ServerFailed(
            server=ids[4], batch=2, domain=of.fleet.domain(4), code="Ecs.0227", message=HOSTILE, host="h1", holds=True
        ),
        *more,
    ]
    for seq, event in enumerate(told, 1):
        state.apply(ev.Recorded(seq, 1_000.0 + seq, state.run_id, event))
    return state


def drawn(state: RolloutState, width: int, *, ascii_only: bool = False, notice: str = "") -> str:
    usage = Usage(limit=1000, held=6, cooling=4, free=990, next_free_in=12.0)
    moment = Moment(state, Quota(), usage, per_minute=60.0, elapsed=75.0, notice=notice)
    console = Console(file=io.StringIO(), width=width, height=50, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(picture(moment, width, ascii_only=ascii_only))
    return capture.get()


def test_a_picture_tells_where_a_run_stands() -> None:
    text = drawn(history(plan()), 90)

    for words in (
        "run k7f3q2",
        "wave 2 of 2 (34 servers)",
        "4 restarted",
        "1 failed",
        "2 skipped",
        "down now 6 of 10",
        "5 on their way",
        "1 not back yet",
        "failures 1, 3 allowed",
        "quota 1,000/60s",
        "990 free",
        "next free in 12s",
        "60 servers a minute",
        "about 33s left",
        "az1",
        "az2",
        "Ecs.0227",
    ):
        assert words in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_picture_fits_its_terminal(width: int) -> None:
    text = drawn(
        history(plan(), ev.RunPaused(reason="paused", by="ann@web")), width, notice="Stopping: nothing new. " * 5
    )

    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "run k7f3q2" in text
    assert "Stopping" in text


def test_a_terminal_without_unicode_gets_none() -> None:
    assert drawn(history(plan(domains=("az1",))), 70, ascii_only=True).splitlines()[1].isascii()


def test_nothing_of_the_clouds_reaches_a_terminal_as_it_came() -> None:
    state = history(plan(domains=("az1", HOSTILE)))
    shown = [drawn(state, 80), *summary_lines(state), *planned_lines(planned(state.plan))]

    for text in shown:
        assert not {"\x1b", "\r", "\u202e"} & set(text)
    assert any("[red]" in text for text in shown), "brackets are text, not markup"


def test_the_pace_is_taken_of_the_last_seconds() -> None:
    pace = Pace()
    assert pace.per_minute is None
    for second in range(100):
        pace.note(float(second), second if second < 50 else 50 + 3 * (second - 50))

    assert pace.per_minute == pytest.approx(180.0)


def planned(of: Plan) -> Planned:
    return Planned(of, time_model(of, Quota(), 40.0), Quota(), 40.0, "eu-west-101, project p", "sqlite:///r.db")


def test_a_plan_is_one_screen_of_numbers() -> None:
    lines = planned_lines(planned(plan()))

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for words in (
        "Restart     38 servers, SOFT, eu-west-101",
        "az1 19, az2 19",
        "2: not active 2",
        "2: 4 (10%), 34 (100%)",
        "at most 10 down, 100 in one request",
        "3 allowed; failure number 4 stops the run",
        "no check",
        "10 servers down if it stops at the worst instant.",
    ):
        assert words in text
    assert orjson.loads(orjson.dumps(planned_json(planned(plan()))))["plan"]["to_restart"] == 38


def test_a_summary_names_what_failed_and_the_way_on() -> None:
    stopped = history(
        plan(),
        ev.LimitChanged(limit="max_failures", old=3, new=0, by="ann@web"),
        ev.RunStopped(status="stopped", reason="max_failures", message="1 failure, 0 allowed."),
    )
    text = "\n".join(summary_lines(stopped))

    for words in (
        "Run k7f3q2 stopped (max_failures) after",
        "4 of 40 restarted",
        "by reason   Ecs.0227 1",
        "by domain   az1 1 of 20",
        "down                6   because of us, of 10 allowed",
        "on their way        5",
        "ecsbatch resume k7f3q2 --forgive --skip-domain az1",
        "ecsbatch resume k7f3q2 --max-failures 2",
        "ecsbatch abort k7f3q2",
        "ecsbatch resume k7f3q2 --retry failed",
        "ecsbatch report k7f3q2 -o csv",
    ):
        assert words in text


def test_a_report_is_the_same_as_json_and_as_csv() -> None:
    state = history(plan())
    report = json.loads(b"".join(report_json(state)))
    rows = list(csv.DictReader(io.StringIO(b"".join(report_csv(state)).decode())))

    assert tuple(report["servers"][0]) == COLUMNS
    assert [row["id"] for row in rows] == [server["id"] for server in report["servers"]] == list(state.plan.fleet.ids)
    assert [row["outcome"] for row in rows] == [server["outcome"] for server in report["servers"]]
    assert report["run"]["restarted"] == 4
    assert report["servers"][4]["job_id"] == "=cmd()"
    assert rows[4]["job_id"] == "'=cmd()", "a spreadsheet must not run it"
    assert rows[-1]["wave"] == ""


def test_the_one_json_object_is_the_contract() -> None:
    over = run_json(history(plan(), ev.RunFinished(status=RunStatus.FAILED.value)))

    assert list(over) == ["run_id", "status", "reason", "total", *(kind.value for kind in OutcomeKind), "elapsed_s"]
    assert over["status"] == "failed"
    assert sum(over[kind.value] for kind in OutcomeKind) == over["total"]


def test_a_log_is_json_or_text_and_leaves_routine_out() -> None:
    lines = [
        ev.encode(ev.Recorded(1, 0.0, "r", ev.WaveStarted(wave=1, servers=4))),
        ev.encode(ev.Recorded(2, 0.0, "r", ev.BatchSubmitting(batch=1, servers=["a", "b"], updated=["", ""]))),
        ev.encode(ev.Recorded(3, 0.0, "r", ev.ServerFailed(server="a", code="Ecs.1", message=HOSTILE))),
    ]
    as_json, as_text, detailed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for line in lines:
        Log(as_json, form="json").line(line)
        Log(as_text, form="console").line(line)
        Log(detailed, form="json", level="debug").line(line)

    told = [json.loads(line) for line in as_json.getvalue().splitlines()]
    assert [(each["event"], each["level"]) for each in told] == [("wave.started", "info"), ("server.failed", "warning")]
    assert b"\x1b" not in as_text.getvalue()
    assert as_text.getvalue().count(b"\n") == 2
    assert json.loads(detailed.getvalue().splitlines()[1])["servers"] == 2


def test_the_auditors_verdict_names_a_breach() -> None:
    audit = {
        "quota_limit": 1000,
        "quota_window": 60.0,
        "fullest_window": 1001,
        "quota_share": 0.98,
        "most_down": 3,
        "most_down_by_zone": {"az1": 3},
        "faults": {},
        "restarted_servers": 5,
        "restarted_more_than_once": 0,
        "requests": 9,
        "throttled_requests": 0,
    }

    assert not is_clean(audit)
    assert "BREACH" in "\n".join(verdict_lines(audit))
    assert is_clean({**audit, "fullest_window": 1000})


def test_numbers_read_as_people_write_them() -> None:
    assert [lasting(s) for s in (0.25, 12.4, 200, 7_500)] == ["0.2s", "12s", "3m20s", "2h05m"]
    assert [counted(n, "batch") for n in (1, 2000)] == ["1 batch", "2,000 batches"]
    assert printable("a\x00b" + "c" * 300, 10) == "a\N{REPLACEMENT CHARACTER}bcccccc…"
