"""Plays a night: a simulator, machines with homes of their own, terminals of 88 by 32 on real pseudo-terminals."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Condition, Thread
from typing import Any, Final

import pyte
from transcript import (
    ANY,
    ENTER,
    Changed,
    Ended,
    Killed,
    Night,
    Pictured,
    Step,
    Typed,
    agrees,
    asking,
    compare,
    written,
)

COLUMNS: Final = 88
ROWS: Final = 32
DEADLINE: Final = 120.0
"""Seconds for which something expected may fail to come."""


class Mismatch(AssertionError):
    """A step did not show what the story says."""


class Terminal:
    """One command on a pseudo-terminal, and the screen that it writes on."""

    def __init__(self, command: str, home: Path, environment: Mapping[str, str]) -> None:
        self._screen = pyte.HistoryScreen(COLUMNS, ROWS, history=100_000)
        self._changed = Condition()
        self._open = True
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        # setsid makes it the leader of a session whose terminal this is: what a person's shell has.
        self.process = subprocess.Popen(  # noqa: S603 - what a story of ours says
            ["/usr/bin/setsid", "--ctty", "/bin/bash", "-c", command],
            cwd=home,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        stream = pyte.ByteStream(self._screen)
        # Reading fails once the last process that has the terminal is gone.
        with suppress(OSError):
            while data := os.read(self._master, 65_536):
                with self._changed:
                    stream.feed(data)
                    self._changed.notify_all()
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def type(self, answer: str) -> None:
        """Type a line."""
        os.write(self._master, f"{answer}\n".encode())

    def wait(self, holds: Callable[[], bool]) -> bool:
        """Wait until something holds of the screen; False if it never did before the command's end or the deadline."""
        until = time.monotonic() + DEADLINE
        with self._changed:
            while not holds():
                left = until - time.monotonic()
                if not self._open or left <= 0 or not self._changed.wait(left):
                    return holds()
        return True

    def ended(self) -> bool:
        """Wait for the command's end."""
        return self.wait(lambda: not self._open)

    def lines(self) -> list[str]:
        """Return all that has been printed and is not erased, what has scrolled away included."""
        with self._changed:
            away = ["".join(line[x].data for x in range(COLUMNS)).rstrip() for line in self._screen.history.top]
            return [*away, *self.picture()]

    def picture(self) -> list[str]:
        """Return the screen without the blank lines at its end."""
        with self._changed:
            lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def asking(self) -> str:
        """Return the line that the cursor stands in, up to it."""
        with self._changed:
            return self._screen.display[self._screen.cursor.y][: self._screen.cursor.x]

    @property
    def code(self) -> int:
        """The exit code as a shell says it."""
        code = self.process.wait(DEADLINE)
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        """Kill all of it, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.kill()
        self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        os.close(self._master)


class Stage:
    """A night while it is played."""

    def __init__(self, night: Night, folder: Path) -> None:
        self._night = night
        self._homes = {name: folder / "-".join(machine) for machine in night.machines for name in machine}
        for home in self._homes.values():
            home.mkdir(exist_ok=True)
        self._simulator = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "ecsbatch", "simulate", "-o", "json", *night.simulator],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._simulator.stdout is not None
        introduction = self._simulator.stdout.readline()
        if not introduction:
            self._simulator.communicate(timeout=DEADLINE)
            raise Mismatch(f"ecsbatch simulate {' '.join(night.simulator)}: it does not start")
        self._cloud = json.loads(introduction)
        self._terminals: dict[str, Terminal] = {}
        self._so_far: dict[str, list[str]] = {}
        self._codes: dict[str, int] = {}

    def play(self) -> None:
        """Do all that the story says.

        Raises:
            Mismatch: something else was shown than it says.
        """
        for step in self._night.steps:
            self._do(step)

    def close(self) -> None:
        """End every process."""
        for terminal in self._terminals.values():
            terminal.close()
        self._simulator.send_signal(signal.SIGTERM)
        self._simulator.communicate(timeout=DEADLINE)

    def audit(self) -> Mapping[str, Any]:
        """Return what the simulator itself has counted."""
        audit: Mapping[str, Any] = self._ask("audit")
        return audit

    def reports(self) -> Iterator[Mapping[str, Any]]:
        """Yield the report of every run on every machine."""
        for terminal, *_ in self._night.machines:
            for run in json.loads(self._output(terminal, "runs", "-o", "json"))["runs"]:
                yield json.loads(self._output(terminal, "report", run["run_id"], "-o", "json"))

    def _output(self, terminal: str, *arguments: str) -> str:
        command = [sys.executable, "-m", "ecsbatch", *arguments]
        home, environment = self._homes[terminal], self._environment(terminal)
        return subprocess.run(command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603 - our own program

    def _environment(self, terminal: str) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self._homes[terminal]),
            "USER": terminal,
            "LOGNAME": terminal,
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            **self._cloud["environment"],
            **self._night.environment,
        }

    def _ask(self, page: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self._cloud['url']}/_simulator/{page}", data) as answer:  # noqa: S310 - our own server
            return json.load(answer)

    # -- steps -----------------------------------------------------------------------------------------------------

    def _do(self, step: Step) -> None:
        match step:
            case Typed():
                self._type(step)
            case Ended():
                self._end(step.terminal, step, step.expected)
            case Pictured():
                self._look(step)
            case Killed():
                self._terminals[step.terminal].kill()
                self._codes[step.terminal] = self._terminals[step.terminal].code
            case Changed():
                self._ask("set", step.change)

    def _type(self, step: Typed) -> None:
        if step.terminal in self._terminals:
            self._terminals.pop(step.terminal).close()
        command = f"(exit {self._codes.get(step.terminal, 0)}); {step.command}"
        terminal = Terminal(command, self._homes[step.terminal], self._environment(step.terminal))
        self._terminals[step.terminal] = terminal
        self._so_far[step.terminal] = []
        for answer, before in _asked(step):
            asked = partial(_is, before, terminal.asking)
            if not terminal.wait(asked):
                raise _mismatch(step, step.expected, terminal.lines())
            terminal.type("" if answer == ENTER else answer)
        if step.ends:
            self._end(step.terminal, step, step.expected)
        elif not terminal.wait(lambda: agrees(compare([*step.expected, ANY], terminal.lines()))):
            raise _mismatch(step, [*step.expected, ANY], terminal.lines())
        self._so_far[step.terminal] = [*step.expected]

    def _end(self, name: str, step: Step, expected: Sequence[str]) -> None:
        terminal = self._terminals[name]
        ended = terminal.ended()
        whole = [*self._so_far[name], *expected]
        seen = terminal.lines()
        if not ended or not agrees(compare(whole, seen)):
            raise _mismatch(step, whole, seen, "" if ended else " (it has not ended)")
        self._codes[name] = terminal.code

    def _look(self, step: Pictured) -> None:
        terminal = self._terminals[step.terminal]
        expected = [ANY, *step.expected]
        first: list[str] = []

        def holds() -> bool:
            """Keep the first screen that the words hold of: one that is half drawn is followed by a whole one."""
            picture = terminal.picture()
            if not reached(step.when, picture):
                return False
            first[:] = first or picture
            return agrees(compare(expected, picture, shape=True))

        if not terminal.wait(holds):
            why = "" if first else f" (never {step.when})"
            raise _mismatch(step, expected, first or terminal.picture(), why, shape=True)


def _is(line: str, there: Callable[[], str]) -> bool:
    return agrees(compare([line], [there()]))


def _asked(step: Typed) -> Iterator[tuple[str, str]]:
    """Yield each answer with what stands before it in the line that shows it."""
    lines = iter(step.expected)
    for answer in step.answers:
        yield answer, next(before for line in lines if (before := asking(line, answer)) is not None)


def reached(when: str, picture: Sequence[str]) -> bool:
    """Tell whether a screen shows the words, or a bar that has come so far."""
    found = re.fullmatch(r"(.+) >= (\d+)%", when)
    if found is None:
        return any(when in line for line in picture)
    bars = (re.match(rf"{re.escape(found[1])}\s+[█▓▒▌░]+\s+(\d+)%", line) for line in picture)
    return any(bar is not None and int(bar[1]) >= int(found[2]) for bar in bars)


def _mismatch(
    step: Step, expected: Sequence[str], seen: Sequence[str], why: str = "", *, shape: bool = False
) -> Mismatch:
    what = getattr(step, "command", type(step).__name__.lower())
    marked = written(compare(expected, seen, shape=shape))
    return Mismatch(f"line {step.line}, {step.terminal}$ {what}{why}; - expected, + seen:\n{marked}")
