"""What a rehearsal keeps of the plan that it rehearses."""

from __future__ import annotations

from dataclasses import replace

from ecsbatch.cli.commands.rehearse import RehearsalFlags, run_rehearsal
from ecsbatch.config.settings import Strategy
from ecsbatch.config.sources import merge_layers
from ecsbatch.model.servers import Server
from ecsbatch.planning.strategy import make_plan

STRATEGY = Strategy(waves="100%", max_unavailable="100%", max_failures="100%")


def test_a_rehearsal_is_grouped_as_its_plan_and_fails_on_the_plans_hosts() -> None:
    made = make_plan([Server(f"s{i}", "az1") for i in range(30)], STRATEGY)
    hosts = [f"h{i // 10}" if i else "" for i in range(30)]
    plan = replace(made, fleet=made.fleet.grouped(hosts, {"app": ["web", "db"] * 15}))
    state = run_rehearsal(plan, merge_layers(), RehearsalFlags(faults="fail=50%")).state

    assert (state.plan.fleet.hosts, state.plan.fleet.tags) == (plan.fleet.hosts, plan.fleet.tags)
    assert [state.outcome(i).host for i in range(30)] == hosts
    assert set(state.failed_by["host"]) == {"h0", "h1", "h2"}
