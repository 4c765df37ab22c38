"""Where lines of events go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecsbatch.errors import ConfigError
from ecsbatch.views.writer import open_lines


def test_a_pipe_that_nobody_reads_is_refused_at_once(tmp_path: Path) -> None:
    """Opening it waited for a reader, without a word, before anything had begun."""
    pipe = tmp_path / "events"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="events is a pipe that nobody reads: start what reads it first"):
        open_lines(str(pipe))


def test_a_pipe_that_is_read_gets_its_lines(tmp_path: Path) -> None:
    pipe = tmp_path / "events"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer, has_lines = open_lines(str(pipe))
    writer.line(b"one")
    writer.close(10.0)

    assert (os.read(reader, 100), has_lines, writer.fault) == (b"one\n", False, None)
    os.close(reader)


def test_a_file_is_gone_on_with_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "events"
    for line, before in ((b"one", False), (b"two", True)):
        writer, has_lines = open_lines(str(path))
        writer.line(line)
        writer.close(10.0)
        assert has_lines is before

    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600
