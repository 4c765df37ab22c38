"""What people read of a run that is held up: why, by whom, and the ways on."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Plan, Skip, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.explanation import Cause, Explanation
from ecsbatch.policy.resume_options import resume_options
from ecsbatch.policy.standing import aborting_notice
from ecsbatch.views.explanation import explanation_json, explanation_lines
from ecsbatch.views.report import report_csv, report_table, run_json
from ecsbatch.views.steering import steering_json, steering_lines, steering_texts
from ecsbatch.views.summary import summary_lines
from ecsbatch.views.text import RepeatFlags

HOSTILE = "\x1b[2J\u202eaz2\r"
IDS = [f"{i:08x}-0000-4000-8000-000000000000" for i in range(8)]


def run(*more: ev.Event, max_failures: int = 0, max_unavailable: int = 3) -> RolloutState:
    """Eight servers in two zones, three sent at once."""
    plan = Plan(
        fleet=Fleet(IDS, ["az1", "az2"] * 4),
        waves=(Wave(1, 0, 8, "100%"),),
        max_unavailable=max_unavailable,
        max_failures=max_failures,
    )
    state = RolloutState("k7f", plan)
    told = [
        ev.RunStarted(total=8),
        ev.WaveStarted(wave=1, servers=8),
        ev.BatchSubmitting(batch=1, servers=IDS[:3], updated=[""] * 3, wave=1),
        ev.BatchAccepted(batch=1, job_id="job-1"),
        *more,
    ]
    for seq, event in enumerate(told, 1):
        state.apply(Recorded(seq, 1_000.0 + seq, "k7f", event))
    return state


def failed(place: int, *, message: str = "", holds: bool = True) -> ev.ServerFailed:
    domain = ["az1", "az2"][place % 2]
    return ev.ServerFailed(server=IDS[place], domain=domain, batch=1, reason="unhealthy", message=message, holds=holds)


STOPS: list[tuple[Sequence[ev.Event], int, list[str]]] = [
    (
        [failed(1), ev.RunStopped(status="stopped", reason="max_failures")],
        0,
        [" --retry failed", " --forgive --skip-domain az2", " --max-failures 2", " --forgive"],
    ),
    (
        [failed(0), failed(1), failed(2), ev.RunStopped(status="stopped", reason="budget_exhausted")],
        5,
        ["", " --retry failed", " --max-unavailable 6", " --forgive"],
    ),
    ([ev.RunStopped(status="stopped", reason="gate")], 0, [""]),
    ([ev.RunStopped(status="stopped", reason="cloud_unreachable")], 0, [""]),
    ([failed(1), ev.RunPaused(reason="max_failures")], 0, [" --max-failures 2", " --forgive"]),
    ([failed(1)], 5, []),
    ([failed(1), ev.RunFinished(status="failed")], 5, [" --retry failed"]),
    ([failed(1), ev.RunFinished(status="aborted")], 5, []),
    # A retry of those that were left out alone would stop at once for those that have failed.
    (
        [failed(0), ev.RunResumed(skip_domains=["az2"]), ev.RunFinished(status="failed", reason="max_failures")],
        0,
        [" --retry failed", " --retry failed,not_started"],
    ),
    ([failed(1), ev.RunAborting(by="ann")], 5, []),
    ([failed(1), ev.RunAborting(by="ann"), ev.RunStopped(status="interrupted", reason="interrupted")], 0, [""]),
]


def test_ids_that_do_not_exist_are_named_though_the_run_succeeded() -> None:
    gone = [ev.ServerSkipped(server=id_, reason="not_found") for id_ in IDS[:6]]
    others = [ev.ServerSkipped(server=IDS[6], reason="locked"), ev.ServerRestarted(server=IDS[7])]
    one, six = (run(*gone[:n], *others, ev.RunFinished(status="succeeded")) for n in (1, 6))
    lines = summary_lines(six, RepeatFlags(read=" --store sqlite:///r.db"))

    start = lines.index("6 ids that do not exist:")
    assert lines[start + 1 : start + 6] == [*(f"  {id_}" for id_ in IDS[:4]), "  and 2 more"]
    assert any("ecsbatch report k7f --store sqlite:///r.db --outcome skipped" in line for line in lines)
    told = summary_lines(one)
    assert told[told.index("1 id that does not exist:") + 1] == f"  {IDS[0]}"
    assert run_json(six)["not_found"] == six.not_found == IDS[:6]
    assert not any("exist" in line for line in summary_lines(run(*others)))


@pytest.mark.parametrize(("more", "allowed", "flags"), STOPS)
def test_each_stop_has_its_own_ways_on(more: Sequence[ev.Event], allowed: int, flags: list[str]) -> None:
    """A plain resume is proposed only where it would not stop at once again; what leaves most in force comes first."""
    assert [way.flags for way in resume_options(run(*more, max_failures=allowed))] == flags


def test_a_stop_says_what_failed_and_how_many_are_down() -> None:
    says = "Restarted, but its health check did not pass in time: it answered 503 " + HOSTILE
    state = run(
        failed(0, message=says), failed(1, message=says), ev.RunStopped(status="stopped", reason="max_failures")
    )
    text = "\n".join(lines := summary_lines(state))

    for words in (
        "on their way        1",
        "not back            2",
        "down                3   of 3 allowed, those on their way among them",
    ):
        assert words in text
    assert "by domain   az1 1 of 4, az2 1 of 4" in text
    assert text.count("it answered 503") == 1, "what several say is written once"
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)


def test_what_was_down_before_is_not_said_to_be_down_because_of_us() -> None:
    off = ev.ServerSkipped(server=IDS[3], reason="not_active", holds=True)
    over = [ev.ServerRestarted(server=IDS[place], batch=1) for place in (1, 2)]
    stop = ev.RunStopped(status="stopped", reason="max_failures")
    ours, both = ("\n".join(summary_lines(run(*more, failed(0), *over, stop))) for more in ((), (off,)))

    assert "down                1   because of us, of 3 allowed" in ours
    assert "down                2   of 3 allowed, 1 of them left alone" in both


def test_an_aborting_run_has_one_way_on_and_says_so() -> None:
    running = run(ev.RunAborting(by="ann" + HOSTILE))
    stopped = run(ev.RunAborting(by="ann"), ev.RunStopped(status="interrupted", reason="interrupted"))
    text = "\n".join(summary_lines(stopped))

    assert summary_lines(running)[0].startswith("Run k7f aborting, ")
    assert aborting_notice(running).endswith(": nothing new is sent, 3 servers under way get their outcome.")
    assert aborting_notice(running).isprintable()
    assert "It is being aborted: whoever goes on with it only looks after its servers under way." in text
    assert "ecsbatch resume k7f look after its servers under way, and end it for good" in " ".join(text.split())
    assert "--retry" not in text


def test_servers_that_were_left_out_are_not_started_and_listed_for_another_run() -> None:
    left = ev.RunResumed(by="ann", skip_domains=["az2"])
    ended = [ev.ServerRestarted(server=each, batch=1, evidence="job") for each in IDS[:3]]
    under_way = run(left)
    over = run(left, *ended, ev.RunFinished(status="failed"))
    text = "\n".join(summary_lines(over))

    meanwhile = "\n".join(summary_lines(under_way))
    assert "  not started         2\n  left out            3   az2\n" in meanwhile
    assert "ecsbatch resume k7f --retry not_started  once it is over: take up 3 servers left out" in meanwhile
    assert text.startswith("Run k7f ended with servers left out after")
    assert "  not started         2\n  left out            3   az2\n" in text
    assert "ecsbatch resume k7f --retry not_started\n      take up 3 servers that were left out" in text
    assert "ecsbatch report k7f --outcome not_started -o csv --out left.csv" in text
    assert run_json(over)["left_out"] == {"az2": 3}
    rows = [row for row in b"".join(report_csv(over, {"not_started"})).decode().splitlines() if "left_out" in row]
    assert len(rows) == 3


def test_servers_that_the_key_may_not_restart_are_named() -> None:
    denied = ev.ServerFailed(
        server=IDS[1], domain="az2", batch=1, reason="denied", code="Ecs.0003", message="A permission is missing."
    )
    text = "\n".join(summary_lines(run(denied, ev.RunFinished(status="failed"))))

    assert f"{IDS[1]}  failed  az2  denied  Ecs.0003" in text
    assert "A permission is missing." in text


def test_how_long_a_run_takes_is_told_by_the_clock_and_not_by_its_last_event() -> None:
    """One that waits, or that nobody drives any more, has no events."""
    running, orphaned = run(), run()
    orphaned.status = RunStatus.ORPHANED

    assert summary_lines(running, now=1_061.0)[0] == "Run k7f running, 1m00s so far: 0 of 8 restarted."
    assert summary_lines(orphaned, now=1_061.0)[0].startswith(
        "Run k7f orphaned, begun 1m00s ago and last heard of 57s ago: 0"
    )
    assert run_json(running, 1_061.0)["elapsed_s"] == 60.0
    assert run_json(running)["elapsed_s"] == 3.0


def test_a_run_that_sees_nothing_says_so_in_its_summary() -> None:
    lines = summary_lines(run(ev.CloudUnseen(seconds=3.0, timeout=300.0, message="no route")), now=1_062.0)

    assert lines[0] == "Run k7f blind (1m of 5m), 1m01s so far: 0 of 8 restarted."
    assert "Nothing can be seen of the cloud for 1m. The last try: no route." in " ".join(lines)
    assert max(map(len, lines)) <= 80


def test_an_answer_fits_80_columns_and_its_commands_are_whole() -> None:
    answer = Explanation(
        Cause.HOLD, f"Wave 2 waits {HOSTILE} " * 8, 1_010.0, ("ecsbatch promote k7f", "ecsbatch abort k7f")
    )
    repeat = RepeatFlags(" --store sqlite:///r.db --region r", " --store sqlite:///r.db")
    lines = explanation_lines(answer, "k7f", IDS[0], now=1_000.0, repeat=repeat)
    told = orjson.loads(orjson.dumps(explanation_json(answer, "k7f", "", repeat)))

    assert lines[0] == f"Server {IDS[0]} of run k7f: hold."
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)
    assert "(in 10s)" in "\n".join(lines)
    assert lines[-2:] == [
        "  ecsbatch promote k7f --store sqlite:///r.db",
        "  ecsbatch abort k7f --store sqlite:///r.db --region r",
    ]
    assert (told["cause"], told["server"], told["until"]) == ("hold", None, "1970-01-01T00:16:50.000Z")
    assert told["commands"] == [line.strip() for line in lines[-2:]]


STEERING: list[tuple[ev.Event, str]] = [
    (ev.RunPaused(reason="paused", by="ann@web"), "paused by ann@web"),
    (ev.RunPaused(reason="max_failures"), "paused (max_failures)"),
    (ev.RunFrozen(by="ann@web", reason="disk full"), "frozen by ann@web: disk full"),
    (
        ev.RunFrozen(by="ann@web", reason="disk full", until=1_767_225_600.0),
        "frozen by ann@web until 2026-01-01 00:00:00Z: disk full",
    ),
    (ev.RunThawed(by="bob@web"), "thawed by bob@web"),
    (ev.RunThawed(), "thawed, its time was over"),
    (
        ev.RunResumed(by="ann@web", forgive=True, retry=["failed"], skip_domains=["az2"]),
        "resumed by ann@web, failures forgiven, failed again, without az2",
    ),
    (ev.LimitChanged(limit="max_failures", old=1200, new=3, by="bob"), "max_failures 1,200 -> 3 by bob"),
    (ev.LimitChanged(limit="max_failures_per_wave", old=None, new=[1, 2]), "max_failures_per_wave none -> 1, 2"),
    (
        ev.LimitChanged(limit="max_unavailable_per_domain", old={"az1": 1}, new={"az1": 2}),
        "max_unavailable_per_domain az1 1 -> az1 2",
    ),
    (ev.RunAborting(by="ann@web"), "aborting by ann@web"),
    (ev.GateChecked(gate="hold", verdict="wait", wave=2), "held before wave 2"),
    (ev.GateChecked(gate="hold", verdict="go", wave=2, message="promoted by ann"), "wave 2 let go: promoted by ann"),
    (ev.GateChecked(gate="./go", verdict="stop", wave=3, message="red"), "gate said stop for wave 3: red"),
    (ev.GateChecked(gate="./go", verdict="inconclusive", wave=3, message="x"), "gate gave no verdict for wave 3: x"),
    (ev.RunStopped(status="stopped", reason="gate"), "stopped (gate)"),
    (ev.HolderChanged(holder="bob@b", pid=7, fence=2), "taken over by bob@b, pid 7"),
    (ev.RunFinished(status="aborted"), "aborted"),
    (ev.RunFinished(status="succeeded"), ""),
]


@pytest.mark.parametrize(("event", "text"), STEERING)
def test_steering_is_told_in_a_line(event: ev.Event, text: str) -> None:
    assert steering_texts([event]) == ([text] if text else [])


def test_the_last_steering_is_shown_with_its_time() -> None:
    told = [Recorded(n, float(n), "k7f", ev.RunPaused(by=f"ann{n}@{HOSTILE}", reason="x" * 90)) for n in range(1, 9)]
    lines = steering_lines(told)

    beginning = [line for line in lines if line.startswith("  1970-01-01 00:00:0")]
    assert [line[24:39] for line in beginning] == [f"paused by ann{n}@" for n in range(3, 9)]
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)
    assert [each["seq"] for each in steering_json(told)] == list(range(1, 9))


def test_no_word_of_what_somebody_asked_for_is_cut() -> None:
    asked = ev.RunResumed(by="ann@web", forgive=True, retry=["failed", "timed_out"], skip_domains=["az2", "az3"])

    assert steering_lines([Recorded(1, 8.0, "k7f", asked)]) == [
        "  1970-01-01 00:00:08Z  resumed by ann@web, failures forgiven, failed, timed_out",
        "                        again, without az2, az3",
    ]


LEFT: list[tuple[Sequence[ev.Event], str, list[str]]] = [
    (
        [failed(1), ev.ServerTimedOut(server=IDS[0], batch=1), ev.RunFinished(status="failed")],
        "failed,timed_out,unknown,not_started",
        ["ecsbatch resume k7f --retry failed,timed_out"],
    ),
    (
        [failed(1), ev.RunFinished(status="aborted")],
        "failed,unknown,not_started",
        ["ecsbatch restart left.csv"],
    ),
]


@pytest.mark.parametrize(("more", "kinds", "commands"), LEFT)
def test_behind_failures_the_commands_are_named_that_write_and_restart_what_is_left(
    more: Sequence[ev.Event], kinds: str, commands: list[str]
) -> None:
    lines = [line.strip() for line in summary_lines(run(*more, max_failures=5))]

    assert [command for command in commands if command not in lines] == []
    assert f"ecsbatch report k7f --outcome {kinds} -o csv --out left.csv" in lines


@pytest.mark.parametrize(
    ("failures", "sent", "offered"),
    [
        ([1, 3, 5], 6, True),
        ([1, 3, 5, 0], 6, True),  # three of four, where two are to be expected
        ([1, 3, 0], 6, False),
        ([1, 3, 0, 2], 6, False),
        ([1, 3, 5], 8, False),  # nobody of it waits any more
    ],
)
def test_a_zone_is_offered_to_be_left_out_only_where_the_failures_are_there(
    failures: Sequence[int], sent: int, *, offered: bool
) -> None:
    more = [ev.BatchSubmitting(batch=2, servers=IDS[3:sent], updated=[""] * (sent - 3), wave=1)]
    state = run(*more, *map(failed, failures), ev.RunStopped(status="stopped", reason="max_failures"))

    assert any(way.skip_domains for way in resume_options(state)) == offered


def test_a_zone_is_not_offered_to_be_left_out_beside_ids_that_do_not_exist_alone() -> None:
    fleet = Fleet(IDS, [*["az1"] * 6, "", ""])
    plan = Plan(fleet, (Wave(1, 0, 6, "100%"),), (Skip("not_found", 6, 8),), max_unavailable=3)
    state = RolloutState("k7f", plan)
    told = [
        ev.BatchSubmitting(batch=1, servers=IDS[:3], updated=[""] * 3, wave=1),
        ev.ServerFailed(server=IDS[0], domain="az1", batch=1),
        ev.RunStopped(status="stopped", reason="max_failures"),
    ]
    for seq, event in enumerate(told, 1):
        state.apply(Recorded(seq, 1_000.0 + seq, "k7f", event))

    assert not any(way.skip_domains for way in resume_options(state))


def test_a_way_on_that_loosens_what_has_stopped_the_run_is_asked_for_once_more() -> None:
    state = run(failed(1), ev.RunStopped(status="stopped", reason="max_failures"))

    assert [way.question(state) for way in resume_options(state)] == [
        "",
        "Forgive 1 failure of run k7f and restart more servers, without az2?",
        "Set --max-failures 2 for run k7f and restart more servers?",
        "Forgive 1 failure of run k7f and restart more servers?",
    ]


def test_the_table_tells_that_a_server_was_not_retried_before_what_the_cloud_said() -> None:
    refused = failed(1, message="Failed to reboot the ECS since its host is being moved elsewhere.")
    off = ev.ServerFailed(server=IDS[1], domain="az2", not_retried="not_active")
    again = ev.RunResumed(retry=["failed"], keeps_outcomes=True)
    table = b"".join(report_table(run(refused, again, off), {"failed"}, width=200)).decode()

    waits = "\n".join(summary_lines(run(refused, again)))
    assert "unhealthy  not retried: not active  Failed" in table
    assert "  not retried         1   waiting: failed until seen restarted\n" in waits
