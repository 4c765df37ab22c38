"""Run benchmarks: ``python -m benchmarks [NAME] [--quick] [--repeats N] [--keep] [ARGUMENT ...]``.

Without a name all of the page run, each with its peers, and `results/README.md` is written anew with their tables and
pictures; ``--quick`` runs all of them in less than two minutes, once and with less work, and writes nothing. With a
name one runs and is printed; ``--keep`` puts one of the page into it, in the place of what stood there.
``python -m benchmarks page`` writes the page once more, of what is kept.
"""

from __future__ import annotations

import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

from benchmarks.common import Options, Result, say, show
from benchmarks.page import ABOUT, FOLDER, Kept, Measured, load, save
from benchmarks.versions import machine, versions

OTHERS = ("delays", "watchers", "months", "history", "html_report", "trace")
"""Those that are not on the page; each has arguments of its own."""


def measure(name: str, options: Options, there: dict[str, str]) -> Measured:
    """Run one benchmark."""
    begun = time.monotonic()
    result: Result = import_module(f"benchmarks.{name}").run(options)
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    return Measured(
        result, f"python -m benchmarks {name}{options.text()}", at, round(time.monotonic() - begun, 1), there, machine()
    )


def run_all(options: Options, folder: Path) -> int:
    """Run all of the page, print them, and write it; 1 where a promise is broken or a benchmark did not get through."""
    told, kept, code = versions(), Kept(), 0
    for name in ABOUT:
        try:
            kept[name] = measure(name, options, told)
        except Exception:  # noqa: BLE001 - the others are worth having
            say(f"{name} did not get through\n{traceback.format_exc()}")
            code = 1
        else:
            code |= show(kept[name].result)
            if not options.quick:
                save(folder, {**load(folder), **kept})
    print_conditions(told)
    return code


def run_one(name: str, options: Options, folder: Path, *, keep: bool) -> int:
    """Run one benchmark of the page and print it; 1 where a promise is broken."""
    told = versions()
    measured = measure(name, options, told)
    if keep:
        save(folder, {**load(folder), name: measured})
    code = show(measured.result)
    print_conditions(told)
    return code


def print_conditions(told: dict[str, str]) -> None:
    """Print on what was measured."""
    print(f"\n{', '.join(f'{name} {version}' for name, version in told.items())}\n{machine()}")


def main() -> int:
    """Run what was asked for."""
    words = sys.argv[1:]
    name = words.pop(0) if words and not words[0].startswith("-") else ""
    if name in OTHERS:
        del sys.argv[1]
        code: int = import_module(f"benchmarks.{name}").main()
        return code
    keep = "--keep" in words
    options = Options.typed([word for word in words if word != "--keep"])
    if name == "page":
        save(FOLDER, load(FOLDER))
        return 0
    if name in ABOUT:
        return run_one(name, options, FOLDER, keep=keep)
    if not name and not options.words:
        return run_all(options, FOLDER)
    sys.stderr.write(f"{__doc__}\nNAME: {' '.join((*ABOUT, *OTHERS))}\n")
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
