"""Limiters as one would use them: ours, those of other packages, and none but a sleep; all on the virtual clock.

Each waits for leave to send a batch, and hears of the answer. `AsyncLimiter` and the sleeps use the loop's clock, which
is virtual. `pyrate-limiter` takes a clock. `limits` and `throttled-py` do not: the name ``time`` inside their modules
is made to mean the virtual one while they are measured. `limits` does not wait: it is asked again when it says that
there will be room.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from aiolimiter import AsyncLimiter

from benchmarks.common import Simulated
from ecsbatch import Quota
from ecsbatch.engine.limiter import TokenBucket

LIMIT, WINDOW, BATCH = 1000, 60.0, 100

LONGEST: Final = 30.0
"""Seconds after which a request is given up: so far apart may the delays of two of them be."""

Leave = Callable[[], Awaitable[Callable[[], object]]]
"""Waits for leave to send a batch; what it returns is called at the answer."""


def _nothing() -> None:
    """Hear of an answer, and make nothing of it."""


def token_bucket(world: Simulated) -> Leave:
    """Ours: tokens are taken before the send, and come back a window after the answer."""
    bucket = TokenBucket(world.kept, "site", Quota(LIMIT, WINDOW))

    async def leave() -> Callable[[], object]:
        grant = await bucket.acquire(BATCH, BATCH)
        return lambda: bucket.changed() if world.kept.settle(bucket.answered(grant)) else None

    return leave


def async_limiter(capacity: float, seconds: float) -> Callable[[Simulated], Leave]:
    """`AsyncLimiter`: a full bucket to begin with, and so much again in so many seconds."""

    def make(_world: Simulated) -> Leave:
        limiter = AsyncLimiter(capacity, seconds)

        async def leave() -> Callable[[], object]:
            await limiter.acquire(BATCH)
            return _nothing

        return leave

    return make


def safe_spacing(spread: float) -> float:
    """Return the seconds between batches by which no window overflows.

    ``spread`` is how far the delays between send and count may be apart. A closed window of the cloud's holds those
    that left within ``window + spread``: of batches so far apart a hair fewer than one more than fit between.
    """
    return (WINDOW + spread) * BATCH / LIMIT + 0.001


def pyrate_limiter(world: Simulated) -> Leave:
    """`pyrate-limiter` with its default, a perfect sliding log."""
    pyrate = import_module("pyrate_limiter")

    def now(_: object) -> int:
        return int(world.now() * 1000)

    virtual = type("VirtualBucket", (pyrate.InMemoryBucket,), {"now": now})
    limiter = pyrate.Limiter(virtual([pyrate.Rate(LIMIT, pyrate.Duration.MINUTE)]))
    world.at_end(limiter.close)

    async def leave() -> Callable[[], object]:
        await limiter.try_acquire_async("site", BATCH)
        return _nothing

    return leave


def limits_strategy(name: str) -> Callable[[Simulated], Leave]:
    """`limits` with one of its strategies, in memory."""

    def make(world: Simulated) -> Leave:
        strategies, storage = import_module("limits.aio.strategies"), import_module("limits.aio.storage")
        for module in ("limits.aio.storage.memory", "limits.aio.strategies", "limits.limits"):
            _on_virtual_clock(world, import_module(module))
        limiter = getattr(strategies, name)(storage.MemoryStorage())
        a_minute = import_module("limits").RateLimitItemPerMinute(LIMIT)

        async def leave() -> Callable[[], object]:
            while not await limiter.hit(a_minute, "site", cost=BATCH):
                again = await limiter.get_window_stats(a_minute, "site")
                await asyncio.sleep(max(0.01, again.reset_time - world.now()))
            return _nothing

        return leave

    return make


def throttled_py(algorithm: str, burst: int) -> Callable[[Simulated], Leave]:
    """`throttled-py` with one of its algorithms, in memory."""

    def make(world: Simulated) -> Leave:
        throttled = import_module("throttled.asyncio")
        _on_virtual_clock(world, import_module("throttled.utils"))
        limiter = throttled.Throttled(
            key="site",
            using=algorithm,
            quota=throttled.rate_limiter.per_min(LIMIT, burst=burst),
            store=throttled.MemoryStore(),
            timeout=10 * WINDOW,
        )

        async def leave() -> Callable[[], object]:
            while (await limiter.limit(cost=BATCH)).limited:
                pass
            return _nothing

        return leave

    return make


class _VirtualTime:
    """What a peer's module finds under the name ``time``: the world's seconds, and all else as it is."""

    def __init__(self, world: Simulated) -> None:
        self.time = self.monotonic = self.perf_counter = world.now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def _on_virtual_clock(world: Simulated, module: ModuleType) -> None:
    """Have a module of a peer's use the virtual clock until the world ends."""
    there: Mapping[str, Any] = vars(module)
    if (real := there.get("time")) is not None:
        vars(module)["time"] = _VirtualTime(world)
        world.at_end(lambda: vars(module).update(time=real))


def chunks(*, from_answers: bool) -> Callable[[Simulated], Leave]:
    """No limiter: so many servers as the limit is, and again a window after their begin, or after their last answer."""

    def make(world: Simulated) -> Leave:
        in_turn, answered = asyncio.Lock(), asyncio.Event()
        left, in_flight, begun = LIMIT, 0, world.now()

        def one_answered() -> None:
            nonlocal in_flight
            in_flight -= BATCH
            answered.set()

        async def leave() -> Callable[[], object]:
            nonlocal left, in_flight, begun
            async with in_turn:
                if left == 0:
                    while from_answers and in_flight:
                        answered.clear()
                        await answered.wait()
                    await asyncio.sleep(WINDOW if from_answers else begun + WINDOW - world.now())
                    left, begun = LIMIT, world.now()
                left, in_flight = left - BATCH, in_flight + BATCH
            return one_answered

        return leave

    return make


PEERS: Final[Mapping[str, Callable[[Simulated], Leave]]] = {
    "AsyncLimiter(1000, 60)": async_limiter(LIMIT, WINDOW),
    "AsyncLimiter, safe for 0.1 s": async_limiter(BATCH, safe_spacing(0.1)),
    "AsyncLimiter, safe for 30 s": async_limiter(BATCH, safe_spacing(LONGEST)),
    "pyrate-limiter": pyrate_limiter,
    "limits, moving window": limits_strategy("MovingWindowRateLimiter"),
    "limits, fixed window": limits_strategy("FixedWindowRateLimiter"),
    "throttled-py, token bucket": throttled_py("token_bucket", LIMIT),
    "throttled-py, GCRA of 100": throttled_py("gcra", BATCH),
    "1,000 each 60 s": chunks(from_answers=False),
    "1,000, answers, sleep(60)": chunks(from_answers=True),
}
"""What a user would pick. The safe ones send batches of one size far enough apart for delays that differ by so much."""
