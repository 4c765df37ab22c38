"""Large runs and long commits: pieces that others can write between, and a whole that is there or is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import pytest
from backends import Backend, Counting
from store_world import ALICE, BOB, HandClock, want

from ecsbatch.errors import RunConflict
from ecsbatch.model.events import RunFinished, RunStarted, ServerSkipped
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.recorded import decode
from ecsbatch.model.run import Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import Grant, Lease, MemoryDatabase, NewRun, ServersClaimed, open_store
from ecsbatch.store.claims import PIECE
from ecsbatch.store.database import Database
from ecsbatch.store.journal import ROW
from ecsbatch.store.sync_store import SyncStore
from ecsbatch.store.worker import Write

T = TypeVar("T")

MANY = 3 * PIECE + 1


class Interrupted(BaseException):
    """Ends a process in the middle of a creation."""


@pytest.fixture
def database(backend: Backend) -> Counting:
    return backend.counting()


def process(database: Database) -> SyncStore:
    """Return what another process on this store sees of it."""
    store = SyncStore(database, HandClock())
    database.prepare()
    return store


def ids(number: int = MANY, first: int = 0) -> Sequence[str]:
    return [f"s{i:07}" for i in range(first, first + number)]


def large(run_id: str, servers: Iterable[str] = ()) -> NewRun:
    fleet = Fleet(list(servers) or ids())
    return NewRun(run_id, fleet=fleet, events=[RunStarted(total=len(fleet))])


def end(store: SyncStore, lease: Lease, status: RunStatus = RunStatus.FAILED) -> None:
    over = Transaction([RunFinished(status=status.value)], status=status)
    store.commit_group([Write(lambda: store.commit(lease, over, None))])


def owners(store: SyncStore) -> set[str]:
    return set(read(store, lambda: store.claimed([("", server) for server in ids(2 * MANY)])).values())


def read(store: SyncStore, ask: Callable[[], T]) -> T:
    """Ask in a transaction, as whoever reads does."""
    return store._database.read(ask)


def dies() -> None:
    raise Interrupted


def test_a_large_run_is_created_in_pieces_that_others_write_between(database: Counting) -> None:
    one, two = process(database), process(database)
    database.behind(3, lambda: two.commit_group([Write(lambda: two.take(want(7)), quota_group="site")]))
    lease = one.create(large("k"), ALICE)

    assert max(database.pieces) == PIECE
    assert read(two, lambda: two.usage("site", 1000)).held == 7
    assert owners(one) == {"k"}
    assert read(one, lambda: one.run("k")).total == MANY
    assert lease.fence == 1


def test_a_run_is_not_seen_before_it_is_whole(database: Counting) -> None:
    one, two = process(database), process(database)
    seen: list[int] = []
    database.behind(3, lambda: seen.append(len(read(two, lambda: two.runs(10)))))
    one.create(large("k"), ALICE)

    assert (seen, len(read(two, lambda: two.runs(10)))) == ([0], 1)


@pytest.mark.parametrize("piece", [1, 3, 5])
def test_a_creation_that_dies_is_in_nobodys_way(backend: Backend, database: Counting, piece: int) -> None:
    one, two = process(database), process(database)
    database.behind(piece, dies)
    with pytest.raises(Interrupted):
        one.create(large("k"), ALICE)
    one.drop()
    backend.forget_holders()
    assert owners(two) == set()
    two.create(large("other"), BOB)

    assert owners(two) == {"other"}


@pytest.mark.parametrize("servers", [5, MANY])
def test_an_id_whose_creation_died_is_free_and_has_none_of_its_servers(
    backend: Backend, database: Counting, servers: int
) -> None:
    one, two = process(database), process(database)
    database.behind(4, dies)
    with pytest.raises(Interrupted):
        one.create(large("k"), ALICE)
    one.drop()
    backend.forget_holders()
    two.create(large("k", ids(servers, first=MANY)), BOB)
    two.create(large("other"), BOB)

    assert owners(two) == {"k", "other"}
    assert read(two, lambda: two.run("k")).total == servers


def test_of_two_creations_at_once_that_overlap_the_second_is_refused(database: Counting) -> None:
    one, two = process(database), process(database)
    refused: list[str] = []

    def overlap() -> None:
        with pytest.raises(ServersClaimed) as conflict:
            two.create(large("second"), BOB)
        refused.append(str(conflict.value))

    database.behind(3, overlap)
    one.create(large("first"), ALICE)

    assert "belong to run first, which another process is just creating" in refused[0]
    assert owners(one) == {"first"}
    assert [record.run_id for record in read(one, lambda: one.runs(10))] == ["first"]


def test_a_creation_whose_claims_were_taken_meanwhile_is_refused_and_leaves_nothing(
    backend: Backend, database: Counting
) -> None:
    """An older version takes claims for void whose run it cannot see."""
    one = process(database)
    steal = "UPDATE claims SET run_id = 'thief' WHERE server_id = 's0000001'"
    database.behind(3, lambda: backend.do(steal))
    with pytest.raises(RunConflict, match="try again"):
        one.create(large("k"), ALICE)

    left = backend.ask("SELECT run_id, count(*) FROM claims GROUP BY run_id")
    assert left == [("thief", 1)]
    assert read(one, lambda: one.runs(10)) == []
    assert one.create(large("k"), ALICE).fence == 1


def test_a_conflict_in_a_late_piece_tells_of_all_and_leaves_nothing(backend: Backend, database: Counting) -> None:
    one = process(database)
    one.create(large("first", ids(PIECE, first=PIECE + 100)), ALICE)
    with pytest.raises(ServersClaimed) as refused:
        one.create(large("second"), BOB)

    assert (refused.value.servers, refused.value.runs) == (PIECE, {"first": PIECE})
    assert owners(one) == {"first"}
    assert backend.ask("SELECT count(*) FROM claims") == [(PIECE,)]


def test_a_large_run_that_is_over_takes_its_servers_again_in_pieces_or_not_at_all(database: Counting) -> None:
    one, two = process(database), process(database)
    lease = one.create(large("k"), ALICE)
    end(one, lease)
    one.release(lease)
    database.forget()
    other: list[Lease] = []
    database.behind(2, lambda: other.append(two.create(large("other", ids(3)), BOB)))
    with pytest.raises(RunConflict):
        one.take_run("k", ALICE)
    assert read(one, lambda: one.run("k")).status is RunStatus.FAILED
    assert owners(one) == {"other"}
    end(two, other[0])

    assert one.take_run("k", ALICE).fence == 2
    assert max(database.pieces) <= PIECE
    assert owners(one) == {"k"}


def test_the_end_of_a_large_run_frees_its_servers_at_once_and_its_claims_in_pieces(
    backend: Backend, database: Counting
) -> None:
    one, two = process(database), process(database)
    lease = one.create(large("k"), ALICE)
    database.forget()
    end(one, lease, RunStatus.SUCCEEDED)
    assert database.changed <= PIECE + 2
    assert owners(two) == set()
    database.forget()
    one.release(lease)

    assert max(database.pieces) <= PIECE
    assert backend.ask("SELECT count(*) FROM claims") == [(0,)]


def test_a_full_disk_does_not_keep_a_run_that_is_let_go() -> None:
    database = MemoryDatabase()
    one, two = process(database), process(database)
    lease = one.create(large("k"), ALICE)
    end(one, lease)
    database.connection.execute("PRAGMA query_only = 1")
    one.release(lease)
    database.connection.execute("PRAGMA query_only = 0")

    assert two.take_run("k", BOB).fence == 2


# Long commits

SKIPS = [ServerSkipped(server=f"s{i}", reason="excluded") for i in range(2 * ROW + 1)]


async def test_a_long_commit_is_several_rows(backend: Backend) -> None:
    async with backend.open() as store:
        lease = await store.create_run(NewRun("k"), ALICE)
        commit = await store.commit(lease, Transaction(SKIPS))
        rows = backend.ask("SELECT seq_first, seq_last FROM journal ORDER BY seq_first")

        assert rows == [(1, ROW), (ROW + 1, 2 * ROW), (2 * ROW + 1, 2 * ROW + 1)]
        assert list(commit.recorded) == await store.events("k", limit=5000)
        for after in (0, 1, ROW - 1, ROW, ROW + 1, 2 * ROW, 2 * ROW + 1):
            assert [decode(line) for line in await store.lines("k", after, 7)] == list(commit.recorded[after:][:7])


async def test_a_long_row_of_an_older_version_is_read_once() -> None:
    """Seen: 100,000 events in one row took 9 seconds to be read a thousand at a time."""
    database = MemoryDatabase()
    async with open_store(database, clock=HandClock(), inline=True) as store:
        lease = await store.create_run(NewRun("k"), ALICE)
        commit = await store.commit(lease, Transaction(SKIPS))
        lines = b"\n".join(await store.lines("k", limit=5000))
        database.connection.execute("DELETE FROM journal")
        insert = "INSERT INTO journal (run_id, seq_first, seq_last, ts, lines) VALUES ('k', 1, ?, 0, ?)"
        database.connection.execute(insert, (len(SKIPS), lines))
        last = await store.commit(lease, Transaction([RunFinished(status="succeeded")]))
        first = await store.events("k", limit=10)
        database.connection.execute("UPDATE journal SET lines = 'read again' WHERE seq_first = 1")
        rest = [one for after in range(10, len(SKIPS) + 1, 500) for one in await store.events("k", after, 500)]

        assert [*first, *rest] == [*commit.recorded, *last.recorded]
    database.close()


async def test_nothing_is_claimed_that_is_not_sent(backend: Backend) -> None:
    async with backend.open() as store:
        lease = await store.create_run(NewRun("d", "direct"), ALICE)
        claim = [("", "c"), ("", "b"), ("", "a")]
        two = await store.commit(lease, Transaction(take=want(2), claim=claim))
        none = await store.commit(lease, Transaction(take=want(999, at_least=999), claim=[("", "z")]))

        assert isinstance(two.grant, Grant)
        assert none.grant is None
        assert await store.claimed([*claim, ("", "z")]) == {("", "c"): "d", ("", "b"): "d"}
