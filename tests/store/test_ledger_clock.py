"""A database's clock as a process reckons it between two readings: by two bounds, each for its purpose."""

from __future__ import annotations

import pytest

from ecsbatch.store.ledger_clock import DatabaseClock


class SlowDatabase:
    """Shows its time half-way between question and answer.

    Attributes:
        here: this machine's seconds; the database's are 1,000 ahead.
        slow: seconds from a question to its answer.
    """

    def __init__(self) -> None:
        self.here = 50.0
        self.slow = 0.0

    def read(self) -> float:
        """Return the database's time, which nobody here knows when it is heard."""
        shown = self.here + self.slow / 2 + 1000.0
        self.here += self.slow
        return shown


@pytest.mark.parametrize("slow", [0.0, 0.5, 10.0])
def test_what_the_database_says_now_lies_between_two_bounds_however_slowly_it_has_answered(slow: float) -> None:
    database = SlowDatabase()
    clock = DatabaseClock("database", database.read, lambda: database.here)
    database.slow = slow
    clock.now()
    database.here += 7.0
    now = database.here + 1000.0

    assert (clock.earliest(), clock.estimate()) == (now - slow / 2, now + slow / 2)


def test_a_quick_answer_mends_what_a_slow_one_has_left_open() -> None:
    database = SlowDatabase()
    database.slow = 10.0
    clock = DatabaseClock("database", database.read, lambda: database.here)
    database.slow = 0.0
    shown = clock.now()

    assert shown == clock.earliest() == clock.estimate()
