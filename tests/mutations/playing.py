"""Plays mutants: each in a process of its own that imports a mutated copy of the package and the tests of this one.

What an import costs most, the libraries, is imported once, and each process is forked from there.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, Final

from .mutant import PACKAGE, ROOT, Mutant

LIBRARIES: Final = ["aiohttp.web", "aiolimiter", "orjson", "pytest", "sqlite3"]
# The package is imported here before pytest could rewrite its plugin, which has no asserts to rewrite.
_UNREWRITTEN: Final = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
QUIETLY: Final = ["-n", "0", "-x", "--tb=no", "--no-header", "-o", "timeout=0", *_UNREWRITTEN]
ENOUGH: Final = 30.0
"""Seconds of the processor for one test or seed: an engine that spins is caught by that."""

Found = tuple[str, str]
"""A test or a seed, and what it says of the mutant: "" where it says nothing."""


def processes(jobs: int) -> ProcessPoolExecutor:
    """Make an executor whose every task begins in a process that has not imported the package."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    return ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1)


def try_tests(mutant: Mutant) -> list[Found]:
    """Run the tests that are said to catch a mutant."""
    with _mutated(mutant):
        return [(name, _bounded(lambda name=name: _test(name))) for name in mutant.tests]  # type: ignore[misc]


def try_seeds(mutant: Mutant, seeds: Iterable[int], enough: int = 1, dimensions: str = "new") -> list[Found]:
    """Judge worlds until so many have shown the mutant."""
    return _tried(mutant, "seed", seeds, enough, "tests.simulated.judge", dimensions)


def try_scenes(mutant: Mutant, seeds: Iterable[int], enough: int = 1) -> list[Found]:
    """Judge worlds of several holders until so many have shown the mutant."""
    return _tried(mutant, "scene", seeds, enough, "tests.simulated.holders.judging")


def _tried(mutant: Mutant, kind: str, seeds: Iterable[int], enough: int, judges: str, *more: str) -> list[Found]:
    found: list[Found] = []
    with _mutated(mutant):
        judge: Callable[..., Any] = importlib.import_module(judges).judge
        for seed in seeds:
            said = _bounded(lambda seed=seed: next(iter(judge(seed, *more).broken), ""))  # type: ignore[misc]
            found.append((f"{kind} {seed}", said))
            if sum(bool(said) for _, said in found) >= enough:
                break
    return found


@contextlib.contextmanager
def _mutated(mutant: Mutant) -> Iterator[None]:
    """Have the package be the mutated one in this process from now on."""
    assert PACKAGE not in sys.modules
    with tempfile.TemporaryDirectory() as folder:
        mutant.written_to(Path(folder))
        sys.path[:0] = [folder, str(ROOT)]
        assert Path(str(importlib.import_module(PACKAGE).__file__)).is_relative_to(folder)
        os.chdir(ROOT)
        yield


def _test(name: str) -> str:
    """Run one test; return its failure in a line, "" where it passes."""
    pytest: Any = importlib.import_module("pytest")
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = int(pytest.main([*QUIETLY, str(ROOT / name)]))
    if code not in {0, 1}:
        raise LookupError(f"{name} cannot be run: {said.getvalue().strip()}")
    return "" if code == 0 else "it fails"


def _bounded(call: Callable[[], str]) -> str:
    """Call, for as long as any of this may take."""

    def enough(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"it spins for {ENOUGH:g} s")

    before = signal.signal(signal.SIGPROF, enough)
    signal.setitimer(signal.ITIMER_PROF, ENOUGH)
    try:
        return call()
    except TimeoutError as e:
        return str(e)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)
