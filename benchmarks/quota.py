"""Fullest window and share of the quota, as the simulated cloud's auditor counts them, in virtual time.

The cloud lets everything through and writes down the instant at which it counts each request, somewhere between the
first byte and the answer. Everybody sends batches of 100 from ten workers, as fast as the limiter lets them, for
an hour; "ours" is also shown as a whole rollout. The promise is a fullest window of at most 1,000 in every column, and
at least 99% of limit x time after the first window at a round trip of 100 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiolimiter import AsyncLimiter
from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate

from benchmarks.common import Simulated, table
from ecsbatch import Quota, Strategy
from ecsbatch.engine.limiter import TokenBucket
from ecsbatch.simulator.auditor import fullest_window

LIMIT, WINDOW, BATCH, MINUTES = 1000, 60.0, 100, 20
PROMISED_SHARE = 0.99


class Latency(NamedTuple):
    """A round trip: its mean in seconds, and its log-normal spread."""

    name: str
    mean: float
    sigma: float


LATENCIES = (
    Latency("0.1 s", 0.1, 0.0),
    Latency("logn 0.1 s", 0.1, 0.5),
    Latency("logn 0.6 s", 0.6, 0.7),
    Latency("logn 3 s", 3.0, 0.7),
)

Pass = Callable[[], Awaitable[Callable[[], None]]]
"""Waits for leave to send a batch; what it returns is called at the answer."""


def token_bucket(world: Simulated) -> Pass:
    """Ours."""
    bucket = TokenBucket(world.kept, "site", Quota(LIMIT, WINDOW))

    async def leave() -> Callable[[], None]:
        grant = await bucket.acquire(BATCH, BATCH)
        return lambda: bucket.changed() if world.kept.settle(bucket.answered(grant)) else None

    return leave


def async_limiter(_world: Simulated) -> Pass:
    """`AsyncLimiter(1000, 60)`, as its README has it."""
    limiter = AsyncLimiter(LIMIT, WINDOW)

    async def leave() -> Callable[[], None]:
        await limiter.acquire(BATCH)
        return lambda: None

    return leave


def pyrate_limiter(world: Simulated) -> Pass:
    """`pyrate-limiter` with its default, a perfect sliding log, on the virtual clock."""

    class VirtualBucket(InMemoryBucket):
        def now(self) -> int:
            return int(world.now() * 1000)

    limiter = Limiter(VirtualBucket([Rate(LIMIT, Duration.MINUTE)]))
    world.at_end(limiter.close)

    async def leave() -> Callable[[], None]:
        await limiter.try_acquire_async("site", BATCH)
        return lambda: None

    return leave


async def saturate(world: Simulated, make: Callable[[Simulated], Pass]) -> None:
    """Send from ten workers for the whole time."""
    leave = make(world)
    ids = iter(world.ids)

    async def work() -> None:
        while world.now() < MINUTES * 60:
            answered = await leave()
            await world.ecs.submit("SOFT", [next(ids) for _ in range(BATCH)])
            answered()

    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(work())


async def whole_rollout(world: Simulated, _make: object = None) -> None:
    """Restart as many servers by the whole engine."""
    ids = world.ids[: MINUTES * LIMIT]
    await world.engine.rollout(ids, Strategy(max_unavailable="100%", waves="100%", max_failures="100%")).run()


def measure(latency: Latency, make: Callable[[Simulated], Pass] | None) -> tuple[int, float]:
    """Return the fullest window, and the share of limit x time after the first one."""
    servers = LIMIT * (2 + MINUTES) + 10 * BATCH
    world = Simulated(servers=servers, quota_limit=None, latency=latency.mean, latency_sigma=latency.sigma)
    world.play((lambda: saturate(world, make)) if make else (lambda: whole_rollout(world)))
    counted = world.cloud.auditor.counted
    first, last = counted[0][0], counted[-1][0]
    later = sum(size for at, size in counted if at >= first + WINDOW)
    return fullest_window(counted, WINDOW)[0], later / (LIMIT * (last - first) / WINDOW)


ROWS: tuple[tuple[str, Callable[[Simulated], Pass] | None], ...] = (
    ("ecsbatch: a whole rollout", None),
    ("ecsbatch: TokenBucket", token_bucket),
    ("AsyncLimiter(1000, 60)", async_limiter),
    ("pyrate-limiter 1000/min", pyrate_limiter),
)


def main() -> int:
    """Print the table; 1 if a promise is broken."""
    kept = True
    rows: list[list[str]] = []
    for name, make in ROWS:
        cells = [name]
        for latency in LATENCIES:
            fullest, share = measure(latency, make)
            cells.append(f"{fullest:5}{share:8.1%}")
            if name.startswith("ecsbatch"):
                kept &= fullest <= LIMIT and (latency.mean > 0.1 or share >= PROMISED_SHARE)
        rows.append(cells)
    rows.append(
        ["promised of ours", *(f"<={LIMIT}{'  >=99%' if latency.mean <= 0.1 else '':8}" for latency in LATENCIES)]
    )
    table("fullest window, share of limit x time; by round trip", ["", *(latency.name for latency in LATENCIES)], rows)
    print("promises kept" if kept else "A PROMISE IS BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
