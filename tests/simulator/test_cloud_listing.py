"""Pages of servers, filters and the rows of unknown ids."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
from simulated_world import World

from ecsbatch.simulator.cloud import CloudConfig, SimulatedCloud


def _pages(cloud: World, query: str, limit: int) -> list[str]:
    found: list[str] = []
    marker = ""
    while True:
        status, page = cloud.get(f"/cloudservers/detail?limit={limit}{query}{marker}")
        assert status == 200, page
        if not page["servers"]:
            return found
        found += [row["id"] for row in page["servers"]]
        marker = f"&marker={found[-1]}"


@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
def test_marker_pages_hold_each_server_once_in_the_order_of_creation(world: Callable[..., World], limit: int) -> None:
    cloud = world(servers=50)

    assert _pages(cloud, "", limit) == cloud.cloud.ids()


def test_a_marker_that_was_deleted_in_between_still_marks_its_place(world: Callable[..., World]) -> None:
    cloud = world(servers=10)
    ids = cloud.cloud.ids()
    cloud.cloud.delete(ids[4])
    _, page = cloud.get(f"/cloudservers/detail?limit=2&marker={ids[4]}")

    assert [row["id"] for row in page["servers"]] == ids[5:7]
    assert page["count"] == 9


def test_offset_is_a_page_number_and_the_default_limit_is_25(world: Callable[..., World]) -> None:
    cloud = world(servers=60)
    ids = cloud.cloud.ids()
    sizes = [len(cloud.get(f"/cloudservers/detail?offset={page}")[1]["servers"]) for page in (0, 1, 2, 3, 4)]
    third = cloud.get("/cloudservers/detail?offset=3&limit=10")[1]["servers"]

    assert sizes == [25, 25, 25, 10, 0]
    assert [row["id"] for row in third] == ids[20:30]


@pytest.mark.parametrize("query", ["limit=1001", "limit=0", "limit=x", "marker=nobody", "offset=-1"])
def test_impossible_pages_are_refused(world: Callable[..., World], query: str) -> None:
    status, document = world().get(f"/cloudservers/detail?{query}")

    assert (status, document["error"]["code"]) == (400, "Ecs.0005")


def test_a_name_filter_is_fuzzy_and_a_dot_stands_for_any_character(world: Callable[..., World]) -> None:
    cloud = world(servers=3, name_prefix="web")
    ids = cloud.cloud.ids()
    cloud.cloud.rename(ids[0], "web a/b~1")
    cloud.cloud.rename(ids[1], "web axb~2 (old)")

    assert _pages(cloud, "&name=a%2Fb~1", 10) == [ids[0]]
    assert _pages(cloud, "&name=web%20a.b", 10) == ids[:2]
    assert _pages(cloud, "&name=%28old%29", 10) == [ids[1]]


def test_tags_are_matched_whole_and_by_key(world: Callable[..., World]) -> None:
    cloud = world(servers=4, tags=())
    ids = cloud.cloud.ids()
    cloud.cloud.set_tags(ids[0], ["app=web", "stage=prod"])
    cloud.cloud.set_tags(ids[1], ["app=web2"])
    cloud.cloud.set_tags(ids[2], ["legacy"])

    assert _pages(cloud, "&tags=app%3Dweb", 10) == [ids[0]]
    assert _pages(cloud, "&tags=app%3Dweb,stage%3Dprod", 10) == [ids[0]]
    assert _pages(cloud, "&tags=app", 10) == ids[:2]
    assert _pages(cloud, "&not-tags=legacy", 10) == [ids[0], ids[1], ids[3]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("ip=10.0.0.1", 3),
        ("ip_eq=10.0.0.1", 1),
        ("flavor=s6.large.2", 12),
        ("flavor=c7.large", 0),
        ("enterprise_project_id=all_granted_eps", 12),
        ("enterprise_project_id=other", 0),
        ("reservation_id=other", 0),
    ],
)
def test_the_other_filters(world: Callable[..., World], query: str, found: int) -> None:
    assert world(servers=12).get(f"/cloudservers/detail?{query}")[1]["count"] == found


def test_the_filter_active_also_returns_servers_that_reboot(world: Callable[..., World]) -> None:
    cloud = world(servers=4, shutoff=1, error=1)
    busy = cloud.cloud.ids(status="ACTIVE")[0]
    cloud.act(busy)
    cloud.now = 5.0
    _, page = cloud.get("/cloudservers/detail?status=ACTIVE")

    assert sorted(row["status"] for row in page["servers"]) == ["ACTIVE", "REBOOT"]
    assert [row["status"] for row in cloud.get("/cloudservers/detail?status=REBOOT")[1]["servers"]] == ["REBOOT"]
    assert [row["status"] for row in cloud.get("/cloudservers/detail?status=SHUTOFF")[1]["servers"]] == ["SHUTOFF"]


def test_an_unknown_id_gives_a_row_of_nulls_with_its_fault(world: Callable[..., World]) -> None:
    cloud = world(servers=2)
    known, [missing] = cloud.cloud.ids()[0], cloud.cloud.missing_ids(1)
    _, page = cloud.get(f"/cloudservers/detail?server_id={known},{missing}&status=SHUTOFF")
    row = page["servers"][1]

    assert page["servers"][0]["id"] == known
    assert row.pop("id") == missing
    assert "could not be found" in row.pop("fault")["message"]
    assert set(row.values()) == {None}


def test_more_than_a_hundred_ids_are_refused(world: Callable[..., World]) -> None:
    cloud = world(servers=101)
    status, _ = cloud.get(f"/cloudservers/detail?server_id={','.join(cloud.cloud.ids())}")

    assert status == 400


def test_the_population_is_as_ordered_and_spread_over_zones_and_hosts(world: Callable[..., World]) -> None:
    cloud = world(servers=300, locked=0.1, shutoff=5, error=3)
    rows = cloud.get("/cloudservers/detail?limit=1000")[1]["servers"]
    zones_by_host: dict[str, set[str]] = {}
    for row in rows:
        zones_by_host.setdefault(row["hostId"], set()).add(row["OS-EXT-AZ:availability_zone"])

    assert sum(row["locked"] for row in rows) == 30
    assert sum(row["status"] == "SHUTOFF" for row in rows) == 5
    assert [row["fault"]["code"] for row in rows if row["status"] == "ERROR"] == [500, 500, 500]
    assert len(zones_by_host) == 15
    assert {len(zones) for zones in zones_by_host.values()} == {1}


def test_a_seed_gives_the_same_cloud_again() -> None:
    first, again, other = (
        SimulatedCloud(CloudConfig(servers=20, seed=seed, error=2), lambda: 0.0) for seed in (3, 3, 4)
    )

    assert first.ids(status="ERROR") == again.ids(status="ERROR")
    assert first.ids() == again.ids()
    assert not set(first.ids()) & set(other.ids())


def test_a_hundred_thousand_servers_are_built_in_seconds() -> None:
    began = time.process_time()
    cloud = SimulatedCloud(CloudConfig(servers=100_000), lambda: math.pi)

    assert len(set(cloud.fleet.ids)) == 100_000
    assert time.process_time() - began < 5
