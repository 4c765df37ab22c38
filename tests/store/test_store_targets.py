"""The list of a run's servers comes back as it was stored, with the hosts and tags by which people group them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
from backends import Backend, InMemory
from hypothesis import given
from hypothesis import strategies as st
from store_world import ALICE, BOB

from ecsbatch.errors import StoreError
from ecsbatch.model.events import RunStarted
from ecsbatch.model.servers import Fleet
from ecsbatch.store import MemoryDatabase, NewRun, targets

_COLUMN = st.lists(st.sampled_from(["", "a", "b", "<img src=x>", "\x1b[2J", "é"]), min_size=5, max_size=5)


def told(fleet: Fleet) -> tuple[object, ...]:
    return fleet.ids, fleet.domains, fleet.names, fleet.sites, fleet.hosts, fleet.tags


def grouped(servers: int = 4) -> Fleet:
    ids = [f"s{i}" for i in range(servers)]
    return Fleet(ids, hosts=[f"h{i // 2}" for i in range(servers)], tags={"app": ["web", "db"] * (servers // 2)})


def stored(*rows: dict[str, Any]) -> Fleet:
    """Return what is read of rows."""
    database = MemoryDatabase()
    database.prepare()
    for part, row in enumerate(rows):
        servers = zlib.compress(orjson.dumps(row))
        targets.write(database, {"run_id": "r", "part": part, "servers": servers})
    try:
        return targets.read(database, "r")
    finally:
        database.close()


def written(fleet: Fleet) -> list[dict[str, Any]]:
    return [orjson.loads(zlib.decompress(row["servers"])) for row in targets.rows("r", fleet)]


@given(_COLUMN, _COLUMN, _COLUMN, st.dictionaries(st.text(max_size=3), _COLUMN, max_size=3))
def test_all_columns_come_back(
    domains: Sequence[str], sites: Sequence[str], hosts: Sequence[str], tags: dict[str, Sequence[str]]
) -> None:
    fleet = Fleet("abcde", domains, None, sites, hosts, tags)

    assert told(stored(*written(fleet))) == told(fleet)


async def test_a_run_that_another_process_takes_has_hosts_and_tags(shared: Backend) -> None:
    async with shared.open() as one, shared.open() as two:
        lease = await one.create_run(NewRun("k", fleet=grouped(), events=[RunStarted(total=4)]), ALICE)
        await one.release(lease)
        await two.take_run("k", BOB)

        assert told(await two.targets("k")) == told(grouped())


def test_a_text_is_stored_once_however_many_rows_have_it() -> None:
    many = 40_002
    fleet = Fleet(
        [f"s{i}" for i in range(many)],
        hosts=[f"h{i % 7}" if i < many - 1 else "last" for i in range(many)],
        tags={"app": [""] * (many - 1) + ["web"]},
    )
    rows = written(fleet)
    found = stored(*rows)

    assert [row["hosts"]["values"] for row in rows] == [[f"h{i}" for i in range(7)], [], ["last"]]
    assert told(found) == told(fleet)
    assert len(set(map(id, found.hosts or ()))) == 8


def test_a_run_without_them_is_stored_as_by_versions_of_before_and_theirs_are_read() -> None:
    [row] = written(Fleet(["a", "b"], ["az1", ""]))

    assert row == {"ids": ["a", "b"], "domains": ["az1", ""]}
    assert told(stored(row, {"ids": ["c"]})) == (("a", "b", "c"), ("az1", "", ""), None, None, None, {})


def test_whoever_does_not_know_of_them_reads_all_else() -> None:
    [row] = written(grouped())

    assert set(row) == {"ids", "hosts", "tags"}
    assert row["ids"] == list(grouped().ids)


def test_rows_need_not_have_the_same_columns() -> None:
    found = stored(
        {"ids": ["a"]},
        {"ids": ["b"], "hosts": {"values": ["h"], "index": [0]}, "tags": {"app": {"values": ["web"], "index": [0]}}},
        {"ids": ["c"], "tags": {"app": {"values": [], "index": [0]}}},
        {"ids": ["d"]},
    )

    assert (found.hosts, found.tags) == (("", "h", "", ""), {"app": ("", "web", "web", "")})


EDITS: list[Callable[[dict[str, Any]], Any]] = [
    lambda row: row.update(hosts=["h"] * 4),
    lambda row: row.update(hosts=None),
    lambda row: row.update(hosts="h"),
    lambda row: row["hosts"].pop("values"),
    lambda row: row["hosts"].pop("index"),
    lambda row: row["hosts"].update(values=[]),
    lambda row: row["hosts"].update(values=[1, 2]),
    lambda row: row["hosts"].update(index=[0, 0, 0]),
    lambda row: row["hosts"].update(index=[0] * 5),
    lambda row: row["hosts"].update(index=[0, 0, 0, -1]),
    lambda row: row["hosts"].update(index=[0, 0, 0, 2]),
    lambda row: row["hosts"].update(index=[0, 0, 0, 0.5]),
    lambda row: row["hosts"].update(index=[0, 0, 0, None]),
    lambda row: row["hosts"].update(index="0000"),
    lambda row: row["hosts"].update(index=3),
    lambda row: row.update(tags=["app"]),
    lambda row: row.update(tags=None),
    lambda row: row["tags"].update(app=["web"] * 4),
    lambda row: row["tags"]["app"].update(values=[["web"], ["db"]]),
]


@pytest.mark.parametrize("edit", EDITS)
def test_what_somebody_has_edited_is_no_list_of_servers(edit: Callable[[dict[str, Any]], Any]) -> None:
    [row] = written(grouped())
    edit(row)

    with pytest.raises(
        StoreError, match=r"The list of servers of run r was not written by ecsbatch and cannot be read"
    ):
        stored(row)


async def test_who_claims_is_not_asked_for_hosts(memory: InMemory) -> None:
    async with memory.open() as store:
        await store.create_run(NewRun("k", fleet=grouped()), ALICE)

        assert await store.claimed([("", "s0"), ("", "s4")]) == {("", "s0"): "k"}
        assert (await store.run("k")).targets_hash == Fleet(grouped().ids).targets_hash()
