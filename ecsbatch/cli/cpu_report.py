"""A CPU profile as a file: a plain table by rooms and functions, or the JSON that speedscope.app draws.

It tells of functions alone, by names and by files' places in their package: no value, and no folder of a user.
"""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any, Final, NamedTuple

from ecsbatch.cli.catalog import installed_version
from ecsbatch.cli.cpu_sampler import BEFORE, COLLECTOR, Sampler, Step

_SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"
_TOP: Final = 40
"""Functions that a table names, by themselves and with what they call."""

_PACKAGE: Final = str(Path(__file__).parents[2]) + os.sep
_STANDARD: Final = str(Path(os.__file__).parent) + os.sep
_INSTALLED: Final = ("site-packages/", "dist-packages/")

_ROOMS: Final[Mapping[str, Sequence[str]]] = {
    "signing": ["ecsbatch/ecs/auth/", "hmac.py", "hashlib.py"],
    "parsing": ["ecsbatch/ecs/wire.py", "ecsbatch/model/json_text.py", "json/"],
    "HTTP": ["ecsbatch/ecs/", "aiohttp/", "yarl/", "multidict/", "aiolimiter/", "http/", "ssl.py"],
    "planning": ["ecsbatch/planning/", "ecsbatch/cli/survey.py", "ecsbatch/cli/looking.py"],
    "journal": ["ecsbatch/engine/journal.py", "ecsbatch/model/recorded.py", "ecsbatch/model/events.py"],
    "store": ["ecsbatch/store/", "sqlite3/", "psycopg/", "psycopg_binary/"],
    "display": ["ecsbatch/views/", "ecsbatch/cli/live.py", "ecsbatch/cli/dashboard/", "rich/", "structlog/"],
    "state": ["ecsbatch/model/"],
    "engine": ["ecsbatch/engine/", "ecsbatch/restarter.py"],
    "rollout": ["ecsbatch/rollout/", "ecsbatch/policy/"],
    "command line": ["ecsbatch/cli/", "ecsbatch/config/", "cyclopts/"],
    "simulator": ["ecsbatch/simulator/"],
}
"""What stands where in a stack decides whose time it is: the innermost place that is named here."""

_IMPORTS: Final = "imports"
_LOOP: Final = frozenset({"_run_once", "run_forever"})


class Function(NamedTuple):
    """A function as it may be told of."""

    name: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.name} ({self.file}:{self.line})" if self.file else self.name


class Profile(NamedTuple):
    """What was sampled.

    Attributes:
        threads: for each thread, by name, its samples: functions from the outermost on, and nanoseconds.
        used: nanoseconds of CPU time that the process has used.
        lasted: nanoseconds that the profile took.
    """

    threads: Mapping[str, Sequence[tuple[Sequence[Function], int]]]
    used: int
    lasted: int

    def samples(self) -> Iterator[tuple[Sequence[Function], int]]:
        """Yield all samples, whatever the thread."""
        for samples in self.threads.values():
            yield from samples


def write_profile(path: Path, sampler: Sampler) -> None:
    """Write what was sampled; a name that ends with ``.json`` makes it speedscope's.

    Raises:
        OSError: the file cannot be written.
    """
    profile = _profile(sampler)
    text = (
        json.dumps(speedscope(profile))
        if path.name.lower().endswith(".json")
        else "".join(f"{line}\n" for line in table(profile))
    )
    path.write_text(text, encoding="utf-8")


def speedscope(profile: Profile) -> dict[str, Any]:
    """Return a profile as https://www.speedscope.app reads it: one of its "sampled" kind for each thread."""
    numbers = dict[Function, int]()

    def sampled(name: str, samples: Sequence[tuple[Sequence[Function], int]]) -> dict[str, Any]:
        weights = [spent / 1000 for _, spent in samples]
        stacks = [[numbers.setdefault(each, len(numbers)) for each in stack] for stack, _ in samples]
        head = {"type": "sampled", "name": name, "unit": "microseconds", "startValue": 0, "endValue": sum(weights)}
        return {**head, "samples": stacks, "weights": weights}

    profiles = [sampled(name, samples) for name, samples in profile.threads.items()]
    return {
        "$schema": _SCHEMA,
        "name": "ecsbatch",
        "exporter": f"ecsbatch@{installed_version()}",
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(each) for each in numbers]},
        "profiles": profiles,
    }


def _frame(function: Function) -> dict[str, str | int]:
    return function._asdict() if function.file else {"name": function.name}


def table(profile: Profile) -> Iterator[str]:
    """Yield the lines of a profile for people: whose time it was, and of which functions."""
    rooms, packages, own, whole = Counter[str](), Counter[str](), Counter[Function](), Counter[Function]()
    for stack, spent in profile.samples():
        room = room_of(stack)
        rooms[room] += spent
        if room == _IMPORTS:
            packages[_imported(stack)] += spent
        own[stack[-1]] += spent
        whole.update(dict.fromkeys(stack, spent))
    # Threads that Python does not know, and the last of those that have ended.
    rooms["other"] += max(0, profile.used - rooms.total())
    total = rooms.total()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    taken = sum(len(samples) for samples in profile.threads.values())
    yield f"CPU time of ecsbatch {installed_version()} on {python}:"
    yield f"{total / 1e9:.3f} s within {profile.lasted / 1e9:.3f} s, seen in {taken:,} samples."
    yield from _listed("Rooms", rooms, total)
    yield _row("100.0%", total, "in all")
    for title, times in (
        ("Imports by package", packages),
        ("Functions by themselves", own),
        ("Functions with what they call", whole),
    ):
        yield from _listed(title, dict(times.most_common(_TOP)), total)


def _listed(title: str, times: Mapping[Any, int], total: int) -> Iterator[str]:
    yield from ("", title)
    for what, spent in sorted(times.items(), key=lambda each: -each[1]):
        yield _row(f"{spent / max(total, 1):.1%}", spent, what)


def _row(share: str, spent: int, what: object) -> str:
    return f"{share:>7} {spent / 1e9:9.3f} s  {what}"


def room_of(stack: Sequence[Function]) -> str:
    """Return whose time it was, by the functions that ran, the outermost first."""
    if stack[-1].name == COLLECTOR:
        return "collector"
    if stack[-1].name == BEFORE:
        return "interpreter"
    if any(each.file == "<frozen importlib._bootstrap>" for each in stack):
        return _IMPORTS
    for function in reversed(stack):
        if function.file.startswith("asyncio/") and function.name.rpartition(".")[2] in _LOOP:
            return "loop"
        for room, places in _ROOMS.items():
            if function.file.startswith(tuple(places)):
                return room
    return "other"


def _imported(stack: Sequence[Function]) -> str:
    """Return the package whose module was being run, or was looking for another."""
    files = [each.file for each in stack if each.name == "<module>" and not each.file.startswith("<")]
    return files[-1].partition("/")[0].removesuffix(".py") if files else "other"


def _profile(sampler: Sampler) -> Profile:
    @cache
    def stack_of(node: int) -> tuple[Function, ...]:
        return tuple(map(_function, sampler.tree.stack(node)))

    named = sampler.samples.items()
    threads = {name: [(stack_of(node), spent) for node, spent in samples] for name, samples in named}
    return Profile(threads, sampler.used, sampler.lasted)


def _function(step: Step) -> Function:
    if not isinstance(step, CodeType):
        return Function(step, "", 0)
    return Function(step.co_qualname, _shown(step.co_filename), step.co_firstlineno)


def _shown(file: str) -> str:
    """Return where a file is within its package, or its name alone."""
    for folder in _INSTALLED:
        if folder in file:
            return file.rpartition(folder)[2]
    if file.startswith(f"{_PACKAGE}ecsbatch{os.sep}"):
        return file.removeprefix(_PACKAGE)
    return file.removeprefix(_STANDARD) if file.startswith(_STANDARD) else Path(file).name
