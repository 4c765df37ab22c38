"""``python -m ecsbatch`` and the ``ecsbatch`` script."""

from __future__ import annotations

import sys

from ecsbatch.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
