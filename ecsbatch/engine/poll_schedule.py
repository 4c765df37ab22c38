"""`PollSchedule`: when to look next at a batch's job. A pure decision, the inspection problem of reliability theory.

A look costs a request and reveals which servers have ended; an ending nobody has looked at yet costs delay. With
endings expected at the rate r(t) and a look worth `price` server-seconds of delay, Barlow, Hunter and Proschan (1963)
gave the optimal instants as a recursion, and Keller (1974) their density: looks proportional to sqrt(r / (2 price)),
where r is the hazard times the servers still running. So a memoryless ending deserves a fixed interval, a ripening one
silence first and attention later, and a back-off never pays while the hazard rises. The density alone says nothing
about a first look, or about a hazard that changes between two looks, so the instant itself is chosen here: waiting on
costs one second per ending that is unseen by now, and saves what a second of looking costs from here on,
sqrt(2 price r P), with P the chance that anything still runs. Look at the first instant at which the former reaches the
latter; where r is constant this is Keller's interval.

The distribution of restart times is learned: a histogram of endings on a geometric grid, the servers still running
counted as censored (Kaplan and Meier), blended with a log-normal that starts at `typical_restart` and follows the data.

All times are seconds and all ages seconds since a batch was accepted; there is no clock and no I/O in here.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from itertools import pairwise
from math import erfc, exp, inf, log, sqrt
from random import Random
from typing import NamedTuple

RATIO = 1.04  # from one edge of the grid to the next
FIRST, LAST = 1 / 64, 24.0  # the grid's first and last edge, in typical restarts; the last is a stuck server
MEMORY = 1000.0  # endings remembered; older ones fade
READ_AT_ONCE = 200.0  # endings that a new table waits for, at most
BLEND = 20.0  # endings that the log-normal in the blend counts for
ANCHOR = 4.0  # endings that the first guess of its place and width counts for
SIGMA, NARROWEST = 0.45, 0.05  # its width (of the logarithm) at a site nobody has seen yet, and at least
STRAY = 0.02  # its share that may end at any age, log-uniform: instant failures and stragglers
FEWEST, MOST, PER_BIN = 6, 24, 16  # equiprobable bins of the table, one more for so many endings
FLOOR = 1e-3  # share that passes a bin of the grid at least: nothing learned is certain
WIDEST = 8  # steps of the grid in one bin of the table, at most
SHORTEST, LONGEST = 0.5 / 40, 60 / 40  # gap between two looks at one job, in typical restarts
DELAY = 1.5 / 40  # default mean detection delay, in typical restarts
RESCALE = 2 / 40  # how often the poller should call `rescale`, in typical restarts
THROTTLE, RECOVERY = sqrt(0.5), 0.02  # a 429 doubles the price: density times this; regained at every `rescale`
JITTER = 0.1  # of a gap, to both sides


class Watched(NamedTuple):
    """A job in flight: its age at this instant, how many of its servers run as far as seen, how many it began with."""

    age: float
    running: int
    size: int


class _Table:
    """A distribution with constant hazard in each bin: `survival[k]` is the share that runs longer than `edges[k]`."""

    __slots__ = ("_hazard", "_reach", "edges", "ripeness", "survival")

    def __init__(self, edges: Sequence[float], survival: Sequence[float]) -> None:
        self.edges = edges
        self.survival = survival
        bins = zip(pairwise(edges), pairwise(survival), strict=True)
        self._hazard = [log(s / t) / (y - x) for (x, y), (s, t) in bins]
        around = pairwise([self._hazard[0], *self._hazard, self._hazard[-1]])
        self.ripeness = [sqrt(share * (x + y) / 2) for share, (x, y) in zip(survival, around, strict=True)]
        self._reach: dict[int, float] = {}

    def at(self, age: float) -> tuple[int, float, float]:
        """Return the bin of an age, the share that runs longer, and the hazard there."""
        age = min(age, self.edges[-1])
        k = min(bisect_right(self.edges, age), len(self._hazard)) - 1
        hazard = self._hazard[k]
        return k, self.survival[k] * exp(hazard * (self.edges[k] - age)), hazard

    def quantile(self, share: float) -> float:
        """Return the age that this share of servers outlasts."""
        k = min(bisect_left(self.survival, -share, key=float.__neg__), len(self._hazard)) - 1
        return min(self.edges[k] + log(self.survival[k] / share) / self._hazard[k], self.edges[-1])

    def reach(self, size: int) -> float:
        """Return the integral of sqrt(density x P), which ties looks to delay for a batch of this size."""
        if size not in self._reach:
            heights = [root * sqrt(_any(share, size)) for root, share in zip(self.ripeness, self.survival, strict=True)]
            bins = zip(pairwise(self.edges), pairwise(heights), strict=True)
            self._reach[size] = sum((y - x) * (low + high) / 2 for (x, y), (low, high) in bins)
        return self._reach[size]


class PollSchedule:
    """Learns how long restarts take at one site, and says when to look next.

    Args:
        typical_restart: The first guess, in seconds; it also sets the scale of the shortest and longest gap.
        looks_per_second: What all jobs together may ask of the API.
        target_delay: Mean seconds between an ending and the look that sees it, where the budget allows it: looks that
            would get below are not made. By default 1.5 s for a restart of 40 s, in proportion.
        jitter: Spreads every gap by up to a tenth, so that batches submitted together drift apart.
    """

    def __init__(
        self,
        *,
        typical_restart: float = 40.0,
        looks_per_second: float = 10.0,
        target_delay: float | None = None,
        jitter: Random | None = None,
    ) -> None:
        self.rescale_every = RESCALE * typical_restart
        self._shortest, self._longest = SHORTEST * typical_restart, LONGEST * typical_restart
        self._stretched = self._longest
        self._looks_per_second = looks_per_second
        self._delay = DELAY * typical_restart if target_delay is None else target_delay
        if min(self._longest, self._delay, looks_per_second) <= 0:
            raise ValueError("typical_restart, target_delay and looks_per_second must be above zero")
        self._jitter = jitter
        self._pace, self._eased = 1.0, False
        self._scarcity = 0.0  # the price that keeps all jobs together within the budget

        steps = int(log(LAST / FIRST) / log(RATIO)) + 1
        self._grid = [0.0, *(typical_restart * FIRST * RATIO**step for step in range(steps))]
        self._first_guess = log(typical_restart)
        self._centre, self._width = self._first_guess, SIGMA
        self._ended = [0.0] * steps
        self._lost = [0.0] * steps
        self._known, self._unread = 0.0, 0.0
        self._table = self._learn(())

    def __repr__(self) -> str:
        low, median, high = (self._table.quantile(share) for share in (0.95, 0.5, 0.05))
        endings = self._known + self._unread
        return f"<PollSchedule {endings:.0f} endings, 90% from {low:.1f} to {high:.1f} s, median {median:.1f} s>"

    def observe(self, low: float, high: float, count: int = 1) -> None:
        """Learn that `count` servers ended between two ages (equal when known exactly; inf: lost sight of at `low`)."""
        i = self._bin(low)
        j = i if high == low else self._bin(high)
        self._unread += count
        if high == inf:
            self._lost[i] += count
        elif i == j:
            self._ended[i] += count
        else:
            self._spread(low, i, high, j, count)

    def rescale(self, jobs: Collection[Watched]) -> None:
        """Read what was observed and fit the looks to the budget, with every job in flight; every `rescale_every` s."""
        self._pace, self._eased = min(1.0, self._pace + RECOVERY), False
        if self._known < BLEND or self._unread >= min(self._known / 4, READ_AT_ONCE):
            self._table = self._learn(jobs)
        at = self._table.at
        demand = sum(sqrt(job.running * at(job.age)[2]) for job in jobs)
        self._scarcity = (demand / self._looks_per_second) ** 2 / 2
        self._stretched = max(self._longest, 2 * len(jobs) / self._looks_per_second)

    def budget(self, looks_per_second: float) -> None:
        """Change what all jobs together may ask of the API; takes effect at once, and precisely at `rescale`."""
        self._scarcity *= (self._looks_per_second / looks_per_second) ** 2
        self._looks_per_second = looks_per_second

    def throttled(self) -> None:
        """Look less often: the API answered 429, or looks come late; undone little by little by `rescale`.

        Between two calls of `rescale` only the first counts, so that a burst of refusals is one refusal.
        """
        if not self._eased:
            self._pace, self._eased = max(self._pace * THROTTLE, RECOVERY), True

    def next_look(self, age: float, running: int, size: int) -> float:
        """Return the age of the next look at a job.

        Args:
            age: Of the job at its last look, 0 if there was none; the result is later.
            running: How many of its servers still ran at that look, at least 1.
            size: How many servers the batch began with: the aim is a mean over all of them.
        """
        gap = min(max(self._instant(age, running, size) - age, self._shortest), self._stretched)
        if self._jitter is not None:
            gap *= self._jitter.uniform(1 - JITTER, 1 + JITTER)
        return age + gap

    def _instant(self, age: float, running: int, size: int) -> float:
        """Return the first instant at which the endings unseen cost more than the looking that waiting saves."""
        table = self._table
        edges, survival, ripeness = table.edges, table.survival, table.ripeness
        k, share, hazard = table.at(age)
        unit = sqrt(2 * self._price(size) * share / running)
        latest = age + self._stretched
        instant, excess = age, -unit * sqrt(share * hazard)
        before, below = instant, excess
        while excess < 0:
            k += 1
            if k == len(edges) or instant >= latest:
                return latest
            before, below = instant, excess
            instant, left = edges[k], survival[k]
            excess = share - left - unit * ripeness[k] * sqrt(_any(left / share, running))
        halfway = (before + instant) / 2
        _, left, hazard = table.at(halfway)
        middle = share - left - unit * sqrt(left * hazard * _any(left / share, running))
        if middle < 0:
            before, below = halfway, middle
        else:
            instant, excess = halfway, middle
        return before + (instant - before) * below / (below - excess)

    def _price(self, size: int) -> float:
        """Return what one look is worth, in server-seconds of delay."""
        aim = 2 * size * (self._delay / self._table.reach(size)) ** 2
        return max(aim, self._scarcity) / self._pace**2

    def _bin(self, age: float) -> int:
        return min(max(bisect_right(self._grid, age), 1), len(self._ended)) - 1

    def _spread(self, low: float, i: int, high: float, j: int, count: float) -> None:
        """Share endings out over the bins of an interval, as the table expects them there."""
        edges = [low, *self._grid[i + 1 : j + 1], high]
        shares = [x - y for x, y in pairwise(self._table.at(edge)[1] for edge in edges)]
        total = sum(shares)
        for k, share in enumerate(shares, i):
            self._ended[k] += count * (share / total if total > 0 else 1 / len(shares))

    def _learn(self, jobs: Collection[Watched]) -> _Table:
        """Estimate the distribution from all endings, with the servers still running as censored."""
        self._known += self._unread
        self._unread = 0.0
        if self._known > MEMORY:
            fade = MEMORY / self._known
            self._ended = [fade * count for count in self._ended]
            self._lost = [fade * count for count in self._lost]
            self._known = MEMORY
        censored = self._lost.copy()
        for job in jobs:
            censored[self._bin(job.age)] += job.running
        ended = [BLEND * share + count for share, count in zip(self._blend(), self._ended, strict=True)]
        table = self._cut(_kaplan_meier(ended, censored))
        trust = self._known / (self._known + ANCHOR)
        early, middle, late = (log(table.quantile(share)) for share in (0.84, 0.5, 0.16))
        self._centre = self._first_guess + trust * (middle - self._first_guess)
        self._width = max(SIGMA + trust * ((late - early) / 2 - SIGMA), NARROWEST)
        return table

    def _blend(self) -> list[float]:
        """Return the share of each bin of the grid under the log-normal."""
        scale = 1 / (self._width * sqrt(2))
        below = [0.0, *(erfc((self._centre - log(edge)) * scale) / 2 for edge in self._grid[1:-1]), 1.0]
        stray = STRAY / len(self._ended)
        return [(1 - STRAY) * (y - x) + stray for x, y in pairwise(below)]

    def _cut(self, survival: Sequence[float]) -> _Table:
        """Choose the bins: about equiprobable, none wider than some steps of the grid, and a peak by itself."""
        bins = min(MOST, FEWEST + int((self._known + BLEND) / PER_BIN))
        levels = [*(1 - k / bins for k in range(1, bins)), -1.0]
        chosen, level = [0], 0
        for k in range(1, len(survival)):
            if survival[k - 1] - survival[k] > 0.5 / bins and chosen[-1] < k - 1:
                chosen.append(k - 1)
            if survival[k] <= levels[level] or k - chosen[-1] >= WIDEST or k == len(survival) - 1:
                chosen.append(k)
                while survival[k] <= levels[level]:
                    level += 1
        return _Table([self._grid[k] for k in chosen], [survival[k] for k in chosen])


def _any(share: float, count: int) -> float:
    """Return the chance that any of `count` servers still runs, each with probability `share`."""
    return 1.0 - (1.0 - share) ** count if share < 1 else 1.0


def _kaplan_meier(ended: Sequence[float], censored: Sequence[float]) -> list[float]:
    """Return the share that survives each edge; of those censored in a bin half are taken to have been at risk."""
    survival, at_risk = [1.0], sum(ended) + sum(censored)
    for deaths, leaving in zip(ended, censored, strict=True):
        survival.append(survival[-1] * max(FLOOR, 1 - deaths / max(at_risk - leaving / 2, deaths)))
        at_risk -= deaths + leaving
    return survival
