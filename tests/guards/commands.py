"""What commands cost before they do anything: modules that are imported, and instructions where they can be counted."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ecsbatch import Restarter, open_store
from ecsbatch.testing import World
from tests.imported import imported

ROOT: Final = Path(__file__).parents[2]

FAST: Final = ("--quota", "1000/1s", "--typical-restart", "1s", "--max-unavailable", "100%", "--linger", "0.05s")
IMPORTING: Final[Mapping[str, list[str]]] = {
    "restart": ["restart", "ids.txt", "--yes", "--quiet", *FAST],
    "plan": ["plan", "ids.txt"],
    "status": ["status"],
    "runs": ["runs"],
    "--help": ["--help"],
    "--version": ["--version"],
}
"""What is typed; the restart comes first, so that there is a run to read of."""

COUNTED: Final = ("--help", "status")
"""Commands whose instructions are counted: seconds each, as a processor that counts is twenty times as slow.

``--version`` is none of them: it reads the names of all that is installed.
"""

PYTHON: Final = (sys.executable, "-S")
"""Without what an environment does at each start of its own, such as looking for packages under development."""
PLACES: Final = os.pathsep.join([str(ROOT), *(place for place in sys.path if place.endswith("-packages"))])

VALGRIND: Final = shutil.which("valgrind")
BARE: Final = ["-c", "pass"]


def imports() -> dict[str, float]:
    """Return how many modules commands import: of ours, and with those of others."""
    with TemporaryDirectory() as folder, _simulated(Path(folder)) as environment:
        calls = imported(list(IMPORTING.values()), PYTHON, Path(folder), {**environment, "PYTHONPATH": PLACES})
    found = dict[str, float]()
    for name, (code, modules) in zip(IMPORTING, calls, strict=True):
        assert code == 0, f"ecsbatch {name} ended with {code}"
        found[f"modules of ours for {name}"] = sum(each.partition(".")[0] == "ecsbatch" for each in modules)
        found[f"modules for {name}"] = len(modules)
    return found


def instructions() -> dict[str, float]:
    """Return the instructions of commands as multiples of those of an interpreter that does nothing."""
    with TemporaryDirectory() as folder:
        environment = {
            **_environment(Path(folder)),
            "ECSBATCH_STORE": _store_with_a_run(Path(folder)),
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": PLACES,
        }
        bare = _counted(BARE, folder, environment)
        return {
            f"instructions for {name}, of bare Python": _counted(["-m", "ecsbatch", name], folder, environment) / bare
            for name in COUNTED
        }


def _counted(words: list[str], folder: str, environment: Mapping[str, str]) -> int:
    command = [*PYTHON, *words]
    # What it imports is compiled now, and is not compiled while it is counted.
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)  # noqa: S603 - our own program
    count = [str(VALGRIND), "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", *command]
    done = subprocess.run(count, cwd=folder, env=environment, check=True, capture_output=True, text=True)  # noqa: S603 - the same
    [told] = re.findall(r"I +refs: +([\d,]+)", done.stderr)
    return int(told.replace(",", ""))


def _store_with_a_run(folder: Path) -> str:
    """Make a store in which ten servers were restarted, and return its URL."""
    url = f"sqlite:///{folder}/store.db"

    with World(servers=10) as world:

        async def main() -> None:
            async with (
                world.client() as client,
                open_store(url, inline=True, clock=world.clock) as store,
                Restarter(client, store, clock=world.clock, seed=1, name="guard") as restarter,
            ):
                await restarter.rollout(world.ids, run_id="run").run()

        world.run(main)
    return url


@contextmanager
def _simulated(folder: Path) -> Iterator[dict[str, str]]:
    """Run a simulated cloud of ten servers; give the environment of who asks it."""
    clean = _environment(folder)
    command = [*PYTHON, "-m", "ecsbatch", "simulate", "-o", "json", "--servers", "10", "--speed", "60"]
    with subprocess.Popen(  # noqa: S603 - our own program
        [*command, "--ids", "ids.txt"], cwd=folder, env={**clean, "PYTHONPATH": PLACES}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            yield {**clean, **json.loads(process.stdout.readline())["environment"]}
        finally:
            process.terminate()
            process.stdout.read()


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment without settings of ours, whose state is kept in a folder."""
    ours = ("ECSBATCH_", "HUAWEICLOUD_", "PYTHON")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**inherited, "LC_ALL": "C.UTF-8", "XDG_STATE_HOME": str(folder / "state")}
