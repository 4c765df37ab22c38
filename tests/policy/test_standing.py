"""How a run stands, in the words that every view says it by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from test_explain import ABORTING, FAILED, IDS, NOW, STARTED, STOPPED, UNSEEN, first_wave_done, second_wave, sent, told

from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.policy.standing import Phase, blind_notice, failed_over_notice, gate_notice, standing

ASKING = ev.GateWaiting(gate="./ok", wave=2, timeout=600.0)
WAIT = ev.GateChecked(gate="./ok", verdict="wait", wave=2, message="errors 3%.")
LOST = ev.GateChecked(gate="./ok", verdict="inconclusive", wave=2, message="\x1b[2Jno answer")
HOLD = ev.GateChecked(gate="hold", verdict="wait", wave=2)
TAKEN = ev.HolderChanged(holder="bob@web", fence=2)
JOB_OVER = (ev.BatchAccepted(batch=2, job_id="j"), ev.JobFinished(batch=2, status="SUCCESS"))

Told = Iterable[ev.Event | tuple[float, ev.Event]]


@pytest.mark.parametrize(
    ("events", "numbers", "phase", "text"),
    [
        ([], {}, Phase.STARTING, "starting"),
        (STARTED, {}, Phase.STARTING, "starting"),
        ([*STARTED, sent(1, "a1")], {}, Phase.RUNNING, "running"),
        (second_wave(sent(2, "b1")), {"check": "tcp:22"}, Phase.RUNNING, "running"),
        (second_wave(sent(2, "b1"), *JOB_OVER), {"check": "tcp:22"}, Phase.CHECKING, "checking (1 not healthy yet)"),
        (first_wave_done(), {"soak": 80.0}, Phase.SOAKING, "soaking (20s more)"),
        # Whoever takes the run soaks anew.
        ([*first_wave_done(), (10.0, TAKEN)], {"soak": 80.0}, Phase.SOAKING, "soaking (1m10s more)"),
        (first_wave_done(), {"soak": 50.0}, Phase.RUNNING, "running"),
        ([*first_wave_done(), HOLD], {"hold_after": (1,)}, Phase.HELD, "held for promote"),
        ([*first_wave_done(), HOLD], {"hold_after": (1,), "soak": 80.0}, Phase.SOAKING, "soaking (20s more)"),
        ([*first_wave_done(), ASKING], {"gate": "./ok"}, Phase.GATE, "gate: being asked (9m left)"),
        (
            [*first_wave_done(), (240.0, ASKING), *[WAIT] * 4],
            {"gate": "./ok"},
            Phase.GATE,
            'gate: waiting ("errors 3%", asked 4 times, 6m left)',
        ),
        (
            [*first_wave_done(), ASKING, LOST],
            {"gate": "./ok"},
            Phase.GATE,
            'gate: inconclusive ("\ufffd[2Jno answer", asked 1 time, 9m left)',
        ),
        # A record of an earlier version does not tell when the gate's time is over.
        ([*first_wave_done(), WAIT], {"gate": "./ok"}, Phase.GATE, 'gate: waiting ("errors 3%", asked 1 time)'),
        # A new holder asks anew, and so does a run that was paused.
        ([*first_wave_done(), ASKING, WAIT, TAKEN], {"gate": "./ok"}, Phase.GATE, "gate: being asked"),
        ([*STARTED, UNSEEN], {}, Phase.BLIND, "blind (1m10s of 5m)"),
        ([*STARTED, (400.0, UNSEEN)], {}, Phase.BLIND, "blind (6m50s, stops with the next try that fails)"),
        ([*STARTED, UNSEEN, ev.CloudSeen()], {}, Phase.STARTING, "starting"),
        ([*STARTED, UNSEEN, TAKEN], {}, Phase.STARTING, "starting"),
        (second_wave(ev.QuotaThrottled(wait=90.0)), {}, Phase.THROTTLED, "throttled (30s more)"),
        (second_wave(ev.QuotaThrottled(wait=60.0)), {}, Phase.RUNNING, "running"),
        ([*STARTED, ev.RunPaused(reason="paused", by="ann\x1b@web")], {}, Phase.PAUSED, "paused by ann\ufffd@web"),
        ([*STARTED, ev.RunPaused(reason="max_failures")], {}, Phase.PAUSED, "paused (max_failures)"),
        ([*STARTED, ev.RunPaused(reason="paused"), ABORTING], {}, Phase.ABORTING, "aborting"),
        (
            second_wave(sent(2, "b1", "b2"), FAILED),
            {"max_failures": 0},
            Phase.STOPPING,
            "stopping (1 failure, 0 are allowed (max_failures))",
        ),
        ([*STARTED, STOPPED], {}, Phase.STOPPED, "stopped"),
        ([*STARTED, ABORTING, ev.RunFinished(status="aborted")], {}, Phase.ABORTED, "aborted"),
    ],
)
def test_a_run_stands_in_one_true_word(events: Told, numbers: dict[str, Any], phase: Phase, text: str) -> None:
    how = standing(told(events, **numbers), NOW)

    assert (how.phase, how.text) == (phase, text)


def test_every_status_has_its_word() -> None:
    state = told(STARTED)
    for status in RunStatus:
        state.status = status
        assert standing(state, NOW).text.startswith(status.value if status is not RunStatus.RUNNING else "starting")


def test_a_process_that_was_told_to_stop_is_stopping_whatever_it_waited_for() -> None:
    assert standing(told(first_wave_done(), soak=80.0), NOW, stopping=True).phase is Phase.STOPPING
    assert standing(told([*STARTED, STOPPED]), NOW, stopping=True).phase is Phase.STOPPED


def test_what_has_an_end_says_when() -> None:
    assert standing(told(first_wave_done(), soak=80.0), NOW).until == NOW + 20
    assert standing(told([*first_wave_done(), ASKING], gate="./ok"), NOW).until == NOW + 540


def test_a_gate_says_since_when_how_often_and_when_it_ends() -> None:
    state = told([*first_wave_done(), (240.0, ASKING), LOST], gate="./ok", gate_timeout=600.0)

    assert gate_notice(standing(state, NOW), NOW) == (
        'Wave 2 waits for 4m for the gate ./ok to say go: inconclusive, "\ufffd[2Jno answer", asked 1 time, 6m left. '
        "It is asked again until gate_timeout (10m), then the run stops."
    )
    assert gate_notice(standing(told(first_wave_done()), NOW), NOW) == ""


def test_who_sees_nothing_says_for_how_long_and_what_comes_of_it() -> None:
    assert blind_notice(told([*STARTED, UNSEEN]), NOW) == (
        "Nothing can be seen of the cloud for 1m10s. The last try: no route. No server is blamed for it; "
        "the first try that fails after 5m stops the run, and a resume goes on with it."
    )
    assert blind_notice(told([*STARTED, UNSEEN, STOPPED]), NOW) == ""
    assert blind_notice(told(STARTED), NOW) == ""


def test_behind_a_failover_it_is_told_until_when_nothing_is_sent() -> None:
    failed_over = (30.0, ev.StoreFailedOver(timeline="2", wait=155.0))
    told_of = told([*STARTED, failed_over])

    assert failed_over_notice(told_of, NOW) == (
        "The store's database failed over 30s ago, and may have forgotten what was sent: nothing is sent for another "
        "2m5s, and every server is looked at again first."
    )
    assert failed_over_notice(told_of, NOW + 125.0) == ""
    assert failed_over_notice(told([*STARTED, failed_over, STOPPED]), NOW) == ""
    assert failed_over_notice(told([*STARTED, failed_over, ev.RunAborting(by="ann")]), NOW) == ""
    assert failed_over_notice(told(STARTED), NOW) == ""


def test_every_prefix_of_a_history_stands_somehow() -> None:
    events = [*first_wave_done(), ASKING, WAIT, ev.WaveStarted(wave=2), sent(2, *IDS[2:4]), FAILED]
    for length in range(len(events) + 1):
        assert standing(told(events[:length], soak=10.0, gate="./ok"), NOW).text
