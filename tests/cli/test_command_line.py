"""What people type, and what they get: data on stdout, one line on stderr where it fails, the documented code."""

from __future__ import annotations

import csv
import io
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from typed_commands import Simulator, Terminal

from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.parser import build_app

FAST = (
    *("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s"),
    *("--waves", "10%,100%", "--max-unavailable", "50%", "--max-failures", "20%"),
)


def fleet(terminal: Terminal, ids: list[str], name: str = "fleet.txt") -> str:
    (terminal.folder / name).write_text("\n".join(ids) + "\n", encoding="utf-8")
    return name


def test_a_fleet_file_goes_in_and_restarted_servers_come_out(terminal: Terminal, cloud: Simulator) -> None:
    """The summary, the events, the report and the simulator's books agree."""
    before = cloud.audit()
    done = terminal.type(
        "restart", fleet(terminal, cloud.ids[:150]), *FAST, "--yes", "-o", "json", "--events", "e.jsonl"
    )

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    events = [json.loads(line) for line in (terminal.folder / "e.jsonl").read_text().splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["counts"] == {name: summary[name] for name in events[-1]["counts"]}
    report = json.loads(terminal.type("report", summary["run_id"]).stdout)
    outcomes = [server["outcome"] for server in report["servers"]]
    assert (summary["total"], len(outcomes)) == (150, 150)
    assert summary["restarted"] == outcomes.count("restarted")
    assert summary["skipped"] == outcomes.count("skipped")
    after = cloud.audit()
    assert after["restarts"] - before["restarts"] == summary["restarted"]
    assert after["restarted_more_than_once"] == before["restarted_more_than_once"]
    assert "wave.started" in done.stderr
    assert (terminal.folder / "e.jsonl").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_events_that_cannot_be_written_are_told_of_and_stop_no_run(terminal: Terminal, cloud: Simulator) -> None:
    done = terminal.type("restart", fleet(terminal, cloud.ids[:2]), *FAST, "--yes", "--events", "/dev/full")

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("events.lost") == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.index("events.lost") < done.stderr.index("run.finished"), "told while it can be mended"


def test_a_runs_end_and_its_events_tell_the_head_of_its_record_which_an_audit_takes(
    terminal: Terminal, cloud: Simulator
) -> None:
    servers, events = fleet(terminal, cloud.ids[150:153]), str(terminal.folder / "events.jsonl")
    told = ("--run-id", "told", "--events", events)
    ended = terminal.type("restart", servers, *FAST, "--yes", "-q", "-o", "json", *told)
    lines = [json.loads(line) for line in Path(events).read_text().splitlines()]
    head = json.loads(ended.stdout)["head"]
    again = terminal.type("restart", servers, *FAST, "--yes", "-q", "--run-id", "told")
    watched = terminal.type("watch", "told")
    status = terminal.type("status", "told", "-o", "json")
    proved = [terminal.type("audit", "told", "--head", line["head"]).returncode for line in lines if "head" in line]

    assert len(head) == 64
    assert lines[-1]["head"] == head == json.loads(status.stdout)["head"]
    assert f"Record head {head}" in again.stdout.splitlines()
    assert f"Record head {head}" in watched.stdout.splitlines()
    assert len(proved) > 3
    assert set(proved) == {0}


def test_servers_of_a_list_may_be_named_and_so_may_those_to_leave_out(terminal: Terminal) -> None:
    listed = json.loads(terminal.type("servers", "--all", "-o", "json").stdout)["servers"][:4]
    ids, names = [each["id"] for each in listed], [each["name"] for each in listed]
    (terminal.folder / "names.txt").write_text("\n".join([names[0], ids[1], *names[2:]]) + "\n")
    (terminal.folder / "not.txt").write_text(f"{names[3]}\n")
    (terminal.folder / "misspelt.txt").write_text(f"{names[3]}x\n")
    restart = ("restart", "names.txt", *FAST, "--yes", "-q", "-o", "json", "--run-id", "by-name")

    done = terminal.type(*restart, "--exclude", "not.txt")
    again = terminal.type(*restart, "--exclude", "not.txt")
    typo = terminal.type("restart", "names.txt", "--exclude", "misspelt.txt", "--yes")
    report = json.loads(terminal.type("report", "by-name").stdout)["servers"]

    assert done.returncode == 0, done.stderr
    assert (again.returncode, again.stdout) == (0, done.stdout), again.stderr
    assert (typo.returncode, typo.stderr.count("\n")) == (2, 1)
    assert f"No server of the project is called '{names[3]}x', as the list of those to leave out" in typo.stderr
    assert typo.stderr.endswith("Its flag is --exclude.\n")
    assert {each["id"]: each["name"] for each in report} == dict(zip(ids, names, strict=True))
    assert {each["id"]: each["reason"] for each in report if each["reason"] == "excluded"} == {ids[3]: "excluded"}


def test_the_same_run_id_with_the_same_servers_gives_the_same_result(terminal: Terminal, cloud: Simulator) -> None:
    arguments = [
        "restart",
        fleet(terminal, cloud.ids[150:160]),
        *FAST,
        "--yes",
        "-q",
        "-o",
        "json",
        "--run-id",
        "night",
    ]
    first, second = terminal.type(*arguments), terminal.type(*arguments)
    other = terminal.type("restart", fleet(terminal, cloud.ids[160:170]), *arguments[2:])

    assert (first.returncode, second.returncode, other.returncode) == (0, 0, 7)
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert "exists already with other servers" in other.stderr


def test_a_run_is_interrupted_by_a_signal_and_resumed_to_its_end(terminal: Terminal, cloud: Simulator) -> None:
    before = cloud.audit()
    run = terminal.begin(
        *("restart", fleet(terminal, cloud.ids[170:370]), *FAST, "--yes", "-v", "-o", "json"), ECSBATCH_RUN_ID="stopped"
    )
    assert run.stderr is not None
    for line in run.stderr:
        if "batch.accepted" in line:
            break
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=30)

    assert run.returncode == 143, err
    assert json.loads(out)["status"] == "interrupted"
    assert "ecsbatch resume stopped" in err
    status = json.loads(terminal.type("status", "stop", "-o", "json").stdout)
    assert (status["status"], status["held"]) == ("interrupted", False)
    resumed = terminal.type("resume", "stopped", "-o", "json", *FAST[:8])
    assert resumed.returncode == 0, resumed.stderr
    summary = json.loads(resumed.stdout)
    assert (summary["total"], summary["not_started"], summary["unknown"]) == (200, 0, 0)
    after = cloud.audit()
    assert after["restarts"] - before["restarts"] == summary["restarted"]
    assert after["restarted_more_than_once"] == before["restarted_more_than_once"]
    assert "stopped" in terminal.type("runs").stdout


def test_a_run_is_paused_resumed_and_aborted_from_another_terminal(terminal: Terminal, cloud: Simulator) -> None:
    slow = ["1" if each == "50%" else each for each in FAST]
    run = terminal.begin("restart", fleet(terminal, cloud.ids[370:]), *slow, "--yes", "-v", ECSBATCH_RUN_ID="steered")
    assert run.stderr is not None
    for line in run.stderr:
        if "server.restarted" in line:
            break
    paused = terminal.type("pause", "steered")
    adjusted = terminal.type("adjust", "steered", "--max-failures", "3")
    again = terminal.type("resume", "steered")
    aborted = terminal.type("abort", "steered", "--yes")
    out, _ = run.communicate(timeout=30)

    assert [each.returncode for each in (paused, adjusted, again, aborted)] == [0, 0, 0, 0], aborted.stderr
    assert run.returncode == 4
    assert "Run steered aborted" in out
    assert terminal.type("resume", "steered").returncode == 7


def test_a_held_run_waits_for_somebodys_word(terminal: Terminal, cloud: Simulator) -> None:
    name = fleet(terminal, cloud.ids[30:60])
    run = terminal.begin("restart", name, *FAST, "--hold-after", "1", "--yes", "-o", "json", "--run-id", "held")
    assert run.stderr is not None
    for line in run.stderr:
        if "gate.checked" in line:
            break
    status = terminal.type("status", "held")
    promoted = terminal.type("promote", "held")
    out, _ = run.communicate(timeout=30)

    assert "ecsbatch promote held" in status.stdout
    assert (promoted.returncode, run.returncode) == (0, 0), promoted.stderr
    assert json.loads(out)["restarted"] + json.loads(out)["skipped"] == 30
    assert terminal.type("promote", "held").returncode == 7


def test_a_plan_is_shown_and_nothing_is_restarted(terminal: Terminal, cloud: Simulator) -> None:
    before = cloud.audit()["restarts"]
    table = terminal.type("restart", fleet(terminal, cloud.ids), "--dry-run")
    plan = terminal.type("restart", "fleet.txt", "--dry-run", "-o", "json")

    assert (table.returncode, plan.returncode) == (0, 0)
    assert "396 servers" in table.stdout
    assert all(len(line) <= 80 for line in table.stdout.splitlines() if not line.startswith("Store "))
    assert json.loads(plan.stdout)["plan"]["to_restart"] == 396
    assert cloud.audit()["restarts"] == before


def test_guards_and_missing_consent_refuse(terminal: Terminal, cloud: Simulator) -> None:
    before = cloud.audit()["restarts"]
    name = fleet(terminal, cloud.ids[:120])
    refused = [
        terminal.type("restart", name),
        terminal.type("restart", name, "--yes", "--max-servers", "50"),
        terminal.type("restart", name, "--yes", "--max-servers", "10%"),
        terminal.type("restart", name, "--confirm-count", "3"),
    ]

    assert [each.returncode for each in refused] == [7, 7, 7, 7]
    assert all(each.stdout == "" for each in refused)
    assert all(each.stderr.count("\n") == 1 for each in refused), [each.stderr for each in refused]
    assert cloud.audit()["restarts"] == before


def test_a_variable_that_agrees_is_told_of_and_stands_in_the_record(terminal: Terminal, cloud: Simulator) -> None:
    name = fleet(terminal, cloud.ids[:3])
    options = (*FAST, "--events", "events.jsonl", "--run-id")

    done = terminal.type("restart", name, *options, "by-variable", ECSBATCH_YES="1")
    again = terminal.type("restart", name, *options, "typed", "--yes", ECSBATCH_YES="1")
    bad = terminal.type("restart", name, *options, "bad", ECSBATCH_YES="perhaps")
    no = terminal.type("restart", name, *options, "no", ECSBATCH_YES="0")

    assert done.returncode == again.returncode == 0, done.stderr
    assert "Agreed by ECSBATCH_YES: nobody is asked." in done.stderr
    assert "Agreed by" not in again.stderr
    assert (bad.returncode, no.returncode) == (Exit.USAGE, Exit.REFUSED)
    assert "ECSBATCH_YES=perhaps: give true or false" in bad.stderr
    events = [json.loads(line) for line in (terminal.folder / "events.jsonl").read_text().splitlines()]
    taken = {event["run_id"]: event.get("agreed_by", "") for event in events if event["event"] == "holder.changed"}
    assert taken == {"by-variable": "ECSBATCH_YES", "typed": ""}


def test_all_servers_are_meant_by_nobody_who_has_not_typed_it(terminal: Terminal, cloud: Simulator) -> None:
    before = cloud.audit()["requests"]

    for arguments in (("servers",), ("restart", "--yes"), ("plan",)):
        done = terminal.type(*arguments, ECSBATCH_ALL="1")
        assert done.returncode == Exit.USAGE
        assert "ECSBATCH_ALL" in done.stderr or "--all" in done.stderr
    assert cloud.audit()["requests"] == before


def test_the_report_is_a_table_that_no_spreadsheet_runs(terminal: Terminal, cloud: Simulator) -> None:
    terminal.type("restart", fleet(terminal, cloud.ids[:5]), *FAST, "--yes", "-q")
    rows = list(csv.DictReader(io.StringIO(terminal.type("report", "-o", "csv").stdout)))

    assert sorted(row["id"] for row in rows) == sorted(cloud.ids[:5])
    assert terminal.type("report", "-o", "csv", "--out", "r.csv").stdout == ""
    assert (terminal.folder / "r.csv").read_text().count("\n") == 6


BAD: list[tuple[list[str], int, str]] = [
    ([], 2, "restart needs a list of servers"),
    (["missing.txt"], 2, "cannot be read"),
    (["binary.txt"], 2, "binary file"),
    (["noid.txt"], 2, "is no server id"),
    (["twice.txt"], 2, "stands in line 1 already"),
    (["empty.txt"], 7, "names no server"),
    (["good.txt", "--quota", "0"], 2, "--quota 0: give servers per window"),
    (["good.txt", "--batch-size", "1001"], 2, "--batch-size 1001: give a whole number from 1 to 1000"),
    (["good.txt", "--max-unavailable", "0"], 2, "--max-unavailable 0"),
    (["good.txt", "--config", "unknown.toml"], 2, "there is no such setting, the nearest is batch_size"),
    (["good.txt", "--config", "gate.toml"], 2, "cannot be split into words"),
    (["good.txt", "--check", "tcp:99999"], 2, "tcp:99999"),
    (["good.txt", "--check", "ping"], 2, "--check ping"),
    (["good.txt", "--endpoint", "https://host/path"], 2, "--endpoint"),
    (["good.txt", "--store", "mysql://x"], 2, "--store"),
    (["good.txt", "--store", "sqlite:///no/such/folder/x.db"], 2, "folder"),
    (["good.txt", "--events", "-", "-o", "json"], 2, "standard output"),
    (["good.txt", "--max-servers", "many"], 2, "--max-servers many"),
    (["good.txt", "--no-such-option"], 2, "no option --no-such-option"),
    (["good.txt", "--max-unavailible", "3"], 2, "Did you mean --max-unavailable? See ecsbatch restart --help."),
    (["--no-such-option"], 2, "has no option --no-such-option"),
    (["good.txt", "more.txt"], 2, "one argument too many"),
    (["good.txt", "--batch-size"], 2, "requires an argument"),
    (["good.txt", "--confirm-count", "x"], 2, "--confirm-count"),
]


def test_bad_input_gets_one_line_and_nothing_is_sent(terminal: Terminal, cloud: Simulator) -> None:
    """All at once, since each is a process of half a second."""
    for name, data in {
        "binary.txt": b"\x7fELF\0\1",
        "noid.txt": f"{cloud.ids[0][:-1]}\n".encode(),
        "twice.txt": f"{cloud.ids[0]}\n{cloud.ids[0]}\n".encode(),
        "empty.txt": b"# nobody\n",
        "good.txt": f"{cloud.ids[0]}\n".encode(),
        "unknown.toml": b"[strategy]\nbatchsize = 3\n",
        "gate.toml": b'[strategy]\ngate = "./go \'"\n',
    }.items():
        (terminal.folder / name).write_bytes(data)
    before = cloud.audit()["requests"]
    begun = [(arguments, code, words, terminal.begin("restart", *arguments, "--yes")) for arguments, code, words in BAD]
    for arguments, code, words, process in begun:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (code, ""), (arguments, err)
        assert words in err, (arguments, err)
        assert err.count("\n") == 1, (arguments, err)
        assert err.startswith("ecsbatch: ")

    # The store's folder is looked at before the cloud is: nothing at all was sent.
    assert cloud.audit()["requests"] == before


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        ({"HUAWEICLOUD_SDK_SK": "wrong-secret-key-000000000"}, 1, "signature"),
        ({"HUAWEICLOUD_SDK_AK": "", "HUAWEICLOUD_SDK_SK": ""}, 2, "No credentials found"),
        ({"ECSBATCH_BATCHSIZE": "3"}, 2, "there is no such setting"),
    ],
)
def test_a_wrong_key_costs_two_requests_at_most(
    terminal: Terminal, cloud: Simulator, environment: dict[str, str], code: int, words: str
) -> None:
    before = cloud.audit()["requests"]
    done = terminal.type("restart", fleet(terminal, cloud.ids), "--yes", "--region", "r", **environment)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert words.lower() in done.stderr.lower()
    assert "wrong-secret" not in done.stderr
    assert cloud.audit()["requests"] - before <= 2


@pytest.mark.parametrize("command", ["resume", "status", "report"])
def test_a_run_that_does_not_exist_is_named(terminal: Terminal, command: str) -> None:
    done = terminal.type(command, "zzz")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr


def test_a_word_that_is_no_command_gets_a_whole_sentence(terminal: Terminal) -> None:
    near, far = terminal.type("chekc"), terminal.type("nonsense")

    assert near.stderr == 'ecsbatch: Unknown command "chekc". Did you mean "check"? See ecsbatch --help.\n'
    assert far.stderr == 'ecsbatch: Unknown command "nonsense": see ecsbatch --help.\n'


def test_help_fits_80_columns(terminal: Terminal) -> None:
    pages: list[Any] = [
        terminal.begin(*words, "--help")
        for words in ([], ["restart"], ["plan"], ["apply"], ["servers"], ["rehearse"], ["resume"], ["simulate"])
    ]
    for page in pages:
        out, err = page.communicate(timeout=30)
        assert (page.returncode, err) == (0, "")
        assert max(len(line) for line in out.splitlines()) <= 80


def test_what_help_shows_can_be_typed_and_says_where_keys_come_from(terminal: Terminal) -> None:
    page = terminal.type("restart", "--help").stdout
    shown = [line.split()[1:] for line in page.splitlines() if line.startswith("  ecsbatch ")]

    assert [words[0] for words in shown] == ["restart", "restart", "restart", "restart", "check"]
    for words in shown:
        command, _, _ = build_app(words[0]).parse_args(words, exit_on_error=False, print_error=False)
        assert command.__name__ == words[0]
    for source in ("HUAWEICLOUD_SDK_AK", "~/.huaweicloud/credentials", "ECSBATCH_AUTH_TOKEN", "ECSBATCH_CREDENTIALS"):
        assert source in page


def test_the_demo_accounts_for_every_server_and_runs_nothing_of_the_folder_it_is_typed_in(
    terminal: Terminal, tmp_path: Path
) -> None:
    """Whoever can write there, or set a variable for Python, must not run as who types; nothing is left behind."""
    planted = {tmp_path / module for module in ("ecsbatch.py", "orjson.py", "sitecustomize.py")}
    for module in planted:
        module.write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write('x')\n", encoding="utf-8")
    done = terminal.type("demo", "--servers", "60", "--quiet", PYTHONPATH=str(tmp_path), ECSBATCH_WAVES="20")

    assert done.returncode == 0, done.stderr
    assert "Every server is accounted for." in done.stdout
    assert set(tmp_path.iterdir()) == planted
