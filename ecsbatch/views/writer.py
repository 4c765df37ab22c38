"""Writing that delays nobody: the log on stderr and the lines of events go through a thread of their own."""

from __future__ import annotations

import errno
import os
import queue
import threading
from pathlib import Path

from ecsbatch.errors import ConfigError
from ecsbatch.model.text import unwritable


class BackgroundWriter:
    """Writes to a descriptor on a thread: a full pipe, a held terminal or a slow disk does not stop a run.

    Attributes:
        fault: why it has given up, None while it has not.
    """

    def __init__(self, descriptor: int) -> None:
        """Write to a file descriptor, which is closed at the end."""
        self.fault: OSError | None = None
        self._descriptor = descriptor
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # A reader that never reads must not keep the process: what it is owed goes with the process's end.
        self._thread = threading.Thread(target=self._write_all, name="writer", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> int:
        """Write some time soon."""
        self._waiting.put(data)
        return len(data)

    def line(self, line: bytes) -> None:
        """Write a line that has no end yet."""
        self._waiting.put(line + b"\n")

    def flush(self) -> None:
        """Do nothing: what is written is on its way."""

    def close(self, patience: float) -> None:
        """Write what is left, for so many seconds at most."""
        self._waiting.put(None)
        self._thread.join(patience)

    def _write_all(self) -> None:
        try:
            while (data := self._waiting.get()) is not None:
                _write(self._descriptor, data)
        except OSError as e:
            self.fault = e
        finally:
            os.close(self._descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def open_lines(target: str) -> tuple[BackgroundWriter, bool]:
    """Open a file for its owner only, at its end, or standard output for ``-``; also say whether it has lines already.

    Raises:
        ConfigError: it cannot be written, or is a pipe that nobody reads: opening that would wait for ever.
    """
    if target == "-":
        return BackgroundWriter(os.dup(1)), False
    how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(Path(target), how, 0o600)
    except OSError as e:
        if e.errno == errno.ENXIO:
            raise ConfigError(
                f"--events {target} is a pipe that nobody reads: start what reads it first, or name a file."
            ) from e
        raise ConfigError(unwritable(f"--events {target}", e)) from e
    os.set_blocking(descriptor, True)
    return BackgroundWriter(descriptor), os.fstat(descriptor).st_size > 0
