"""A server of a run is meant by its id, its name or a unique beginning of its id, in this order."""

from __future__ import annotations

import pytest

from ecsbatch.errors import SelectionError, ServerNotFound
from ecsbatch.model.servers import Fleet, Server, ServerView
from ecsbatch.planning.lookup import find_server, need_server, resolve_names

IDS = [
    "6d87ff69-d8fa-4e28-847a-6decb4973294",
    "6d99ee2a-0b99-4f23-8b1f-82fcf191270b",
    "77ccc1d7-b7d2-4252-8700-2954aad2da5d",
    "a0000000-0000-4000-8000-000000000000",
]
FLEET = Fleet(IDS, names=["web-1", "web-1", "77ccc1d7", IDS[0]])


@pytest.mark.parametrize(
    ("text", "index"),
    [
        (IDS[0], 0),
        (IDS[0].upper(), 0),
        ("77ccc1d7", 2),
        ("77cc", 2),
        ("6D9", 1),
        ("a", 3),
        ("web-2", None),
        ("b", None),
        ("", None),
    ],
)
def test_an_id_goes_before_a_name_and_a_name_before_the_begin_of_an_id(text: str, index: int | None) -> None:
    assert find_server(FLEET, text) == index


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("web-1", rf"are called 'web-1' \(web-1 \({IDS[0]}\), web-1 \({IDS[1]}\)\): give the id of one"),
        ("6d", r"have ids that begin with '6d' .*: give more of one"),
    ],
)
def test_what_means_several_servers_is_refused_with_them(text: str, says: str) -> None:
    with pytest.raises(SelectionError, match=says):
        find_server(FLEET, text)


def test_whoever_needs_one_hears_of_which_run_it_is_none() -> None:
    assert need_server(FLEET, "77cc", "k7f") == 2
    with pytest.raises(ServerNotFound, match="No server of run k7f has 'web-2' as its id") as refused:
        need_server(FLEET, "web-2", "k7f")

    assert (refused.value.server, refused.value.run_id) == ("web-2", "k7f")


VIEWS = [
    ServerView("a", name="web-1"),
    ServerView("b", name="web-2"),
    ServerView("c", name="web-2"),
    ServerView("d", found=False, name="gone"),
]


def test_names_of_a_list_become_ids_and_all_else_stays() -> None:
    servers = [Server("z", "az1", "web-1"), Server("", "az2", "web-1", "eu")]

    assert resolve_names(servers, {"": VIEWS}) == [servers[0], Server("a", "az2", "web-1", "eu")]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["web-2"], r"2 servers are called 'web-2' \(b, c\): give the id of the one that is meant"),
        (
            ["web-1", "gone", "web-3"],
            r"No server of the project is called 'gone', 'web-3', as the list has it: give a whole id",
        ),
        ([f"x{i}" for i in range(9)], r"'x0', 'x1', 'x2', 'x3', 'x4' and 4 more, as the list has it: give"),
        (["WEB-1"], r"No server of the project is called 'WEB-1'"),
    ],
)
def test_a_name_of_a_list_is_one_servers_exactly(names: list[str], says: str) -> None:
    with pytest.raises(SelectionError, match=says):
        resolve_names([Server("", name=name) for name in names], {"": VIEWS}, "the list")


def test_a_program_is_told_which_names_are_no_servers() -> None:
    names = ["web-1", *(f"x{i:03}" for i in range(150))]

    with pytest.raises(ServerNotFound) as refused:
        resolve_names([Server("", name=name) for name in names], {"": VIEWS})

    told = refused.value.as_dict()
    assert (told["server"], told["run_id"], told["names"]) == ("x000", "", names[1:101])


def test_a_server_is_not_listed_by_its_id_and_by_its_name() -> None:
    with pytest.raises(SelectionError, match=r"web-1 \(a\) is listed twice"):
        resolve_names([Server("a"), Server("", name="web-1")], {"": VIEWS})
