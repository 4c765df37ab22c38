"""Metrics count what happened: by the run's own state, by its events, and by the simulated cloud's books."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ecsbatch.config.settings import Strategy
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.plan import Plan
from ecsbatch.model.quota import Usage
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.requests import OutgoingRequest
from ecsbatch.model.run import Changes
from ecsbatch.model.servers import Fleet, Site
from ecsbatch.model.state import RolloutState
from ecsbatch.planning.strategy import make_plan
from ecsbatch.restarter import Restarter
from ecsbatch.testing import Faults, Killed, World
from ecsbatch.views.exposition import MetricsCollector, registry_of, written
from ecsbatch.views.measured import MOST_DOMAINS, Sample, down_by_domain, measure, site_word
from ecsbatch.views.metrics import Metrics, status_word

DOCUMENTED = {
    *("servers", "submits", "quota_tokens", "quota_limit", "down_servers", "restart_duration_seconds"),
    *("detection_delay_seconds", "http_request_duration_seconds", "last_completion_timestamp_seconds", "run_info"),
}
"""What dashboards of others go by; the trust of a holder is only there where it runs out."""


@dataclass
class Watched:
    """A world whose engines are measured."""

    world: World
    metrics: Metrics = field(default_factory=Metrics)

    @asynccontextmanager
    async def restarter(self) -> AsyncGenerator[Restarter]:
        """Start an engine that is measured."""
        world, metrics = self.world, self.metrics
        async with (
            world.client(watchers=[metrics]) as ecs,
            world.store() as store,
            Restarter(ecs, store, clock=world.clock, seed=7, watchers=[metrics]) as restarter,
        ):
            yield restarter

    def text(self, sample: Sample) -> str:
        """Write it all down."""
        return written(registry_of(MetricsCollector(self.metrics, lambda: sample), process=False)).decode()


def values(text: str, name: str) -> dict[tuple[str, ...], float]:
    """Return what an exposition says of a name, by the labels' values in the order of their names."""
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for sample in found
        if sample.name == f"ecsbatch_{name}"
    }


def test_what_is_counted_is_what_happened() -> None:
    async def main() -> tuple[RolloutState, list[Recorded]]:
        async with watched.restarter() as restarter:
            rollout = restarter.rollout(
                world.ids, Strategy(waves=["100%"], max_failures="50%", max_failures_per_wave="50%"), run_id="r"
            )
            await rollout.run()
            return rollout.state, [recorded async for recorded in rollout.events()]

    with World(servers=200, seed=5, fail_rate=0.05, submit_faults=Faults(reject_503=0.1, lost_reply=0.1)) as world:
        watched = Watched(world)
        state, recorded = world.run(main)

    metrics, names = watched.metrics, Counter(each.event.name for each in recorded)
    restarted = state.counts[OutcomeKind.RESTARTED]
    assert {kind: metrics.servers["", kind.value] for kind in OutcomeKind} == state.counts
    assert metrics.servers["", "failed"] > 0, "no failure was seen to be counted"
    assert metrics.submits["", "accepted"] == names["batch.accepted"]
    assert metrics.submits["", "unknown"] == names["batch.unknown"] > 0
    assert metrics.submitted[""] == sum(
        len(each.event.servers) for each in recorded if isinstance(each.event, ev.BatchSubmitting)
    )
    assert sum(sum(each.counts) for each in metrics.restarts.values()) == restarted
    by_job = sum(1 for each in recorded if isinstance(each.event, ev.ServerEvent) and each.event.evidence == "job")
    assert sum(metrics.delays.counts) >= by_job > 0
    assert metrics.ended == {state.status.value: 1}
    assert metrics.completed_at[""] == max(each.ts for each in recorded if isinstance(each.event, ev.ServerEvent))
    assert metrics._runs["r"].flights == {}
    routes = {route for _, route, _ in metrics.requests}
    assert {"/v1/{project_id}/cloudservers/action", "/v1/{project_id}/jobs/{job_id}"} <= routes


def test_a_restart_is_timed_from_its_request_to_its_recorded_end() -> None:
    async def main() -> list[Recorded]:
        async with watched.restarter() as restarter:
            rollout = restarter.rollout(world.ids[:1])
            await rollout.run()
            return [recorded async for recorded in rollout.events()]

    with World(servers=1, seed=3) as world:
        watched = Watched(world)
        at = {each.event.name: each.ts for each in world.run(main)}

    [(key, histogram)] = watched.metrics.restarts.items()
    assert key == ("", "job")
    assert histogram.total == pytest.approx(at["server.restarted"] - at["batch.submitting"])
    assert watched.metrics.delays.total < histogram.total


def test_who_takes_a_run_over_counts_its_own_part_and_times_what_was_under_way() -> None:
    async def begin() -> None:
        async with first.restarter() as restarter:
            await restarter.rollout(world.ids, Strategy(waves=["100%"], max_unavailable="50%"), run_id="r").run()

    async def go_on() -> RolloutState:
        async with second.restarter() as restarter:
            rollout = await restarter.resume("r")
            await rollout.run()
            return rollout.state

    with World(servers=40, seed=3) as world:
        first, second = Watched(world), Watched(world)
        with pytest.raises(Killed):
            world.run(begin, kill_after=450)
        state = world.run(go_on)

    before, after = first.metrics, second.metrics
    assert state.counts[OutcomeKind.RESTARTED] == 40
    assert before.submitted[""] > before.servers["", "restarted"], "nothing was under way"
    assert before.servers["", "restarted"] + after.servers["", "restarted"] == 40
    assert before.submitted[""] + after.submitted[""] == 40
    assert sum(sum(each.counts) for each in after.restarts.values()) == after.servers["", "restarted"]


def test_a_run_that_comes_back_to_its_process_is_counted_once() -> None:
    """It is stopped and resumed here, and its failures are tried again: those have another outcome then."""

    async def main() -> RolloutState:
        async with watched.restarter() as restarter:
            strategy = Strategy(waves=["100%"], max_failures=0, max_unavailable=4)
            await restarter.rollout(world.ids, strategy, run_id="r").run()
            assert watched.metrics.stopped == {"r": "max_failures"}
            again = await restarter.resume("r", changes=Changes(retry=["failed"], forgive=True))
            await again.run()
            return again.state

    with World(servers=20, seed=3) as world:
        world.cloud.doom(world.ids[4], "fail")
        watched = Watched(world)
        state = world.run(main)

    assert state.counts[OutcomeKind.RESTARTED] == 20
    assert watched.metrics.servers == {("", "failed"): 1, ("", "restarted"): 20}
    assert watched.metrics.ended == {"stopped": 1, "succeeded": 1}
    assert watched.metrics.stopped == {}


def test_events_that_are_heard_again_count_nothing() -> None:
    metrics, state = Metrics(), RolloutState("r", plan_of(2))
    told = [
        Recorded(1, 100.0, "r", ev.HolderChanged()),
        Recorded(2, 101.0, "r", ev.BatchSubmitting(batch=1, servers=["s0", "s1"])),
        Recorded(3, 102.0, "r", ev.BatchAccepted(batch=1, job_id="j")),
        Recorded(4, 140.0, "r", ev.ServerRestarted(server="s0", batch=1, evidence="job")),
        Recorded(5, 141.0, "r", ev.ServerFailed(server="s1", batch=1, evidence="job")),
    ]
    for each in [*told, *told]:
        metrics.heard(each, state)

    assert metrics.servers == {("", "restarted"): 1, ("", "failed"): 1}
    assert metrics._runs["r"].flights == {}
    assert (metrics.submits, metrics.submitted) == ({("", "accepted"): 1}, {"": 2})
    assert metrics.restarts["", "job"].total == 39.0


def test_what_was_not_tried_again_after_all_keeps_the_outcome_that_was_counted() -> None:
    metrics = Metrics()
    metrics.heard(Recorded(1, 1.0, "r", ev.ServerFailed(server="s0", batch=1)), None)
    metrics.heard(Recorded(2, 2.0, "r", ev.ServerFailed(server="s0", not_retried="locked")), None)

    assert metrics.servers == {("", "failed"): 1}


@pytest.mark.parametrize(
    ("events", "counted"),
    [
        ([ev.BatchRejected(batch=1, kind="throttled"), ev.QuotaDesync()], {("", "throttled"): 1}),
        ([ev.BatchRejected(batch=1, kind="a kind of tomorrow")], {("", "not_accepted"): 1}),
        ([ev.BatchUnknown(batch=1), ev.BatchUnstarted(batch=1, servers=["s0"])], {("", "unknown"): 1}),
    ],
)
def test_a_request_is_forgotten_once_nothing_more_comes_of_it(
    events: list[ev.Event], counted: dict[tuple[str, str], int]
) -> None:
    metrics = Metrics()
    metrics.heard(Recorded(1, 1.0, "r", ev.BatchSubmitting(batch=1, servers=["s0"])), None)
    for seq, event in enumerate(events, 2):
        metrics.heard(Recorded(seq, 2.0, "r", event), None)

    assert metrics.submits == counted
    assert metrics.desyncs[""] == sum(isinstance(event, ev.QuotaDesync) for event in events)
    assert metrics._runs["r"].flights == {}


def test_single_restarts_are_counted_too() -> None:
    async def main() -> None:
        async with watched.restarter() as restarter:
            await asyncio.gather(*map(restarter.restart, world.ids))

    with World(servers=12, seed=3) as world:
        watched = Watched(world)
        world.run(main)

    assert watched.metrics.servers == {("", "restarted"): 12}
    assert watched.metrics.submits == {("", "accepted"): 1}


def test_what_stands_now_is_measured() -> None:
    """In the middle of a run, by its state and the ledger; and nothing of it is left behind its end."""

    async def main() -> tuple[str, Usage, RolloutState, str]:
        async with watched.restarter() as restarter:
            plan = await restarter.plan(world.ids, Strategy(max_unavailable="30%", waves=["100%"]))
            rollout = await restarter.rollout(plan).start()
            async for recorded in rollout.events():
                if isinstance(recorded.event, ev.BatchAccepted):
                    break
            usage = await restarter.usage()
            text = watched.text(await measure([restarter]))
            assert values(text, "down_servers") == {("az1", SITE): 9, ("az2", SITE): 9}
            assert values(text, "in_flight_servers") == {(): rollout.state.run.in_flight}
            await rollout
            return text, usage, rollout.state, watched.text(await measure([restarter]))

    with World(servers=60, seed=3, zones=("az1", "az2")) as world:
        watched = Watched(world)
        text, usage, state, after = world.run(main)

    tokens = {(SITE, "free"): usage.free, (SITE, "held"): usage.held, (SITE, "cooling"): usage.cooling}
    assert values(text, "quota_tokens") == tokens
    assert values(text, "quota_limit") == {(SITE,): 1000}
    assert values(text, "down_limit") == {(): 18}
    assert values(text, "runs") == {("running",): 1}
    assert values(text, "run_info") == {(state.run_id,): 1}
    assert values(text, "cloud_unseen_seconds") == {(SITE,): 0}
    assert values(after, "run_info") == values(after, "runs") == {}
    assert values(after, "servers_total")["restarted", SITE] == 60


def test_the_names_that_others_go_by_are_there_from_the_begin() -> None:
    text = Watched(World(servers=1)).text(
        Sample(sites={"": "eu/p1"}, quotas={"": (Usage(9, 1, 2, 6), 60.0)}, trust=2.0)
    )
    families = {family.name for family in text_string_to_metric_families(text)}

    assert {f"ecsbatch_{name}" for name in DOCUMENTED} <= families
    assert values(text, "servers_total")["restarted", "eu/p1"] == 0
    assert values(text, "holder_trust_seconds") == {(): 2.0}
    assert values(text, "restart_duration_seconds_bucket")["job", "600.0", "eu/p1"] == 0


def test_no_label_grows_with_servers_hosts_domains_or_runs() -> None:
    """50,000 servers of 1,000 domains and as many hosts, and 400 runs after one another in one process."""
    servers, domains, metrics = 50_000, 1_000, Metrics()
    plan = plan_of(servers, domains)
    state = RolloutState("big", plan)
    for number in range(0, servers, 1_000):
        named = plan.fleet.ids[number : number + 1_000]
        apply(state, metrics, ev.BatchSubmitting(batch=number + 1, servers=named))
        for server in named[1:]:
            domain = plan.fleet.domain(plan.fleet.find(server))
            failed = ev.ServerFailed(server=server, batch=number + 1, domain=domain, host=f"host-{server}", code=server)
            apply(state, metrics, failed)
    for run in range(400):
        metrics.heard(Recorded(1, 1.0, f"run-{run}", ev.HolderChanged()), None)
        metrics.heard(
            Recorded(2, 1.0, f"run-{run}", ev.RunStopped(status="stopped", reason=f"my own reason {run}")), None
        )
    for status in range(1000):
        metrics.sending(OutgoingRequest("GET", "/v1/{project_id}/jobs/{job_id}", "ecs", 443))(status, "")
    watched = Watched(World(servers=1), metrics)
    text = watched.text(Sample(sites={"": "eu/p1"}, states=[state]))

    series = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(values(text, "down_servers")) == MOST_DOMAINS + 1
    assert sum(values(text, "down_servers").values()) == state.down == servers / 1_000
    assert len(series) < 600
    assert len(text) < 60_000
    assert len(metrics._runs) <= 256


def test_the_domains_with_the_most_servers_have_their_names_and_are_the_same_throughout() -> None:
    sizes = [f"az{n}" for n in range(60) for _ in range(n + 1)]
    state = RolloutState("r", make_plan(Fleet([f"s{n}" for n in range(len(sizes))], sizes), Strategy()))
    before = set(down_by_domain([state]))
    state.apply(Recorded(1, 1.0, "r", ev.BatchSubmitting(batch=1, servers=state.plan.fleet.ids[:100])))

    assert set(down_by_domain([state])) == before
    assert ("", "az59") in before
    assert ("", "az9") not in before
    assert len(before) == 51


def test_hostile_texts_of_the_cloud_stay_within_their_label() -> None:
    hostile = 'az"} 1\n\x1b[31mevil{x="' + "y" * 500
    state = RolloutState("r", make_plan(Fleet(["a"], [hostile]), Strategy()))
    text = Watched(World(servers=1)).text(Sample(states=[state]))

    [(domain, _)] = values(text, "down_servers")
    assert domain.startswith('az"} 1')
    assert len(domain) == 64
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("status", "word"), [(200, "200"), (429, "429"), (418, "4xx"), (599, "5xx"), (0, "none"), (999, "none")]
)
def test_rare_statuses_share_a_label(status: int, word: str) -> None:
    assert status_word(status) == word


def test_a_site_is_called_by_its_region_and_project() -> None:
    assert site_word(Site("https://ecs.eu-west-101.x", "p1", "eu-west-101")) == "eu-west-101/p1"
    assert site_word(Site("https://ecs.x", "p1")) == "p1"


# -- pieces ------------------------------------------------------------------------------------------------------------

SITE = World(servers=1).config.project_id


def plan_of(servers: int, domains: int = 1) -> Plan:
    ids = [f"s{n}" for n in range(servers)]
    return make_plan(Fleet(ids, [f"az{n % domains}" for n in range(servers)]), Strategy())


def apply(state: RolloutState, metrics: Metrics, event: ev.Event) -> None:
    recorded = Recorded(state.seq + 1, 1.0, state.run_id, event)
    state.apply(recorded)
    metrics.heard(recorded, state)
