from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.mutations.holders import HOLDERS
from tests.simulated.judge import Verdict

from .judging import judge
from .scene import draw
from .stage import play

SHOWING = {seed for mutant in HOLDERS for seed in mutant.scenes}
"""Worlds that are known to notice: each shows a store or an engine that breaks a promise."""

SEEDS = sorted(SHOWING | set(range(25)))
"""`.ci/run` plays hundreds, and a night thousands: ``python -m tests.simulated --holders --seeds 0-10000``."""


@pytest.fixture(scope="module")
def verdicts() -> Sequence[Verdict]:
    """Judge all of them once."""
    return [judge(seed) for seed in SEEDS]


def test_no_promise_is_broken_whoever_holds_the_runs(verdicts: Sequence[Verdict]) -> None:
    broken = [f"python -m tests.simulated --holders --seed {v.seed} -v: {v.broken[0]}" for v in verdicts if v.broken]

    assert broken == []


def test_the_worlds_have_in_them_what_they_are_about(verdicts: Sequence[Verdict]) -> None:
    """A simulation in which nobody stood still and nobody was fenced would prove nothing."""
    seen = {name for verdict in verdicts for name in verdict.figures}

    wanted = {
        *("stalls", "suspends", "deaths", "renewals that failed", "requests that were refused"),
        *("standby: taken", "standby: store_away", "standby: store_back"),
        *("end: RunTaken", "end: RunHeld", "end: StoreError", "end: Result"),
        *(f"scenes with {kind}" for kind in ("slow", "refused", "away", "unanswered", "resumes")),
    }
    assert wanted - seen == set()


def test_a_seed_is_always_the_same_world() -> None:
    first, second = play(draw(3)), play(draw(3))

    assert [row.lines for row in first.database.journal()] == [row.lines for row in second.database.journal()]
    assert first.steps == second.steps
