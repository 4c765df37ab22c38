"""Begins commands as forks of one process that has imported the package: a start costs milliseconds, not half a second.

What is forked is a process of its own: its folder, its environment, its signals, its exit code and its death are those
of a typed command. The start itself is not shown by it: `tests/acceptance` and `tests/hostile` type real commands.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Self

LONGEST_REQUEST = 100_000
PATIENCE = 60.0
"""Seconds after which a command that has not ended is killed."""


class Command:
    """A command under way; it has what tests use of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], stdout: int, stderr: int, fate: int) -> None:
        self.args = arguments
        self.stdout = open(stdout, encoding="utf-8", errors="replace")  # noqa: SIM115 - open for as long as the command is
        self.stderr = open(stderr, encoding="utf-8", errors="replace")  # noqa: SIM115 - the same
        self.returncode: int | None = None
        self._fate = open(fate, "rb", buffering=0)  # noqa: SIM115 - the same
        self.pid = int(self._fate.readline())
        self.on_output: Callable[[str, str], None] = lambda _out, _err: None
        """Gets what `communicate` has read, once it has ended."""

    def poll(self) -> int | None:
        """Return its code, None while it lives."""
        if self.returncode is None and select.select([self._fate], [], [], 0.0)[0]:
            self.returncode = int(self._fate.readline())
            self._fate.close()
        return self.returncode

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end and return its code, the negative number of the signal that has killed it.

        Raises:
            subprocess.TimeoutExpired: it does not end.
        """
        if self.returncode is None and not select.select([self._fate], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired([*self.args, "which has said:", self._said()], timeout)
        code = self.poll()
        assert code is not None
        return code

    def _said(self) -> str:
        """Return what it has said on stderr, which nobody has read yet."""
        os.set_blocking(self.stderr.fileno(), False)
        with suppress(BlockingIOError):
            return os.read(self.stderr.fileno(), 4_000).decode(errors="replace")
        return ""

    def communicate(self, timeout: float = PATIENCE) -> tuple[str, str]:
        """Read what it has still to say and wait for its end.

        Raises:
            subprocess.TimeoutExpired: it did not end, and was killed.
        """
        alarm = Timer(timeout, self.kill)
        alarm.start()
        with ThreadPoolExecutor(1) as pool:
            out = pool.submit(self.stdout.read)
            err = self.stderr.read()
        late = not alarm.is_alive()
        alarm.cancel()
        alarm.join()
        self.stdout.close()
        self.stderr.close()
        self.wait()
        if late:
            raise subprocess.TimeoutExpired(self.args, timeout, out.result(), err)
        self.on_output(out.result(), err)
        return out.result(), err

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it lives."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stdout.close()
        self.stderr.close()
        self.wait()


def begin(
    arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], one_stream: bool = False
) -> Command:
    """Begin a command.

    Args:
        arguments: what is typed behind ``ecsbatch``.
        folder: where it is typed.
        environment: all of its variables.
        one_stream: what it writes to stderr comes on stdout.
    """
    out, its_out = os.pipe()
    err, its_err = os.pipe()
    fate, its_fate = os.pipe()
    request = json.dumps([list(arguments), str(folder), dict(environment)]).encode()
    assert len(request) < LONGEST_REQUEST
    socket.send_fds(_server(), [request], [its_out, its_out if one_stream else its_err, its_fate])
    for descriptor in (its_out, its_err, its_fate):
        os.close(descriptor)
    return Command(arguments, out, err, fate)


@functools.cache
def _server() -> socket.socket:
    """Start the process that is forked; it ends with the socket's last copy of ours."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, __file__, str(its.fileno())],
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# -- the process that is forked ----------------------------------------------------------------------------------------


def _main() -> int:
    requests = socket.socket(fileno=int(sys.argv[1]))
    # A developer's Ctrl-C goes to the whole group; the end of the tests is this one's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import_everything()
    fates: dict[int, tuple[int, int]] = {}
    """The process whose end is seen at a descriptor, and where its fate is told."""
    while True:
        for ready in select.select([requests, *fates], [], [])[0]:
            if ready is not requests:
                _tell(ready, *fates.pop(ready))
                continue
            request, descriptors, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 3)
            if not request:
                return 0
            out, err, fate = descriptors
            pid = os.fork()
            if pid == 0:
                for foreign in (requests.detach(), fate, *fates, *(fate for _, fate in fates.values())):
                    os.close(foreign)
                return _be_the_command(request, out, err)
            os.close(out)
            os.close(err)
            os.write(fate, b"%d\n" % pid)
            fates[os.pidfd_open(pid)] = (pid, fate)


def _tell(seen_at: int, pid: int, fate: int) -> None:
    """Tell how a command has ended."""
    _, status = os.waitpid(pid, 0)
    # Who has begun it may not ask any more.
    with suppress(BrokenPipeError):
        os.write(fate, b"%d\n" % os.waitstatus_to_exitcode(status))
    os.close(fate)
    os.close(seen_at)


def _import_everything() -> None:
    package = importlib.import_module("ecsbatch")
    for module in pkgutil.walk_packages(package.__path__, "ecsbatch."):
        importlib.import_module(module.name)
    # What the libraries import at their first use.
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):  # noqa: PTH123 - no path is built here
        importlib.import_module("ecsbatch.cli.app").main(["restart", "--help"])
    gc.freeze()


def _be_the_command(request: bytes, out: int, err: int) -> int:
    arguments, folder, environment = json.loads(request)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["ecsbatch", *arguments]
    code: int = importlib.import_module("ecsbatch.cli.app").main(arguments)
    with suppress(OSError, ValueError):
        _end(code)
    # What it has said does not get out: the interpreter tells how that ends.
    return code


def _end(code: int) -> None:
    """End as the interpreter does, but take nothing apart: that would copy every page of what all commands share."""
    sys.stdout.flush()
    sys.stderr.flush()
    threading._shutdown()
    atexit._run_exitfuncs()
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(_main())
