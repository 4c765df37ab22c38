"""Kills a rollout of three batches, and its recovery, at one instant after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from . import three_batches
from .checker import check
from .play import Record, play
from .world import Doom, DoomKind, World


@dataclass
class Fates:
    """What became of the worlds: how many there were, how many met all their deaths, what was broken."""

    worlds: int = 0
    killed: int = 0
    broken: list[str] = field(default_factory=list[str])


def fates(worlds: Iterable[World]) -> Fates:
    """Play worlds, each of whose lives but the last is doomed."""
    fates = Fates()
    for world in worlds:
        record = play(world)
        dooms = [life.doom for life in world.lives[:-1]]
        crashes = sum(n for name, n in record.tally.items() if "crashes" in name)
        found = check(record) + _unfinished(record)
        fates.worlds += 1
        fates.killed += crashes == len(dooms)
        fates.broken += [f"{[(doom.kind, doom.count) for doom in dooms]}: {one}" for one in found[:1]]
    return fates


def _unfinished(record: Record) -> list[str]:
    [(status,)] = record.database.connection.execute("SELECT status FROM runs").fetchall()
    return [] if status in {"succeeded", "failed"} else [f"the run is {status} at last"]


def at_steps(first: int, stride: int, *, lost_replies: float) -> Iterator[World]:
    """Yield a world for each step of the loop at which the rollout is killed."""
    steps = play(three_batches.world(lost_replies=lost_replies)).steps[0]
    for doom in three_batches.kills("step", range(first, steps, stride)):
        yield three_batches.world(doom, lost_replies=lost_replies)


def at_writes(kind: DoomKind, *, reboot: bool = False) -> Iterator[World]:
    """Yield a world for each write at which it is killed, or its machine reboots."""
    writes = play(three_batches.world()).writes[0]
    counts = range(1, writes + 1)
    for doom in [Doom(kind, count=n, reboot=True) for n in counts] if reboot else three_batches.kills(kind, counts):
        yield three_batches.world(doom)


def in_recovery(kind: DoomKind, *, of_first: int, of_second: int) -> Iterator[World]:
    """Yield worlds that are killed at a step, and in the life behind it at a step or write; strides of both."""
    steps = play(three_batches.world()).steps[0]
    for first in three_batches.kills("step", range(3, steps, of_first)):
        record = play(three_batches.world(first))
        length = record.steps[1] if kind == "step" else record.writes[1]
        for second in three_batches.kills(kind, range(1, length, of_second)):
            yield three_batches.world(first, second)


EVERYWHERE: Final[Mapping[str, Callable[[], Iterator[World]]]] = {
    "every step": partial(at_steps, 1, 1, lost_replies=0.0),
    "every step, with lost replies": partial(at_steps, 1, 1, lost_replies=0.5),
    "before every write": partial(at_writes, "before_write"),
    "after every write": partial(at_writes, "after_write"),
    "steps of a recovery": partial(in_recovery, "step", of_first=13, of_second=11),
    "writes of a recovery": partial(in_recovery, "after_write", of_first=13, of_second=1),
}
"""What the command plays; the tests play a part of the steps."""
