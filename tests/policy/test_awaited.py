"""What a script waits for of a run: what can be asked for, and when that has come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from test_explain import NOW, STARTED, STOPPED, first_wave_done, second_wave, sent, told

from ecsbatch.model import events as ev
from ecsbatch.model.freeze import Freeze
from ecsbatch.policy.awaited import Awaited, AwaitedKind, has_come

HOLD = ev.GateChecked(gate="hold", verdict="wait", wave=2)
PAUSED = ev.RunPaused(by="bob@desk", reason="paused")
BACK = ev.ServerRestarted(server="b1", wave=2, batch=2, evidence="job")
DONE = ev.RunFinished(status="succeeded")


@pytest.mark.parametrize(
    ("text", "kind", "wave"),
    [
        ("finished", AwaitedKind.FINISHED, 0),
        ("stopped", AwaitedKind.STOPPED, 0),
        ("wave:1", AwaitedKind.WAVE, 1),
        ("wave:20", AwaitedKind.WAVE, 20),
    ],
)
def test_what_can_be_waited_for_is_read_and_written_alike(text: str, kind: AwaitedKind, wave: int) -> None:
    assert Awaited.parse(text) == Awaited(kind, wave)
    assert str(Awaited.parse(text)) == text


@pytest.mark.parametrize("text", [" ", "wave", "wave:", "wave:0", "wave:-1", "wave:1 ", "wave:two", "Finished", "over"])
def test_what_cannot_be_waited_for_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Awaited.parse(text)


@pytest.mark.parametrize(
    ("events", "numbers", "come"),
    [
        ([], {}, set[str]()),
        ([*STARTED, sent(1, "a1")], {}, set[str]()),
        (first_wave_done(), {}, {"wave:1"}),
        (first_wave_done(), {"soak": 80.0}, {"wave:1"}),
        ([*first_wave_done(), ev.GateWaiting(gate="./ok", wave=2, timeout=600.0)], {"gate": "./ok"}, {"wave:1"}),
        ([*first_wave_done(), HOLD], {"hold_after": (1,)}, {"wave:1", "stopped"}),
        # One that is under way when somebody pauses the run is waited for, and then nothing is.
        (second_wave(sent(2, "b1"), PAUSED), {}, {"wave:1"}),
        (second_wave(sent(2, "b1"), PAUSED, BACK), {}, {"wave:1", "stopped"}),
        # Whoever is in flight gets an outcome; what has come to rest has no process that could tell.
        ([*second_wave(), STOPPED], {}, {"wave:1"}),
        ([*second_wave(), DONE], {}, {"wave:1", "finished"}),
        ([*second_wave(), ev.WaveFinished(wave=2), DONE], {}, {"wave:1", "wave:2", "finished"}),
    ],
)
def test_it_has_come_where_the_run_stands_so(
    events: Iterable[ev.Event], numbers: dict[str, Any], come: set[str]
) -> None:
    state = told(events, **numbers)

    asked = ("finished", "stopped", "wave:1", "wave:2")
    assert {text for text in asked if has_come(Awaited.parse(text), state, NOW)} == come


def test_a_frozen_run_stands_still_once_nothing_of_it_is_under_way() -> None:
    frozen = ev.RunFrozen(by="bob", reason="incident", since=NOW - 60)
    before, after = told(second_wave(sent(2, "b1"), frozen)), told(second_wave(sent(2, "b1"), frozen, BACK))
    for state in (before, after):
        state.frozen = Freeze("bob", "incident", NOW - 60)

    assert [has_come(Awaited(AwaitedKind.STOPPED), state, NOW) for state in (before, after)] == [False, True]
