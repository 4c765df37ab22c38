"""``--dashboard`` and ``ecsbatch dashboard`` as they are typed, with the real cloud's simulator and real viewers."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from base64 import b64decode
from pathlib import Path
from typing import Any

import aiohttp
import fork_server
import pytest
from page_client import Stream, free_port
from typed_commands import Simulator, Terminal

from ecsbatch.cli.exit_codes import Exit

FAST = ("--quota", "1000/1s", "--typical-restart", "1s", "--linger", "0.05s", "--yes", "--quiet")
PATIENCE = 30.0


def servers(terminal: Terminal, ids: list[str]) -> str:
    (terminal.folder / "fleet.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    return "fleet.txt"


def address_of(command: fork_server.Command, run: str = "") -> tuple[str, str]:
    """Return where a command says that its page is, which leads to a run or to all of them, and the token."""
    found = re.fullmatch(r"Page: (http://127\.0\.0\.1:[0-9]+)/\?token=([^\s#]+)(#/\S+)?\n", command.stderr.readline())
    assert found is not None
    assert found[3] == (f"#/{run}" if run else None)
    return found[1], found[2]


async def follow(base: str, token: str, run: str) -> tuple[bytearray, dict[str, Any], list[str]]:
    """Watch a run to the end of its process; return its cells, its last progress, and what messages came."""
    cells, progress, seen = bytearray(), dict[str, Any](), list[str]()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
        answer = await client.get(f"{base}/api/runs/{run}/events")
        while answer.status == 404:  # the run has not begun yet
            await asyncio.sleep(0.05)
            answer = await client.get(f"{base}/api/runs/{run}/events")
        watched = Stream(answer)
        while told := await watched.next():
            seen.append(told.event)
            if told.event == "snapshot":
                cells = bytearray(b64decode(told.data["cells"]))
            for at, to in zip(told.data.get("at", ()), told.data.get("to", ()), strict=True):
                cells[at] = to
            progress = told.data.get("progress", progress)
        answer.close()
    return cells, progress, seen


def never_reads(base: str, token: str, run: str) -> socket.socket:
    """Ask for a run's events, and read nothing of them."""
    host, port = base.removeprefix("http://").split(":")
    idle = socket.create_connection((host, int(port)))
    idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    lines = [f"GET /api/runs/{run}/events HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Bearer {token}", "", ""]
    idle.sendall("\r\n".join(lines).encode())
    return idle


async def followed_by_ten(base: str, token: str) -> list[tuple[bytearray, dict[str, Any], list[str]]]:
    idle = never_reads(base, token, "watched")
    try:
        return await asyncio.gather(*(follow(base, token, "watched") for _ in range(9)))
    finally:
        idle.close()


def test_ten_watch_a_run_one_of_whom_never_reads_and_all_others_see_its_end(
    terminal: Terminal, cloud: Simulator
) -> None:
    fleet = servers(terminal, cloud.ids[:200])
    run = ("--max-unavailable", "30%", "--max-failures", "100%", "--waves", "100%")
    command = terminal.begin("restart", fleet, *FAST, *run, "--run-id", "watched", "--dashboard", str(free_port()))
    base, token = address_of(command, "watched")
    seen = asyncio.run(followed_by_ten(base, token))
    out, err = command.communicate()
    told = json.loads(terminal.type("status", "watched", "-o", "json").stdout)

    assert command.wait() == 0, out + err
    for cells, progress, events in seen:
        assert events[0] == "snapshot"
        assert events[-1] == "end"
        assert events.count("snapshot") == 1
        counts = ("restarted", "failed", "timed_out", "unknown", "skipped", "not_started", "status", "seq")
        assert {name: progress[name] for name in counts} == {name: told[name] for name in counts if name in told} | {
            "seq": progress["seq"]
        }
        assert cells.count(4) == told["restarted"]


def test_all_runs_of_a_store_are_shown_until_ctrl_c(terminal: Terminal, cloud: Simulator) -> None:
    fleet = servers(terminal, cloud.ids[200:205])
    assert terminal.type("restart", fleet, *FAST, "--run-id", "first").returncode == 0
    port = str(free_port())
    page = terminal.begin("dashboard", "--dashboard", port)
    base, token = address_of(page)

    async def look() -> tuple[list[str], int]:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
            async with client.get(f"{base}/api/runs") as answer:
                runs = [run["run_id"] for run in (await answer.json())["runs"]]
            async with client.post(f"{base}/api/runs/first/steer", headers={"Origin": base}) as answer:
                return runs, answer.status

    runs, steered = asyncio.run(look())
    page.send_signal(signal.SIGINT)
    _, err = page.communicate()
    again = terminal.begin("dashboard", "--dashboard", port, "--log-format", "json")
    line = json.loads(again.stderr.readline())
    again.send_signal(signal.SIGTERM)
    again.communicate()

    assert runs == ["first"]
    assert steered == 403  # without what the page is given where runs can be steered
    assert (page.wait(), again.wait(), err) == (0, 0, "")
    assert (line["event"], line["url"]) == ("page", f"{base}/?token={token}")


def test_a_page_that_may_steer_pauses_the_run_of_another_process(terminal: Terminal, cloud: Simulator) -> None:
    fleet = servers(terminal, cloud.ids[205:245])
    run = terminal.begin("restart", fleet, *FAST, "--run-id", "steered", "--max-unavailable", "1", "--waves", "100%")
    page = terminal.begin("dashboard", "--dashboard", str(free_port()), "--dashboard-steer")
    base, token = address_of(page)

    async def steer() -> list[tuple[int, Any]]:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
            while (await client.get(f"{base}/api/runs/steered/fleet")).status == 404:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            session = await (await client.get(f"{base}/api/session")).json()
            own = {"Origin": base, "X-Ecsbatch-Csrf": session["csrf"]}
            told: list[tuple[int, Any]] = []
            for body in ({"action": "pause"}, {"action": "resume"}, {"action": "abort", "run": "steered"}):
                async with client.post(f"{base}/api/runs/steered/steer", headers=own, json=body) as answer:
                    told.append((answer.status, await answer.json()))
            return told

    told = asyncio.run(steer())
    run.communicate()
    page.send_signal(signal.SIGTERM)
    page.communicate()
    steered = json.loads(terminal.type("status", "steered", "-o", "json").stdout)

    assert [status for status, _ in told] == [200, 200, 200], told
    assert [each["followed"] for _, each in told] == [True, True, True]
    assert " by the page" in told[0][1]["text"]
    assert (run.wait(), steered["status"]) == (Exit.STOPPED, "aborted")


@pytest.mark.parametrize(
    ("typed", "environment", "says"),
    [
        (["--dashboard", "10.0.0.1:80"], {}, "others can reach this address, and would read the token on the way"),
        (["--dashboard-key", "k.pem"], {}, "--dashboard-key needs --dashboard-cert."),
        (["--dashboard-cert", "none.pem"], {}, "--dashboard-cert none.pem cannot be read (No such file or directory)"),
        ([], {"ECSBATCH_DASHBOARD_TOKEN": "short"}, "ECSBATCH_DASHBOARD_TOKEN has 5 characters: give a secret of 16"),
    ],
)
def test_what_would_not_be_safe_is_refused_in_a_sentence(
    typed: list[str], environment: dict[str, str], says: str, tmp_path: Path
) -> None:
    terminal = Terminal(tmp_path)
    done = terminal.type("dashboard", *typed, **environment)
    terminal.end()

    assert done.returncode == 2
    assert done.stderr.startswith("ecsbatch: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_page_that_cannot_be_served_keeps_a_run_from_beginning(terminal: Terminal, cloud: Simulator) -> None:
    fleet = servers(terminal, cloud.ids[245:247])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = terminal.type("restart", fleet, *FAST, "--dashboard", port)
    without = terminal.type("restart", fleet, *FAST, "--dashboard-steer")

    assert (done.returncode, without.returncode) == (2, 2)
    assert "cannot be listened at (Address already in use)" in done.stderr
    assert "--dashboard-steer needs a page: give --dashboard 127.0.0.1:8080, too." in without.stderr
    assert json.loads(terminal.type("runs", "-o", "json").stdout)["runs"] == []
