"""The real command line against the real simulator, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fork_server
from held_to_schemas import hold_output

ECSBATCH = [sys.executable, "-m", "ecsbatch"]
PAUSE = 0.1
"""Seconds until a command is typed again that asks whether it has come to something."""


@dataclass
class Terminal:
    """A folder and an environment in which commands are typed."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[fork_server.Command | subprocess.Popen[str]] = field(default_factory=list)

    def begin(self, *arguments: str, **environment: str) -> fork_server.Command:
        """Type a command and do not wait for its end."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ECSBATCH", "HUAWEI"))}
        state = {"XDG_STATE_HOME": str(self.folder / "state")}
        variables = {**inherited, **state, **self.environment, **environment}
        process = fork_server.begin(arguments, folder=self.folder, environment=variables)
        process.on_output = lambda out, err: hold_output(
            arguments, variables, self.folder, out, err, process.returncode
        )
        self.processes.append(process)
        return process

    def end(self) -> None:
        """Leave nothing behind, whatever the test came to."""
        for process in self.processes:
            with process:
                process.kill()

    def type(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Type a command and wait for its end."""
        process = self.begin(*arguments, **environment)
        out, err = process.communicate()
        return subprocess.CompletedProcess(arguments, process.wait(), out, err)


@dataclass
class Simulator:
    """A simulated cloud in a process of its own."""

    environment: dict[str, str]
    ids: list[str]

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.environment["ECSBATCH_ENDPOINT"]

    def audit(self) -> dict[str, Any]:
        """Return what the simulator itself has counted."""
        with urllib.request.urlopen(f"{self.url}/_simulator/audit") as answer:  # noqa: S310 - our own server
            audit: dict[str, Any] = json.load(answer)
        return audit


def simulate(folder: Path, arguments: Sequence[str]) -> Iterator[Simulator]:
    command = ["simulate", "-o", "json", "--latency", "5ms", "--ids", "all.txt", *arguments]
    with fork_server.begin(command, folder=folder, environment=os.environ) as process:
        introduction = json.loads(process.stdout.readline())
        try:
            yield Simulator(introduction["environment"], (folder / "all.txt").read_text().split())
        except BaseException:
            process.kill()
            raise
        process.send_signal(signal.SIGTERM)
        verdict, err = process.communicate()
        assert json.loads(verdict)["requests"] >= 0
        assert err == ""
        assert process.returncode == 0
