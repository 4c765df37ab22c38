"""``python -m ecsbatch`` and the ``ecsbatch`` script."""

from __future__ import annotations

import sys

# From a clone nothing else refuses an old Python, which would end in the middle of an import.
if sys.version_info < (3, 11):  # noqa: UP036 - whoever reads this line with an older one is to be told
    sys.exit(
        "ecsbatch needs Python 3.11 or newer, and this is {}.{}: ".format(*sys.version_info)
        + "make its environment with a newer one, such as python3.11 -m venv .venv"
    )

from ecsbatch.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
