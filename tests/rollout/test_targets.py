"""Servers by their names, a plan of those that exist, and a plan that the fleet has left behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import orjson
import pytest

from ecsbatch.config.settings import Strategy
from ecsbatch.ecs.client import EcsClient
from ecsbatch.errors import ConfigError, EcsbatchError, PlanStale, SelectionError, SelectionRefused
from ecsbatch.model.plan import Plan
from ecsbatch.model.run import Changes
from ecsbatch.model.servers import Fleet, Server
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.rollout.targets import FRESH, TOO_OLD, drifted, needs_lookup, plan, refuse_stale, resolve
from ecsbatch.testing import World

T = TypeVar("T")

ID = "0d0bd7c6-5d3c-4d35-9d3f-8f3c6d1a2b3c"
NOBODY = "00000000-0000-4000-8000-000000000000"


class CountingClient(EcsClient):
    """A client that counts its requests for listings and looks."""

    asked = 0

    async def _get(self, path: str, query: str, *, what: Any) -> Any:
        self.asked += 1
        return await super()._get(path, query, what=what)


def asked(world: World, ask: Callable[[Mapping[str, CountingClient]], Awaitable[T]], *sites: str) -> T:
    """Return what ``ask`` makes of clients of the world's cloud, by their sites."""

    async def main() -> T:
        clients: dict[str, CountingClient] = {}
        for site in sites or ("",):
            client = world.client(kind=CountingClient)
            assert isinstance(client, CountingClient)
            clients[site] = client
        return await ask(clients)

    return world.run(main)


def named(world: World, number: int) -> str:
    return f"{world.config.name_prefix}-{number:06d}"


@pytest.mark.parametrize(
    ("servers", "needed"),
    [
        ([ID, ID.upper(), Server(ID), Server("any-id")], False),
        ([ID, "web-17"], True),
        ([Server("", name="web-17")], True),
        ([""], True),
        ([], False),
        ("web-17", False),
        (Fleet([ID], names=["web-17"]), False),
        (Fleet(["", ID], names=["web-17", ""]), True),
    ],
)
def test_only_who_is_named_by_no_id_has_to_be_looked_for(servers: Sequence[Server | str], needed: bool) -> None:  # noqa: FBT001 - a parameter
    assert needs_lookup(servers) is needed


def test_names_ids_and_servers_become_servers_in_their_order() -> None:
    with World(servers=1_500, zones=("az1",)) as world:
        given = [named(world, 1_200), world.ids[3].upper(), Server("", "rack-1", named(world, 5))]

        async def ask(clouds: Mapping[str, CountingClient]) -> tuple[list[Server], int]:
            return list(await resolve(clouds, given)), clouds[""].asked

        found, requests = asked(world, ask)

    assert found == [
        Server(world.ids[1_200], "az1", named(world, 1_200)),
        Server(world.ids[3]),
        Server(world.ids[5], "rack-1", named(world, 5)),
    ]
    assert requests == 2


def test_ids_alone_are_not_asked_for_and_many_names_cost_one_listing() -> None:
    with World(servers=1_500) as world:

        async def ask(clouds: Mapping[str, CountingClient]) -> list[int]:
            counts = []
            for given in (world.ids[:900], [named(world, number) for number in range(900)]):
                assert (await resolve(clouds, given)).ids == tuple(world.ids[:900])
                counts.append(clouds[""].asked)
            return counts

        assert asked(world, ask) == [0, 2]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["nobody", "no-one", ID], "No server of the project is called 'no-one', 'nobody': give a whole id"),
        (["twin"], r"2 servers are called 'twin' \(.*, .*\): give the id of the one that is meant"),
        ([""], "'' is no server's id and no name"),
        (["a" * 129], "is no server's id and no name"),
        ([7], "7 is no server: give ids"),
        ([Server("", name="web", site="moon")], "the site 'moon', which is none of this Restarter's"),
    ],
)
def test_what_means_no_server_or_several_is_refused(given: list[Any], says: str) -> None:
    with World(servers=10) as world:
        for server in world.ids[:2]:
            world.cloud.rename(server, "twin")
        with pytest.raises(EcsbatchError, match=says) as refused:
            asked(world, lambda clouds: resolve(clouds, given))

    assert isinstance(refused.value, ConfigError if "moon" in says else SelectionError)


def test_a_server_named_by_id_and_by_name_is_refused() -> None:
    with World(servers=3) as world, pytest.raises(SelectionError, match="is listed twice, by its name and otherwise"):
        asked(world, lambda clouds: resolve(clouds, [world.ids[1], named(world, 1)]))


def test_a_name_is_looked_for_at_its_site_and_without_one_at_all() -> None:
    """Both sites are one cloud here: whoever names no site means two servers."""
    with World(servers=3) as world:
        here = Server("", name=named(world, 1), site="north")

        async def ask(clouds: Mapping[str, CountingClient]) -> tuple[Server, list[int]]:
            return (await resolve(clouds, [here]))[0], [client.asked for client in clouds.values()]

        zone = world.cloud.truth(world.ids[1]).zone
        assert asked(world, ask, "north", "south") == (Server(world.ids[1], zone, here.name, "north"), [1, 0])
        with pytest.raises(SelectionError, match=f"{world.ids[1]} at north, {world.ids[1]} at south"):
            asked(world, lambda clouds: resolve(clouds, [here.name]), "north", "south")


def test_percentages_of_a_plan_are_of_the_servers_that_exist() -> None:
    with World(servers=100) as world:
        for server in world.ids[90:]:
            world.cloud.delete(server)
        strategy = Strategy(max_unavailable="10%", max_not_found=10)

        made = asked(world, lambda clouds: plan(clouds, world.ids, strategy, now=0.0))

        assert made.not_found == world.ids[90:]
        assert (made.to_restart, made.max_unavailable) == (90, 9)
        assert made.fleet.name_of(world.ids[0]) == named(world, 0)
        assert set(made.domains()) <= set(world.config.zones)


def test_more_servers_that_do_not_exist_than_allowed_are_refused() -> None:
    with World(servers=10) as world, pytest.raises(SelectionRefused, match=f"1 of the 3 servers .*: {NOBODY}"):
        asked(world, lambda clouds: plan(clouds, [*world.ids[:2], NOBODY], Strategy(), now=0.0))


def test_who_is_stopped_already_is_left_alone_by_the_plan() -> None:
    with World(servers=10) as world:
        world.cloud.set_status(world.ids[4], "SHUTOFF")

        made = asked(world, lambda clouds: plan(clouds, world.ids, Strategy(), now=0.0))

        assert made.to_restart == 9
        assert made.skip_of(made.fleet.find(world.ids[4])) is not None


def planned(world: World, servers: Sequence[Server | str]) -> Plan:
    return asked(world, lambda clouds: plan(clouds, servers, Strategy(), now=world.clock.wall()))


def test_a_plan_remembers_what_was_seen_only_in_memory() -> None:
    with World(servers=10) as world:
        made = planned(world, world.ids)

    assert made.basis is not None
    assert "basis" not in made.to_json()
    assert made.hash == replace(made, basis=None).hash
    assert made == replace(made, basis=None)


def begun(world: World, made: Plan, later: float) -> tuple[Plan, int]:
    """Begin a plan so many seconds later; return it, and how many requests that took."""
    assert made.basis is not None
    at = made.basis.at

    async def ask(clouds: Mapping[str, CountingClient]) -> tuple[Plan, int]:
        return await refuse_stale(clouds, made, at + later), clouds[""].asked

    return asked(world, ask)


@pytest.mark.parametrize(("later", "requests"), [(0.0, 0), (FRESH, 0), (FRESH + 1, 1), (TOO_OLD, 1)])
def test_a_plan_is_begun_without_a_look_while_it_is_fresh(later: float, requests: int) -> None:
    with World(servers=10) as world:
        assert begun(world, made := planned(world, world.ids), later) == (made, requests)
        assert begun(world, made, later)[0].basis is None


def test_a_plan_of_yesterday_is_stale() -> None:
    with World(servers=10) as world:
        made = planned(world, world.ids)
        with pytest.raises(PlanStale, match=r"24 hours old. Nothing was sent: plan again."):
            begun(world, made, TOO_OLD + 1)


def test_a_plan_is_stale_where_its_servers_are_not_as_it_saw_them() -> None:
    with World(servers=10) as world:
        made = planned(world, world.ids)
        world.cloud.set_status(world.ids[2], "SHUTOFF")
        world.cloud.delete(world.ids[7])

        with pytest.raises(PlanStale, match="2 servers of the plan's 10 changed since it was made") as stale:
            begun(world, made, FRESH + 1)

    assert f"({world.ids[2]}) stopped" in str(stale.value)
    assert f"({world.ids[7]}) deleted" in str(stale.value)
    told = stale.value.as_dict()
    assert told["drifted"] == 2
    assert {each["server"]: (each["kind"], each["before"], each["now"]) for each in told["drift"]} == {
        world.ids[2]: ("stopped", "ACTIVE", "SHUTOFF"),
        world.ids[7]: ("deleted", "ACTIVE", "not found"),
    }
    assert orjson.loads(orjson.dumps(told)) == told


def test_a_plan_that_was_made_without_a_look_is_begun_as_it_is() -> None:
    with World(servers=10) as world:
        made = replace(planned(world, world.ids), basis=None)
        world.cloud.delete(world.ids[7])

        assert asked(world, lambda clouds: drifted(clouds, made)) == []
        assert asked(world, lambda clouds: refuse_stale(clouds, made, 1e9)) == made


def test_a_plan_has_hosts_and_tags_and_whoever_goes_on_with_its_run_has_them_too() -> None:
    with World(servers=60, seed=3) as world:
        made = planned(world, world.ids)
        world.cloud.doom(made.fleet.ids[0], "fail")

        async def begin() -> None:
            async with world.restarter() as restarter:
                assert (await restarter.rollout(made, run_id="r").run()).status == "stopped"

        async def go_on() -> Rollout:
            async with world.restarter() as restarter:
                rollout = await restarter.resume("r", changes=Changes(forgive=True))
                await rollout.run()
                return rollout

        world.run(begin)
        later = world.run(go_on)

    truths = [world.cloud.truth(id_) for id_ in made.fleet.ids]
    assert made.fleet.hosts == tuple(truth.host for truth in truths)
    assert {key: set(values) for key, values in made.fleet.tags.items()} == {
        "app": {"web", "db"},
        "stage": {"prod", "test"},
    }
    assert (later.plan.fleet.hosts, later.plan.fleet.tags) == (made.fleet.hosts, made.fleet.tags)
    assert [outcome.host for outcome in later.state.outcomes()] == [truth.host for truth in truths]
    assert later.plan.hash == made.hash
