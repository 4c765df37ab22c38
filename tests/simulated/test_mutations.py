from __future__ import annotations

import pytest

from .judging import judge_world
from .mutants import MUTANTS
from .world import draw

CAUGHT_BY = {
    "tokens run from the send": ("quota", 11),
    "tokens freed at the send": ("quota", 11),
    "no write-ahead": ("write-ahead", 0),
    "resend on a timeout": ("once", 16),
    "trusting the parent's FAIL": ("outcome", 10),
    "claims ignored": ("claims", 14),
    "a budget place freed at the answer": ("budget", 1),
    "failures not counted": ("failures", 2),
}
"""For each mutation the promise that it breaks, and the first seed whose world shows it."""

AROUND = 6


def test_every_mutation_is_tried() -> None:
    assert CAUGHT_BY.keys() == MUTANTS.keys()


@pytest.mark.parametrize("name", CAUGHT_BY)
def test_the_checker_catches(name: str) -> None:
    promise, seed = CAUGHT_BY[name]
    found = [
        one
        for near in range(max(0, seed - AROUND), seed + AROUND)
        for one in judge_world(draw(near), MUTANTS[name](draw(near))).broken
    ]

    assert [one for one in found if one.startswith(promise)]
