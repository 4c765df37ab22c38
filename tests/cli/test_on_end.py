"""``--on-end``: what the command is told, and that nothing of it changes how a run has ended."""

from __future__ import annotations

import json
import runpy
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from held_to_schemas import hold
from typed_commands import PAUSE, Simulator, Terminal
from views.scenes import history, plan

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.on_end import end_hook
from ecsbatch.config.sources import from_flags, merge_layers
from ecsbatch.model import events as ev
from ecsbatch.views.report import run_json

FAST = (
    *("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s", "--yes", "--quiet"),
    *("--request-timeout", "2s", "--unknown-grace", "1s", "--max-unavailable", "100%", "--max-failures", "100%"),
)
HELD = ("--waves", "1,100%", "--hold-after", "1")
SECRET = "not-for-hooks"
HOOK = f"""#!{sys.executable}
import json, os, pathlib, stat, sys
report = os.environ.get("ECSBATCH_REPORT", "")
told = {{
    "summary": json.load(sys.stdin),
    "environment": dict(os.environ),
    "report": pathlib.Path(report).read_text()[:4096] if report else "",
    "mode": stat.S_IMODE(os.stat(report).st_mode) if report else 0,
}}
with open("ends.jsonl", "a") as file:
    file.write(json.dumps(told) + "\\n")
print("posted\\x1b[31m")
sys.exit(int(os.environ.get("HOOK_CODE", "0")))
"""
EXAMPLE = Path(__file__).parents[2] / "config" / "on-end-chat.py"


@pytest.fixture
def hook(terminal: Terminal) -> str:
    path = terminal.folder / "hook.py"
    path.write_text(HOOK, encoding="utf-8")
    path.chmod(0o700)
    return "./hook.py"


def fleet(terminal: Terminal, ids: list[str]) -> str:
    (terminal.folder / "fleet.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    return "fleet.txt"


def ends(terminal: Terminal) -> list[dict[str, Any]]:
    path = terminal.folder / "ends.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_the_command_gets_summary_report_and_no_secret(terminal: Terminal, cloud: Simulator, hook: str) -> None:
    servers = fleet(terminal, cloud.ids[10:14])
    done = terminal.type(
        "restart", servers, *FAST, "--run-id", "good", "-o", "json", "--on-end", hook, PGPASSWORD=SECRET
    )
    (told,) = ends(terminal)
    environment = told["environment"]

    assert done.returncode == 0, done.stderr
    assert told["summary"] == json.loads(done.stdout)
    hold("summary", told["summary"])
    named = ("ECSBATCH_RUN_ID", "ECSBATCH_STATUS", "ECSBATCH_EXIT_CODE")
    assert [environment[name] for name in named] == ["good", "succeeded", "0"]
    assert (told["mode"], "<html" in told["report"]) == (0o600, True)
    assert not Path(environment["ECSBATCH_REPORT"]).parent.exists()
    withheld = ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "PGPASSWORD")
    assert [name for name in withheld if name in environment] == []
    assert SECRET not in json.dumps(told)
    assert "posted" in done.stderr
    assert "\x1b" not in done.stderr


def test_each_end_runs_it_once_and_a_run_that_is_over_already_does_not(
    terminal: Terminal, cloud: Simulator, hook: str
) -> None:
    servers = fleet(terminal, cloud.ids[14:18])
    gated = ("--waves", "1,100%", "--gate", "./gate.sh")
    gate = terminal.folder / "gate.sh"
    gate.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    gate.chmod(0o700)
    stopped = terminal.type("restart", servers, *FAST, *gated, "--run-id", "twice", ECSBATCH_ON_END=hook)
    gate.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    resumed = terminal.type("resume", "twice", *FAST[:8], "--yes", "--quiet", "--on-end", hook)
    again = terminal.type("resume", "twice", "--quiet", "--on-end", hook)
    named = terminal.type("restart", servers, *FAST, *gated, "--run-id", "twice", "--on-end", hook)

    assert [stopped.returncode, resumed.returncode, again.returncode, named.returncode] == [4, 0, 0, 0]
    assert [each["environment"]["ECSBATCH_STATUS"] for each in ends(terminal)] == ["stopped", "succeeded"]
    assert [each["environment"]["ECSBATCH_EXIT_CODE"] for each in ends(terminal)] == ["4", "0"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("./hook.py", "--on-end has ended with code 3. The run is as it is."),
        ("sh -c 'kill -9 $$'", "--on-end was killed by signal 9."),
        ("sh -c 'yes | head -c 1000000'", "(more is not shown)"),
    ],
)
def test_what_becomes_of_it_changes_nothing(
    terminal: Terminal, cloud: Simulator, hook: str, command: str, says: str
) -> None:
    assert hook
    servers = fleet(terminal, cloud.ids[18:20])
    done = terminal.type("restart", servers, *FAST, "--on-end", command, HOOK_CODE="3")

    assert done.returncode == 0, done.stderr
    assert says in done.stderr
    assert len(done.stderr) < 20_000


@pytest.mark.parametrize("command", ["./nowhere", "'unclosed"])
def test_what_cannot_be_started_is_refused_before_anything_is_sent(
    terminal: Terminal, cloud: Simulator, command: str
) -> None:
    before = cloud.audit()["accepted_requests"]
    typed = [
        terminal.type("restart", fleet(terminal, cloud.ids[:2]), *FAST, "--on-end", command),
        terminal.type("work", "--on-end", command),
    ]

    assert [done.returncode for done in typed] == [2, 2], typed
    assert cloud.audit()["accepted_requests"] == before


def test_one_in_a_file_that_others_may_write_is_refused(terminal: Terminal, cloud: Simulator, hook: str) -> None:
    path = terminal.folder / "settings.toml"
    path.write_text(f'[observability]\non_end = "{hook}"\n', encoding="utf-8")
    servers = fleet(terminal, cloud.ids[20:22])
    path.chmod(0o666)
    refused = terminal.type("restart", servers, *FAST, "--config", "settings.toml")
    path.chmod(0o600)
    done = terminal.type("restart", servers, *FAST, "--config", "settings.toml")

    assert (refused.returncode, "which others may write" in refused.stderr) == (2, True)
    assert (done.returncode, len(ends(terminal))) == (0, 1)


def test_a_signal_ends_the_command_with_its_children_and_the_run_keeps_its_code(
    terminal: Terminal, cloud: Simulator
) -> None:
    sleeps = "sh -c 'sleep 600 & echo $! > child; wait'"
    run = terminal.begin("restart", fleet(terminal, cloud.ids[22:24]), *FAST, "--on-end", sleeps)
    child = terminal.folder / "child"
    end = time.monotonic() + 30
    while not child.exists() or not child.read_text():
        assert time.monotonic() < end
        assert run.poll() is None, run.communicate()
        time.sleep(PAUSE)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate()

    assert run.returncode == 0, err
    assert "--on-end was ended by a signal" in err
    while Path(f"/proc/{child.read_text().strip()}").exists():
        assert time.monotonic() < end
        time.sleep(PAUSE)


def test_a_standby_runs_it_for_each_run_that_ends_there_and_nobody_for_one_that_was_taken(
    terminal: Terminal, cloud: Simulator, hook: str
) -> None:
    first = terminal.begin(
        "restart", fleet(terminal, cloud.ids[30:40]), *FAST, *HELD, "--run-id", "n", "--on-end", hook
    )
    while terminal.type("wait", "n", "--for", "stopped").returncode:
        assert first.poll() is None, first.communicate()
        time.sleep(PAUSE)
    first.kill()
    first.wait()
    worker = terminal.begin("work", *FAST[:6], "--log-format", "json", "--on-end", hook)
    while not json.loads(terminal.type("status", "n", "-o", "json").stdout)["holder"].startswith("work@"):
        assert worker.poll() is None, worker.communicate()
        time.sleep(PAUSE)
    terminal.type("promote", "n")
    assert terminal.type("wait", "n").returncode == 0
    end = time.monotonic() + 30
    while not ends(terminal):
        assert time.monotonic() < end
        time.sleep(PAUSE)
    worker.send_signal(signal.SIGTERM)
    out, err = worker.communicate()

    assert (worker.returncode, out) == (0, ""), err
    assert [each["environment"]["ECSBATCH_STATUS"] for each in ends(terminal)] == ["succeeded"]
    assert "on_end.output" in [json.loads(line)["event"] for line in err.splitlines()]


@pytest.fixture
def chat() -> Iterator[tuple[str, list[bytes]]]:
    """A chat's webhook on this machine, and what was posted to it."""
    posted: list[bytes] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Webhook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", posted
        server.shutdown()
        thread.join()


def test_the_example_posts_to_a_chat(terminal: Terminal, cloud: Simulator, chat: tuple[str, list[bytes]]) -> None:
    address, posted = chat
    servers = fleet(terminal, cloud.ids[40:44])
    command = f"{sys.executable} {EXAMPLE}"
    done = terminal.type("restart", servers, *FAST, "--run-id", "c", "--on-end", command, CHAT_WEBHOOK=address)
    nobody = "http://127.0.0.1:9/secret"
    gone = terminal.type("restart", servers, *FAST, "--run-id", "d", "--on-end", command, CHAT_WEBHOOK=nobody)

    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert [json.loads(body) for body in posted] == [{"text": "Run c: succeeded, 4 servers: 4 restarted."}]
    assert (gone.returncode, "--on-end has ended with code 1" in gone.stderr) == (0, True)
    assert "secret" not in gone.stderr


def test_the_example_lets_no_server_call_anybody() -> None:
    message = runpy.run_path(str(EXAMPLE))["message"]
    hostile = ev.ServerFailed(server=plan().fleet.ids[5], batch=2, code="<!here>", message="@all <http://x|y>\n`rm`")

    text = message(run_json(history(plan(), hostile)))

    assert [each for each in ("<", ">", "@all", "`") if each in text] == []
    assert "&lt;!here&gt;" in text


async def test_without_a_report_it_runs_all_the_same(tmp_path: Path) -> None:
    told = list[tuple[str, str]]()
    seen = tmp_path / "seen"
    flags = {"on_end": f"sh -c 'echo ${{ECSBATCH_REPORT-none}} > {seen}'", "store": f"sqlite:///{tmp_path}/none.db"}
    hook = end_hook(CliContext(merge_layers(from_flags(flags))), lambda level, _, text, __: told.append((level, text)))
    assert hook is not None

    await hook.run(history(plan()), "")

    assert seen.read_text() == "none\n"
    assert [(level, text.partition(":")[0]) for level, text in told] == [
        ("warning", "The report for --on-end cannot be made, which runs without it")
    ]
