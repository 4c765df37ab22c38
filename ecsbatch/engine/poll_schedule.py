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

Two things are not as in the textbook. An ending that is seen late annoys more than in proportion: where endings grow
rare, gaps are shorter than the mean alone would have them, and where they grow frequent a look goes ahead of them. And
where the next wave waits for a batch, its last ending counts for more servers than one, weighed with the chance that
everything has ended: looks move there, and hardly any is made in addition.

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
DELAY = 1.47 / 40  # default mean detection delay, in typical restarts
RESCALE = 2 / 40  # how often the poller should call `rescale`, in typical restarts
THROTTLE, RECOVERY = sqrt(0.5), 0.02  # a 429 doubles the price: density times this; regained at every `rescale`
JITTER, DRIFT = 0.1, 0.5 / 40  # of a gap, to both sides, and at most so many typical restarts
LEAD, FURTHEST = 0.25, 0.4  # logarithm by which gaps shrink for each e-fold that endings grow within one, and at most
PATIENCE = 6.0  # mean delays: where endings grow rare, looks so far apart are made closer by a factor of sqrt(2)
HELD_UP = 0.01  # of its servers: for as many counts, besides, the last ending of a batch for which a wave waits
HALF = 0.5  # of the servers still run: from here on endings grow rare
SETTLED = 4  # rounds in which the price of an aim is found


class Watched(NamedTuple):
    """A job in flight: its age at this instant, how many of its servers run as far as seen, how many it began with.

    ``jobs`` is how many such there are: with batches of one server they are alike by the hundred.
    """

    age: float
    running: int
    size: int
    jobs: int = 1


class _Table:
    """A distribution with constant hazard in each bin: `survival[k]` is the share that runs longer than `edges[k]`.

    `rate[k]` is the share that ends in a second there, `trend[k]` by how much the logarithm of that grows in a second.
    """

    __slots__ = ("_hazard", "_prices", "edges", "rate", "survival", "trend")

    def __init__(self, edges: Sequence[float], survival: Sequence[float]) -> None:
        self.edges = edges
        self.survival = survival
        bins = zip(pairwise(edges), pairwise(survival), strict=True)
        self._hazard = [log(s / t) / (y - x) for (x, y), (s, t) in bins]
        around = pairwise([self._hazard[0], *self._hazard, self._hazard[-1]])
        self.rate = [share * (x + y) / 2 for share, (x, y) in zip(survival, around, strict=True)]
        logs = [log(rate) for rate in self.rate]
        near = [(max(k - 1, 0), min(k + 1, len(logs) - 1)) for k in range(len(logs))]
        trend = [(logs[j] - logs[i]) / (edges[j] - edges[i]) for i, j in near]
        # Before half have ended the rate falls by chance alone, such as behind failures at once.
        self.trend = [max(each, 0.0) if share > HALF else each for each, share in zip(trend, survival, strict=True)]
        self._prices: dict[int, tuple[float, float]] = {}

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

    def price(self, size: int, delay: float) -> tuple[float, float]:
        """Return what a look is worth where batches of this size are to have this mean delay, and the looks it adds.

        The looks are those that `_spread_out` adds, as a factor. Of one table the delay is always the same.
        """
        if size not in self._prices:
            chances = [_any(share, size) for share in self.survival]
            even = [sqrt(2 * chance / (size * rate)) for chance, rate in zip(chances, self.rate, strict=True)]
            root = first = delay / self._mean_delay(even)
            for _ in range(SETTLED):
                gaps = [_spread_out(root * gap, trend, delay) for gap, trend in zip(even, self.trend, strict=True)]
                root *= delay / self._mean_delay(gaps)
            self._prices[size] = root**2, root / first
        return self._prices[size]

    def _mean_delay(self, gaps: Sequence[float]) -> float:
        """Return the mean delay of looks so far apart at each edge: half of the gap at an ending."""
        delays = [rate * gap / 2 for rate, gap in zip(self.rate, gaps, strict=True)]
        bins = zip(pairwise(self.edges), pairwise(delays), strict=True)
        return sum((y - x) * (now + later) / 2 for (x, y), (now, later) in bins)


class PollSchedule:
    """Learns how long restarts take at one site, and says when to look next.

    Args:
        typical_restart: The first guess, in seconds; it also sets the scale of the shortest and longest gap.
        looks_per_second: What all jobs together may ask of the API.
        target_delay: Mean seconds between an ending and the look that sees it, where the budget allows it: looks that
            would get below are not made. By default 1.47 s for a restart of 40 s, in proportion.
        jitter: Spreads every gap by up to a tenth, and half a second of a restart of 40 s, so that batches submitted
            together drift apart.
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
        self._jitter, self._drift = jitter, DRIFT * typical_restart
        self._pace, self._eased = 1.0, False
        self._scarcity = 0.0  # the price that keeps all jobs together within the budget
        self._first: dict[int, float] = {}  # instant of the first look at a job of a size, until something changes

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
        self._first.clear()
        self._pace, self._eased = min(1.0, self._pace + RECOVERY), False
        if self._known < BLEND or self._unread >= min(self._known / 4, READ_AT_ONCE):
            self._table = self._learn(jobs)
        at, price = self._table.at, self._table.price
        demand = sum(job.jobs * sqrt(job.running * at(job.age)[2]) * price(job.size, self._delay)[1] for job in jobs)
        self._scarcity = (demand / self._looks_per_second) ** 2 / 2
        self._stretched = max(self._longest, 2 * sum(job.jobs for job in jobs) / self._looks_per_second)

    def budget(self, looks_per_second: float) -> None:
        """Change what all jobs together may ask of the API; takes effect at once, and precisely at `rescale`."""
        self._first.clear()
        self._scarcity *= (self._looks_per_second / looks_per_second) ** 2
        self._looks_per_second = looks_per_second

    def throttled(self) -> None:
        """Look less often: the API answered 429, or looks come late; undone little by little by `rescale`.

        Between two calls of `rescale` only the first counts, so that a burst of refusals is one refusal.
        """
        if not self._eased:
            self._first.clear()
            self._pace, self._eased = max(self._pace * THROTTLE, RECOVERY), True

    def next_look(self, age: float, running: int, size: int, *, holds_up: bool = False) -> float:
        """Return the age of the next look at a job.

        Args:
            age: Of the job at its last look, 0 if there was none; the result is later.
            running: How many of its servers still ran at that look, at least 1.
            size: How many servers the batch began with: the aim is a mean over all of them.
            holds_up: Nothing can be sent before the last of these servers is seen to end.
        """
        if age or running < size or holds_up:
            instant = self._instant(age, running, size, HELD_UP * size if holds_up else 0.0)
        else:
            instant = self._first_instant(size)
        gap = min(max(instant - age, self._shortest), self._stretched)
        if self._jitter is not None:
            most = min(JITTER * gap, self._drift)
            gap += self._jitter.uniform(-most, most)
        return age + gap

    def _first_instant(self, size: int) -> float:
        """Return the same for a new job: with batches of one server there are hundreds between two changes."""
        if size not in self._first:
            self._first[size] = self._instant(0.0, size, size, 0.0)
        return self._first[size]

    def _instant(self, age: float, running: int, size: int, weight: float) -> float:
        """Return the first instant at which the endings unseen cost more than the looking that waiting saves.

        The last ending counts for ``weight`` more.
        """
        table = self._table
        edges, survival, rate, trend = table.edges, table.survival, table.rate, table.trend
        k, share, hazard = table.at(age)
        aim, _ = table.price(size, self._delay)
        price = max(aim, self._scarcity) / self._pace**2
        if price > aim:
            weight = 0.0  # where looks are scarce none is for one batch more than for another
        delay = self._delay * sqrt(price / aim)
        unit = 2 * price / running * share

        def excess_of(left: float, ending: float, trend: float) -> float:
            unseen = 1 - left / share
            chance = _any(left / share, running)
            if weight:
                over = unseen ** (running - 1)  # the chance that it all hangs on one
                unseen, ending = unseen * (1 + weight / running * over), ending * (1 + weight * over)
            return share * unseen - ending * _spread_out(sqrt(unit * chance / ending), trend, delay)

        latest = age + self._stretched
        instant, excess = age, excess_of(share, share * hazard, trend[k])
        before, below = instant, excess
        while excess < 0:
            k += 1
            if k == len(edges) or instant >= latest:
                return latest
            before, below = instant, excess
            instant = edges[k]
            excess = excess_of(survival[k], rate[k], trend[k])
        halfway = (before + instant) / 2
        k, left, hazard = table.at(halfway)
        middle = excess_of(left, left * hazard, trend[k])
        if middle < 0:
            before, below = halfway, middle
        else:
            instant, excess = halfway, middle
        return before + (instant - before) * below / (below - excess)

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
            censored[self._bin(job.age)] += job.jobs * job.running
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


def _spread_out(gap: float, trend: float, delay: float) -> float:
    """Return the gap to leave between looks, where one of ``gap`` would give the least mean delay.

    Args:
        gap: Seconds, as if endings went on as they do now.
        trend: By how much the logarithm of their rate grows in a second.
        delay: The mean delay that is aimed at.
    """
    if trend >= 0:
        return gap * exp(-min(LEAD * trend * gap, FURTHEST))
    return gap / sqrt(1 + gap / (PATIENCE * delay))


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
