"""Where the CPU time of a command goes: ``--cpu-profile FILE``, which every command takes and no help names.

It costs about 2 percent of the CPU time and some 30 ms for the file; a process that waits costs nothing, its clock
stands still.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from ecsbatch.cli.cpu_sampler import Sampler
from ecsbatch.cli.exit_codes import UsageError
from ecsbatch.cli.output import warn
from ecsbatch.errors import ConfigError
from ecsbatch.model.text import printable, unwritable

FLAG: Final = "--cpu-profile"

_BEGINS: Final = (b"CPU time of ecsbatch ", b'{"$schema": "https://www.speedscope.app/')
"""How the two forms of a profile begin."""


def taken_from(tokens: Sequence[str]) -> tuple[str, list[str]]:
    """Return the file that was typed for the profile, and what was typed besides; "" where none is asked for.

    Raises:
        UsageError: the flag was typed without a file, or twice.
    """
    for at, token in enumerate(tokens):
        if token == "--":  # noqa: S105 - no password: what comes behind it is no option
            break
        flag, given, path = token.partition("=")
        if flag == FLAG:
            behind = at + 1 if given else at + 2
            path = path if given else "".join(tokens[at + 1 : behind])
            if not path or (path.startswith("-") and not given):
                raise UsageError(f"{FLAG} needs a file: run.json is written for speedscope, any other as a table.")
            rest = [*tokens[:at], *tokens[behind:]]
            if taken_from(rest)[0]:
                raise UsageError(f"{FLAG} was typed twice: a command has one profile.")
            return path, rest
    return "", list(tokens)


@contextmanager
def cpu_profile(path: Path) -> Generator[None]:
    """Write a profile of a block into a file, however the block ends.

    Raises:
        ConfigError: there can be no profile here, or the file cannot be written, which is seen before the block.
    """
    _check(path)
    sampler = Sampler()

    def write() -> None:
        sampler.end()
        try:
            from ecsbatch.cli.cpu_report import write_profile  # noqa: PLC0415 - its import is no part of the profile

            write_profile(path, sampler)
        except Exception as e:  # noqa: BLE001 - what the command came to stands, whatever becomes of its profile
            warn(_cannot(path, e))

    with _ended_by_signal(write):
        try:
            sampler.begin()
            yield
        finally:
            write()


def _check(path: Path) -> None:
    """Refuse what cannot be done, before anything is.

    Raises:
        ConfigError: there can be no profile here, or the file cannot be written.
    """
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        raise ConfigError(f"{FLAG} works on Linux only, in a process's main thread: run it there, or without.")
    try:
        path.open("ab").close()
        if path.is_file() and not _is_ours(path):
            raise ConfigError(f"{FLAG} {printable(str(path))} is there and no profile: name another file.")
    except (OSError, ValueError) as e:
        raise ConfigError(_cannot(path, e)) from e


def _is_ours(path: Path) -> bool:
    """Tell whether a file is empty or a profile of before: a list of servers is soon typed behind the flag."""
    with path.open("rb") as file:
        begin = file.read(100)
    return not begin or begin.startswith(_BEGINS)


def _cannot(path: Path, error: Exception) -> str:
    return unwritable(f"{FLAG} {printable(str(path))}", error)


@contextmanager
def _ended_by_signal(write: Callable[[], None]) -> Generator[None]:
    """Have a signal that would end the process at once end it once the profile is written."""
    ending = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_DFL]

    def end(number: int, _: FrameType | None) -> None:
        # A terminal that is closed and a system that goes down send several.
        for each in ending:
            signal.signal(each, signal.SIG_IGN)
        write()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in ending:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)
