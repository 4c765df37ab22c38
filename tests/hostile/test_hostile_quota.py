from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future

import pytest

from .quota_scenarios import SCENARIOS
from .verdict import Verdict


@pytest.mark.parametrize("name", [scenario.__name__ for scenario in SCENARIOS])
def test_nothing_is_over_the_quota_and_nothing_twice(playing: Mapping[str, Future[Verdict]], name: str) -> None:
    verdict = playing[name].result()

    assert verdict.complaints == [], verdict.line()
