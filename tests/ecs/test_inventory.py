"""What it means that a look leaves a server out: the listing has a hole, the filter is not heeded, or there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import pytest

from ecsbatch.cli.exit_codes import Exit, code_of_error
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.inventory import look_at_all
from ecsbatch.ecs.sweep import A_FEW, look_at, spread
from ecsbatch.ecs.wire import ListingPage
from ecsbatch.errors import AuthError, CloudError, SelectionRefused, UnknownAnswer
from ecsbatch.model.servers import Look, Server, ServerView
from ecsbatch.simulator.cloud import CloudConfig, SimulatedCloud
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.simulator.virtual_time import VirtualClock, VirtualLoop, run
from ecsbatch.testing import World

IDS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(1, 6_001)]


class Holed:
    """A cloud whose listing leaves out what `shows` says.

    Attributes:
        looks, addressed: how often it was asked.
    """

    def __init__(
        self, shows: Callable[[Sequence[str]], Sequence[str]], *, there: Sequence[str] = (), unasked: int = 0
    ) -> None:
        self.looks = self.addressed = 0
        self.refusal: CloudError | None = None
        self._shows = shows
        self._there = frozenset(there)
        self._unasked = unasked

    async def look(self, ids: Sequence[str]) -> Look:
        """Answer a look."""
        self.looks += 1
        return Look({each: ServerView(each, status="ACTIVE") for each in self._shows(ids)}, unasked=self._unasked)

    async def show_server(self, server_id: str) -> ServerView:
        """Answer for one server by its own address."""
        self.addressed += 1
        if self.refusal is not None:
            raise self.refusal
        return ServerView(server_id, found=server_id in self._there)


def looked(cloud: Holed, ids: Sequence[str]) -> list[str]:
    """Return those of the servers that are not found; pauses pass in virtual time."""
    return [server for server, view in run(look_at(cloud, ids), loop=VirtualLoop()).items() if not view.found]


@pytest.mark.parametrize(
    ("shows", "most"),
    [
        (lambda ids: ids[:-1] if len(ids) > 1 else ids, 40),
        (lambda ids: ids[:25], 60),
        (lambda ids: ids[len(ids) // 2 :] or ids, 50),
        (lambda ids: ids if len(ids) == 1 else [], 330),
    ],
    ids=["the last row", "pages of 25", "every other page", "all but one alone"],
)
def test_what_a_look_at_many_leaves_out_is_asked_for_again(
    shows: Callable[[Sequence[str]], Sequence[str]], most: int
) -> None:
    """It exists: to call it not_found would leave it as it is, and the run would call that a success."""
    cloud = Holed(shows)

    assert looked(cloud, IDS[:300]) == []
    assert cloud.looks <= most
    assert cloud.addressed == 0


def test_a_cloud_that_does_not_heed_the_filter_by_id_is_an_error() -> None:
    cloud = Holed(lambda _: [], unasked=100)
    with pytest.raises(UnknownAnswer, match=r"does not heed the filter by id .* 80 servers, it showed 100") as refused:
        looked(cloud, IDS[:80])

    assert code_of_error(refused.value) is Exit.ERROR
    assert cloud.looks == 1


def test_servers_that_the_listing_hides_are_refused_by_name() -> None:
    cloud = Holed(lambda _: [], there=IDS[:4])
    with pytest.raises(UnknownAnswer, match=f"leaves out servers that exist: {IDS[0]}, .* and 1 more") as refused:
        looked(cloud, IDS[:6])

    assert code_of_error(refused.value) is Exit.ERROR


def test_a_server_that_neither_knows_is_not_found() -> None:
    cloud = Holed(lambda ids: [each for each in ids if each != IDS[7]])

    assert looked(cloud, IDS[:20]) == [IDS[7]]
    assert (cloud.looks, cloud.addressed) == (2, 1)


def test_where_a_cloud_does_not_show_single_servers_nobody_hidden_is_restarted() -> None:
    cloud = Holed(lambda _: [])
    cloud.refusal = AuthError("The endpoint does not know this API.", status=404, code="APIGW.0101", answered=True)

    with pytest.raises(SelectionRefused, match="ecs:cloudServers:get"):
        looked(cloud, IDS[:20])
    assert cloud.addressed == 3


def test_many_unknown_ids_do_not_take_minutes() -> None:
    """60 looks are one at each; asking again costs as much once more, and a few requests for one server each."""
    cloud = Holed(lambda _: [])

    assert looked(cloud, IDS) == IDS
    assert (cloud.looks, cloud.addressed) == (2 * 60 + A_FEW, A_FEW)


def test_a_few_are_taken_from_all_over() -> None:
    assert spread(IDS[:10], 5) == [IDS[place] for place in (0, 2, 4, 6, 8)]
    assert spread(IDS[:3], 5) == IDS[:3]


def test_a_cloud_that_knows_small_letters_only_is_asked_in_small_letters() -> None:
    """Seen through the real client and the simulated cloud, which knows ids by their address too."""
    loop = VirtualLoop()
    config = CloudConfig(servers=150)
    cloud = SimulatedCloud(config, loop.time)
    ids = cloud.ids()
    cloud.delete(ids[0])

    async def main() -> tuple[dict[str, ServerView], list[bool]]:
        async with EcsClient(
            auth=KeyAuth(config.access_key, config.secret_key),
            project_id=config.project_id,
            endpoint="https://ecs.example.com",
            sender=SimulatedSender(cloud),
            clock=VirtualClock(loop),
        ) as ecs:
            seen = await look_at_all(ecs, [Server(each) for each in ids[:120]])
            return seen.views, [(await ecs.show_server(each)).found for each in (ids[0], ids[1].upper())]

    views, shown = run(main(), loop=loop)

    assert [server for server, view in views.items() if not view.found] == [ids[0]]
    assert shown == [False, True]


def test_who_waits_hears_how_many_have_been_looked_at() -> None:
    heard: list[int] = []
    run(look_at(Holed(lambda ids: ids), IDS[:250], heard.append), loop=VirtualLoop())

    assert heard == [100, 200, 250]


def test_who_waits_hears_how_many_a_listing_has_shown() -> None:
    heard: list[tuple[int, int | None]] = []
    loop, config = VirtualLoop(), CloudConfig(servers=1_050)
    cloud = SimulatedCloud(config, loop.time)

    async def main() -> None:
        async with EcsClient(
            auth=KeyAuth(config.access_key, config.secret_key),
            project_id=config.project_id,
            endpoint="https://ecs.example.com",
            sender=SimulatedSender(cloud),
            clock=VirtualClock(loop),
        ) as ecs:
            servers = [Server(each) for each in cloud.ids()]
            await look_at_all(ecs, servers, told=lambda seen, of: heard.append((seen, of)))

    run(main(), loop=loop)

    assert heard == [(1_000, 1_050), (1_050, 1_050)]


@pytest.mark.parametrize("more", [0, 9])
def test_servers_are_looked_for_by_their_exact_names(more: int) -> None:
    """The cloud's own search takes a part of a name, and a dot for any character."""
    with World(servers=20) as world:
        for number, name in enumerate(("db.1", "db-1", "db.10", "my.db.1", "db.1")):
            world.cloud.rename(world.ids[number], name)

        async def main() -> list[ServerView]:
            return await world.client().look_for(["db.1", "db.2", *map(str, range(more))])

        assert [view.id for view in world.run(main)] == [world.ids[0], world.ids[4]]


class Listings(EcsClient):
    """A client that keeps what its listings were filtered by."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.listed: list[str] = []
        self.broken = False

    def list_servers(self, **asked: Any) -> AsyncGenerator[ListingPage]:
        """List, or fail."""
        self.listed.append(asked.get("name", ""))
        return refused() if self.broken else super().list_servers(**asked)


async def refused() -> AsyncGenerator[ListingPage]:
    await asyncio.sleep(1)
    raise AuthError("The key is locked.")
    yield ListingPage(())


def named(world: World, number: int) -> str:
    return f"{world.config.name_prefix}-{number:06d}"


def test_names_that_many_ask_for_at_once_are_looked_for_together() -> None:
    with World(servers=1_000) as world:

        async def main() -> tuple[list[list[str]], list[str]]:
            ecs = world.client(kind=Listings)
            assert isinstance(ecs, Listings)
            found = await asyncio.gather(*[ecs.look_for([named(world, number)]) for number in range(1_000)])
            return [[view.id for view in views] for views in found], ecs.listed

        found, listed = world.run(main)

    assert found == [[server] for server in world.ids]
    assert listed == [named(world, 0), ""]


def test_whoever_asks_during_a_search_waits_for_the_next() -> None:
    """What was shown before somebody asked may be out of date."""
    with World(servers=10, latency=1.0, latency_sigma=0.0) as world:

        async def main() -> list[ServerView]:
            ecs = world.client()
            first = asyncio.create_task(ecs.look_for(["fresh"]))
            await asyncio.sleep(0.9)
            world.cloud.rename(world.ids[3], "fresh")
            found = await ecs.look_for(["fresh"])
            assert await first == []
            return found

        assert [view.id for view in world.run(main)] == [world.ids[3]]


def test_a_search_whose_caller_is_cancelled_is_the_next_ones() -> None:
    with World(servers=10, latency=1.0, latency_sigma=0.0) as world:

        async def main() -> list[ServerView]:
            ecs = world.client()
            asks = [asyncio.create_task(ecs.look_for([named(world, number)])) for number in range(3)]
            await asyncio.sleep(1.5)
            asks[1].cancel()
            return await asks[2]

        assert [view.id for view in world.run(main)] == [world.ids[2]]


def test_an_error_is_everybodys_who_asked_together() -> None:
    """A key that is refused is not tried once for each of a thousand callers: it would be locked."""
    with World(servers=10) as world:

        async def main() -> tuple[list[object], int]:
            ecs = world.client(kind=Listings)
            assert isinstance(ecs, Listings)
            ecs.broken = True
            asks = [ecs.look_for([named(world, number)]) for number in range(9)]
            return await asyncio.gather(*asks, return_exceptions=True), len(ecs.listed)

        errors, asked = world.run(main)

    assert {str(error) for error in errors} == {"The key is locked."}
    assert len({id(error) for error in errors}) == len(errors)
    assert asked == 2
