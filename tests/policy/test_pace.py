"""How fast a run goes on: of the time in which it could send, and the same for everybody who asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.pace import Pace, barriers_ahead, pace

IDS = [f"s{i:04}" for i in range(2_000)]
CANARY, ALL = Wave(1, 0, 20, "1%"), Wave(2, 20, 2_000, "100%")
START: Sequence[tuple[float, ev.Event]] = (
    (0.0, ev.RunStarted(total=2_000)),
    (0.0, ev.HolderChanged(holder="ann", fence=1, limit=1_000, window=60.0)),
    (0.0, ev.WaveStarted(wave=1)),
)
SECOND: Sequence[tuple[float, ev.Event]] = (
    *START,
    (0.0, ev.BatchSubmitting(batch=1, servers=IDS[:20], wave=1)),
    *((40.0, ev.ServerRestarted(server=each, batch=1)) for each in IDS[:20]),
    (40.0, ev.WaveFinished(wave=1)),
    (100.0, ev.WaveStarted(wave=2)),
)


def after(told: Iterable[tuple[float, ev.Event]], **plan: Any) -> RolloutState:
    fleet = Fleet(IDS, ["az1"] * len(IDS))
    numbers: dict[str, Any] = {"waves": (CANARY, ALL), "max_unavailable": 500, "max_failures": 1}
    state = RolloutState("k7f", Plan(fleet, **(numbers | plan)))
    for seq, (ts, event) in enumerate(told, 1):
        state.apply(Recorded(seq, ts, "k7f", event))
    return state


def sent(ts: float, batch: int, first: int, number: int) -> tuple[float, ev.Event]:
    servers = IDS[first : first + number]
    return ts, ev.BatchSubmitting(batch=batch, servers=servers, updated=[""] * number, wave=2)


def restarted(ts: float, batch: int, first: int, number: int) -> list[tuple[float, ev.Event]]:
    return [(ts, ev.ServerRestarted(server=each, batch=batch)) for each in IDS[first : first + number]]


def test_the_pace_is_of_what_ended_within_a_window_of_the_quota() -> None:
    told = [*SECOND, sent(100.0, 2, 20, 400)]
    for second in range(100):
        told += restarted(130.0 + second, 2, 20 + 4 * second, 4 if second < 50 else 2)
    state = after(told)

    assert pace(state, 230.0).per_minute == pytest.approx((9 * 4 + 50 * 2) * 60 / 60, abs=4)
    assert pace(state, 400.0) == Pace(), "nothing has ended lately"


@pytest.mark.parametrize("second", [140.0, 150.0, 199.0, 200.0, 260.0])
def test_a_burst_of_tokens_is_no_pace_that_lasts(second: float) -> None:
    """A minute's tokens go at once, their servers end together forty seconds later."""
    told = [*SECOND, sent(100.0, 2, 20, 1_000), *restarted(140.0, 2, 20, 1_000)]
    told += [sent(160.0, 3, 1_020, 980), *restarted(200.0, 3, 1_020, 980)]

    assert pace(after([each for each in told if each[0] <= second]), second).per_minute in {1_000.0, 980.0, None}
    assert pace(after([each for each in told if each[0] < 140.0]), 139.0) == Pace()


PAUSED: list[tuple[float, ev.Event]] = [(160.0, ev.RunPaused(reason="paused")), (900.0, ev.RunResumed())]
TAKEN: list[tuple[float, ev.Event]] = [(900.0, ev.HolderChanged(holder="bob", fence=2)), (900.0, ev.RunResumed())]
BLIND: list[tuple[float, ev.Event]] = [(160.0, ev.CloudUnseen(seconds=3.0, timeout=300.0)), (900.0, ev.CloudSeen())]

FROZEN: list[tuple[float, ev.Event]] = [(160.0, ev.RunFrozen(by="ann", reason="why")), (900.0, ev.RunThawed(by="bob"))]


@pytest.mark.parametrize("gap", [PAUSED, TAKEN, BLIND, FROZEN])
def test_time_in_which_nothing_could_be_sent_is_no_pace(gap: list[tuple[float, ev.Event]]) -> None:
    """What was under way meanwhile ends all at once behind it: that is no pace either."""
    before = [*SECOND, sent(100.0, 2, 20, 300), *restarted(150.0, 2, 20, 100)]
    behind = [*before, *gap, *restarted(901.0, 2, 120, 200), sent(902.0, 3, 320, 60), *restarted(960.0, 3, 320, 30)]

    assert pace(after(before), 160.0).per_minute == 100.0
    assert pace(after([*before, gap[0]]), 500.0) == Pace()
    assert pace(after(behind[:-30]), 959.0) == Pace()
    assert pace(after(behind), 960.0).per_minute == 30.0


def test_nothing_is_told_of_a_run_whose_process_is_gone_or_that_stops_though_no_event_says_so() -> None:
    told = [*SECOND, sent(100.0, 2, 20, 400), *restarted(150.0, 2, 20, 300)]
    failed = [(151.0, ev.ServerFailed(server=each, batch=2, domain="az1")) for each in IDS[320:322]]
    gone, asked = after(told), after(told)
    gone.status, asked.abort_asked_by = RunStatus.ORPHANED, "ann"

    assert pace(after(told), 155.0) != Pace()
    assert [pace(state, 155.0) for state in (gone, asked, after([*told, *failed]))] == [Pace()] * 3


def test_a_wave_begins_the_pace_anew_behind_its_soak() -> None:
    assert pace(after(SECOND[:-1]), 60.0) == Pace()
    assert pace(after(SECOND), 110.0) == Pace()


def test_what_was_skipped_is_no_pace() -> None:
    told = [*SECOND, sent(100.0, 2, 20, 10)]
    told += [(110.0, ev.ServerSkipped(server=each, batch=2, reason="not_found")) for each in IDS[20:30]]

    assert pace(after(told), 111.0) == Pace()


def test_time_left_is_told_once_the_wave_says_something_of_the_rest() -> None:
    """The pace of a canary is not the pace of the fleet."""
    told = [*SECOND, sent(100.0, 2, 20, 400), *restarted(140.0, 2, 20, 10)]
    known = [*told, *restarted(150.0, 2, 30, 190)]

    assert (pace(after(told), 145.0).per_minute is not None, pace(after(told), 145.0).left) == (True, None)
    assert pace(after(known), 160.0) == Pace(200.0, 1_780 * 60 / 200.0)
    canary = [*SECOND[:-2], (50.0, ev.RunPaused(reason="paused"))]
    assert pace(after(canary[:14]), 45.0).left is None


def test_two_viewers_read_the_same_whenever_they_came() -> None:
    """It hangs on the record and the time alone."""
    told = [*SECOND, sent(100.0, 2, 20, 400), *restarted(150.0, 2, 20, 300)]
    early, late = after(told[:-100]), after(told)
    for seq, (ts, event) in enumerate(told[-100:], len(told) - 99):
        early.apply(Recorded(seq, ts, "k7f", event))

    assert pace(early, 155.5) == pace(late, 155.5) != Pace()


def test_barriers_ahead_are_no_part_of_the_time_left_and_are_named() -> None:
    assert barriers_ahead(after(START, soak=9.0, gate="./ok", hold_after=(1,))) == ("soaks", "holds", "gates")
    assert barriers_ahead(after(SECOND, soak=9.0, gate="./ok", hold_after=(1,))) == ()
    assert barriers_ahead(after(START)) == ()


def test_how_long_the_rest_takes_is_not_told_by_the_last_servers_of_a_wave() -> None:
    """Two that do not come back end a wave of a thousand: the thousand behind it do not go at their pace."""
    waves = (CANARY, Wave(2, 20, 1_020, "50%"), Wave(3, 1_020, 2_000, "100%"))
    told = [*SECOND, sent(100.0, 2, 20, 400), *restarted(140.0, 2, 20, 200)]
    stragglers = [*told, sent(160.0, 3, 420, 600), *restarted(190.0, 2, 220, 200), *restarted(200.0, 3, 420, 598)]

    assert pace(after(told, waves=waves), 150.0).left == 1_780 * 60 / 240.0
    assert pace(after(stragglers, waves=waves), 230.0) == Pace(798.0, None)


def test_the_last_servers_of_a_run_do_not_take_longer_than_they_may() -> None:
    told = [*SECOND, sent(100.0, 2, 20, 1_980), *restarted(140.0, 2, 20, 1_900)]
    late = [*told, *restarted(205.0, 2, 1_920, 2)]

    assert pace(after(told, server_timeout=600.0), 160.0).left == 80 * 60 / 1_000.0
    assert pace(after(late, server_timeout=600.0), 230.0) == Pace(2.0, None)
