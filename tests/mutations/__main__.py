"""Try the mutants: ``python -m tests.mutations [NAME...]``; ``--search 0-300`` looks for seeds that show them.

``--decisions`` tries the forty that the four tables of decisions are to catch.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future

from .decisions import DECISIONS
from .mutant import Mutant
from .playing import Found, processes, try_scenes, try_seeds, try_tests
from .table import MUTANTS

SHOWN = 3
"""Seeds that a search is content with."""


def main() -> int:
    """Run the command: a line for each mutant; 1 where one survives what is said to catch it."""
    known = {mutant.name: mutant for mutant in MUTANTS}
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a mutant's name; all where left out")
    parser.add_argument("--decisions", action="store_true", help="only those that the tables of decisions are to catch")
    parser.add_argument("--search", metavar="FIRST-END", help="look for seeds, the end exclusive; tests are not run")
    parser.add_argument(
        "--dimensions", default="new", help="of the worlds that are searched, as `tests.simulated` has it"
    )
    parser.add_argument("--jobs", type=int, default=2, help="mutants at once")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what each test and seed says")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"no mutant {', '.join(map(repr, unknown))}: there are {', '.join(map(repr, known))}")
    every = [mutant.name for mutant in DECISIONS] if options.decisions else known
    chosen = [known[name] for name in options.names or every]
    survived = 0
    with processes(options.jobs) as pool:
        for mutant, found in tried(pool, chosen, options.search, options.dimensions):
            survived += not caught(found)
            print(line(mutant, found, verbose=options.verbose), flush=True)  # noqa: T201 - a program's output
    return 1 if survived else 0


def tried(
    pool: Executor, chosen: Sequence[Mutant], search: str | None, dimensions: str
) -> Iterator[tuple[Mutant, list[list[Found]]]]:
    """Try mutants; yield each with what its tests and its seeds say, those of a search in place of both."""
    trying: list[tuple[Mutant, list[Future[list[Found]]]]] = []
    for mutant in chosen:
        if search:
            first, _, end = search.partition("-")
            seeds = range(int(first), int(end))
            if mutant.scenes:
                trying.append((mutant, [pool.submit(try_scenes, mutant, seeds, SHOWN)]))
            else:
                trying.append((mutant, [pool.submit(try_seeds, mutant, seeds, SHOWN, dimensions)]))
        else:
            kinds = [pool.submit(try_tests, mutant)] if mutant.tests else []
            kinds += [pool.submit(try_seeds, mutant, mutant.seeds)] if mutant.seeds else []
            kinds += [pool.submit(try_scenes, mutant, mutant.scenes)] if mutant.scenes else []
            trying.append((mutant, kinds))
    for mutant, kinds in trying:
        yield mutant, [kind.result() for kind in kinds]


def caught(found: Sequence[Sequence[Found]]) -> bool:
    """Tell whether a mutant is caught by a test and by a seed, where it names both."""
    return bool(found) and all(any(said for _, said in kind) for kind in found)


def line(mutant: Mutant, found: Sequence[Sequence[Found]], *, verbose: bool) -> str:
    """Say what catches a mutant."""
    by = [name for kind in found for name, said in kind if said]
    missed = [name for kind in found if not any(said for _, said in kind) for name, _ in kind[:SHOWN]]
    verdict = "caught  " if caught(found) else "SURVIVED"
    says = f"{verdict} {mutant.name}: {', '.join(by) or 'by nothing'}"
    says += f"; not by {', '.join(missed)}" if missed else ""
    if verbose:
        says += "".join(f"\n         {name}: {said.splitlines()[0]}" for kind in found for name, said in kind if said)
    return says


if __name__ == "__main__":
    raise SystemExit(main())
