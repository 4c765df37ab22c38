"""A rollout, and its recovery, killed at many instants; ``python -m tests.simulated --killed-everywhere`` plays all."""

from __future__ import annotations

import pytest

from .killing import at_steps, at_writes, fates, in_recovery
from .world import DoomKind


@pytest.mark.parametrize(("first", "lost_replies"), [(1, 0.0), (3, 0.5)])
def test_a_rollout_killed_at_any_step_keeps_every_promise(first: int, lost_replies: float) -> None:
    found = fates(at_steps(first, 9, lost_replies=lost_replies))

    assert found.broken == []
    assert found.killed == found.worlds > 30


@pytest.mark.parametrize("kind", ["before_write", "after_write"])
def test_a_rollout_killed_at_every_write_keeps_every_promise(kind: DoomKind) -> None:
    found = fates(at_writes(kind))

    assert found.broken == []
    assert found.killed == found.worlds > 10


@pytest.mark.parametrize(("kind", "of_second"), [("step", 23), ("after_write", 1)])
def test_a_recovery_killed_at_many_instants_keeps_every_promise(kind: DoomKind, of_second: int) -> None:
    found = fates(in_recovery(kind, of_first=53, of_second=of_second))

    assert found.broken == []
    assert found.killed == found.worlds > 20


def test_a_machine_that_reboots_at_any_write_keeps_the_quota() -> None:
    assert fates(at_writes("after_write", reboot=True)).broken == []
