"""Nothing waits for itself: tokens and places of the budget are used soon after they are free, with few requests."""

from __future__ import annotations

from statistics import mean

import pytest

from ecsbatch.config.settings import Strategy
from ecsbatch.engine.limiter import GUARD
from ecsbatch.model import events as ev
from tests.engine.world import World

ROUND_TRIP = 0.1
LINGER = 0.5


def run_through(world: World, strategy: Strategy) -> tuple[list[float], list[float]]:
    """Restart a world's servers; return when each was sent and when the outcome of each was known, in order."""
    sent: list[float] = []
    known: list[float] = []

    async def main() -> None:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, strategy)
            await rollout.run()
            async for recorded in rollout.events():
                if isinstance(recorded.event, ev.BatchSubmitting):
                    sent.extend([recorded.ts] * len(recorded.event.servers))
                elif isinstance(recorded.event, ev.ServerEvent):
                    known.append(recorded.ts)

    world.live(main)
    return sorted(sent), sorted(known)


@pytest.mark.quick
def test_tokens_are_used_as_soon_as_they_are_back_and_no_look_is_waited_for_then() -> None:
    """Looks older than a minute are no baseline, and tokens take more than a minute to come back."""
    world = World(servers=3_000, latency=ROUND_TRIP, latency_sigma=0.0, quota_limit=None)

    sent, _ = run_through(world, Strategy(max_unavailable="100%", waves="100%"))
    cycles = [later - earlier for earlier, later in zip(sent, sent[1000:], strict=False)]
    audit = world.cloud.audit()

    assert audit["fullest_window"] == 1000
    assert min(cycles) == pytest.approx(60 + GUARD + ROUND_TRIP, abs=1e-3)
    assert mean(cycles) < 60 + GUARD + ROUND_TRIP + 0.01
    # One for each of the 30 batches, and two anew in each of the two windows that are waited for.
    assert world.cloud.auditor.looks["servers"] <= 30 + 2 * 2


@pytest.mark.parametrize("batch_size", [100, 7])
def test_a_free_place_waits_for_one_linger_and_one_look(batch_size: int) -> None:
    world = World(servers=400, latency=ROUND_TRIP, latency_sigma=0.0)

    sent, known = run_through(world, Strategy(max_unavailable=100, waves="100%", batch_size=batch_size))
    waited = [next_one - free for free, next_one in zip(known, sent[100:], strict=False)]

    assert mean(waited) < LINGER + ROUND_TRIP
    assert max(waited) < LINGER + 2 * ROUND_TRIP + 0.01
    # The linger is there for this: several servers go in one request.
    assert world.cloud.auditor.accepted_requests < 240


def test_few_tokens_are_left_idle_by_large_batches() -> None:
    """Of four windows' worth of servers the last leave after three, however many a batch would rather have."""
    world = World(servers=4_000, latency=ROUND_TRIP, latency_sigma=0.0)

    sent, _ = run_through(world, Strategy(max_unavailable=2_000, waves="100%", batch_size=1_000))

    assert world.cloud.audit()["fullest_window"] == 1000
    assert sent[-1] - sent[0] < 3 * (60 + GUARD + ROUND_TRIP) + 2
    assert world.cloud.auditor.accepted_requests < 13
