"""How a run goes on, as a value: its parts add up, it says what the state says, and it stays as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import astuple, fields
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_explain import BUSY, FAILED, IDS, NOW, STARTED, UNSEEN, first_wave_done, plan, second_wave, sent, told

from ecsbatch.model import events as ev
from ecsbatch.model.json_text import stamp
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.counts import Counts
from ecsbatch.policy.explain import explain
from ecsbatch.policy.explanation import Cause
from ecsbatch.policy.pace import Pace
from ecsbatch.policy.progress import Progress, progress
from ecsbatch.policy.standing import Phase, standing

COUNTS = "total waiting in_flight restarted failed timed_out unknown skipped left_out not_back failures down"
FAILURE = "id name outcome reason error_code message domain host"
VERSION_1 = {
    "": "v run_id seq at status reason message total restarted failed timed_out unknown skipped not_started elapsed_s "
    "began_at left_out not_retried standing standing_text standing_until sending per_minute left_s barriers hold "
    "held_after wave waves wave_label servers wave_servers domains down restarting not_healthy not_back failures "
    "limits last_failures quota waits_for paused_by aborting throttled_s resume_options frozen",
    "servers": COUNTS,
    "wave_servers": COUNTS,
    "limits": "max_unavailable max_unavailable_per_domain max_failures max_failures_per_wave max_failures_per_domain",
    "hold": "before_wave since",
    "quota": "limit window held cooling free next_free_in waited_out lowered_to lowered_until",
    "waits_for": "cause text until commands",
}
"""The names of version 1: they are read by programs of others, so that fields are added and never renamed."""

HOLD = ev.GateChecked(gate="hold", verdict="wait", wave=2)
PAUSED = ev.RunPaused(reason="max_failures", by="ann")
PER_WAVE = {"max_failures": 3, "max_failures_per_wave": (1, 2)}


def asked(events: Sequence[ev.Event | tuple[float, ev.Event]], known: dict[str, Any], **numbers: Any) -> dict[str, Any]:
    return progress(told(events, **numbers), NOW, **known).as_dict()


def test_version_1_has_these_names() -> None:
    held = asked([*first_wave_done(), HOLD], {"usage": BUSY, "quota": Quota(500, 30.0)}, hold_after=(1,))
    failed = asked(second_wave(sent(2, "b1"), FAILED, PAUSED), {})

    for part, names in VERSION_1.items():
        assert list(held[part] if part else held) == names.split()
    assert [list(counts) for counts in held["domains"].values()] == [COUNTS.split()] * 2
    assert list(failed["last_failures"][0]) == FAILURE.split()
    assert list(failed["resume_options"][0]) == ["why", "retry", "forgive", "skip_domains", "limits", "flags"]
    assert (held["v"], held["seq"], held["at"]) == (1, 10, "2026-01-01T00:00:00.000Z")


@pytest.mark.parametrize(
    ("events", "numbers", "known", "says"),
    [
        ([], {}, {}, {"wave": 0, "waves": 2, "wave_label": "2", "began_at": None, "quota": None, "seq": 0}),
        (STARTED, {}, {}, {"wave": 1, "standing": "starting", "sending": True, "per_minute": None, "held_after": 0}),
        (second_wave(), {}, {}, {"wave": 2, "wave_label": "100%", "restarted": 2, "not_started": 3, "held_after": 0}),
        (
            second_wave(sent(2, "b1", "b2"), FAILED),
            {},
            {},
            {"down": 2, "restarting": 1, "not_healthy": 0, "not_back": 1, "failures": 1, "unknown": 1, "failed": 1},
        ),
        (
            second_wave(sent(2, "b1"), ev.BatchAccepted(batch=2, job_id="j"), ev.JobFinished(batch=2, status="S")),
            {"check": "tcp:22"},
            {},
            {"standing": "checking", "restarting": 0, "not_healthy": 1, "down": 1},
        ),
        (
            [*STARTED, ev.LimitChanged(limit="max_failures_per_wave", old=[1, 2], new=[5, 6])],
            PER_WAVE,
            {},
            {
                "limits": {"max_unavailable": 2, "max_unavailable_per_domain": None, "max_failures": 3}
                | {"max_failures_per_wave": (5, 6), "max_failures_per_domain": None}
            },
        ),
        ([*first_wave_done(), HOLD], {"hold_after": (1,)}, {}, {"standing": "held_for_promote", "held_after": 1}),
        (
            [*first_wave_done(), HOLD, ev.RunPaused(reason="paused", by="ann")],
            {"hold_after": (1,)},
            {},
            {"standing": "paused", "hold": None, "held_after": 1, "paused_by": "ann"},
        ),
        ([*STARTED, ev.RunPaused(by="ann"), ev.RunResumed()], {}, {}, {"paused_by": "", "resume_options": []}),
        ([*STARTED, ev.RunResumed(skip_domains=["az2"])], {}, {}, {"left_out": {"az2": 3}, "not_started": 5}),
        ([*STARTED, ev.RunAborting(by="bob")], {}, {}, {"aborting": True, "standing": "aborting", "sending": False}),
        (
            [*STARTED, ev.RunAborting(by="bob"), ev.RunFinished(status="aborted", reason="aborted")],
            {},
            {},
            {"aborting": False, "status": "aborted", "standing": "aborted"},
        ),
        ([*STARTED, ev.QuotaThrottled(wait=90.0)], {}, {}, {"throttled_s": 90.0}),
        ([*STARTED, ev.QuotaThrottled(wait=30.0)], {}, {}, {"throttled_s": 0.0}),
        (
            [ev.RunStarted(), ev.HolderChanged(holder="ann", fence=1, limit=500, window=30.0)],
            {},
            {},
            {
                "quota": {
                    "limit": 500,
                    "window": 30.0,
                    "held": None,
                    "cooling": None,
                    "free": None,
                    "next_free_in": None,
                    "waited_out": False,
                    "lowered_to": None,
                    "lowered_until": None,
                }
            },
        ),
        (
            STARTED,
            {},
            {"usage": BUSY},
            {
                "quota": {
                    "limit": 1000,
                    "window": None,
                    "held": 300,
                    "cooling": 700,
                    "free": 0,
                    "next_free_in": 12.0,
                    "waited_out": False,
                    "lowered_to": None,
                    "lowered_until": None,
                }
            },
        ),
        (
            [
                ev.RunStarted(),
                ev.HolderChanged(holder="ann", fence=1, limit=1_000, window=60.0),
                ev.QuotaDesync(limit=500, seconds=600.0),
            ],
            {},
            {"usage": Usage(500, held=0, cooling=500, free=0, next_free_in=12.0)},
            {
                "quota": {
                    "limit": 1000,
                    "window": 60.0,
                    "held": 0,
                    "cooling": 500,
                    "free": 0,
                    "next_free_in": 12.0,
                    "waited_out": False,
                    "lowered_to": 500,
                    "lowered_until": stamp(NOW + 540.0),
                }
            },
        ),
        (STARTED, {"soak": 9.0, "gate": "./ok"}, {}, {"barriers": ["soaks", "gates"]}),
    ],
)
def test_it_says_how_a_run_goes_on(
    events: Sequence[ev.Event], numbers: dict[str, Any], known: dict[str, Any], says: dict[str, Any]
) -> None:
    found = asked(events, known, **numbers)

    assert {name: found[name] for name in says} == says


def test_the_last_failures_are_told_the_newest_first_with_what_is_known_of_them() -> None:
    later = ev.ServerTimedOut(server="b2", wave=2, domain="az2", batch=2, host="h7", reason="deadline")
    found = asked(second_wave(sent(2, "b1", "b2"), FAILED, later), {})

    assert [each["id"] for each in found["last_failures"]] == ["b2", "b1"]
    assert found["last_failures"][1] == {
        "id": "b1",
        "name": "",
        "outcome": "failed",
        "reason": "",
        "error_code": "Ecs.0608",
        "message": "No.",
        "domain": "az2",
        "host": "",
    }


def test_a_process_that_was_told_to_stop_stops_in_every_part() -> None:
    found = progress(told([*STARTED, sent(1, "a1")]), NOW, stopping=True)

    assert (found.standing.phase, found.waits_for.cause) == (Phase.STOPPING, Cause.STOPPING)
    assert (found.sending, found.pace) == (False, Pace())
    assert "nothing new is sent" in found.waits_for.text


def test_of_a_run_that_nobody_holds_no_more_time_passes() -> None:
    state = told([*STARTED, sent(1, "a1")])
    held, left = progress(state, NOW), progress(state, NOW, held=False)

    assert (held.elapsed, left.elapsed) == (60.0, 0.0)
    assert (left.standing.phase, left.waits_for.cause, left.sending) == (Phase.ORPHANED, Cause.ORPHANED, False)


def test_a_wave_may_have_a_limit_of_its_own() -> None:
    state = told(second_wave(), **PER_WAVE)

    assert progress(state, NOW).wave_max_failures == 2
    assert progress(told([], **PER_WAVE), NOW).wave_max_failures is None
    assert progress(told(second_wave()), NOW).wave_max_failures is None


def test_its_repr_is_one_line_that_tells_the_truth() -> None:
    state = told(second_wave(sent(2, "b1", "b2"), FAILED), max_unavailable=3)

    assert repr(progress(state, NOW)) == (
        "<Progress k7f at event 12: running, wave 2 of 2, 4 of 6 ended, 1 of 1 failures, 2 of 3 down>"
    )


def test_a_gate_is_not_said_to_have_answered_a_process_that_has_not_asked_it_yet() -> None:
    """What it said to the process before does not count: the standing and the reason say the same."""
    said = ev.GateChecked(gate="./ok", verdict="wait", wave=2, message="errors 3%")
    taken = ev.HolderChanged(holder="bob", fence=2)
    found = progress(told([*first_wave_done(), said, taken], gate="./ok"), NOW)

    assert found.standing.text == "gate: being asked"
    assert found.waits_for.text == "The gate ./ok is being asked whether wave 2 may start."


ASKED = [{"held": held, "stopping": stopping} for held in (True, False) for stopping in (True, False)]


# -- whatever happens ----------------------------------------------------------------------------------------------


def happened(numbers: st.DataObject, length: int) -> Iterator[ev.Event]:
    """Draw what may stand in a journal, and what may not: nobody who reads one chooses its order."""
    servers = st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True)
    batches = st.integers(1, 4)
    ends = [ev.ServerRestarted, ev.ServerFailed, ev.ServerTimedOut, ev.ServerUnknown, ev.ServerSkipped]
    ended = {"server": st.sampled_from(IDS), "batch": batches, "holds": st.booleans(), "reason": st.just("not_active")}
    ended |= {"not_retried": st.sampled_from(["", "", "locked"])}
    retried = st.sampled_from([["failed", "timed_out"], ["failed"], ["not_started"], ["unknown", "skipped"], []])
    sends = st.builds(lambda b, s: ev.BatchSubmitting(batch=b, servers=s, updated=[""] * len(s)), batches, servers)
    again = st.builds(
        lambda r, f, d: ev.RunResumed(retry=r, forgive=f, skip_domains=d, keeps_outcomes=True),
        retried,
        st.booleans(),
        st.lists(st.sampled_from(["az1", "az2"]), max_size=1),
    )
    answers = st.one_of(
        st.builds(lambda b: ev.BatchAccepted(batch=b, job_id=f"j{b}"), batches),
        st.builds(lambda b: ev.BatchRejected(batch=b, kind="refused"), batches),
        st.builds(lambda b: ev.BatchUnknown(batch=b), batches),
        st.builds(lambda b: ev.JobFinished(batch=b, status="SUCCESS"), batches),
    )
    others = st.one_of(
        st.builds(lambda s: ev.ServerReleased(server=s), st.sampled_from(IDS)),
        st.builds(lambda w: ev.WaveStarted(wave=w), st.integers(1, 2)),
        st.builds(lambda w: ev.WaveFinished(wave=w), st.integers(1, 2)),
        st.sampled_from([HOLD, PAUSED, UNSEEN, ev.CloudSeen(), ev.QuotaThrottled(wait=90.0)]),
        st.sampled_from([ev.RunAborting(by="bob"), ev.RunStopped(status="stopped"), ev.RunFinished(status="failed")]),
        st.sampled_from([ev.HolderChanged(holder="bob", fence=2), ev.LimitChanged(limit="max_unavailable", new=9)]),
    )
    kinds = st.one_of(again, sends, answers, st.one_of([st.builds(end, **ended) for end in ends]), others)
    return (numbers.draw(kinds) for _ in range(length))


@given(st.data(), st.integers(0, 25), st.sampled_from(ASKED))
def test_whatever_happens_its_parts_add_up_and_say_what_the_state_says(
    data: st.DataObject, length: int, known: dict[str, bool]
) -> None:
    state = RolloutState("k7f", plan(check="tcp:22", soak=30.0, hold_after=(1,)))
    failed = [
        sent(1, *IDS[:3]),
        *(end(server=each) for each, end in zip(IDS, (ev.ServerFailed, ev.ServerTimedOut), strict=False)),
    ]
    for seq, event in enumerate([*STARTED, *failed, *happened(data, length)], 1):
        state.apply(Recorded(seq, NOW - 60.0, "k7f", event))
    held, stopping = known["held"], known["stopping"]
    found = progress(state, NOW, **known)

    for counts in (found.servers, found.wave_servers, *found.domains.values()):
        assert counts.total == counts.waiting + counts.in_flight + counts.ended
        assert counts.ended == sum(astuple(counts)[3:9])
        assert min(astuple(counts)) >= 0
    every = [astuple(counts) for counts in found.domains.values()]
    assert astuple(found.servers) == tuple(map(sum, zip(*every, strict=True)))
    assert sum(found.counts.values()) == found.servers.total == len(IDS)
    assert found.restarting + found.not_healthy + found.servers.not_back == found.servers.down == state.down
    assert sum(found.left_out.values()) == found.servers.left_out
    assert (found.servers, found.counts) == (Counts.of(state.run), state.counts)
    outcomes = list(state.outcomes())
    assert Counter(found.counts) == Counter(each.kind for each in outcomes)
    assert found.not_retried == Counter(each.not_retried for each in outcomes if each.not_retried)
    assert found.standing == standing(state, NOW, **known)
    assert found.waits_for == explain(state, now=NOW, holder_alive=held, stopping=stopping)
    assert found.waits_for.standing == found.standing.phase.value
    assert not found.sending or (found.standing.phase is not Phase.STOPPING and held)
    assert "\n" not in repr(found)


@given(st.data(), st.integers(1, 15))
def test_it_is_a_value_and_stays_as_it_was(data: st.DataObject, more: int) -> None:
    state = told(second_wave(sent(2, "b1"), FAILED))
    before = progress(state, NOW)
    again, kept, written = progress(state, NOW), deepcopy(before), orjson.dumps(before.as_dict())
    for seq, event in enumerate(happened(data, more), state.seq + 1):
        state.apply(Recorded(seq, NOW, "k7f", event))

    assert before == again == kept
    assert orjson.dumps(before.as_dict()) == written
    assert progress(state, NOW) != before


def test_it_looks_at_no_server_that_has_nothing_to_tell() -> None:
    """A screen draws it four times a second, of a million servers too."""

    class Stages(bytearray):
        def __iter__(self) -> Iterator[int]:
            raise AssertionError

    state = told(second_wave(sent(2, "b1", "b2"), FAILED, ev.RunResumed(forgive=True)))
    state.stage = Stages(state.stage)

    assert progress(state, NOW).servers.forgiven == 1


def test_every_field_is_told() -> None:
    """Whoever adds a field decides under which name programs read it."""
    names = set(asked(STARTED, {}))
    renamed = {"elapsed": "elapsed_s", "pace": "per_minute", "throttled_for": "throttled_s", "usage": "quota"}
    renamed["lowered"] = "quota"
    found = progress(told(STARTED), NOW)

    assert {renamed.get(each.name, each.name) for each in fields(found)} - names == {"counts"}
    assert found.counts.keys() == set(OutcomeKind)
    assert {kind.value for kind in OutcomeKind} <= names
    assert found.status is RunStatus.RUNNING


def test_what_as_dict_says_of_itself_has_every_word_of_how_a_run_stands() -> None:
    said = str(Progress.as_dict.__doc__)

    assert [word for word in Phase if f"``{word.value}``" not in said and word.value not in set(RunStatus)] == []
