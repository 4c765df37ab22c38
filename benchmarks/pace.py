"""From the first submit to the last, against what quota, budget, latency and batching allow: one wave, virtual time.

The **ideal** knows each server's end in the instant in which we did, and wastes nothing else: a place of the budget is
taken again as soon as it is free, a token as soon as it is back. By rates, with N places in the budget:

    min(N / (restart + detection),  limit / (window + round trip))          servers a second

where ``restart`` is from a server's intent to its end in the cloud, with the half round trip that the request takes,
and ``detection`` from there to its outcome here: what looks cost is `benchmarks looks`'s affair. A token is out from
its grant to a window after the answer.

The **bound** is what latency and batching leave of it. A server is looked at before it is sent, so a place waits for
one more round trip; and one that frees alone waits ``linger`` (0.5 s) for others, at most until there are enough for a
batch of b, so that requests name several. For places that free r times a second, evenly:

    N / (restart + detection + round trip + wait),   wait = min(linger (1 + r linger / 2) / (1 + r linger), b / 2r)

and each request, all looks at jobs included, takes a turn under the API's rate: batches of one server need most of it.

Rates say too little of the beginning, when all places and tokens are free at once, and of the end. So both are played:
the same servers in the same order with the restart and detection that each had, by a few lines that know places,
tokens, linger and look and nothing of the engine. ``share`` is the bound's time from first to last submit over ours;
``of ideal`` the same of the ideal's, which pays for no batches. ``idle`` is the mean time between an end that was seen
and the submit that took its place.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import mean
from typing import Final, NamedTuple

from benchmarks.common import Options, Result, Simulated, Table, command, median_and_spread, say
from ecsbatch import Strategy
from ecsbatch.model import events as ev


class Case(NamedTuple):
    """What is restarted and how.

    Attributes:
        servers: in the one wave.
        at_once: places in the budget.
        batch: servers in a request at the most.
        latency, sigma: the round trip's mean in seconds, and its log-normal spread.
    """

    servers: int
    at_once: int
    batch: int = 100
    latency: float = 0.1
    sigma: float = 0.0

    def name(self) -> str:
        """Return it as the table's first column has it."""
        trip = f"{self.latency:g} s{' logn' if self.sigma else ''}"
        return f"{self.at_once:,} at once, batches of {self.batch:,}, {trip}"


CASES: Final = (
    Case(2_000, 100),
    Case(6_000, 500),
    Case(6_000, 600),
    Case(8_000, 2_000),
    Case(3_000, 500, batch=1),
    Case(6_000, 500, batch=10),
    Case(6_000, 500, batch=1_000),
    Case(8_000, 2_000, batch=1_000),
    Case(6_000, 600, latency=0.05),
    Case(6_000, 600, latency=0.6, sigma=0.7),
    Case(8_000, 2_000, latency=0.6, sigma=0.7),
)
QUICK: Final = (Case(1_000, 100), Case(3_000, 600), Case(4_000, 2_000, batch=1_000))


class Sent(NamedTuple):
    """A server's way: when its intent was stored, how long its place was taken."""

    at: float
    taken: float


class Pace(NamedTuple):
    """What one run showed, in seconds, servers a second and shares."""

    restart: float
    detection: float
    idle: float
    named: float
    requests: float
    rate: float
    bound: float
    ideal: float


def paced(case: Case, seed: int) -> Pace:
    """Restart the fleet once."""
    world = Simulated(
        servers=case.servers,
        latency=case.latency,
        latency_sigma=case.sigma,
        job_retention=10 * 86_400.0,
        seed=seed,
    )
    seen: list[Pace] = []
    world.play(partial(_run, world, case, seen.append))
    return seen[0]


async def _run(world: Simulated, case: Case, tell: Callable[[Pace], object]) -> None:
    strategy = Strategy(max_unavailable=case.at_once, waves="100%", batch_size=case.batch, max_failures="100%")
    rollout = world.engine.rollout(world.ids, strategy)
    await rollout.run()
    submits: list[ev.BatchSubmitting] = []
    sent: dict[str, float] = {}
    known: dict[str, float] = {}
    async for recorded in rollout.events():
        if isinstance(recorded.event, ev.BatchSubmitting):
            submits.append(recorded.event)
            sent.update(dict.fromkeys(recorded.event.servers, recorded.ts))
        elif isinstance(recorded.event, ev.ServerRestarted):
            known[recorded.event.server] = recorded.ts
    jobs = world.cloud._service.jobs._jobs.values()  # noqa: SLF001 - the cloud's own instants, which no client sees
    epoch = world.cloud.config.epoch
    ends = {id_: epoch + end for job in jobs for id_, end in zip(job._server_ids, job.sub_ends, strict=True)}  # noqa: SLF001
    ways = [Sent(at, known[id_] - at) for id_, at in sent.items()]
    window = world.engine.engine.quota.window
    quota = world.engine.engine.quota.limit, window + case.latency
    whole = ways[-1].at - ways[0].at
    requests = world.cloud.auditor.requests
    looks = (requests - len(submits)) / len(ways)
    toll = Toll(case.batch, world.engine.engine.linger, case.latency, world.ecs.api_rate, looks)
    tell(
        Pace(
            restart=mean(ends[id_] - at for id_, at in sent.items()),
            detection=mean(known[id_] - ends[id_] for id_ in sent),
            idle=mean(_idle(ways, case.at_once)),
            named=mean(len(submit.servers) for submit in submits),
            requests=requests / (max(known.values()) - ways[0].at),
            rate=(len(ways) - min(case.at_once, quota[0])) / whole,
            bound=played(ways, case.at_once, quota, toll) / whole,
            ideal=played(ways, case.at_once, quota) / whole,
        )
    )


def _idle(ways: Sequence[Sent], places: int) -> list[float]:
    """Return how long each place stood empty before it was taken again, first come first served."""
    free = sorted(way.at + way.taken for way in ways)
    return [way.at - at for way, at in zip(ways[places:], free, strict=False)]


class Toll(NamedTuple):
    """What latency and batching cost; as it stands, nothing.

    Attributes:
        batch: servers that go together at the most.
        linger: seconds for which the first of them waits for others.
        look: seconds of the look before they leave.
        rate: requests a second, of which a second's worth may leave at once.
        looks: requests for each server besides those that send.
    """

    batch: int = 1
    linger: float = 0.0
    look: float = 0.0
    rate: float = math.inf
    looks: float = 0.0


def played(ways: Sequence[Sent], places: int, quota: tuple[int, float], toll: Toll | None = None) -> float:
    """Send servers of which each takes a place for as long as it did; return the seconds from first to last.

    Places that free within the linger of the first of them are taken together. The tokens of ``quota``, so many, are
    back so many seconds after they were taken. A server's looks have taken their turns when its place is free.
    """
    limit, out = quota
    toll = toll or Toll()
    free = [0.0] * places
    sent: list[float] = []
    turn = 0.0
    while len(sent) < len(ways):
        first = heapq.heappop(free)
        together = [first]
        most = min(toll.batch, len(ways) - len(sent))
        while free and free[0] <= first + toll.linger and len(together) < most:
            together.append(heapq.heappop(free))
        leave = (together[-1] if len(together) == most else first + toll.linger) + toll.look
        for was_free in together:
            turn = max(turn, was_free - 1) + (toll.looks if was_free else 0) / toll.rate
        turn = max(turn, leave - 1) + 1 / toll.rate
        leave = max(leave, turn)
        for _ in together:
            at = max(leave, sent[-limit] + out) if len(sent) >= limit else leave
            heapq.heappush(free, at + ways[len(sent)].taken)
            sent.append(at)
    return max(sent) - min(sent)


def run(options: Options) -> Result:
    """Measure all cases."""
    seeds = [1] if options.quick else range(1, options.repeats + 1)
    rows: list[list[str]] = []
    shares: dict[str, float] = {}
    for case in QUICK if options.quick else CASES:
        paces = [paced(case, seed) for seed in seeds]
        mid = Pace(*(median_and_spread(values).median for values in zip(*paces, strict=True)))
        share, ideal = (_percent([each[i] for each in paces]) for i in (-2, -1))
        say(f"pace: {case.name()}: {share} of the bound, {ideal} of the ideal, idle {mid.idle:.2f} s")
        times = (f"{each:.2f}" for each in (mid.restart, mid.detection))
        idle = f"{mid.idle:.2f}" if mid.idle < mid.restart else "-"
        rows.append(
            [case.name(), *times, idle, f"{mid.named:.1f}", f"{mid.requests:.1f}", f"{mid.rate:.2f}", share, ideal]
        )
        shares[case.name()] = mid.bound
    figures = [{"name": name, "ours": True, "share": share} for name, share in shares.items()]
    return Result([_table(rows, len(seeds))], {"pace_share": min(shares.values())}, {"rows": figures})


def _percent(values: Sequence[float]) -> str:
    return median_and_spread([value * 100 for value in values]).text("{:.1f}", "%")


def _table(rows: Sequence[Sequence[str]], seeds: int) -> Table:
    head = (
        "restart s",
        "detection s",
        "idle s",
        "a request",
        "requests/s",
        "submits/s",
        "of the bound",
        "of the ideal",
    )
    return Table(
        "From the first submit to the last, of the bound that latency and batching set, and of the ideal",
        ["at once, batches of at most, round trip", *head],
        rows,
        [
            "One seed."
            if seeds == 1
            else f"{seeds} seeds: medians, of the shares also the extremes where they differ.",
            "Virtual time: the figures do not depend on the machine.",
            "The ideal pays for no look before a submit and for no batches, and hears of each end when we did.",
            "The bound looks, lingers and keeps to the API's rate. Idle: a place, where the quota leaves it something.",
            "It is played with batches of its own: where ours fell better, a share is some tenths above 100%.",
        ],
    )


def main() -> int:
    """Print the table."""
    return command(run)


if __name__ == "__main__":
    raise SystemExit(main())
