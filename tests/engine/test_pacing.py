"""How often a site is asked, by what its 429s say."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ecsbatch.engine.pacing import HEEDED_FOR, RequestPacer
from ecsbatch.errors import Throttled


def limited(limit: int | None, window: float | None) -> Throttled:
    error = Throttled("The gateway's request limit is reached", status=429)
    error.limit, error.window = limit, window
    return error


def leave(pace: RequestPacer, start: float, count: int) -> list[float]:
    """Let so many requests leave one after another, each as soon as it may."""
    at, left = start, []
    for _ in range(count):
        at += pace.wait(at)
        pace.sent(at)
        left.append(at)
    return left


@pytest.mark.parametrize(
    ("limit", "window", "rate"),
    [
        (60, 60.0, 1.0),
        (200, 300.0, 2 / 3),
        (5, 1.0, 5.0),
        (200, 1.0, 20.0),  # more than we want ourselves
        (None, None, 20.0),
        (0, 60.0, 20.0),
    ],
)
def test_a_limit_that_a_429_names_is_the_rate_until_minutes_after_the_last(
    limit: int | None, window: float | None, rate: float
) -> None:
    pace = RequestPacer(20.0)
    pace.throttled(limited(limit, window), 100.0)

    assert pace.rate(100.0) == pytest.approx(rate)
    assert pace.rate(100.0 + HEEDED_FOR - 1) == pytest.approx(rate)
    assert pace.rate(100.0 + HEEDED_FOR) == 20.0


def test_without_a_429_nobody_waits() -> None:
    pace = RequestPacer(20.0)

    assert leave(pace, 0.0, 100) == [0.0] * 100


def test_what_left_before_the_429_counts_and_what_leaves_behind_it_is_spread() -> None:
    pace = RequestPacer(20.0)
    leave(pace, 0.0, 60)
    pace.throttled(limited(60, 60.0), 3.0)
    after = leave(pace, 3.0, 90)

    assert after[0] == 60.0
    assert all(later - sooner == pytest.approx(1.0) for sooner, later in pairwise(after))


def test_a_limit_of_a_day_is_tried_again_within_minutes() -> None:
    pace = RequestPacer(20.0)
    pace.sent(0.0)
    pace.throttled(limited(1, 86_400.0), 1.0)

    assert pace.wait(1.0) == HEEDED_FOR
