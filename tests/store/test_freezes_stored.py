"""The stop switch of a store: who has frozen it and why, by which clock it ends, that nobody gets a token meanwhile."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from backends import Backend
from store_world import HandClock, want

from ecsbatch.errors import Invalid
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.run import Holder, NewRun, Transaction
from ecsbatch.model.spending import GroupSpending, RunSpending, Waiting
from ecsbatch.model.tokens import Grant, Settlement, Shortage
from ecsbatch.store import DatabaseStore

NOW = 1_767_225_600.0
WHY = "storage incident 4711"
WINDOW = 60.05


@pytest.fixture
def clock(backend: Backend) -> HandClock:
    return backend.clock


@pytest.fixture
async def store(backend: Backend) -> AsyncGenerator[DatabaseStore]:
    async with backend.open() as store:
        yield store


def later(clock: HandClock, seconds: float) -> None:
    clock.now += seconds
    clock.walls += seconds


async def took(store: DatabaseStore, tokens: int = 1, **more: Any) -> Grant:
    grant = await store.take(want(tokens, **more))
    assert isinstance(grant, Grant)
    return grant


async def test_a_frozen_store_grants_nothing_and_says_who_has_frozen_it(store: DatabaseStore, clock: HandClock) -> None:
    lease = await store.create_run(NewRun("k7f"), Holder("ann@desk", "desk", 7, NOW))
    assert await store.frozen() is None
    freeze = await store.freeze(f"  {WHY}\n", by="ann@desk")

    assert freeze == Freeze("ann@desk", WHY, NOW)
    assert (await store.frozen(), await store.last_freeze()) == (freeze, freeze)
    assert await store.take(want(1)) == Shortage(0, None, 0, frozen=freeze)
    committed = await store.commit(lease, Transaction(take=want(1)))
    assert (committed.grant, committed.shortage) == (None, Shortage(0, None, 0, frozen=freeze))

    later(clock, 86_400)
    ended = await store.thaw(by="bob@desk")
    assert ended == Freeze("ann@desk", WHY, NOW, None, "bob@desk", NOW + 86_400)
    assert (await store.frozen(), await store.last_freeze(), await store.thaw()) == (None, ended, None)
    await took(store)


@pytest.mark.parametrize("end", [{"lasts": 60}, {"until": NOW + 60}, {"until": int(NOW) + 60}])
async def test_it_ends_by_itself_by_the_clock_of_the_store(
    store: DatabaseStore, clock: HandClock, end: dict[str, float]
) -> None:
    await store.freeze(WHY, by="ann", **end)
    later(clock, 59.9)
    shortage = await store.take(want(1))
    assert isinstance(shortage, Shortage)
    assert shortage.frozen is not None

    later(clock, 0.1)
    await took(store)
    assert await store.last_freeze() == Freeze("ann", WHY, NOW, NOW + 60, "", NOW + 60)
    assert await store.thaw(by="bob") is None


async def test_a_second_freeze_takes_the_place_of_the_first_for_good(store: DatabaseStore, clock: HandClock) -> None:
    await store.freeze(WHY, by="ann")
    later(clock, 5)
    second = await store.freeze("only the network", by="bob", lasts=60)

    assert await store.frozen() == second == Freeze("bob", "only the network", NOW + 5, NOW + 65)
    later(clock, 60)
    assert await store.frozen() is None


async def test_each_freeze_is_kept_with_who_has_ended_it(backend: Backend, clock: HandClock) -> None:
    async with backend.open() as store:
        await store.freeze(WHY, by="ann")
        await store.freeze("network", by="bob", lasts=10)
        later(clock, 20)
        await store.freeze("again", by="cleo")
        await store.thaw(by="dan")

    rows = backend.ask("SELECT frozen_by, thawed_by, thawed_at FROM freezes ORDER BY number")
    assert rows == [("ann", "bob", NOW), ("bob", "", None), ("cleo", "dan", NOW + 20)]


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ({"reason": ""}, "reason", "why nothing is to be sent"),
        ({"reason": " \n\t"}, "reason", "why nothing is to be sent"),
        ({"reason": None}, "reason", "why nothing is to be sent"),
        ({"until": NOW}, "until", "a time to come"),
        ({"until": NOW - 1}, "until", "a time to come"),
        ({"until": math.inf}, "until", "seconds"),
        ({"until": 1e12}, "until", "a time to come"),
        ({"until": "22:00"}, "until", "seconds"),
        ({"lasts": 0}, "lasts", "seconds, more than 0"),
        ({"lasts": -5}, "lasts", "seconds, more than 0"),
        ({"lasts": True}, "lasts", "seconds"),
        ({"lasts": math.nan}, "lasts", "seconds"),
        ({"lasts": 5, "until": NOW + 5}, "until", "one of them"),
    ],
)
async def test_what_is_no_freeze_is_refused_by_its_field(
    store: DatabaseStore, given: dict[str, Any], field: str, expected: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await store.freeze(**{"reason": WHY, **given})

    assert (refused.value.field, refused.value.expected) == (field, expected)
    assert await store.frozen() is None


async def test_texts_of_others_are_kept_as_one_line(store: DatabaseStore) -> None:
    freeze = await store.freeze("x" * 1000 + "\x1b[31m", by="ann\r\n@desk")

    assert (len(freeze.reason), freeze.by) == (300, "ann @desk")
    assert await store.frozen() == freeze


async def test_processes_of_one_store_share_it(shared: Backend) -> None:
    async with shared.open(inline=False) as one, shared.open(inline=False) as other:
        freeze = await one.freeze(WHY, by="ann")
        assert await other.frozen() == freeze
        assert isinstance(await other.take(want(1)), Shortage)
        await other.thaw(by="bob")
        assert await one.frozen() is None
    async with shared.open(inline=False, read_only=True) as reader:
        last = await reader.last_freeze()
        assert last is not None
        assert last.thawed_by == "bob"


# -- who spends the quota ----------------------------------------------------------------------------------------------


async def test_it_tells_who_spends_the_quota_now_and_in_the_last_hour(store: DatabaseStore, clock: HandClock) -> None:
    lease = await store.create_run(NewRun("k7f"), Holder("ann@desk", "desk", 7, NOW))
    first = await store.commit(lease, Transaction(take=want(30)))
    assert first.grant is not None
    await store.commit(lease, Transaction(settle=[Settlement(first.grant.id, WINDOW)]))
    later(clock, 10)
    await store.commit(lease, Transaction(take=want(20)))
    await took(store, 5)
    await took(store, 7, group="other", limit=50)

    assert [replace(each, next_free_in=round(each.next_free_in or 0, 3)) for each in await store.spending()] == [
        GroupSpending("other", 50, 7, 0, 43, 155.05, 7, [RunSpending("", "", 7, 0, 7)]),
        GroupSpending(
            "site",
            1000,
            25,
            30,
            945,
            50.05,
            55,
            [RunSpending("k7f", "ann@desk", 20, 30, 50), RunSpending("", "", 5, 0, 5)],
        ),
    ]


async def test_what_came_back_unspent_is_not_counted(store: DatabaseStore, clock: HandClock) -> None:
    lease = await store.create_run(NewRun("k7f"), Holder("ann@desk", "desk", 7, NOW))
    for _ in range(2):
        committed = await store.commit(lease, Transaction(take=want(30)))
        assert committed.grant is not None
        later(clock, 61)
        # The second time nothing comes back any more.
        await store.commit(lease, Transaction(settle=[Settlement(committed.grant.id, None)] * 2))
    await took(store, 1)

    (group,) = await store.spending()
    assert [(run.run_id, run.last_hour, run.in_flight) for run in group.runs] == [("", 1, 1)]
    assert (group.last_hour, group.limit) == (1, 1000)


async def test_after_an_hour_it_is_forgotten(backend: Backend, clock: HandClock) -> None:
    async with backend.open() as store:
        await store.settle(Settlement((await took(store, 30)).id, WINDOW))
        later(clock, 3_500)
        assert [group.last_hour for group in await store.spending()] == [30]
        later(clock, 160)
        assert await store.spending() == []
        await took(store, 1)
        assert [(group.last_hour, group.limit) for group in await store.spending()] == [(1, 1000)]
        assert backend.ask("SELECT count(*) FROM spent") == [(1,)]


async def test_a_ledger_that_is_waited_out_has_nothing_free(backend: Backend, clock: HandClock) -> None:
    async with backend.open(cold_start=True) as store:
        (everybody,) = await store.spending()
        assert (everybody.group, everybody.limit, everybody.free, everybody.runs) == ("*", None, None, [])
        assert everybody.next_free_in == pytest.approx(60.05)
        later(clock, 61)
        assert await store.spending() == []


async def test_who_waits_for_tokens_is_told_in_turn(backend: Backend) -> None:
    async with backend.open() as store:
        turn = "INSERT INTO turns VALUES ('site', '{}', {}, {}, 1000, {})"
        lease = "INSERT INTO leases (run_id, nonce, lease_until, holder) VALUES ('r', 'b', 0, 'bob@desk')"
        asked = [("a", 3, 10, 1001.0), ("b", 2, 20, 1001.0), ("c", 1, 30, 999.0), ("d", 0, 40, 1001.0)]  # d was served
        for row in [*(turn.format(*each) for each in asked), lease]:
            backend.do(row)

        (group,) = await store.spending()
        assert group.waits == [Waiting("bob@desk", 20), Waiting("", 10)]
