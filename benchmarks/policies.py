"""When other clients look at a job: the ages of their looks, in seconds, without end."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, repeat
from typing import Final, NamedTuple

Policy = Callable[[float], Iterator[float]]
"""Yields the ages of looks, by a unit that all of them grow with."""


def fixed(unit: float) -> Iterator[float]:
    """Yield the ages of looks in equal steps."""
    return accumulate(repeat(unit))


def back_off(unit: float) -> Iterator[float]:
    """Yield the ages of looks in steps that grow by half, up to twenty times the first."""
    return grown(unit, 1.5, 20 * unit)


def grown(first: float, factor: float, most: float) -> Iterator[float]:
    """Yield the ages of looks in steps that grow by a factor up to the most."""
    age, step = 0.0, first
    while True:
        age += step
        step = min(factor * step, most)
        yield age


DEFAULTS: Final[Mapping[str, Callable[[], Iterator[float]]]] = {
    "each 15 s, as boto3's waiters": lambda: fixed(15.0),
    "each 2 s": lambda: fixed(2.0),
    "0.1 s doubled up to 10 s, as Terraform": lambda: grown(0.1, 2.0, 10.0),
}
"""What clients do where nothing else is said."""


class Looked(NamedTuple):
    """What a policy cost and gave: looks for a batch, delays in the order of the batches and of their servers' ends."""

    looks: float
    delays: list[list[float]]


def watch(looks: Iterator[float], jobs: Sequence[tuple[float, Sequence[float]]]) -> Looked:
    """Return what looks show of jobs, each with the age until which it is watched and those of its servers' ends."""
    ages = until(looks, max(end for end, _ in jobs))
    count = sum(bisect_left(ages, end) + 1 for end, _ in jobs)
    return Looked(count / len(jobs), [[ages[bisect_left(ages, end)] - end for end in ends] for _, ends in jobs])


def until(looks: Iterator[float], age: float) -> list[float]:
    """Return the ages of looks up to the first that is not before an age."""
    ages: list[float] = []
    for at in looks:
        ages.append(at)
        if at >= age:
            return ages
    raise AssertionError("looks have no end")


def fitted(policy: Policy, jobs: Sequence[tuple[float, Sequence[float]]], kept_to: Callable[[Looked], bool]) -> Looked:
    """Return what a policy shows with the least unit with which it keeps to something, such as a number of looks."""
    low, high = 0.01, 1000.0
    for _ in range(40):
        unit = (low * high) ** 0.5
        low, high = (low, unit) if kept_to(watch(policy(unit), jobs)) else (unit, high)
    return watch(policy(high), jobs)
