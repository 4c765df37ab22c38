"""A few of the scenarios, one of each kind; ``python -m tests.hostile`` plays all, and ``.ci/run`` the rest of them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future

import pytest

from .scenarios import SCENARIOS
from .verdict import Verdict

PLAYED = {
    "stale": "processes stand still between grant and send while another one spends the quota",
    "noupdated": "an answer is lost, the process is killed, and the rows do not tell what was begun",
    "abortstop": "an abort is asked of a holder that stands still, and is then killed",
    "ownskip": "a request that was taken for not begun shows itself in the next look",
    "hidden": "looks leave servers out, and nothing else shows them",
    "clockjump": "the wall clock is set forward under a run",
    "fifo": "the events go to a pipe that nobody reads",
}
"""Each needs a real process for what it is about: a stop, a kill, a clock, a pipe; or is a look's worst lie."""


@pytest.mark.parametrize("name", PLAYED)
def test_nothing_is_over_or_twice_every_run_ends_and_every_word_is_true(
    playing: Mapping[str, Future[Verdict]], name: str
) -> None:
    verdict = playing[name].result()

    assert verdict.complaints == [], verdict.line()


def test_there_is_every_scenario_that_is_played() -> None:
    assert PLAYED.keys() <= SCENARIOS.keys()
