"""Misfortunes: what is carried out, and what the client gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from simulated_world import World

from ecsbatch.simulator.cloud import Exchange, Faults


def _submit(cloud: World, count: int = 10) -> Exchange:
    servers = [{"id": server_id} for server_id in cloud.cloud.ids()[:count]]
    body = orjson.dumps({"reboot": {"type": "SOFT", "servers": servers}})
    return cloud.cloud.receive("POST", f"{cloud.root}/cloudservers/action", {}, body)


def _restarts(cloud: World) -> int:
    return int(cloud.cloud.audit()["restarts"])


@pytest.mark.parametrize(
    ("kind", "fate", "status", "restarts"),
    [
        ("reject_503", "answer", 503, 0),
        ("throttle", "answer", 429, 0),
        ("reset_before", "reset", None, 0),
        ("reset_after", "reset", None, 10),
        ("lost_reply", "silence", None, 10),
        ("silent", "silence", None, 0),
        ("error_500_after", "answer", 500, 10),
        ("ecs_0603_501", "answer", 501, 0),
        ("no_job_id", "answer", 200, 10),
        ("empty_body", "answer", 200, 10),
        ("truncated", "truncated", 200, 10),
        ("garbage", "answer", 200, 10),
        ("huge", "answer", 200, 10),
        ("slow", "answer", 200, 10),
    ],
)
def test_a_misfortune_of_a_submit(
    world: Callable[..., World], kind: str, fate: str, status: int | None, restarts: int
) -> None:
    cloud = world(servers=10, submit_faults=Faults(**{kind: 1.0}, huge_bytes=5000))
    exchange = _submit(cloud)
    exchange.sent()
    cloud.now += exchange.inbound
    reply = exchange.execute()

    assert (exchange.fate, reply.status if reply else None) == (fate, status)
    assert _restarts(cloud) == restarts
    assert cloud.cloud.audit()["faults"] == {kind: 1}


def test_bodies_without_a_job(world: Callable[..., World]) -> None:
    bodies: dict[str, int] = {}
    for kind in ("no_job_id", "empty_body", "huge"):
        cloud = world(servers=10, submit_faults=Faults(**{kind: 1.0}, huge_bytes=5000))
        reply = _submit(cloud).execute()
        assert reply is not None
        bodies[kind] = len(reply.body)

    assert bodies == {"no_job_id": 2, "empty_body": 0, "huge": 5014}


def test_garbage_comes_in_many_forms_and_never_with_another_status(world: Callable[..., World]) -> None:
    cloud = world(servers=3, look_faults=Faults(garbage=1.0))
    bodies: set[bytes] = set()
    for _ in range(100):
        reply = cloud.ask("GET", f"{cloud.root}/cloudservers/detail")
        assert reply is not None
        assert reply.status == 200
        bodies.add(reply.body)

    assert len(bodies) > 50
    assert any(b"x_new_field" in body for body in bodies)
    assert b"null" in bodies


def test_a_502_and_a_retryable_400_may_follow_an_execution_or_not(world: Callable[..., World]) -> None:
    restarted: dict[str, set[int]] = {}
    for kind in ("html_502", "retryable_400"):
        for seed in range(30):
            faults: dict[str, Any] = {kind: 1.0}
            cloud = world(servers=10, seed=seed, submit_faults=Faults(**faults))
            reply = _submit(cloud).execute()
            assert reply is not None
            assert reply.status == {"html_502": 502, "retryable_400": 400}[kind]
            restarted.setdefault(kind, set()).add(_restarts(cloud))

    assert restarted["html_502"] == {0, 10}
    assert 0 in restarted["retryable_400"]
    assert len(restarted["retryable_400"]) > 5


def test_a_late_execution_comes_within_its_bound_after_the_client_gave_up(world: Callable[..., World]) -> None:
    lateness: list[float] = []
    for seed in range(40):
        cloud = world(servers=10, seed=seed, submit_faults=Faults(late_execution=1.0, late_max=45.0))
        exchange = _submit(cloud)
        exchange.sent()
        assert exchange.execute() is None
        gave_up = 20.0 if exchange.fate == "silence" else 0.0
        cloud.now = gave_up
        exchange.abandoned()
        cloud.now = 500.0

        assert _restarts(cloud) == 10

        lateness.append(cloud.cloud.auditor.submits[0] - gave_up)

    assert 0 <= min(lateness) < 10
    assert 30 < max(lateness) <= 45


def test_a_client_that_died_silently_is_taken_to_have_given_up(world: Callable[..., World]) -> None:
    cloud = world(servers=10, submit_faults=Faults(late_execution=1.0, late_max=45.0), client_patience=30.0)
    exchange = _submit(cloud)
    exchange.sent()
    cloud.now = 75.0

    assert _restarts(cloud) == 10


def test_what_was_sent_is_carried_out_at_its_instant_even_if_the_client_dies(world: Callable[..., World]) -> None:
    cloud = world(servers=10, latency=1.0)
    exchange = _submit(cloud)
    exchange.sent()
    cloud.now = 100.0

    assert _restarts(cloud) == 10
    assert cloud.cloud.auditor.submits == [exchange.inbound]


def test_what_was_never_sent_is_never_carried_out(world: Callable[..., World]) -> None:
    cloud = world(servers=10)
    _submit(cloud)
    cloud.now = 100.0

    assert _restarts(cloud) == 0


def test_outages_refuse_and_blackholes_swallow(world: Callable[..., World]) -> None:
    cloud = world(servers=10, outages=((10.0, 20.0),), blackholes=((30.0, 40.0),))
    fates: list[tuple[bool, str]] = []
    for now in (0.0, 10.0, 20.0, 35.0):
        cloud.now = now
        exchange = _submit(cloud, 1)
        fates.append((exchange.refused, exchange.fate))
    cloud.cloud.begin_outage(5.0)

    assert fates == [(False, "answer"), (True, "answer"), (False, "answer"), (False, "silence")]
    assert _submit(cloud).refused


def test_latency_has_its_mean_and_the_counting_instant_lies_anywhere_within(world: Callable[..., World]) -> None:
    cloud = world(latency=2.0, latency_sigma=0.5)
    exchanges = [_submit(cloud, 1) for _ in range(3000)]
    shares = [one.inbound / (one.inbound + one.outbound) for one in exchanges]

    assert sum(one.inbound + one.outbound for one in exchanges) / 3000 == pytest.approx(2.0, rel=0.1)
    assert min(shares) < 0.1
    assert max(shares) > 0.9


def test_a_seed_draws_the_same_misfortunes_again(world: Callable[..., World]) -> None:
    faults = Faults(reset_before=0.2, lost_reply=0.2, slow=0.2)
    drawn = [
        [_submit(cloud, 1).fault for _ in range(50)]
        for cloud in (world(submit_faults=faults, seed=seed) for seed in (5, 5, 6))
    ]

    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == {"", "reset_before", "lost_reply", "slow"}


def test_probabilities_must_not_exceed_one(world: Callable[..., World]) -> None:
    with pytest.raises(ValueError, match="must not exceed 1"):
        world(look_faults=Faults(reset_before=0.7, throttle=0.7))
