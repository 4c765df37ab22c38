"""`MetricsCollector`: `Metrics` and a `Sample` as Prometheus reads them. All names of metrics are here, on one page.

It is the only module that imports prometheus_client. A program that has a registry of its own adds it there::

    registry.register(MetricsCollector(metrics, lambda: sample))  # sample: await measure([restarter]), now and then
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ecsbatch.views.measured import Sample, counts_of, down_by_domain, phases
from ecsbatch.views.metrics import ENDS, OUTCOMES, RESTART_BOUNDS, RESULTS, Histogram, Metrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_EVIDENCE: Final = "job"
_UNKNOWN_SITE: Final = "unknown"

F = TypeVar("F", CounterMetricFamily, GaugeMetricFamily)
Values: TypeAlias = Mapping[Any, float]
"""Values by the labels' values, a tuple of texts."""


class MetricsCollector(Collector):
    """Gives a registry what was counted and what stands now, anew each time that it asks."""

    def __init__(self, metrics: Metrics, sample: Callable[[], Sample], *, version: str = "") -> None:
        """Tell of ``metrics`` and of what ``sample`` returns; ``version`` is that of ecsbatch, "" is left out."""
        self._metrics = metrics
        self._sample = sample
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        sample = self._sample()
        if self._version:
            yield _gauge("build_info", "The version of ecsbatch.", {(self._version,): 1}, "version")
        yield from self._counted(sample)
        yield from self._times(sample)
        yield from _quotas(sample)
        yield from _standing(sample)
        yield from self._ends()

    def _counted(self, sample: Sample) -> Iterator[Metric]:
        metrics, sites = self._metrics, sample.sites
        yield _counter(
            "servers",
            "Outcomes of servers that this process has recorded; one that was tried again has several.",
            _by_site(metrics.servers, sites, OUTCOMES),
            *("site", "outcome"),
        )
        yield _counter(
            "submits",
            "Requests for restarts, by what they came to.",
            _by_site(metrics.submits, sites, RESULTS),
            *("site", "result"),
        )
        yield _counter(
            "submitted_servers",
            "Servers that were named in requests: tokens of the quota that were taken.",
            _alone(metrics.submitted, sites),
            "site",
        )
        yield _counter(
            "quota_desyncs",
            "Requests that the cloud refused for its quota although tokens were free: somebody else spends it.",
            _alone(metrics.desyncs, sites),
            "site",
        )

    def _times(self, sample: Sample) -> Iterator[Metric]:
        metrics, sites = self._metrics, sample.sites
        restarts = {(_word(sites, site), evidence): each for (site, evidence), each in metrics.restarts.items()}
        for site in sites.values():
            restarts.setdefault((site, _EVIDENCE), Histogram(RESTART_BOUNDS))
        yield _histogram(
            "restart_duration_seconds",
            "From a request to the recorded end of each restarted server, by what it is known by: evidence check "
            "includes the health check's own time.",
            restarts,
            *("site", "evidence"),
        )
        yield _histogram(
            "detection_delay_seconds",
            "For how long a restart was over when a look at its job showed it: from the cloud's end_time to the Date "
            "of its answer, which has whole seconds.",
            {(): metrics.delays},
        )
        yield _histogram(
            "http_request_duration_seconds",
            "Requests to the cloud, by the template of their path; status none: there was no answer.",
            metrics.requests,
            *("method", "route", "status"),
        )
        done = {(_word(sites, site),): at for site, at in metrics.completed_at.items()}
        text = "When a server's outcome other than a skip was recorded last."
        yield _gauge("last_completion_timestamp_seconds", text, done, "site")
        taken = {(): metrics.taken_at} if metrics.taken_at else {}
        yield _gauge("run_taken_timestamp_seconds", "When this process has begun or taken a run last.", taken)

    def _ends(self) -> Iterator[Metric]:
        ended = {(status,): self._metrics.ended[status] for status in ENDS}
        yield _counter("runs_ended", "Runs that have ended or stopped in this process, by how.", ended, "status")
        stopped = {(reason,): n for reason, n in Counter(self._metrics.stopped.values()).items()}
        text = "Runs that have stopped in this process and that nobody has resumed here, by why: a resume goes on."
        yield _gauge("runs_stopped", text, stopped, "reason")


def _quotas(sample: Sample) -> Iterator[Metric]:
    named = {_word(sample.sites, site): each for site, each in sample.quotas.items()}
    tokens = {
        (site, state): n
        for site, (usage, _) in named.items()
        for state, n in (("free", usage.free), ("held", usage.held), ("cooling", usage.cooling))
    }
    text = "Tokens of the quota, by all who share its store: free, held by requests without an answer, or cooling."
    yield _gauge("quota_tokens", text, tokens, "site", "state")
    limits = {(site,): usage.limit for site, (usage, _) in named.items()}
    yield _gauge("quota_limit", "Servers that may be named in requests within a window.", limits, "site")
    windows = {(site,): window for site, (_, window) in named.items()}
    yield _gauge("quota_window_seconds", "The window of the quota.", windows, "site")


def _standing(sample: Sample) -> Iterator[Metric]:
    states = sample.states
    down = {(_word(sample.sites, site), domain): n for (site, domain), n in down_by_domain(states).items()}
    text = "Servers that are down because of runs of this process; the 50 largest domains by name, all others as other."
    yield _gauge("down_servers", text, down, "site", "domain")
    counts = counts_of(states)
    simple = {
        "down_limit": ("Servers that may be down at once because of these runs.", counts.may_be_down),
        "waiting_servers": ("Servers of these runs that wait to be sent.", counts.waiting),
        "in_flight_servers": ("Servers of these runs that were sent and have no outcome yet.", counts.in_flight),
        "failures": ("Failures of these runs that count against their limits.", counts.failures),
        "failures_limit": ("Failures that these runs may have.", counts.may_fail),
        "failures_used_ratio": (
            "The largest share of its allowed failures that a run, a wave or a domain has used; above 1 a run stops.",
            counts.used,
        ),
    }
    for name, (text, value) in simple.items():
        yield _gauge(name, text, {(): value})
    runs = {(phase,): n for phase, n in phases(states, sample.at).items()}
    yield _gauge("runs", "Runs that this process has, by how they stand.", runs, "state")
    text = "A run that this process has, while it goes on here; removed at its end."
    yield _gauge("run_info", text, {(state.run_id,): 1 for state in states}, "run_id")
    unseen = {(_word(sample.sites, site),): seconds for site, seconds in sample.unseen.items()}
    text = "For how long nothing could be seen of the cloud; 0 while it can."
    yield _gauge("cloud_unseen_seconds", text, unseen, "site")
    trust = {} if sample.trust is None else {(): sample.trust}
    text = (
        "For how long this process trusts that it has its runs if their leases are not renewed; at 0 it sends nothing."
    )
    yield _gauge("holder_trust_seconds", text, trust)


# -- families ----------------------------------------------------------------------------------------------------------


def _word(sites: Mapping[str, str], site: str) -> str:
    return sites.get(site, site) or _UNKNOWN_SITE


def _by_site(
    counted: Mapping[tuple[str, str], int], sites: Mapping[str, str], words: Collection[str]
) -> dict[tuple[str, ...], float]:
    """Return counts by the names of sites; each site has each word from the first on, for a rate needs a zero."""
    zeros: dict[tuple[str, ...], float] = {(site, word): 0 for site in sites.values() for word in words}
    return zeros | {(_word(sites, site), word): n for (site, word), n in counted.items()}


def _alone(counted: Mapping[str, int], sites: Mapping[str, str]) -> dict[tuple[str, ...], float]:
    zeros: dict[tuple[str, ...], float] = {(site,): 0 for site in sites.values()}
    return zeros | {(_word(sites, site),): n for site, n in counted.items()}


def _filled(family: F, values: Values) -> F:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def _counter(name: str, text: str, values: Values, *labels: str) -> CounterMetricFamily:
    return _filled(CounterMetricFamily(f"ecsbatch_{name}", text, labels=labels), values)


def _gauge(name: str, text: str, values: Values, *labels: str) -> GaugeMetricFamily:
    return _filled(GaugeMetricFamily(f"ecsbatch_{name}", text, labels=labels), values)


def _histogram(name: str, text: str, histograms: Mapping[Any, Histogram], *labels: str) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"ecsbatch_{name}", text, labels=labels)
    for values, each in sorted(histograms.items()):
        family.add_metric(values, list(_cumulative(each)), each.total)
    return family


def _cumulative(histogram: Histogram) -> Iterator[tuple[str, float]]:
    below = 0
    for bound, n in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        below += n
        yield bound, below


# -- written down ------------------------------------------------------------------------------------------------------


def registry_of(collector: MetricsCollector, *, process: bool) -> CollectorRegistry:
    """Return a registry of its own.

    Args:
        collector: what it has.
        process: with what the system knows of this process, its CPU and memory. A file for node_exporter must not have
            these: node_exporter tells the same of itself by the same names, and would be refused for it.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    if process:
        ProcessCollector(registry=registry)
    return registry


def written(registry: CollectorRegistry) -> bytes:
    """Return what a registry has, in Prometheus's text format."""
    return generate_latest(registry)
