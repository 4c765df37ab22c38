"""Servers by what they are: a program's selection goes by the same rules as the command line's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import SelectionError, UnknownAnswer
from ecsbatch.model.servers import Server
from ecsbatch.testing import World

TAGS = (("app=web", "stage=prod"), ("app=web", "stage=test"), ("app=db", "stage=prod", "alone"))


def world(servers: int = 12) -> World:
    """Return a world whose servers have three sets of tags in turn, and are in one zone but the last."""
    made = World(servers=servers, zones=("az1",), tags=TAGS)
    made.cloud.set_status(made.ids[0], "SHUTOFF")
    made.cloud.rename(made.ids[1], "odd.one")
    return made


def selected(of: World, **filters: Any) -> list[int]:
    """Return the numbers of the servers that are selected."""

    async def main() -> list[str]:
        async with of.client() as ecs:
            return [server.id async for server in ecs.select(**filters)]

    return [of.ids.index(server) for server in of.run(main)]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({"all": True}, list(range(12))),
        ({"tags": {"app": "web", "stage": "prod"}}, [0, 3, 6, 9]),
        ({"tags": ["app=web", "stage=prod"]}, [0, 3, 6, 9]),
        ({"tags": "app=db"}, [2, 5, 8, 11]),
        ({"tags": {"alone": ""}}, [2, 5, 8, 11]),
        ({"tags": ("alone",)}, [2, 5, 8, 11]),
        ({"tags": {"app": "we"}}, []),
        ({"name": "odd.one"}, [1]),
        ({"name": "odd*"}, [1]),
        ({"name": "oddXone"}, []),
        ({"name": "dd.one"}, []),
        ({"status": "shutoff"}, [0]),
        ({"status": ["SHUTOFF", "ERROR"]}, [0]),
        ({"az": "az1", "tags": {"app": "db"}}, [2, 5, 8, 11]),
        ({"az": ["az1", "az2"], "status": "SHUTOFF"}, [0]),
        ({"az": {"az2"}}, []),
        ({"enterprise_project": "0"}, list(range(12))),
        ({"enterprise_project": "all_granted_eps"}, list(range(12))),
        ({"enterprise_project": "another"}, []),
    ],
)
def test_the_servers_that_fit_all_filters_are_yielded(filters: dict[str, Any], numbers: list[int]) -> None:
    with world() as of:
        assert selected(of, **filters) == numbers


def test_a_selected_server_has_its_zone_name_and_address() -> None:
    with world() as of:

        async def main() -> list[Server]:
            async with of.client() as ecs:
                return [server async for server in ecs.select(name="odd.one")]

        (server,) = of.run(main)

    assert server == Server(of.ids[1], "az1", "odd.one", address=server.address)
    assert server.address


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({}, "select has no filter: give one, or all=True"),
        ({"all": False}, "select has no filter"),
        ({"all": True, "az": "az1"}, "means every server of the project: leave the filters out"),
        ({"tags": {}}, "tags = '': give a text; an empty one is never taken to mean all"),
        ({"tags": []}, "tags = ''"),
        ({"tags": {"": "web"}}, "tags = '=web'"),
        ({"tags": {"app": None}}, "tags: 'app' is to have a text as its value"),
        ({"tags": {"a=b": "c"}}, "tags: 'a=b' is to have"),
        ({"tags": ["app=web", ""]}, "tags = ''"),
        ({"tags": {"app": "web"}, "name": ""}, "name = ''"),
        ({"az": []}, "az = ''"),
        ({"az": " "}, "az = ' '"),
        ({"status": [None]}, "status = None"),
        ({"enterprise_project": ""}, "enterprise_project = ''"),
    ],
)
def test_an_empty_selection_never_means_all(filters: dict[str, Any], says: str) -> None:
    with world() as of, pytest.raises(SelectionError, match=says):
        selected(of, **filters)


def test_a_part_of_a_listing_yields_nothing() -> None:
    """Who restarts servers one by one as they come must not begin with a part of the fleet."""

    async def sender(request: Request, on_sent: Callable[[], None]) -> Answer:
        on_sent()
        rows = [] if "marker=" in request.url else [{"id": "a", "name": "web", "status": "ACTIVE"}]
        return Answer(200, {}, orjson.dumps({"count": 2, "servers": rows}))

    seen: list[Server] = []
    with world() as of:

        async def main() -> None:
            ecs: EcsClient = of.client(sender=sender)
            async with ecs:
                async for server in ecs.select(all=True):
                    seen.append(server)  # noqa: PERF401 - what came before the error is asked for

        with pytest.raises(UnknownAnswer, match="ended after 1 of 2 servers"):
            of.run(main)

    assert seen == []


def test_a_fleet_of_several_pages_is_selected_whole() -> None:
    with world(2_500) as of:
        assert selected(of, tags={"app": "web"}) == [number for number in range(2_500) if number % 3 != 2]
