"""What the worlds had not in them: each dimension is drawn from a chance of its own and laid on top of the old world.

So `old` plays a seed exactly as ever, whatever is added here, and a dimension's name alone plays it with nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Final

from . import cloud_dimensions as cloud
from . import machine_dimensions as machine
from .world import World
from .world import draw as draw_old

DIMENSIONS: Final[Mapping[str, tuple[float, Callable[[World, Random], World]]]] = {
    "two_sites": (0.08, cloud.two_sites),
    "late_store": (0.25, machine.late_store),
    "failing_store": (0.08, machine.failing_store),
    "frozen": (0.2, machine.frozen),
    "wall_clock": (0.15, machine.wall_clock),
    "slow_looks": (0.2, cloud.slow_looks),
    "hidden": (0.06, cloud.hidden),
    "holes": (0.1, cloud.holes),
    "no_updated": (0.08, cloud.no_updated),
    "others_restarts": (0.15, cloud.others_restarts),
    "healing": (0.12, cloud.healing),
    "left_out": (0.15, machine.left_out),
    "quick_words": (0.15, machine.quick_words),
    "abort_and_die": (0.08, machine.abort_and_die),
    "foreign_code": (0.12, cloud.foreign_code),
    "overlap": (0.1, machine.overlap),
    "gives_up": (0.1, machine.gives_up),
    "days": (0.03, machine.days),
    "soak": (0.1, machine.soak),
    "long_blackhole": (0.05, machine.long_blackhole),
    "slow_tokens": (0.06, machine.slow_tokens),
    "lost_requests": (0.08, machine.lost_requests),
    "as_service": (0.2, machine.as_service),
    "named": (0.1, machine.named),
}
"""Each dimension by its name: in what share of the seeds it is, and what it adds to a world."""


def draw(seed: int, dimensions: str = "new") -> World:
    """Draw the world of a seed.

    Args:
        seed: names the world.
        dimensions: ``old``, ``new`` (each of the new ones where the seed has it), or names with commas between: these
            alone, in every seed.
    """
    world = draw_old(seed)
    if dimensions == "old":
        return world
    wanted = DIMENSIONS if dimensions == "new" else dimensions.split(",")
    has: list[str] = []
    for name in wanted:
        likely, add = DIMENSIONS[name]
        chance = Random(f"{name}-{seed}")
        if chance.random() < likely or dimensions != "new":
            world = add(world, chance)
            has.append(name)
    return replace(world, dimensions=dimensions, has=tuple(has))
