from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from . import three_batches
from .checker import check
from .judging import judge
from .lives import Record, play
from .world import Doom, DoomKind, World, draw

SEEDS = 400
CHUNK = 50
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_promise_is_broken_in_any_world(first: int) -> None:
    verdicts = [judge(seed) for seed in range(first, first + CHUNK)]

    broken = [f"python -m tests.simulated --seed {v.seed} -v: {v.broken[0]}" for v in verdicts if v.broken]
    assert broken == []


def test_the_worlds_have_in_them_what_they_are_about() -> None:
    """A simulation in which nothing went wrong would prove nothing."""
    seen: set[str] = set()
    for seed in range(60):
        seen |= judge(seed).figures.keys()

    wanted = {
        *("crashes (step)", "crashes (before_write)", "crashes (after_write)", "reboots", "resumes", "mendings"),
        *("fault lost_reply", "fault reset_after", "fault truncated", "fault late_execution", "fault outage"),
        *("runs refused (claims)", "stop", "cancel", "wall clock jumps", "resumes of a pause"),
    }
    assert wanted - seen == set()


def test_a_seed_is_always_the_same_world() -> None:
    assert digest(range(5, 15)) == digest(range(5, 15))


def test_a_seed_is_the_same_world_in_another_process() -> None:
    """A failing seed is a report only if it fails again, whatever order sets of strings have there."""
    code = "import sys; from tests.simulated.test_simulated import digest; sys.stdout.write(digest(range(20, 30)))"
    digests = {
        subprocess.run(  # noqa: S603 - our own interpreter and a constant
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": order},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for order in ("1", "2")
    }

    assert len(digests) == 1


def digest(seeds: Iterable[int]) -> str:
    """Return one hash over the journals of these worlds, apart from the process's own number."""
    whole = hashlib.sha256()
    for seed in seeds:
        for row in play(draw(seed)).database.journal():
            for line in row.lines:
                whole.update(line.replace(f'"pid":{os.getpid()}'.encode(), b'"pid":0') + b"\n")
    return whole.hexdigest()


# -- killed everywhere -------------------------------------------------------------------------------------------------


def _fates(worlds: Iterable[World]) -> tuple[int, list[str]]:
    """Play worlds; return how many were killed in their last doomed life, and what was broken."""
    killed, broken = 0, list[str]()
    for world in worlds:
        record = play(world)
        dooms = [life.doom for life in world.lives[:-1]]
        found = check(record) + _unfinished(record)
        killed += record.tally.total() > 0 and sum(n for k, n in record.tally.items() if "crashes" in k) == len(dooms)
        broken += [f"{[(doom.kind, doom.count) for doom in dooms]}: {one}" for one in found[:1]]
    return killed, broken


def _unfinished(record: Record) -> list[str]:
    [(status,)] = record.database.connection.execute("SELECT status FROM runs").fetchall()
    return [] if status in {"succeeded", "failed"} else [f"the run is {status} at last"]


@pytest.mark.parametrize("lost_replies", [0.0, 0.5])
def test_a_rollout_killed_at_every_step_keeps_every_promise(lost_replies: float) -> None:
    steps = play(three_batches.world(lost_replies=lost_replies)).steps[0]
    worlds = [
        three_batches.world(doom, lost_replies=lost_replies) for doom in three_batches.kills("step", range(1, steps))
    ]

    killed, broken = _fates(worlds)

    assert broken == []
    assert killed == steps - 1


@pytest.mark.parametrize("kind", ["before_write", "after_write"])
def test_a_rollout_killed_at_every_write_keeps_every_promise(kind: DoomKind) -> None:
    writes = play(three_batches.world()).writes[0]

    killed, broken = _fates(three_batches.world(doom) for doom in three_batches.kills(kind, range(1, writes + 1)))

    assert broken == []
    assert killed == writes


@pytest.mark.parametrize("kind", ["step", "after_write"])
def test_a_recovery_killed_at_many_instants_keeps_every_promise(kind: DoomKind) -> None:
    steps = play(three_batches.world()).steps[0]
    worlds: list[World] = []
    for first in three_batches.kills("step", range(3, steps, 13)):
        record = play(three_batches.world(first))
        length = record.steps[1] if kind == "step" else record.writes[1]
        stride = 11 if kind == "step" else 1
        worlds += [three_batches.world(first, second) for second in three_batches.kills(kind, range(1, length, stride))]

    killed, broken = _fates(worlds)

    assert broken == []
    assert killed == len(worlds)


def test_a_machine_that_reboots_at_any_write_keeps_the_quota() -> None:
    writes = play(three_batches.world()).writes[0]

    _, broken = _fates(
        three_batches.world(Doom("after_write", count=count, reboot=True)) for count in range(1, writes + 1)
    )

    assert broken == []
