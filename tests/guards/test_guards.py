"""What work costs is what the table says, which `python -m tests.guards --renew` rewrites; see `tests.guards`.

Counts in virtual time and of modules: a busy machine changes nothing. Times are for `benchmarks`, and never asserted.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from . import figures
from .__main__ import TABLE, _written
from .figures import BY_PYTHON, FIGURES
from .guard import GROUPS, MINOR, PATCH, cannot_compare, complaints, measured, today
from .worlds import WORLDS

ROOT = Path(__file__).parents[2]


def held_to_the_table(name: str) -> None:
    """Fail where a group's figures are not those of the table."""
    if why := cannot_compare(name):
        pytest.skip(why)
    said = complaints(name, measured(name), today(name))

    assert not said, "\n".join(["", *said])


@pytest.mark.parametrize("name", WORLDS)
def test_a_run_in_virtual_time_costs_what_the_table_says(name: str) -> None:
    held_to_the_table(name)


@pytest.mark.real
@pytest.mark.parametrize("name", [name for name in GROUPS if name not in WORLDS])
def test_a_command_costs_what_the_table_says(name: str) -> None:
    held_to_the_table(name)


# -- the table, and what is said ---------------------------------------------------------------------------------------


def test_the_table_has_figures_for_each_group_and_for_no_other() -> None:
    rows = {what.partition(": ")[0] for what in FIGURES}
    of_pythons = {what.partition(": ")[0] for table in BY_PYTHON.values() for what in table}

    assert rows == {name for name, group in GROUPS.items() if not group.python}
    assert of_pythons == {name for name, group in GROUPS.items() if group.python}
    assert "3.11" in BY_PYTHON


def test_a_python_without_figures_is_told_how_to_add_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GROUPS, "calls", GROUPS["calls"]._replace(python="3.99"))

    assert cannot_compare("calls") == (
        "the table has no figures of Python 3.99: python -m tests.guards --renew under it adds them"
    )
    assert today("calls") == {}
    assert {group.python for group in GROUPS.values()} == {"", "3.99", MINOR, PATCH}


def test_the_table_is_as_the_command_writes_it() -> None:
    """Nobody has rounded it by hand, and no diff comes from its order."""
    assert _written(FIGURES, BY_PYTHON) == TABLE.read_text(encoding="utf-8")
    assert ast.parse(TABLE.read_text(encoding="utf-8")) is not None
    assert re.match(r"The figures of today", figures.__doc__ or "")


WORSE = (
    "calls: calls is 112, 12.0% more than 100 (3% pass). Find what has made it worse; where that has a good reason, "
    "say it in the commit that has what this rewrites: python -m tests.guards --renew."
)
BETTER = (
    "calls: calls is 95, 5.0% less than 100 (3% pass). That it stays so, write it down: python -m tests.guards --renew"
)


@pytest.mark.parametrize(("found", "said"), [(102.9, []), (97.1, []), (112.0, [WORSE]), (95.0, [BETTER])])
def test_a_figure_that_is_worse_or_better_is_told_of_with_what_to_do(found: float, said: list[str]) -> None:
    assert complaints("calls", {"calls: calls": found}, {"calls: calls": 100.0}) == said


def test_the_fullest_window_is_exact() -> None:
    name = "batches of 100"
    table = {f"{name}: fullest window": 1000.0}

    assert complaints(name, {f"{name}: fullest window": 1000.0}, table) == []
    for found in (999.0, 1001.0):
        [said] = complaints(name, {f"{name}: fullest window": found}, table)
        assert "More may be more than the quota" in said


def test_a_figure_that_is_new_or_gone_is_told_of() -> None:
    assert complaints("calls", {"calls: new": 1.0}, {"calls: old": 1.0}) == [
        "calls: old is in the table and is not measured any more: python -m tests.guards --renew",
        "calls: new is not in the table: python -m tests.guards --renew",
    ]
