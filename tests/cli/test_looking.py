"""What is shown while a fleet is being read."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from ecsbatch.cli.looking import LookProgress
from ecsbatch.cli.output import set_log_format
from ecsbatch.errors import UnknownAnswer
from ecsbatch.simulator.virtual_time import run


def looks(progress: LookProgress, seconds: float) -> None:
    """Read a fleet for so long, a thousand servers a second."""

    async def main() -> None:
        async with progress.shown():
            for second in range(round(seconds)):
                progress.note(1_000 * second, 20_000)
                await asyncio.sleep(1.0)

    run(main())


def test_a_terminal_shows_how_far_it_has_come_and_nothing_of_it_stays() -> None:
    terminal = io.StringIO()
    looks(LookProgress(terminal=terminal), 14.5)
    lines = terminal.getvalue().split("\r\x1b[K")

    assert lines[0] == ""
    assert lines[-2] == "looking at the fleet: 13,000 of 20,000 servers seen, 14s"
    assert lines[-1] == ""


def test_a_fleet_that_is_read_in_a_moment_is_not_worth_a_word() -> None:
    terminal = io.StringIO()
    looks(LookProgress(terminal=terminal), 1.0)

    assert terminal.getvalue() == ""


def test_where_there_is_no_terminal_a_line_is_written_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    looks(LookProgress(terminal=None), 25.0)

    assert capsys.readouterr().err.splitlines() == [
        "looking at the fleet: 9,000 of 20,000 servers seen, 10s",
        "looking at the fleet: 19,000 of 20,000 servers seen, 20s",
    ]


def test_a_program_reads_it_as_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    set_log_format("json")
    try:
        looks(LookProgress(terminal=None), 15.0)
    finally:
        set_log_format("console")
    line = json.loads(capsys.readouterr().err)

    assert (line["event"], line["seen"], line["of"]) == ("looking", 9_000, 20_000)


def test_a_total_that_is_not_known_or_wrong_is_not_told() -> None:
    progress = LookProgress(terminal=None)
    progress.note(300, None)
    assert progress.text(5.0) == "looking at the fleet: 300 servers seen, 5s"
    progress.note(300, 200)
    assert progress.text(5.0) == "looking at the fleet: 300 servers seen, 5s"


class Gone(io.StringIO):
    """A terminal that was closed."""

    def write(self, _: str, /) -> int:
        """Fail."""
        raise OSError(5, "Input/output error")


def test_a_look_ends_as_it_would_unseen() -> None:
    """What fails is raised as it is, and a terminal that is gone stops nothing."""

    async def fails() -> None:
        async with LookProgress(terminal=io.StringIO()).shown():
            raise UnknownAnswer("no")

    with pytest.raises(UnknownAnswer, match="no"):
        run(fails())
    looks(LookProgress(terminal=Gone()), 5.0)
