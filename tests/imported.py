"""What commands import, each in a process of its own that has imported nothing yet."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

CALLS = """
import json, os, sys

for words in json.loads(sys.argv[1]):
    if os.fork() == 0:
        answer, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        from ecsbatch.cli.app import main
        code = int(main(words))
        os.write(answer, json.dumps([code, sorted(sys.modules)]).encode() + b"\\n")
        os._exit(0)
    os.wait()
"""
"""One interpreter is started for all of them."""


class Imported(NamedTuple):
    """How a command ended, and the modules that it had imported then."""

    code: int
    modules: list[str]


def imported(
    calls: Sequence[Sequence[str]], python: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> list[Imported]:
    """Return what commands import that are typed one after another in a folder, in their order."""
    command = [*python, "-c", CALLS, json.dumps(calls)]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE)  # noqa: S603 - ours
    return [Imported(*json.loads(line)) for line in done.stdout.splitlines()]
