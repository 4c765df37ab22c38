"""How lines of a journal are stored, and what is read where somebody has written something else."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from backends import Backend
from store_world import ALICE
from stored import readable

from ecsbatch.errors import RecordEdited, StoreError
from ecsbatch.model.events import ServerFailed, ServerRestarted
from ecsbatch.model.run import NewRun, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import open_store, targets
from ecsbatch.store.packing import packed, unpacked

MANY = b"\n".join(b'{"v":1,"seq":%d,"event":"server.restarted","server":"s%d"}' % (n, n) for n in range(100))
BOMB = zlib.compress(bytes(2**24 + 1), 1)


def test_many_lines_are_compressed_and_read_back() -> None:
    stored = packed(MANY)

    assert unpacked(stored) == MANY
    assert len(stored) < len(MANY) / 5


def test_a_few_lines_stay_as_anybody_can_read_them() -> None:
    assert packed(MANY[:500]) == MANY[:500]
    assert unpacked(MANY[:500]) == MANY[:500]


def test_so_many_lines_that_unpacking_them_would_take_the_memory_stay_as_they_are() -> None:
    many = b'{"v":1}' * (2**24 // 7 + 1)

    assert packed(many) is many
    assert unpacked(packed(many[: 2**24])) == many[: 2**24]


@pytest.mark.parametrize(
    "written",
    [b"", b"x", b"xyz", b"nonsense", packed(MANY)[:-1], packed(MANY) + b"x", packed(MANY) + packed(MANY), BOMB],
    ids=["nothing", "x", "text", "other text", "cut off", "longer", "twice", "a few bytes for many"],
)
def test_what_somebody_has_written_by_hand_is_taken_as_it_is(written: bytes) -> None:
    assert unpacked(written) == written


async def test_a_row_is_proved_by_its_lines_however_it_is_stored(backend: Backend) -> None:
    events = [ServerRestarted(server=f"s{n}", wave=1) for n in range(50)]
    async with backend.open() as store:
        lease = await store.create_run(NewRun("k", events=events), ALICE)
        await store.commit(lease, Transaction(events))
        head = (await store.check_chain("k")).head
        (stored,) = backend.ask("SELECT lines FROM journal WHERE seq_last = 100")[0]
        assert len(stored) < 1_000

        backend.do("UPDATE journal SET lines = :lines WHERE seq_last = 100", lines=zlib.decompress(stored))
        assert (await store.check_chain("k")).head == head
        assert [each.event for each in await store.events("k")] == [*events, *events]
        assert not (await store.check_chain("k")).breach
        assert await store.restarted_since(0) == {f"s{n}" for n in range(50)}

        backend.do("UPDATE journal SET lines = :lines WHERE seq_last = 100", lines=stored + b"x")
        assert (await store.check_chain("k")).breach


@pytest.mark.parametrize(
    "written",
    [
        packed(MANY)[:-1],
        BOMB,
        b'"event":"server.restarted"',
        b'{"event":"server.restarted"}',
        b'{"event":"server.restarted","server":[1]}',
        b'{"event":"server.restarted","server":"\xff"}',
    ],
    ids=["cut off", "a few bytes for many", "no line", "nobody", "a list", "no text"],
)
async def test_whose_restart_cannot_be_read_any_more_is_an_error_with_a_way_on(
    backend: Backend, written: bytes
) -> None:
    async with backend.open() as store:
        await store.create_run(NewRun("k", events=[ServerRestarted(server="s1")]), ALICE)
        backend.do("UPDATE journal SET lines = :lines", lines=written)
        with pytest.raises(RecordEdited, match=r"record of run k has a line behind event 0 that .*restore the store"):
            await store.restarted_since(0)


async def test_who_searches_a_store_for_secrets_sees_what_is_compressed(tmp_path: Path) -> None:
    path, told = tmp_path / "store.db", [ServerFailed(server=f"s{n}", message="CANARY") for n in range(50)]
    async with open_store(f"sqlite:///{path}") as store:
        await store.commit(await store.create_run(NewRun("k"), ALICE), Transaction(told))

        assert readable(path).count(b"CANARY") == 50
    assert path.read_bytes().count(b"CANARY") < 5


async def test_a_list_of_servers_that_unpacks_to_more_than_any_list_is_an_error_with_a_way_on(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with backend.open() as store:
        await store.create_run(NewRun("k", fleet=Fleet(["a", "b"])), ALICE)
        (stored,) = backend.ask("SELECT servers FROM targets")[0]
        size = len(zlib.decompress(stored))
        monkeypatch.setattr(targets, "_MOST", size)
        assert list((await store.targets("k")).ids) == ["a", "b"]

        monkeypatch.setattr(targets, "_MOST", size - 1)
        with pytest.raises(StoreError, match=r"cannot be read .*restore the store from a copy of before"):
            await store.targets("k")
