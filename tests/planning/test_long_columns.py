"""Of a large fleet there is no list of all servers for the collector to go through, which holds a host's process."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from ecsbatch.config.settings import Strategy
from ecsbatch.model import in_parts
from ecsbatch.model.servers import Fleet, ServerView
from ecsbatch.model.view_table import PackedViews, SeenFleet
from ecsbatch.planning.strategy import make_plan
from ecsbatch.store import MemoryDatabase, targets

MANY = 20_000


def lists_at_each_collection(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> list[int]:
    """Return how many lists of all servers there are, besides the test's own, whenever a long column is kept."""
    monkeypatch.setattr(in_parts, "_LONG", MANY)
    monkeypatch.setattr(in_parts, "PART", MANY // 10)
    seen: list[int] = []

    def count(_generation: int) -> None:
        seen.append(sum(len(each) >= MANY // 2 for each in gc.get_objects() if type(each) is list))

    monkeypatch.setattr(in_parts.gc, "collect", count)
    count(0)
    do()
    before, *found = seen
    return [each - before for each in found]


def views() -> PackedViews:
    table = PackedViews()
    for number in range(MANY):
        shown = ServerView(
            f"s{number}", status="ACTIVE", az=f"az{number % 3}", name=f"n{number}", tags=(f"t={number % 9}",)
        )
        table[shown.id] = shown._replace(host_id=f"h{number // 10}", updated=f"u{MANY - number:09}")
    return table


@pytest.mark.parametrize("order", ["spread", "oldest", "input"])
def test_a_plan_is_made_without_one(monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    seen, servers = views(), Fleet(tuple(f"s{number}" for number in range(MANY)))
    columns = 6 if order == "input" else 11  # domains, names, hosts, a tag, what was seen; and all in another order

    def plan() -> None:
        made = make_plan(servers, Strategy(order=order), views=seen)
        SeenFleet(made.fleet, seen)

    found = lists_at_each_collection(monkeypatch, plan)
    assert found == [0] * (columns + (order == "oldest"))


def test_the_servers_of_a_run_are_read_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    column = tuple(f"s{number}" for number in range(MANY))
    fleet = Fleet(column, column, column, column, ("h1",) * MANY, {"app": ("web",) * MANY})
    database = MemoryDatabase()
    database.prepare()
    monkeypatch.setattr(targets, "_PART", MANY // 10)
    for row in targets.rows("r", fleet):
        targets.write(database, row)

    found = lists_at_each_collection(monkeypatch, lambda: targets.read(database, "r"))
    database.close()
    assert found == [0] * 6
