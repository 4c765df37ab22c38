"""The timeline of a run: what it counts is what happened, however it is read, in however many buckets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nights import MadeUpNight, night_plan

from ecsbatch.model import events as ev
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.state import RolloutState
from ecsbatch.views.page.timeline import MOST, RunTimeline

seeds = st.integers(0, 2**32)


def record(seed: int, count: int = 300) -> list[Recorded]:
    return list(MadeUpNight(seed).events(count))


def folded(events: Sequence[Recorded], *, told: bool = False) -> tuple[RunTimeline, list[int]]:
    """Fold events; return how many were down behind each, too. With ``told`` it is asked for news now and then."""
    state = RolloutState("night", night_plan())
    timeline, down = RunTimeline(state), list[int]()
    for recorded in events:
        state.apply(recorded)
        timeline.apply(recorded)
        down.append(state.down)
        if told and recorded.seq % 7 == 0:
            timeline.fresh()
            timeline.as_dict()
    return timeline, down


@given(seeds)
def test_a_run_that_is_followed_has_the_timeline_of_one_that_is_read_at_once(seed: int) -> None:
    events = record(seed)

    assert folded(events, told=True)[0].as_dict() == folded(events)[0].as_dict()


@given(seeds)
def test_who_takes_over_all_news_has_the_timeline(seed: int) -> None:
    state = RolloutState("night", night_plan())
    timeline, seen = RunTimeline(state), dict[str, Any]()
    for recorded in record(seed):
        state.apply(recorded)
        timeline.apply(recorded)
        if recorded.seq % 5 == 0 and (news := timeline.fresh()) is not None:
            first = news.pop("from")
            for name, value in news.items():
                seen[name] = [*seen.get(name, [])[:first], *value] if isinstance(value, list) else value
            assert seen == timeline.as_dict()
            assert timeline.fresh() is None


@settings(max_examples=40)
@given(seeds)
def test_sums_are_what_happened_and_peaks_are_what_was_down(seed: int) -> None:
    events = record(seed)
    timeline, down = folded(events)
    told = timeline.as_dict()
    ends = Counter(type(each.event) for each in events)

    assert len(told["down"]) <= MOST
    assert sum(told["restarted"]) == ends[ev.ServerRestarted]
    assert sum(told["failed"]) == ends[ev.ServerFailed] + ends[ev.ServerTimedOut] + ends[ev.ServerUnknown]
    assert sum(told["submitted"]) == sum(
        len(e.event.servers) for e in events if isinstance(e.event, ev.BatchSubmitting)
    )
    assert told["down"] == peaks(events, down, told["origin"], told["step"], len(told["down"]))


def peaks(events: Sequence[Recorded], down: Sequence[int], origin: float, step: int, buckets: int) -> list[int]:
    """The most down within each bucket, its begin included, counted by looking at all events for each."""
    places = [int((each.ts - origin) // step) for each in events]
    within = [[n for place, n in zip(places, down, strict=True) if place == bucket] for bucket in range(buckets)]
    before = [
        ([0] + [n for place, n in zip(places, down, strict=True) if place < bucket])[-1] for bucket in range(buckets)
    ]
    return [max([was, *seen]) for was, seen in zip(before, within, strict=True)]


@settings(max_examples=40)
@given(seeds)
def test_tokens_are_out_from_the_request_until_a_window_behind_its_answer(seed: int) -> None:
    events = record(seed)
    told = folded(events)[0].as_dict()
    now, origin, step = events[-1].ts, told["origin"], told["step"]
    ends = [origin + (bucket + 1) * step for bucket in range(len(told["tokens"]) - 1)]

    assert told["tokens"] == [tokens_at(events, at) for at in (*ends, now)]


def tokens_at(events: Sequence[Recorded], at: float) -> int:
    out = Counter[str]()
    free: dict[int, float] = {}
    for each in events:
        match each.event:
            case ev.BatchAccepted(batch=batch):
                free.setdefault(batch, each.ts + 60)
            case ev.BatchRejected(batch=batch, kind=kind):
                free.setdefault(batch, each.ts + (0 if kind == "not_sent" else 60))
            case ev.BatchUnknown(batch=batch, status=status):
                free.setdefault(batch, each.ts + (60 if status else 90))
            case _:
                pass
    for each in events:
        if isinstance(each.event, ev.BatchSubmitting) and each.ts < at + (at == events[-1].ts):
            out[each.event.group] += len(each.event.servers) if free.get(each.event.batch, at + 1) > at else 0
    return max(out.values(), default=0)


@pytest.mark.parametrize(("seconds", "step"), [(599.9, 1), (600, 2), (1_200, 4), (86_400, 256)])
def test_a_bucket_is_as_wide_as_it_must_be(seconds: float, step: int) -> None:
    state = RolloutState("night", night_plan())
    timeline = RunTimeline(state)
    for seq, ts in ((1, 1_000.0), (2, 1_000.0 + seconds)):
        recorded = Recorded(seq, ts, "night", ev.JobProgress())
        state.apply(recorded)
        timeline.apply(recorded)

    assert (timeline.step, len(timeline)) == (step, int(seconds // step) + 1)


def test_a_clock_that_is_set_back_moves_nothing_to_the_past() -> None:
    state = RolloutState("night", night_plan())
    timeline, ids = RunTimeline(state), state.plan.fleet.ids
    told = [
        (100.0, ev.BatchSubmitting(1, ids[:2], 1, updated=["", ""])),
        (110.0, ev.ServerRestarted(ids[0], 1, batch=1)),
        (50.0, ev.ServerRestarted(ids[1], 1, batch=1)),
    ]
    for seq, (ts, event) in enumerate(told, 1):
        state.apply(Recorded(seq, ts, "night", event))
        timeline.apply(Recorded(seq, ts, "night", event))

    assert timeline.as_dict()["restarted"] == [0] * 10 + [2]


def test_waves_have_their_times_and_one_that_is_tried_again_has_no_end() -> None:
    state = RolloutState("night", night_plan())
    timeline = RunTimeline(state)
    told = [ev.WaveStarted(wave=1), ev.WaveFinished(wave=1), ev.WaveStarted(wave=2), ev.WaveStarted(wave=1)]
    for seq, event in enumerate(told, 1):
        state.apply(Recorded(seq, 100.0 + seq, "night", event))
        timeline.apply(Recorded(seq, 100.0 + seq, "night", event))

    assert timeline.as_dict()["waves"] == {"1": {"began": 101.0, "ended": None}, "2": {"began": 103.0, "ended": None}}


def test_a_timeline_before_the_first_event_is_empty() -> None:
    told = RunTimeline(RolloutState("night", night_plan())).as_dict()

    assert (told["origin"], told["down"], told["tokens"]) == (0.0, [], [])
