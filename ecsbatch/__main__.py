"""``python -m ecsbatch`` and the ``ecsbatch`` script."""

from __future__ import annotations

import gc
import sys

# From a clone nothing else refuses an old Python, which would end in the middle of an import.
if sys.version_info < (3, 11):  # noqa: UP036 - whoever reads this line with an older one is to be told
    sys.exit(
        "ecsbatch needs Python 3.11 or newer, and this is {}.{}: ".format(*sys.version_info)
        + "make its environment with a newer one, such as python3.11 -m venv .venv"
    )

from ecsbatch.cli import app

__all__ = ["main"]


def main() -> int:
    """Run one command in a process of its own, and return its exit code.

    Nearly all that the start has made lives as long as the process does. So the collector does not search it when it
    first runs, for 20 ms; nor does the interpreter at its end, which took a fourteenth of ``ecsbatch status``.
    """
    gc.callbacks.append(_spare_the_start)
    try:
        return app.main()
    finally:
        gc.freeze()


def _spare_the_start(_phase: str, _info: object) -> None:
    gc.callbacks.remove(_spare_the_start)
    gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
