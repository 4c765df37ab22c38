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

ECSBATCH = [sys.executable, "-m", "ecsbatch"]


@dataclass
class Terminal:
    """A folder and an environment in which commands are typed."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def begin(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Type a command and do not wait for its end."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ECSBATCH", "HUAWEI"))}
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*ECSBATCH, *arguments],
            cwd=self.folder,
            env={**inherited, "XDG_STATE_HOME": str(self.folder / "state"), **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
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
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


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
    command = [*ECSBATCH, "simulate", "-o", "json", "--latency", "5ms", "--ids", "all.txt", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 - ours
    assert process.stdout is not None
    introduction = json.loads(process.stdout.readline())
    yield Simulator(introduction["environment"], (folder / "all.txt").read_text().split())
    process.send_signal(signal.SIGTERM)
    verdict, err = process.communicate(timeout=20)
    assert json.loads(verdict)["requests"] >= 0
    assert err == ""
    assert process.returncode == 0
