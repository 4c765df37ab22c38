"""A server of a run is meant by its id, its name or a unique beginning of its id, in this order."""

from __future__ import annotations

import pytest

from ecsbatch.errors import SelectionError
from ecsbatch.model.servers import Fleet
from ecsbatch.planning.lookup import find_server, need_server

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


def test_whoever_needs_one_hears_where_they_are_listed() -> None:
    assert need_server(FLEET, "77cc", "k7f") == 2
    with pytest.raises(SelectionError, match=r"No server of run k7f has 'web-2' as its id.*ecsbatch report k7f"):
        need_server(FLEET, "web-2", "k7f")
