"""The small steps that change a drawn world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final

from ecsbatch.simulator.config import Faults
from ecsbatch.simulator.fleet import server_ids

from .world import Doom, Life, World

KINDS: Final = ("failed", "timed_out", "unknown", "not_started", "skipped")
"""What a resume may try again."""


def each_life(world: World, change: Callable[[Life], Life]) -> World:
    return replace(world, lives=tuple(change(life) for life in world.lives))


def ending(world: World, doom: Doom, chance: Random, **more: Any) -> World:
    """Let one of the lives end by this, and another follow it."""
    lives = list(world.lives)
    number = chance.randrange(len(lives))
    if number == len(lives) - 1:
        lives.append(lives[-1])
    lives[number] = replace(lives[number], doom=doom, **more)
    return replace(world, lives=tuple(lives))


def troubled(world: World, **changes: Any) -> World:
    """Add to the troubles of the first site's cloud."""
    return replace(world, troubles=replace(world.troubles, cloud=replace(world.troubles.cloud, **changes)))


def soon(chance: Random, longest: float = 60.0) -> float:
    """Draw an instant; the first seconds of a life are where most is begun."""
    return round(chance.choice((3.0, 15.0, longest)) * chance.random(), 3)


def fleet_of(world: World) -> list[str]:
    return server_ids(world.cloud.seed, world.cloud.servers)


def some(chance: Random, of: Sequence[str], most: int) -> list[str]:
    return chance.sample(of, min(len(of), chance.randint(1, most)))


def at_most_one(faults: Faults) -> Faults:
    """Scale the rates down where they are more than one in sum."""
    rates = {
        name: getattr(faults, name) for name in faults.__slots__ if name not in {"late_max", "slow_by", "huge_bytes"}
    }
    whole = sum(rates.values())
    return faults if whole <= 0.95 else replace(faults, **{name: rate * 0.95 / whole for name, rate in rates.items()})
