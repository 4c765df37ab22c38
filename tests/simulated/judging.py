"""One seed, from its world to its verdict."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import dataclass, field

from .agreement import false_alarms
from .checker import check
from .lives import Record, Seams, play
from .world import World, draw


@dataclass(frozen=True)
class Verdict:
    """What came of one seed."""

    seed: int
    broken: tuple[str, ...]
    figures: Counter[str] = field(default_factory=Counter[str])


def judge(seed: int) -> Verdict:
    """Play a seed's world and check it."""
    return judge_world(draw(seed))


def judge_world(world: World, seams: Seams | None = None) -> Verdict:
    """Play a world and check it."""
    seed = world.seed
    try:
        record = play(world, seams)
        broken = check(record) or list(false_alarms(record))
    except Exception:  # noqa: BLE001 - a world that cannot be played is a finding of its seed, not the end of the others
        return Verdict(seed, (traceback.format_exc(),))
    return Verdict(seed, tuple(broken), Counter(figures(record)))


def figures(record: Record) -> dict[str, int]:
    """Return what a world had in it."""
    faults = {f"fault {kind}": count for kind, count in record.cloud.auditor.faults.items()}
    refused = sum(type(end.how).__name__ == "ServersClaimed" for end in record.ends)
    restarts = sum(len(sent.begun) for sent in record.cloud.sends)
    return {
        **faults,
        **record.tally,
        "lives": len(record.steps),
        "runs refused (claims)": refused,
        "servers restarted": restarts,
        "requests": len(record.cloud.sends),
    }
