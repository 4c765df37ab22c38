from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

import pytest

from tests.mutations.table import MUTANTS

from . import dimensions
from .dimensions import DIMENSIONS
from .judge import Verdict, judge
from .play import play
from .world import draw

ROOT = Path(__file__).parents[2]

SHOWING = {seed for mutant in MUTANTS for seed in mutant.seeds}
"""Worlds that are known to notice: each shows an engine that breaks a promise."""

OF_EACH = {next(seed for seed in count() if name in dimensions.draw(seed).has) for name in DIMENSIONS}
"""The first world that has each dimension, whatever else it has."""

SEEDS = sorted(SHOWING | OF_EACH | set(range(10)))
"""`.ci/run` plays hundreds, and a night thousands: ``python -m tests.simulated --seeds 0-10000``."""


@pytest.fixture(scope="module")
def verdicts() -> Sequence[Verdict]:
    """Judge all of them once."""
    return [judge(seed) for seed in SEEDS]


def test_no_promise_is_broken_in_any_world(verdicts: Sequence[Verdict]) -> None:
    broken = [f"python -m tests.simulated --seed {v.seed} -v: {v.broken[0]}" for v in verdicts if v.broken]

    assert broken == []


def test_the_worlds_have_in_them_what_they_are_about(verdicts: Sequence[Verdict]) -> None:
    """A simulation in which nothing went wrong would prove nothing."""
    seen = {name for verdict in verdicts for name in verdict.figures}

    wanted = {
        *("crashes (step)", "crashes (before_write)", "crashes (after_write)", "reboots", "resumes", "mendings"),
        *("fault lost_reply", "fault reset_after", "fault truncated", "fault late_execution", "fault outage"),
        *("runs refused (claims)", "stop", "cancel", "wall clock jumps", "resumes of a pause"),
        *(f"dimension {name}" for name in DIMENSIONS),
    }
    assert wanted - seen == set()


def test_a_seed_is_always_the_same_world() -> None:
    assert digest(range(5, 10)) == digest(range(5, 10))


def test_a_seed_is_the_same_world_in_another_process() -> None:
    """A failing seed is a report only if it fails again, whatever order sets of strings have there."""
    code = "import sys; from tests.simulated.test_simulated import digest; sys.stdout.write(digest(range(20, 24)))"
    digests = {
        subprocess.run(  # noqa: S603 - our own interpreter and a constant
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": order},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for order in ("1", "2")
    }

    assert len(digests) == 1


def digest(seeds: Iterable[int]) -> str:
    """Return one hash over the journals of these worlds, apart from the process's own number."""
    whole = hashlib.sha256()
    for seed in seeds:
        for row in play(draw(seed)).database.journal():
            for line in row.lines:
                whole.update(line.replace(f'"pid":{os.getpid()}'.encode(), b'"pid":0') + b"\n")
    return whole.hexdigest()
