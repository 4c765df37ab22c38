"""The first hour: check says what is ready and what to do, config finds mistakes, shells complete."""

from __future__ import annotations

import asyncio
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typed_commands import ECSBATCH, Simulator, Terminal

from ecsbatch.cli.catalog import COMMANDS
from ecsbatch.cli.commands.check import clock
from ecsbatch.cli.commands.completion import BESIDES, INSTALL
from ecsbatch.cli.commands.simulate import exports
from ecsbatch.config.settings import SETTINGS
from ecsbatch.simulator.config import CloudConfig
from ecsbatch.simulator.server import serve

ORDER = ["network", "key", "project", "clock", "listing", "store", "quota"]
NO_KEY = {"HUAWEICLOUD_SDK_AK": "", "HUAWEICLOUD_SDK_SK": ""}
ROOT = Path(__file__).parents[2]


def checked(terminal: Terminal, *arguments: str, **environment: str) -> tuple[int, Mapping[str, Any]]:
    """Type check, and return its code and its object with the findings by their names."""
    done = terminal.type("check", "-o", "json", *arguments, HOME=str(terminal.folder), **environment)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    report = json.loads(done.stdout)
    assert report["ok"] is (done.returncode == 0)
    return done.returncode, {**report, **{each["name"]: each for each in report["checks"]}}


def test_everything_that_is_ready_says_ok(terminal: Terminal, cloud: Simulator) -> None:
    before = cloud.audit()
    table = terminal.type("check", HOME=str(terminal.folder))
    after = cloud.audit()

    assert (table.returncode, table.stderr) == (0, "")
    lines = [line.split() for line in table.stdout.splitlines() if not line.startswith(" ")]
    assert [line[:2] for line in lines] == [["ok", name] for name in ORDER]
    assert "400 servers in az1, az2, az3" in table.stdout
    assert "1,000 of 1,000 per 1m free" in table.stdout
    assert str(terminal.folder / "state") in table.stdout.replace("\n" + " " * 20, "")
    assert after["requests"] - before["requests"] == 1
    assert after["restarts"] == before["restarts"]
    assert max(map(len, table.stdout.splitlines())) <= max(80, len(str(terminal.folder)) + 60)


def test_a_wrong_key_costs_one_request_and_says_whose_it_is(terminal: Terminal, cloud: Simulator) -> None:
    """Five failures lock a key for five minutes: whoever checks is not to come near."""
    before = cloud.audit()["requests"]
    code, report = checked(terminal, HUAWEICLOUD_SDK_SK="CANARY-wrong-secret")

    assert code == 1
    assert report["key"]["state"] == "failed"
    assert "HUAWEICLOUD_SDK_AK" in report["key"]["text"]
    assert "APIGW.0301" in report["key"]["text"]
    assert [report[name]["state"] for name in ("project", "listing")] == ["not tried", "not tried"]
    assert [report[name]["state"] for name in ("network", "store")] == ["ok", "ok"]
    assert "CANARY" not in str(report)
    assert cloud.audit()["requests"] - before == report["requests"] == 1


def test_a_wrong_key_without_a_project_costs_one_request_too(terminal: Terminal, cloud: Simulator) -> None:
    before = cloud.audit()["requests"]
    environment = {"HUAWEICLOUD_SDK_PROJECT_ID": "", "HUAWEICLOUD_SDK_SK": "CANARY-wrong-secret"}
    code, report = checked(terminal, "--region", "eu-west-101", **environment)

    assert (code, report["key"]["state"], report["project"]["state"]) == (1, "failed", "not tried")
    assert cloud.audit()["requests"] - before == 1


def test_the_project_is_looked_up_by_its_region(terminal: Terminal, cloud: Simulator) -> None:
    found, report = checked(terminal, "--region", "eu-west-101", HUAWEICLOUD_SDK_PROJECT_ID="")
    missing, error = checked(terminal, "--region", "mars-1", HUAWEICLOUD_SDK_PROJECT_ID="")

    assert (found, report["project"]["text"]) == (0, cloud.environment["HUAWEICLOUD_SDK_PROJECT_ID"])
    assert (missing, error["key"]["state"], error["project"]["state"]) == (1, "ok", "failed")
    assert "No project is named mars-1" in error["project"]["text"]


def test_a_mistyped_region_is_suspected_where_no_name_is_found(terminal: Terminal) -> None:
    done = terminal.type(
        *("servers", "--all", "--region", "eu-wset-101"),
        HUAWEICLOUD_SDK_PROJECT_ID="",
        HUAWEICLOUD_SDK_IAM_ENDPOINT="https://iam.invalid",
    )

    assert done.returncode == 1
    assert "Is there a region eu-wset-101? Check the region" in done.stderr
    assert "--region" in done.stderr


def test_a_project_of_somebody_else_is_not_the_keys_fault(terminal: Terminal) -> None:
    code, report = checked(terminal, HUAWEICLOUD_SDK_PROJECT_ID="0123456789abcdef")

    assert (code, report["key"]["state"], report["project"]["state"]) == (1, "ok", "failed")
    assert "--project-id" in report["project"]["text"]


def test_without_credentials_it_is_said_what_to_export(terminal: Terminal) -> None:
    code, report = checked(terminal, **NO_KEY, HW_ACCESS_KEY="CANARY-of-terraform")

    assert (code, report["requests"]) == (1, 0)
    assert 'HUAWEICLOUD_SDK_AK="$HW_ACCESS_KEY"' in report["key"]["text"]
    assert "CANARY" not in str(report)
    assert [each["name"] for each in report["checks"]] == ORDER


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [("https://nowhere.invalid", "cannot be resolved"), ("http://127.0.0.1:{closed}", "no connection to 127.0.0.1")],
)
def test_an_endpoint_that_is_not_there_is_told_without_sending_a_key(
    terminal: Terminal, endpoint: str, says: str
) -> None:
    with socket.socket() as unused:  # kept until it was asked: a server of another test could get its number
        unused.bind(("127.0.0.1", 0))
        endpoint = endpoint.format(closed=unused.getsockname()[1])
        code, report = checked(terminal, "--endpoint", endpoint)

    assert (code, report["requests"], report["network"]["state"]) == (1, 0, "failed")
    assert says in report["network"]["text"]
    assert "--endpoint" in report["network"]["text"]
    assert report["key"]["state"] == "not tried"


def test_a_proxy_in_use_is_named_without_its_password(terminal: Terminal) -> None:
    environment = {"HTTPS_PROXY": "http://ops:CANARY@127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}
    code, report = checked(terminal, "--endpoint", "https://ecs.example.com", **environment)

    assert code == 1
    assert "127.0.0.1:9" in report["network"]["text"]
    assert "CANARY" not in str(report)


def test_a_store_that_others_may_write_is_told_with_what_mends_it(terminal: Terminal) -> None:
    (terminal.folder / "shared").mkdir(mode=0o700)
    (terminal.folder / "shared").chmod(0o707)
    code, report = checked(terminal, "--store", "sqlite:///shared/r.db")

    assert (code, report["store"]["state"]) == (0, "warning")
    assert "shared may be written by everybody (`chmod go-w " in report["store"]["text"]


def test_a_store_that_cannot_be_written_is_told(terminal: Terminal) -> None:
    code, report = checked(terminal, "--store", "sqlite:////proc/restarts.db")

    assert (code, report["store"]["state"], report["quota"]["state"]) == (1, "failed", "not tried")
    assert report["listing"]["state"] == "ok"


def test_the_quota_that_others_hold_is_told(terminal: Terminal, cloud: Simulator) -> None:
    """The run stands at its hold, so that it is still there however long the check takes."""
    (terminal.folder / "fleet.txt").write_text("\n".join(cloud.ids[100:141]) + "\n")
    limits = ("--quota", "50/10m", "--max-unavailable", "100%", "--waves", "40,100%", "--typical-restart", "1s")
    run = terminal.begin("restart", "fleet.txt", *limits, "--yes", "--hold-after", "1", "--run-id", "tonight")
    for line in run.stderr:
        if "gate.checked" in line:
            break
    code, report = checked(terminal, "--quota", "50/10m")
    run.send_signal(signal.SIGTERM)
    run.communicate()

    assert code == 0
    assert "held now: tonight" in report["quota"]["text"]
    assert "10 of 50 per 10m free" in report["quota"]["text"]


def test_a_credentials_file_is_all_that_it_takes(terminal: Terminal, cloud: Simulator) -> None:
    path = terminal.folder / ".huaweicloud" / "credentials"
    path.parent.mkdir()
    key = {name: cloud.environment[f"HUAWEICLOUD_SDK_{name.upper()}"] for name in ("ak", "sk", "project_id")}
    path.write_text("[basic]\n" + "".join(f"{name} = {value}\n" for name, value in key.items()))
    path.chmod(0o644)
    environment = {**NO_KEY, "HUAWEICLOUD_SDK_PROJECT_ID": ""}
    code, report = checked(terminal, **environment)
    servers = terminal.type("restart", "ids.txt", "--dry-run", HOME=str(terminal.folder), **environment)

    assert code == 0
    assert str(path) in report["key"]["text"]
    assert report["key file"]["state"] == "warning"
    assert "ids.txt" in servers.stderr
    (terminal.folder / "ids.txt").write_text(cloud.ids[0])
    planned = terminal.type("restart", "ids.txt", "--dry-run", HOME=str(terminal.folder), **environment)
    assert planned.returncode == 0, planned.stderr
    assert planned.stderr.count("chmod 600") == 1
    path.chmod(0o600)
    assert "key file" not in checked(terminal, **environment)[1]


def test_an_iam_user_is_all_that_it_takes(terminal: Terminal, cloud: Simulator) -> None:
    user = {"ECSBATCH_IAM_USER": "simulated-user", "ECSBATCH_IAM_DOMAIN": "simulated-domain"}
    environment = {**NO_KEY, **user, "HUAWEICLOUD_SDK_PROJECT_ID": "", "ECSBATCH_REGION": "eu-west-101"}
    code, report = checked(terminal, **environment, ECSBATCH_IAM_PASSWORD="simulated-password-canary")
    wrong, refused = checked(terminal, **environment, ECSBATCH_IAM_PASSWORD="CANARY-wrong")

    assert (code, report["requests"]) == (0, 3)
    assert report["project"]["text"] == cloud.environment["HUAWEICLOUD_SDK_PROJECT_ID"]
    assert (wrong, refused["requests"], refused["key"]["state"]) == (1, 1, "failed")
    assert "ECSBATCH_IAM_PASSWORD" in refused["key"]["text"]
    assert "canary" not in str((report, refused)).lower()


def test_a_metadata_service_that_is_not_there_is_the_keys_fault(terminal: Terminal) -> None:
    environment = {**NO_KEY, "ECSBATCH_CREDENTIALS": "metadata", "ECSBATCH_METADATA_ENDPOINT": "http://127.0.0.1:9"}
    code, report = checked(terminal, **environment)

    assert (code, report["key"]["state"], report["listing"]["state"]) == (1, "failed", "not tried")
    assert "on ECS servers only" in report["key"]["text"]


@pytest.mark.parametrize(
    ("behind", "accepted", "state", "says"),
    [
        (None, False, "not tried", "told the time"),
        (-1.0, True, "ok", "agrees"),
        (30.0, True, "ok", "30s behind"),
        (-120.0, True, "warning", "2m00s ahead of"),
        (300.0, False, "warning", "5m00s behind"),
        (1000.0, False, "failed", "no signature is accepted"),
        (1000.0, True, "warning", "set the clock"),
    ],
)
def test_a_clock_that_is_off_is_told_before_signatures_fail(
    behind: float | None, state: str, says: str, *, accepted: bool
) -> None:
    """Above 15 minutes the gateway refuses whatever is signed, and says no more than that the signature is wrong."""
    found, text = clock(behind, accepted=accepted, own_time=False)

    assert found == state
    assert says in text


@pytest.mark.parametrize(
    ("skew", "code", "state", "says"),
    [(300.0, 0, "ok", "5m00s behind the cloud"), (1000.0, 1, "failed", "16m40s behind the cloud")],
)
async def test_the_clocks_difference_is_read_from_the_answers(
    tmp_path: Path, skew: float, code: int, state: str, says: str
) -> None:
    """A simulated cloud keeps its own time, which may run fast: no reason to set a clock while it takes signatures."""
    async with serve(CloudConfig(servers=3, latency=0.001, clock_skew=skew)) as running:
        typed = Terminal(tmp_path, exports(running))
        ended, report = await asyncio.to_thread(checked, typed)
        typed.end()

    assert (ended, report["clock"]["state"]) == (code, state)
    assert says in report["clock"]["text"]


# config


def config_check(terminal: Terminal, text: str) -> subprocess.CompletedProcess[str]:
    (terminal.folder / "mine.toml").write_text(text, encoding="utf-8")
    return terminal.type("config", "check", "mine.toml")


def test_every_mistake_in_a_file_is_named_with_its_key(terminal: Terminal) -> None:
    done = config_check(
        terminal,
        '[engine]\nburst = 5000\nquotaa = "1"\nrequest_timeout = "soon"\n[foo]\na = 1\n'
        '[connection]\nbatch_size = 3\nendpoint = "nowhere"\n',
    )

    assert (done.returncode, done.stdout) == (2, "mine.toml: 6 mistakes.\n")
    said = done.stderr.splitlines()
    for line, key in zip(said, ("quotaa", "request_timeout", "foo", "batch_size", "endpoint", "burst"), strict=True):
        assert line.startswith(f"ecsbatch: {key} ")
    assert "the nearest is quota" in said[0]


@pytest.mark.parametrize(("text", "says"), [("[engine\n", "no TOML"), ("a = 1\n", "no such table")])
def test_a_file_that_is_none_is_an_error_of_its_own(terminal: Terminal, text: str, says: str) -> None:
    done = config_check(terminal, text)

    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.toml")), ids=lambda path: path.name)
def test_the_files_that_come_with_it_are_fine(terminal: Terminal, path: Path) -> None:
    done = terminal.type("config", "check", str(path))

    assert (done.returncode, done.stderr) == (0, "")
    assert "is fine" in done.stdout


@pytest.mark.parametrize("arguments", [("check",), ("show", "x.toml"), ("mend", "x.toml"), ("check", "missing.toml")])
def test_config_wants_to_be_asked_properly(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    done = terminal.type("config", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_the_settings_that_hold_are_shown_with_where_they_come_from(terminal: Terminal) -> None:
    (terminal.folder / "mine.toml").write_text('[strategy]\nbatch_size = 7\nsoak = "5m"\n')
    arguments = ("--config", "mine.toml", "--soak", "1m")
    store = {"ECSBATCH_STORE": "postgresql://ops:CANARY@db/x"}
    done = terminal.type("config", "show", *arguments, ECSBATCH_LINGER="2s", **store)
    shown = tomllib.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert {name for section in shown.values() for name in section} == set(SETTINGS)
    assert (shown["strategy"]["batch_size"], shown["strategy"]["soak"], shown["engine"]["linger"]) == (7, "1m", "2s")
    origins = {line.split(" = ")[0]: line.rpartition("# ")[2] for line in done.stdout.splitlines() if " = " in line}
    assert [origins[name] for name in ("batch_size", "soak", "linger", "waves", "endpoint")] == [
        *("mine.toml", "--soak", "ECSBATCH_LINGER", "default", "ECSBATCH_ENDPOINT")
    ]
    assert "CANARY" not in done.stdout
    secret = terminal.environment["HUAWEICLOUD_SDK_SK"]
    assert secret not in done.stdout + terminal.type("config", "show", "-o", "json").stdout


def test_what_is_shown_is_a_file_that_is_fine(terminal: Terminal) -> None:
    shown = terminal.type("config", "show").stdout

    assert config_check(terminal, shown).returncode == 0


# completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_learns_every_command(terminal: Terminal, shell: str) -> None:
    done = terminal.type("completion", shell)

    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name, *_ in COMMANDS if name not in done.stdout] == []
    assert "max-unavailable" in done.stdout


def test_zsh_is_told_that_fleets_are_files_and_commands_are_not(terminal: Terminal) -> None:
    script = terminal.type("completion", "zsh").stdout
    fleets = [line.strip() for line in script.splitlines() if line.strip().startswith("'1:Servers")]

    assert fleets
    assert {line.endswith(":_files' \\") for line in fleets} == {True}
    assert "'1: :->cmds' \\" in script


def test_bash_completes_commands_and_options(terminal: Terminal) -> None:
    (terminal.folder / "ecsbatch.bash").write_text(terminal.type("completion", "bash").stdout)
    begin = "source ./ecsbatch.bash; compopt() { :; }; "

    def completed(*words: str) -> list[str]:
        typed = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _ecsbatch; "
        command = ["bash", "-c", begin + typed + 'echo "${COMPREPLY[@]}"']
        done = subprocess.run(command, cwd=terminal.folder, capture_output=True, text=True, check=True)  # noqa: S603 - ours
        return done.stdout.split()

    assert completed("ecsbatch", "che") == ["check"]
    assert completed("ecsbatch", "restart", "--max-un") == ["--max-unavailable", "--max-unavailable-per-domain"]
    assert completed("ecsbatch", "completion", "f") == ["fish"]
    assert completed("ecsbatch", "restart", "--order", "") == ["spread", "domain", "input", "oldest"]


def test_bash_completes_files_where_nothing_else_is_known(terminal: Terminal) -> None:
    """In a bash that somebody types into: only that one falls back to files."""
    (terminal.folder / "ecsbatch.bash").write_text(terminal.type("completion", "bash").stdout)
    (terminal.folder / "fleet-of-friday.csv").write_text("id\n")
    (terminal.folder / "rc").write_text('source ./ecsbatch.bash\necsbatch() { echo "<$*>"; exit; }\nPS1=ready:\n')
    ours, its = os.openpty()
    with subprocess.Popen(
        ["bash", "--noprofile", "--rcfile", "rc", "-i"],  # noqa: S607 - the one that people have
        cwd=terminal.folder,
        env={"PATH": os.environ["PATH"], "TERM": "dumb", "INPUTRC": os.devnull, "HOME": str(terminal.folder)},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    ) as process:
        os.close(its)
        terminal_says = read_until(ours, b"ready:")
        os.write(ours, b"ecsbatch restart fl\t\n")
        terminal_says += read_until(ours, b">")
        process.wait(timeout=30)
    os.close(ours)

    assert b"<restart fleet-of-friday.csv>" in terminal_says.replace(b"\r", b"")


def read_until(descriptor: int, words: bytes) -> bytes:
    read = b""
    while words not in read:
        readable, _, _ = select.select([descriptor], [], [], 30)
        assert readable, read
        read += os.read(descriptor, 4096)
    return read


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_is_installed_as_its_help_says(terminal: Terminal, shell: str) -> None:
    told = terminal.type("completion", "--help").stdout.splitlines()
    script = f'set -e; ecsbatch() {{ {shlex.join(ECSBATCH)} "$@"; }}\n' + "\n".join(INSTALL[shell])
    environment = {**os.environ, "HOME": str(terminal.folder)}
    subprocess.run(["bash", "-c", script], env=environment, check=True)  # noqa: S603, S607 - ours
    written = [path for path in terminal.folder.rglob("*ecsbatch*") if path.is_file() and path.stat().st_size > 1000]

    assert [line for line in INSTALL[shell] if f"  {line}" not in told] == []
    assert [line for line in BESIDES[shell][1:] if line not in told] == []
    assert len(written) == 1
