"""Every mutant is caught, and the table fits the source.

Its tests are run on mutants by the command; here each mutant meets its seeds alone, the first of which shows it, which
costs a second of a process. The engine itself passes them: `tests/simulated` plays every one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future

import pytest

from .mutant import ROOT, Mutant
from .playing import Found, processes, try_scenes, try_seeds
from .table import MUTANTS

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
SHOWN_BY_SEEDS = [mutant.name for mutant in MUTANTS if mutant.seeds or mutant.scenes]


def test_each_mutant_has_a_name_of_its_own_and_something_that_catches_it() -> None:
    assert len(BY_NAME) == len(MUTANTS)
    assert [mutant.name for mutant in MUTANTS if not (mutant.tests or mutant.seeds or mutant.scenes)] == []


@pytest.mark.parametrize("name", BY_NAME)
def test_the_old_text_stands_in_one_place_of_the_source(name: str) -> None:
    assert BY_NAME[name].places == 1


@pytest.mark.parametrize("name", sorted({test for mutant in MUTANTS for test in mutant.tests}))
def test_there_is_the_test_that_is_said_to_catch_it(name: str) -> None:
    file, _, test = name.partition("::")

    assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def playing() -> Iterator[Mapping[str, Future[list[Found]]]]:
    """Begin every mutant's seeds; a process each, one after another."""
    with processes(1) as pool:
        yield {name: _try(pool, BY_NAME[name]) for name in SHOWN_BY_SEEDS}
        pool.shutdown(cancel_futures=True)


def _try(pool: Executor, mutant: Mutant) -> Future[list[Found]]:
    if mutant.seeds:
        return pool.submit(try_seeds, mutant, mutant.seeds)
    return pool.submit(try_scenes, mutant, mutant.scenes)


@pytest.mark.parametrize("name", SHOWN_BY_SEEDS)
def test_a_seed_shows_the_mutant(name: str, playing: Mapping[str, Future[list[Found]]]) -> None:
    assert any(said for _, said in playing[name].result())
