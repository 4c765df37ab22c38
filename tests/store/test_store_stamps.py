"""Stamps and spans, whatever is done to the wall clock."""

from pathlib import Path

import pytest
from store_world import ALICE, HandClock

from ecsbatch.clock import Stamps
from ecsbatch.model.events import BatchAccepted
from ecsbatch.model.run import Transaction
from ecsbatch.model.stopwatch import Stopwatch
from ecsbatch.store import NewRun, open_store


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([(5, 0)], 5, id="undisturbed"),
        pytest.param([(5, 600)], 605, id="set forward"),
        pytest.param([(5, -600), (5, 0)], 10, id="set back"),
        pytest.param([(5, -600), (5, 600)], 10, id="set back and put right"),
        pytest.param([(5, 600), (5, -600), (5, 0)], 615, id="set forward and put right"),
        pytest.param([(0, -0.5), (0, -0.5), (2, 0.25)], 2, id="in small steps"),
    ],
)
def test_two_stamps_are_never_nearer_than_their_instants(steps: list[tuple[float, float]], expected: float) -> None:
    clock = HandClock()
    stamps = Stamps(clock)
    start = stamps.now()
    last = start
    for gone, jump in steps:
        clock.now += gone
        clock.walls += gone + jump
        assert stamps.now() - last >= gone
        last = stamps.now()

    assert last - start == pytest.approx(expected)


async def test_the_journal_is_not_set_back_with_the_wall_clock(tmp_path: Path) -> None:
    clock = HandClock()
    async with open_store(f"sqlite:///{tmp_path / 'x.db'}", clock=clock, inline=True) as store:
        lease = await store.create_run(NewRun("k", events=[BatchAccepted()]), ALICE)
        clock.now += 121.6
        clock.walls += 0.9
        commit = await store.commit(lease, Transaction([BatchAccepted()]))

    assert commit.recorded[0].ts - lease.recorded[0].ts == pytest.approx(121.6, abs=0.002)


def test_a_stopwatch_counts_the_time_in_which_some_process_held_the_run() -> None:
    watch = Stopwatch()
    assert (watch.by_stamp(5.0), watch.by_ledger(5.0)) == (0.0, 0.0)
    watch.taken(1000.0, 50.0, 1000.0)
    assert (watch.by_stamp(1014.0), watch.by_ledger(64.0)) == (14, 14)
    watch.left(1614.0, 14.0)  # the wall clock was set forward by ten minutes meanwhile
    assert watch.by_stamp(9999.0) == 14
    watch.taken(605_800.0, 70.0, 1614.0)  # a week later

    assert (watch.by_stamp(605_805.0), watch.by_ledger(75.0)) == (19, 19)


@pytest.mark.parametrize(("taken", "expected"), [(1100.0, 30), (900.0, 30)])
def test_a_process_that_died_has_held_the_run_up_to_its_last_event(taken: float, expected: float) -> None:
    watch = Stopwatch()
    watch.taken(1000.0, 50.0, 1000.0)
    watch.taken(taken, 3.0, 1020.0)

    assert watch.by_ledger(13.0) == expected


def test_a_stop_of_an_older_version_told_the_time_since_the_begin() -> None:
    watch = Stopwatch()
    watch.taken(1000.0, 0.0, 0.0)
    watch.left(1010.0, 10.0)
    watch.taken(1030.0, 0.0, 1010.0)
    watch.left(1040.0, 40.0)

    assert watch.by_stamp(2000.0) == 20
