"""Two processes on one server, one of which does something between two statements of the other's transaction.

At PostgreSQL a transaction that writes sees what others have committed before each of its statements.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
from on_server import OnServer, _ByHand
from store_world import ALICE, BOB, WINDOW, want

from ecsbatch.errors import Invalid, StoreError
from ecsbatch.model.conflicts import RunTaken
from ecsbatch.model.events import RunStarted, WaveStarted
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Lease, NewRun, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import DatabaseStore, Grant, Settlement, open_store
from ecsbatch.store import statements as sql
from ecsbatch.store.database import Rows
from ecsbatch.store.leases import _NONCE
from ecsbatch.store.sql import Statement
from ecsbatch.store.sync_store import SyncStore
from ecsbatch.store.worker import Write

pytestmark = pytest.mark.real


class Interrupted(_ByHand):
    """A database at a server; others do something before or behind a statement of its next transactions."""

    before: tuple[Statement, Callable[[], object]] | None = None
    behind: tuple[Statement, Callable[[], object]] | None = None

    def execute(self, statement: Statement, values: Mapping[str, Any] | None = None) -> Rows:
        """Run a statement, and once what is done before or behind it."""
        if self.before is not None and self.before[0] is statement:
            do, self.before = self.before[1], None
            do()
        rows = super().execute(statement, values)
        if self.behind is not None and self.behind[0] is statement:
            do, self.behind = self.behind[1], None
            do()
        return rows


class Two:
    """Two stores on one database, and the database of the first."""

    def __init__(self, server: OnServer) -> None:
        self.server = server
        self.database = Interrupted("postgres", server.url)
        self.alice = open_store(self.database, clock=server.clock, inline=True)
        self.bob = server.open()

    @staticmethod
    def commit(store: DatabaseStore, do: Callable[[SyncStore], object], **options: Any) -> None:
        """Write something by a store, on the thread that calls."""
        assert store._handle.opened is not None
        sync = store._handle.opened[1]
        (done,) = sync.commit_group([Write(lambda: do(sync), **options)])
        if isinstance(done, Exception):
            raise done


@pytest.fixture
async def two(on_server: OnServer) -> AsyncIterator[Two]:
    two = Two(on_server)
    async with AsyncExitStack() as opened:
        for store in (two.alice, two.bob):
            await opened.enter_async_context(store)
        yield two
    two.database.close()


async def begun(store: DatabaseStore, run_id: str) -> Lease:
    return await store.create_run(NewRun(run_id, fleet=Fleet(["s-1", "s-2"]), events=[RunStarted(total=2)]), BOB)


@pytest.mark.parametrize("statement", [sql.CLAIMS_OF, sql.INHERIT], ids=["not over", "over"])
async def test_servers_that_another_run_frees_in_mid_claim_are_claimed(two: Two, statement: Statement) -> None:
    lease = await begun(two.bob, "his")
    if statement is sql.INHERIT:
        two.server.do("UPDATE runs SET status = 'succeeded' WHERE run_id = 'his'")
    over = Transaction(status=RunStatus.SUCCEEDED)
    two.database.before = statement, lambda: two.commit(two.bob, lambda store: store.commit(lease, over, None))

    await two.alice.create_run(NewRun("hers", fleet=Fleet(["s-1", "s-2"]), events=[RunStarted(total=2)]), ALICE)

    assert two.server.ask("SELECT server_id, run_id FROM claims ORDER BY 1") == [("s-1", "hers"), ("s-2", "hers")]


async def test_a_command_is_heard_though_a_later_one_was_stored_first(two: Two) -> None:
    await begun(two.bob, "k")
    heard: list[int] = []
    reader = two.server.open()

    def meanwhile() -> None:
        two.server.clock.walls += 1
        his.start()
        his.join(0.3)
        heard.extend(id_ for (id_,) in two.server.ask("SELECT id FROM commands ORDER BY id"))

    # A loop of its own: his store works in its caller.
    his = threading.Thread(target=lambda: asyncio.run(_asked(two.bob)))
    two.database.behind = sql.INSERT_COMMAND, meanwhile
    await two.alice.command("k", {"do": "abort"}, "alice")
    his.join()

    async with reader:
        heard += [command.id for command in await reader.commands("k", max(heard, default=0))]
    assert len(heard) == 2


async def _asked(store: DatabaseStore) -> int:
    return await store.command("k", {"do": "adjust"}, "bob")


async def test_tokens_count_for_their_whole_time_though_others_take_some_as_they_are_settled(two: Two) -> None:
    """Who takes tokens has read the clock before its turn; what was settled since is not of another clock."""
    grant = await two.bob.take(want(10))
    assert isinstance(grant, Grant)
    settled_at = 0.0

    def settled() -> None:
        nonlocal settled_at
        two.server.clock.now += 0.4
        settled_at = two.server.clock.now
        two.commit(two.bob, lambda store: store.settle(Settlement(grant.id, WINDOW)))

    two.database.before = sql.SUMS, settled
    await two.alice.take(want(10))

    assert two.server.ask("SELECT free_at FROM grants WHERE settled = 1") == [(settled_at + WINDOW,)]


@pytest.mark.parametrize("beside", [[], [Transaction([WaveStarted(wave=2, servers=2)])]], ids=["alone", "in a group"])
async def test_a_run_that_was_taken_and_let_go_in_mid_write_is_not_written(two: Two, beside: list[Transaction]) -> None:
    lease = await begun(two.alice, "k")
    two.server.forget_holders()

    def taken() -> None:
        his_store = two.bob._handle.parts()[1]
        his = his_store.take_run("k", BOB)
        two.commit(two.bob, lambda store: store.commit(his, Transaction([WaveStarted(wave=1, servers=2)]), None))
        his_store.release(his)

    two.database.before = _NONCE, taken
    sync = two.alice._handle.parts()[1]
    tells = [Transaction([WaveStarted(wave=3, servers=2)]), *beside]
    done = sync.commit_group(
        [Write(partial(sync.commit, lease, each, None), "k", needs_savepoint=False) for each in tells]
    )

    assert [type(each) for each in done] == [RunTaken for _ in tells]
    assert two.server.ask("SELECT fence, seq FROM runs") == [(2, 2)]
    assert two.server.ask("SELECT count(*) FROM leases") == [(0,)]


@pytest.mark.parametrize("who", ["\ud800", "a\0b"], ids=["half a pair", "zero byte"])
async def test_a_text_that_no_server_takes_is_refused_and_spares_those_beside_it(two: Two, who: str) -> None:
    """Whoever steers may send anything; what others write must neither wait for the store's patience nor be lost."""
    lease, sync = await begun(two.bob, "k"), two.bob._handle.parts()[1]
    news = Transaction([WaveStarted(wave=1, servers=2)])
    bad, good = sync.commit_group(
        [Write(lambda: sync.command("k", {}, who)), Write(lambda: sync.commit(lease, news, None), "k")]
    )

    assert isinstance(bad, Invalid)
    assert good.recorded[0].seq == 2
    assert (await two.bob.run("k")).seq == 2
    with pytest.raises(Invalid):
        await two.bob.events(who)


async def test_a_run_that_was_taken_as_the_database_went_away_is_not_kept_by_nobody(two: Two) -> None:
    """Its row would be renewed for ever, by a process that does not know of it."""
    await two.bob.release(await begun(two.bob, "k"))
    await two.alice.freeze("the timeline is known from the first write on")

    def away() -> None:
        raise StoreError("The database is away.")

    two.database.before = sql.LAST_ROWS, away
    with pytest.raises(StoreError, match="away"):
        await two.alice.take_run("k", ALICE)

    assert not (await two.bob.run("k")).held
    assert (await two.bob.take_run("k", BOB)).fence == 3
