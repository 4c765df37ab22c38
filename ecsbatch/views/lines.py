"""The events of a run as lines of JSON, for a file or another program."""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path
from typing import Final

from ecsbatch.errors import ConfigError

_END: Final = None


class LineWriter:
    """Writes lines on a thread of its own: a full pipe or a slow disk delays nobody but itself.

    Attributes:
        fault: why it has given up, None while it has not.
    """

    def __init__(self, descriptor: int) -> None:
        """Write to a file descriptor, which is closed at the end."""
        self.fault: OSError | None = None
        self._descriptor = descriptor
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # A reader that never reads must not keep the process: what it is owed goes with the process's end.
        self._thread = threading.Thread(target=self._write_all, name="events", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Write a line without its end, some time soon."""
        self._waiting.put(line)

    def close(self, patience: float) -> None:
        """Write what is left, for so many seconds at most."""
        self._waiting.put(_END)
        self._thread.join(patience)

    def _write_all(self) -> None:
        try:
            while (line := self._waiting.get()) is not None:
                _write(self._descriptor, line + b"\n")
        except OSError as e:
            self.fault = e
        finally:
            os.close(self._descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def open_lines(target: str) -> tuple[LineWriter, bool]:
    """Open a file for its owner only, at its end, or standard output for ``-``; also say whether it has lines already.

    Raises:
        ConfigError: it cannot be written.
    """
    if target == "-":
        return LineWriter(os.dup(1)), False
    path = Path(target)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise ConfigError(f"--events {target} cannot be written ({e.strerror}): name a file in a folder of yours.") from e
    return LineWriter(descriptor), os.fstat(descriptor).st_size > 0
