"""Mutants of when to look: what is seen late, what costs too many looks, and whom a wave waits for."""

from __future__ import annotations

from typing import Final

from .mutant import Mutant

SCHEDULE: Final = "tests/engine/test_poll_schedule.py::"
HOLDS_UP: Final = "tests/engine/test_holds_up.py::"
WHO: Final = f"{HOLDS_UP}test_a_batch_holds_up_a_wave_where_nothing_else_can_be_sent_and_none_has_more_under_way"
LAST: Final = f"{SCHEDULE}test_the_last_server_of_a_batch_that_holds_up_a_wave_is_soon_seen_for_hardly_any_look_more"
BUDGET: Final = f"{SCHEDULE}test_the_whole_fleet_stays_within_the_look_budget"

LOOKS: Final = (
    Mutant(
        name="no batch holds up a wave",
        promise="The last server of a wave is soon seen.",
        file="engine/poller.py",
        old="len(watch.pending), watch.size, holds_up=last)",
        new="len(watch.pending), watch.size, holds_up=False and last)",
        tests=(f"{HOLDS_UP}test_the_last_server_of_each_wave_is_soon_seen",),
    ),
    Mutant(
        name="a batch holds up a wave that has servers to send",
        promise="More looks are for a batch alone without which nothing can be sent.",
        file="engine/watched_jobs.py",
        old="if queue.more or queue.queued or queue.in_air:",
        new="if queue.more:",
        tests=(WHO,),
    ),
    Mutant(
        name="the batch with the fewest servers under way holds up a wave",
        promise="Of several batches that one holds up a wave which has the most under way.",
        file="engine/watched_jobs.py",
        old="return max(self._pending[queue]) <= len(watch.pending)",
        new="return min(self._pending[queue]) >= len(watch.pending)",
        tests=(WHO,),
    ),
    Mutant(
        name="another rollout holds up a wave",
        promise="A wave waits for servers of its own.",
        file="engine/watched_jobs.py",
        old="return max(self._pending[queue]) <= len(watch.pending)",
        new="return max(n for pending in self._pending.values() for n in pending) <= len(watch.pending)",
        tests=(WHO,),
    ),
    Mutant(
        name="the last ending counts for one",
        promise="Where a wave waits for a batch its last ending counts for more than one server.",
        file="engine/poll_schedule.py",
        old="HELD_UP * size if holds_up else 0.0",
        new="0.0 * size if holds_up else 0.0",
        tests=(LAST,),
    ),
    Mutant(
        name="every ending counts as the last",
        promise="A batch that holds up a wave costs hardly any look more.",
        file="engine/poll_schedule.py",
        old="over = unseen ** (running - 1)",
        new="over = 1.0",
        tests=(LAST,),
    ),
    Mutant(
        name="a canary counts for ten servers",
        promise="Waves of one server cost no more looks than one wave of them all.",
        file="engine/poll_schedule.py",
        old="HELD_UP * size if holds_up",
        new="HELD_UP * 1000 if holds_up",
        tests=(f"{SCHEDULE}test_a_single_server_that_holds_up_a_wave_is_looked_at_as_any_other",),
    ),
    Mutant(
        name="a wave's end takes looks from others",
        promise="Where looks are scarce none is for the batch that holds up a wave.",
        file="engine/poll_schedule.py",
        old="if price > aim:",
        new="if price < aim:",
        tests=(f"{SCHEDULE}test_where_looks_are_scarce_none_is_for_the_batch_that_holds_up_a_wave",),
    ),
    Mutant(
        name="rare endings are seen as late as the mean allows",
        promise="Of a hundred endings one is seen later than some four mean delays.",
        file="engine/poll_schedule.py",
        old="return gap / sqrt(1 + gap / (PATIENCE * delay))",
        new="return gap",
        tests=(f"{SCHEDULE}test_one_ending_in_a_hundred_is_seen_later_than_about_four_mean_delays",),
    ),
    Mutant(
        name="no look goes ahead of endings",
        promise="The first endings of a batch are not seen late either.",
        file="engine/poll_schedule.py",
        old="return gap * exp(-min(LEAD * trend * gap, FURTHEST))",
        new="return gap",
        tests=(f"{SCHEDULE}test_one_ending_in_a_hundred_is_seen_later_than_about_four_mean_delays",),
    ),
    Mutant(
        name="the aim knows of no closer looks",
        promise="The mean delay is the one aimed at.",
        file="engine/poll_schedule.py",
        old="for _ in range(SETTLED):",
        new="for _ in range(0):",
        tests=(f"{SCHEDULE}test_the_mean_detection_delay_is_the_one_aimed_at",),
    ),
    Mutant(
        name="scarce looks are made closer",
        promise="All jobs together stay within the look budget.",
        file="engine/poll_schedule.py",
        old="delay = self._delay * sqrt(price / aim)",
        new="delay = self._delay",
        tests=(BUDGET,),
    ),
    Mutant(
        name="a first look drifts by seconds",
        promise="A first look comes when it is best.",
        file="engine/poll_schedule.py",
        old="most = min(JITTER * gap, self._drift)",
        new="most = JITTER * gap",
        tests=(f"{SCHEDULE}test_a_long_gap_is_spread_by_no_more_than_half_a_second",),
    ),
)
