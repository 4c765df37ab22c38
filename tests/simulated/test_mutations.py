from __future__ import annotations

from typing import Final

import pytest

from .judging import judge_world
from .mutants import MUTANTS
from .world import draw

CAUGHT_BY: Final = {
    "tokens run from the send": ("quota", (31, 86, 87, 106, 125, 126)),
    "tokens freed at the send": ("quota", (8, 11, 29, 31, 32, 45)),
    "no write-ahead": ("write-ahead", (0, 1, 2)),
    "resend on a timeout": ("once", (16, 72, 90, 91, 96, 98)),
    "trusting the parent's FAIL": ("outcome", (10, 20, 22, 33, 34, 43)),
    "claims ignored": ("claims", (14, 17, 27, 28, 37, 40)),
    "a budget place freed at the answer": ("budget", (1, 2, 3, 6, 13, 14)),
    "failures not counted": ("failures", (2, 3, 9, 10, 16, 20)),
}
"""For each mutation the promise that it breaks, and the first seeds whose worlds show it.

Several, as an engine that merely looks at other instants meets another fate in the same world.
"""


def test_every_mutation_is_tried() -> None:
    assert CAUGHT_BY.keys() == MUTANTS.keys()


@pytest.mark.parametrize("name", CAUGHT_BY)
def test_the_checker_catches(name: str) -> None:
    promise, seeds = CAUGHT_BY[name]
    caught = [
        seed
        for seed in seeds
        if any(one.startswith(f"{promise}:") for one in judge_world(draw(seed), MUTANTS[name](draw(seed))).broken)
    ]

    assert caught


@pytest.mark.parametrize("name", CAUGHT_BY)
def test_the_engine_itself_passes_where_the_mutation_is_caught(name: str) -> None:
    """Otherwise it would not be the mutation that is caught."""
    _, seeds = CAUGHT_BY[name]

    assert [one for seed in seeds for one in judge_world(draw(seed)).broken] == []
