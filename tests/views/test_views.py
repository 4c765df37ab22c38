"""What people see of a run, drawn from fixed states."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from itertools import accumulate

import orjson
import pytest
from scenes import HOSTILE, history, plan, shown

from ecsbatch.model import events as ev
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.plan import Plan, Skip, Wave
from ecsbatch.model.quota import Quota
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.spending import GroupSpending, RunSpending, Waiting
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import counted, printable
from ecsbatch.planning.fleet_file import parse_fleet
from ecsbatch.planning.time_model import time_model
from ecsbatch.policy.progress import progress
from ecsbatch.views.plan import PlanView, freeze_warnings, plan_json, plan_lines
from ecsbatch.views.progress import render_progress
from ecsbatch.views.quota import quota_lines
from ecsbatch.views.report import COLUMNS, report_csv, report_json, report_table, run_json
from ecsbatch.views.simulator import is_clean, verdict_lines
from ecsbatch.views.summary import summary_lines
from ecsbatch.views.text import format_span, paragraph, wrap_command, wrap_line


def test_nothing_of_the_clouds_reaches_a_terminal_as_it_came() -> None:
    state = history(plan(domains=("az1", HOSTILE)))
    drawn = [line.plain for line in render_progress(shown(state), 80)]
    told = [*drawn, *summary_lines(state), *plan_lines(planned(state.plan))]

    for text in told:
        assert not {"\x1b", "\r", "\u202e"} & set(text)
    assert any("[red]" in text for text in told), "brackets are text, not markup"


def planned(of: Plan) -> PlanView:
    return PlanView(of, time_model(of, Quota(), 40.0), Quota(), 40.0, "eu-west-101, project p", "sqlite:///r.db")


def test_a_plan_warns_that_the_store_is_frozen() -> None:
    freeze = Freeze("ann@web", "storage incident 4711", 1000.0, 8200.0)
    view = replace(planned(plan()), warnings=freeze_warnings(freeze, 1060.0), frozen=freeze)

    text = " ".join(" ".join(plan_lines(view)).split())
    assert "Warning Frozen by ann@web 1m ago, for another 1h59m: storage incident 4711. Nothing new is sent" in text
    assert "A run that begins now waits; ecsbatch thaw ends that." in text
    assert (plan_json(view)["frozen"], len(plan_json(view)["warnings"])) == (freeze.as_dict(), 1)
    assert freeze_warnings(None, 1060.0) == []
    assert plan_json(planned(plan()))["frozen"] is None


def test_who_spends_a_quota_is_a_line_for_each_group_run_and_waiting_process() -> None:
    runs = [RunSpending("night", "ann@web", 20, 1_030, 5_050), RunSpending("", "", 5, 0, 5)]
    groups = [
        GroupSpending("p@eu-west-101", 2_000, 25, 1_030, 945, 50.05, 5_055, runs, [Waiting("bob@web", 20)]),
        GroupSpending("q", 10, 1, 0, 9, None, 1, [RunSpending("x" * 60, "\x1b[31m", 1, 0, 1)], [Waiting("", 7)]),
        GroupSpending("r", None, 2, 0, None, 9.0, 0),
        GroupSpending("*", None, 0, 0, None, 9.0, 0),
    ]

    assert quota_lines(groups) == [
        "Quota p@eu-west-101: 945 of 2,000 free, more in 50s.",
        "  RUN       HOLDER   IN FLIGHT  COOLING  LAST HOUR",
        "  night     ann@web         20    1,030      5,050",
        "  (no run)                   5        0          5",
        "  all                       25    1,030      5,055",
        "  bob@web waits for 20.",
        "",
        "Quota q: 9 of 10 free.",
        "  RUN                           HOLDER  IN FLIGHT  COOLING  LAST HOUR",
        f"  {'x' * 27}…  \N{REPLACEMENT CHARACTER}[31m           1        0          1",
        "  A process waits for 7.",
        "",
        "Quota r: its limit is not known, more in 9s.",
        "",
        "Every quota: nothing is granted for another 9s.",
    ]


def test_a_plan_is_one_screen_of_numbers() -> None:
    lines = plan_lines(planned(plan()))

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for words in (
        "Restart     38 servers, SOFT\nWhere       eu-west-101, project p\n",
        "az1 19, az2 19",
        "2: not active 2",
        "2: 4 (10%), 34 (100%)",
        "at most 10 down (--max-unavailable), 10 in one request",
        "3 allowed (--max-failures); failure number 4 stops the run",
        "Check       none",
        "10 servers down if it stops at the worst instant.",
    ):
        assert words in text
    assert orjson.loads(orjson.dumps(plan_json(planned(plan()))))["plan"]["to_restart"] == 38


def test_a_plan_names_the_first_ids_that_do_not_exist_and_says_where_all_are() -> None:
    whole = plan()
    gone = replace(whole, skips=(Skip("not_found", whole.to_restart, len(whole.fleet)),))
    many = replace(whole, waves=(Wave(1, 0, 35, "100%"),), skips=(Skip("not_found", 35, len(whole.fleet)),))
    ids = whole.fleet.ids

    assert row(gone, "Not found") == f"2 of 40 ids given: {ids[38]}, {ids[39]}"
    assert row(many, "Not found") == (
        f"5 of 40 ids given: {ids[35]}, {ids[36]}, {ids[37]} and 2 more; -o json names all"
    )
    assert plan_json(planned(many))["not_found"] == list(ids[35:])
    assert not any(line.startswith("Not found") for line in plan_lines(planned(whole)))


@pytest.mark.parametrize("label", ["Check", "Gate"])
def test_a_plan_shows_what_will_run_to_its_end(label: str) -> None:
    """What stands behind two hundred harmless characters runs, too."""
    command = f"./ask --harmless {'-' * 300}; ./do-harm"
    of = replace(plan(), check=f"cmd:{command}", gate=command)

    assert command in row(of, label)


def row(of: Plan, label: str) -> str:
    """A row of the plan in one line."""
    lines = plan_lines(planned(of), width=1000)
    return next(line[len(label) :].strip() for line in lines if line.startswith(label))


@pytest.mark.parametrize(
    ("sizes", "allowed", "per_wave", "words"),
    [
        ([1, 10, 10], 1, None, "1 allowed (--max-failures); failure number 2 stops the run"),
        ([1, 1, 10, 100], 1, [0, 0, 1, 4], "…; in waves 1 and 2 the first does"),
        ([1, 1, 10, 100], 8, [0, 0, 3, 9], "…; in waves 1 and 2 the first does; allowed: 3 in wave 3"),
        ([9, 1, 1, 1], 1, [0, 0, 0, 0], "…; in each wave the first does"),
        (
            [1, 9, 1, 1, 1, 9],
            9,
            [0, 4, 0, 0, 0, 4],
            "…; in waves 1, 3 to 5 the first does; allowed: 4 in wave 2, 4 in wave 6",
        ),
        ([1, 9, 9], 3, [1, 3, 5], "3 allowed (--max-failures); failure number 4 stops the run"),
        (
            [1, 2] * 6,
            3,
            [0, 1] * 6,
            "…; in waves 1, 3, 5, 7, … the first does; allowed: 1 in wave 2, 1 in wave 4, 1 in wave 6, 1 in wave 8, …",
        ),
        ([20], 0, [0], "0 allowed (--max-failures); failure number 1 stops the run"),
    ],
)
def test_the_failures_that_stop_a_run_are_those_that_can(
    sizes: list[int], allowed: int, per_wave: list[int] | None, words: str
) -> None:
    ends = list(accumulate(sizes))
    of = Plan(
        fleet=Fleet([f"s{i}" for i in range(ends[-1])]),
        waves=tuple(Wave(n, end - size, end) for n, (size, end) in enumerate(zip(sizes, ends, strict=True), 1)),
        max_failures=allowed,
        max_failures_per_wave=tuple(per_wave) if per_wave is not None else None,
    )

    assert row(of, "Failures") == words.replace(
        "…", f"{allowed} allowed (--max-failures); failure number {allowed + 1} stops the run", words.startswith("…")
    )


@pytest.mark.parametrize(
    ("sizes", "soak", "pace", "takes"),
    [
        ([9, *[1] * 187], 0.0, "1.6 servers a minute; what binds is the waves.", "about 2h05m"),
        ([1] * 10, 3600.0, "1.1 servers an hour; what binds is the waves.", "about 9h07m"),
        ([1, 1], 3530.0, "2 servers an hour", "about 1h00m"),
        ([60], 0.0, "90 servers a minute; what binds is the restart itself.", "about 40s"),
    ],
)
def test_pace_and_time_agree(sizes: list[int], soak: float, pace: str, takes: str) -> None:
    ends = list(accumulate(sizes))
    of = Plan(
        fleet=Fleet([f"s{i}" for i in range(ends[-1])]),
        waves=tuple(Wave(n, end - size, end) for n, (size, end) in enumerate(zip(sizes, ends, strict=True), 1)),
        max_unavailable=200,
        soak=soak,
    )

    assert row(of, "Pace").startswith(pace)
    assert row(of, "Takes").startswith(takes)


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
        "down                6   of 10 allowed, those on their way among them",
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


def test_a_report_says_which_host_a_server_is_on_and_stays_a_fleet_file() -> None:
    made = plan()
    ids = made.fleet.ids
    state = history(replace(made, fleet=made.fleet.grouped([f"={HOSTILE}", "h2", *[""] * 38], {})))
    rows = list(csv.DictReader(io.StringIO(b"".join(report_csv(state)).decode())))
    told = json.loads(b"".join(report_json(state)))["servers"]

    assert COLUMNS[-1] == "host"
    assert [each["host"] for each in told[:5]] == [f"={printable(HOSTILE)}", "h2", "", "", "h1"]
    assert [row["host"] for row in rows[:5]] == [f"'={printable(HOSTILE)}", "h2", "", "", "h1"]
    assert [server.id for server in parse_fleet(b"".join(report_csv(state)), "left.csv")] == list(ids)


def test_a_report_is_a_table_for_people_that_says_why() -> None:
    state = history(plan(domains=("az1", HOSTILE)))
    wide, narrow = (b"".join(report_table(state, width=width)).decode().splitlines() for width in (0, 80))
    failed = b"".join(report_table(state, {"failed"})).decode().splitlines()
    one = b"".join(report_table(state, only=7)).decode().splitlines()

    assert wide[0].split() == ["ID", "NAME", "OUTCOME", "WHY", "ZONE", "WAVE", "ENDED", "(UTC)"]
    assert len(wide) == len(narrow) == 41
    assert wide[5].split()[:4] == [state.plan.fleet.ids[4], "failed", "Ecs.0227", "\ufffd[2J[red]az\ufffd2[/red]"]
    assert wide[-1].split()[1:4] == ["skipped", "not", "active"]
    assert all(line.isprintable() for line in wide)
    assert max(map(len, narrow)) <= 80
    assert (len(failed), len(one)) == (2, 2)
    assert one[1].startswith(f"{state.plan.fleet.ids[7]} ")


def test_the_one_json_object_is_the_contract() -> None:
    """It is the run's progress, and which of its servers do not exist."""
    state = history(plan(), ev.RunFinished(status=RunStatus.FAILED.value))
    over = run_json(state)

    assert over == progress(state, state.updated_at).as_dict() | {"not_found": []}
    assert (over["standing"], over["hold"]) == ("failed", None)
    assert over["status"] == "failed"
    assert sum(over[kind.value] for kind in OutcomeKind) == over["total"]


def test_the_hold_of_a_run_is_not_who_holds_it() -> None:
    """A process holds a run until it ends; a hold waits for a person."""
    over = ev.WaveFinished(wave=1)
    state = RolloutState("k7f", replace(plan(), hold_after=(1,), soak=30.0))
    for seq, event in enumerate([ev.RunStarted(total=40), ev.WaveStarted(wave=1), over], 1):
        state.apply(Recorded(seq, 1_000.0 + seq, "k7f", event))
    told = run_json(state, 1_063.0)

    assert (told["status"], told["standing"], told["standing_text"]) == (
        "running",
        "held_for_promote",
        "held for promote",
    )
    assert told["hold"] == {"before_wave": 2, "since": "1970-01-01T00:17:13.000Z"}, "its soak was over then"


AUDIT: dict[str, object] = {
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


def test_the_auditors_verdict_names_a_breach() -> None:
    assert not is_clean(AUDIT)
    assert "1,001 servers in 60 s, 1,000 are allowed: BREACH" in "\n".join(verdict_lines(AUDIT))
    assert max(map(len, verdict_lines(AUDIT))) <= 80
    assert is_clean({**AUDIT, "fullest_window": 1000})


def test_a_429_by_misfortune_is_not_said_to_be_none() -> None:
    lines = "\n".join(verdict_lines(AUDIT | {"faults": {"throttle": 4}}))

    assert "9, 0 of them over the quota (429)" in lines
    assert "throttle 4" in lines


@pytest.mark.parametrize(
    ("twice", "several_runs", "words"),
    [
        (39, False, "39 of them more than once: BREACH"),
        (39, True, "39 of them more than once (a person may have asked for it)"),
        (0, True, "0 of them more than once: ok"),
    ],
)
def test_over_several_runs_a_second_restart_may_be_meant(twice: int, several_runs: bool, words: str) -> None:  # noqa: FBT001 - a table
    lines = verdict_lines(AUDIT | {"restarted_more_than_once": twice}, several_runs=several_runs)

    assert words in " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80


def test_numbers_read_as_people_write_them() -> None:
    assert [format_span(s) for s in (0.25, 12.4, 200, 7_500)] == ["0.2s", "12s", "3m20s", "2h05m"]
    assert [counted(n, "batch") for n in (1, 2000)] == ["1 batch", "2,000 batches"]
    assert printable("a\x00b" + "c" * 300, 10) == "a\N{REPLACEMENT CHARACTER}bcccccc…"


def test_a_command_can_be_copied_whole_from_any_width() -> None:
    command = "ecsbatch resume k7f --store sqlite:////var/lib/long/path/of/it.db --skip-domain 'az 2 b'"
    for width in range(20, 100):
        lines = wrap_command(command, width)

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
    assert wrap_line(line, width) == lines


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 40, ["Waves     "]),
        ("1, all servers", 40, ["Waves     1, all servers"]),
        ("1, 10%, the rest of the servers", 30, ["Waves     1, 10%, the rest of", "          the servers"]),
        ("0a0b0c0d-0e0f-4000-8000-000000000001", 30, ["Waves     0a0b0c0d-0e0f-4000-8000-000000000001"]),
    ],
)
def test_a_paragraph_stands_beside_its_label_and_below_its_first_word(text: str, width: int, lines: list[str]) -> None:
    assert paragraph("Waves", text, width, 10) == lines
