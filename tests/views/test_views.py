"""What people see of a run, drawn from fixed states."""

from __future__ import annotations

import csv
import io
import json

import orjson
import pytest
from scenes import HOSTILE, history, moment, plan

from ecsbatch import events as ev
from ecsbatch.models import OutcomeKind, Quota, RunStatus
from ecsbatch.plan import Plan, time_model
from ecsbatch.views.moment import Pace
from ecsbatch.views.picture import picture
from ecsbatch.views.planned import Planned, planned_json, planned_lines
from ecsbatch.views.printable import copied, counted, fitted, lasting, printable
from ecsbatch.views.report import COLUMNS, report_csv, report_json, run_json
from ecsbatch.views.summary import summary_lines
from ecsbatch.views.verdict import is_clean, verdict_lines


def test_nothing_of_the_clouds_reaches_a_terminal_as_it_came() -> None:
    state = history(plan(domains=("az1", HOSTILE)))
    drawn = [line.plain for line in picture(moment(state), 80)]
    shown = [*drawn, *summary_lines(state), *planned_lines(planned(state.plan))]

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
        "Restart     38 servers, SOFT\nWhere       eu-west-101, project p\n",
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
    assert "1,001 servers in 60 s, 1,000 are allowed: BREACH" in "\n".join(verdict_lines(audit))
    assert max(map(len, verdict_lines(audit))) <= 80
    assert is_clean({**audit, "fullest_window": 1000})


def test_numbers_read_as_people_write_them() -> None:
    assert [lasting(s) for s in (0.25, 12.4, 200, 7_500)] == ["0.2s", "12s", "3m20s", "2h05m"]
    assert [counted(n, "batch") for n in (1, 2000)] == ["1 batch", "2,000 batches"]
    assert printable("a\x00b" + "c" * 300, 10) == "a\N{REPLACEMENT CHARACTER}bcccccc…"


def test_a_command_can_be_copied_whole_from_any_width() -> None:
    command = "ecsbatch resume k7f --store sqlite:////var/lib/long/path/of/it.db --skip-domain 'az 2 b'"
    for width in range(20, 100):
        lines = copied(command, width)

        assert max(map(len, lines)) <= width
        assert "\n".join(lines).replace("\\\n", "") == command, "as a shell joins them"
        assert [line.count("'") % 2 for line in lines] == [0] * len(lines), "in quotes it would not"


@pytest.mark.parametrize(
    ("line", "width", "lines"),
    [
        (
            "  by domain   az2 10 of 1,000, az1 6 of 1,000",
            30,
            ["  by domain   az2 10 of 1,000,", "              az1 6 of 1,000"],
        ),
        ("Run k7f stopped after 3s: 4 restarted.", 22, ["Run k7f stopped after", "3s: 4 restarted."]),
        ("  ecsbatch resume k7f --retry failed", 20, ["  ecsbatch resume k7f --retry failed"]),
        ("  0cc3ea70-ac6a-44ad-80d4-62d4ebd1f2b1", 20, ["  0cc3ea70-ac6a-44ad-80d4-62d4ebd1f2b1"]),
    ],
)
def test_a_narrow_screen_breaks_sentences_but_no_commands_and_no_ids(line: str, width: int, lines: list[str]) -> None:
    assert fitted(line, width) == lines
