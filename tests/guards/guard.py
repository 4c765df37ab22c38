"""The groups of figures, how far each may be from the table, and what is said where it is farther."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from .commands import VALGRIND, imports, instructions
from .figures import BY_PYTHON, FIGURES
from .worlds import WORLDS

RENEW: Final = "python -m tests.guards --renew"

MINOR: Final = ".".join(platform.python_version_tuple()[:2])
"""Has figures of its own for how often a library calls itself, and for what an object weighs."""

PATCH: Final = platform.python_version()
"""Has figures of its own for instructions, by how it was compiled."""


class Group(NamedTuple):
    """Figures that are measured together.

    Attributes:
        measure: returns them by their names.
        margin: how far one may be from the table, as a share of it, in both directions.
        python: has figures of its own; "" where they are those of every Python.
        digits: of each that are written down.
    """

    measure: Callable[[], dict[str, float]]
    margin: float = 0.03
    python: str = ""
    digits: int = 4


GROUPS: Final[Mapping[str, Group]] = {
    **{name: Group(measure) for name, measure in WORLDS.items() if name not in {"calls", "memory"}},
    "calls": Group(WORLDS["calls"], python=MINOR),
    "memory": Group(WORLDS["memory"], margin=0.04, python=MINOR, digits=3),
    "imports": Group(imports, python=MINOR),
    "instructions": Group(instructions, margin=0.05, python=PATCH, digits=3),
}

EXACT: Final = ("fullest window",)
"""What has no margin."""


def cannot_measure(name: str) -> str:
    """Return why a group cannot be measured here, "" where it can."""
    return "there is no valgrind here to count instructions" if name == "instructions" and VALGRIND is None else ""


def cannot_compare(name: str) -> str:
    """Return why a group cannot be held to the table here, "" where it can."""
    python = GROUPS[name].python
    if python and python not in BY_PYTHON:
        return f"the table has no figures of Python {python}: {RENEW} under it adds them"
    return cannot_measure(name)


def measured(name: str) -> dict[str, float]:
    """Measure a group; return its figures by the names that the table has for them, as they are written down."""
    group = GROUPS[name]
    return {f"{name}: {what}": float(f"{figure:.{group.digits}g}") for what, figure in group.measure().items()}


def today(name: str) -> dict[str, float]:
    """Return a group's figures in the table, nothing where this Python has none."""
    python = GROUPS[name].python
    table = BY_PYTHON.get(python, {}) if python else FIGURES
    return {what: figure for what, figure in table.items() if what.startswith(f"{name}: ")}


def complaints(name: str, found: Mapping[str, float], table: Mapping[str, float]) -> list[str]:
    """Say what is not as the table has it, and what is to be done about each."""
    said = [f"{what} is in the table and is not measured any more: {RENEW}" for what in table if what not in found]
    for what, figure in found.items():
        margin = 0.0 if what.endswith(EXACT) else GROUPS[name].margin
        if what not in table:
            said.append(f"{what} is not in the table: {RENEW}")
        elif not margin and figure != table[what]:
            said.append(f"{what} is {figure:,g} and was {table[what]:,g}. {_EXACT}: {RENEW}")
        elif figure > table[what] * (1 + margin):
            said.append(f"{_changed(what, figure, table[what], margin)}. Find what has made it worse; {_WORSE}.")
        elif figure < table[what] * (1 - margin):
            said.append(f"{_changed(what, figure, table[what], margin)}. That it stays so, write it down: {RENEW}")
    return said


_EXACT: Final = "More may be more than the quota, less leaves some of it unused; where neither is so"
_WORSE: Final = f"where that has a good reason, say it in the commit that has what this rewrites: {RENEW}"


def _changed(what: str, figure: float, table: float, margin: float) -> str:
    share = abs(figure / table - 1) if table else 1.0
    return (
        f"{what} is {figure:,g}, {share:.1%} {'more' if figure > table else 'less'} than {table:,g} ({margin:.0%} pass)"
    )
