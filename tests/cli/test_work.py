"""``ecsbatch work`` as it is typed: beside a process that dies, beside another that is told to end, and by itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fork_server
import pytest
from typed_commands import Simulator, Terminal

from ecsbatch import EcsClient, KeyAuth, Quota, Restarter, open_store
from ecsbatch.cli.healthz import WorkerHealth
from ecsbatch.cli.worker import lesser_quota

PATIENT = ("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s")
ENGINE = (*PATIENT, "--request-timeout", "2s", "--unknown-grace", "1s")
"""A kill may come between a request and its answer: what became of that is clear once the grace is over."""

STRATEGY = ("--max-failures", "100%", "--linger", "0.05s", "--yes")
PATIENCE = 30.0


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not come to it"
        time.sleep(0.05)


def port() -> int:
    """Return one that is free."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def asked(url: str) -> tuple[int, dict[str, Any]]:
    """Ask a worker; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)
    except OSError:
        return 0, {}


def status(terminal: Terminal, run: str) -> dict[str, Any]:
    """Return how a run stands."""
    told: dict[str, Any] = json.loads(terminal.type("status", run, "-o", "json").stdout or "{}")
    return told


def begun(
    terminal: Terminal, run: str, servers: list[str], *more: str, waves: str = "100%", down: int = 10
) -> fork_server.Command:
    """Begin a run, and return its process once it has restarted somebody."""
    (terminal.folder / f"{run}.txt").write_text("\n".join(servers) + "\n", encoding="utf-8")
    limits = ("--waves", waves, "--max-unavailable", str(down))
    process = terminal.begin("restart", f"{run}.txt", *ENGINE, *STRATEGY, *limits, "--run-id", run, "--quiet", *more)
    until(lambda: status(terminal, run).get("restarted", 0) > 0)
    return process


def ended(process: fork_server.Command | subprocess.Popen[str]) -> tuple[int, str]:
    """Return the code and what was said."""
    _, err = process.communicate()
    return process.wait(), str(err)


def test_a_worker_goes_on_with_what_a_kill_has_left_and_hands_it_to_the_next(
    terminal: Terminal, cloud: Simulator
) -> None:
    """By the simulator's books no server twice; nobody has typed `resume`."""
    servers = cloud.ids[10:70]
    first = terminal.begin("work", *ENGINE, "--healthz", str(listened := port()))
    until(lambda: asked(f"http://127.0.0.1:{listened}/healthz")[0] == 200)
    run = begun(terminal, "night", servers, down=6)
    idle = asked(f"http://127.0.0.1:{listened}/healthz")[1]
    run.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: asked(f"http://127.0.0.1:{listened}/healthz")[1]["runs"] != [])
    taken = time.monotonic() - killed
    second = terminal.begin("work", *ENGINE)
    assert "standing_by" in second.stderr.readline()
    first.send_signal(signal.SIGTERM)
    code, said = ended(first)
    until(lambda: status(terminal, "night")["status"] == "succeeded")
    second.send_signal(signal.SIGINT)
    other_code, other_said = ended(second)
    events = [json.loads(line) for line in terminal.type("audit", "night", "-o", "json").stdout.splitlines()]

    assert idle["runs"] == []
    assert taken < 2.5
    assert (code, other_code) == (0, 0)
    assert "work.taken message='Goes on with run night, whose process (" in said
    assert "work.handed_over message='Run night is handed over" in said
    assert "which work@" in other_said
    assert "work.ended message='Run night is succeeded.'" in other_said
    assert events
    books = cloud.audit()
    assert [each for each in servers if each in books["restarted_more_than_once_ids"]] == []


def test_a_run_that_ctrl_c_has_ended_is_nobody_elses_and_one_with_a_gate_waits_for_its_text(
    terminal: Terminal, cloud: Simulator
) -> None:
    stopped = begun(terminal, "stopped", cloud.ids[130:160])
    stopped.send_signal(signal.SIGINT)
    stopped.wait()
    gate = terminal.folder / "may-i"
    gate.write_text(f"#!/bin/sh\ntouch {terminal.folder}/asked\n", encoding="utf-8")
    gate.chmod(0o700)
    gated = begun(terminal, "gated", cloud.ids[160:170], "--soak", "5s", "--gate", str(gate), waves="5,100%")
    gated.send_signal(signal.SIGKILL)
    gated.wait()
    (terminal.folder / "asked").unlink(missing_ok=True)
    worker = terminal.begin("work", *ENGINE)
    said = [worker.stderr.readline(), worker.stderr.readline()]
    time.sleep(1.5)  # what is tried is that it asks no gate meanwhile
    worker.send_signal(signal.SIGTERM)
    code, rest = ended(worker)
    untouched = not (terminal.folder / "asked").exists()
    allowed = terminal.begin("work", *ENGINE, "--allow-program", str(gate), "--log-format", "json")
    until(lambda: status(terminal, "gated")["status"] == "succeeded")
    allowed.send_signal(signal.SIGTERM)
    _, lines = ended(allowed)

    assert "work.left_alone" in said[1]
    assert f"it names the gate {gate}, which is none of allow_programs here. Its flag is --allow-program." in said[1]
    assert (code, "work.left_alone" in rest, untouched) == (0, False, True)
    assert (terminal.folder / "asked").exists()
    assert {json.loads(line)["event"] for line in lines.splitlines()} >= {"work.taken", "work.ended", "gate.checked"}
    assert status(terminal, "stopped")["standing"] == "interrupted"


def test_what_is_handed_over_with_nobody_there_says_so_and_resume_goes_on(terminal: Terminal, cloud: Simulator) -> None:
    run = begun(terminal, "left", cloud.ids[170:210], down=2)
    run.send_signal(signal.SIGKILL)
    run.wait()
    worker = terminal.begin("work", *ENGINE, "--quiet")
    until(lambda: status(terminal, "left")["holder"].startswith("work@"))
    worker.send_signal(signal.SIGTERM)
    code, _ = ended(worker)
    listed, told = terminal.type("runs").stdout, terminal.type("status", "left").stdout
    explained = terminal.type("explain", "left").stdout
    resumed = terminal.type("resume", "left", *ENGINE, "--max-unavailable", "100%", "--yes", "--quiet")

    assert code == 0
    assert "handed over (not taken yet)" in listed
    assert "Run left handed over" in told
    assert "ecsbatch resume left" in told
    assert "go on here, since no other process has taken it yet" in told
    assert "was handed over" in explained
    assert resumed.returncode == 0


async def left_unsent(environment: Mapping[str, str], store_url: str, servers: list[str]) -> None:
    """Begin a run and hand it over before anything of it is sent."""
    ecs = EcsClient(
        endpoint=environment["ECSBATCH_ENDPOINT"],
        project_id=environment["HUAWEICLOUD_SDK_PROJECT_ID"],
        auth=KeyAuth(environment["HUAWEICLOUD_SDK_AK"], environment["HUAWEICLOUD_SDK_SK"]),
    )
    async with ecs, open_store(store_url) as store, Restarter(ecs, store) as restarter:
        await restarter.rollout(servers, run_id="slow").start()
        await restarter.aclose(hand_over=True)


def test_a_second_signal_ends_it_at_once_and_leaves_an_orphan(tmp_path: Path) -> None:
    """The cloud says nothing to a restart, so that the first signal has an answer to wait for."""
    words = ["simulate", "-o", "json", "--latency", "5ms", "--servers", "4", "--faults", "silent=100%"]
    store_url = f"sqlite:///{tmp_path}/runs.db"
    with fork_server.begin(words, folder=tmp_path, environment=os.environ) as cloud, ExitStack() as ends:
        ends.callback(cloud.wait)
        ends.callback(cloud.send_signal, signal.SIGTERM)
        typed = Terminal(tmp_path, json.loads(cloud.stdout.readline())["environment"] | {"ECSBATCH_STORE": store_url})
        ends.callback(typed.end)
        with urllib.request.urlopen(f"{typed.environment['ECSBATCH_ENDPOINT']}/_simulator/ids") as told:  # noqa: S310 - our own server
            ids = told.read().decode().split()
        asyncio.run(left_unsent(typed.environment, store_url, ids))
        worker = typed.begin("work", *PATIENT)
        until(lambda: status(typed, "slow")["unknown"] > 0)
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.5)  # what is tried is that it does not end meanwhile
        waits = worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        code, stands = worker.wait(5.0), status(typed, "slow")["standing"]

    assert (waits, code, stands) == (True, -signal.SIGTERM, "orphaned")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--max-runs", "0"], 2, "--max-runs 0: give a number from 1 to 100."),
        (["--healthz", "example.com:80"], 2, "give an IP address and a port"),
        (["--allow-programs", "x"], 2, "--allow-program"),
    ],
)
def test_what_it_cannot_be_told_is_refused(terminal: Terminal, words: list[str], code: int, said: str) -> None:
    done = terminal.type("work", *words)

    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_a_port_that_is_taken_and_a_key_that_is_missing_are_a_line(terminal: Terminal) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        busy = terminal.type("work", "--healthz", f"127.0.0.1:{number}")
    keyless = terminal.type("work", HUAWEICLOUD_SDK_AK="", HUAWEICLOUD_SDK_SK="")

    assert (busy.returncode, len(busy.stderr.splitlines())) == (2, 1)
    assert f"--healthz 127.0.0.1:{number} cannot be listened at" in busy.stderr
    assert (keyless.returncode, len(keyless.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("health", "status_code", "why"),
    [
        (WorkerHealth(0.5, "", ending=False, runs={"a": "running"}, max_runs=4), 200, ""),
        (WorkerHealth(None, "", ending=False, runs={}, max_runs=4), 503, "It has not looked for runs yet."),
        (WorkerHealth(11.0, "", ending=False, runs={}, max_runs=4), 503, "It has last looked for runs 11 s ago."),
        (WorkerHealth(0.5, "The database is away.", ending=False, runs={}, max_runs=4), 503, "The database is away."),
        (WorkerHealth(0.5, "", ending=True, runs={}, max_runs=4), 503, "It was told to end, and hands its runs over."),
    ],
)
def test_it_is_well_while_it_looks_for_runs_and_the_store_answers(
    health: WorkerHealth, status_code: int, why: str
) -> None:
    code, body = health.answer()

    assert (code, body["why"], body["status"]) == (status_code, why, "unavailable" if why else "ok")
    assert body["runs"] == [{"run_id": run, "standing": how} for run, how in health.runs.items()]


@pytest.mark.parametrize(
    ("begun_with", "kept"),
    [
        (None, Quota(1000, 60.0)),
        (Quota(400, 60.0), Quota(400, 60.0)),
        (Quota(500, 60.0), Quota(500, 60.0)),
        (Quota(2000, 60.0), Quota(1000, 60.0)),
        (Quota(100, 1.0), Quota(1000, 60.0)),
        (Quota(1000, 120.0), Quota(1000, 120.0)),
    ],
)
def test_a_record_can_have_a_worker_spend_less_than_its_own_quota_and_never_more(
    begun_with: Quota | None, kept: Quota
) -> None:
    assert lesser_quota(Quota(1000, 60.0), begun_with) == kept
