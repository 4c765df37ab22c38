"""The figures of today, written by ``python -m tests.guards --renew``; nobody writes them by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FIGURES: Final[Mapping[str, float]] = {
    "batches of 100: fullest window": 950,
    "batches of 100: requests a server": 0.219,
    "batches of 100: looks a job": 18.71,
    "batches of 100: seconds until an end is seen": 1.529,
    "batches of 100: transactions a server": 0.611,
    "batches of 100: statements a server": 1.507,
    "batches of 100: bytes of store a server": 596,
    "batches of 100: turns of the loop a server": 2.599,
    "large batches: fullest window": 950,
    "large batches: requests a server": 0.047,
    "large batches: looks a job": 19.67,
    "large batches: seconds until an end is seen": 1.531,
    "large batches: transactions a server": 0.447,
    "large batches: statements a server": 0.9605,
    "large batches: bytes of store a server": 466.9,
    "large batches: turns of the loop a server": 0.9155,
    "as by itself: fullest window": 79,
    "as by itself: requests a server": 4.955,
    "as by itself: looks a job": 7.393,
    "as by itself: seconds until an end is seen": 1.523,
    "as by itself: transactions a server": 7.817,
    "as by itself: statements a server": 20.84,
    "as by itself: bytes of store a server": 1423,
    "as by itself: turns of the loop a server": 53.88,
    "one by one: fullest window": 950,
    "one by one: requests a server": 0.2247,
    "one by one: looks a job": 18.94,
    "one by one: seconds until an end is seen": 1.621,
    "one by one: transactions a server": 0.2833,
    "one by one: statements a server": 1.014,
    "one by one: bytes of store a server": 557.1,
    "one by one: turns of the loop a server": 3.016,
}

BY_PYTHON: Final[Mapping[str, Mapping[str, float]]] = {
    "3.11": {
        "calls: calls of ours a server": 273.3,
        "calls: calls of other Python a server": 129.3,
        "calls: calls of C a server": 476.9,
        "calls: callbacks of the loop a server": 3.89,
        "memory: blocks of memory a server at the end": 14.7,
        "memory: bytes of memory a server at the end": 1630,
        "memory: bytes of memory a server at the peak": 3430,
        "imports: modules of ours for restart": 221,
        "imports: modules for restart": 681,
        "imports: modules of ours for plan": 175,
        "imports: modules for plan": 537,
        "imports: modules of ours for status": 114,
        "imports: modules for status": 354,
        "imports: modules of ours for runs": 110,
        "imports: modules for runs": 348,
        "imports: modules of ours for --help": 14,
        "imports: modules for --help": 113,
        "imports: modules of ours for --version": 14,
        "imports: modules for --version": 175,
    },
    "3.11.7": {
        "instructions: instructions for --help, of bare Python": 7.15,
        "instructions: instructions for status, of bare Python": 44.2,
    },
}
