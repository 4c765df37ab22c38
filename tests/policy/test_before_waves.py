"""What the next wave waits for: a soak, then a hold, then a gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from test_explain import NOW, STARTED, first_wave_done, second_wave, told

from ecsbatch.model import events as ev
from ecsbatch.policy.barrier import Barrier, BarrierKind, barrier

GATE = {"gate": "./ok", "gate_timeout": 600.0}
ASKING = ev.GateWaiting(gate="./ok", wave=2, timeout=600.0)
WAIT = ev.GateChecked(gate="./ok", verdict="wait", wave=2, message="errors 3%")
HOLD = ev.GateChecked(gate="hold", verdict="wait", wave=2)
GO = ev.GateChecked(gate="hold", verdict="go", wave=2)
ALL = {"soak": 30.0, "hold_after": (1,), **GATE}
AGO = NOW - 60.0


def gate(**told: Any) -> Barrier:
    return Barrier(BarrierKind.GATE, 2, gate="./ok", timeout=600.0, **told)


@pytest.mark.parametrize(
    ("events", "numbers", "expected"),
    [
        ([ev.RunStarted(total=6), ev.HolderChanged(holder="ann", fence=1)], ALL | {"soak": 80.0}, None),
        (STARTED, ALL, None),
        (first_wave_done(), {}, None),
        (first_wave_done(), ALL | {"soak": 80.0}, Barrier(BarrierKind.SOAK, 2, AGO, AGO + 80.0)),
        ([*first_wave_done(), HOLD], ALL, Barrier(BarrierKind.HOLD, 2, AGO + 30.0)),
        ([*first_wave_done(), HOLD, GO], ALL, gate()),
        ([*first_wave_done(), HOLD, GO, ASKING], ALL, gate(since=AGO, until=AGO + 600.0)),
        (
            [*first_wave_done(), ASKING, WAIT, WAIT],
            GATE,
            gate(since=AGO, until=AGO + 600.0, asked=2, verdict="wait", message="errors 3%", answered_at=AGO),
        ),
        # A promotion is no answer of the gate's.
        ([*first_wave_done(), ASKING, WAIT, GO], GATE, gate(since=AGO, until=AGO + 600.0, asked=1)),
        (second_wave(), ALL, None),
        # Nobody waits for a wave of which nothing is left.
        ([*first_wave_done(), ev.RunResumed(skip_domains=["az2"])], ALL, None),
        (second_wave(ev.WaveFinished(wave=2)), ALL, None),
    ],
)
def test_what_the_next_wave_waits_for(
    events: Sequence[ev.Event], numbers: dict[str, Any], expected: Barrier | None
) -> None:
    assert barrier(told(events, **numbers), NOW) == expected
