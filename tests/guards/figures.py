"""The figures of today, written by ``python -m tests.guards --renew``; nobody writes them by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FIGURES: Final[Mapping[str, float]] = {
    "batches of 100: fullest window": 950,
    "batches of 100: requests a server": 0.2205,
    "batches of 100: looks a job": 18.86,
    "batches of 100: seconds until an end is seen": 1.544,
    "batches of 100: transactions a server": 0.6225,
    "batches of 100: statements a server": 1.536,
    "batches of 100: bytes of store a server": 276.5,
    "batches of 100: turns of the loop a server": 2.647,
    "large batches: fullest window": 950,
    "large batches: requests a server": 0.062,
    "large batches: looks a job": 17.4,
    "large batches: seconds until an end is seen": 1.564,
    "large batches: transactions a server": 0.475,
    "large batches: statements a server": 1.041,
    "large batches: bytes of store a server": 223.2,
    "large batches: turns of the loop a server": 1.098,
    "as by itself: fullest window": 79,
    "as by itself: requests a server": 4.968,
    "as by itself: looks a job": 7.553,
    "as by itself: seconds until an end is seen": 1.443,
    "as by itself: transactions a server": 7.888,
    "as by itself: statements a server": 20.41,
    "as by itself: bytes of store a server": 1352,
    "as by itself: turns of the loop a server": 53.83,
    "one by one: fullest window": 950,
    "one by one: requests a server": 0.2233,
    "one by one: looks a job": 18.81,
    "one by one: seconds until an end is seen": 1.625,
    "one by one: transactions a server": 0.2907,
    "one by one: statements a server": 1.032,
    "one by one: bytes of store a server": 226.6,
    "one by one: turns of the loop a server": 3.025,
}

BY_PYTHON: Final[Mapping[str, Mapping[str, float]]] = {
    "3.11": {
        "calls: calls of ours a server": 199.6,
        "calls: calls of other Python a server": 116.4,
        "calls: calls of C a server": 435.4,
        "calls: callbacks of the loop a server": 3.895,
        "memory: blocks of memory a server at the end": 13.2,
        "memory: bytes of memory a server at the end": 1580,
        "memory: bytes of memory a server at the peak": 3430,
        "imports: modules of ours for restart": 233,
        "imports: modules for restart": 592,
        "imports: modules of ours for plan": 186,
        "imports: modules for plan": 539,
        "imports: modules of ours for status": 124,
        "imports: modules for status": 341,
        "imports: modules of ours for runs": 119,
        "imports: modules for runs": 336,
        "imports: modules of ours for --help": 15,
        "imports: modules for --help": 113,
        "imports: modules of ours for --version": 15,
        "imports: modules for --version": 175,
    },
    "3.11.7": {
        "instructions: instructions for --help, of bare Python": 6.33,
        "instructions: instructions for status, of bare Python": 25.2,
    },
}
