"""Several processes on one store spend one quota, for minutes of virtual time: what each gets, and all together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import pytest
from world import Wrapper

from ecsbatch import Engine, Restarter, Strategy
from ecsbatch.engine.limiter import TokenBucket
from ecsbatch.model.quota import Quota
from ecsbatch.model.run import Committed, Lease, Transaction
from ecsbatch.model.tokens import Grant, Shortage, TokenRequest
from ecsbatch.simulator.auditor import fullest_window
from ecsbatch.simulator.virtual_time import VirtualClock, VirtualLoop, run
from ecsbatch.store import DatabaseStore, MemoryDatabase, open_store
from ecsbatch.testing import World

LIMIT: Final = 1000
WINDOW: Final = 60.0
WORKERS: Final = 10
ROUND_TRIP: Final = 0.1


@dataclass
class Process:
    """Sends batches as fast as it gets tokens for them.

    Attributes:
        batch: servers of a batch.
        at_least: tokens that a batch is worth sending for; None: a quarter of it.
        start, end: seconds; at its end it dies with all that it has under way.
        rests: seconds that it rests behind each batch.
        limit: of the quota, as it has it.
        counted: when the cloud counted how many servers.
        asked: how often it asked for tokens.
    """

    batch: int = 100
    at_least: int | None = None
    start: float = 0.0
    end: float | None = None
    rests: float = 0.0
    limit: int = LIMIT
    counted: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    asked: int = 0

    async def live(self, database: MemoryDatabase, clock: VirtualClock, chance: Random) -> None:
        """Send until it is cancelled."""
        await asyncio.sleep(self.start)
        store = await open_store(database, clock=clock, inline=True).__aenter__()
        try:
            async with asyncio.timeout(self.end and self.end - self.start), asyncio.TaskGroup() as requests:
                await self._send_all(store, chance, requests)
        except TimeoutError:
            store.sever()

    async def _send_all(self, store: DatabaseStore, chance: Random, requests: asyncio.TaskGroup) -> None:
        bucket, slots = TokenBucket(store, "site", Quota(self.limit, WINDOW)), asyncio.Semaphore(WORKERS)
        loop = asyncio.get_running_loop()

        def take(request: TokenRequest) -> asyncio.Future[Grant | Shortage]:
            self.asked += 1
            return store.take(request)

        async def send(grant: Grant) -> None:
            await asyncio.sleep(chance.uniform(0, ROUND_TRIP))
            self.counted.append((loop.time(), grant.tokens))
            await asyncio.sleep(chance.uniform(0, ROUND_TRIP))
            await store.settle(bucket.answered(grant))
            bucket.changed()
            slots.release()

        while True:
            await slots.acquire()
            at_least = self.batch // 4 if self.at_least is None else self.at_least
            grant = await bucket.acquire(
                self.batch, at_least, more=lambda: 0 if slots.locked() or self.rests else 10_000, take=take
            )
            requests.create_task(send(grant))
            await asyncio.sleep(self.rests)

    def spent(self, begin: float, end: float) -> int:
        """Return what was counted of it in a time."""
        return sum(size for at, size in self.counted if begin <= at < end)


def lived(minutes: int, *processes: Process) -> Sequence[Process]:
    """Let processes live for so many minutes; return those that have not ended."""
    loop = VirtualLoop(max_time=1e6)
    clock = VirtualClock(loop.time)
    database = MemoryDatabase(leases=True, clock=clock.wall)

    async def life() -> None:
        lives = [asyncio.create_task(each.live(database, clock, Random(i))) for i, each in enumerate(processes)]
        await asyncio.wait(lives, timeout=60.0 * minutes)
        for each in lives:
            each.cancel()
        await asyncio.wait(lives)
        assert [each.exception() for each in lives if not each.cancelled()] == [None for each in processes if each.end]

    run(life(), loop=loop)
    database.close()
    counted = sorted(each for process in processes for each in process.counted)
    assert fullest_window(counted, WINDOW)[0] <= LIMIT
    return [process for process in processes if process.end is None]


SCENES: Final = {
    "of one kind": (Process(), Process(), Process(), Process()),
    "batches of different sizes": (Process(), Process(), Process(300), Process(1000)),
    "the largest batches first": (Process(1000), Process(300, start=1.0), Process(start=1.0), Process(start=1.0)),
    "batches that are to go whole": (Process(1000, 1000), Process(100, 100, start=0.5), Process(start=0.5)),
    "one begins late": (Process(), Process(1000), Process(37), Process(300, start=100.0)),
    "one dies": (Process(), Process(1000), Process(start=5.0), Process(300, end=100.0)),
    "eight": tuple(Process(start=i / 10) for i in range(8)),
}


@pytest.mark.parametrize("scene", SCENES)
def test_all_get_the_same_and_all_of_the_quota_is_used(scene: str) -> None:
    processes = lived(8, *SCENES[scene])
    # From when a newcomer has had a window for its share, and what a dead process had is spent for certain.
    begin, end = 4.5 * 60, 7.5 * 60
    got = [process.spent(begin, end) for process in processes]

    assert max(got) <= 1.05 * min(got)
    assert sum(got) >= 0.99 * 3 * LIMIT
    # It asks once a second, and for each batch: no crowd asks again and again, and no batch crumbles.
    assert all(
        len(process.counted) < 8 * (3 + LIMIT / len(processes) / min(process.batch, 100)) for process in processes
    )


def test_who_can_use_fewer_gets_what_it_can_use_and_the_others_divide_the_rest() -> None:
    few, one, two = lived(6, Process(20, rests=30.0), Process(), Process(1000))

    assert few.spent(60, 360) >= 5 * 20
    assert one.spent(60, 360) == pytest.approx(two.spent(60, 360), rel=0.05)
    assert sum(each.spent(120, 360) for each in (few, one, two)) >= 0.99 * 4 * LIMIT


def test_a_process_with_a_lower_limit_is_not_starved() -> None:
    low, one, two = lived(6, Process(limit=300, start=1.0), Process(), Process())

    assert low.spent(120, 360) == pytest.approx(400, abs=100)
    assert one.spent(120, 360) == pytest.approx(two.spent(120, 360), abs=100)


class Overheard(Wrapper):
    """A store that notes which tokens it is asked for."""

    def __init__(self, inner: DatabaseStore) -> None:
        super().__init__(inner)
        self.takes: list[TokenRequest] = []

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Note, and hand on."""
        if transaction.take is not None:
            self.takes.append(transaction.take)
        written: asyncio.Future[Committed] = self.inner.commit(lease, transaction, folded=folded)
        return written


def test_the_engine_says_how_many_more_it_could_send_and_that_it_could_not_send_them_yet() -> None:
    with World(servers=240, latency=1.0) as world:

        async def life() -> list[TokenRequest]:
            async with world.client() as client, world.store() as store:
                heard = Overheard(store)
                engine = Engine(submit_workers=3, linger=0.0)
                async with Restarter(client, heard, engine=engine, clock=world.clock, seed=1) as restarter:
                    strategy = Strategy(batch_size=20, waves="100%", max_unavailable="100%")
                    await restarter.rollout(world.ids, strategy).run()
                return heard.takes

        takes = world.run(life)

    assert [take.want for take in takes] == [20] * 12
    # The third takes the last worker: what is left could not be sent before one of them is back.
    assert [take.more for take in takes[:3]] == [220, 200, 0]
