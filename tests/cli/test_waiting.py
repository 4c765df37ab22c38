"""`watch` and `wait` beside runs of other processes: they end with the run, and with its code."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import fork_server
import pytest
from typed_commands import PAUSE, Simulator, Terminal, simulate

FAST = (
    *("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--linger", "0.05s", "--yes", "--quiet"),
    *("--request-timeout", "2s", "--unknown-grace", "1s", "--max-unavailable", "100%", "--max-failures", "100%"),
)
HELD = ("--waves", "1,100%", "--hold-after", "1")
FOLLOWERS = (("watch", "-q"), ("wait",), ("wait", "--for", "stopped"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    arguments = ["--servers", "8", "--speed", "60", "--faults", "fail=100%"]
    yield from simulate(tmp_path_factory.mktemp("broken"), arguments)


def begin(terminal: Terminal, run: str, ids: list[str], *more: str) -> fork_server.Command:
    """Begin a run, and return once the store has it."""
    (terminal.folder / f"{run}.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    process = terminal.begin("restart", f"{run}.txt", *FAST, *more, "--run-id", run)
    end = time.monotonic() + 30
    while terminal.type("status", run).returncode:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(PAUSE)
    return process


def follow(terminal: Terminal, run: str) -> list[fork_server.Command]:
    return [terminal.begin(*words, run, "-o", "json") for words in FOLLOWERS]


def watch(terminal: Terminal, run: str) -> fork_server.Command:
    """Watch a run, and return once it has been seen to go on: who sees it only afterwards is not patient."""
    watching = terminal.begin("watch", run, "--events", "-", "-q")
    assert json.loads(watching.stdout.readline())["run_id"] == run
    return watching


def codes(processes: list[fork_server.Command]) -> list[int]:
    return [process.wait(40) for process in processes]


def test_the_code_of_a_run_that_ends_well_is_that_of_all_who_follow_it_then_and_later(
    terminal: Terminal, cloud: Simulator
) -> None:
    run = begin(terminal, "well", cloud.ids[10:30], *HELD)
    held = terminal.type("wait", "well", "--for", "stopped", "-o", "json")
    first = terminal.type("wait", "well", "--for", "wave:1", "-o", "json")
    beside, second = follow(terminal, "well")[:2], terminal.begin("wait", "well", "--for", "wave:2")
    promoted = terminal.type("promote", "well")
    assert promoted.returncode == 0, promoted
    ended = [run.wait(), *codes([*beside, second])]
    told = [json.loads(process.communicate()[0]) for process in beside]
    later = follow(terminal, "well")

    assert (held.returncode, json.loads(held.stdout)["standing"]) == (0, "held_for_promote")
    assert (first.returncode, json.loads(first.stdout)["awaited"], json.loads(first.stdout)["wave"]) == (0, "wave:1", 1)
    assert ended == [0, 0, 0, 0]
    assert [(each["status"], each["restarted"], len(each["head"])) for each in told] == [("succeeded", 20, 64)] * 2
    assert second.communicate()[0] == "Wave 2 of run well is over: succeeded.\n"
    assert codes(later) == [0, 0, 0]


def test_a_run_that_a_gate_stops_or_somebody_aborts_gives_its_code_to_who_waits(
    terminal: Terminal, cloud: Simulator
) -> None:
    stopped = begin(terminal, "red", cloud.ids[30:34], "--waves", "1,100%", "--soak", "2s", "--gate", "false")
    beside = follow(terminal, "red")
    assert [stopped.wait(), *codes(beside), *codes(follow(terminal, "red"))] == [4] * 7
    assert terminal.type("wait", "red", "--for", "wave:2").returncode == 4
    assert terminal.type("wait", "red", "--for", "wave:1").returncode == 0

    aborted = begin(terminal, "gone", cloud.ids[34:38], *HELD)
    terminal.type("wait", "gone", "--for", "stopped")
    beside = follow(terminal, "gone")[:2]
    terminal.type("abort", "gone", "--yes")
    assert [aborted.wait(), *codes(beside), *codes(follow(terminal, "gone"))] == [4] * 6


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_code_of_a_run_that_a_signal_has_ended_says_so_to_who_waits(
    terminal: Terminal, cloud: Simulator, number: int, code: int
) -> None:
    run = begin(terminal, f"by-{code}", cloud.ids[40:44], *HELD)
    terminal.type("wait", f"by-{code}", "--for", "stopped")
    beside = follow(terminal, f"by-{code}")[:2]
    run.send_signal(number)

    assert [run.wait(), *codes(beside), *codes(follow(terminal, f"by-{code}"))] == [code] * 6


def test_a_run_whose_process_is_killed_is_followed_in_the_next_one_and_given_up_where_there_is_none(
    terminal: Terminal, cloud: Simulator
) -> None:
    lost = begin(terminal, "lost", cloud.ids[50:54], *HELD)
    taken = begin(terminal, "taken", cloud.ids[54:74], *HELD)
    for run in ("lost", "taken"):
        terminal.type("wait", run, "--for", "stopped")
    beside_lost, beside_taken = (
        [watch(terminal, run), terminal.begin("wait", run, "-o", "json")] for run in ("lost", "taken")
    )
    for process in (lost, taken):
        process.kill()
        process.wait()
    late = terminal.begin("wait", "taken")
    worker = terminal.begin("work", "--runs", "taken", *FAST[:6], "--quiet")
    while not json.loads(terminal.type("status", "taken", "-o", "json").stdout)["holder"].startswith("work@"):
        assert worker.poll() is None
        time.sleep(PAUSE)
    terminal.type("promote", "taken")

    assert codes([*beside_taken, late]) == [0, 0, 0]
    assert codes(beside_lost) == [1, 1]
    assert json.loads(beside_lost[1].communicate()[0])["standing"] == "orphaned"
    assert "Run taken: succeeded." in late.communicate()[0]


def test_failures_give_their_code_to_who_waits_within_the_limit_and_above_it(
    terminal: Terminal, broken: Simulator
) -> None:
    terminal.environment.update(broken.environment)
    within = begin(terminal, "within", broken.ids[:4], *HELD, "--max-failures-per-wave", "100%")
    above = begin(terminal, "above", broken.ids[4:8], *HELD, "--max-failures-per-wave", "100%")
    for run in ("within", "above"):
        terminal.type("wait", run, "--for", "stopped")
    terminal.type("adjust", "above", "--max-failures", "1")
    beside_within, beside_above = follow(terminal, "within")[:2], follow(terminal, "above")[:2]
    for run in ("within", "above"):
        terminal.type("promote", run)

    assert [within.wait(), *codes(beside_within), *codes(follow(terminal, "within"))] == [3] * 6
    assert [above.wait(), *codes(beside_above), *codes(follow(terminal, "above"))] == [4] * 6
    assert json.loads(beside_within[0].communicate()[0])["status"] == "failed"
    assert json.loads(beside_above[0].communicate()[0])["reason"] == "max_failures"


def test_a_run_that_is_killed_and_resumed_is_watched_to_the_end_that_it_comes_to(
    terminal: Terminal, cloud: Simulator
) -> None:
    lost = begin(terminal, "again", cloud.ids[90:94], *HELD)
    terminal.type("wait", "again", "--for", "stopped")
    watching = watch(terminal, "again")
    lost.kill()
    lost.wait()
    resumed = terminal.begin("resume", "again", *FAST[:8], "--yes", "--quiet")
    while "held" not in json.loads(terminal.type("status", "again", "-o", "json").stdout)["standing"]:
        assert resumed.poll() is None, resumed.communicate()
        time.sleep(PAUSE)
    terminal.type("promote", "again")

    assert [resumed.wait(), watching.wait(), *codes(follow(terminal, "again"))] == [0] * 5
    assert json.loads(watching.communicate()[0].splitlines()[-1])["event"] == "run.finished"


def test_who_is_out_of_patience_leaves_with_124_and_the_run_goes_on(terminal: Terminal, cloud: Simulator) -> None:
    run = begin(terminal, "long", cloud.ids[80:84], *HELD)
    terminal.type("wait", "long", "--for", "stopped")
    waited = terminal.type("wait", "long", "--timeout", "0.2s", "-o", "json")
    at_once = terminal.type("wait", "long", "--for", "wave:2", "--timeout", "0")
    watched = terminal.type("watch", "long", "--timeout", "0.2s", "-o", "json", "-q")
    terminal.type("pause", "long")
    paused = terminal.type("wait", "long", "--for", "stopped", "--timeout", "30s")
    wrong = [terminal.type("wait", "long", *words) for words in (["--for", "wave:3"], ["--for", "later"])]
    wrong += [terminal.type(command, "long", "--timeout", "soon") for command in ("wait", "watch")]

    assert (waited.returncode, at_once.returncode, watched.returncode) == (124, 124, 124)
    assert (json.loads(waited.stdout)["in_time"], json.loads(waited.stdout)["restarted"]) == (False, 1)
    assert at_once.stdout == "Run long is not wave:2 in time: held for promote, wave 1 of 2.\n"
    assert json.loads(watched.stdout)["standing"] == "held_for_promote"
    assert "Run long goes on; watch it again with: ecsbatch watch long" in watched.stderr
    assert (paused.returncode, paused.stdout.startswith("Run long: paused by ")) == (0, True)
    assert [each.returncode for each in wrong] == [2, 2, 2, 2]
    assert "run long has 2 waves" in wrong[0].stderr
    assert run.poll() is None
