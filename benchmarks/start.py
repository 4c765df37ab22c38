"""How quickly commands start: the CPU that each takes, beside the interpreter alone, and what it imports.

Every command is a process of its own; plan and restart talk to a simulated cloud over HTTP, a hundred times as fast as
the real one, and status and runs read a store that has a run. What is imported is counted by package, of the standard
library as one.

Interpreters of other environments can be named, such as one in which an older version is installed: all commands of all
of them are run in turn, so that what else the machine does meanwhile burdens all alike.

    python -m benchmarks start [PYTHON ...]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.common import table

TIMES: Final = 7
SERVERS: Final = 10
IMPORTS: Final = """
import atexit, json, runpy, sys
names = lambda: sys.stderr.write("\\n" + json.dumps([name.partition(".")[0] for name in sys.modules]))
atexit.register(names)
sys.argv = ["ecsbatch", *sys.argv[1:]]
runpy.run_module("ecsbatch", run_name="__main__")
"""
FAST: Final = ("--quota", "1000/1s", "--typical-restart", "1s", "--max-unavailable", "100%", "--yes", "--quiet")
IDS: Final = "ids.txt"
COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "python alone": ("-c", "pass"),
    "import ecsbatch": ("-c", "import ecsbatch"),
    "ecsbatch --version": ("-m", "ecsbatch", "--version"),
    "ecsbatch --help": ("-m", "ecsbatch", "--help"),
    "status --help": ("-m", "ecsbatch", "status", "--help"),
    "status": ("-m", "ecsbatch", "status"),
    "runs": ("-m", "ecsbatch", "runs"),
    "plan of ten servers": ("-m", "ecsbatch", "plan", IDS),
    "restart of ten servers": ("-m", "ecsbatch", "restart", IDS, *FAST),
}


@dataclass
class Environment:
    """An interpreter with a version of ecsbatch.

    Attributes:
        python: its path.
        folder: where it works; its stores are there.
        variables: of its processes.
        walls, cpus: milliseconds of each run of each command.
    """

    python: str
    folder: Path
    variables: Mapping[str, str]
    walls: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in COMMANDS})
    cpus: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in COMMANDS})

    def measure(self, name: str) -> None:
        """Run a command once more."""
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        self.run(COMMANDS[name])
        self.walls[name].append(1000 * (time.perf_counter() - begun))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpus[name].append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))

    def run(self, words: Sequence[str]) -> str:
        """Run a command in the environment's folder and return what it writes on stderr."""
        command = [self.python, *words]
        done = subprocess.run(  # noqa: S603 - our own program
            command, env=self.variables, cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stderr

    def imported(self, words: Sequence[str]) -> str:
        """Say what a command imports, the packages with the most modules first."""
        packages = Counter[str](json.loads(self.run(["-c", IMPORTS, *words]).splitlines()[-1]))
        own = {
            name: n for name, n in packages.items() if name not in sys.stdlib_module_names and not name.startswith("_")
        }
        most = sorted(own.items(), key=lambda item: -item[1])
        rest = packages.total() - sum(own.values())
        return f"{packages.total()} modules: " + ", ".join(f"{n} {name}" for name, n in [("stdlib", rest), *most[:9]])

    def rows(self) -> list[list[str]]:
        """Return the medians of each command, and its CPU as a multiple of the interpreter's."""
        alone = median(self.cpus["python alone"])
        cpus = {name: median(values) for name, values in self.cpus.items()}
        return [[name, f"{median(self.walls[name]):.0f}", f"{n:.0f}", f"{n / alone:.1f}"] for name, n in cpus.items()]


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        ids = Path(folder, IDS)
        simulate = ["simulate", "-o", "json", "--servers", str(SERVERS), "--speed", "100", "--latency", "1ms"]
        command = [sys.executable, "-m", "ecsbatch", *simulate, "--ids", str(ids)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as cloud:  # noqa: S603 - our own program
            try:
                assert cloud.stdout is not None
                variables = {**os.environ, **json.loads(cloud.stdout.readline())["environment"]}
                # Where it is set, what is imported would be compiled anew by each process.
                variables.pop("PYTHONDONTWRITEBYTECODE", None)
                pythons = [sys.executable, *sys.argv[1:]]
                environments = [_environment(folder, str(n), python, variables) for n, python in enumerate(pythons)]
                _measure(environments)
                words = {name: each[2:] for name, each in COMMANDS.items() if each[0] == "-m"}
                imports = {name: environments[0].imported(each) for name, each in words.items()}
            finally:
                cloud.terminate()
    for each in environments:
        title = f"Starting, {each.python} (milliseconds, medians of {TIMES})"
        table(title, ["command", "wall", "CPU", "CPU, x python"], each.rows())
    for name, text in imports.items():
        print(f"{name}\n  {text}")
    return 0


def _environment(folder: str, name: str, python: str, variables: Mapping[str, str]) -> Environment:
    """Give an interpreter a folder of its own, with the list of servers."""
    own = Path(folder, name)
    own.mkdir()
    (own / IDS).write_bytes(Path(folder, IDS).read_bytes())
    return Environment(python, own, {**variables, "XDG_STATE_HOME": str(own)})


def _measure(environments: Sequence[Environment]) -> None:
    for each in environments:
        # Once beforehand: modules are compiled then, and there is a run to read; the last command makes it.
        for words in reversed(COMMANDS.values()):
            each.run(words)
    for _ in range(TIMES):
        for name in COMMANDS:
            for each in environments:
                each.measure(name)
