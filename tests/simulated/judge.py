"""One seed, from its world to its verdict."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import dataclass, field

from .agreement import false_alarms
from .checker import check
from .dimensions import draw
from .play import Record, play


@dataclass(frozen=True)
class Verdict:
    """What came of one seed."""

    seed: int
    broken: tuple[str, ...]
    has: tuple[str, ...] = ()
    figures: Counter[str] = field(default_factory=Counter[str])


def judge(seed: int, dimensions: str = "new") -> Verdict:
    """Play a seed's world and check it."""
    world = draw(seed, dimensions)
    try:
        record = play(world)
        broken = check(record) or list(false_alarms(record))
    except Exception:  # noqa: BLE001 - a world that cannot be played is a finding of its seed, not the end of the others
        return Verdict(seed, (traceback.format_exc(),), world.has)
    return Verdict(seed, tuple(broken), world.has, Counter(figures(record)))


def figures(record: Record) -> dict[str, int]:
    """Return what a world had in it."""
    clouds = record.clouds.values()
    faults = Counter[str]()
    for cloud in clouds:
        faults.update({f"fault {kind}": count for kind, count in cloud.auditor.faults.items()})
    sends = [sent for cloud in clouds for sent in cloud.sends]
    refused = sum(type(end.how).__name__ == "ServersClaimed" for end in record.ends)
    return {
        **faults,
        **record.tally,
        **{f"dimension {name}": 1 for name in record.world.has},
        "lives": len(record.steps),
        "runs refused (claims)": refused,
        "callers": len(record.told),
        "callers who gave up": sum(told.cancelled for told in record.told),
        "commands": len(record.commands),
        "servers restarted": sum(len(sent.begun) for sent in sends),
        "requests": len(sends),
    }
