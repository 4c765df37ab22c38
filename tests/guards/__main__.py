"""Measure what is guarded: ``python -m tests.guards [GROUP...]``; ``--renew`` writes it into the table."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from .figures import BY_PYTHON, FIGURES
from .guard import GROUPS, cannot_measure, measured, today

TABLE = Path(__file__).with_name("figures.py")


def main() -> int:
    """Run the command: a line for each figure, old and new where they differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.guards", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"all where left out: {', '.join(GROUPS)}")
    parser.add_argument("--renew", action="store_true", help="write what is measured into tests/guards/figures.py")
    options = parser.parse_args()
    if unknown := sorted(set(options.groups) - set(GROUPS)):
        parser.error(f"no group {', '.join(map(repr, unknown))}: there are {', '.join(map(repr, GROUPS))}")
    figures, by_python = dict(FIGURES), {version: dict(table) for version, table in BY_PYTHON.items()}
    for name in options.groups or GROUPS:
        if why := cannot_measure(name):
            print(f"{name}: {why}; its figures stay as they are")  # noqa: T201 - a program's output
            continue
        found, before = measured(name), today(name)
        for line in _lines(found, before):
            print(line, flush=True)  # noqa: T201 - the same
        python = GROUPS[name].python
        table = by_python.setdefault(python, {}) if python else figures
        for what in before:
            del table[what]
        table |= found
    if options.renew:
        TABLE.write_text(_written(figures, by_python), encoding="utf-8")
    return 0


def _lines(found: Mapping[str, float], before: Mapping[str, float]) -> Iterator[str]:
    for what, figure in found.items():
        was = before.get(what)
        old = "" if was == figure else "new -> " if was is None else f"{was:,g} -> "
        share = f"  ({figure / was - 1:+.1%})" if was and old else ""
        yield f"{what:60} {old}{figure:,g}{share}"
    for what in before:
        if what not in found:
            yield f"{what:60} {before[what]:,g} -> gone"


def _written(figures: Mapping[str, float], by_python: Mapping[str, Mapping[str, float]]) -> str:
    """Return the table as a module, in the form that the formatter gives it."""
    head, _, _ = TABLE.read_text(encoding="utf-8").partition("FIGURES: ")
    lines = ["FIGURES: Final[Mapping[str, float]] = {", *_rows(figures, 4), "}", ""]
    lines += ["BY_PYTHON: Final[Mapping[str, Mapping[str, float]]] = {"]
    for version in sorted(by_python, key=lambda each: [int(part) for part in each.split(".")]):
        lines += [f'    "{version}": {{', *_rows(by_python[version], 8), "    },"]
    return head + "\n".join([*lines, "}", ""])


def _rows(table: Mapping[str, float], indent: int) -> Iterator[str]:
    """Yield rows in the order of the groups, whichever was measured last."""
    places = {name: place for place, name in enumerate(GROUPS)}
    for what in sorted(table, key=lambda each: places.get(each.partition(": ")[0], len(places))):
        yield (
            f'{" " * indent}"{what}": {table[what]:g},'
            if table[what] < 1e5
            else f'{" " * indent}"{what}": {table[what]},'
        )


if __name__ == "__main__":
    raise SystemExit(main())
