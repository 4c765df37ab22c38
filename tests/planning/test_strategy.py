"""From a strategy to a plan in numbers."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import ConfigError, Invalid, SelectionError
from ecsbatch.model.outcome import SkipReason
from ecsbatch.model.plan import OUTSIDE_PERCENTAGES, Plan
from ecsbatch.model.quota import Quota
from ecsbatch.model.servers import Fleet, Server, ServerView
from ecsbatch.planning.strategy import LIMITS, interleave, make_plan, resolve_limits
from ecsbatch.planning.time_model import time_model


def fleet(**domains: int) -> list[Server]:
    return [Server(f"{domain}-{i:04}", domain) for domain, count in domains.items() for i in range(count)]


def states(servers: list[Server], **of: str) -> dict[str, ServerView]:
    """Views of a fleet that is ACTIVE but for the servers named, with ``_`` for the dash of their ids."""
    others = {name.replace("_", "-"): status for name, status in of.items()}
    return {s.id: ServerView(s.id, status=others.get(s.id, "ACTIVE"), az=s.domain) for s in servers}


def waves(plan: Plan) -> list[tuple[str, int]]:
    return [(wave.label, len(wave)) for wave in plan.waves]


def skips(plan: Plan) -> list[tuple[str, int, bool]]:
    return [(skip.reason, len(skip), skip.holds) for skip in plan.skips]


@pytest.mark.parametrize(
    ("total", "sizes", "expected"),
    [
        (20, "auto", [20]),
        (21, "auto", [1, 1, 2, 17]),
        (1_000, "auto", [1, 10, 100, 889]),
        (10, "1", [1] * 10),
        (100, "1,5%,25%", [1, 5, 25, 25, 25, 19]),
        (100, "100%", [100]),
        (59, "10%", [5] * 11 + [4]),
        (3, "10%", [1, 1, 1]),
        (5, "10", [5]),
        (5, ["2", 3], [2, 3]),
    ],
)
def test_waves_are_sizes_per_group_and_the_last_repeats(
    total: int, sizes: str | list[str | int], expected: list[int]
) -> None:
    plan = make_plan(fleet(az=total), Strategy(waves=sizes))

    assert [len(wave) for wave in plan.waves] == expected


def test_domain_stands_for_one_wave_per_domain_after_a_canary_spread_over_all() -> None:
    for order in ("spread", "domain"):
        plan = make_plan(fleet(az2=10, az1=20, az3=30), Strategy(waves="6,domain", order=order))

        assert waves(plan) == [("6", 6), ("az1", 18), ("az2", 9), ("az3", 27)]
        assert Counter(plan.fleet.domain(i) for i in range(6)) == {"az1": 2, "az2": 1, "az3": 3}
        assert all(plan.fleet.domain(i) == w.label for w in plan.waves[1:] for i in range(w.start, w.end))


def test_domains_that_a_canary_took_whole_get_no_wave() -> None:
    assert waves(make_plan(fleet(az1=1, az2=1), Strategy(waves="5,domain"))) == [("5", 2)]


def test_a_domain_that_must_be_known_and_is_not_is_refused() -> None:
    servers = [Server("a", "az1"), Server("b")]

    for strategy in (Strategy(waves="domain"), Strategy(max_unavailable_per_domain=1)):
        with pytest.raises(SelectionError, match=r"that of 1 servers is not known \(first b\); add a column az"):
            make_plan(servers, strategy)
    views = {"b": ServerView("b", status="ACTIVE", az="az2")}
    assert waves(make_plan(servers, Strategy(waves="domain"), views=views)) == [("az1", 1), ("az2", 1)]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("input", ["b-0000", "b-0001", "a-0000", "a-0001"]),
        ("domain", ["a-0000", "a-0001", "b-0000", "b-0001"]),
        ("spread", ["a-0000", "b-0000", "a-0001", "b-0001"]),
        ("oldest", ["a-0001", "b-0000", "b-0001", "a-0000"]),
    ],
)
def test_the_order_is_the_one_asked_for(order: str, expected: list[str]) -> None:
    servers = fleet(b=2, a=2)
    ages = {"a-0001": "1", "b-0000": "2", "b-0001": "3", "a-0000": "4"}
    views = {id_: ServerView(id_, status="ACTIVE", updated=f"202{age}-01-01T00:00:00Z") for id_, age in ages.items()}

    plan = make_plan(servers, Strategy(order=order), views=views)  # type: ignore[arg-type]

    assert list(plan.fleet.ids) == expected


def test_oldest_needs_to_be_told_how_old() -> None:
    with pytest.raises(SelectionError, match="a-0000 has none here"):
        make_plan(fleet(a=2), Strategy(order="oldest"))


def test_servers_of_one_host_are_kept_apart_within_their_domain() -> None:
    views = {s.id: ServerView(s.id, status="ACTIVE", host_id=f"h{i // 3}") for i, s in enumerate(fleet(az=6))}

    plan = make_plan(fleet(az=6), Strategy(), views=views)

    assert [views[id_].host_id for id_ in plan.fleet.ids] == ["h0", "h1"] * 3


@pytest.mark.parametrize(
    ("limit", "servers", "allowed"),
    [("10%", 50, 5), ("10%", 59, 5), ("10%", 9, 1), ("1%", 50, 1), (70, 50, 70), ("100%", 7, 7)],
)
def test_a_budget_is_rounded_down_and_at_least_one(limit: int | str, servers: int, allowed: int) -> None:
    assert make_plan(fleet(az=servers), Strategy(max_unavailable=limit)).max_unavailable == allowed


@pytest.mark.parametrize(
    ("limit", "servers", "allowed"), [("10%", 50, 5), ("10%", 59, 5), ("10%", 9, 0), (0, 50, 0), (3, 50, 3)]
)
def test_a_failure_limit_is_rounded_down_and_may_be_zero(limit: int | str, servers: int, allowed: int) -> None:
    assert make_plan(fleet(az=servers), Strategy(max_failures=limit)).max_failures == allowed


def test_percentages_per_domain_are_of_the_domain_and_per_wave_of_the_wave() -> None:
    strategy = Strategy(
        waves="10,50",
        max_unavailable_per_domain="10%",
        max_failures_per_domain="10%",
        max_failures_per_wave="10%",
    )

    plan = make_plan(fleet(az1=39, az2=9), strategy)

    assert plan.max_unavailable_per_domain == {"az1": 3, "az2": 1}
    assert plan.max_failures_per_domain == {"az1": 3, "az2": 0}
    assert plan.max_failures_per_wave == (1, 3)


def test_what_is_left_alone_since_it_was_restarted_and_is_still_down_holds_its_place() -> None:
    """A lost machine's restarts may be under way: they are down, whoever began them."""
    servers = fleet(az=20)
    views = states(servers, az_0000="REBOOT")

    plan = make_plan(servers, Strategy(max_unavailable=5), views=views, restarted_recently={"az-0000", "az-0001"})

    assert skips(plan) == [("restarted_recently", 1, False), ("restarted_recently", 1, True)]
    assert plan.held == 1


def test_percentages_are_of_servers_that_exist_and_may_be_restarted() -> None:
    """Only what restarts already counts besides those to restart: it was meant to, and it does."""
    servers = fleet(az=107)
    views = states(servers, az_0000="SHUTOFF", az_0001="SHUTOFF", az_0002="REBOOT")
    views["az-0003"] = ServerView("az-0003", found=False)
    views["az-0004"] = ServerView("az-0004", status="ACTIVE", locked=True)

    plan = make_plan(
        servers,
        Strategy(max_unavailable="10%"),
        views=views,
        excluded={"az-0005", "az-0006", "az-0000"},
        restarted_recently={"az-0007", "az-0008", "az-0009"},
    )

    assert skips(plan) == [
        ("not_found", 1, False),
        ("not_active", 1, False),
        ("locked", 1, False),
        ("already_restarting", 1, True),
        ("restarted_recently", 3, False),
        ("excluded", 3, False),
    ]
    assert (plan.to_restart, plan.base, plan.max_unavailable, plan.held) == (97, 98, 9, 1)
    assert plan.domain_bases() == {"az": 98}


def test_a_list_of_which_most_does_not_exist_restarts_as_the_servers_that_do() -> None:
    """A tenth of 100 is 10, whatever else was typed: waves, budgets and failures are those of the 100 alone."""
    real, gone, locked = fleet(az1=60, az2=40), fleet(az3=900), fleet(az1_locked=50)
    views = states([*real, *locked]) | {server.id: ServerView(server.id, found=False) for server in gone}
    views |= {server.id: ServerView(server.id, status="ACTIVE", locked=True) for server in locked}
    strategy = Strategy(
        waves="10%",
        max_unavailable="10%",
        max_unavailable_per_domain="10%",
        max_failures="5%",
        max_failures_per_domain="5%",
        order="input",
    )

    plan, alone = make_plan([*gone, *real, *locked], strategy, views=views), make_plan(real, strategy, views=views)

    assert [len(wave) for wave in plan.waves] == [10] * 10
    assert plan.max_unavailable == 10
    for name in ("waves", *LIMITS):
        assert getattr(plan, name) == getattr(alone, name), name
    assert resolve_limits(plan, max_unavailable="50%").max_unavailable == 50


def test_a_plan_names_what_does_not_exist_and_how_much_of_it_may() -> None:
    servers = fleet(az=250)
    views = states(servers) | {id_: ServerView(id_, found=False) for id_ in ("az-0007", "az-0003")}

    plan = make_plan(servers, Strategy(), views=views, excluded={"az-0000"})

    assert (plan.not_found, plan.max_not_found) == (["az-0003", "az-0007"], 2)
    assert make_plan(servers, Strategy(max_not_found=9)).max_not_found == 9
    assert make_plan(servers, Strategy(max_not_found="1%")).not_found == []
    old = {name: value for name, value in plan.to_json().items() if name != "max_not_found"}
    assert Plan.from_json(old, plan.fleet).max_not_found == 0
    assert Plan.from_json(orjson.loads(orjson.dumps(plan.to_json())), plan.fleet) == plan


def test_no_precheck_skips_only_what_was_asked_for() -> None:
    servers = fleet(az=4)
    views = states(servers, az_0000="SHUTOFF", az_0001="ERROR")

    plan = make_plan(servers, Strategy(precheck=False), views=views, excluded={"az-0003"})

    assert skips(plan) == [("excluded", 1, False)]


def test_what_does_not_exist_is_no_part_of_a_percentage_whatever_else_was_asked_for() -> None:
    real, gone = fleet(az1=100), fleet(az3=900)
    views = states(real) | {server.id: ServerView(server.id, found=False) for server in gone}
    strategy = Strategy(precheck=False, max_unavailable="10%", waves="100%")
    ids = {server.id for server in gone}

    for plan in (
        make_plan([*real, *gone], strategy, views=views),
        make_plan([*real, *gone], strategy, views=views, restarted_recently=ids),
    ):
        assert (plan.to_restart, plan.max_unavailable) == (100, 10)
        assert len(plan.not_found) == 900


def test_servers_that_are_down_already_and_fill_the_budget_alone_are_listed() -> None:
    servers = fleet(az=40)
    down = {f"az_{i:04}": "ERROR" for i in range(4)}

    with pytest.raises(SelectionError) as caught:
        make_plan(servers, Strategy(max_unavailable=4), views=states(servers, **down))
    assert str(caught.value) == (
        "4 servers are down or changing already and fill max_unavailable (4) alone: az-0000 (ERROR), "
        "az-0001 (ERROR), az-0002 (ERROR) and 1 more; mend or exclude them, or raise the limit."
    )
    assert make_plan(servers, Strategy(max_unavailable=5), views=states(servers, **down)).held == 4


def test_one_server_that_fills_the_budget_alone_is_one() -> None:
    servers = fleet(az=40)

    with pytest.raises(SelectionError, match=r"^1 server is down or changing already and fills max_unavailable \(1\) "):
        make_plan(servers, Strategy(max_unavailable=1), views=states(servers, az_0000="ERROR"))


def test_a_domain_whose_budget_is_filled_is_refused_as_well() -> None:
    servers = fleet(az1=40, az2=40)
    views = states(servers, az2_0000="ERROR")

    with pytest.raises(SelectionError, match=r"max_unavailable_per_domain of az2 \(1\) alone: az2-0000 \(ERROR\);"):
        make_plan(servers, Strategy(max_unavailable_per_domain=1), views=views)


def test_a_fleet_that_is_rightly_skipped_whole_is_a_plan_without_waves() -> None:
    servers = fleet(az=3)

    plan = make_plan(servers, Strategy(), views=states(servers, az_0000="ERROR"), excluded={"az-0001", "az-0002"})

    assert (plan.waves, plan.to_restart, len(plan.fleet)) == ((), 0, 3)
    assert time_model(plan, Quota(), 40.0).seconds == 0


def test_no_server_and_one_twice_are_refused() -> None:
    with pytest.raises(SelectionError, match="No server is selected"):
        make_plan([], Strategy())
    with pytest.raises(SelectionError, match="Server a is named twice"):
        make_plan([Server("b"), Server("a"), Server("a", "az1")], Strategy())


@pytest.mark.parametrize(
    ("asked", "held"), [(None, ()), ("1", (1,)), (3, (3,)), ("4", ()), ("9", ()), ("each", (1, 2, 3))]
)
def test_the_run_holds_after_waves_but_never_after_the_last(asked: int | str | None, held: tuple[int, ...]) -> None:
    assert make_plan(fleet(az=40), Strategy(waves="10", hold_after=asked)).hold_after == held


def test_a_check_makes_servers_wait_until_they_are_ready() -> None:
    assert make_plan(fleet(az=1), Strategy()).min_ready == 0
    assert make_plan(fleet(az=1), Strategy(check="tcp:22")).min_ready == 10
    assert make_plan(fleet(az=1), Strategy(), check="answers").min_ready == 10
    assert make_plan(fleet(az=1), Strategy(check="tcp:22", min_ready=0)).min_ready == 0


def test_limits_can_be_resolved_anew_for_a_run_that_goes_on() -> None:
    plan = make_plan(fleet(az1=30, az2=20), Strategy())

    changed = resolve_limits(plan, max_unavailable="20%", max_failures_per_domain="10%")

    assert (changed.max_unavailable, changed.max_failures_per_domain) == (10, {"az1": 3, "az2": 2})
    assert (changed.max_failures, changed.fleet) == (plan.max_failures, plan.fleet)
    with pytest.raises(ConfigError, match=r"^max_unavailable = 0: give"):
        resolve_limits(plan, max_unavailable=0)
    with pytest.raises(Invalid, match="waves is none of the limits"):
        resolve_limits(plan, waves="1")


sizes = st.lists(st.sampled_from(["1", "3", "7", "1%", "10%", "25%", "100%"]), min_size=1, max_size=4)
verdicts = st.sampled_from(["ACTIVE"] * 6 + ["SHUTOFF", "ERROR", "REBOOT", "GONE"])


@given(
    st.lists(st.tuples(st.sampled_from(["az1", "az2", "az3"]), verdicts), min_size=1, max_size=120),
    sizes,
    st.booleans(),
    st.sampled_from(["spread", "domain", "input"]),
)
def test_every_server_is_in_exactly_one_wave_or_skip(
    given_: list[tuple[str, str]],
    cut: list[str],
    by_domain: bool,  # noqa: FBT001  # hypothesis passes it by name
    order: str,
) -> None:
    servers = [Server(str(i), domain) for i, (domain, _) in enumerate(given_)]
    views = {str(i): ServerView(str(i), state != "GONE", state) for i, (_, state) in enumerate(given_)}
    sized = [*cut, "domain"] if by_domain else cut

    plan = make_plan(servers, Strategy(waves=sized, order=order, max_unavailable=1_000), views=views)  # type: ignore[arg-type]

    assert sorted(plan.fleet.ids) == sorted(views)
    ranges = [(wave.start, wave.end) for wave in plan.waves] + [(skip.start, skip.end) for skip in plan.skips]
    assert [start for start, _ in ranges] == [0, *(end for _, end in ranges)][:-1]
    assert all(start < end for start, end in ranges)
    assert ranges[-1][1] == len(plan.fleet)
    assert [wave.number for wave in plan.waves] == list(range(1, len(plan.waves) + 1))
    for i, server in enumerate(plan.fleet):
        wave, skip = plan.wave_of(i), plan.skip_of(i)
        assert (views[server.id].status == "ACTIVE") == (wave is not None) == (skip is None)
        assert wave is None or wave.start <= i < wave.end
    outside = sum(len(skip) for skip in plan.skips if skip.reason in OUTSIDE_PERCENTAGES)
    assert plan.base == len(plan.fleet) - outside == sum(plan.domain_bases().values())


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_every_prefix_of_a_spread_order_holds_each_domains_share_to_less_than_one_server(counts: list[int]) -> None:
    groups = [[g * 100 + k for k in range(count)] for g, count in enumerate(counts)]

    merged = interleave(groups)

    assert sorted(merged) == sorted(i for group in groups for i in group)
    seen = [0] * len(groups)
    for position, i in enumerate(merged, 1):
        assert i % 100 == seen[i // 100]
        seen[i // 100] += 1
        assert all(abs(n - Fraction(position * c, len(merged))) < 1 for n, c in zip(seen, counts, strict=True))


def test_a_plan_reads_back_from_its_json() -> None:
    servers = fleet(az1=30, az2=9)
    strategy = Strategy(
        max_failures_per_wave=1, max_unavailable_per_domain=2, hold_after="each", check="tcp:22", type="hard"
    )
    plan = make_plan(servers, strategy, views=states(servers, az1_0003="SHUTOFF", az2_0001="REBOOT"))

    raw = orjson.loads(orjson.dumps(plan.to_json()))
    again = Plan.from_json(raw | {"a_new_field": 1}, plan.fleet)

    assert again == plan
    assert again.hash == plan.hash == raw["hash"]
    assert (raw["total"], raw["to_restart"], raw["domains"]) == (39, 37, {"az1": 29, "az2": 8})
    with pytest.raises(ValueError, match="about 39 servers, the list holds 1"):
        Plan.from_json(raw, Fleet(["a"]))
    with pytest.raises(ValueError, match="This is no plan"):
        Plan.from_json({}, plan.fleet)


def test_the_hash_is_stable_and_names_targets_order_and_numbers() -> None:
    plan = make_plan(fleet(az1=3), Strategy(order="input"))
    turned = make_plan(fleet(az1=3)[::-1], Strategy(order="input"))
    changed = make_plan(fleet(az1=3), Strategy(order="input", max_failures=1))

    assert plan.hash == "d25f5c85bddf0c0f1af2de97ecbbe680bde8b41a8582aa59bee15c9ca3bb4c99"
    assert len({plan.hash, turned.hash, changed.hash}) == 3
    assert plan.targets == turned.targets == changed.targets
    assert plan.targets != make_plan(fleet(az1=2), Strategy()).targets


@pytest.mark.parametrize(
    ("servers", "strategy", "restart", "binds", "minutes", "down"),
    [
        (50_000, Strategy(max_unavailable=500), 180.0, "max_unavailable", 303, 500),
        (50_000, Strategy(max_unavailable=3_000), 180.0, "quota", 60, 3_000),
        (50_000, Strategy(max_unavailable=5_000), 180.0, "quota", 60, 5_000),
        (15, Strategy(max_unavailable="100%"), 60.0, "restart", 1, 15),
        (15, Strategy(max_unavailable="50%"), 60.0, "max_unavailable", 3, 7),
        (100, Strategy(waves="50", max_unavailable="100%", soak=300), 60.0, "waves", 7, 100),
        (2_000, Strategy(waves="1000", max_unavailable="100%", soak=120), 60.0, "waves", 4, 2_000),
    ],
)
def test_the_time_model_says_which_limit_binds_and_how_long_it_takes(
    servers: int, strategy: Strategy, restart: float, binds: str, minutes: int, down: int
) -> None:
    """Quota alone: 1,000 a minute. Budget alone: max_unavailable servers every restart time."""
    model = time_model(make_plan(fleet(az=servers), strategy), Quota(1000, 60.0), restart)

    assert (model.binds, round(model.seconds / 60), model.worst_case_down) == (binds, minutes, down)
    assert model.what_would_change.endswith(".")


def test_the_time_model_names_what_would_make_the_quota_bind() -> None:
    plan = make_plan(fleet(az=50_000), Strategy(max_unavailable=500))

    model = time_model(plan, Quota(1000, 60.0), 180.0)

    assert model.rate_per_s * 60 == pytest.approx(500 / 3)
    assert model.what_would_change == (
        "A --max-unavailable that lets 3,000 servers be down at once would make the quota (1000/60s) bind."
    )


def test_the_time_model_sees_domains_and_held_slots() -> None:
    servers = fleet(az1=100, az2=100)
    views = states(servers, az1_0000="ERROR")

    model = time_model(make_plan(servers, Strategy(max_unavailable_per_domain=5), views=views), Quota(), 40.0)

    assert (model.binds, model.worst_case_down) == ("max_unavailable_per_domain", 10)


def test_a_plan_without_domains_counts_one_without_a_name() -> None:
    plan = make_plan([Server("a"), Server("b")], Strategy())

    assert plan.domains() == {"": 2}
    with pytest.raises(IndexError):
        plan.wave_of(2)


def test_skip_reasons_are_the_words_of_the_contract() -> None:
    assert {reason.value for reason in SkipReason} >= OUTSIDE_PERCENTAGES


def test_a_name_that_is_not_given_is_the_one_that_the_cloud_says() -> None:
    servers = [Server("a"), Server("b", name="mine"), Server("c")]
    views = {"a": ServerView("a", status="ACTIVE", az="az1", name="web-1"), "b": ServerView("b", status="ACTIVE")}

    plan = make_plan(servers, Strategy(), views=views)

    assert {server.id: server.name for server in plan.fleet} == {"a": "web-1", "b": "mine", "c": ""}
