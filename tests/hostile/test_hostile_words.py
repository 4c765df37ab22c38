from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future

import pytest

from . import abort_scenarios, look_scenarios
from .verdict import Verdict

NAMES = [scenario.__name__ for scenario in (*abort_scenarios.SCENARIOS, *look_scenarios.SCENARIOS)]


@pytest.mark.parametrize("name", NAMES)
def test_every_run_ends_and_every_word_is_true(playing: Mapping[str, Future[Verdict]], name: str) -> None:
    verdict = playing[name].result()

    assert verdict.complaints == [], verdict.line()
