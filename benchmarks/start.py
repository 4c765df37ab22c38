"""How quickly a command starts, and what it imports: the help, a plan of ten servers and their restart.

Every command is a process of its own; the plan and the restart talk to a simulated cloud over HTTP, a hundred times as
fast as the real one. Beside them stand the interpreter alone and ``import ecsbatch``, so that ratios can be read. What
is imported is counted by package, of the standard library as one.
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
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.common import table

TIMES = 5
SERVERS = 10
IMPORTS = """
import atexit, json, runpy, sys
names = lambda: sys.stderr.write("\\n" + json.dumps([name.partition(".")[0] for name in sys.modules]))
atexit.register(names)
sys.argv = ["ecsbatch", *sys.argv[1:]]
runpy.run_module("ecsbatch", run_name="__main__")
"""
QUICK = ("--quota", "1000/1s", "--typical-restart", "1s", "--max-unavailable", "100%", "--yes", "--quiet")


class Start(NamedTuple):
    """Medians of one command: milliseconds on the wall clock and of CPU."""

    wall: float
    cpu: float


def measured(command: Sequence[str], environment: Mapping[str, str]) -> Start:
    """Run a command some times."""
    walls, cpus = [], []
    for _ in range(TIMES):
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)  # noqa: S603 - our own program
        walls.append(1000 * (time.perf_counter() - begun))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return Start(median(walls), median(cpus))


def imported(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Say what a command imports, the packages with the most modules first."""
    command = [sys.executable, "-c", IMPORTS, *words]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)  # noqa: S603 - our own program
    packages = Counter(json.loads(done.stderr.splitlines()[-1]))
    own = {name: n for name, n in packages.items() if name not in sys.stdlib_module_names and not name.startswith("_")}
    most = sorted(own.items(), key=lambda item: -item[1])
    rest = packages.total() - sum(own.values())
    return f"{packages.total()} modules: " + ", ".join(f"{n} {name}" for name, n in [("stdlib", rest), *most[:9]])


def main() -> int:
    """Measure and print."""
    command = [sys.executable, "-m", "ecsbatch"]
    with tempfile.TemporaryDirectory() as folder:
        ids = Path(folder) / "ids.txt"
        simulate = ["simulate", "-o", "json", "--servers", str(SERVERS), "--speed", "100", "--latency", "1ms"]
        with subprocess.Popen([*command, *simulate, "--ids", str(ids)], stdout=subprocess.PIPE) as cloud:  # noqa: S603 - our own program
            try:
                assert cloud.stdout is not None
                environment = {
                    **os.environ,
                    "XDG_STATE_HOME": folder,
                    **json.loads(cloud.stdout.readline())["environment"],
                }
                commands = {
                    "ecsbatch --help": ["--help"],
                    "plan of ten servers": ["restart", str(ids), "--dry-run"],
                    "restart of ten servers": ["restart", str(ids), *QUICK],
                }
                starts = {
                    "python alone": measured([sys.executable, "-c", "pass"], environment),
                    "import ecsbatch": measured([sys.executable, "-c", "import ecsbatch"], environment),
                    **{name: measured([*command, *words], environment) for name, words in commands.items()},
                }
                imports = {name: imported(words, environment) for name, words in commands.items()}
            finally:
                cloud.terminate()
    base = starts["python alone"]
    rows = [[name, f"{s.wall:.0f}", f"{s.cpu:.0f}", f"{s.cpu / base.cpu:.1f}"] for name, s in starts.items()]
    table("Starting (milliseconds, medians)", ["command", "wall", "CPU", "x python"], rows)
    for name, text in imports.items():
        print(f"{name}\n  {text}")
    return 0
