"""A person is told at once that nothing can be seen, long before the run stops for it."""

from __future__ import annotations

import asyncio

import pytest
from world import World

from ecsbatch.cli.drive import blind_notice
from ecsbatch.config.settings import Strategy


def test_an_engine_says_for_how_long_and_why_it_sees_nothing() -> None:
    world = World(servers=200, outages=((20.0, 80.0),))
    told: list[tuple[float, str]] = []

    async def main() -> None:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable=100, waves="100%"))
            group.create_task(rollout.run())
            for wait in (15, 45, 60):
                await asyncio.sleep(wait)
                told.append(restarter.blindness())

    world.live(main)
    before, during, after = told

    assert (before[0], after[0]) == (0.0, 0.0)
    assert 10 < during[0] <= 40
    assert during[1]


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0.0, ""),
        (2.9, ""),
        (12.0, "Nothing can be seen of the cloud for 12s: connection refused. No server is blamed for it; after 5m00s"),
    ],
)
def test_a_moment_is_not_worth_a_word(seconds: float, says: str) -> None:
    notice = blind_notice(seconds, "connection refused.", 300.0)

    assert notice.startswith(says)
    assert bool(notice) == bool(says)
