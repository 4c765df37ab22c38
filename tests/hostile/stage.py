"""What a scenario is played on: hostile clouds, machines with a store, commands that are begun, frozen and killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.stored import readable

from .cloud import ids_of

HERE = Path(__file__).parent

PATIENCE = 60.0
"""Seconds after which a command that has not ended is said to be stuck, and something expected not to come."""

GLANCE = 0.03


class Stuck(Exception):
    """Something that a scenario waits for did not come."""


def until(what: str, holds: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until something holds.

    Raises:
        Stuck: it never did.
    """
    end = time.monotonic() + patience
    while not holds():
        if time.monotonic() > end:
            raise Stuck(f"after {patience:g} s still not so: {what}")
        time.sleep(GLANCE)


@dataclass(frozen=True)
class Product:
    """The checkout that is tried: its interpreter, and the folder that is put on its path, "" for none.

    ``old`` is the interpreter of an older checkout, whose runs this one has to go on with; "" for none.
    """

    python: str = sys.executable
    path: str = ""
    old: str = ""

    @classmethod
    def from_environment(cls) -> Product:
        """Take ``ECSBATCH_PYTHON``, ``ECSBATCH_PATH`` and ``ECSBATCH_OLD_PYTHON``, or what runs this."""
        names = {"python": "ECSBATCH_PYTHON", "path": "ECSBATCH_PATH", "old": "ECSBATCH_OLD_PYTHON"}
        return cls(**{field: os.environ[name] for field, name in names.items() if name in os.environ})


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code as a shell says it, and what it printed."""

    code: int
    out: str
    err: str

    @cached_property
    def text(self) -> str:
        """All of it."""
        return f"{self.out}\n{self.err}"

    @property
    def last_words(self) -> str:
        """The last line that it wrote to people."""
        return _last_line(self.text)


class Process:
    """A command under way."""

    def __init__(self, name: str, folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._out, self._err, self._mark = (folder / f"{name}.{kind}" for kind in ("out", "err", "mark"))
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._popen = subprocess.Popen(  # noqa: S603 - the program that is tried
                command,
                cwd=folder,
                env={**environment, "HOSTILE_MARK": str(self._mark)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def end(self, patience: float = PATIENCE) -> Ended:
        """Wait for its end.

        Raises:
            Stuck: it does not end.
        """
        try:
            code = self._popen.wait(patience)
        except subprocess.TimeoutExpired:
            raise Stuck(f"{self.name} has not ended after {patience:g} s: {self.err.strip()[-200:]}") from None
        return Ended(code if code >= 0 else 128 - code, self._out.read_text(), self.err)

    @property
    def out_so_far(self) -> str:
        """What it has written to stdout so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it has written to stderr so far."""
        return self._err.read_text()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def until_frozen(self) -> None:
        """Wait until it has come to the point at which it freezes."""
        until(f"{self.name} comes to its freeze", lambda: self._mark.exists() or not self.running)
        if not self._mark.exists():
            raise Stuck(f"{self.name} ended before its freeze: {self.err.strip()[-200:]}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        with suppress(ProcessLookupError):
            self._popen.send_signal(number)

    def kill(self) -> None:
        """``kill -9``, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self._popen.wait()


@dataclass(frozen=True)
class CloudRecord:
    """What a cloud has counted."""

    requests: Sequence[Mapping[str, Any]]
    counted: Sequence[Mapping[str, Any]]
    begun: Mapping[str, Sequence[float]]
    up: frozenset[str]

    def fullest(self, window: float) -> int:
        """Return the most servers that any window of so many seconds has."""
        at = [(entry["at"], len(entry["servers"])) for entry in self.counted]
        return max((sum(n for t, n in at if start <= t < start + window) for start, _ in at), default=0)

    @property
    def times(self) -> Counter[int]:
        """How many servers were restarted how often."""
        return Counter(len(instants) for instants in self.begun.values())

    @property
    def twice(self) -> int:
        """How many servers were restarted more than once."""
        return sum(len(instants) > 1 for instants in self.begun.values())

    def last_submit(self) -> float:
        """Return when the last restart request came."""
        return max((entry["at"] for entry in self.requests if entry["method"] == "POST"), default=0.0)


class Hostile:
    """A hostile cloud in a process of its own."""

    def __init__(self, manners: Mapping[str, Any]) -> None:
        self.ids = ids_of(manners.get("servers", 40))
        self._popen = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", str(HERE / "cloud.py"), json.dumps(manners)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._popen.stdout is not None
        self.url: str = json.loads(self._popen.stdout.readline())["url"]

    def set(self, **manners: Any) -> None:
        """Change what it does wrong."""
        self._ask("set", manners)

    def books(self) -> CloudRecord:
        """Return what it has counted."""
        books = self._ask("books")
        return CloudRecord(books["requests"], books["counted"], books["begun"], frozenset(books["up"]))

    def until(self, what: str, holds: Callable[[CloudRecord], bool], patience: float = PATIENCE) -> None:
        """Wait until something holds of its books."""
        until(what, lambda: holds(self.books()), patience)

    def _ask(self, page: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.url}/hostile/{page}", data) as answer:  # noqa: S310 - our own server
            return json.load(answer)

    def close(self) -> None:
        """End it."""
        self._popen.kill()
        self._popen.communicate()


FLEET_FLAGS = (
    *("--yes", "--waves", "100%", "--max-unavailable", "100%"),
    *("--max-failures", "100%", "--max-failures-per-wave", "100%"),
)


@dataclass
class Machine:
    """A folder with a store, and the environment in which commands are typed."""

    folder: Path
    product: Product
    settings: dict[str, str]
    processes: list[Process] = field(default_factory=list)

    @property
    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ECSBATCH", "HUAWEI"))}
        path = {"PYTHONPATH": self.product.path} if self.product.path else {}
        state = {"XDG_STATE_HOME": str(self.folder / "state"), "HOME": str(self.folder)}
        keys = {"HUAWEICLOUD_SDK_AK": "AKHOSTILE0001", "HUAWEICLOUD_SDK_SK": "SKHOSTILE000001"}
        project = {"HUAWEICLOUD_SDK_PROJECT_ID": "0a1b2c3d4e5f60718293a4b5c6d7e8f9"}
        return {**inherited, **path, **state, **keys, **project, **self.settings}

    def begin(self, *arguments: str, freeze: str = "", **settings: str) -> Process:
        """Type a command and do not wait for its end; with ``freeze`` it stops itself at that point."""
        program = [str(HERE / "freezing.py"), freeze] if freeze else ["-m", "ecsbatch"]
        name = f"{len(self.processes):02}-{arguments[0]}"
        command = [self.product.python, "-P", *program, *arguments]
        process = Process(name, self.folder, command, {**self._environment, **_variables(settings)})
        self.processes.append(process)
        return process

    def type(self, *arguments: str, **settings: str) -> Ended:
        """Type a command and wait for its end."""
        return self.begin(*arguments, **settings).end()

    def restart(
        self, run_id: str, ids: Sequence[str], *flags: str, freeze: str = "", limits: Sequence[str] = FLEET_FLAGS
    ) -> Process:
        """Begin to restart a fleet, or go on with it."""
        fleet = self.folder / f"{run_id}.txt"
        fleet.write_text("\n".join(ids))
        return self.begin("restart", fleet.name, "--run-id", run_id, *limits, *flags, freeze=freeze)

    def report(self, run_id: str) -> dict[str, Any]:
        """Return the report of a run, an empty one where there is no such run."""
        ended = self.type("report", run_id, "-o", "json")
        return json.loads(ended.out) if ended.code == 0 else {"run": {"status": "", "reason": ""}, "servers": []}

    def recorded(self, text: str) -> bool:
        """Tell whether something stands in the store's file, or in what is not merged into it yet."""
        return any(text.encode() in readable(file) for file in self.folder.glob("state/ecsbatch/*.db*"))

    def commands(self) -> int:
        """Count what was asked of holders, as the store's file has it."""
        (file,) = self.folder.glob("state/ecsbatch/*.db")
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM commands").fetchone()[0])

    def close(self) -> None:
        """Leave nothing running."""
        for process in self.processes:
            process.kill()


class Stage:
    """Where one scenario is played."""

    def __init__(self, folder: Path, product: Product) -> None:
        self._folder = folder
        self._product = product
        self._open = ExitStack()
        self._machines: list[Machine] = []

    def cloud(self, **manners: Any) -> Hostile:
        """Open a cloud."""
        cloud = Hostile(manners)
        self._open.callback(cloud.close)
        return cloud

    def machine(self, cloud: Hostile, **settings: str) -> Machine:
        """Set a machine up for a cloud; settings are those of the engine and the connection."""
        folder = self._folder / f"machine-{len(self._machines) + 1}"
        folder.mkdir()
        usual = {
            "endpoint": cloud.url,
            "quota": "200/5s",
            "typical_restart": "1s",
            "request_timeout": "2s",
            "unknown_grace": "3s",
            "blind_timeout": "10s",
            "api_rate": "50/s",
        }
        machine = Machine(folder, self._product, _variables({**usual, **settings}))
        self._machines.append(machine)
        self._open.callback(machine.close)
        return machine

    def updated(self, machine: Machine) -> tuple[Machine, Machine]:
        """Return a machine as it was before its update to the checkout that is tried, and as it is behind it."""
        product = Product(self._product.old) if self._product.old else self._product
        old = Machine(machine.folder, product, machine.settings)
        self._open.callback(old.close)
        return old, machine

    def last_words(self) -> list[str]:
        """Return the last line of every command that was typed so far."""
        return [
            f"{process.name} {_last_line(process.err)!r}" for machine in self._machines for process in machine.processes
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _variables(settings: Mapping[str, str]) -> dict[str, str]:
    return {f"ECSBATCH_{name.upper()}": value for name, value in settings.items()}


def stand_still(seconds: float) -> None:
    """Let time pass: what is tried is that nothing happens in it."""
    time.sleep(seconds)
