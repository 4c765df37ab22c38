"""How processes divide a quota among themselves: equal shares, and who has fewest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import pytest
from backends import Backend, InMemory
from hypothesis import given
from hypothesis import strategies as st
from store_world import CRASH_HOLD, WINDOW, want

from ecsbatch.model.tokens import Grant, Settlement, Shortage, TokenRequest
from ecsbatch.store import DatabaseStore
from ecsbatch.store.accounting import NO_TICKET, Turn, in_turn, share

# -- what is decided ---------------------------------------------------------------------------------------------------


def turn(held: int = 0, wants: int = 10_000, ticket: int = 1, limit: int = 1000) -> Turn:
    return Turn(held, ticket, wants, limit)


SHARES: Final = {
    "one alone has all": (0, [turn()], 1000),
    "all have the same": (0, [turn()] * 4, 250),
    "what they hold is divided with the rest": (1000, [turn(700), turn(300), turn(0), turn(0)], 250),
    "what one cannot use the others divide": (0, [turn(wants=20), turn(wants=80), turn(), turn()], 450),
    "what one holds it can use": (320, [turn(300, wants=20), turn(20), turn()], 340),
    "what others hold is theirs": (400, [turn(100), turn(0)], 350),
    "there is enough for all": (0, [turn(wants=400), turn(wants=600)], 600),
    "a part of a token is nobody's": (0, [turn()] * 3, 333),
    "others hold more than there is": (1100, [turn(0), turn(50)], 0),
}


@pytest.mark.parametrize("case", SHARES)
def test_a_share_is_the_same_for_all_but_who_can_use_fewer(case: str) -> None:
    held, turns, expected = SHARES[case]

    assert share(1000, held, turns) == expected


def asks(want: int, at_least: int = 1, limit: int = 1000) -> TokenRequest:
    return TokenRequest("g", want, at_least, limit, 50.0)


GRANTED: Final = {
    "alone it gets what it asks for": (asks(1000), 0, turn(), [], 1000),
    "alone it has no share": (asks(300, 300), 800, turn(100), [], 0),
    "of a large batch it gets its share": (asks(1000, 250), 0, turn(), [turn(ticket=2)], 500),
    "a small batch it gets whole": (asks(100), 0, turn(), [turn(ticket=2)], 100),
    "what completes its share, however little": (asks(300, 75), 750, turn(200), [turn(300), turn(250)], 134),
    "it has its share and others take theirs": (asks(100), 900, turn(500), [turn(400)], 0),
    "who has fewer comes first": (asks(100, 25), 901, turn(501), [turn(400)], 0),
    "who has more comes later": (asks(100, 25), 901, turn(400), [turn(501)], 99),
    "of equals who waits longer comes first": (asks(100), 950, turn(475, ticket=2), [turn(475, ticket=1)], 25),
    "of equals who waits longer does not wait": (asks(100), 950, turn(475, ticket=1), [turn(475, ticket=2)], 25),
    "who has not waited comes last of equals": (asks(100), 990, turn(400, ticket=NO_TICKET), [turn(400), turn(190)], 0),
    "those before it are left what they lack, not what they ask for": (asks(100), 600, turn(400), [turn(200)], 100),
    "those before it are left what they can use": (asks(400), 600, turn(400), [turn(200, wants=10)], 390),
    "a quarter of a share is worth sending": (asks(1000, 1000), 938, turn(101), [turn(279)] * 3, 62),
    "less than a quarter is not": (asks(1000, 1000), 939, turn(102), [turn(279)] * 3, 0),
    "what is over goes to the first": (asks(100), 998, turn(249), [turn(249), turn(250), turn(250)], 1),
    "what cannot be divided goes with what completes a share": (asks(100, 25), 300, turn(300), [turn(), turn()], 34),
    "others have all": (asks(100), 1000, turn(0), [turn(1000)], 0),
    "the lowest limit is everybody's": (asks(1000), 200, turn(100), [turn(100, ticket=2, limit=300)], 50),
    "its own limit is the lowest": (asks(1000, limit=300), 200, turn(100, limit=300), [turn(100, ticket=2)], 50),
    "more is out than the lowest limit": (asks(100), 400, turn(200), [turn(200, ticket=2, limit=300)], 0),
}


@pytest.mark.parametrize("case", GRANTED)
def test_a_request_gets_what_its_share_lacks_and_leaves_the_same_to_those_before_it(case: str) -> None:
    request, held, mine, others, expected = GRANTED[case]

    assert in_turn(request, held, mine, others)[0] == expected


@dataclass
class Player:
    """A process as a table knows it."""

    held: int
    wants: int
    batch: int


def players(held: st.SearchStrategy[int]) -> st.SearchStrategy[list[Player]]:
    one = st.builds(Player, held, st.integers(0, 200), st.sampled_from([1, 7, 30, 100]))
    return st.lists(one, min_size=1, max_size=6)


def serve_all(players: Sequence[Player], limit: int, idle: int, order: Random) -> int:
    """Serve processes in any order until none gets any more; return what is left."""
    free = limit - idle - sum(player.held for player in players)
    served = True
    while served:
        served = False
        for mine in order.sample(players, len(players)):
            turns = [turn(each.held, each.wants, limit=limit) for each in players if each.wants and each is not mine]
            if mine.wants:
                request = asks(min(mine.wants, mine.batch), limit=limit)
                tokens, _ = in_turn(request, limit - free, turn(mine.held, mine.wants, 0, limit), turns)
                assert 0 <= tokens <= free
                mine.held, mine.wants, free = mine.held + tokens, mine.wants - tokens, free - tokens
                served |= tokens > 0
    return free


@given(players=players(st.integers(0, 60)), idle=st.integers(0, 30), free=st.integers(0, 100), order=st.randoms())
def test_no_token_is_left_while_somebody_wants_one(players: list[Player], idle: int, free: int, order: Random) -> None:
    limit = sum(player.held for player in players) + idle + free

    assert serve_all(players, limit, idle, order) == 0 or not any(player.wants for player in players)


@given(players=players(st.just(0)), idle=st.integers(0, 30), free=st.integers(0, 300), order=st.randoms())
def test_nobody_gets_more_than_one_who_lacks_some_but_what_cannot_be_divided(
    players: list[Player], idle: int, free: int, order: Random
) -> None:
    serve_all(players, idle + free, idle, order)
    lacking = [player.held for player in players if player.wants]

    assert not lacking or max(player.held for player in players) < min(lacking) + max(2, len(players))


# -- on a database -----------------------------------------------------------------------------------------------------


async def took(store: DatabaseStore, tokens: int, **more: int) -> int:
    """Take tokens whose request is answered at once; return how many it got."""
    got = await store.take(replace(want(tokens), **more))
    if isinstance(got, Shortage):
        return 0
    await store.settle(Settlement(got.id, WINDOW))
    return got.tokens


async def denied(store: DatabaseStore, tokens: int, **more: int) -> Shortage:
    got = await store.take(replace(want(tokens), **more))
    assert isinstance(got, Shortage)
    return got


def turns(backend: Backend) -> Sequence[Sequence[object]]:
    return backend.ask("SELECT ticket, wants, asked_until FROM turns WHERE asked_until > :now", now=backend.clock.now)


async def test_who_is_alone_has_no_turn(backend: Backend) -> None:
    async with backend.open() as store:
        assert await took(store, 1000, more=500) == 1000
        assert not (await denied(store, 100, more=400)).shared
        backend.clock.now += WINDOW
        assert await took(store, 100, more=400) == 100
        assert turns(backend) == []


async def test_a_newcomer_is_served_first_up_to_its_share(backend: Backend) -> None:
    async with backend.open() as old, backend.open() as new:
        assert await took(old, 600, more=9000) == 600
        backend.clock.now += 1
        assert await took(old, 400, more=9000) == 400
        backend.clock.now += WINDOW - 1.5
        assert (await denied(new, 100, more=9000)).shared
        backend.clock.now += 0.5
        assert await took(old, 300, more=9000) == 100  # the other 500 are the newcomer's
        waits = await denied(old, 300, more=9000)

        assert (waits.shared, waits.free, waits.next_in) == (True, 500, 0.1)
        assert await took(new, 700, more=8400) == 500
        waits = await denied(old, 300, more=9000)
        assert (waits.shared, waits.free, waits.next_in) == (True, 0, pytest.approx(1.0))


async def test_a_process_that_has_died_keeps_its_turn_until_it_would_have_asked_again_and_its_tokens_until_spent(
    backend: Backend,
) -> None:
    clock = backend.clock
    async with backend.open() as dead, backend.open() as store:
        assert isinstance(await dead.take(want(300)), Grant)
        assert await took(store, 700, more=9000) == 700
        await denied(dead, 100, more=100)
        clock.now += WINDOW - 2.0
        await denied(dead, 100, more=100)
        dead.sever()
        clock.now += 2.0
        assert await took(store, 1000, more=9000) == 500  # the other 200 are the dead one's
        clock.now += 0.49
        assert await took(store, 1000, more=9000) == 0
        clock.now += 0.02
        assert await took(store, 1000, more=9000) == 200

        assert (await store.usage("site", 1000)).held == 300
        clock.now += CRASH_HOLD - WINDOW - 1
        assert (await store.usage("site", 1000)).held == 300
        clock.now += 1
        assert (await store.usage("site", 1000)).held == 0


async def test_of_equals_who_waits_longest_is_served_first(backend: Backend) -> None:
    clock = backend.clock
    async with backend.open() as old, backend.open() as one, backend.open() as two:
        assert await took(old, 100, more=9000) == 100
        clock.now += 1
        assert await took(old, 900, more=9000) == 900
        clock.now += WINDOW - 3
        for store in (two, old, one):
            await denied(store, 100, more=9000)
        clock.now += 1
        await denied(one, 100, more=9000)
        clock.now += 1
        await denied(one, 100, more=9000)  # though it has asked more often
        assert await took(two, 100, more=9000) == 100


async def test_who_was_served_counts_as_one_that_asks_again_for_half_a_second_if_it_wants_more(
    backend: Backend,
) -> None:
    clock = backend.clock
    async with backend.open() as one, backend.open() as two:
        assert await took(one, 100, more=9000) == 100
        assert turns(backend) == []  # nobody was there
        assert await took(two, 100, more=9000) == 100
        assert turns(backend) == [(0, 9000, clock.now + 0.5)]
        assert await took(one, 1000, more=8000) == 400
        clock.now += 0.51
        assert await took(one, 300, more=8000) == 300
        assert await took(two, 100) == 100
        assert turns(backend) == [(0, 8000, clock.now + 0.5)]


async def test_who_waits_is_told_when_there_is_a_quarter_of_its_share(backend: Backend) -> None:
    clock = backend.clock
    async with backend.open() as one, backend.open() as two:
        for tokens in (100, 30, 870):
            assert await took(one, tokens, more=9000) == tokens
            clock.now += 1
        await denied(two, 100, more=9000)

        assert (await denied(one, 1000, at_least=1000, more=9000)).next_in == pytest.approx(WINDOW - 2)
        assert (await denied(two, 1000, at_least=1000, more=9000)).next_in == pytest.approx(WINDOW - 2)


async def test_groups_have_turns_of_their_own(backend: Backend) -> None:
    async with backend.open() as one, backend.open() as two:
        await took(one, 1000)
        await denied(two, 100, more=9000)
        elsewhere = await one.take(replace(want(1000, group="other"), more=9000))

        assert isinstance(elsewhere, Grant)
        assert elsewhere.tokens == 1000


async def test_while_one_of_a_lower_limit_waits_it_is_everybodys(backend: Backend) -> None:
    clock = backend.clock
    async with backend.open() as one, backend.open() as low:
        assert await took(one, 250, more=9000) == 250
        assert await took(low, 100, limit=300, more=900) == 50
        clock.now += WINDOW - 1
        await denied(low, 100, limit=300, more=900)
        assert await took(one, 1000, more=9000) == 0
        clock.now += 1
        assert await took(one, 1000, more=9000) == 150
        assert await took(low, 300, limit=300, more=900) == 150
        assert await took(one, 1000, more=9000) == 0
        clock.now += 0.51
        assert await took(one, 1000, more=9000) == 700


async def test_turns_of_processes_that_are_gone_are_forgotten(memory: InMemory) -> None:
    clock = memory.clock
    async with memory.open() as store:
        await took(store, 1000)
        for _ in range(3):
            async with memory.open() as other:
                await denied(other, 10)
        clock.now += WINDOW
        for _ in range(150):
            await took(store, 10)
            clock.now += WINDOW

        assert turns(memory) == []
