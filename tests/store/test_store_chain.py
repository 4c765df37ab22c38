"""The chain of a run's record: whole through crashes, take-overs and upgrades, and broken by every edit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest
from backends import Backend
from store_world import ALICE, BOB, HandClock

from ecsbatch.errors import StoreError
from ecsbatch.model.events import BatchAccepted, RunStarted, ServerRestarted
from ecsbatch.model.run import Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import DatabaseStore, NewRun, chain, open_store
from ecsbatch.store.sql import Statement

BEFORE: Final = Path(__file__).parent / "before" / "store.sqlite"
FLEET: Final = Fleet(["a", "b", "c"], ["az1", "az1", "az2"])


async def written(backend: Backend, *, fleet: Fleet | None = FLEET) -> str:
    """Store a run of five rows by two holders; return its head."""
    async with backend.open() as store:
        kind = "direct" if fleet is None else "rollout"
        lease = await store.create_run(NewRun("k", kind, {"waves": []}, fleet, [RunStarted(total=3)]), ALICE)
        for batch in (1, 2):
            await store.commit(lease, Transaction([BatchAccepted(batch=batch), ServerRestarted(server="a")]))
    async with backend.open() as store:
        lease = await store.take_run("k", BOB)
        await store.commit(lease, Transaction([BatchAccepted(batch=n) for n in range(1001)]))
        return (await store.check_chain("k")).head


@pytest.mark.parametrize("fleet", [FLEET, None])
async def test_a_record_that_nobody_has_touched_is_whole(backend: Backend, fleet: Fleet | None) -> None:
    head = await written(backend, fleet=fleet)
    async with backend.open() as store:
        chain = await store.check_chain("k", head)

    rows = backend.ask("SELECT hash FROM journal ORDER BY seq_last")
    assert (chain.breach, chain.since, chain.events) == ("", 1, 1006)
    assert (chain.head, chain.anchored) == (rows[-1][0], 1006)
    assert len({*rows}) == len(rows) == 5


SKIPPED: Final = """
    UPDATE journal SET
        lines = replace(lines, 'restarted', 'skipped')                                               -- sqlite
        lines = convert_to(replace(convert_from(lines, 'UTF8'), 'restarted', 'skipped'), 'UTF8')     -- postgres
    WHERE seq_first = 2
"""
LONGER: Final = """
    UPDATE journal SET
        lines = cast(lines || ' ' AS BLOB)                                                           -- sqlite
        lines = lines || convert_to(' ', 'UTF8')                                                     -- postgres
    WHERE seq_first = 1
"""
NOTHING: Final = """
    x'00'                                                                                            -- sqlite
    decode('00', 'hex')                                                                              -- postgres
"""
SHORTER: Final = f"UPDATE targets SET servers = substr(servers, 1, 20) || {NOTHING}"  # noqa: S608 - ours
MORE: Final = f"INSERT INTO targets (run_id, part, servers) VALUES ('k', 1, {NOTHING})"  # noqa: S608 - ours

EDITS: Final = [
    (SKIPPED, 2, "Events 2 to 3 or"),
    (LONGER, 1, "Event 1 or"),
    ("UPDATE journal SET ts = ts + 1 WHERE seq_first = 4", 4, "Events 4 to 5 or"),
    ("DELETE FROM journal WHERE seq_first = 4", 6, "Events 6 to 1005 or"),
    ("DELETE FROM journal WHERE seq_first = 1", 2, "Events 2 to 3 or"),
    ("UPDATE journal SET hash = '' WHERE seq_first = 4", 4, "Events 4 to 5 came into the record with"),
    ("UPDATE journal SET hash = ''", 1, "Event 1 came into the record with"),
    (
        f"INSERT INTO journal (run_id, seq_last, seq_first, ts, lines) VALUES ('k', 1007, 1007, 0.0, {NOTHING})",  # noqa: S608 - ours
        1007,
        "Event 1007 came into the record with",
    ),
    ("UPDATE journal SET seq_last = 2 WHERE seq_first = 2", 2, "Event 2 or"),
    ("UPDATE runs SET plan = '{}'", 0, "The plan or the list"),
    (SHORTER, 0, "The plan or the list"),
    ("DELETE FROM targets", 0, "The plan or the list"),
    (MORE, 0, "The plan or the list"),
    ("UPDATE runs SET created_at = 0", 0, "The plan or the list"),
]


@pytest.mark.parametrize(("edit", "where", "says"), EDITS)
async def test_every_edit_that_leaves_the_chain_as_it_was_breaks_it_there(
    backend: Backend, edit: str, where: int, says: str
) -> None:
    head = await written(backend)
    assert backend.do(edit)
    async with backend.open() as store:
        chain = await store.check_chain("k", head)

    assert chain.breach.startswith(says)
    assert chain.breach_at == where
    assert chain.anchored == (None if where < 1007 and "hash = ''" not in edit else 1006)


@pytest.mark.parametrize(
    "forge",
    [
        "DELETE FROM journal WHERE seq_first > 4",
        SKIPPED,
        "UPDATE runs SET plan = '{}'",
    ],
)
async def test_who_makes_the_whole_chain_anew_cannot_make_the_head_that_was_noted(backend: Backend, forge: str) -> None:
    head = await written(backend)
    assert backend.do(forge)
    await make_anew(backend)
    async with backend.open() as store:
        chain = await store.check_chain("k", head)

    assert (chain.breach, chain.anchored) == ("", None)
    assert chain.head != head


async def make_anew(backend: Backend) -> None:
    """Do what somebody can who knows this program: write every hash anew."""
    async with backend.open() as store:
        database = store._handle.parts()[0]

        def anew() -> None:
            for behind, row in list(chain.computed(database, "k", chain.begin(database, "k"))):
                database.execute(SET_HASH, {"hash": behind, "last": row[1]})

        database.write(anew)


SET_HASH: Final = Statement("UPDATE journal SET hash = :hash WHERE seq_last = :last")


async def test_a_head_that_was_noted_under_way_stands_for_what_was_before_it(backend: Backend) -> None:
    async with backend.open() as store:
        lease = await store.create_run(NewRun("k", fleet=FLEET, events=[RunStarted(total=3)]), ALICE)
        noted = (await store.check_chain("k")).head
        await store.commit(lease, Transaction([BatchAccepted(batch=1)]))
        chain = await store.check_chain("k", noted)

    assert (chain.anchored, chain.events) == (1, 2)


async def test_a_write_that_is_undone_is_no_link(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'r.db'}", clock=HandClock(), inline=True) as store:
        lease = await store.create_run(NewRun("k", fleet=FLEET, events=[RunStarted(total=3)]), ALICE)
        full(
            store,
            "CREATE TRIGGER full BEFORE UPDATE ON runs WHEN NEW.seq > OLD.seq BEGIN SELECT raise(ABORT, 'x'); END",
        )
        with pytest.raises(StoreError):
            await store.commit(lease, Transaction([BatchAccepted(batch=1)]))
        full(store, "DROP TRIGGER full")
        lease = await store.renew(lease)
        await store.commit(lease, Transaction([BatchAccepted(batch=2)]))
        chain = await store.check_chain("k")

    assert (chain.breach, chain.events) == ("", 2)


def full(store: DatabaseStore, statement: str) -> None:
    store._handle.parts()[0].connection.execute(statement)  # pyright: ignore[reportPrivateUsage]


async def test_a_large_fleet_written_piece_by_piece_is_of_the_chain(backend: Backend) -> None:
    async with backend.open() as store:
        await store.create_run(NewRun("k", fleet=Fleet([f"s{n}" for n in range(40_001)])), ALICE)
        whole = await store.check_chain("k")
        backend.do("DELETE FROM targets WHERE part = 2")

        assert whole.breach == ""
        assert (await store.check_chain("k")).breach.startswith("The plan or the list")


# -- older versions ----------------------------------------------------------------------------------------------------


@pytest.fixture
def older(tmp_path: Path) -> str:
    """Return the URL of a store of version 1, whose runs have no chain."""
    return f"sqlite:///{shutil.copy(BEFORE, tmp_path / 'restarts.db')}"


async def test_a_run_of_an_older_version_has_no_chain(older: str) -> None:
    async with open_store(older, inline=True) as store:
        chain = await store.check_chain("finished")

    assert (chain.since, chain.breach) == (None, "")
    assert len(chain.head) == 64


@pytest.mark.parametrize(
    ("edit", "breach"),
    [
        (None, ""),
        (
            "UPDATE journal SET ts = ts + 1 WHERE run_id = 'interrupted' AND seq_first > 5",
            "Event 87 or what was before",
        ),
        ("DELETE FROM journal WHERE run_id = 'interrupted' AND seq_first = 1", "Event 87 or what was before"),
    ],
)
async def test_a_run_that_goes_on_after_the_upgrade_has_a_chain_from_there_on(
    older: str, edit: str | None, breach: str
) -> None:
    """What was written before is under the first new hash, and cannot be changed any more."""
    async with open_store(older, inline=True) as store:
        seq = (await store.run("interrupted")).seq
        lease = await store.take_run("interrupted", BOB)
        await store.commit(lease, Transaction([BatchAccepted(batch=9)]))
        if edit:
            full(store, edit)
        chain = await store.check_chain("interrupted")

    assert (chain.since, chain.events) == (seq + 1, seq + 1)
    assert chain.breach.startswith(breach.replace("87", str(seq + 1)))
    assert bool(chain.breach) == bool(edit)
