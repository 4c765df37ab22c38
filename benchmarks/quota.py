"""Fullest window and share of the quota, as the simulated cloud's auditor counts them, in virtual time.

The cloud lets everything through and writes down the instant at which it counts each request, somewhere between the
first byte and the answer. Everybody sends batches of 100 from ten workers, as fast as the limiter lets them; "ours" is
also shown as a whole rollout, with prechecks, looks and a store.

The share is of limit x time, after the first window: from each server of the second thousand to the one of the last
thousand that stands at the same place, so that it does not matter where in a burst the measurement ends.

**The most that is safe** follows from what a client knows, the instants of send and answer. A request may be counted at
its answer, so its tokens must be out until a window after it; it may be counted at its send, so they must be out from
there. A token is then out for ``window + round trip``, and at most ``limit`` are: ``window / (window + mean round
trip)`` of the quota. Ours holds them 50 ms longer, for clocks that differ. Who knows beforehand how far round trips
can differ can space batches by that and use as much, until one takes longer.

Seeds: of all that is random, round trips and instants of counting; shares are medians of all seeds, with the least and
the most where they differ in print; the fullest window is that of all seeds.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Final, NamedTuple

from benchmarks.common import Options, Result, Simulated, Spread, Table, command, median_and_spread, say
from benchmarks.limiters import BATCH, LIMIT, PEERS, WINDOW, Leave, token_bucket
from ecsbatch import Strategy
from ecsbatch.engine.limiter import GUARD
from ecsbatch.simulator.auditor import fullest_window

WINDOWS: Final = 10
"""Windows' worth of servers that are sent."""

WORKERS: Final = 10

Make = Callable[[Simulated], Leave]


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


class Measured(NamedTuple):
    """What one limiter did at one round trip, over all seeds.

    Attributes:
        fullest: servers in the fullest window.
        share: of limit x time.
        second: seconds until the second thousand was counted.
    """

    fullest: int
    share: Spread
    second: float


async def saturate(world: Simulated, make: Make) -> None:
    """Send from ten workers until all are sent."""
    leave = make(world)
    batches = iter([world.ids[i : i + BATCH] for i in range(0, len(world.ids), BATCH)])

    async def work() -> None:
        for batch in batches:
            answered = await leave()
            await world.ecs.submit("SOFT", batch)
            answered()

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())


async def whole_rollout(world: Simulated) -> None:
    """Restart as many servers by the whole engine."""
    await world.engine.rollout(world.ids, Strategy(max_unavailable="100%", waves="100%", max_failures="100%")).run()


def steady_share(counted: Sequence[tuple[float, int]]) -> float:
    """Return the share of limit x time after the first window, wherever in a burst the last request stands."""
    sent = list(accumulate(size for _, size in counted))

    def instant(server: int) -> float:
        return counted[bisect_left(sent, server)][0]

    cycles = sent[-1] // LIMIT - 2
    spans = [instant(n + cycles * LIMIT) - instant(n) for n in range(LIMIT + 1, 2 * LIMIT + 1, 10)]
    return cycles * WINDOW * len(spans) / sum(spans)


def measure(latency: Latency, make: Make | None, windows: int, seeds: Sequence[int]) -> Measured:
    """Return what a limiter did; None: ours in a whole rollout."""
    counts: list[Sequence[tuple[float, int]]] = []
    for seed in seeds:
        world = Simulated(
            servers=LIMIT * (windows + 2),
            quota_limit=None,
            latency=latency.mean,
            latency_sigma=latency.sigma,
            seed=seed,
        )
        world.play(partial(saturate, world, make) if make else partial(whole_rollout, world))
        counts.append(world.cloud.auditor.counted)
    return Measured(
        max(fullest_window(counted, WINDOW)[0] for counted in counts),
        median_and_spread([steady_share(counted) for counted in counts]),
        median_and_spread([_second_thousand(counted) for counted in counts]).median,
    )


def _second_thousand(counted: Sequence[tuple[float, int]]) -> float:
    sent = list(accumulate(size for _, size in counted))
    return counted[bisect_left(sent, 2 * LIMIT)][0] - counted[0][0]


def most_that_is_safe(latency: Latency, guard: float = 0.0) -> float:
    """Return the share that holds tokens from the send to a window after the answer, and not a moment longer."""
    return WINDOW / (WINDOW + guard + latency.mean)


ROWS: Final[dict[str, Make | None]] = {
    "ecsbatch, a whole rollout": None,
    "ecsbatch, TokenBucket": token_bucket,
    **PEERS,
}


def run(options: Options) -> Result:
    """Measure all limiters at all round trips."""
    latencies = (LATENCIES[0], LATENCIES[2]) if options.quick else LATENCIES
    windows, seeds = (6, [1]) if options.quick else (WINDOWS, range(1, options.repeats + 1))
    rows: list[list[str]] = []
    figures: list[dict[str, Any]] = []
    used: dict[str, float] = {}
    broken: list[str] = []
    for name, make in ROWS.items():
        ours = name.startswith("ecsbatch")
        try:
            seen = [measure(latency, make, windows, seeds) for latency in latencies]
        except ImportError:
            rows.append([name, "not installed", *[""] * len(latencies)])
            continue
        say(f"quota: {name}: {', '.join(f'{each.fullest} {each.share.median:.2%}' for each in seen)}")
        rows.append([name, *(f"{each.fullest:,}  {_percent(each.share)}" for each in seen), f"{seen[0].second:.0f} s"])
        for latency, each in zip(latencies, seen, strict=True):
            found = {"latency": latency.name, "fullest": each.fullest, "share": each.share.median}
            figures.append({"name": name, "ours": ours, **found, "second": each.second})
            if ours and each.fullest > LIMIT:
                broken.append(f"{name}: {each.fullest:,} servers in a window, at a round trip of {latency.name}")
        used[name] = seen[0].share.median
    for what, guard in (
        ("the most that is safe", 0.0),
        (f"the same with {GUARD * 1000:.0f} ms to spare, as ours", GUARD),
    ):
        rows.append([what, *(f"{most_that_is_safe(latency, guard):.2%}" for latency in latencies), ""])
    return Result(
        [_table(latencies, rows, len(seeds))], {"quota_used": used[next(iter(ROWS))]}, {"rows": figures}, broken
    )


def _percent(share: Spread) -> str:
    return share._replace(median=share.median * 100, least=share.least * 100, most=share.most * 100).text("{:.1f}", "%")


def _table(latencies: Sequence[Latency], rows: Sequence[Sequence[str]], seeds: int) -> Table:
    return Table(
        f"A quota of {LIMIT:,} in {WINDOW:.0f} s: the fullest window, and the share of limit x time, by round trip",
        ["", *(latency.name for latency in latencies), "2,000 sent at 0.1 s"],
        rows,
        [
            "One seed." if seeds == 1 else f"{seeds} seeds: of shares the median and, where they differ, the extremes.",
            "Virtual time: the figures do not depend on the machine.",
            "`limits` and `throttled-py` take no clock: `time` in their modules is the virtual one meanwhile.",
        ],
    )


def main() -> int:
    """Print the table; 1 if a promise is broken."""
    return command(run)


if __name__ == "__main__":
    raise SystemExit(main())
