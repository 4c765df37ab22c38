"""Which batch a wave waits for: nothing else can be sent, and none has more servers under way."""

from __future__ import annotations

from statistics import median
from typing import Any

import pytest
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.engine.poll_schedule import Watched
from ecsbatch.engine.resolver import JobWatch
from ecsbatch.engine.server_queue import Batch, Prechecked, RestartOptions, ServerQueue
from ecsbatch.engine.watched_jobs import WatchedJobs
from ecsbatch.model import events as ev
from ecsbatch.model.servers import ServerView
from ecsbatch.model.tokens import Grant
from ecsbatch.model.view_table import ViewTable

NOBODY: Any = None


def queue_of(**state: Any) -> ServerQueue:
    """Return a queue that has nothing left to send, but for what is said."""
    queue = ServerQueue(site="", options=RestartOptions(), journal=NOBODY, owner=NOBODY)
    for name, value in state.items():
        setattr(queue, name, value)
    return queue


def watch(queue: ServerQueue, under_way: int) -> JobWatch:
    """Return what is watched of a batch with so many servers under way."""
    batch = Batch(1, queue, ViewTable({}), Grant("g", 1, 0.0), 0.0, 0.0, set(), job_id="j")
    return JobWatch(batch, 0.0, {f"s{i}" for i in range(under_way)}, 1000)


@pytest.mark.parametrize(
    ("state", "others", "elsewhere", "holds"),
    [
        ({}, [], [], True),
        ({}, [3, 5], [], True),
        ({}, [3, 6], [], False),
        ({}, [6, 3], [], False),
        # Those of another queue are of another rollout, or of direct restarts.
        ({}, [3], [9], True),
        # Something may still be sent.
        ({"more": True}, [], [], False),
        ({"waiting": ["a"]}, [], [], False),
        ({"ready": [Prechecked(ViewTable({"a": ServerView("a")}), 0.0)]}, [], [], False),
        ({"looking": 1}, [], [], False),
        ({"packing": 1}, [], [], False),
        ({"in_air": 1}, [], [], False),
    ],
)
def test_a_batch_holds_up_a_wave_where_nothing_else_can_be_sent_and_none_has_more_under_way(
    state: dict[str, Any], others: list[int], elsewhere: list[int], *, holds: bool
) -> None:
    queue = queue_of(**state)
    mine = watch(queue, 5)
    jobs = WatchedJobs(tick=1.0)
    for each in (mine, *(watch(queue, n) for n in others), *(watch(queue_of(), n) for n in elsewhere)):
        jobs.add(each)

    assert jobs.holds_up(mine) is holds


def test_what_was_seen_of_a_batch_since_decides_whether_another_holds_up_a_wave() -> None:
    queue, jobs = queue_of(), WatchedJobs(tick=1.0)
    mine, larger, gone = watch(queue, 5), watch(queue, 6), watch(queue, 9)
    for each in (mine, larger, gone):
        jobs.add(each)
    found = [jobs.holds_up(mine)]

    jobs.forget(gone)
    found.append(jobs.holds_up(mine))
    larger.pending.pop()
    jobs.seen(larger)
    found.append(jobs.holds_up(mine))

    assert found == [False, False, True]


def test_jobs_that_are_alike_are_counted_together_and_each_as_far_as_it_was_seen() -> None:
    queue, jobs = queue_of(), WatchedJobs(tick=1.0)
    watches = [watch(queue, 2) for _ in range(4)]
    for each in watches:
        jobs.add(each)

    watches[0].pending.pop()
    jobs.seen(watches[0])
    jobs.forget(watches[1])

    assert sorted(jobs.by_age(30.0)) == [Watched(30.0, 1, 1000, 1), Watched(30.0, 2, 1000, 2)]
    for each in watches:
        jobs.forget(each)
    assert jobs.by_age(30.0) == []


def test_the_last_server_of_each_wave_is_soon_seen() -> None:
    """Eight waves of a batch of 1,000: none begins before the last server of the one before is seen to have ended."""
    world = World(servers=8000, quota_limit=None, job_retention=10 * 86_400.0)
    outcomes: dict[str, float] = {}

    async def main() -> None:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, Strategy(waves="1000", max_unavailable="100%", batch_size=1000))
            await rollout.run()
            async for recorded in rollout.events():
                if isinstance(recorded.event, ev.ServerRestarted):
                    outcomes[recorded.event.server] = recorded.ts - world.config.epoch

    world.run(main)

    jobs: Any = world.cloud._service.jobs._jobs.values()
    last = [max(outcomes[id_] for id_ in job._server_ids) - max(job.sub_ends) for job in jobs]
    assert len(last) == 8
    assert median(last) < 5.0
