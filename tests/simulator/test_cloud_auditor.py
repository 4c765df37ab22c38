"""The quota and the auditor, against brute force."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_world import World

from ecsbatch.simulator.auditor import fullest_window, most_at_once
from ecsbatch.simulator.gateway import QuotaWindow

COUNTED = st.lists(st.tuples(st.integers(0, 300).map(float), st.integers(1, 40)), max_size=40).map(sorted)
SPANS = st.lists(st.tuples(st.integers(0, 60).map(float), st.integers(1, 30)), max_size=30).map(
    lambda spans: [(begin, begin + length) for begin, length in spans]
)


@given(COUNTED)
def test_the_fullest_closed_window_is_the_brute_force_one(counted: list[tuple[float, int]]) -> None:
    brute = max((sum(n for at, n in counted if start <= at <= start + 60) for start, _ in counted), default=0)

    assert fullest_window(counted, 60.0)[0] == brute


@given(SPANS)
def test_the_most_servers_down_at_once_are_the_brute_force_ones(spans: list[tuple[float, float]]) -> None:
    brute = max((sum(begin <= at < end for begin, end in spans) for at, _ in spans), default=0)

    assert most_at_once(spans)[0] == brute


@given(COUNTED)
def test_the_quota_admits_exactly_what_keeps_every_closed_window_within_it(requests: list[tuple[float, int]]) -> None:
    quota = QuotaWindow(100, 60.0, counts_refused=False, foreign=0.0, start=0.0)
    admitted: list[tuple[float, int]] = []
    for at, size in requests:
        held = sum(n for then, n in admitted if then >= at - 60)
        fits = quota.admit(at, size)

        assert fits == (held + size <= 100)

        if fits:
            admitted.append((at, size))

    assert fullest_window(admitted, 60.0)[0] <= 100


def test_over_the_quota_the_gateway_says_limit_and_period(world: Callable[..., World]) -> None:
    cloud = world(servers=30, quota_limit=20)
    ids = cloud.cloud.ids()
    first = cloud.act(*ids[:15])[0]
    status, refusal = cloud.act(*ids[15:])
    cloud.now = 60.0
    at_the_edge = cloud.act(*ids[15:])[0]
    cloud.now = 60.001
    after = cloud.act(*ids[15:])[0]
    audit = cloud.cloud.audit()

    assert (first, status, at_the_edge, after) == (200, 429, 429, 200)
    assert refusal["error_code"] == "APIGW.0308"
    assert refusal["error_msg"] == (
        "The throttling threshold has been reached: policy user over ratelimit,limit:20,time:1 minute"
    )
    assert (audit["fullest_window"], audit["counted_servers"]) == (15, 30)
    assert (audit["throttled_requests"], audit["refused_servers"]) == (2, 30)


def test_a_refused_request_may_count_too(world: Callable[..., World]) -> None:
    cloud = world(servers=30, quota_limit=20, quota_counts_refused=True)
    ids = cloud.cloud.ids()
    cloud.act(*ids[:15])
    cloud.now = 30.0
    cloud.act(*ids[15:25])
    cloud.now = 60.001

    assert cloud.act(*ids[15:])[0] == 429
    assert cloud.cloud.audit()["fullest_window"] == 25


def test_somebody_else_spends_the_same_quota(world: Callable[..., World]) -> None:
    cloud = world(servers=60, quota_limit=50, foreign_load=30.0)
    ids = cloud.cloud.ids()
    cloud.now = 59.0
    statuses = [cloud.act(*ids[:21])[0], cloud.act(*ids[:20])[0]]

    assert statuses == [429, 200]
    assert cloud.cloud.audit()["fullest_window_with_foreign"] == 50


def test_only_reboots_count(world: Callable[..., World]) -> None:
    cloud = world(servers=10, quota_limit=5)
    servers = [{"id": server_id} for server_id in cloud.cloud.ids()]

    assert cloud.post({"os-stop": {"servers": servers}})[0] == 200
    assert cloud.cloud.audit()["counted_servers"] == 0


def test_a_perfect_client_uses_the_whole_quota(world: Callable[..., World]) -> None:
    cloud = world(servers=50, quota_limit=10, restart_median=5.0)
    ids = cloud.cloud.ids()
    for window in range(5):
        cloud.now = window * 60.06
        cloud.act(*ids[window * 10 : window * 10 + 10])
    audit = cloud.cloud.audit()

    assert audit["fullest_window"] == 10
    assert audit["quota_share"] == pytest.approx(60 / 60.06)


def test_who_was_down_at_once_in_all_and_in_each_zone(world: Callable[..., World]) -> None:
    cloud = world(servers=6, zones=("az1", "az2"))
    ids = cloud.cloud.ids()
    cloud.act(*ids[:3])
    cloud.now = 1.0
    cloud.act(ids[4])
    cloud.now = 500.0
    cloud.act(ids[0])
    cloud.now = 1000.0
    audit = cloud.cloud.audit()

    assert (audit["most_down"], audit["most_down_at"]) == (4, 1.0)
    assert audit["most_down_by_zone"] == {"az1": 3, "az2": 1}
    assert [down for _, down in cloud.cloud.auditor.timeline()][-1] == 0
    assert audit["restarted_more_than_once_ids"] == [ids[0]]
    assert (audit["restarts"], audit["restarted_servers"]) == (5, 4)


def test_a_guest_that_never_comes_up_is_down_until_it_is_healed(world: Callable[..., World]) -> None:
    cloud = world(servers=2)
    first, second = cloud.cloud.ids()
    cloud.cloud.doom(first, "unhealthy")
    cloud.act(first)
    cloud.now = 5000.0
    cloud.act(second)

    assert cloud.cloud.audit()["most_down"] == 2

    cloud.now = 10_000.0
    cloud.cloud.heal(first)

    assert cloud.cloud.auditor.timeline()[-1] == (10_000.0, 0)


def test_requests_to_the_api_have_a_rate_of_their_own(world: Callable[..., World]) -> None:
    cloud = world(api_rate=2)
    statuses = [cloud.get("/cloudservers/detail")[0] for _ in range(3)]
    cloud.now = 1.0

    assert statuses == [200, 200, 429]
    assert cloud.get("/cloudservers/detail")[0] == 200
    assert cloud.cloud.audit()["looks"] == {"list": 3}
