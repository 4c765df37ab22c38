"""A fleet's columns: an id is found in them, they are sorted and counted in parts, and equal texts are shared."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecsbatch.model import in_parts
from ecsbatch.model.id_index import IdIndex
from ecsbatch.model.in_parts import PART, Gathered, Sharing, counted, in_order, kept
from ecsbatch.model.servers import Fleet

ids = st.lists(st.text(max_size=3), max_size=40)


@given(ids, ids)
def test_an_id_is_found_where_it_stands_and_no_other_is(listed: list[str], others: list[str]) -> None:
    distinct = list(dict.fromkeys(listed))
    index = IdIndex(distinct)

    assert [index.get(id_) for id_ in distinct] == list(range(len(distinct)))
    assert {index.get(id_) for id_ in others if id_ not in distinct} <= {None}


@given(ids)
def test_an_index_refuses_an_id_that_is_listed_twice(listed: list[str]) -> None:
    if len(set(listed)) == len(listed):
        IdIndex(listed)
    else:
        with pytest.raises(ValueError, match="listed twice"):
            IdIndex(listed)


@pytest.mark.parametrize("many", [0, 1, PART, PART + 1, 5 * PART])
def test_ids_are_sorted_as_they_are_by_one_call(many: int) -> None:
    texts = [f"{number:05}" for number in range(many)]
    for arranged in (texts, texts[::-1], Random(1).sample(texts, many), [f"same-{text}" for text in texts]):
        places = range(0, many, 2)

        assert [arranged[place] for place in in_order(arranged, places)] == sorted(arranged[::2])


def test_equal_texts_stay_in_the_order_in_which_they_are() -> None:
    texts = [f"{place % 7}" for place in range(3 * PART)]
    places = Random(1).sample(range(3 * PART), 2 * PART)

    assert list(in_order(texts, places)) == sorted(places, key=texts.__getitem__)


@given(st.lists(ids, max_size=4))
def test_what_is_gathered_part_by_part_is_kept_as_it_came_and_once(written: list[list[str]]) -> None:
    column = Gathered[str]()
    for part in written:
        column.add(part)

    assert len(column) == sum(map(len, written))
    assert column.kept() == tuple(text for part in written for text in part)
    assert (len(column), column.kept()) == (0, ())


def test_equal_texts_of_several_parts_become_one() -> None:
    column = Gathered[str](Sharing())
    for _ in range(2):
        column.add([f"{'az'}1"])

    first, second = column.kept()
    assert first is second


def test_texts_are_counted_over_all_parts() -> None:
    column = ["az1", "az2", "az1"] * PART

    assert counted(column) == Counter(column)
    assert list(counted(column)) == ["az1", "az2"]


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.text(max_size=2)), unique_by=lambda each: each[1]))
def test_a_fleet_is_gone_through_by_site_and_id_again_and_again(servers: list[tuple[str, str]]) -> None:
    order = Fleet([id_ for _, id_ in servers], sites=[site for site, _ in servers]).key_order()

    assert list(order()) == sorted(servers) == list(order())


def test_few_texts_are_shared_and_many_different_ones_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_parts, "_MOST_SHARED", 2)
    texts = [f"{'az'}{number}" for number in (1, 2, 3, 1, 2, 3)]

    shared = kept(Sharing().of(texts))

    assert list(shared) == texts
    assert [shared[i] is shared[i + 3] for i in range(3)] == [True, True, False]


def test_a_long_column_is_seen_by_the_collector_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[int] = []
    monkeypatch.setattr(in_parts.gc, "collect", collected.append)

    assert len(kept(range(100_000))) == 100_000
    kept(range(99_999))
    monkeypatch.setattr(in_parts.gc, "isenabled", lambda: False)
    kept(range(100_000))

    assert collected == [0]
