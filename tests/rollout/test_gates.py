"""The command gate: what its exit code means, what it is told, and how it is ended. With real processes."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from ecsbatch.errors import ConfigError
from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.rollout.gates import GateInconclusive, command_gate, gate_summary, last_line


@pytest.fixture
def state() -> RolloutState:
    """Stand between two waves, the first of which had a failure."""
    plan = Plan(Fleet(["a", "b", "c"], ["az1", "az1", "az2"]), (Wave(1, 0, 2, "2"), Wave(2, 2, 3, "100%")))
    state = RolloutState("k7f", plan)
    events = [
        ev.RunStarted(total=3),
        ev.WaveStarted(wave=1),
        ev.BatchSubmitting(batch=1, servers=["a", "b"], updated=["", ""], wave=1),
        ev.ServerRestarted(server="a", wave=1, domain="az1", batch=1),
        ev.ServerFailed(server="b", wave=1, domain="az1", batch=1, code="Ecs.0608", holds=True),
        ev.WaveFinished(wave=1),
    ]
    for seq, event in enumerate(events, 1):
        state.apply(Recorded(seq, 1000.0 + seq, "k7f", event))
    return state


def python(code: str) -> str:
    return f'"{sys.executable}" -c "{code}"'


@pytest.mark.parametrize(("code", "verdict"), [(0, "go"), (75, "wait"), (1, "stop"), (2, "stop"), (127, "stop")])
async def test_the_exit_code_is_the_verdict(state: RolloutState, code: int, verdict: str) -> None:
    assert await command_gate(python(f"raise SystemExit({code})"), 30)(state) == verdict


async def test_the_command_is_told_the_run_the_wave_and_the_summary(state: RolloutState, tmp_path: Path) -> None:
    script = tmp_path / "gate.py"
    script.write_text(
        "import json, os, sys\n"
        "told = json.load(sys.stdin)\n"
        "print(told['run_id'], told['failed'], told['last_wave']['servers'], end=' ')\n"
        "print(os.environ['ECSBATCH_RUN_ID'], os.environ['ECSBATCH_WAVE'])"
    )
    gate = command_gate(f'"{sys.executable}" "{script}"', 30)

    assert (await gate(state), gate.message) == ("go", "k7f 1 2 k7f 2")


async def test_a_gate_gets_none_of_our_keys_but_those_that_are_passed(
    state: RolloutState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUAWEICLOUD_SDK_SK", "canary")
    monkeypatch.setenv("ECSBATCH_IAM_PASSWORD", "canary")
    monkeypatch.setenv("HUAWEICLOUD_SDK_PROJECT_ID", "p")
    names = "HUAWEICLOUD_SDK_SK ECSBATCH_IAM_PASSWORD HUAWEICLOUD_SDK_PROJECT_ID"
    command = python(f"import os; print(*(name in os.environ for name in '{names}'.split()))")
    bare, passed = command_gate(command, 30), command_gate(command, 30, ["ECSBATCH_IAM_PASSWORD"])
    await bare(state)
    await passed(state)

    assert (bare.message, passed.message) == ("False False True", "False True True")


def test_the_summary_is_json_and_names_what_failed_where(state: RolloutState) -> None:
    told = orjson.loads(orjson.dumps(gate_summary(state)))

    assert (told["wave"], told["waves"], told["restarted"], told["not_started"], told["down"]) == (2, 2, 1, 1, 1)
    assert told["failed_by"] == {"domain": {"az1": 1}, "host": {}, "code": {"Ecs.0608": 1}}


async def test_nothing_is_expanded_as_a_shell_would(state: RolloutState) -> None:
    gate = command_gate("echo $HOME; `id` *", 30)

    assert (await gate(state), gate.message) == ("go", "$HOME; `id` *")


async def test_the_message_is_of_the_latest_asking(state: RolloutState, tmp_path: Path) -> None:
    log = tmp_path / "said"
    log.write_text("first\nsecond\n")
    gate = command_gate(f"cat {log}", 30)
    await gate(state)
    log.write_text("")
    before = gate.message

    assert (before, await gate(state), gate.message) == ("second", "go", "")


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (b"", ""),
        (b"one\ntwo\n\n  \n", "two"),
        (b"one\r\ntwo\r\n", "two"),
        (b"\x1b[31;1mred\x1b[0m alert\x1b]0;title\x07", "red alert"),
        (b"a\x00b\x07c\x9b31m", "abc\N{REPLACEMENT CHARACTER}31m"),
        ("turned \u202earound".encode(), "turned around"),
        (b"no line end" * 50, ("no line end" * 50)[:200]),
        (b"x" * 100_000 + b"\nlast", "last"),
    ],
)
def test_the_message_is_the_last_line_without_control_characters(output: bytes, line: str) -> None:
    assert last_line(io.BytesIO(output)) == line


@pytest.mark.parametrize("command", ["/nowhere/gate", "/"])
async def test_a_command_that_cannot_be_started_is_no_verdict(state: RolloutState, command: str) -> None:
    with pytest.raises(GateInconclusive, match="cannot be started"):
        await command_gate(command, 30)(state)


async def test_a_command_that_was_killed_is_no_verdict(state: RolloutState) -> None:
    with pytest.raises(GateInconclusive, match="killed by signal 9"):
        await command_gate(python("import os; os.kill(os.getpid(), 9)"), 30)(state)


@pytest.mark.parametrize("command", ["", "  ", 'ask "me', '""'])
def test_what_is_no_command_is_refused_at_once(command: str) -> None:
    with pytest.raises(ConfigError):
        command_gate(command, 30)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Make a pipe whose end comes only once the last process that could write to it is gone."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def family(pipe: Path) -> str:
    """Return a command that waits for ever, as does the child that it has started."""
    return f"""sh -c 'sleep 1000 > "{pipe}" & wait'"""


async def test_a_command_without_an_end_is_killed_with_its_children(state: RolloutState, pipe: Path) -> None:
    ended = asyncio.ensure_future(asyncio.to_thread(pipe.read_bytes))
    with pytest.raises(GateInconclusive, match="no answer within 1 s"):
        await command_gate(family(pipe), 1)(state)
    with suppress(OSError):  # where the child had not come to open the pipe, the reader is still waiting for a first
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))

    assert await asyncio.wait_for(ended, 60) == b""


async def test_cancelling_kills_the_command_and_its_children(state: RolloutState, pipe: Path) -> None:
    opened = asyncio.ensure_future(asyncio.to_thread(pipe.open, "rb"))
    asking = asyncio.ensure_future(command_gate(family(pipe), 1000)(state))
    with await opened as reader:
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

        assert await asyncio.wait_for(asyncio.to_thread(reader.read), 60) == b""


async def test_what_a_command_leaves_behind_keeps_nobody_waiting(state: RolloutState) -> None:
    """Its standard output is still open in the child that goes on."""
    gate = command_gate("sh -c 'sleep 30 & echo $!'", 20)
    verdict = await gate(state)
    os.kill(int(gate.message), signal.SIGKILL)

    assert verdict == "go"
