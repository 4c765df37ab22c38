"""How lines of a journal are stored, and what is read where somebody has written something else."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from backends import Backend
from store_world import ALICE
from stored import readable

from ecsbatch.model.events import ServerFailed, ServerRestarted
from ecsbatch.model.run import NewRun, Transaction
from ecsbatch.store import open_store
from ecsbatch.store.packing import packed, unpacked

MANY = b"\n".join(b'{"v":1,"seq":%d,"event":"server.restarted","server":"s%d"}' % (n, n) for n in range(100))


def test_many_lines_are_compressed_and_read_back() -> None:
    stored = packed(MANY)

    assert unpacked(stored) == MANY
    assert len(stored) < len(MANY) / 5


def test_a_few_lines_stay_as_anybody_can_read_them() -> None:
    assert packed(MANY[:500]) == MANY[:500]
    assert unpacked(MANY[:500]) == MANY[:500]


@pytest.mark.parametrize(
    "written",
    [b"", b"x", b"xyz", b"nonsense", packed(MANY)[:-1], packed(MANY) + b"x", packed(MANY) + packed(MANY)],
    ids=["nothing", "x", "text", "other text", "cut off", "longer", "twice"],
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


async def test_who_searches_a_store_for_secrets_sees_what_is_compressed(tmp_path: Path) -> None:
    path, told = tmp_path / "store.db", [ServerFailed(server=f"s{n}", message="CANARY") for n in range(50)]
    async with open_store(f"sqlite:///{path}") as store:
        await store.commit(await store.create_run(NewRun("k"), ALICE), Transaction(told))

        assert readable(path).count(b"CANARY") == 50
    assert path.read_bytes().count(b"CANARY") < 5
