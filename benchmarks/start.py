"""How quickly commands start: the CPU that each takes, beside the interpreter alone, and what it imports.

Every command is a process of its own; plan and restart talk to a simulated cloud over HTTP, a hundred times as fast as
the real one, and status and runs read a store that has a run. What is imported is counted by package, of the standard
library as one.

Interpreters of other environments can be named, such as one in which an older version is installed: all commands of all
of them are run in turn, so that what else the machine does meanwhile burdens all alike.

    python -m benchmarks start [PYTHON ...] [--quick] [--repeats N]

Beside the interpreter alone stands what cyclopts costs that has two lines of a program to run, once a command and once
its help: what a user of the same library cannot have for less.
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
from typing import Any, Final

from benchmarks.common import Options, Result, Table, command, median_and_spread, say
from benchmarks.cpu import of_turns

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
TWO_LINES: Final = "from cyclopts import run\nrun(lambda: print('done'))"
COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "python alone": ("-c", "pass"),
    "cyclopts, two lines": ("-c", TWO_LINES),
    "cyclopts, its --help": ("-c", TWO_LINES, "--help"),
    "import ecsbatch": ("-c", "import ecsbatch"),
    "ecsbatch --version": ("-m", "ecsbatch", "--version"),
    "ecsbatch --help": ("-m", "ecsbatch", "--help"),
    "status --help": ("-m", "ecsbatch", "status", "--help"),
    "status": ("-m", "ecsbatch", "status"),
    "runs": ("-m", "ecsbatch", "runs"),
    "plan of ten servers": ("-m", "ecsbatch", "plan", IDS),
    "restart of ten servers": ("-m", "ecsbatch", "restart", IDS, *FAST),
}

GOALS: Final = {
    "ecsbatch --version": "start_version",
    "ecsbatch --help": "start_help",
    "status": "start_status",
    "runs": "start_runs",
    "plan of ten servers": "start_plan",
    "restart of ten servers": "start_restart",
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
        line = [self.python, *words]
        done = subprocess.run(  # noqa: S603 - our own program
            line, env=self.variables, cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stderr

    def imported(self, words: Sequence[str]) -> tuple[str, str]:
        """Return how many modules a command imports, and of which packages: those with the most modules first."""
        packages = Counter[str](json.loads(self.run(["-c", IMPORTS, *words]).splitlines()[-1]))
        own = {
            name: n for name, n in packages.items() if name not in sys.stdlib_module_names and not name.startswith("_")
        }
        most = sorted(own.items(), key=lambda item: -item[1])
        rest = packages.total() - sum(own.values())
        return str(packages.total()), ", ".join(f"{n} {name}" for name, n in [("stdlib", rest), *most[:9]])

    def ratio(self, name: str) -> float:
        """Return the median of a command's CPU as a multiple of the interpreter's."""
        return median(self.cpus[name]) / median(self.cpus["python alone"])

    def table(self, number: int) -> Table:
        """Return the medians of each command, and its CPU as a multiple of the interpreter's."""
        rows: list[list[str]] = []
        for name, values in self.cpus.items():
            times = [f"{median(self.walls[name]):.0f} ms", median_and_spread(values).text("{:.0f}", " ms")]
            rows.append([name, *times, f"{self.ratio(name):.1f}"])
        which = f"environment {number + 1}: {self.python}; " if number else ""
        title = f"Starting: {which}{of_turns(len(self.cpus['python alone']))}"
        return Table(title, ["command", "wall", "CPU", "CPU, x python"], rows)


def run(options: Options) -> Result:
    """Measure all commands of all environments."""
    with tempfile.TemporaryDirectory() as folder:
        ids = Path(folder, IDS)
        simulate = ["simulate", "-o", "json", "--servers", str(SERVERS), "--speed", "100", "--latency", "1ms"]
        line = [sys.executable, "-m", "ecsbatch", *simulate, "--ids", str(ids)]
        with subprocess.Popen(line, stdout=subprocess.PIPE) as cloud:  # noqa: S603 - our own program
            try:
                assert cloud.stdout is not None
                variables = {**os.environ, **json.loads(cloud.stdout.readline())["environment"]}
                # Where it is set, what is imported would be compiled anew by each process.
                variables.pop("PYTHONDONTWRITEBYTECODE", None)
                pythons = [sys.executable, *options.words]
                environments = [_environment(folder, str(n), python, variables) for n, python in enumerate(pythons)]
                _measure(environments, 2 * options.repeats - 1)
                words = {name: each[2:] for name, each in COMMANDS.items() if each[0] == "-m"}
                imports = [[name, *environments[0].imported(each)] for name, each in words.items()]
            finally:
                cloud.terminate()
    tables = [each.table(number) for number, each in enumerate(environments)]
    tables.append(Table("Starting: what is imported", ["command", "modules", "of"], imports))
    now = environments[0]
    return Result(tables, {goal: now.ratio(name) for name, goal in GOALS.items()}, {"rows": _drawn(now)})


def _drawn(environment: Environment) -> list[dict[str, Any]]:
    return [
        {"name": name, "ours": "cyclopts" not in name and name != "python alone", "cpu": median(values)}
        | {"of_python": environment.ratio(name)}
        for name, values in environment.cpus.items()
    ]


def _environment(folder: str, name: str, python: str, variables: Mapping[str, str]) -> Environment:
    """Give an interpreter a folder of its own, with the list of servers."""
    own = Path(folder, name)
    own.mkdir()
    (own / IDS).write_bytes(Path(folder, IDS).read_bytes())
    return Environment(python, own, {**variables, "XDG_STATE_HOME": str(own)})


def _measure(environments: Sequence[Environment], turns: int) -> None:
    for each in environments:
        # Once beforehand: modules are compiled then, and there is a run to read; the last command makes it.
        for words in reversed([*COMMANDS.values()]):
            each.run(words)
    for turn in range(turns):
        say(f"start: turn {turn + 1} of {turns}")
        for name in COMMANDS:
            for each in environments:
                each.measure(name)


def main() -> int:
    """Print the tables."""
    return command(run)


if __name__ == "__main__":
    raise SystemExit(main())
