"""The figures of today, written by ``python -m tests.guards --renew``; nobody writes them by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FIGURES: Final[Mapping[str, float]] = {
    "batches of 100: fullest window": 1000,
    "batches of 100: requests a server": 0.207,
    "batches of 100: looks a job": 18.6,
    "batches of 100: seconds until an end is seen": 1.623,
    "batches of 100: transactions a server": 0.5155,
    "batches of 100: statements a server": 1.304,
    "batches of 100: bytes of store a server": 587.8,
    "batches of 100: turns of the loop a server": 2.393,
    "batches of 1,000: fullest window": 1000,
    "batches of 1,000: requests a server": 0.0365,
    "batches of 1,000: looks a job": 20.5,
    "batches of 1,000: seconds until an end is seen": 1.6,
    "batches of 1,000: transactions a server": 0.33,
    "batches of 1,000: statements a server": 0.7125,
    "batches of 1,000: bytes of store a server": 456.7,
    "batches of 1,000: turns of the loop a server": 0.686,
    "as by itself: fullest window": 79,
    "as by itself: requests a server": 4.955,
    "as by itself: looks a job": 7.393,
    "as by itself: seconds until an end is seen": 1.523,
    "as by itself: transactions a server": 7.817,
    "as by itself: statements a server": 20.84,
    "as by itself: bytes of store a server": 1423,
    "as by itself: turns of the loop a server": 53.88,
    "one by one: fullest window": 500,
    "one by one: requests a server": 0.224,
    "one by one: looks a job": 20.4,
    "one by one: seconds until an end is seen": 1.703,
    "one by one: transactions a server": 0.2,
    "one by one: statements a server": 0.864,
    "one by one: bytes of store a server": 712.7,
    "one by one: turns of the loop a server": 3.5,
}

BY_PYTHON: Final[Mapping[str, Mapping[str, float]]] = {
    "3.11": {
        "calls: calls of ours a server": 254.3,
        "calls: calls of other Python a server": 115.6,
        "calls: calls of C a server": 450.9,
        "calls: callbacks of the loop a server": 3.371,
        "memory: bytes of memory a server at the peak": 3430,
        "memory: blocks of memory a server at the end": 14.7,
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
        "instructions: instructions for --help, of bare Python": 7.15,
        "instructions: instructions for status, of bare Python": 44.2,
    },
}
