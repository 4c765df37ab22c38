"""What stands at an instant, as metrics tell it: servers down, tokens, limits. Read `measure` first.

A domain is a label, and a fleet may have thousands: the `MOST_DOMAINS` with the most servers have their names, all
others are ``other`` together. Which these are depends on the plans alone, so that no series comes and goes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Final, Protocol

from ecsbatch.errors import EcsbatchError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.servers import Fleet, Site
from ecsbatch.model.state import RolloutState
from ecsbatch.model.text import printable
from ecsbatch.policy.decide import Limits, limits_of
from ecsbatch.policy.standing import standing

MOST_DOMAINS: Final = 50
"""Domains that have a label of their own."""
OTHER: Final = "other"
NOT_KNOWN: Final = "unknown"
"""The domain of servers of which it is not known."""

_LONGEST_LABEL: Final = 64
_WITHIN: Final = 1.0
"""Seconds that the ledger has for its answer."""


class MeasuredRun(Protocol):
    """A rollout that this process has."""

    @property
    def state(self) -> RolloutState:
        """Where it stands."""
        ...


class MeasuredCloud(Protocol):
    """The client of a site."""

    @property
    def site(self) -> Site:
        """The site."""
        ...


class MeasuredVisibility(Protocol):
    """Whether a site can be seen."""

    def blind_for(self) -> float:
        """Return for how many seconds it could not be, 0 while it can."""
        ...


class MeasuredPipeline(Protocol):
    """What works on a site."""

    @property
    def cloud(self) -> MeasuredCloud:
        """Its client."""
        ...

    @property
    def visibility(self) -> MeasuredVisibility:
        """Whether it can be seen."""
        ...


class MeasuredSettings(Protocol):
    """How an engine is set."""

    @property
    def quota(self) -> Quota:
        """Servers in a window."""
        ...


class MeasuredStore(Protocol):
    """Where runs are kept."""

    @property
    def trust_left(self) -> float | None:
        """For how many seconds it trusts that it has its runs; None where that does not run out."""
        ...

    def wall(self) -> float:
        """Return the time that stamps its events, seconds since 1970."""
        ...


class MeasuredEngine(Protocol):
    """A `Restarter`, as far as metrics ask it."""

    @property
    def rollouts(self) -> Sequence[MeasuredRun]:
        """The rollouts that it has."""
        ...

    @property
    def pipelines(self) -> Mapping[str, MeasuredPipeline]:
        """Its parts, by site."""
        ...

    @property
    def engine(self) -> MeasuredSettings:
        """Its settings."""
        ...

    @property
    def store(self) -> MeasuredStore:
        """Its store."""
        ...

    async def usage(self, site: str = "", /) -> Usage:
        """Ask the ledger of a site's quota."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """What stood at an instant. Sites are their keys, as in `Metrics`.

    Attributes:
        at: when, seconds since 1970 by the clock that stamps events.
        sites: what each site is called.
        quotas: what the ledger says of each site's quota, with the quota's window in seconds.
        states: of the rollouts that this process has.
        unseen: for how many seconds nothing could be seen of a site.
        trust: for how many seconds this process still trusts that it has its runs; None where that does not run out.
    """

    at: float = 0.0
    sites: Mapping[str, str] = field(default_factory=dict[str, str])
    quotas: Mapping[str, tuple[Usage, float]] = field(default_factory=dict[str, tuple[Usage, float]])
    states: Sequence[RolloutState] = ()
    unseen: Mapping[str, float] = field(default_factory=dict[str, float])
    trust: float | None = None


async def measure(engines: Iterable[MeasuredEngine]) -> Sample:
    """Ask engines how they stand; what does not answer in a second is left out.

    Several may share a site and its ledger, as those of a worker do: the first one is asked.
    """
    engines = list(engines)
    sites, quotas, unseen = dict[str, str](), dict[str, tuple[Usage, float]](), dict[str, float]()
    for engine in engines:
        for key, pipeline in engine.pipelines.items():
            sites[key] = site_word(pipeline.cloud.site)
            unseen[key] = max(unseen.get(key, 0.0), pipeline.visibility.blind_for())
            if key not in quotas and (usage := await _usage(engine, key)) is not None:
                quotas[key] = usage, engine.engine.quota.window
    trusts = [left for engine in engines if engine.pipelines and (left := engine.store.trust_left) is not None]
    states = [run.state for engine in engines for run in engine.rollouts]
    at = next((engine.store.wall() for engine in engines if engine.pipelines), 0.0)
    return Sample(at, sites, quotas, states, unseen, min(trusts, default=None))


async def _usage(engine: MeasuredEngine, site: str) -> Usage | None:
    try:
        # A store that waits for another process answers late; a scrape need not.
        async with asyncio.timeout(_WITHIN):
            return await engine.usage(site)
    except (EcsbatchError, TimeoutError):
        return None


def site_word(site: Site) -> str:
    """Return what a site is called: its region, where it was given, and its project."""
    return f"{site.region}/{site.project_id}" if site.region else site.project_id


# -- what is told of the states ----------------------------------------------------------------------------------------


def phases(states: Iterable[RolloutState], now: float) -> Counter[str]:
    """Return how many runs stand how, by the word of each."""
    return Counter(standing(state, now).phase.value for state in states)


def down_by_domain(states: Sequence[RolloutState]) -> Counter[tuple[str, str]]:
    """Return how many servers are down because of us, by site and domain; there are few of these, see above."""
    named, down = _named_domains(states), Counter[tuple[str, str]]()
    for state in states:
        sites = _sites_of(state.plan.fleet)
        for domain, tally in state.domains.items():
            word = domain_word(domain) if domain in named else OTHER
            down[sites.get(domain, ""), word] += tally.down
    return down


def _named_domains(states: Iterable[RolloutState]) -> set[str]:
    servers = Counter[str]()
    for state in states:
        for domain, tally in state.domains.items():
            servers[domain] += tally.total
    if len(servers) <= MOST_DOMAINS:
        return set(servers)
    return set(sorted(servers, key=lambda domain: (-servers[domain], domain))[:MOST_DOMAINS])


def domain_word(domain: str) -> str:
    """Return what a domain is called in a label: the cloud names it, so that it may be long or anything."""
    return printable(domain, _LONGEST_LABEL) or NOT_KNOWN


def _sites_of(fleet: Fleet) -> Mapping[str, str]:
    """Return the site of each domain: of the first of its servers; empty where there is only one site."""
    if fleet.sites is None:
        return {}
    domains = fleet.domains or ("",) * len(fleet)
    return dict(zip(reversed(domains), reversed(fleet.sites), strict=True))


@dataclass(frozen=True, slots=True)
class RunCounts:
    """What runs have and may have, all added.

    Attributes:
        waiting, in_flight: servers without an outcome.
        down, may_be_down: servers that are down because of us, and how many may be.
        failures, may_fail: failures that count, and how many may.
        used: the largest share of its allowed failures that any run, wave or domain has had; above 1 it stops.
    """

    waiting: int
    in_flight: int
    down: int
    may_be_down: int
    failures: int
    may_fail: int
    used: float


def counts_of(states: Sequence[RolloutState]) -> RunCounts:
    """Add up what runs have and may have."""
    limits = [limits_of(state.plan, state.limits) for state in states]
    used = [share for state, each in zip(states, limits, strict=True) for share in _shares(state, each)]
    return RunCounts(
        waiting=sum(state.run.waiting for state in states),
        in_flight=sum(state.run.in_flight for state in states),
        down=sum(state.run.down for state in states),
        may_be_down=sum(each.max_unavailable for each in limits),
        failures=sum(state.run.failures for state in states),
        may_fail=sum(each.max_failures for each in limits),
        used=max(used, default=0.0),
    )


def _shares(state: RolloutState, limits: Limits) -> Iterator[float]:
    """Yield which share of each limit of failures is used; of a limit of 0 any failure is all of it."""
    yield _share(state.run.failures, limits.max_failures)
    for tally, allowed in zip(state.waves, limits.max_failures_per_wave or (), strict=False):
        yield _share(tally.failures, allowed)
    for domain, allowed in (limits.max_failures_per_domain or {}).items():
        yield _share(state.domains[domain].failures, allowed)


def _share(failures: int, allowed: int) -> float:
    return failures / allowed if allowed else float(failures > 0)
