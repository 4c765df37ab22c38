"""The quota ledger against a brute force model, and the properties that the quota rests on."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from backends import Backend
from hypothesis import given, settings
from hypothesis import strategies as st
from store_world import CRASH_HOLD, WINDOW, HandClock, want

from ecsbatch.model.run import Holder
from ecsbatch.model.servers import Fleet
from ecsbatch.store import Grant, MemoryDatabase, NewRun, Settlement, Shortage, TokenRequest, open_store
from ecsbatch.store.accounting import OutstandingGrant, held_at, shortage, tokens_for, usage

TAKES = st.builds(
    TokenRequest,
    st.just("g"),
    want=st.integers(1, 30),
    at_least=st.integers(1, 30),
    limit=st.just(40),
    expires_in=st.just(50.0),
)
GRANTS = st.lists(st.builds(OutstandingGrant, st.integers(1, 20), st.floats(0, 100), st.booleans()), max_size=8)


def enough(take: TokenRequest) -> int:
    return min(take.at_least, take.want)


@given(take=TAKES, held=st.integers(0, 60))
def test_an_allotment_is_wanted_enough_and_within_the_limit(take: TokenRequest, held: int) -> None:
    tokens = tokens_for(take, held)

    assert tokens == 0 or (enough(take) <= tokens <= take.want and held + tokens <= take.limit)
    assert tokens > 0 or held + enough(take) > take.limit


@given(take=TAKES, grants=GRANTS, now=st.floats(0, 100), short=st.integers(1, 40))
def test_after_the_wait_there_is_enough_and_not_before(
    take: TokenRequest, grants: list[OutstandingGrant], now: float, short: int
) -> None:
    grants = [*grants, OutstandingGrant(1, now + 50, settled=True)]
    take = replace(take, limit=max(enough(take), held_at(grants, now) + enough(take) - short))
    assert tokens_for(take, held_at(grants, now)) == 0
    said = shortage(take, grants, now)
    assert said.next_in is not None
    then = now + said.next_in

    assert take.limit - held_at(grants, then + 1e-9) >= enough(take)
    if said.next_in > 0.001:
        assert take.limit - held_at(grants, then - 1e-9) < enough(take)


def test_more_than_the_limit_never_comes() -> None:
    assert Shortage(40, None, 0) == shortage(TokenRequest("g", 50, 41, 40, 50.0), [], 0.0)


def test_usage_tells_in_flight_from_cooling() -> None:
    said = usage(
        100,
        [
            OutstandingGrant(30, 7.0, settled=False),
            OutstandingGrant(20, 9.0, settled=True),
            OutstandingGrant(99, 5.0, settled=True),
        ],
        5.0,
    )

    assert (said.held, said.cooling, said.free, said.next_free_in) == (30, 20, 50, 2.0)


@pytest.mark.parametrize(
    ("limit", "free", "more_in"), [(100, 10, 2.0), (90, 0, 2.0), (61, 0, 2.0), (60, 0, 3.0), (31, 0, 3.0), (30, 0, 4.0)]
)
def test_more_is_free_once_what_is_beyond_a_lowered_limit_has_cooled(limit: int, free: int, more_in: float) -> None:
    said = usage(limit, [OutstandingGrant(30, at, settled=True) for at in (9.0, 7.0, 8.0)], 5.0)

    assert (said.free, said.next_free_in) == (free, more_in)


@dataclass
class Brute:
    """Every grant that was ever given, with the instant at which it stops counting."""

    grants: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)

    def held(self, now: float) -> int:
        """Return the tokens that count at an instant."""
        return sum(tokens for tokens, free_at, _ in self.grants.values() if free_at > now)

    def settle(self, grant: str, hold: float | None, now: float) -> None:
        """End a grant; of two ends the later one counts."""
        if grant not in self.grants:
            return
        tokens, free_at, _ = self.grants[grant]
        if hold is None:
            if grant not in self.settled:
                del self.grants[grant]
            return
        if grant not in self.settled or now + hold >= free_at:
            self.grants[grant] = tokens, now + hold, hold
        self.settled.add(grant)

    def reboot(self, now: float) -> None:
        """Hold everything in full from now."""
        self.grants = {grant: (tokens, now + hold, hold) for grant, (tokens, _, hold) in self.grants.items()}


STEPS = st.one_of(
    st.tuples(st.just("take"), st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.just("settle"), st.integers(0, 9), st.sampled_from([60.05, 120.05])),
    st.tuples(st.just("refund"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("advance"), st.sampled_from([0.5, 20.0, 60.0, 60.05, 200.0]), st.just(0)),
    st.tuples(st.just("crash"), st.just(0), st.just(0)),
    st.tuples(st.just("reboot"), st.integers(0, 500), st.just(0)),
)


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
async def test_never_above_the_limit_and_no_token_is_lost(steps: list[tuple[str, float, float]]) -> None:
    """The table and the list of everything agree after any takes, settlings, refunds, crashes and reboots."""
    clock, brute, database = HandClock(), Brute(), MemoryDatabase()
    ids: list[str] = []
    store = await open_store(database, clock=clock, inline=True).__aenter__()
    for step, a, b in steps:
        if step == "take":
            before = brute.held(clock.now)
            got = await store.take(TokenRequest("g", int(max(a, b)), int(min(a, b)), 100, CRASH_HOLD))
            if isinstance(got, Grant):
                brute.grants[got.id] = got.tokens, clock.now + CRASH_HOLD, CRASH_HOLD
                ids.append(got.id)
                assert got.tokens == min(max(a, b), 100 - before)
            else:
                assert 100 - before < min(a, b)
                assert got.next_in is not None
        elif step in {"settle", "refund"} and ids:
            grant, hold = ids[-1 - int(a) % len(ids)], b or None
            await store.settle(Settlement(grant, hold))
            brute.settle(grant, hold, clock.now)
        elif step == "advance":
            clock.now += a
        elif step == "crash":
            store.sever()
            clock.now += 2.5  # a dead process keeps its turn for as long
            store = await open_store(database, clock=clock, inline=True).__aenter__()
        elif step == "reboot":
            store.sever()
            database.connection.execute("DELETE FROM turns")  # the same, by a clock that has begun anew
            clock.now, clock.boot = float(a), f"{clock.boot}+"
            brute.reboot(clock.now)
            store = await open_store(database, clock=clock, inline=True).__aenter__()
            # The first sight of another boot's rows is by a take; until then they count in full.
            await store.take(TokenRequest("g", 1, 1, 0, CRASH_HOLD))
        said = await store.usage("g", 100)
        assert max(0, 100 - brute.held(clock.now)) == said.free
    clock.now += 1000
    assert (await store.usage("g", 100)).free == 100
    await store.aclose()
    database.close()


def waits(got: Grant | Shortage, seconds: float, in_flight: int = 0) -> bool:
    """Return whether nothing was granted, nothing is free, and something will be in so many seconds."""
    return (
        isinstance(got, Shortage)
        and (got.free, got.in_flight) == (0, in_flight)
        and got.next_in == pytest.approx(seconds)
    )


async def test_the_last_tokens_are_used(backend: Backend) -> None:
    async with backend.open() as store:
        first, second = await store.take(want(960)), await store.take(want(100))

        assert isinstance(first, Grant)
        assert isinstance(second, Grant)
        assert (first.tokens, second.tokens) == (960, 40)


async def test_groups_do_not_share(backend: Backend) -> None:
    async with backend.open() as store:
        await store.take(want(1000, group="one"))

        assert isinstance(await store.take(want(1000, group="two")), Grant)


async def test_tokens_come_back_a_window_after_the_answer_and_not_sooner(backend: Backend) -> None:
    clock = backend.clock
    async with backend.open() as store:
        grant = await store.take(want(1000))
        assert isinstance(grant, Grant)
        clock.now += 3
        await store.settle(Settlement(grant.id, WINDOW))
        assert waits(await store.take(want(1)), WINDOW)
        clock.now += WINDOW - 0.01
        assert isinstance(await store.take(want(1)), Shortage)
        clock.now += 0.02

        assert isinstance(await store.take(want(1)), Grant)


async def test_a_grant_settled_after_it_had_lapsed_counts_again(backend: Backend) -> None:
    """A machine that slept through its own grant did send the request all the same."""
    clock = backend.clock
    async with backend.open() as store:
        grant = await store.take(want(1000))
        assert isinstance(grant, Grant)
        clock.now += CRASH_HOLD + 1
        await store.take(want(1000))
        await store.settle(Settlement(grant.id, WINDOW))

        assert (await store.usage("site", 1000)).free == 0
        assert isinstance(await store.take(want(1, limit=1500)), Shortage)


async def test_a_second_settling_never_shortens_the_first(backend: Backend) -> None:
    async with backend.open() as store:
        grant = await store.take(want(1000))
        assert isinstance(grant, Grant)
        await store.settle(Settlement(grant.id, 120.0))
        await store.settle(Settlement(grant.id, 60.0))
        await store.settle(Settlement(grant.id, None))
        said = await store.usage("site", 1000)

        assert (said.free, said.next_free_in) == (0, 120.0)


async def test_another_boots_grants_hold_in_full_from_when_they_are_seen(memory: Backend) -> None:
    clock = memory.clock
    store = await memory.open().__aenter__()
    await store.take(want(1000))
    store.sever()
    clock.now, clock.boot = 5.0, "boot-2"
    async with memory.open() as store:
        clock.now = 40.0
        denied = await store.take(want(1))
        clock.now += 100

        assert waits(denied, CRASH_HOLD, in_flight=1000)
        assert pytest.approx((await store.usage("site", 1000)).next_free_in) == CRASH_HOLD - 100


async def test_a_row_from_a_clock_that_is_ahead_cannot_hold_for_ever(memory: Backend) -> None:
    clock = memory.clock
    clock.now = 1e9
    store = await memory.open().__aenter__()
    await store.take(want(1000))
    store.sever()
    clock.now = 10.0
    async with memory.open() as store:
        denied = await store.take(want(1))

        assert waits(denied, CRASH_HOLD, in_flight=1000)


async def test_old_grants_are_swept(backend: Backend) -> None:
    clock = backend.clock
    async with backend.open() as store:
        for _ in range(200):
            grant = await store.take(want(100))
            assert isinstance(grant, Grant)
            await store.settle(Settlement(grant.id, WINDOW))
            clock.now += 60
        [[kept]] = backend.ask("SELECT count(*) FROM grants")
        assert kept < 100


async def test_a_cold_start_waits_out_a_window_until_there_has_been_a_run(backend: Backend) -> None:
    """Somebody may have looked into the store before, which tells nothing of what another one has spent."""
    clock = backend.clock
    async with backend.open() as store:
        assert (await store.usage("site", 1000)).free == 1000
    async with backend.open(cold_start=True) as store:
        assert waits(await store.take(want(1, group="any")), WINDOW)
        said = await store.usage("other", 500)
        assert (said.free, said.held, said.cooling) == (0, 0, 500)
        assert said.next_free_in == pytest.approx(WINDOW)
        clock.now += WINDOW
        assert isinstance(await store.take(want(1000)), Grant)
        clock.now += 2 * WINDOW
        assert await store.start_cold(WINDOW)
        clock.now += WINDOW
        await store.create_run(NewRun("k7f", fleet=Fleet(["a"])), Holder("ann@web", "web", 7, 0.0))
        assert not await store.start_cold(WINDOW)
    async with backend.open(cold_start=True) as store:
        assert (await store.usage("site", 1000)).cooling == 0


async def test_a_lost_ledger_is_waited_out(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path / 'x.db'}", HandClock()
    async with open_store(url, clock=clock) as store:
        await store.take(want(10))
        assert store._handle.opened is not None
        store._handle.opened[0].connection.execute("ALTER TABLE grants DROP COLUMN tokens")
    async with open_store(url, clock=clock) as store:
        denied = await store.take(want(10))
        assert waits(denied, CRASH_HOLD)
        clock.now += CRASH_HOLD

        assert isinstance(await store.take(want(10)), Grant)


async def test_many_takes_at_once_on_two_stores_stay_within_the_limit(shared: Backend) -> None:
    async with shared.open(inline=False) as one, shared.open(inline=False) as two:
        got = await asyncio.gather(*(store.take(want(7)) for _ in range(100) for store in (one, two)))

        assert sum(grant.tokens for grant in got if isinstance(grant, Grant)) == 1000


OLD = "https://ecs.eu-west-101.myhuaweicloud.eu/0a1b2c"


def spent_by_an_older_version(backend: Backend, group: str, tokens: int) -> None:
    """Insert a grant as b9c137e does, which may be at work beside us."""
    backend.do(
        """
        INSERT INTO grants (grant_id, quota_group, run_id, tokens, granted, free_at, hold, settled, boot)
        VALUES (:grant, :quota_group, 'r', :tokens, :now, :free_at, 60.0, 1, :boot)
        """,
        grant=f"{group}.{tokens}",
        quota_group=group,
        tokens=tokens,
        now=backend.clock.now,
        free_at=backend.clock.now + 60.0,
        boot=backend.clock.boot,
    )


async def test_a_project_has_one_quota_by_whatever_name_it_is_met(backend: Backend) -> None:
    async with backend.open() as store:
        spent_by_an_older_version(backend, OLD, 300)
        assert isinstance(await store.take(want(500, group="0a1b2c")), Grant)
        assert isinstance(await store.take(want(100, group="https://127.0.0.1:8000/0a1b2c")), Grant)
        spent_by_an_older_version(backend, "http://localhost/0a1b2c", 60)

        for group in ("0a1b2c", OLD):
            assert (await store.usage(group, 1000)).free == 40
        denied = await store.take(want(50, at_least=50, group="0a1b2c"))
        assert isinstance(denied, Shortage)
        assert denied.free == 40


@pytest.mark.parametrize(
    "other", ["https://h/x0a1b2c", "https://h/0A1B2C", "https://h/0a1b2", "https://h/0a1b2c/", "a1b2c"]
)
async def test_another_project_has_another_quota(backend: Backend, other: str) -> None:
    async with backend.open() as store:
        spent_by_an_older_version(backend, other, 300)
        for group in ("0a1b2c", "%", "_a1b2c", "0a1b2%"):
            assert (await store.usage(group, 1000)).free == 1000


async def test_a_grants_age_is_told_by_the_ledgers_clock(backend: Backend) -> None:
    clock = backend.clock
    async with backend.open() as store:
        grant = await store.take(want(1))
        assert isinstance(grant, Grant)
        clock.now += 7
        clock.walls -= 3600

        assert store.age(grant) == 7
