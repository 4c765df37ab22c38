"""``--cpu-profile FILE``: what a command has spent its CPU time on, written however it ends."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from typed_commands import ECSBATCH, Simulator, Terminal

from ecsbatch.cli import cpu_sampler
from ecsbatch.cli.cpu_profile import cpu_profile, taken_from
from ecsbatch.cli.cpu_report import Function, room_of
from ecsbatch.cli.cpu_sampler import COLLECTOR, INTERVAL, Sampler
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.errors import ConfigError

ROOT = Path(__file__).parents[2]
FAST = ("--quota", "1000/1s", "--typical-restart", "1s", "--max-unavailable", "100%", "--linger", "0.05s", "--yes")
SLOW = ("--quota", "20/5s", "--waves", "100%", "--max-unavailable", "100%", "--typical-restart", "1s", "--yes", "-v")


def fleet(terminal: Terminal, ids: list[str]) -> str:
    (terminal.folder / "fleet.txt").write_text("\n".join(ids) + "\n")
    return "fleet.txt"


def in_speedscopes_form(path: Path) -> dict[str, Any]:
    """Read a profile, and hold it to what speedscope's schema asks of a file with sampled profiles."""
    told: dict[str, Any] = json.loads(path.read_text())
    assert told["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert told.keys() <= {"$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"}
    assert told["shared"].keys() == {"frames"}
    for frame in told["shared"]["frames"]:
        kinds = {name: type(value) for name, value in frame.items()}
        assert kinds in ({"name": str}, {"name": str, "file": str, "line": int})
    assert 0 <= told["activeProfileIndex"] < len(told["profiles"])
    frames = range(len(told["shared"]["frames"]))
    for profile in told["profiles"]:
        assert profile.keys() == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert (profile["type"], profile["unit"], profile["startValue"]) == ("sampled", "microseconds", 0)
        assert len(profile["samples"]) == len(profile["weights"]) > 0
        assert all(stack and all(number in frames for number in stack) for stack in profile["samples"])
        assert all(weight > 0 for weight in profile["weights"])
        assert profile["endValue"] == pytest.approx(sum(profile["weights"]))
    return told


def shares(text: str, title: str = "Rooms") -> dict[str, float]:
    """Return the shares of a list of a table, in percent."""
    _, _, listed = text.partition(f"\n{title}\n")
    rows = re.findall(r"^ +([\d.]+)% +[\d.]+ s  (.+)$", listed.partition("\n\n")[0], re.MULTILINE)
    return {room: float(share) for share, room in rows}


# -- a run -------------------------------------------------------------------------------------------------------------


def test_a_restart_writes_what_speedscope_reads(terminal: Terminal, cloud: Simulator) -> None:
    run = terminal.type("restart", fleet(terminal, cloud.ids[:50]), *FAST, "--cpu-profile", "run.speedscope.json")

    assert run.returncode == 0, run.stderr
    told = in_speedscopes_form(terminal.folder / "run.speedscope.json")
    by_name = {profile["name"]: profile for profile in told["profiles"]}
    assert "MainThread" in by_name
    files = {frame.get("file", "") for frame in told["shared"]["frames"]}
    # Whatever a sample has met, the command has called it.
    assert "ecsbatch/cli/app.py" in files


def test_it_tells_of_no_folder_and_of_no_value(terminal: Terminal, cloud: Simulator) -> None:
    run = terminal.type("restart", fleet(terminal, cloud.ids[50:60]), *FAST, "--cpu-profile=told.json")
    text = (terminal.folder / "told.json").read_text()
    told = in_speedscopes_form(terminal.folder / "told.json")

    assert run.returncode == 0, run.stderr
    assert [frame for frame in told["shared"]["frames"] if frame.get("file", "").startswith("/")] == []
    secrets = [value for name, value in cloud.environment.items() if "SDK" in name or "ENDPOINT" in name]
    private = [*secrets, *cloud.ids[50:60], str(terminal.folder), str(ROOT), str(Path.home()) + "/"]
    assert len(secrets) >= 3
    assert [each for each in private if each in text] == []


def test_a_table_shows_shares_of_rooms_and_functions_from_the_start_of_the_interpreter_on(
    terminal: Terminal, cloud: Simulator
) -> None:
    """Typed for real: what is forked in the other tests has been imported."""
    command = [*ECSBATCH, "restart", fleet(terminal, cloud.ids[60:70]), *FAST, "-q", "--cpu-profile", "run.txt"]
    environment = {**os.environ, **cloud.environment, "XDG_STATE_HOME": str(terminal.folder / "state")}
    run = subprocess.run(  # noqa: S603 - our own program
        command, cwd=terminal.folder, env=environment, check=False, capture_output=True, text=True
    )
    text = (terminal.folder / "run.txt").read_text()
    found = shares(text)

    assert run.returncode == 0, run.stderr
    assert found.pop("in all") == 100.0
    assert sum(found.values()) == pytest.approx(100.0, abs=0.05 * len(found))
    assert found["imports"] > 20.0
    assert found["interpreter"] > 0.0
    # Samples are milliseconds apart: no room is seen for certain, but several of those that a run works in.
    assert len({"store", "HTTP", "loop", "engine", "state", "rollout", "parsing", "planning"} & found.keys()) >= 2
    assert "Functions by themselves" in text
    assert re.search(r"[\d.]+% +[\d.]+ s  main \(ecsbatch/cli/app\.py:\d+\)", text)
    assert shares(text, "Imports by package").keys() >= {"ecsbatch", "aiohttp"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_writes_it_too(
    number: signal.Signals, code: int, terminal: Terminal, cloud: Simulator
) -> None:
    servers = cloud.ids[70:130] if number == signal.SIGINT else cloud.ids[130:190]
    run = terminal.begin("restart", fleet(terminal, servers), *SLOW, "--cpu-profile", "cut.json")
    for line in run.stderr:
        if "batch.accepted" in line:
            break
    run.send_signal(number)
    _, err = run.communicate()

    assert run.returncode == code, err
    in_speedscopes_form(terminal.folder / "cut.json")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_anything_was_sent_ends_the_command_with_its_profile(
    number: signal.Signals, terminal: Terminal
) -> None:
    environment = {**os.environ, **terminal.environment}
    command = [*ECSBATCH, "restart", "-", "--yes", "--cpu-profile", "cut.txt"]
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=terminal.folder, env=environment, stdin=pipe, stderr=pipe, text=True
    ) as process:
        while not _reads_stdin(process.pid):
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(20) == (130 if number == signal.SIGINT else -number)

    assert shares((terminal.folder / "cut.txt").read_text())["in all"] == 100.0


def test_two_signals_at_once_end_it_as_one_does(terminal: Terminal) -> None:
    """As when a terminal is closed while the system goes down."""
    environment = {**os.environ, **terminal.environment}
    command = [sys.executable, "-c", TWICE, "restart", "-", "--yes", "--cpu-profile", "cut.txt"]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=terminal.folder, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        _, err = process.communicate()

    assert (process.returncode, err) == (-signal.SIGTERM, "")
    assert shares((terminal.folder / "cut.txt").read_text())["in all"] == 100.0


TWICE = """
import os, signal, sys
from ecsbatch.cli import app, cpu_report

written = cpu_report.write_profile

def write(*arguments):
    os.kill(os.getpid(), signal.SIGHUP)
    written(*arguments)

class Stdin:
    def __getattr__(self, name):
        os.kill(os.getpid(), signal.SIGTERM)

cpu_report.write_profile, sys.stdin = write, Stdin()
sys.exit(app.main(sys.argv[1:]))
"""


def _reads_stdin(pid: int) -> bool:
    """Tell whether a process waits in a read of its standard input."""
    return Path(f"/proc/{pid}/syscall").read_text().startswith("0 0x0 ")


def test_a_command_that_fails_writes_it_too(terminal: Terminal) -> None:
    run = terminal.type("restart", "nowhere.txt", "--cpu-profile", "failed.txt")

    assert run.returncode == 2
    assert shares((terminal.folder / "failed.txt").read_text())["in all"] == 100.0


@pytest.mark.parametrize("words", [("status",), ("resume",), ("plan", "fleet.txt"), ("--version",)])
def test_every_command_takes_it(words: tuple[str, ...], terminal: Terminal, cloud: Simulator) -> None:
    fleet(terminal, cloud.ids[:2])
    plain = terminal.type(*words)
    profiled = terminal.type("--cpu-profile", "any.txt", *words)

    assert (profiled.returncode, profiled.stdout) == (plain.returncode, plain.stdout)
    assert (terminal.folder / "any.txt").read_text().startswith("CPU time of ecsbatch")


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_disk_that_is_full_is_told_and_the_command_ends_as_it_would(form: str, terminal: Terminal) -> None:
    run = terminal.type("status", "--cpu-profile", "/dev/full", "--log-format", form)
    plain = terminal.type("status", "--log-format", form)

    (told,) = (line for line in run.stderr.splitlines() if "cpu-profile" in line)
    assert run.returncode == plain.returncode
    assert "--cpu-profile /dev/full cannot be written (No space left on device)" in told
    assert form != "json" or json.loads(told)["level"] == "warning"


def test_what_cannot_be_imported_at_the_end_is_told_and_the_command_ends_as_it_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ecsbatch.cli.cpu_report", None)

    with cpu_profile(tmp_path / "p.txt"):
        pass

    assert "cannot be written (ModuleNotFoundError" in capsys.readouterr().err


def test_a_profile_may_take_the_place_of_one_before(terminal: Terminal) -> None:
    for name in ("p.txt", "p.json"):
        begins = {terminal.type("--version", "--cpu-profile", name).returncode for _ in range(2)}
        assert begins == {0}


def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGPROF), gc.callbacks[:], signal.getsignal(signal.SIGTERM)
    with cpu_profile(tmp_path / "p.txt"):
        pass

    assert (signal.getsignal(signal.SIGPROF), gc.callbacks, signal.getsignal(signal.SIGTERM)) == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "reason"), [("nowhere/p.json", "No such file or directory"), ("taken", "Is a directory")]
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_restarted(
    typed: str, reason: str, terminal: Terminal, cloud: Simulator
) -> None:
    (terminal.folder / "taken").mkdir()
    before = cloud.audit()["requests"]
    run = terminal.type("restart", fleet(terminal, cloud.ids[:2]), *FAST, "--cpu-profile", typed)

    said = f"--cpu-profile {typed} cannot be written ({reason}): name a file in a folder of yours."
    assert (run.returncode, run.stdout, run.stderr) == (2, "", f"ecsbatch: {said}\n")
    assert cloud.audit()["requests"] == before
    assert not (terminal.folder / "state").exists()


@pytest.mark.parametrize("words", [["--cpu-profile"], ["--cpu-profile", "--yes"], ["--cpu-profile="]])
def test_the_flag_without_a_file_is_refused(words: list[str], terminal: Terminal) -> None:
    run = terminal.type("restart", "fleet.txt", *words)

    said = "--cpu-profile needs a file: run.json is written for speedscope, any other as a table."
    assert (run.returncode, run.stderr) == (2, f"ecsbatch: {said}\n")


@pytest.mark.parametrize(
    ("typed", "file", "rest"),
    [
        ("restart a.txt --cpu-profile p.json --yes", "p.json", "restart a.txt --yes"),
        ("--cpu-profile=p=q.txt demo", "p=q.txt", "demo"),
        ("restart --cpu-profiles p.json", "", "restart --cpu-profiles p.json"),
        ("restart -- --cpu-profile p.json", "", "restart -- --cpu-profile p.json"),
        ("restart a.txt", "", "restart a.txt"),
    ],
)
def test_the_flag_is_taken_out_of_what_was_typed(typed: str, file: str, rest: str) -> None:
    assert taken_from(typed.split()) == (file, rest.split())


def test_a_file_that_is_no_profile_is_left_as_it_is(terminal: Terminal, cloud: Simulator) -> None:
    """The flag, and its file forgotten: what stands behind it is the list of servers."""
    name = fleet(terminal, cloud.ids[:2])
    run = terminal.type("restart", "--cpu-profile", name, "--yes")

    said = "ecsbatch: --cpu-profile fleet.txt is there and no profile: name another file.\n"
    assert (run.returncode, run.stderr) == (2, said)
    assert (terminal.folder / name).read_text().split() == cloud.ids[:2]


def test_two_profiles_of_one_command_are_refused(terminal: Terminal) -> None:
    run = terminal.type("status", "--cpu-profile", "a.txt", "--cpu-profile=b.txt")

    said = "ecsbatch: --cpu-profile was typed twice: a command has one profile.\n"
    assert (run.returncode, run.stderr) == (2, said)
    assert not (terminal.folder / "a.txt").exists()


def test_an_option_that_only_begins_like_it_is_unknown(terminal: Terminal) -> None:
    run = terminal.type("restart", "fleet.txt", "--cpu-profiles", "p.json")

    assert run.returncode == 2
    assert "--cpu-profiles" in run.stderr


def test_a_thread_that_is_not_the_main_one_is_refused(tmp_path: Path) -> None:
    said = list[str]()

    def run() -> None:
        with pytest.raises(ConfigError) as refused, cpu_profile(tmp_path / "p.txt"):
            raise AssertionError
        said.append(str(refused.value))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert said == ["--cpu-profile works on Linux only, in a process's main thread: run it there, or without."]


def test_no_help_names_it_and_the_page_for_who_changes_this_does(terminal: Terminal) -> None:
    helps = [terminal.type(*words).stdout for words in (("--help",), ("restart", "--help"), ("resume", "--help"))]

    assert [text for text in helps if not text or "cpu-profile" in text] == []
    assert "--cpu-profile FILE" in (ROOT / "CONTRIBUTING.md").read_text()


# -- the sampler -------------------------------------------------------------------------------------------------------


def charged(sampler: Sampler) -> dict[str, int]:
    """Return the nanoseconds that are charged to each function by itself."""
    times = dict[str, int]()
    for samples in sampler.samples.values():
        for node, spent in samples:
            step = sampler.tree.stack(node)[-1]
            name = step if isinstance(step, str) else step.co_name
            times[name] = times.get(name, 0) + spent
    return times


def sampled(block: Any) -> Sampler:
    sampler = Sampler()
    sampler.begin()
    try:
        block()
    finally:
        sampler.end()
    return sampler


def burn(seconds: float) -> None:
    """Use so much CPU time of this thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(1000))


def test_what_is_charged_is_what_the_thread_has_used() -> None:
    sampler = Sampler()
    sampler.begin()
    # Until it is seen, however rarely a busy machine lets a signal through.
    while charged(sampler).get("burn", 0) < 0.05e9:
        burn(0.05)
    least = time.thread_time_ns()
    sampler.end()
    most = time.thread_time_ns()

    mine = sampler.samples[threading.current_thread().name]
    assert least <= sum(spent for _, spent in mine) <= most
    assert sum(charged(sampler).values()) <= sampler.used


def test_a_profile_of_days_keeps_stacks_and_not_each_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_sampler, "MOST_KEPT", 10)
    sampler = Sampler()
    for number in range(1000):
        sampler._keep("MainThread", number % 7, 5)

    kept = sampler.samples["MainThread"]
    assert len(kept) <= 20
    assert sum(spent for _, spent in kept) == 5000
    assert {node for node, _ in kept} == set(range(7))


WAITING = """
import threading, time
from ecsbatch.cli.cpu_sampler import Sampler

def charged():
    return sum(spent for _, spent in sampler.samples.get("busy", ()))

def burn():
    while charged() < 50_000_000 and time.thread_time() < 30:
        sum(range(1000))

sampler = Sampler()
sampler.begin()
thread = threading.Thread(target=burn, name="busy")
thread.start()
thread.join()
sampler.end()
print(charged())
"""


def test_another_thread_is_charged_while_the_main_one_waits_for_it() -> None:
    """In a process of its own: threads that there were before may take the signals, and those of a test runner do."""
    done = subprocess.run([sys.executable, "-c", WAITING], check=True, capture_output=True, text=True)  # noqa: S603 - ours

    assert int(done.stdout) >= 50_000_000


def test_a_collection_is_charged_to_the_collector_below_the_function_that_set_it_off() -> None:
    heap = [[i] for i in range(300_000)]

    def collect() -> None:
        for _ in range(5):
            gc.collect()

    sampler = sampled(collect)

    assert len(heap) == 300_000
    times = charged(sampler)
    assert times[COLLECTOR] > 10 * times.get("collect", 0)
    below = {
        sampler.tree.stack(node)[-2].co_name  # type: ignore[union-attr] # the one above the collector is a function
        for node, _ in sampler.samples["MainThread"]
        if sampler.tree.stack(node)[-1] == COLLECTOR
    }
    assert "collect" in below


def test_samples_become_rare_in_a_turn_of_a_loop_that_does_not_end() -> None:
    """Each signal leaves a byte for the loop, which takes 278 until its next turn; a Ctrl-C is one of them."""
    sampler, pauses = Sampler(), list[float]()

    async def turn() -> None:
        pauses.extend(sampler._pause(sys._getframe()) for _ in range(110))

    async def turns() -> None:
        await asyncio.create_task(turn())
        await asyncio.create_task(turn())

    asyncio.run(turns())

    assert pauses[:100] == pauses[110:210] == [INTERVAL] * 100
    assert max(pauses) == INTERVAL * 2**9


# -- whose time it is --------------------------------------------------------------------------------------------------

APP = Function("main", "ecsbatch/cli/app.py", 1)
ONCE = Function("BaseEventLoop._run_once", "asyncio/base_events.py", 1)
STEP = Function("Handle._run", "asyncio/events.py", 1)


@pytest.mark.parametrize(
    ("room", "stack"),
    [
        ("command line", [APP]),
        ("loop", [APP, ONCE]),
        ("loop", [APP, ONCE, Function("EpollSelector.select", "selectors.py", 1)]),
        ("loop", [APP, ONCE, STEP]),
        ("engine", [APP, ONCE, STEP, Function("Poller._look", "ecsbatch/engine/poller.py", 1)]),
        ("journal", [APP, ONCE, STEP, Function("record", "ecsbatch/engine/journal.py", 1)]),
        ("signing", [APP, ONCE, Function("sign", "ecsbatch/ecs/auth/signer.py", 1), Function("new", "hmac.py", 1)]),
        ("parsing", [APP, ONCE, Function("page_of", "ecsbatch/ecs/wire.py", 1)]),
        ("HTTP", [APP, ONCE, Function("send", "aiohttp/client.py", 1), Function("write", "asyncio/x.py", 1)]),
        ("store", [Function("run", "threading.py", 1), Function("_work", "ecsbatch/store/worker.py", 1)]),
        (
            "imports",
            [APP, Function("_find_and_load", "<frozen importlib._bootstrap>", 1), Function("<module>", "x", 1)],
        ),
        ("collector", [APP, ONCE, Function(COLLECTOR, "", 0)]),
        ("other", [Function("elsewhere", "somebody.py", 1)]),
    ],
)
def test_a_stack_belongs_to_the_innermost_room_that_is_known(room: str, stack: list[Function]) -> None:
    assert room_of(stack) == room


def test_a_flag_that_is_nothing_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        taken_from(["restart", "--cpu-profile"])
