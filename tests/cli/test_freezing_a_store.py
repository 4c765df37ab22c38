"""Freezing a store from another terminal: real processes on one file, judged by the simulated cloud's own count."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from typed_commands import PAUSE, Simulator, Terminal

FAST = (
    *("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s"),
    *("--max-failures", "20%", "--waves", "100%", "--max-unavailable", "5", "--yes"),
)
WHY = "storage incident 4711"


def ask(terminal: Terminal, *words: str) -> dict[str, Any]:
    done = terminal.type(*words, "-o", "json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def soon(asked: Callable[[], dict[str, Any]], true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask until an answer is as expected."""
    end = time.monotonic() + 20
    while not true(answer := asked()):
        assert time.monotonic() < end, answer
        time.sleep(PAUSE)
    return answer


def test_a_freeze_stops_another_terminals_run_within_a_second_and_a_thaw_lets_it_go_on(
    terminal: Terminal, cloud: Simulator
) -> None:
    ids = cloud.ids[:40]
    (terminal.folder / "night.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    run = terminal.begin("restart", "night.txt", *FAST, "--run-id", "night")
    soon(lambda: ask(terminal, "runs"), lambda told: any(each["counts"].get("restarted") for each in told["runs"]))

    frozen = terminal.type("freeze", "--reason", WHY, "--until", "2h")
    time.sleep(1.0)  # the second within which a freeze must take effect
    taken = cloud.audit()["accepted_requests"]
    told = soon(lambda: ask(terminal, "status", "night"), lambda told: not told["servers"]["in_flight"])
    why = ask(terminal, "explain", "night")
    texts = {
        words: terminal.type(*words.split()).stdout for words in ("status night", "explain night", "runs", "quota")
    }
    plan = terminal.type("plan", "night.txt", *FAST[:-1]).stdout
    planned = json.loads(terminal.type("plan", "night.txt", *FAST[:-1], "-o", "json").stdout)
    check = ask(terminal, "check")
    again = terminal.type("freeze", "--reason", "only the network", "--until", "1h")
    spent = ask(terminal, "quota")
    still = cloud.audit()["accepted_requests"]
    thawed = terminal.type("thaw")
    once_more = terminal.type("thaw")
    _, err = run.communicate(timeout=60)

    assert [each.returncode for each in (frozen, again, thawed, once_more, run)] == [0] * 5
    assert still == taken
    assert 0 < told["restarted"] < 40
    assert (told["standing"], told["frozen"]["reason"], why["cause"]) == ("frozen", WHY, "frozen")
    assert told["frozen"] == why["frozen"] == planned["frozen"] == check["frozen"]
    assert "@" in told["frozen"]["by"]
    assert told["frozen"]["until"] is not None
    assert "ecsbatch thaw" in why["commands"]
    for words, text in (*texts.items(), ("plan", plan)):
        assert f": {WHY}" in " ".join(text.split()), words
    assert ["freeze", "warning"] in [[each["name"], each["state"]] for each in check["checks"]]
    assert "1 run (night) sends nothing new from now on, nor does any that begins." in frozen.stdout
    assert f"It replaces the freeze by {told['frozen']['by']}: {WHY}, 1h59m" in again.stdout
    assert (spent["frozen"]["reason"], [run["run_id"] for run in spent["groups"][0]["runs"]]) == (
        "only the network",
        ["night"],
    )
    assert spent["groups"][0]["runs"][0]["last_hour"] == told["restarted"]
    assert "(only the network)" in thawed.stdout
    assert "1 run (night) goes on." in thawed.stdout
    assert once_more.stdout == "The store is not frozen.\n"
    for words in ("warning run.frozen by=", f"reason='{WHY}'", "run.thawed by="):
        assert words in err
    assert ask(terminal, "status", "night")["restarted"] == 40
    audit = terminal.type("audit", "night")
    assert audit.returncode == 0, audit.stdout
    assert f": {WHY}." in " ".join(audit.stdout.split())


def test_what_is_wrong_with_a_freeze_is_said_and_nothing_is_frozen(terminal: Terminal) -> None:
    for words, said in (
        (("freeze",), "freeze needs a reason"),
        (("freeze", "--reason", " "), "freeze needs a reason"),
        (("freeze", "--reason", WHY, "--until", "yesterday"), "--until yesterday: give how long from now"),
        (("freeze", "--reason", WHY, "--until", "2020-01-01"), "it lies in the past"),
        (("freeze", "--reason", WHY, "--until", "0s"), "--until 0s would be over at once: give how long from now"),
    ):
        done = terminal.type(*words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert said in done.stderr
    assert ask(terminal, "quota") == {"groups": [], "frozen": None}
