"""One seed of several holders, from its scene to its verdict."""

from __future__ import annotations

import traceback
from collections import Counter

from tests.simulated.judge import Verdict, figures

from .scene import draw
from .stage import play
from .verdicts import check


def judge(seed: int) -> Verdict:
    """Play a seed's scene and check it."""
    scene = draw(seed)
    try:
        record = play(scene)
        broken = check(record)
    except Exception:  # noqa: BLE001 - a world that cannot be played is a finding of its seed, not the end of the others
        return Verdict(seed, (traceback.format_exc(),), scene.has)
    counts = Counter(figures(record))
    counts.update({f"scenes with {name}": 1 for name in scene.has})
    return Verdict(seed, tuple(broken), scene.has, counts)
