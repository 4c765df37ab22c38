"""What a run looks like from outside: on terminals of every kind, in a pipe, in a log, to programs."""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from typed_commands import ECSBATCH, Simulator, Terminal, simulate

from ecsbatch.cli.app import main
from ecsbatch.cli.output import Form, form_asked_for, print_json, print_lines, set_log_format

RESTART = (
    *("restart", "all.txt", "--yes", "--quota", "1000/1s", "--typical-restart", "1s", "--server-timeout", "60s"),
    *("--waves", "100%", "--max-unavailable", "50%", "--linger", "0.05s", "--api-rate", "100/s"),
)
COLOUR = re.compile(r"\x1b\[(?:[\d;]*;)?(?:3[0-8]|4[0-8]|9\d|10\d)(?:;[\d;]*)?m")
CURSOR = re.compile(r"\x1b\[\d*[A-HJKfsu]|\x1b\[\?\d+[hl]")
ESCAPE = "\x1b"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A cloud in a hurry: what is looked at here is what is written."""
    yield from simulate(tmp_path_factory.mktemp("cloud"), ["--servers", "60", "--speed", "400"])


@pytest.fixture
def typed(terminal: Terminal, cloud: Simulator) -> Terminal:
    (terminal.folder / "all.txt").write_text("\n".join(cloud.ids[:60]))
    return terminal


def on_a_terminal(typed: Terminal, *arguments: str, columns: int = 80, lines: int = 24, **environment: str) -> str:
    """Type a command on a pseudo-terminal, and return all that it wrote there."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ECSBATCH", "HUAWEI", "LC_", "LANG", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"))
    }
    told = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "XDG_STATE_HOME": str(typed.folder / "state")}
    with subprocess.Popen(  # noqa: S603 - our own program
        [*ECSBATCH, *arguments],
        cwd=typed.folder,
        env={**inherited, **told, **typed.environment, **environment},
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    ) as process:
        os.close(its)
        written = bytearray()
        try:
            while some := os.read(ours, 65_536):
                written += some
        except OSError:
            pass  # its other end is closed: the command has ended
        finally:
            os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode()


def test_a_terminal_gets_a_picture_in_colour_that_goes_away(typed: Terminal) -> None:
    written = on_a_terminal(typed, *RESTART)

    assert COLOUR.search(written)
    assert "█" in written
    assert "\x1b[?25l" not in written, "a killed process must not leave a terminal without a cursor"
    after = written.rpartition("\x1b[J")[2]
    assert " succeeded after " in after
    assert ESCAPE not in after


def test_no_color_and_a_locale_without_letters_are_obeyed_and_the_picture_stays(typed: Terminal) -> None:
    written = on_a_terminal(typed, *RESTART, NO_COLOR="1", LANG="C")

    assert not COLOUR.search(written)
    assert CURSOR.search(written)
    assert written.isascii()
    assert "####" in written


def test_a_dumb_terminal_gets_plain_lines(typed: Terminal) -> None:
    written = on_a_terminal(typed, *RESTART, TERM="dumb")

    assert ESCAPE not in written
    assert " wave.started wave=1 servers=60" in written
    assert " run.finished status=succeeded" in written


def test_no_line_is_wider_than_its_terminal_but_for_what_is_copied(typed: Terminal) -> None:
    columns, lines = 40, 12
    written = on_a_terminal(typed, *RESTART, columns=columns, lines=lines)
    read = [on_a_terminal(typed, command, columns=columns, lines=lines) for command in ("status", "audit", "runs")]
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", "".join([written, *read]))
    wide = [line for line in plain.replace("\r", "").splitlines() if len(line) > columns]

    assert [line for line in wide if " " in line.strip() and not line.startswith("  ecsbatch ")] == []
    pictures = re.findall(r"\x1b\[(\d+)A", written)
    assert max(map(int, pictures)) < lines


def test_a_pipe_gets_lines_without_any_escape(typed: Terminal) -> None:
    ended = typed.type(*RESTART, FORCE_COLOR="", TERM="xterm-256color")

    assert ended.returncode == 0
    assert ESCAPE not in ended.stdout + ended.stderr
    assert "Restart     60 servers, SOFT" in ended.stderr
    assert re.search(
        r"^\d\d:\d\d:\d\dZ wave.finished wave=1 restarted=60 failed=0 skipped=0$", ended.stderr, re.MULTILINE
    )
    assert ended.stdout.splitlines()[1].startswith("Run ")


def test_a_report_is_a_table_on_a_terminal_and_json_elsewhere(typed: Terminal) -> None:
    run = typed.type(*RESTART, "--quiet", "--run-id", "told")
    assert run.returncode == 0, run.stderr
    written = on_a_terminal(typed, "report", "told", columns=100).splitlines()

    assert len(written) == 61
    assert written[0].split() == ["ID", "NAME", "OUTCOME", "WHY"]
    assert re.fullmatch(r"[0-9a-f-]{36} server-\d+ +restarted", written[1]), written[1]
    assert max(map(len, written)) <= 100
    assert len(json.loads(typed.type("report", "told").stdout)["servers"]) == 60
    assert typed.type("report", "told", "-o", "table").stdout.splitlines()[0].endswith("ENDED (UTC)")


def test_quiet_prints_nothing_but_the_result(typed: Terminal) -> None:
    ended = typed.type(*RESTART, "--quiet")

    assert ended.stderr == ""
    assert " succeeded after " in ended.stdout


def test_verbose_tells_every_event(typed: Terminal) -> None:
    events = typed.folder / "events.jsonl"
    ended = typed.type(*RESTART, "--verbose", "--events", str(events))
    told = [line.split()[1] for line in ended.stderr.splitlines() if re.match(r"\d\d:\d\d:\d\dZ ", line)]

    happened = [json.loads(line)["event"] for line in events.read_text().splitlines()]
    assert [name for name in told if name != "progress"] == happened


def test_a_log_of_json_is_objects_only_and_so_is_the_result(typed: Terminal) -> None:
    ended = typed.type(*RESTART, "--log-format", "json", "-o", "json")
    told = [json.loads(line) for line in ended.stderr.splitlines()]

    assert told[0]["event"] == "plan"
    assert told[0]["plan"]["to_restart"] == 60
    assert {"run.started", "wave.started", "wave.finished", "run.finished"} <= {each["event"] for each in told}
    assert all({"ts", "level", "event"} <= each.keys() for each in told)
    assert json.loads(ended.stdout)["restarted"] == 60


def test_an_error_is_json_where_the_log_is(typed: Terminal) -> None:
    ended = typed.type("restart", "nothing.txt", "--log-format", "json")
    (told,) = (json.loads(line) for line in ended.stderr.splitlines())

    assert ended.returncode == 2
    assert (told["event"], told["level"], ended.stdout) == ("error", "error", "")
    assert told["message"]


@pytest.mark.parametrize(
    ("tokens", "environment", "form"),
    [
        (["restart", "f"], {}, "console"),
        (["restart", "f", "--log-format", "json", "--nonsense"], {}, "json"),
        (["restart", "--log-format=json"], {}, "json"),
        (["status"], {"ECSBATCH_LOG_FORMAT": "json"}, "json"),
        (["status", "--log-format", "console"], {"ECSBATCH_LOG_FORMAT": "json"}, "console"),
        (["status", "--log-format"], {}, "console"),
    ],
)
def test_what_cannot_be_parsed_is_complained_of_in_the_form_asked_for(
    tokens: list[str], environment: dict[str, str], form: str
) -> None:
    assert form_asked_for(tokens, environment) == form


@pytest.mark.parametrize("form", ["console", "json"])
def test_nothing_that_is_typed_or_read_moves_a_cursor(
    tmp_path: Path, form: Form, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A zone in a plan's file, a name of a file, a bad byte: whatever a line holds, it leaves as text."""
    set_log_format(form)
    evil = "\x1b[2J\x9b31m\u202e\udcff"
    print_lines([f"zone {evil}", "second"], to_stdout=True)
    print_lines([f"zone {evil}"], to_stdout=False)
    print_json({"zone": evil})
    options = ["--log-format", form]
    codes = [
        main(["rehearse", str(tmp_path / evil), *options]),
        main(["restart", str(tmp_path / evil), *options]),
        main(["config", "show", "--store", f"sqlite:///{tmp_path}/{evil}", *options]),
        main([evil, *options]),
    ]
    said = b"".join(capfdbinary.readouterr()).decode()
    set_log_format("console")

    assert all(line.isprintable() for line in said.split("\n"))
    assert "second" in said
    assert "bug" not in said
    assert set(codes) <= {0, 2}
