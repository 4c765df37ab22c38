"""Play hostile scenarios: ``python -m tests.hostile [NAME...]``, on another checkout with ``--python ITS_PYTHON``."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .scenarios import ACROSS, SCENARIOS, play
from .stage import Product
from .test_hostile import PLAYED


def main() -> int:
    """Run the command: one line for each scenario; 1 where a promise is broken."""
    given = Product.from_environment()
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)}; all where left out")
    parser.add_argument("--python", default=given.python, help="the interpreter of the checkout that is tried")
    parser.add_argument("--path", default=given.path, help="the checkout, where its interpreter does not have it")
    parser.add_argument("--old", default=given.old, help="the interpreter of an older checkout, to go on with its runs")
    parser.add_argument("--rest", action="store_true", help="leave out those that the tests play")
    parser.add_argument("--jobs", type=int, default=1, help="scenarios at once")
    options = parser.parse_args()
    known = SCENARIOS | ACROSS if options.old else SCENARIOS
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"no scenario {', '.join(unknown)}")
    chosen = options.names or [name for name in known if not (options.rest and name in PLAYED)]
    # Commands are typed in other folders: a path with a folder in it must not depend on ours.
    python, path, old = (
        str(Path(p).absolute()) if os.sep in p else p for p in (options.python, options.path, options.old)
    )
    product = Product(python, path, old)
    broken = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for verdict in pool.map(lambda name: play(name, product), chosen):
            print(verdict.line(), flush=True)  # noqa: T201 - a program's output
            broken += not verdict.holds
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
