"""Other people's commands: run without a shell or our keys, bounded in time, killed with all that they started."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from ecsbatch.config.settings import CREDENTIAL_VARIABLES, PAGE_TOKEN, STORE_VARIABLES
from ecsbatch.errors import ConfigError
from ecsbatch.model.store_url import has_password

_STORE = "ECSBATCH_STORE"
_REAP = 5.0
"""Seconds that we wait for a killed command to end: the kernel may keep one that waits for a disk."""


def split_command(text: str) -> tuple[str, ...]:
    """Split a command line into words as a shell would; nothing in them is expanded.

    Raises:
        ConfigError: there is no word, or a quote is not closed.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as e:
        raise ConfigError(f"The command {text!r} cannot be split into words ({e}): correct its quotes.") from None
    if not words or not words[0]:
        raise ConfigError(f"{text!r} is no command: name a program.")
    return words


def cannot_start(words: Sequence[str]) -> str:
    """Return why a command cannot be started here and what to do about it; "" where it can."""
    program, file = words[0], Path(words[0])
    if shutil.which(program):
        return ""
    if os.sep not in program:
        return f"there is no program {program} in PATH: install it, or give its path"
    if not file.exists():
        return f"there is no file {program}: put it there, or give its path"
    return f"{program} is a folder: name a program" if file.is_dir() else f"{program} may not be executed: chmod +x it"


def child_environment(told: Mapping[str, str], passed: Collection[str] = ()) -> dict[str, str]:
    """Return the environment of a command: ours without our credentials, and what the command is told.

    Args:
        told: variables that are added.
        passed: credentials that it gets nevertheless, by their variables.
    """
    withheld = (CREDENTIAL_VARIABLES | STORE_VARIABLES) - set(passed)
    if not has_password(os.environ.get(_STORE, "")):
        withheld -= {_STORE}
    return {name: value for name, value in os.environ.items() if name not in withheld | {PAGE_TOKEN}} | dict(told)


async def run_program(
    words: Sequence[str],
    timeout: float,  # noqa: ASYNC109 - a limit of the command's own, and it is killed when it passes
    *,
    stdin: IO[bytes] | int = asyncio.subprocess.DEVNULL,
    output: IO[bytes] | int = asyncio.subprocess.DEVNULL,
    environment: Mapping[str, str],
) -> int:
    """Run a command to its end and return its exit code, negative where a signal ended it.

    It leads a process group of its own: a Ctrl-C at the terminal is not meant for it, and a timeout or a cancellation
    kills what it started as well.

    Raises:
        OSError: it cannot be started.
        ValueError: a word contains a NUL.
        TimeoutError: it has not ended within ``timeout`` seconds.
    """
    process = await asyncio.create_subprocess_exec(
        *words, stdin=stdin, stdout=output, stderr=output, env=environment, start_new_session=True
    )
    try:
        async with asyncio.timeout(timeout):
            return await process.wait()
    finally:
        if process.returncode is None:
            await _kill(process)


async def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(_REAP):
            await process.wait()
