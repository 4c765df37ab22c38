from copy import deepcopy
from heapq import heappop, heappush
from math import exp, inf, isclose
from random import Random
from statistics import NormalDist, mean, median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecsbatch.engine.poll_schedule import PollSchedule, Watched

TOLERANCE = 1e-9

ages = st.floats(0.0, 2000.0)
sizes = st.integers(1, 1000)
times = st.floats(0.0, 2000.0)


def lognormal(count: int, middle: float = 40.0, sigma: float = 0.25) -> list[float]:
    """Draw restart times that represent their distribution, in random order."""
    drawn = [middle * exp(sigma * NormalDist().inv_cdf((i + 0.5) / count)) for i in range(count)]
    Random(0).shuffle(drawn)
    return drawn


def taught(ends: list[float], **options: Any) -> PollSchedule:
    """Return a schedule that has seen these endings, a batch at a time."""
    schedule = PollSchedule(**options)
    for i in range(0, len(ends), 50):
        for end in ends[i : i + 50]:
            schedule.observe(end, end)
        schedule.rescale([])
    return schedule


def looks(schedule: PollSchedule, ends: list[float], *, holds_up: bool = False) -> list[float]:
    """Return the ages of the looks at one job until all of its servers were seen to end."""
    found: list[float] = [0.0]
    while running := sum(end > found[-1] for end in ends):
        found.append(schedule.next_look(found[-1], running, len(ends), holds_up=holds_up))
    return found[1:]


def delays(schedule: PollSchedule, jobs: list[list[float]], *, holds_up: bool = False) -> list[float]:
    """Return the seconds from each ending to the look that sees it, the shortest first."""
    watched = [(end, found) for ends in jobs for found in [looks(schedule, ends, holds_up=holds_up)] for end in ends]
    return sorted(min(look for look in found if look >= end) - end for end, found in watched)


def mean_delay(schedule: PollSchedule, jobs: list[list[float]]) -> float:
    """Return the mean seconds from an ending to the look that sees it."""
    return mean(delays(schedule, jobs))


def batches(count: int, size: int, **like: float) -> list[list[float]]:
    """Draw the restart times of batches."""
    ends = lognormal(count, **like)
    return [ends[i : i + size] for i in range(0, count, size)]


@st.composite
def schedules(draw: st.DrawFn) -> PollSchedule:
    """Draw schedules with any past, sensible or not."""
    schedule = PollSchedule(typical_restart=draw(st.sampled_from([3.3, 40.0, 200.0])))
    for low, width, count in draw(
        st.lists(st.tuples(times, st.sampled_from([0.0, 1.0, 50.0, inf]), sizes), max_size=8)
    ):
        schedule.observe(low, low + width, count)
        schedule.rescale([Watched(low, count, count)] if draw(st.booleans()) else [])
    return schedule


@given(schedules(), ages, sizes, sizes)
def test_a_look_lies_ahead_and_gaps_are_bounded(schedule: PollSchedule, age: float, running: int, more: int) -> None:
    schedule.rescale([])
    typical = schedule.rescale_every * 20

    gap = schedule.next_look(age, running, running + more) - age

    assert typical * 0.5 / 40 - TOLERANCE * (1 + age) <= gap <= typical * 60 / 40 + TOLERANCE * (1 + age)


@given(schedules(), ages, sizes, sizes)
def test_more_servers_running_are_not_looked_at_later(
    schedule: PollSchedule, age: float, running: int, more: int
) -> None:
    size = running + more

    assert schedule.next_look(age, size, size) <= schedule.next_look(age, running, size) + TOLERANCE * (1 + age)


@given(schedules(), ages, sizes, sizes)
def test_a_batch_that_holds_up_a_wave_keeps_the_bounds_of_gaps(
    schedule: PollSchedule, age: float, running: int, more: int
) -> None:
    schedule.rescale([])
    typical = schedule.rescale_every * 20

    gap = schedule.next_look(age, running, running + more, holds_up=True) - age

    assert typical * 0.5 / 40 - TOLERANCE * (1 + age) <= gap <= typical * 60 / 40 + TOLERANCE * (1 + age)


@given(schedules(), ages, sizes, sizes)
def test_where_looks_are_scarce_none_is_for_the_batch_that_holds_up_a_wave(
    schedule: PollSchedule, age: float, running: int, more: int
) -> None:
    schedule.budget(0.01)
    schedule.rescale([Watched(40.0, 100, 100)] * 50)
    size = running + more

    held = schedule.next_look(age, running, size, holds_up=True)

    assert held == schedule.next_look(age, running, size)


@given(schedules(), ages, sizes, st.floats(0.1, 100.0), st.floats(1.0, 100.0))
def test_more_budget_never_means_a_later_look(
    schedule: PollSchedule, age: float, running: int, budget: float, factor: float
) -> None:
    other = deepcopy(schedule)
    for each, looks_per_second in ((schedule, budget), (other, budget * factor)):
        each.budget(looks_per_second)
        each.rescale([Watched(age, running, running)] * 50)

    assert other.next_look(age, running, running) <= schedule.next_look(age, running, running) + TOLERANCE * (1 + age)


@given(st.lists(times, max_size=60), st.integers(0, 99))
@settings(max_examples=30)
def test_the_same_past_gives_the_same_looks(ends: list[float], seed: int) -> None:
    """Chance enters only through the generator that is passed in."""
    found: list[list[float]] = []
    for _ in range(2):
        schedule = PollSchedule(jitter=Random(seed))
        for end in ends:
            schedule.observe(end, end)
        schedule.rescale([])
        found.append([schedule.next_look(age, 7, 10) for age in (0.0, 20.0, 50.0)])

    assert found[0] == found[1]


def test_jitter_spreads_a_gap_by_up_to_a_tenth() -> None:
    plain = PollSchedule().next_look(0, 100, 100)
    drawn = [PollSchedule(jitter=Random(seed)).next_look(0, 100, 100) / plain for seed in range(50)]

    assert 0.9 <= min(drawn) < 0.95
    assert 1.05 < max(drawn) <= 1.1


def test_looks_concentrate_where_servers_were_seen_to_end() -> None:
    schedule = taught(lognormal(300, middle=30.0, sigma=0.05))

    found = looks(schedule, [30.5])

    assert 26 < found[0] < 31
    assert len(found) <= 2


@pytest.mark.parametrize("typical", [20.0, 40.0, 80.0])
def test_a_wrong_first_guess_is_forgotten(typical: float) -> None:
    """After 400 endings schedules that began with different guesses agree."""
    right, other = (taught(lognormal(400), typical_restart=t, target_delay=1.5) for t in (40.0, typical))

    for age, running in [(0.0, 100), (30.0, 90), (45.0, 20)]:
        assert right.next_look(age, running, 100) == pytest.approx(other.next_look(age, running, 100), rel=0.15)


def test_still_running_servers_are_censored_so_that_early_learning_is_not_short() -> None:
    """Of 100 servers the five fastest have ended: the others are no evidence for fast restarts."""
    naive, censoring = PollSchedule(), PollSchedule()
    for schedule in (naive, censoring):
        schedule.observe(25.0, 25.0, 5)
    naive.rescale([])
    censoring.rescale([Watched(26.0, 95, 100)])

    unseen = PollSchedule()
    assert naive.next_look(0, 100, 100) < censoring.next_look(0, 100, 100)
    assert censoring.next_look(26.0, 95, 100) > naive.next_look(26.0, 95, 100)
    assert censoring.next_look(26.0, 95, 100) == pytest.approx(unseen.next_look(26.0, 95, 100), rel=0.1)


def test_an_interval_teaches_what_its_middle_would_where_it_is_narrow() -> None:
    exact, between = PollSchedule(), PollSchedule()
    for end in lognormal(400):
        exact.observe(end, end)
        between.observe(end - 1.0, end + 1.0)
    for schedule in (exact, between):
        schedule.rescale([])

    assert between.next_look(0, 100, 100) == pytest.approx(exact.next_look(0, 100, 100), rel=0.05)
    assert between.next_look(40, 50, 100) == pytest.approx(exact.next_look(40, 50, 100), rel=0.05)


def test_servers_lost_sight_of_do_not_count_as_endings() -> None:
    schedule = taught(lognormal(200))
    before = schedule.next_look(10.0, 10, 10)

    schedule.observe(10.0, inf, 200)
    schedule.rescale([])

    assert schedule.next_look(10.0, 10, 10) == pytest.approx(before, rel=0.05)


def test_a_stuck_server_is_looked_at_ever_less_often() -> None:
    schedule = taught(lognormal(1000))
    age, gaps = 100.0, [0.0]
    while age < 3000.0:
        later = schedule.next_look(age, 1, 100)
        gaps.append(later - age)
        age = later

    assert gaps[-1] == pytest.approx(60.0)
    assert len(gaps) < 70


@pytest.mark.parametrize("end", [0.3, 0.0, -0.2])
def test_an_instant_failure_of_a_whole_batch_is_soon_seen_once_it_happened_before(end: float) -> None:
    """An age below zero comes from the cloud's clock and counts as zero."""
    schedule = taught([*lognormal(100), *[end] * 100])

    assert schedule.next_look(0, 100, 100) < 2


@pytest.mark.parametrize("size", [1, 10, 100])
@pytest.mark.parametrize("aim", [1.0, 2.0])
def test_the_mean_detection_delay_is_the_one_aimed_at(size: int, aim: float) -> None:
    schedule = taught(lognormal(1000), target_delay=aim)
    ends = lognormal(2000)
    jobs = [ends[i : i + size] for i in range(0, len(ends), size)]

    assert mean_delay(schedule, jobs) == pytest.approx(aim, rel=0.15)


def test_a_cloud_twelve_times_as_fast_is_watched_twelve_times_as_closely() -> None:
    slow, fast = (taught(lognormal(100, middle=t), typical_restart=t) for t in (40.0, 40.0 / 12))

    assert fast.next_look(0, 100, 100) * 12 == pytest.approx(slow.next_look(0, 100, 100))


@pytest.mark.parametrize(("budget", "above"), [(3.0, 1.25), (5.0, 1.1), (8.0, 1.1)])
def test_the_whole_fleet_stays_within_the_look_budget(budget: float, above: float) -> None:
    """Two single servers a second would cost 13 looks a second at the default aim, and cannot cost less than two.

    Close to that floor looks cannot be spread at will: the poller's limiter delays the few that are too many.
    """
    schedule = taught(lognormal(1000), looks_per_second=budget)
    ends = lognormal(600)
    heap = [(number / 2, number) for number in range(len(ends))]
    looked: list[float] = []
    begun: set[int] = set()
    while heap:
        now, number = heappop(heap)
        age = now - number / 2
        if number in begun:
            looked.append(now)
        begun.add(number)
        if age >= ends[number]:
            begun.remove(number)
            continue
        schedule.rescale([Watched(now - job / 2, 1, 1) for job in begun])
        heappush(heap, (number / 2 + schedule.next_look(age, 1, 1), number))
    rate = sum(100 <= now < 300 for now in looked) / 200

    assert 0.7 * budget < rate <= above * budget


def test_a_small_run_makes_no_use_of_a_large_budget() -> None:
    modest, lavish = (taught(lognormal(500), looks_per_second=budget) for budget in (10.0, 1e6))
    for schedule in (modest, lavish):
        schedule.rescale([Watched(30.0, 1, 1)])

    assert modest.next_look(30.0, 1, 1) == lavish.next_look(30.0, 1, 1)


def test_a_throttled_schedule_doubles_the_price_once_and_recovers() -> None:
    schedule = taught(lognormal(1000))
    calm = schedule.next_look(40.0, 10, 10)
    schedule.throttled()
    eased = schedule.next_look(40.0, 10, 10)
    schedule.throttled()
    again = schedule.next_look(40.0, 10, 10)
    for _ in range(20):
        schedule.rescale([])

    assert (eased - 40) / (calm - 40) == pytest.approx(2**0.5, rel=0.1)
    assert again == eased
    assert schedule.next_look(40.0, 10, 10) == calm


def test_the_next_refusal_after_a_rescale_counts_again() -> None:
    schedule = taught(lognormal(1000))
    schedule.throttled()
    eased = schedule.next_look(40.0, 10, 10)
    schedule.rescale([])
    schedule.throttled()

    assert schedule.next_look(40.0, 10, 10) > eased


def test_one_large_batch_does_not_erase_all_else() -> None:
    schedule = taught(lognormal(1000, middle=30.0, sigma=0.1))
    schedule.observe(90.0, 90.0, 1000)
    schedule.rescale([])

    assert schedule.next_look(0, 100, 100) < 35
    assert 75 < schedule.next_look(60, 50, 100) < 95


def test_a_site_that_became_slower_is_learned_anew() -> None:
    schedule = taught(lognormal(10_000, middle=30.0, sigma=0.1))
    fresh = taught(lognormal(1000, middle=60.0, sigma=0.1))
    for end in lognormal(5000, middle=60.0, sigma=0.1):
        schedule.observe(end, end)
        schedule.rescale([])

    assert schedule.next_look(0, 100, 100) == pytest.approx(fresh.next_look(0, 100, 100), rel=0.15)


def test_a_wide_interval_says_little_and_moves_little() -> None:
    schedule = taught(lognormal(500))
    before = schedule.next_look(0, 100, 100)
    schedule.observe(0.0, 90.0, 500)
    schedule.rescale([])

    assert schedule.next_look(0, 100, 100) == pytest.approx(before, rel=0.05)


def test_many_stuck_jobs_together_stay_within_the_budget_too() -> None:
    schedule = PollSchedule(looks_per_second=10.0)
    schedule.rescale([Watched(1500.0, 1, 100)] * 5000)

    assert 5000 / (schedule.next_look(1500.0, 1, 100) - 1500.0) <= 10.0


def test_fewer_looks_than_a_fixed_interval_of_the_same_delay() -> None:
    """The promise, in small; `benchmarks/looks.py` measures it."""
    ends = lognormal(2000)
    jobs = [ends[i : i + 100] for i in range(0, len(ends), 100)]
    schedule = taught(lognormal(1000), target_delay=1.5)
    fixed_interval = 2 * mean_delay(schedule, jobs)

    ours = mean(len(looks(schedule, job)) for job in jobs)

    assert ours < 0.75 * mean(max(job) / fixed_interval for job in jobs)


def test_the_last_server_of_a_batch_is_not_left_waiting() -> None:
    """A look costs less where everything may have ended, since it may be the last: the final ones come closer."""
    ends = lognormal(6000)
    jobs = [ends[i : i + 100] for i in range(0, len(ends), 100)]
    schedule = taught(lognormal(1000), target_delay=1.5)

    assert mean(looks(schedule, job)[-1] - max(job) for job in jobs) < 5.0


@pytest.mark.parametrize(("size", "sigma"), [(1, 0.25), (10, 0.25), (100, 0.25), (1000, 0.25), (10, 0.5)])
def test_one_ending_in_a_hundred_is_seen_later_than_about_four_mean_delays(size: int, sigma: float) -> None:
    schedule = taught(lognormal(1000, sigma=sigma), target_delay=1.5)

    found = delays(schedule, batches(max(2000, 10 * size), size, sigma=sigma))

    assert found[int(0.99 * len(found))] <= 4.1 * mean(found)


@pytest.mark.parametrize(("size", "last"), [(1000, 4.0), (100, 3.3)])
def test_the_last_server_of_a_batch_that_holds_up_a_wave_is_soon_seen_for_hardly_any_look_more(
    size: int, last: float
) -> None:
    schedule = taught(lognormal(1000), target_delay=1.5)
    jobs = batches(20 * size, size)

    held, other = ([looks(schedule, job, holds_up=holds_up) for job in jobs] for holds_up in (True, False))

    behind = [median(found[-1] - max(job) for found, job in zip(each, jobs, strict=True)) for each in (held, other)]
    assert behind[0] <= min(last, 0.8 * behind[1])
    assert sum(map(len, held)) <= 1.02 * sum(map(len, other))
    assert mean(delays(schedule, jobs, holds_up=True)) <= 1.02 * mean_delay(schedule, jobs)


def test_a_single_server_that_holds_up_a_wave_is_looked_at_as_any_other() -> None:
    schedule = taught(lognormal(1000))

    for age in (0.0, 30.0, 50.0):
        assert schedule.next_look(age, 1, 1, holds_up=True) == pytest.approx(schedule.next_look(age, 1, 1), rel=0.01)


def test_a_long_gap_is_spread_by_no_more_than_half_a_second() -> None:
    """It is where a first look is best, and a tenth of it would be seconds."""
    plain, schedule = taught(lognormal(1000)), taught(lognormal(1000), jitter=Random(1))

    drawn = [schedule.next_look(0, 100, 100) - plain.next_look(0, 100, 100) for _ in range(50)]

    assert 0.4 < max(map(abs, drawn)) <= 0.5


@pytest.mark.parametrize("option", ["typical_restart", "looks_per_second", "target_delay"])
def test_a_setting_of_zero_is_refused(option: str) -> None:
    options: dict[str, Any] = {option: 0.0}

    with pytest.raises(ValueError, match=option):
        PollSchedule(**options)


def test_the_repr_says_what_was_learned() -> None:
    shown = repr(taught(lognormal(1000)))

    assert "1000 endings" in shown
    assert isclose(float(shown.split()[-2]), median(lognormal(1000)), rel_tol=0.05)


def test_a_first_look_is_chosen_anew_once_looks_have_become_scarce() -> None:
    schedule = PollSchedule()
    before = schedule.next_look(0.0, 1, 1)
    schedule.throttled()
    throttled = schedule.next_look(0.0, 1, 1)
    schedule.rescale([Watched(40.0, 100, 100, 50)])
    crowded = schedule.next_look(0.0, 1, 1)
    schedule.budget(0.1)
    scarce = schedule.next_look(0.0, 1, 1)

    assert before < throttled < crowded < scarce
