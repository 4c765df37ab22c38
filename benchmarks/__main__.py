"""Run one benchmark: ``python -m benchmarks NAME [ARGUMENT ...]``, of those below."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = (
    *("quota", "cpu", "size", "looks", "pace", "start", "lag", "delays", "watchers", "months", "history"),
    *("display", "html_report", "trace"),
)

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.stderr.write(f"usage: python -m benchmarks {'|'.join(NAMES)}\n")
        raise SystemExit(2)
    name = sys.argv.pop(1)
    raise SystemExit(import_module(f"benchmarks.{name}").main())
